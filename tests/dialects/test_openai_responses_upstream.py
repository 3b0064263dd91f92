"""Requests for a Responses service: what it can be told, and what is lost."""

import json
from dataclasses import replace

import pytest

from app.canonical.parts import (
    Native,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import (
    Message,
    OutputFormat,
    ReasoningConfig,
    ServerTool,
    ToolChoice,
)
from tests.dialects.responses import (
    CONVERSATION,
    INPUT,
    TARGET,
    decode_request,
    encode_request,
    load,
    simple,
)


def test_request_from_another_dialect_is_valid_input():
    encoded = encode_request(CONVERSATION)
    body = encoded.body
    sound = body["input"][2]["content"].pop()
    assert sound == {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}}
    INPUT.validate_python(body["input"])  # which knows no sound
    assert body["instructions"] == "One.\n\nTwo."
    assert [item.get("role") for item in body["input"][:3]] == ["system", "developer", "user"]
    kinds = [item["type"] for item in body["input"]]
    assert kinds[3:] == [
        "reasoning",
        "reasoning",
        "message",
        "function_call",
        "function_call",
        "custom_tool_call",
        "function_call_output",
        "function_call_output",
        "custom_tool_call_output",
        "message",
    ]
    call, result = body["input"][6], body["input"][9]
    assert call["call_id"] == result["call_id"] != "a b"
    assert [part["type"] for part in result["output"]] == ["input_text", "input_image"]
    assert body["store"] is False
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    tools = {tool.get("name", tool["type"]): tool for tool in body["tools"]}
    assert tools["f"]["strict"] is False
    assert tools["f"]["parameters"]["type"] == "object"
    assert tools["space"]["tools"][0]["name"] == "g"
    assert tools["patch"]["format"] == {"type": "grammar", "syntax": "lark"}
    assert tools["web_search"]["filters"] == {"allowed_domains": ["a.b"]}
    assert "cache" not in json.dumps(body)
    assert encoded.losses == ()
    again = decode_request(body)
    assert [message.role for message in again.messages] == [
        message.role for message in CONVERSATION.messages
    ]


@pytest.mark.parametrize(
    ("changes", "profile", "paths"),
    [
        ({"stop": ("x",)}, {}, ["stop"]),
        ({"top_k": 4, "seed": 1}, {}, ["top_k", "seed"]),
        (
            {"frequency_penalty": 0.1, "presence_penalty": 0.1},
            {},
            ["frequency_penalty", "presence_penalty"],
        ),
        ({"temperature": 0.5, "top_p": 0.5}, {"sampling": False}, ["temperature", "top_p"]),
        ({"temperature": 0.5, "top_p": 0.5}, {"temperature_or_top_p": True}, ["top_p"]),
        ({"max_tokens": 5}, {}, ["max_tokens"]),
        ({"reasoning": ReasoningConfig(effort="high")}, {"reasoning": "none"}, ["reasoning"]),
        (
            {"reasoning": ReasoningConfig(effort="max")},
            {"reasoning": "effort", "efforts": ("low", "high")},
            ["reasoning.effort"],
        ),
        ({"tool_choice": ToolChoice("auto")}, {}, ["tool_choice"]),
        ({"tools": (ServerTool("anthropic", {"name": "bash"}),)}, {}, ["tools[0]"]),
        ({"native": Native("gemini", {"safetySettings": []})}, {}, ["native.safetySettings"]),
        ({"service_tier": "standard_only"}, {}, ["service_tier"]),
        ({"store": True}, {}, ["store"]),
        (
            {"messages": (Message("tool", (ToolResult("c", (Text("x"),), is_error=True),)),)},
            {},
            ["messages[0].content[0].is_error"],
        ),
        (
            {
                "messages": (
                    Message(
                        "assistant", (ToolCall("c", "f", "{}", signature=Signature("g", "s")),)
                    ),
                )
            },
            {},
            ["messages[0].content[0].signature"],
        ),
    ],
)
def test_what_responses_lacks_is_reported(changes, profile, paths):
    target = Target(ModelProfile("m", **profile), "openai")
    encoded = encode_request(simple(**changes), target)
    assert [loss.path for loss in encoded.losses] == paths


@pytest.mark.parametrize(
    ("style", "asked", "expected"),
    [
        ("effort", None, True),
        ("unknown", None, False),
        ("unknown", ReasoningConfig(effort="low"), True),
        ("none", None, False),
    ],
)
def test_encrypted_thought_is_asked_for_only_where_the_model_may_think(style, asked, expected):
    target = Target(ModelProfile("m", reasoning=style), "openai")
    body = encode_request(simple(reasoning=asked), target).body
    assert ("include" in body) is expected


def test_thought_is_switched_off():
    body = encode_request(simple(reasoning=ReasoningConfig("off"))).body
    assert body["reasoning"] == {"effort": "none"}


def test_schema_of_another_dialect_is_strict_when_it_can_be():
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    body = encode_request(simple(output=OutputFormat("json_schema", closed))).body
    assert body["text"]["format"] == {
        "type": "json_schema",
        "name": "answer",
        "schema": closed,
        "strict": True,
    }
    loose = encode_request(simple(output=OutputFormat("json_schema", {"type": "object"}))).body
    assert "strict" not in loose["text"]["format"]


def test_end_users_of_another_vendor_are_hashed():
    foreign = encode_request(simple(user="me@example.com")).body
    assert "me@example.com" not in json.dumps(foreign)
    assert foreign["safety_identifier"].startswith("u_")
    compatible = encode_request(simple(user="me"), replace(TARGET, official=False)).body
    assert "safety_identifier" not in compatible
    same = encode_request(simple(user="me", native=Native("openai_chat", {}))).body
    assert same["safety_identifier"] == "me"


def test_codex_identity_stays_with_openai():
    request = decode_request(load("codex", "request.json"))
    encoded = encode_request(request, replace(TARGET, issuer="xai", official=False))
    text = json.dumps(encoded.body)
    assert "client_metadata" not in text
    assert "passthrough" not in text
    assert "native.client_metadata" in [loss.path for loss in encoded.losses]
