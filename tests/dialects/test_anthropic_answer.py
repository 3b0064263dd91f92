"""Anthropic answers that come whole: fidelity, usage, answers of other dialects."""

import msgspec
import pytest
from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from app.canonical.fold import fold, unfold
from app.canonical.parts import (
    Media,
    Native,
    Opaque,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage
from app.dialects.anthropic import ANTHROPIC
from app.dialects.base import Peek
from app.errors import UpstreamError
from tests.dialects.test_anthropic_stream import (
    ANSWERS,
    KNOWN_TO_SDK,
    START,
    STOP,
    bodies_of,
    decode,
    encode_events,
    events_of,
    finish,
    frames,
    raw,
    reply,
    whole,
)


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_comes_back_as_it_was(case):
    encoded = ANTHROPIC.encode_response(decode(whole(case)), reply())
    assert encoded.body == whole(case)
    assert encoded.losses == ()


@pytest.mark.parametrize("case", KNOWN_TO_SDK)
def test_encoded_answers_follow_the_sdk_types(case):
    beta = case in ("compaction", "claude_code")
    adapter = TypeAdapter(BetaRawMessageStreamEvent if beta else RawMessageStreamEvent)
    for body in bodies_of(encode_events(events_of(raw(case)))):
        if body["type"] != "ping":
            adapter.validate_python(body)
    (BetaMessage if beta else SdkMessage).model_validate(
        ANTHROPIC.encode_response(decode(whole(case)), reply()).body
    )


def test_the_model_is_shown_as_the_client_asked_for_it():
    encoded = ANTHROPIC.encode_response(decode(whole("text")), reply("fast"))
    assert encoded.body["model"] == "fast"
    assert (
        bodies_of(encode_events(events_of(raw("text")), model="fast"))[0]["message"]["model"]
        == "fast"
    )


def test_usage_is_disjoint_and_complete():
    assert decode(whole("cached_usage")).usage == Usage(3, 2048, 1500, 7, None, 1000)
    assert decode(whole("reasoning")).usage == Usage(40, 0, 0, 310, 280)
    assert decode({"content": []}).usage is None
    halves = {"cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 5}}
    assert decode({"content": [], "usage": halves}).usage == Usage(0, 0, 7, 0, None, 5)


@pytest.mark.parametrize(
    ("word", "stop"),
    [
        ("end_turn", "end"),
        ("max_tokens", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("tool_use", "tool_use"),
        ("refusal", "refusal"),
        ("pause_turn", "pause"),
        ("model_context_window_exceeded", "context_full"),
        ("sensitive", "content_filter"),
        ("compaction", "pause"),
        ("brand_new", "end"),
    ],
)
def test_stop_reasons_both_ways(word, stop):
    response = decode({"content": [], "stop_reason": word})
    assert response.stop == stop
    assert ANTHROPIC.encode_response(response, reply()).body["stop_reason"] == word
    events = events_of(frames(START, finish(word), STOP))
    assert events[-1].stop == stop
    assert bodies_of(encode_events(events))[-2]["delta"]["stop_reason"] == word


@pytest.mark.parametrize(
    ("stop", "parts", "word"),
    [
        ("end", (Text("a"),), "end_turn"),
        ("end", (ToolCall("c", "f", "{}"),), "tool_use"),
        ("max_tokens", (ToolCall("c", "f", "{}"),), "max_tokens"),
        ("end", (Refusal("no"),), "refusal"),
        ("content_filter", (Text("a"),), "refusal"),
    ],
)
def test_stop_reasons_of_other_dialects(stop, parts, word):
    response = ChatResponse("", "m", parts, stop)
    assert ANTHROPIC.encode_response(response, reply()).body["stop_reason"] == word
    assert bodies_of(encode_events(unfold(response)))[-2]["delta"]["stop_reason"] == word


FOREIGN = ChatResponse(
    id="chatcmpl-1",
    model="gpt",
    parts=(
        Reasoning("one\n\ntwo", ("one", "two"), True, Signature("openai", "enc"), id="rs_1"),
        Reasoning("unsigned"),
        Reasoning(redacted=True, signature=Signature("openrouter", "x")),
        Reasoning(redacted=True, signature=Signature("anthropic", "own")),
        Reasoning(),
        Text("Hello \u2028 there", native=Native("openai_chat", {"annotations": [1]})),
        Text(""),
        Refusal("I won't."),
        Media("image", "image/png", data="iVBOR"),
        Media("image", url="https://e.org/a.png"),
        ToolCall("call with space", "f", '{"a":1}', signature=Signature("google", "sig")),
        ToolCall("twin", "f", "{}"),
        ToolCall("twin", "f", ""),
        ToolCall("", "g", "free", kind="custom"),
        Opaque("gemini", {"executableCode": {}}),
        Opaque(
            "anthropic",
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}},
        ),
    ),
    stop="tool_use",
    usage=Usage(10, 5, 0, 7, 3),
    native=Native("openai_chat", {"system_fingerprint": "x"}),
)


def test_foreign_answers_whole_and_streamed_are_the_same_to_the_client():
    encoded = ANTHROPIC.encode_response(FOREIGN, reply())
    SdkMessage.model_validate(encoded.body)
    data = encode_events(unfold(FOREIGN))
    adapter = TypeAdapter(RawMessageStreamEvent)
    for body in bodies_of(data):
        adapter.validate_python(body)
    streamed = fold(events_of(data))
    direct = decode(encoded.body)
    assert streamed.parts == direct.parts
    assert (streamed.stop, streamed.usage) == (direct.stop, direct.usage)
    assert b"\xe2\x80\xa8" not in data
    assert b"system_fingerprint" not in data
    ids = [part.id for part in direct.parts if isinstance(part, ToolCall)]
    assert len(set(ids)) == 4
    assert encoded.body["id"].startswith("msg_")
    assert {loss.path for loss in encoded.losses} == {"parts[8]", "parts[9]", "parts[14]"}


def test_a_foreign_answer_survives_the_clients_history():
    encoded = ANTHROPIC.encode_response(FOREIGN, reply())
    history = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": encoded.body["content"]},
        ],
    }
    parts = ANTHROPIC.decode_request(history, Peek("m", stream=False)).messages[1].parts
    thoughts = [part for part in parts if isinstance(part, Reasoning)]
    assert thoughts == [
        Reasoning("one\n\ntwo", summary=True, signature=Signature("openai", "enc"), id="rs_1"),
        Reasoning("unsigned"),
        Reasoning(redacted=True, signature=Signature("openrouter", "x")),
        Reasoning(redacted=True, signature=Signature("anthropic", "own")),
    ]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    assert calls[0].signature == Signature("google", "sig")
    assert [call.signature for call in calls[1:]] == [None, None, None]


