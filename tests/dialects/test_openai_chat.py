from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
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
)
from app.canonical.profile import ModelProfile, Target
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage
from app.dialects.base import Peek, ReplyContext
from app.dialects.openai_chat import OPENAI_CHAT
from app.dialects.sse import Frame, SseParser
from app.errors import RequestError, UpstreamError

CASES = Path(__file__).parent / "cases" / "openai_chat"
NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir())
UNOFFICIAL = {"reasoning_details", "reasoning_history", "cache_control", "video"}
"""Cases whose fields only compatible servers know."""
NO_SDK_CHUNKS = {"custom_tools"}
"""The SDK has no type for streamed custom calls."""
PEEK = Peek("m", False)
completion = TypeAdapter(ChatCompletion)
chunk = TypeAdapter(ChatCompletionChunk)


def load(name, file):
    path = CASES / name / file
    return msgspec.json.decode(path.read_bytes()) if path.exists() else None


def with_file(file):
    return [name for name in NAMES if (CASES / name / file).exists()]


def target_of(name):
    issuer = {"thought_signature": "google", "unknown_fields": "openai"}.get(name, "openai_chat")
    official = name not in UNOFFICIAL and name != "thought_signature"
    return Target(ModelProfile("m"), issuer, official)


def reply(request=None, include_usage=True):
    numbers = iter(range(1000))
    return ReplyContext(
        "gpt-5-mini",
        request,
        1741570283.0,
        lambda prefix: f"{prefix}{next(numbers):024d}",
        include_usage,
    )


def decode_stream(data, size=None, issuer="google"):
    decoder = OPENAI_CHAT.stream_decoder(issuer)
    events = []
    step = size or len(data) or 1
    for start in range(0, len(data), step):
        events.extend(decoder.feed(data[start : start + step]))
    return events + decoder.close()


def chunks_of(data):
    parser = SseParser()
    frames = [*parser.feed(data), *parser.close()]
    assert frames[-1].data == b"[DONE]"
    return [msgspec.json.decode(frame.data) for frame in frames[:-1]]


def bare(response):
    """An answer without what a second encoding makes anew."""
    return replace(response, id="", model="", created=None)


def normal(body):
    """A response body without fields that say nothing."""
    return {k: v for k, v in body.items() if k not in ("id", "created", "model")}


@pytest.mark.parametrize("name", NAMES)
def test_a_case_names_its_source(name):
    assert (CASES / name / "source.txt").read_text().strip()


@pytest.mark.parametrize("name", with_file("request.json"))
def test_a_request_survives_the_canon(name):
    body = load(name, "request.json")
    first = OPENAI_CHAT.decode_request(body, PEEK)
    encoded = OPENAI_CHAT.encode_request(first, target_of(name))
    second = OPENAI_CHAT.decode_request(encoded.body, PEEK)
    if name == "functions":
        # They leave as tools, so that only the memory of the old form is gone.
        assert replace(second, native=first.native) == first
    else:
        assert second == first
        assert encoded.body == body
        assert encoded.losses == ()


def test_functions_become_tools_and_results_find_their_calls():
    request = OPENAI_CHAT.decode_request(load("functions", "request.json"), PEEK)
    body = OPENAI_CHAT.encode_request(request, target_of("functions")).body
    call = body["messages"][1]["tool_calls"][0]
    assert body["tools"][0]["function"]["name"] == "get_weather"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert body["messages"][2]["tool_call_id"] == call["id"]
    assert body["parallel_tool_calls"] is False


@pytest.mark.parametrize("name", with_file("response.json"))
def test_a_response_survives_the_canon(name):
    body = load(name, "response.json")
    first = OPENAI_CHAT.decode_response(
        body, "openai_chat" if name != "thought_signature" else "google"
    )
    encoded = OPENAI_CHAT.encode_response(first, reply()).body
    if name == "reasoning_details":
        # Thought leaves under one name, whatever its name was.
        body["choices"][0]["message"]["reasoning_content"] = body["choices"][0]["message"].pop(
            "reasoning"
        )
    if name == "tool_choice_named":
        body["choices"][0]["finish_reason"] = "tool_calls"
    assert normal(encoded) == normal(body)
    completion.validate_python(encoded)


