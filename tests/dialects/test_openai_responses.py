"""The Responses dialect as a whole: its cases, the official SDK's types, and hostile input."""

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from app.canonical.events import (
    Failed,
)
from app.canonical.fold import fold, unfold
from app.canonical.parts import (
    Reasoning,
    Signature,
    Text,
    ToolCall,
)
from app.dialects.base import dump
from app.dialects.sse import Frame
from app.errors import RequestError, UpstreamError
from tests.dialects.corpus import places_to_cut
from tests.dialects.responses import (
    ANSWER,
    CASES,
    CONVERSATION,
    DIALECT,
    INPUT,
    REQUESTS,
    RESPONSES,
    STREAMS,
    TARGET,
    check_grammar,
    check_stream,
    decode_request,
    decode_stream,
    encode_request,
    encode_stream,
    frames_of,
    load,
    reply_to,
    sse,
    stream_of,
    told,
)


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
    for at in places_to_cut(data, case):
        decoder = DIALECT.stream_decoder("openai")
        events = decoder.feed(data[:at]) + decoder.feed(data[at:]) + decoder.close()
        assert events == whole, at


@pytest.mark.parametrize("case", ["text", "reasoning", "interleaved", "done_only", "custom_tool"])
def test_stream_cut_anywhere_is_never_a_clean_end(case):
    data = stream_of(case)
    end = data.rindex(b"}")
    for at in places_to_cut(data[:end], case):
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
    assert "DRAGOMANXSEALX01." not in json.dumps(sent.body)
    assert len([loss for loss in sent.losses if "thought" in loss.reason]) == 4


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


FUZZ = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


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
