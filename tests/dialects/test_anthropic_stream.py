"""Anthropic streams of a service: fidelity, cuts, odd and damaged wires."""

import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.canonical.events import Failed, Finished, PartEnded, PartStarted, Started, UsageSeen
from app.canonical.fold import fold
from app.canonical.parts import Opaque, Reasoning, Signature, Text, ToolCall
from app.canonical.usage import Usage
from app.dialects.anthropic import ANTHROPIC
from app.dialects.base import ReplyContext
from app.dialects.carrier import open_seal
from app.dialects.sse import SseParser
from tests.dialects.corpus import places_to_cut

CASES = Path(__file__).parent / "cases" / "anthropic"


ANSWERS = sorted(path.parent.name for path in CASES.glob("*/response.json"))


KNOWN_TO_SDK = [case for case in ANSWERS if case not in ("unknown_fields", "unknown_stop")]


def whole(case):
    return msgspec.json.decode((CASES / case / "response.json").read_bytes())


def raw(case):
    return (CASES / case / "stream.sse").read_bytes()


def reply(model="claude-opus-5"):
    made = Counter()

    def new_id(prefix):
        made[prefix] += 1
        return f"{prefix}{made[prefix]:024d}"

    return ReplyContext(model, None, 0.0, new_id)


def decode(body):
    return ANTHROPIC.decode_response(body, "anthropic")


def events_of(*chunks, close=True):
    decoder = ANTHROPIC.stream_decoder("anthropic")
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + (decoder.close() if close else [])


def bodies_of(data):
    parser = SseParser()
    frames = parser.feed(data) + parser.close()
    bodies = [msgspec.json.decode(frame.data) for frame in frames]
    assert [frame.event for frame in frames] == [body["type"] for body in bodies]
    return bodies


def frames(*bodies):
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (body["type"].encode(), msgspec.json.encode(body))
        for body in bodies
    )


START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}},
}


STOP = {"type": "message_stop"}


def block(index, **content):
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index, **fields):
    return {"type": "content_block_delta", "index": index, "delta": fields}


def ended(index):
    return {"type": "content_block_stop", "index": index}


def finish(reason="end_turn", **usage):
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None},
        "usage": {"output_tokens": 9, **usage},
    }


def encode_events(events, **kwargs):
    return ANTHROPIC.stream_encoder(reply(**kwargs)).encode(events)


def check_grammar(events):
    opened, index = None, -1
    for at, event in enumerate(events):
        if isinstance(event, PartStarted):
            assert opened is None
            index += 1
            assert event.index == index
            opened = index
        elif isinstance(event, PartEnded):
            assert event.index == opened
            opened = None
        elif hasattr(event, "index"):
            assert event.index == opened
        elif isinstance(event, Finished | Failed):
            assert at == len(events) - 1
            assert opened is None
    assert isinstance(events[-1], Finished | Failed)
    if isinstance(events[-1], Finished):
        assert isinstance(events[0], Started)


@pytest.mark.parametrize("case", ANSWERS)
def test_a_stream_tells_what_the_whole_answer_tells(case):
    events = events_of(raw(case))
    check_grammar(events)
    assert fold(events) == decode(whole(case))


@pytest.mark.parametrize("case", ANSWERS)
def test_chunks_may_end_anywhere(case):
    data = raw(case)
    expected = events_of(data)
    for at in places_to_cut(data, case):
        assert events_of(data[:at], data[at:]) == expected, at
    singles = [data[at : at + 1] for at in range(len(data))]
    assert events_of(*singles) == expected


@pytest.mark.parametrize("case", ANSWERS)
def test_a_cut_stream_never_looks_complete(case):
    data = raw(case)
    terminal = data.rfind(b'{"type":"message_stop"}') + len(b'{"type":"message_stop"}')
    for at in sorted({*places_to_cut(data, case), terminal - 1, terminal}):
        events = events_of(data[:at])
        check_grammar(events)
        assert isinstance(events[-1], Finished) == (at >= terminal)


def test_later_counts_replace_earlier_ones():
    late = finish(input_tokens=50, cache_read_input_tokens=None)
    events = events_of(frames(START, late, STOP))
    assert events[0].usage == Usage(3, 0, 0, 1)
    assert [e.usage for e in events if isinstance(e, UsageSeen)] == [Usage(50, 0, 0, 9)]
    assert events[-1].usage == Usage(50, 0, 0, 9)


def test_an_error_event_ends_the_stream():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    opened = block(0, type="text", text="")
    events = events_of(frames(START, opened, error, STOP))
    check_grammar(events)
    failure = events[-1].failure
    assert (failure.status, failure.kind, failure.message) == (529, "overloaded", "Overloaded")
    assert isinstance(events_of(frames(error))[0], Failed)