@pytest.mark.parametrize("name", with_file("stream.sse"))
def test_a_stream_tells_the_same_as_the_response(name):
    response = OPENAI_CHAT.decode_response(load(name, "response.json"), "google")
    data = (CASES / name / "stream.sse").read_bytes()
    assert bare(fold(decode_stream(data))) == bare(response)


@pytest.mark.parametrize("name", with_file("stream.sse"))
def test_a_stream_may_be_cut_into_chunks_anywhere(name):
    data = (CASES / name / "stream.sse").read_bytes()
    assert len(data) <= 8192
    whole = decode_stream(data)
    assert decode_stream(data, 1) == whole
    for size in (2, 3, 7, 64, 1000):
        assert decode_stream(data, size) == whole


@pytest.mark.parametrize("name", ["text", "parallel_tools", "reasoning_details", "unicode"])
def test_a_cut_before_the_finish_reason_is_a_failure(name):
    data = (CASES / name / "stream.sse").read_bytes()
    marker = data.index(b'"finish_reason":"')
    terminal = data.index(b"\n\n", marker)
    for end in range(terminal):
        kinds = [type(event).__name__ for event in decode_stream(data[:end])]
        assert kinds.count("Failed") == 1, end
        assert kinds[-1] == "Failed"
        assert "Finished" not in kinds
    for end in range(terminal, len(data) + 1):
        kinds = [type(event).__name__ for event in decode_stream(data[:end])]
        assert kinds.count("Finished") == 1, end
        assert kinds[-1] == "Finished"
        assert "Failed" not in kinds


EVERYTHING = ChatResponse(
    "msg_1",
    "claude",
    (
        Reasoning("first\n\nsecond", ("first", "second"), True, Signature("anthropic", "s1")),
        Reasoning("third", signature=Signature("openai", "s2"), id="rs_1"),
        Reasoning(signature=Signature("anthropic", "s3"), redacted=True),
        Text("Größe \u2028 🙂", signature=Signature("google", "t")),
        Refusal("no"),
        ToolCall("call_1", "f", '{"a":1}', signature=Signature("google", "g")),
        ToolCall("call_2", "f", "{}", signature=Signature("anthropic", "x")),
        ToolCall("toolu_" + "x" * 60, "g", ""),
        Media("image", "image/png", "iVBORw0K"),
        Opaque("anthropic", {"type": "server_tool_use"}),
    ),
    "tool_use",
    Usage(10, 20, 5, 8, 3),
    native=Native("anthropic", {"container": 1}),
)


def generic_responses():
    yield EVERYTHING
    for stop in (
        "end",
        "max_tokens",
        "stop_sequence",
        "refusal",
        "content_filter",
        "pause",
        "context_full",
    ):
        yield ChatResponse("r", "m", (Text("x"),), stop, Usage(1, 0, 0, 1))
    yield ChatResponse("r", "m", (), "end")
    yield ChatResponse("r", "m", (Refusal("no"),), "refusal", Usage())


@pytest.mark.parametrize("response", list(generic_responses()))
def test_any_answer_is_valid_for_the_sdk_whole_and_streamed(response):
    body = OPENAI_CHAT.encode_response(response, reply()).body
    completion.validate_python(body)
    data = OPENAI_CHAT.stream_encoder(reply()).encode(unfold(response))
    whole = OPENAI_CHAT.decode_response(body, "google")
    for item in chunks_of(data):
        chunk.validate_python(item)
    streamed = fold(decode_stream(data))
    assert streamed.stop == whole.stop
    assert streamed.usage == whole.usage == response.usage
    texts = [
        (type(p), getattr(p, "text", ""))
        for p in whole.parts
        if not isinstance(p, ToolCall | Media)
    ]
    assert [
        (type(p), getattr(p, "text", ""))
        for p in streamed.parts
        if not isinstance(p, ToolCall | Media)
    ] == texts
    assert [p for p in streamed.parts if isinstance(p, ToolCall)] == [
        p for p in whole.parts if isinstance(p, ToolCall)
    ]