def test_arguments_that_are_no_object_travel_as_text():
    response = ChatResponse("", "m", (ToolCall("c", "f", "oops"),), "tool_use")
    encoded = ANTHROPIC.encode_response(response, reply())
    assert encoded.body["content"][0]["input"] == {"_raw": "oops"}
    assert [loss.path for loss in encoded.losses] == ["parts[0].arguments"]


def test_tool_results_and_text_signatures_in_answers_are_losses():
    parts = (Text("a", signature=Signature("google", "s")), ToolResult("c", (Text("x"),)))
    encoded = ANTHROPIC.encode_response(ChatResponse("", "m", parts, "end"), reply())
    assert [block["type"] for block in encoded.body["content"]] == ["text"]
    assert [loss.path for loss in encoded.losses] == ["parts[0].signature", "parts[1]"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content": "text"},
        {"content": [{"type": "tool_use", "id": "a"}]},
        {"content": [], "usage": 3},
        {"content": [], "usage": {"input_tokens": "many"}},
        {"content": [], "stop_reason": 1},
        {"type": "error", "error": {"type": "api_error", "message": "broken"}},
        {"error": {"message": "broken"}},
    ],
)
def test_bad_answers_are_upstream_errors(body):
    with pytest.raises(UpstreamError):
        decode(body)


def test_equal_call_ids_of_an_answer_are_told_apart():
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    assert [part.id for part in decode({"content": [call, call]}).parts] == ["a", "a_2"]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=st.sampled_from(ANSWERS), data=st.data())
def test_damaged_answers_raise_nothing_but_upstream_errors(case, data):
    body = whole(case)
    paths = [(key,) for key in body] + [("usage", key) for key in body["usage"]]
    paths += [("content", n) for n in range(len(body["content"]))]
    paths += [("content", n, key) for n, item in enumerate(body["content"]) for key in item]
    path = data.draw(st.sampled_from(paths))
    holder = body
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = data.draw(
        st.sampled_from([None, True, -1, 1.5, "x", [], {}, [1], {"type": "text"}, [[]]])
    )
    try:
        response = decode(body)
    except UpstreamError:
        return
    msgspec.json.encode(ANTHROPIC.encode_response(response, reply()).body)
