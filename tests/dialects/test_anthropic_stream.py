"""Anthropic answers: whole and streamed, both ways, cut and damaged."""

import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

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
    UsageSeen,
)
from app.canonical.failure import Failure, cut_stream
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
from app.dialects.base import Peek, ReplyContext
from app.dialects.carrier import open_seal
from app.dialects.sse import SseParser
from app.errors import UpstreamError

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


# --- fidelity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_comes_back_as_it_was(case):
    encoded = ANTHROPIC.encode_response(decode(whole(case)), reply())
    assert encoded.body == whole(case)
    assert encoded.losses == ()


@pytest.mark.parametrize("case", ANSWERS)
def test_a_stream_tells_what_the_whole_answer_tells(case):
    events = events_of(raw(case))
    check_grammar(events)
    assert fold(events) == decode(whole(case))


@pytest.mark.parametrize("case", ANSWERS)
def test_chunks_may_end_anywhere(case):
    data = raw(case)
    expected = events_of(data)
    assert len(data) <= 8192
    for at in range(1, len(data)):
        assert events_of(data[:at], data[at:]) == expected
    singles = [data[at : at + 1] for at in range(len(data))]
    assert events_of(*singles) == expected


@pytest.mark.parametrize("case", ANSWERS)
def test_a_cut_stream_never_looks_complete(case):
    data = raw(case)
    terminal = data.rfind(b'{"type":"message_stop"}') + len(b'{"type":"message_stop"}')
    for at in range(len(data)):
        events = events_of(data[:at])
        check_grammar(events)
        assert isinstance(events[-1], Finished) == (at >= terminal)


@pytest.mark.parametrize("case", ANSWERS)
def test_an_encoded_stream_tells_the_same(case):
    events = events_of(raw(case))
    again = events_of(encode_events(events))
    assert fold(again) == fold(events)
    assert fold(events_of(encode_events(unfold(decode(whole(case)))))) == decode(whole(case))


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


# --- usage and stop reasons ----------------------------------------------------------------------


def test_usage_is_disjoint_and_complete():
    assert decode(whole("cached_usage")).usage == Usage(3, 2048, 1500, 7, None, 1000)
    assert decode(whole("reasoning")).usage == Usage(40, 0, 0, 310, 280)
    assert decode({"content": []}).usage is None
    halves = {"cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 5}}
    assert decode({"content": [], "usage": halves}).usage == Usage(0, 0, 7, 0, None, 5)


def test_later_counts_replace_earlier_ones():
    late = finish(input_tokens=50, cache_read_input_tokens=None)
    events = events_of(frames(START, late, STOP))
    assert events[0].usage == Usage(3, 0, 0, 1)
    assert [e.usage for e in events if isinstance(e, UsageSeen)] == [Usage(50, 0, 0, 9)]
    assert events[-1].usage == Usage(50, 0, 0, 9)


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


# --- answers of other dialects -------------------------------------------------------------------

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


# --- odd wires -----------------------------------------------------------------------------------


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


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=st.sampled_from(ANSWERS), seed=st.integers(0, 2**32))
def test_damaged_streams_end_in_order(case, seed):
    data = _damage(raw(case), seed)
    events = events_of(data)
    check_grammar(events)
    for body in bodies_of(encode_events(events)):
        assert isinstance(body, dict)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
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


def test_a_block_that_begins_again_ends_the_one_before():
    again = block(0, type="text", text="b")
    data = frames(START, block(0, type="text", text="a"), again, ended(0), finish(), STOP)
    assert fold(events_of(data)).parts == (Text("a"), Text("b"))
    assert isinstance(events_of(frames(START, STOP) + b"data: [DONE]\n\n")[-1], Finished)