@pytest.mark.parametrize("name", with_file("stream.sse"))
def test_a_stream_encoded_anew_tells_the_same(name):
    events = decode_stream((CASES / name / "stream.sse").read_bytes())
    encoder = OPENAI_CHAT.stream_encoder(reply())
    data = b"".join(encoder.encode([event]) for event in events)
    if name not in NO_SDK_CHUNKS:
        for item in chunks_of(data):
            chunk.validate_python(item)
    first, second = fold(events), fold(decode_stream(data))
    if name == "reasoning_details":
        # The signature of another service comes back sealed, and opens to the same.
        assert second.parts[0].signature == first.parts[0].signature
        first = replace(first, parts=first.parts[1:])
        second = replace(second, parts=second.parts[1:])
    assert bare(second) == bare(first)


def test_signatures_of_others_come_back_with_their_thoughts():
    message = OPENAI_CHAT.encode_response(EVERYTHING, reply()).body["choices"][0]["message"]
    request = OPENAI_CHAT.decode_request({"model": "m", "messages": [message]}, PEEK)
    thoughts = [p for p in request.messages[0].parts if isinstance(p, Reasoning)]
    assert [(p.text, p.signature, p.redacted, p.id) for p in thoughts] == [
        ("first\n\nsecond", Signature("anthropic", "s1"), False, None),
        ("third", Signature("openai", "s2"), False, "rs_1"),
        ("", Signature("anthropic", "s3"), True, None),
    ]
    calls = [p for p in request.messages[0].parts if isinstance(p, ToolCall)]
    assert [c.signature for c in calls] == [
        Signature("google", "g"),
        Signature("anthropic", "x"),
        None,
    ]
    text = next(p for p in request.messages[0].parts if isinstance(p, Text))
    assert text.signature == Signature("google", "t")


def test_signatures_over_changed_thoughts_are_not_kept():
    message = OPENAI_CHAT.encode_response(EVERYTHING, reply()).body["choices"][0]["message"]
    message["reasoning_content"] = "something else"
    request = OPENAI_CHAT.decode_request({"model": "m", "messages": [message]}, PEEK)
    thoughts = [p for p in request.messages[0].parts if isinstance(p, Reasoning)]
    assert [(p.text, p.signature) for p in thoughts] == [
        ("something else", None),
        ("", Signature("anthropic", "s3")),
    ]


def test_long_call_ids_fit_and_missing_ids_are_made():
    response = ChatResponse(
        "r", "m", (ToolCall("x" * 41, "f", "{}"), ToolCall("", "f", "{}")), "tool_use"
    )
    calls = OPENAI_CHAT.encode_response(response, reply()).body["choices"][0]["message"][
        "tool_calls"
    ]
    assert len(calls[0]["id"]) <= 40
    assert calls[1]["id"].startswith("call_0")


