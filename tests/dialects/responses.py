"""Reading, writing and checking the Responses wire, for the tests of its dialect."""

import json
from dataclasses import replace
from pathlib import Path

from openai.types.responses import ResponseStreamEvent
from openai.types.responses.response_input_item import ResponseInputItem
from pydantic import TypeAdapter

from app.canonical.events import (
    Annotated,
    ArgumentsDelta,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    ReasoningDelta,
    SignatureDelta,
    Started,
    TextDelta,
)
from app.canonical.parts import (
    CacheMark,
    Media,
    Native,
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
)
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage
from app.dialects.base import Dialect, ReplyContext
from app.dialects.openai_responses import OPENAI_RESPONSES
from app.dialects.sse import SseParser

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


def simple(**changes):
    return replace(
        ChatRequest("m", (Message("user", (Text("Hi"),)),)),
        **changes,
    )


def sse(*events):
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


CREATED = {
    "type": "response.created",
    "response": {"id": "resp_1", "model": "m", "created_at": 100},
}
DONE = {"type": "response.done", "response": {"status": "completed", "output": []}}
