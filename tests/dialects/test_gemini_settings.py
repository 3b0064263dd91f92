"""Settings of a request for Gemini: limits, sampling, stop, output form, thought."""

import pytest

from app.canonical.request import (
    ChatRequest,
    OutputFormat,
    ReasoningConfig,
)
from app.dialects.base import Peek
from app.dialects.gemini import GEMINI
from tests.dialects.test_gemini import target
from tests.dialects.test_gemini_upstream import USER, encode, paths


def config(**settings):
    return encode(**settings).body.get("generationConfig", {})


def test_settings():
    assert config(
        max_tokens=10,
        temperature=0.0,
        top_p=0.5,
        top_k=3,
        stop=("a",),
        seed=1,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logprobs=True,
        top_logprobs=2,
        choices=2,
    ) == {
        "maxOutputTokens": 10,
        "temperature": 0.0,
        "topP": 0.5,
        "topK": 3,
        "stopSequences": ["a"],
        "seed": 1,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 2,
        "candidateCount": 2,
    }


def test_settings_that_the_model_refuses():
    encoded = encode(
        temperature=1.0,
        top_p=0.5,
        stop=("a",),
        max_tokens=9,
        to=target(sampling=False, stop=False, max_output=5),
    )
    assert encoded.body["generationConfig"] == {"maxOutputTokens": 5}
    assert paths(encoded) == ["max_tokens", "temperature", "top_p", "stop"]
    one = encode(temperature=1.0, top_p=0.5, to=target(temperature_or_top_p=True))
    assert one.body["generationConfig"] == {"temperature": 1.0}
    assert paths(one) == ["top_p"]


def test_five_stop_sequences_are_the_most():
    encoded = encode(stop=tuple("abcdefg"))
    assert encoded.body["generationConfig"]["stopSequences"] == list("abcde")
    assert paths(encoded) == ["stop"]


def thinking(model, wish, **profile):
    request = ChatRequest(model, (USER,), reasoning=wish, max_tokens=64000)
    body = GEMINI.encode_request(request, target(model, **profile)).body
    return body["generationConfig"].get("thinkingConfig", {})


@pytest.mark.parametrize(
    ("model", "wish", "sent"),
    [
        (
            "gemini-2.5-flash",
            ReasoningConfig(effort="low"),
            {"thinkingBudget": 1024, "includeThoughts": True},
        ),
        (
            "gemini-2.5-flash",
            ReasoningConfig(effort="max", visible=False),
            {"thinkingBudget": 24576},
        ),
        ("gemini-2.5-flash", ReasoningConfig("off"), {"thinkingBudget": 0}),
        (
            "gemini-2.5-flash",
            ReasoningConfig("adaptive"),
            {"thinkingBudget": -1, "includeThoughts": True},
        ),
        ("gemini-2.5-flash", ReasoningConfig(), {"includeThoughts": True}),
        ("gemini-2.5-pro", ReasoningConfig("off"), {"thinkingBudget": 128}),
        (
            "gemini-2.5-pro",
            ReasoningConfig(budget_tokens=99000, visible=False),
            {"thinkingBudget": 32768},
        ),
        (
            "gemini-3-flash-preview",
            ReasoningConfig(budget_tokens=9000),
            {"thinkingLevel": "MEDIUM", "includeThoughts": True},
        ),
        (
            "gemini-3-pro-preview",
            ReasoningConfig(effort="medium", visible=False),
            {"thinkingLevel": "HIGH"},
        ),
        ("gemini-3-pro-preview", ReasoningConfig("off"), {"thinkingLevel": "LOW"}),
        ("gemini-3-flash-preview", ReasoningConfig("off"), {"thinkingLevel": "MINIMAL"}),
        (
            "gemini-3-flash-preview",
            ReasoningConfig(effort="xhigh", visible=False),
            {"thinkingLevel": "HIGH"},
        ),
        ("gemini-3-flash-preview", ReasoningConfig("adaptive"), {"includeThoughts": True}),
    ],
)
def test_thinking(model, wish, sent):
    assert thinking(model, wish) == sent


def test_thinking_of_a_model_that_does_not():
    request = ChatRequest("g", (USER,), reasoning=ReasoningConfig(effort="high"))
    encoded = GEMINI.encode_request(request, target("g", reasoning="none"))
    assert "generationConfig" not in encoded.body
    assert paths(encoded) == ["reasoning"]


def test_a_gemini_clients_wish_is_turned_into_what_the_model_takes():
    body = {"contents": [], "generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}
    request = GEMINI.decode_request(body, Peek("gemini-2.5-flash", False))
    sent = GEMINI.encode_request(request, target("gemini-2.5-flash")).body["generationConfig"]
    assert sent == {"thinkingConfig": {"thinkingBudget": 1024}}


def test_output_formats():
    schema = {"type": "object", "properties": {"a": {"const": "x"}}}
    wish = OutputFormat("json_schema", schema, name="n", strict=True)
    assert config(output=OutputFormat("text")) == {}
    assert config(output=OutputFormat("json_object")) == {"responseMimeType": "application/json"}
    assert config(output=wish) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {
            "type": "object",
            "properties": {"a": {"enum": ["x"], "type": "string"}},
        },
    }
    assert config(output=wish, to=target(official=False)) == {
        "responseMimeType": "application/json",
        "responseSchema": {
            "type": "OBJECT",
            "properties": {"a": {"enum": ["x"], "type": "STRING"}},
        },
    }
    weak = encode(output=wish, to=target(json_schema=False))
    assert weak.body["generationConfig"] == {"responseMimeType": "application/json"}
    assert paths(weak) == ["output.schema"]