@pytest.mark.parametrize(
    "data",
    [
        b"data: nonsense\n\n",
        b'data: {"type":"message_start","message":7}\n\n',
        b"data: \xff\n\n",
        b"data: " + b"[" * 200_000 + b"\n\n",
        frames(STOP),
        frames(block(0, type="text", text="")),
        frames(START, START),
        frames(START, delta(0, type="text_delta", text="a")),
        frames(
            START, block(0, type="text", text=""), delta(0, type="thinking_delta", thinking="a")
        ),
        frames(START, block(0, type="text", text=""), delta(0, type="text_delta", text=5)),
        frames(START, block(0, type="tool_use", id="", name="f")),
        frames(START, block(0, type=None)),
        frames(START, finish(input_tokens=-1)),
    ],
)
def test_a_malformed_stream_fails_as_a_value(data):
    events = events_of(data)
    check_grammar(events)
    assert isinstance(events[-1], Failed)
    assert events[-1].failure.code == "upstream_protocol"


def test_what_is_new_on_the_wire_does_no_harm():
    events = events_of(
        frames(
            START,
            {"type": "brand_new_event", "index": "odd"},
            block(0, type="text", text=""),
            delta(0, type="brand_new_delta", x=1),
            delta(0, type="text_delta", text="a"),
            ended(0),
            ended(0),
            block(1, type="brand_new_block", note="a", n=1),
            delta(1, type="brand_new_delta", note="b", n=2, m=None),
            ended(1),
            finish(),
            STOP,
        )
        + b"data: [DONE]\n\n"
    )
    assert fold(events).parts == (
        Text("a"),
        Opaque("anthropic", {"type": "brand_new_block", "note": "ab", "n": 2, "m": None}),
    )


def test_interleaved_blocks_come_out_one_after_another():
    events = events_of(
        frames(
            START,
            block(0, type="tool_use", id="a", name="f", input={}),
            block(1, type="tool_use", id="a", name="g", input={}),
            delta(1, type="input_json_delta", partial_json='{"b":'),
            delta(0, type="input_json_delta", partial_json='{"a":1}'),
            delta(1, type="input_json_delta", partial_json="2}"),
            ended(1),
            ended(0),
            finish("tool_use"),
            STOP,
        )
    )
    check_grammar(events)
    assert fold(events).parts == (ToolCall("a", "f", '{"a":1}'), ToolCall("a_2", "g", '{"b":2}'))


def test_blocks_without_their_stop_are_closed():
    events = events_of(
        frames(
            START,
            block(0, type="thinking", thinking="t", signature="s"),
            block(1, type="text", text="given at once"),
            block(2, type="tool_use", id="c", name="f", input={"a": 1}),
            finish("tool_use"),
            STOP,
        )
    )
    check_grammar(events)
    assert fold(events).parts == (
        Reasoning("t", signature=Signature("anthropic", "s")),
        Text("given at once"),
        ToolCall("c", "f", '{"a":1}'),
    )


def test_feeding_after_the_end_does_nothing():
    decoder = ANTHROPIC.stream_decoder("anthropic")
    assert isinstance(decoder.feed(raw("text"))[-1], Finished)
    assert decoder.feed(raw("text")) == []
    assert decoder.close() == []


def test_signatures_belong_to_the_named_issuer():
    decoder = ANTHROPIC.stream_decoder("zed")
    answer = fold(decoder.feed(raw("reasoning")))
    assert answer.parts[0].signature.issuer == "zed"
    assert ANTHROPIC.decode_response(whole("reasoning"), "zed").parts == answer.parts
    shown = ANTHROPIC.encode_response(answer, reply()).body["content"][0]["signature"]
    assert open_seal(shown)[0] == answer.parts[0].signature


def _damage(data, seed):
    rng = random.Random(seed)  # noqa: S311 - repeatable test input
    body = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(body))
        match rng.randrange(3):
            case 0:
                body[at] = rng.randrange(256)
            case 1:
                del body[at : at + rng.randint(1, 40)]
            case _:
                body[at:at] = bytes(body[at : at + rng.randint(1, 80)])
    return bytes(body)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=st.sampled_from(ANSWERS), seed=st.integers(0, 2**32))
def test_damaged_streams_end_in_order(case, seed):
    data = _damage(raw(case), seed)
    events = events_of(data)
    check_grammar(events)
    for body in bodies_of(encode_events(events)):
        assert isinstance(body, dict)


def test_a_block_that_begins_again_ends_the_one_before():
    again = block(0, type="text", text="b")
    data = frames(START, block(0, type="text", text="a"), again, ended(0), finish(), STOP)
    assert fold(events_of(data)).parts == (Text("a"), Text("b"))
    assert isinstance(events_of(frames(START, STOP) + b"data: [DONE]\n\n")[-1], Finished)
