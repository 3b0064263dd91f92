"""Anthropic streams for a client: frames, late parts, failures."""

import pytest

from app.canonical.events import (
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
)
from app.canonical.failure import Failure, cut_stream
from app.canonical.fold import fold, unfold
from app.canonical.parts import Reasoning, Refusal, Signature, Text, ToolCall, ToolResult
from app.canonical.usage import Usage
from app.dialects.anthropic import ANTHROPIC
from app.dialects.carrier import open_seal
from tests.dialects.test_anthropic_stream import (
    ANSWERS,
    bodies_of,
    decode,
    encode_events,
    events_of,
    raw,
    reply,
    whole,
)


@pytest.mark.parametrize("case", ANSWERS)
def test_an_encoded_stream_tells_the_same(case):
    events = events_of(raw(case))
    again = events_of(encode_events(events))
    assert fold(again) == fold(events)
    assert fold(events_of(encode_events(unfold(decode(whole(case)))))) == decode(whole(case))


def test_unknown_usage_is_sent_as_zeros_then_as_known():
    data = encode_events(
        [Started("", "m"), Finished("end", Usage(5, 1, 2, 3, 1, 2))],
    )
    first, last, _ = bodies_of(data)
    assert first["message"]["usage"]["input_tokens"] == 0
    assert first["message"]["usage"]["output_tokens"] == 0
    assert last["usage"] == {
        "input_tokens": 5,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 1,
        "output_tokens": 3,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 2},
        "output_tokens_details": {"thinking_tokens": 1},
    }


def test_a_signature_that_comes_late_follows_its_call():
    encoder = ANTHROPIC.stream_encoder(reply())
    data = encoder.encode([Started("", "m"), PartStarted(0, ToolCall("c", "f", ""))])
    data += encoder.encode([ArgumentsDelta(0, "{}")])
    data += encoder.encode([SignatureDelta(0, Signature("google", "s")), PartEnded(0)])
    data += encoder.encode([Finished("tool_use")])
    answer = fold(events_of(data))
    call, carrier = answer.parts
    assert isinstance(call, ToolCall)
    assert open_seal(carrier.signature.value) == (Signature("google", "s"), {"call": "c"})


def test_sections_are_joined_by_blank_lines():
    events = [
        Started("", "m"),
        PartStarted(0, Reasoning(summary=True)),
        ReasoningDelta(0, "one", 0),
        ReasoningDelta(0, "two", 1),
        ReasoningDelta(0, "more", 1),
        PartEnded(0),
        Finished("end"),
    ]
    assert fold(events_of(encode_events(events))).parts[0].text == "one\n\ntwomore"


def test_tokens_are_framed_alike():
    encoder = ANTHROPIC.stream_encoder(reply())
    encoder.encode([Started("", "m"), PartStarted(0, Text(""))])
    encoder.encode([TextDelta(0, "a")])
    assert encoder.encode([TextDelta(0, '100% "b"\u2029')]) == (
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        b'"text":"100% \\"b\\"\\u2029"}}\n\n'
    )


def test_pings_and_failures():
    encoder = ANTHROPIC.stream_encoder(reply())
    assert encoder.ping() == encoder.encode([Ping()])
    assert b"event: ping" in encoder.ping()
    first = encoder.encode([Failed(cut_stream())])
    assert bodies_of(first) == [
        {"type": "error", "error": {"type": "api_error", "message": cut_stream().message}}
    ]
    assert encoder.encode([TextDelta(0, "late"), Finished("end")]) == b""
    broken = ANTHROPIC.stream_encoder(reply())
    broken.encode([Started("", "m"), PartStarted(0, Text("")), TextDelta(0, "a")])
    assert bodies_of(broken.encode([Failed(Failure(529, "busy", "overloaded"))]))[0]["error"] == {
        "type": "overloaded_error",
        "message": "busy",
    }
    assert broken.encode([TextDelta(0, "late"), ArgumentsDelta(0, "x"), PartEnded(0)]) == b""


def test_a_stream_without_a_start_is_started():
    data = encode_events(
        [PartStarted(0, Text("")), TextDelta(0, "a"), PartEnded(0), Finished("end")]
    )
    assert bodies_of(data)[0]["type"] == "message_start"


def test_parts_that_are_known_at_their_start_are_written():
    events = [
        Started("", "m"),
        PartStarted(0, Reasoning("thought")),
        PartEnded(0),
        PartStarted(1, Text("text")),
        PartEnded(1),
        PartStarted(2, ToolCall("c", "f", '{"a":1}')),
        PartEnded(2),
        PartStarted(3, Refusal("no")),
        PartEnded(3),
        PartStarted(4, ToolResult("c", ())),
        PartEnded(4),
        Finished("tool_use"),
    ]
    parts = fold(events_of(encode_events(events))).parts
    assert [type(part) for part in parts] == [Reasoning, Text, ToolCall, Text]
    assert parts[2].arguments == '{"a":1}'