def test_a_client_of_the_old_functions_gets_a_function_call():
    request = OPENAI_CHAT.decode_request(load("functions", "request.json"), PEEK)
    response = ChatResponse("r", "m", (ToolCall("call_1", "get_weather", '{"a":1}'),), "tool_use")
    choice = OPENAI_CHAT.encode_response(response, reply(request)).body["choices"][0]
    assert choice["message"]["function_call"] == {"name": "get_weather", "arguments": '{"a":1}'}
    assert choice["finish_reason"] == "function_call"
    data = OPENAI_CHAT.stream_encoder(reply(request)).encode(unfold(response))
    items = chunks_of(data)
    assert items[-1]["choices"][0]["finish_reason"] == "function_call"
    pieces = [i["choices"][0]["delta"].get("function_call", {}) for i in items]
    assert "".join(piece.get("arguments", "") for piece in pieces) == '{"a":1}'
    for item in items:
        chunk.validate_python(item)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 2}, Usage(10, 0, 0, 2, None)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
            Usage(6, 4, 0, 2, None),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 3},
            Usage(7, 3, 0, 2),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 2,
                "total_tokens": 17,
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            Usage(10, 0, 0, 7, 5),
        ),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
            Usage(1, 4, 0, 2),
        ),
    ],
)
def test_usage_is_read_disjointly(usage, expected):
    body = load("text", "response.json") | {"usage": usage}
    assert OPENAI_CHAT.decode_response(body, "x").usage == expected


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"message": 3}]},
        {"choices": [{"message": {"content": "x"}, "finish_reason": "error"}]},
        {"error": {"message": "busy", "code": 503}},
        {"error": "no"},
        {"choices": [{"message": {"tool_calls": [{"function": {"name": 4}}]}}]},
    ],
)
def test_an_answer_that_is_none_is_an_upstream_error(body):
    with pytest.raises(UpstreamError):
        OPENAI_CHAT.decode_response(body, "x")


def test_equal_call_ids_of_an_answer_are_told_apart():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    body = {"choices": [{"message": {"tool_calls": [call, call]}, "finish_reason": "stop"}]}
    response = OPENAI_CHAT.decode_response(body, "x")
    assert [(p.id, p.arguments) for p in response.parts] == [("c", "{}"), ("c_2", "{}")]
    assert response.stop == "tool_use"


def test_chunk_lists_with_thought_are_read():
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "yes"},
    ]
    body = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    assert OPENAI_CHAT.decode_response(body, "x").parts == (Reasoning("hm"), Text("yes"))


def test_peek_reads_what_routing_needs():
    raw = (
        b'{"model":"m","stream":true,"prompt_cache_key":"k","reasoning_effort":"low","messages":[]}'
    )
    peek = OPENAI_CHAT.peek(raw, "/v1/chat/completions", "", OPENAI_CHAT.routes[0])
    assert peek == Peek("m", True, "generate", "k", True)
    assert not OPENAI_CHAT.peek(
        b'{"model":"m","reasoning_effort":"none"}', "", "", OPENAI_CHAT.routes[0]
    ).reasoning


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"model":1}', b'{"model":"a","model":"b"}', b"\xff"]
)
def test_peek_refuses_a_body_without_a_model(raw):
    with pytest.raises(RequestError):
        OPENAI_CHAT.peek(raw, "", "", OPENAI_CHAT.routes[0])


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("/v1/chat/completions", True),
        ("/chat/completions", True),
        ("/v1/completions", False),
        ("/v1/chat/completions/x", False),
    ],
)
def test_the_route_is_both_paths(path, matches):
    assert bool(OPENAI_CHAT.routes[0].pattern.fullmatch(path)) is matches


def test_there_is_no_count_call():
    request = OPENAI_CHAT.decode_request(load("text", "request.json"), PEEK)
    calls = [
        lambda: OPENAI_CHAT.encode_count_request(request, target_of("text")),
        lambda: OPENAI_CHAT.decode_count({}),
        lambda: OPENAI_CHAT.encode_count(1),
        lambda: OPENAI_CHAT.path("count_tokens", "m", stream=False),
    ]
    for call in calls:
        with pytest.raises(RequestError):
            call()
    assert OPENAI_CHAT.path("generate", "m", stream=True) == "/v1/chat/completions"


def sights(data):
    return [OPENAI_CHAT.inspect(frame) for frame in SseParser().feed(data)]


