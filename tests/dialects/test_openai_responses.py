"""The Responses dialect against its cases, the official SDK's types, and hostile input."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_input_item import ResponseInputItem
from pydantic import TypeAdapter

from app.canonical.events import (
    Annotated,
    ArgumentsDelta,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    ReasoningDelta,
    SignatureDelta,
    Started,
    TextDelta,
    UsageSeen,
)
from app.canonical.failure import Failure
from app.canonical.fold import fold, unfold
from app.canonical.parts import (
    CacheMark,
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
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import (
    ChatRequest,
    Message,
    OutputFormat,
    ReasoningConfig,
    ServerTool,
    Tool,
    ToolChoice,
)
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage
from app.dialects.base import Dialect, ReplyContext, dump
from app.dialects.carrier import open_seal, seal
from app.dialects.openai_responses import OPENAI_RESPONSES
from app.dialects.sse import Frame, SseParser
from app.errors import RequestError, Retry, TranslationError, UpstreamError

CASES = Path(__file__).parent / "cases" / "openai_responses"
DIALECT: Dialect = OPENAI_RESPONSES
TARGET = Target(ModelProfile("gpt-5.4", custom_tools=True), "openai")
EVENT = TypeAdapter(ResponseStreamEvent)
INPUT = TypeAdapter(list[ResponseInputItem])


def names_with(filename):
    return sorted(path.parent.name for path in CASES.glob(f"*/{filename}"))


def load(case, filename):
    return json.loads((CASES / case / filename).read_text("utf-8"))


def stream_of(case):
    return (CASES / case / "stream.sse").read_bytes()


REQUESTS = names_with("request.json")
RESPONSES = names_with("response.json")
STREAMS = names_with("stream.sse")


def decode_request(body):
    raw = json.dumps(body).encode()
    peek = DIALECT.peek(raw, "/v1/responses", "", DIALECT.routes[0])
    return DIALECT.decode_request(json.loads(raw), peek)


def encode_request(request, target=TARGET):
    return DIALECT.encode_request(request, target)


def reply_to(request=None, model="asked-model"):
    count = 0

    def new_id(prefix):
        nonlocal count
        count += 1
        return f"{prefix}{count:024d}"

    return ReplyContext(model, request, 1_700_000_000.0, new_id)


def decode_stream(data, size=None, issuer="openai"):
    decoder = DIALECT.stream_decoder(issuer)
    events = []
    for at in range(0, len(data), size or max(len(data), 1)):
        events += decoder.feed(data[at : at + (size or len(data))])
    return events + decoder.close()


def encode_stream(events, reply=None):
    encoder = DIALECT.stream_encoder(reply or reply_to())
    return b"".join(encoder.encode([event]) for event in events)


def frames_of(data):
    parser = SseParser()
    return parser.feed(data) + parser.close()


def told(data):
    return [json.loads(frame.data) for frame in frames_of(data)]


def check_grammar(events):
    assert isinstance(events[0], Started | Failed)
    assert sum(isinstance(e, Finished | Failed) for e in events) == 1
    assert isinstance(events[-1], Finished | Failed)
    count, is_open = 0, False
    for event in events:
        match event:
            case PartStarted(index=index):
                assert not is_open
                assert index == count
                is_open = True
            case PartEnded(index=index):
                assert is_open
                assert index == count
                is_open, count = False, count + 1
            case (
                TextDelta(index=index)
                | ReasoningDelta(index=index)
                | ArgumentsDelta(index=index)
                | SignatureDelta(index=index)
                | Annotated(index=index)
            ):
                assert is_open
                assert index == count
    assert not is_open


def check_stream(data):
    """Assert what SDK helpers rely on, and return the events."""
    events = told(data)
    for event, frame in zip(events, frames_of(data), strict=True):
        assert frame.event == event["type"]
        EVENT.validate_python(event, strict=False)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    texts, added, done = {}, set(), {}
    for event in events[2:-1]:
        kind = event["type"]
        place = (event["output_index"], event.get("content_index"), event.get("summary_index"))
        if kind == "response.output_item.added":
            assert event["output_index"] == len(added)
            added.add(event["output_index"])
            continue
        assert event["output_index"] in added
        if kind.endswith(".delta"):
            texts[place] = texts.get(place, "") + event["delta"]
        elif kind.endswith(("_text.done", "refusal.done", "arguments.done", "input.done")):
            text = next(
                event[key] for key in ("text", "refusal", "arguments", "input") if key in event
            )
            assert texts.get(place, "") == text
        elif kind == "response.output_item.done":
            done[event["output_index"]] = event["item"]
    final = events[-1]["response"]
    assert [done[index] for index in sorted(done)] == final["output"]
    return events


# Cases -------------------------------------------------------------------------------------------


def test_every_case_names_its_source():
    for case in {*REQUESTS, *RESPONSES}:
        assert (CASES / case / "source.txt").read_text().strip()


@pytest.mark.parametrize("case", REQUESTS)
def test_request_comes_back_as_it_was(case):
    body = load(case, "request.json")
    request = decode_request(body)
    encoded = encode_request(request)
    assert encoded.body == body
    assert encoded.losses == ()
    assert decode_request(encoded.body) == request


@pytest.mark.parametrize("case", RESPONSES)
def test_response_comes_back_as_it_was(case):
    body = load(case, "response.json")
    response = DIALECT.decode_response(body, "openai")
    encoded = DIALECT.encode_response(response, reply_to(model=body["model"]))
    assert encoded.losses == ()
    extras = {key: value for key, value in encoded.body.items() if key not in body}
    assert {**body, **extras} == encoded.body
    assert DIALECT.decode_response(encoded.body, "openai").parts == response.parts
    Response.model_validate(encoded.body)


@pytest.mark.parametrize("case", STREAMS)
def test_stream_tells_what_the_response_tells(case):
    events = decode_stream(stream_of(case))
    check_grammar(events)
    whole = DIALECT.decode_response(load(case, "response.json"), "openai")
    found = fold(events)
    if case == "codex":  # its terminal event has no output
        assert found.native.fields.keys() == whole.native.fields.keys()
    assert found == whole


@pytest.mark.parametrize("case", STREAMS)
def test_stream_is_the_same_however_it_is_cut_into_chunks(case):
    data = stream_of(case)
    whole = decode_stream(data)
    for size in (1, 2, 7, 1000):
        assert decode_stream(data, size) == whole
    if len(data) <= 8192:
        for at in range(len(data)):
            decoder = DIALECT.stream_decoder("openai")
            events = decoder.feed(data[:at]) + decoder.feed(data[at:]) + decoder.close()
            assert events == whole


@pytest.mark.parametrize("case", ["text", "reasoning", "interleaved", "done_only", "custom_tool"])
def test_stream_cut_anywhere_is_never_a_clean_end(case):
    data = stream_of(case)
    end = data.rindex(b"}")
    for at in range(0, end, 5 if len(data) > 6000 else 1):
        events = decode_stream(data[:at])
        check_grammar(events)
        assert isinstance(events[-1], Failed)
        assert events[-1].failure.code == "upstream_closed"


@pytest.mark.parametrize("case", RESPONSES)
def test_encoded_stream_is_what_the_sdk_expects(case):
    response = DIALECT.decode_response(load(case, "response.json"), "openai")
    data = encode_stream(unfold(response), reply_to(model=response.model))
    events = check_stream(data)
    whole = DIALECT.encode_response(response, reply_to(model=response.model)).body
    assert events[-1]["response"]["output"] == whole["output"]
    again = fold(decode_stream(data))
    assert again.parts == response.parts
    assert (again.stop, again.usage) == (response.stop, response.usage)


@pytest.mark.parametrize("case", STREAMS)
def test_decoded_stream_encodes_to_the_same_answer(case):
    events = decode_stream(stream_of(case))
    data = encode_stream(events, reply_to(model="m"))
    check_stream(data)
    first, again = fold(events), fold(decode_stream(data))
    assert again.parts == first.parts
    assert (again.id, again.stop, again.usage) == (first.id, first.stop, first.usage)


# Values from elsewhere ---------------------------------------------------------------------------

THOUGHT = Reasoning(
    "First.\n\nSecond.", ("First.", "Second."), signature=Signature("anthropic", "s")
)
ANSWER = ChatResponse(
    id="msg_01",
    model="claude",
    parts=(
        Reasoning("Long thought.", signature=Signature("anthropic", "sig")),
        THOUGHT,
        Reasoning(redacted=True, signature=Signature("anthropic", "red")),
        Reasoning("Unsigned."),
        Text("Hello ", native=Native("anthropic", {"citations": [1]})),
        Text("world\u2028!", signature=Signature("google", "tsig")),
        Refusal("No."),
        Text(""),
        ToolCall("toolu_1", "f", '{"a":1}', signature=Signature("google", "csig")),
        ToolCall("x" * 80, "g", ""),
        ToolCall("", "h", "{}"),
        ToolCall("call_c", "patch", "free\ntext", kind="custom"),
        Media("image", "image/png", "aGk="),
        Text("After."),
    ),
    stop="tool_use",
    usage=Usage(input=10, cache_read=5, cache_write=2, output=7, reasoning=3),
)
CONVERSATION = ChatRequest(
    model="gpt-5.4",
    system=(Text("One.", cache=CacheMark("1h")), Text("Two.")),
    messages=(
        Message("system", (Text("Sys."),)),
        Message("developer", (Text("Dev."),)),
        Message(
            "user",
            (
                Text("Look", cache=CacheMark()),
                Media("image", "image/jpeg", "aGk=", detail="low"),
                Media("image", url="https://example.com/a.png"),
                Media("document", "application/pdf", "aGk=", name="a.pdf"),
                Media("document", text="plain", name="a.txt"),
                Media("audio", "audio/mpeg", "aGk="),
            ),
        ),
        Message(
            "assistant",
            (
                Reasoning("t", signature=Signature("openai", "enc"), id="rs_1"),
                Reasoning("t", signature=Signature("openai", "enc2")),
                Text("Let me see."),
                Refusal("Or not."),
                ToolCall("a b", "f", "{}"),
                ToolCall("call_2", "g", "{}", namespace="space"),
                ToolCall("ctc", "patch", "x", kind="custom"),
            ),
        ),
        Message(
            "tool",
            (
                ToolResult("a b", (Text("1"), Media("image", "image/png", "aGk="))),
                ToolResult("call_2", ()),
                ToolResult("ctc", (Text("ok"),), kind="custom"),
            ),
        ),
        Message("user", (Text("Go on."),)),
    ),
    tools=(
        Tool("f", "Does f.", {"properties": {"a": {}}}),
        Tool("g", namespace="space"),
        Tool("patch", kind="custom", grammar={"type": "grammar", "grammar": {"syntax": "lark"}}),
        ServerTool(
            "anthropic",
            {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.b"]},
            "web_search",
        ),
    ),
    reasoning=ReasoningConfig(budget_tokens=2000, visible=True),
    output=OutputFormat("json_schema", {"type": "object", "properties": {}}, name="My answer"),
    max_tokens=500,
)


def test_foreign_answer_streams_as_the_sdk_expects():
    data = encode_stream(unfold(ANSWER), reply_to(decode_request(load("codex", "request.json"))))
    check_stream(data)
    assert b"\xe2\x80\xa8" not in data
    assert b"\\u2028" in data
    batched = DIALECT.stream_encoder(reply_to()).encode(unfold(ANSWER))
    Response.model_validate(check_stream(batched)[-1]["response"])


@pytest.mark.parametrize("batched", [True, False])
def test_foreign_signatures_come_back_with_the_clients_history(batched):
    if batched:
        output = DIALECT.encode_response(ANSWER, reply_to()).body["output"]
    else:
        output = check_stream(encode_stream(unfold(ANSWER)))[-1]["response"]["output"]
    INPUT.validate_python(output)
    request = decode_request({"model": "m", "input": output})
    (message,) = request.messages
    assert message.role == "assistant"
    thoughts = [part for part in message.parts if isinstance(part, Reasoning)]
    assert [(t.text, t.signature, t.redacted, t.summary) for t in thoughts] == [
        ("Long thought.", Signature("anthropic", "sig"), False, False),
        ("First.\n\nSecond.", Signature("anthropic", "s"), False, False),
        ("", Signature("anthropic", "red"), True, False),
        ("Unsigned.", None, False, False),
    ]
    texts = [part for part in message.parts if isinstance(part, Text)]
    assert [(t.text, t.signature) for t in texts][:2] == [
        ("Hello ", None),
        ("world\u2028!", Signature("google", "tsig")),
    ]
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    assert calls[0].signature == Signature("google", "csig")
    assert [call.signature for call in calls[1:]] == [None, None, None]
    assert len({call.id for call in calls}) == 4
    assert max(len(call.id) for call in calls) <= 64
    sent = encode_request(request)
    kinds = [item["type"] for item in sent.body["input"]]
    assert "reasoning" not in kinds
    assert "DGCSEAL1." not in json.dumps(sent.body)
    assert len([loss for loss in sent.losses if "thought" in loss.reason]) == 4


def test_own_signature_is_sent_raw_and_only_to_its_issuer():
    answer = ChatResponse(
        "r", "m", (Reasoning("t", signature=Signature("openai", "enc"), id="rs_1"),), "end"
    )
    item = DIALECT.encode_response(answer, reply_to()).body["output"][0]
    assert item["encrypted_content"] == "enc"
    request = decode_request({"model": "m", "input": [item]})
    assert encode_request(request).body["input"] == [item]
    elsewhere = encode_request(request, replace(TARGET, issuer="xai"))
    assert elsewhere.body["input"] == []
    assert elsewhere.losses[0].path == "messages[0].content[0]"


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


def simple(**changes):
    return replace(
        ChatRequest("m", (Message("user", (Text("Hi"),)),)),
        **changes,
    )


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
    ("part", "role"),
    [
        (Media("video", "video/mp4", "aGk="), "user"),
        (Media("audio", "audio/flac", "aGk="), "user"),
        (Media("image", file_id="file_1", native=Native("anthropic", {})), "user"),
        (Media("image", url="gs://bucket/a"), "user"),
        (
            Media("document", url="https://generativelanguage.googleapis.com/v1beta/files/1"),
            "user",
        ),
        (Opaque("anthropic", {"type": "server_tool_use"}), "assistant"),
        (Opaque("gemini", {}), "user"),
        (Media("audio", "audio/wav", "aGk="), "assistant"),
        (Reasoning("t"), "user"),
    ],
)
def test_content_that_responses_lacks_is_refused_with_its_path(part, role):
    request = simple(messages=(Message(role, (Text("a"), part)),))
    with pytest.raises(TranslationError) as caught:
        encode_request(request)
    assert caught.value.param == "messages[0].content[1]"


def test_named_hosted_tool_that_is_missing_is_refused():
    request = simple(
        tools=(ServerTool("anthropic", {"name": "bash"}), Tool("f")),
        tool_choice=ToolChoice("required", ("bash",)),
    )
    with pytest.raises(TranslationError):
        encode_request(request)


def test_named_hosted_tool_keeps_its_purpose():
    request = simple(
        tools=(ServerTool("anthropic", {"name": "web_search"}, "web_search"),),
        tool_choice=ToolChoice("required", ("web_search",)),
    )
    body = encode_request(request).body
    assert body["tools"] == [{"type": "web_search"}]
    assert body["tool_choice"] == {"type": "web_search"}


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("required", ("f",)), {"type": "function", "name": "f"}),
        (ToolChoice("required", ("p",)), {"type": "custom", "name": "p"}),
        (
            ToolChoice("auto", ("f", "p")),
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "p"}],
            },
        ),
    ],
)
def test_tool_choice_keeps_its_meaning(choice, wire):
    request = simple(tools=(Tool("f"), Tool("p", kind="custom")), tool_choice=choice)
    assert encode_request(request).body["tool_choice"] == wire


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


def test_null_fields_are_not_sent_back():
    items = [
        {"type": "function_call", "id": None, "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "x", "status": None},
        {"type": "web_search_call", "id": "ws_1", "status": None, "action": {"type": "search"}},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "status": None},
    ]
    sent = encode_request(decode_request({"model": "m", "input": items})).body["input"]
    assert "null" not in json.dumps(sent[:3])
    assert sent[3] == {"type": "reasoning", "id": "rs_1", "summary": [], "content": None}


def test_calls_without_ids_meet_their_results():
    messages = (
        Message("assistant", (ToolCall("", "f", "{}"), ToolCall("", "f", "{}"))),
        Message("tool", (ToolResult("", (Text("1"),)), ToolResult("", (Text("2"),)))),
        Message("assistant", (ToolCall("same", "f", "{}"), ToolCall("same", "f", "{}"))),
        Message("tool", (ToolResult("same", (Text("3"),)), ToolResult("same", (Text("4"),)))),
    )
    items = encode_request(simple(messages=messages)).body["input"]
    ids = [item["call_id"] for item in items]
    assert ids[:2] == ids[2:4]
    assert ids[4:6] == ids[6:8]
    assert len(set(ids)) == 4


def test_parts_of_one_item_come_back_as_one_item():
    content = [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]
    items = [{"role": "assistant", "content": content}, {"role": "assistant", "content": "c"}]
    request = decode_request({"model": "m", "input": items})
    assert len(request.messages) == 1
    assert encode_request(request).body["input"] == items


def test_items_of_one_turn_become_one_message():
    request = decode_request(load("codex", "request.json"))
    assert [message.role for message in request.messages] == [
        "developer",
        "user",
        "assistant",
        "tool",
    ]
    assert len(request.messages[2].parts) == 2


def test_namespace_tools_are_decoded_one_by_one():
    tools = decode_request(load("namespace", "request.json")).tools
    assert [(tool.namespace, tool.name) for tool in tools] == [
        ("mcp__files", "list"),
        ("mcp__files", "read"),
        (None, "get_weather"),
    ]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x"}, "model"),
        ({"model": "m"}, "input"),
        ({"model": "m", "input": 3}, "input"),
        ({"model": "m", "input": [3]}, "input[0]"),
        ({"model": "m", "input": [{"role": "robot", "content": ""}]}, "input[0].role"),
        ({"model": "m", "input": [{"role": "user", "content": 3}]}, "input[0].content"),
        ({"model": "m", "input": [{"role": "user"}]}, "input[0].content"),
        ({"model": "m", "input": [{"type": "function_call"}]}, "input[0].arguments"),
        (
            {"model": "m", "input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0]",
        ),
        ({"model": "m", "input": "x", "tools": [{"name": "f"}]}, "tools[0].type"),
        (
            {
                "model": "m",
                "input": "x",
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
            "tools[0].name",
        ),
        ({"model": "m", "input": "x", "temperature": "hot"}, "temperature"),
        ({"model": "m", "input": "x", "max_output_tokens": True}, "max_output_tokens"),
        ({"model": "m", "input": "x", "tool_choice": "maybe"}, "tool_choice"),
        ({"model": "m", "input": "x", "stream": "yes"}, "stream"),
        ({"model": "m", "input": "x", "metadata": {"a": 1}}, "metadata.a"),
    ],
)
def test_wrong_request_says_where(body, param):
    with pytest.raises(RequestError) as caught:
        decode_request(body)
    assert caught.value.param == param


# Peek, paths, counts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "session"),
    [
        ({"prompt_cache_key": "k", "conversation": "c"}, "k"),
        ({"conversation": {"id": "conv_1"}}, "conv_1"),
        ({"previous_response_id": "resp_1"}, "resp_1"),
        ({}, None),
    ],
)
def test_peek_reads_the_session(extra, session):
    raw = dump({"model": "m", "stream": True, "reasoning": {"effort": "low"}, **extra})
    peek = DIALECT.peek(raw, "/v1/responses", "", DIALECT.routes[0])
    assert (peek.model, peek.stream, peek.session, peek.reasoning) == ("m", True, session, True)


@pytest.mark.parametrize("raw", [b"[]", b"{", b'{"model":3}', b'{"model":"m","model":"n"}'])
def test_peek_refuses_what_is_no_request(raw):
    with pytest.raises(RequestError):
        DIALECT.peek(raw, "/v1/responses", "", DIALECT.routes[0])


def test_routes_and_paths():
    assert [
        (route.operation, bool(route.pattern.fullmatch(path)))
        for route in DIALECT.routes
        for path in ("/v1/responses", "/responses/input_tokens")
    ] == [
        ("generate", True),
        ("generate", False),
        ("count_tokens", False),
        ("count_tokens", True),
    ]
    assert DIALECT.path("generate", "m", stream=True) == "/v1/responses"
    assert DIALECT.path("count_tokens", "m", stream=False) == "/v1/responses/input_tokens"


def test_count_call():
    body = DIALECT.encode_count_request(CONVERSATION, TARGET).body
    assert {"model", "input", "instructions", "tools"} <= set(body)
    assert not {"store", "include", "max_output_tokens"} & set(body)
    assert DIALECT.encode_count(7) == {"object": "response.input_tokens", "input_tokens": 7}
    assert DIALECT.decode_count({"input_tokens": 7}) == 7
    with pytest.raises(UpstreamError):
        DIALECT.decode_count({"input_tokens": "7"})


# Answers -----------------------------------------------------------------------------------------


def test_usage_is_disjoint():
    usage = DIALECT.decode_response(load("cached_usage", "response.json"), "openai").usage
    assert usage == Usage(input=22, cache_read=1920, cache_write=64, output=300, reasoning=0)


def test_answer_states_the_clients_settings():
    request = decode_request(load("namespace", "request.json"))
    request = replace(request, temperature=0.5, max_tokens=99, store=False)
    body = DIALECT.encode_response(ANSWER, reply_to(request)).body
    assert body["tools"] == load("namespace", "request.json")["tools"]
    assert (body["temperature"], body["max_output_tokens"], body["store"]) == (0.5, 99, False)
    assert body["model"] == "asked-model"
    Response.model_validate(body)


@pytest.mark.parametrize(
    ("stop", "status", "reason"),
    [
        ("end", "completed", None),
        ("stop_sequence", "completed", None),
        ("tool_use", "completed", None),
        ("refusal", "completed", None),
        ("pause", "completed", None),
        ("max_tokens", "incomplete", "max_output_tokens"),
        ("context_full", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_stop_reasons(stop, status, reason):
    answer = ChatResponse("i", "m", (Text("Hi"),), stop)
    body = DIALECT.encode_response(answer, reply_to()).body
    assert body["status"] == status
    assert body["output"][0]["status"] == status
    assert body["incomplete_details"] == (reason and {"reason": reason})


def test_refusal_without_words_is_no_empty_answer():
    body = DIALECT.encode_response(ChatResponse("i", "m", (), "refusal"), reply_to()).body
    assert body["output"][0]["content"][0]["type"] == "refusal"
    assert body["output"][0]["content"][0]["refusal"]


def test_foreign_block_in_an_answer_is_reported():
    answer = ChatResponse("i", "m", (Opaque("anthropic", {"type": "x"}), Text("a")), "end")
    encoded = DIALECT.encode_response(answer, reply_to())
    assert [loss.path for loss in encoded.losses] == ["output[0]"]
    assert len(encoded.body["output"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"output": 3},
        {"output": [3]},
        {"output": [{"type": "message", "content": 3}]},
        {"output": [{"type": "message", "content": [{"type": "output_text"}]}]},
        {"output": [{"type": "function_call", "name": 3}]},
        {"status": "in_progress", "output": []},
        {"status": "failed", "error": {"code": "server_error", "message": "boom"}},
    ],
)
def test_broken_answer_is_an_upstream_error(body):
    with pytest.raises(UpstreamError):
        DIALECT.decode_response(body, "openai")


def test_equal_call_ids_are_told_apart():
    item = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    answer = DIALECT.decode_response({"output": [item, item]}, "openai")
    assert [part.id for part in answer.parts] == ["call_1", "call_1_2"]


# Streams -----------------------------------------------------------------------------------------


def sse(*events):
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


CREATED = {
    "type": "response.created",
    "response": {"id": "resp_1", "model": "m", "created_at": 100},
}
DONE = {"type": "response.done", "response": {"status": "completed", "output": []}}


@pytest.mark.parametrize(
    ("event", "kind", "retry"),
    [
        (
            {"type": "error", "error": {"code": "server_is_overloaded", "message": "m"}},
            "overloaded",
            Retry.NEXT_ACCOUNT,
        ),
        (
            {"type": "error", "code": "rate_limit_exceeded", "message": "try again in 1.5s"},
            "rate_limit",
            Retry.NEXT_ACCOUNT,
        ),
        (
            {"type": "error", "status": 429, "error": {"type": "usage_limit_reached"}},
            "quota",
            Retry.NEXT_ACCOUNT,
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "context_length_exceeded"}}},
            "context_full",
            Retry.NEVER,
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "insufficient_quota"}}},
            "quota",
            Retry.NEXT_ACCOUNT,
        ),
        ({"type": "response.failed", "response": {}}, "server", Retry.NEXT_ACCOUNT),
        ({"error": {"message": "bad", "code": 429}}, "rate_limit", Retry.NEXT_ACCOUNT),
        (
            {"type": "response.completed", "response": {"status": "failed", "error": {}}},
            "server",
            Retry.NEXT_ACCOUNT,
        ),
    ],
)
def test_failures_inside_a_stream(event, kind, retry):
    events = decode_stream(sse(CREATED, event))
    failure = events[-1].failure
    assert (failure.kind, failure.retry) == (kind, retry)
    (frame,) = frames_of(sse(event))
    sight = DIALECT.inspect(frame)
    assert sight.failure is not None
    assert sight.failure.kind == kind


def test_quota_in_a_stream_says_when_it_ends():
    error = {"type": "usage_limit_reached", "message": "m", "resets_at": 160}
    events = decode_stream(sse(CREATED, {"type": "response.failed", "response": {"error": error}}))
    assert events[-1].failure.retry_after_s == 60
    error = {"type": "usage_limit_reached", "message": "m", "resets_in_seconds": 30}
    events = decode_stream(sse(CREATED, {"type": "error", "error": error}))
    assert events[-1].failure.retry_after_s == 30


def test_service_notes_and_progress_tell_nothing():
    notes = [
        {"type": "codex.rate_limits", "plan_type": "plus"},
        {"type": "codex.response.metadata"},
        {"type": "keepalive", "sequence_number": 3},
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws"},
        {"type": "response.mcp_call_arguments.delta", "delta": {"a": 1}, "output_index": 0},
        {"type": "response.some_future.event", "x": [1]},
    ]
    events = decode_stream(sse(CREATED, *notes, DONE))
    assert [type(event) for event in events] == [Started, Finished]


def test_words_without_announcements_are_told():
    delta = {"type": "response.output_text.delta", "delta": "Hi", "item_id": "m1"}
    found = fold(decode_stream(sse(delta, delta, DONE)))
    assert [part.text for part in found.parts] == ["HiHi"]


def test_servers_that_count_every_item_as_the_first_lose_nothing():
    stream = []
    for name in ("a", "b"):
        item = {"type": "message", "id": name, "content": [{"type": "output_text", "text": name}]}
        stream += [
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**item, "content": []},
            },
            {
                "type": "response.output_text.delta",
                "output_index": 0,
                "item_id": name,
                "delta": name,
            },
            {"type": "response.output_item.done", "output_index": 0, "item": item},
        ]
    found = fold(decode_stream(sse(CREATED, *stream, DONE)))
    assert [part.text for part in found.parts] == ["a", "b"]


def test_call_without_arguments_has_an_empty_object():
    item = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": ""}
    stream = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    (call,) = fold(decode_stream(sse(CREATED, *stream, DONE))).parts
    assert call.arguments == "{}"


@pytest.mark.parametrize(
    "data",
    [
        b"data: nonsense\n\n",
        b"data: 3\n\n",
        b'data: {"type":"response.output_item.done","output_index":0,"item":{"type":"message",'
        b'"content":[{"type":"output_text","text":"x"}]}}\n\ndata: \xff\n\n',
        sse(
            {
                "type": "response.output_item.done",
                "output_index": 0,
                "item": {"type": "function_call", "name": 3, "arguments": []},
            }
        ),
    ],
)
def test_malformed_stream_fails_as_a_value(data):
    events = decode_stream(data)
    check_grammar(events)
    assert isinstance(events[-1], Failed)
    assert events[-1].failure.code == "upstream_protocol"


def test_stream_that_begins_with_a_failure():
    failure = Failure(529, "Busy.", "overloaded", retry_after_s=3)
    events = told(encode_stream([Failed(failure)]))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.failed",
    ]
    response = events[-1]["response"]
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_is_overloaded", "message": "Busy."}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("context_full", "context_length_exceeded"),
        ("overloaded", "server_is_overloaded"),
        ("rate_limit", "rate_limit_exceeded"),
        ("quota", "insufficient_quota"),
        ("invalid_request", "invalid_prompt"),
        ("server", "server_error"),
        ("timeout", "server_error"),
    ],
)
def test_failure_after_content_keeps_its_meaning(kind, code):
    start = [Started("", ""), PartStarted(0, Text("")), TextDelta(0, "Hi")]
    data = encode_stream([*start, Failed(Failure(500, "Oh.", kind))])
    events = told(data)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == code
    assert isinstance(decode_stream(data)[-1], Failed)
    assert decode_stream(data)[-1].failure.message == "Oh."


def test_pings_are_comments():
    encoder = DIALECT.stream_encoder(reply_to())
    data = encoder.encode([Started("", ""), Ping(), UsageSeen(Usage())]) + encoder.ping()
    assert data.endswith(b": keep-alive\n\n")
    assert len(frames_of(data)) == 2


def test_usage_seen_before_the_end_is_kept():
    data = encode_stream(
        [Started("", "", Usage(1)), UsageSeen(Usage(2, output=3)), Finished("end")]
    )
    assert told(data)[-1]["response"]["usage"]["total_tokens"] == 5


def test_late_signature_of_a_call_still_reaches_it():
    events = [
        Started("", ""),
        PartStarted(0, ToolCall("c1", "f", "")),
        ArgumentsDelta(0, "{}"),
        SignatureDelta(0, Signature("google", "late")),
        PartEnded(0),
        PartStarted(1, ToolCall("c2", "f", "")),
        PartEnded(1),
        Finished("tool_use"),
    ]
    output = check_stream(encode_stream(events))[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["function_call", "reasoning", "function_call"]
    (message,) = decode_request({"model": "m", "input": output}).messages
    assert [part.signature for part in message.parts] == [Signature("google", "late"), None]


def test_carried_signature_after_tool_results_is_not_lost():
    carrier = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "encrypted_content": seal(Signature("google", "s"), {"call": "c2"}),
    }
    items = [
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
        carrier,
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
    ]
    messages = decode_request({"model": "m", "input": items}).messages
    assert messages[2].parts[0].signature == Signature("google", "s")


def test_unsigned_thought_is_sealed_empty():
    answer = ChatResponse("i", "m", (Reasoning("t"),), "end")
    item = DIALECT.encode_response(answer, reply_to()).body["output"][0]
    opened = open_seal(item["encrypted_content"])
    assert opened is not None
    assert opened[0] == Signature("", "")


# Pass-through ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", STREAMS)
def test_inspection_sees_content_and_the_end(case):
    sights = [DIALECT.inspect(frame) for frame in frames_of(stream_of(case))]
    body = load(case, "response.json")
    assert not any(sight.content for sight in sights[:2])
    assert sights[-1].terminal
    assert sights[-1].usage == DIALECT.decode_response(body, "openai").usage
    assert sights[-1].model == body["model"]
    assert not any(sight.terminal or sight.failure for sight in sights[:-1])


def test_inspection_needs_no_event_line():
    assert DIALECT.inspect(Frame("", b'{"type":"response.output_text.delta"}')).content
    assert DIALECT.inspect(Frame("", b'{"type":"codex.rate_limits"}')) == DIALECT.inspect(
        Frame("", b'{"type":"response.created"}')
    )
    assert DIALECT.inspect(Frame("", b"[DONE]")).failure is None
    assert DIALECT.inspect(Frame("response.completed", b"{")).terminal


# Hostile input -----------------------------------------------------------------------------------

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([[{}]]),
    st.just({"type": "message", "id": 4}),
)


def places_in(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places_in(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places_in(inner, (*path, index))


def put(value, path, junk, delete):
    if not path:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and delete:
        del copy[path[0]]
    else:
        copy[path[0]] = put(copy[path[0]], path[1:], junk, delete)
    return copy


def mutated(data, body):
    path = data.draw(st.sampled_from([p for p in places_in(body) if p]))
    return put(body, path, data.draw(JUNK), data.draw(st.booleans()))


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@FUZZ
@given(st.data())
def test_hostile_requests_give_request_errors(data):
    body = mutated(data, load(data.draw(st.sampled_from(REQUESTS)), "request.json"))
    with suppress(RequestError):
        dump(encode_request(DIALECT.decode_request(body, None)).body)


@FUZZ
@given(st.data())
def test_hostile_answers_give_upstream_errors(data):
    body = mutated(data, load(data.draw(st.sampled_from(RESPONSES)), "response.json"))
    with suppress(UpstreamError):
        answer = DIALECT.decode_response(body, "openai")
        check_grammar(decode_stream(encode_stream(unfold(answer))))


@FUZZ
@given(st.data())
def test_hostile_streams_keep_the_grammar(data):
    events = told(stream_of(data.draw(st.sampled_from(STREAMS))))
    place = data.draw(st.integers(0, len(events) - 1))
    events[place] = mutated(data, events[place])
    found = decode_stream(sse(*events))
    check_grammar(found)
    encode_stream(found)
    for frame in frames_of(sse(events[place])):
        DIALECT.inspect(frame)