@pytest.mark.parametrize("name", with_file("stream.sse"))
def test_inspection_sees_content_usage_and_end(name):
    seen = sights((CASES / name / "stream.sse").read_bytes())
    assert not seen[0].content
    assert any(sight.content for sight in seen)
    assert seen[-1].terminal
    expected = OPENAI_CHAT.decode_response(load(name, "response.json"), "x").usage
    assert [s.usage for s in seen if s.usage is not None] == [expected]
    assert not any(s.failure for s in seen)


def test_inspection_is_not_fooled_by_text():
    text = msgspec.json.encode(
        {"choices": [{"delta": {"content": '"error": {"x": 1}, "usage": {'}}]}
    )
    assert OPENAI_CHAT.inspect(Frame("", text)).failure is None
    failure = OPENAI_CHAT.inspect(Frame("", b'{"error": {"message": "no", "code": 429}}')).failure
    assert failure is not None
    assert failure.status == 429
    assert OPENAI_CHAT.inspect(Frame("", b'{"error": null, "choices": []}')).failure is None
    assert OPENAI_CHAT.inspect(Frame("", b'{"error": {')).failure is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


def mutate(value, draw, depth=0):
    """Replace, remove or descend, somewhere in a JSON value."""
    if depth > 6 or draw(st.integers(0, 5)) == 0 or not isinstance(value, dict | list) or not value:
        return draw(json_values)
    if isinstance(value, dict):
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 6)) == 0:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: mutate(value[key], draw, depth + 1)}
    index = draw(st.integers(0, len(value) - 1))
    return [*value[:index], mutate(value[index], draw, depth + 1), *value[index + 1 :]]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(with_file("request.json")))
def test_hostile_requests_raise_request_errors_only(data, name):
    body = mutate(load(name, "request.json"), data.draw)
    if not isinstance(body, dict):
        return
    try:
        request = OPENAI_CHAT.decode_request(body, PEEK)
        for official in (True, False):
            encoded = OPENAI_CHAT.encode_request(
                request, Target(ModelProfile("m"), "openai_chat", official)
            )
            msgspec.json.encode(encoded.body)
    except RequestError:
        return  # the one error that a hostile body may raise; any other fails the test


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(with_file("response.json")))
def test_hostile_answers_raise_upstream_errors_only(data, name):
    body = mutate(load(name, "response.json"), data.draw)
    if not isinstance(body, dict):
        return
    try:
        response = OPENAI_CHAT.decode_response(body, "x")
    except UpstreamError:
        return  # the one error that a hostile body may raise; any other fails the test
    msgspec.json.encode(OPENAI_CHAT.encode_response(response, reply()).body)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(with_file("stream.sse")))
def test_hostile_streams_keep_the_grammar(data, name):
    parser = SseParser()
    frames = parser.feed((CASES / name / "stream.sse").read_bytes())
    number = data.draw(st.integers(0, len(frames) - 2))
    body = mutate(msgspec.json.decode(frames[number].data), data.draw)
    frames[number] = Frame("", msgspec.json.encode(body))
    wire = b"".join(b"data: %b\n\n" % frame.data for frame in frames)
    events = decode_stream(wire)
    check_grammar(events)
    msgspec.json.encode(OPENAI_CHAT.stream_encoder(reply()).encode(events).decode())
    for frame in frames:
        OPENAI_CHAT.inspect(frame)


def check_grammar(events):
    open_index, last = None, -1
    for number, event in enumerate(events):
        kind = type(event).__name__
        if kind == "Started":
            assert number == 0
        elif kind == "PartStarted":
            assert open_index is None
            assert event.index == last + 1
            open_index = last = event.index
        elif kind == "PartEnded":
            assert event.index == open_index
            open_index = None
        elif kind in ("Finished", "Failed"):
            assert number == len(events) - 1
            assert open_index is None
        elif kind not in ("UsageSeen", "Ping"):
            assert event.index == open_index
    assert type(events[-1]).__name__ in ("Finished", "Failed")
