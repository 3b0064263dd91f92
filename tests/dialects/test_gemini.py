"""The Gemini dialect over its cases, and what belongs to the dialect as a whole."""

import copy
import itertools
import pathlib
from dataclasses import replace

import msgspec
import pytest
from google.genai import types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.canonical.events import Failed, Finished
from app.canonical.failure import Failure
from app.canonical.fold import fold, unfold
from app.canonical.parts import ToolCall
from app.canonical.profile import ModelProfile, Target
from app.canonical.response import ChatResponse
from app.dialects.base import Peek, ReplyContext, dump
from app.dialects.gemini import GEMINI
from app.dialects.sse import Frame, SseParser
from app.errors import RequestError, UpstreamError
from tests.dialects.corpus import places_to_cut

CASES = pathlib.Path(__file__).parent / "cases" / "gemini"
PEEK = Peek("gemini-2.5-flash", False)


# Levels are how Gemini 3 is told to think; the other cases are for its predecessor.
PEEK_OF = {"reasoning_level": Peek("gemini-3-flash-preview", False)}


def names(file):
    return sorted(path.parent.name for path in CASES.glob(f"*/{file}"))


def load(case, file="request.json"):
    return msgspec.json.decode((CASES / case / file).read_bytes())


def stream_of(case):
    return (CASES / case / "stream.sse").read_bytes()


def target(model="gemini-2.5-flash", issuer="google", official=True, **profile):
    return Target(ModelProfile(model, **profile), issuer, official)


def reply(model="gemini-2.5-flash", variant=""):
    count = itertools.count(1)
    return ReplyContext(
        model, None, 0.0, lambda prefix: f"{prefix}{next(count):024d}", variant=variant
    )


def decoded(data, step=None, issuer="google"):
    """Events of a stream, fed in pieces of ``step`` bytes."""
    decoder = GEMINI.stream_decoder(issuer)
    events = []
    for start in range(0, len(data), step or len(data) or 1):
        events += decoder.feed(data[start : start + (step or len(data))])
    return events + decoder.close()


def chunks_of(data):
    parser = SseParser()
    return [msgspec.json.decode(frame.data) for frame in parser.feed(data) + parser.close()]


def without_made_ids(response):
    """Calls that came without an id are given one for the client."""
    return replace(
        response,
        parts=tuple(
            replace(p, id="") if isinstance(p, ToolCall) and p.id.startswith("call_0") else p
            for p in response.parts
        ),
    )


def drop_made_ids(body):
    for candidate in body.get("candidates", []):
        for part in candidate.get("content", {}).get("parts", []):
            if part.get("functionCall", {}).get("id", "").startswith("call_0"):
                del part["functionCall"]["id"]
    return body


def test_every_case_names_its_source():
    assert len(names("source.txt")) == len([p for p in CASES.iterdir() if p.is_dir()]) > 25


@pytest.mark.parametrize("case", names("request.json"))
def test_a_request_comes_back_as_it_was(case):
    body = load(case)
    peek = PEEK_OF.get(case, PEEK)
    request = GEMINI.decode_request(copy.deepcopy(body), peek)
    encoded = GEMINI.encode_request(request, target(peek.model))
    assert encoded.body == body
    assert encoded.losses == ()
    assert GEMINI.decode_request(encoded.body, peek) == request


@pytest.mark.parametrize("case", names("request.json"))
def test_decoding_leaves_the_body_alone(case):
    body = load(case)
    GEMINI.decode_request(body, PEEK)
    assert body == load(case)


@pytest.mark.parametrize("case", names("response.json"))
def test_a_response_comes_back_as_it_was(case):
    body = load(case, "response.json")
    response = GEMINI.decode_response(copy.deepcopy(body), "google")
    encoded = GEMINI.encode_response(response, reply())
    assert drop_made_ids(copy.deepcopy(encoded.body)) == body
    assert encoded.losses == ()
    again = GEMINI.decode_response(encoded.body, "google")
    assert without_made_ids(again) == response


@pytest.mark.parametrize("case", names("stream.sse"))
def test_a_stream_tells_what_the_whole_answer_tells(case):
    whole = GEMINI.decode_response(load(case, "response.json"), "google")
    assert fold(decoded(stream_of(case))) == whole


@pytest.mark.parametrize("case", names("stream.sse"))
def test_chunks_may_break_anywhere(case):
    data = stream_of(case)
    whole = decoded(data)
    for place in places_to_cut(data, case):
        decoder = GEMINI.stream_decoder("google")
        events = decoder.feed(data[:place]) + decoder.feed(data[place:]) + decoder.close()
        assert events == whole, place
    assert decoded(data, step=1) == whole


@pytest.mark.parametrize("case", names("stream.sse"))
def test_a_cut_stream_never_ends_well(case):
    data = stream_of(case)
    # The last frame is whole once its closing brace is there.
    for place in places_to_cut(data[: data.rindex(b"}")], case):
        events = decoded(data[:place])
        last_whole = b"finishReason" in data[:place] and data[:place].count(b"\r\n\r\n") == (
            data.count(b"\r\n\r\n")
        )
        assert last_whole or isinstance(events[-1], Failed), place
        assert not any(isinstance(event, Finished) for event in events[:-1])


@pytest.mark.parametrize("case", names("response.json"))
@pytest.mark.parametrize("grain", ["whole", "single"])
def test_an_encoded_stream_reads_as_the_same_answer(case, grain):
    response = GEMINI.decode_response(load(case, "response.json"), "google")
    encoder = GEMINI.stream_encoder(reply())
    events = unfold(response)
    if grain == "whole":
        data = encoder.encode(events)
    else:
        data = b"".join(encoder.encode([event]) for event in events)
    assert without_made_ids(fold(decoded(data))) == response
    ends = [
        c for chunk in chunks_of(data) for c in chunk.get("candidates", []) if "finishReason" in c
    ]
    assert len(ends) == (0 if case == "blocked_prompt" else 1)


@pytest.mark.parametrize("case", [c for c in names("response.json") if c != "unknown_fields"])
def test_the_official_types_take_every_answer_and_chunk(case):
    response = GEMINI.decode_response(load(case, "response.json"), "google")
    body = GEMINI.encode_response(response, reply()).body
    types.GenerateContentResponse.model_validate_json(dump(body))
    encoder = GEMINI.stream_encoder(reply())
    for chunk in chunks_of(encoder.encode(unfold(response))):
        types.GenerateContentResponse.model_validate_json(dump(chunk))


def check_request(body):
    for content in body["contents"]:
        types.Content.model_validate_json(dump(content))
    if "systemInstruction" in body:
        types.Content.model_validate_json(dump(body["systemInstruction"]))
    for tool in body.get("tools", []):
        types.Tool.model_validate_json(dump(tool))
    if "toolConfig" in body:
        types.ToolConfig.model_validate_json(dump(body["toolConfig"]))
    config = dict(body.get("generationConfig", {}))
    image = config.pop("imageConfig", None)  # GenerationConfig of the SDK lacks it
    if image is not None:
        types.ImageConfig.model_validate_json(dump(image))
    types.GenerationConfig.model_validate_json(dump(config))


@pytest.mark.parametrize("case", [c for c in names("request.json") if c != "unknown_fields"])
def test_the_official_types_take_every_request(case):
    request = GEMINI.decode_request(load(case), PEEK)
    check_request(GEMINI.encode_request(request, target()).body)


# Hostile input

scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
)
wild = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*path, number))


@st.composite
def mutated(draw, file):
    body = load(draw(st.sampled_from(names(file))), file)
    for _ in range(draw(st.integers(1, 3))):
        spot = draw(st.sampled_from([p for p in places(body) if p] or [()]))
        if not spot:
            break
        here = body
        for step in spot[:-1]:
            here = here[step]
        action = draw(st.sampled_from(["replace", "drop", "rename"]))
        if action == "replace" or isinstance(here, list):
            here[spot[-1]] = draw(wild)
        elif action == "drop":
            del here[spot[-1]]
        else:
            here[draw(st.text(max_size=6))] = here.pop(spot[-1])
    return body


# Every example walks a whole body; the count keeps the run short on a small machine.
hostile = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@hostile
@given(mutated("request.json"), st.sampled_from(["generate", "count_tokens"]))
def test_a_spoilt_request_is_refused_or_read(body, operation):
    peek = Peek("some-model", False, operation)  # thought goes out in the words it came in
    fault = None
    try:
        request = GEMINI.decode_request(body, peek)
        encoded = GEMINI.encode_request(request, target("some-model"))
    except RequestError as error:
        fault = error
    if fault is not None:
        assert fault.message
        assert fault.param is not None
        return
    assert GEMINI.decode_request(encoded.body, peek) == request


@hostile
@given(mutated("response.json"))
def test_a_spoilt_response_is_refused_or_read(body):
    fault = None
    try:
        response = GEMINI.decode_response(body, "google")
    except UpstreamError as error:
        fault = error
    if fault is not None:
        assert fault.message
        return
    assert isinstance(response, ChatResponse)
    encoded = GEMINI.encode_response(response, reply(response.model))
    dump(encoded.body)


@hostile
@given(mutated("response.json"), mutated("response.json"))
def test_a_spoilt_stream_fails_or_ends(first, second):
    try:
        data = b"".join(b"data: " + msgspec.json.encode(c) + b"\n\n" for c in (first, second))
    except UnicodeEncodeError:
        return
    events = decoded(data)
    assert isinstance(events[-1], Failed | Finished)
    assert sum(isinstance(event, Failed | Finished) for event in events) == 1


@hostile
@given(
    st.integers(100, 599),
    st.binary(max_size=60) | wild.map(str).map(str.encode) | mutated("response.json").map(dump),
)
def test_any_error_body_gives_a_failure(status, body):
    failure = GEMINI.decode_failure(status, (("retry-after", "x"),), body)
    assert isinstance(failure, Failure)
    assert failure.message
    GEMINI.encode_failure(failure, "req_1")


# Paths


def route_of(path):
    found = [r for r in GEMINI.routes if r.pattern.fullmatch(path)]
    assert len(found) == 1, path
    return found[0]


def peek(path, query="", body=b"{}"):
    return GEMINI.peek(body, path, query, route_of(path))


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
        ("/v1/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
        ("/v1alpha/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
        ("/v1beta/models/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
        ("/v1/publishers/google/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro"),
        ("/v1beta/models/publishers/google/models/g:generateContent", "g"),
        ("/v1beta/tunedModels/mine-1:generateContent", "tunedModels/mine-1"),
        ("/v1beta/models/tunedModels/mine-1:generateContent", "tunedModels/mine-1"),
        ("/v1beta/models/openrouter/qwen/q3:free:generateContent", "openrouter/qwen/q3:free"),
        ("/v1beta/models/openrouter%2Fqwen:generateContent", "openrouter/qwen"),
    ],
)
def test_the_path_names_the_model(path, model):
    assert peek(path).model == model


def test_the_path_says_what_is_asked():
    assert peek("/v1beta/models/g:generateContent") == Peek("g", False)
    assert peek("/v1beta/models/g:streamGenerateContent", "alt=sse") == Peek("g", True)
    assert peek("/v1beta/models/g:streamGenerateContent", "key=a&alt=sse").variant == ""
    assert peek("/v1beta/models/g:streamGenerateContent").variant == "array"
    assert peek("/v1beta/models/g:streamGenerateContent", "alt=json").variant == "array"
    assert peek("/v1beta/models/g:countTokens") == Peek("g", False, "count_tokens")


def test_peek_sees_thought_and_cached_prompts():
    path = "/v1beta/models/g:generateContent"
    assert peek(path, body=dump(load("reasoning"))).reasoning
    assert not peek(path, body=dump(load("reasoning_off"))).reasoning
    assert peek(path, body=b'{"generation_config":{"thinking_config":{}}}').reasoning
    assert peek(path, body=dump(load("cached_usage"))).session == "cachedContents/xyz1"


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"a":1,"a":2}', b"\xff"])
def test_peek_refuses_what_is_no_object(body):
    with pytest.raises(RequestError):
        peek("/v1beta/models/g:generateContent", body=body)


def test_peek_refuses_a_path_without_model():
    with pytest.raises(RequestError, match="no model"):
        peek("/v1beta/models/%20:generateContent")


def test_upstream_paths():
    assert GEMINI.path("generate", "g", stream=False) == "/v1beta/models/g:generateContent"
    assert GEMINI.path("generate", "models/g", stream=True) == (
        "/v1beta/models/g:streamGenerateContent?alt=sse"
    )
    assert GEMINI.path("count_tokens", "tunedModels/a", stream=False) == (
        "/v1beta/tunedModels/a:countTokens"
    )
    assert (
        GEMINI.path("generate", "a?b#c", stream=False) == "/v1beta/models/a%3Fb%23c:generateContent"
    )


# Counts


def test_bare_contents_are_counted_as_they_are():
    request = GEMINI.decode_request(load("multi_turn"), PEEK)
    body = GEMINI.encode_count_request(request, target()).body
    assert body == load("multi_turn")


def test_more_than_contents_is_counted_as_a_whole_request():
    request = GEMINI.decode_request(load("tools"), PEEK)
    body = GEMINI.encode_count_request(request, target()).body
    assert body == {
        "generateContentRequest": {"model": "models/gemini-2.5-flash", **load("tools")},
    }
    flat = GEMINI.encode_count_request(request, target(official=False)).body
    assert flat == load("tools")


def test_both_forms_of_a_count_body_are_read():
    inner = {"model": "models/x", **load("tools")}
    counted = Peek("gemini-2.5-flash", False, "count_tokens")
    plain = GEMINI.decode_request(load("tools"), counted)
    for key in ("generateContentRequest", "generate_content_request"):
        assert GEMINI.decode_request({key: inner}, counted) == plain


def test_counts():
    assert GEMINI.decode_count({"totalTokens": 31, "promptTokensDetails": []}) == 31
    assert GEMINI.encode_count(31) == {"totalTokens": 31}
    for body in ({}, {"totalTokens": "x"}, {"totalTokens": [1]}):
        with pytest.raises(UpstreamError):
            GEMINI.decode_count(body)


# Pass-through


def sights(case):
    return [GEMINI.inspect(frame) for frame in SseParser().feed(stream_of(case))]


def test_inspect_sees_content_end_and_counts():
    seen = sights("reasoning")
    assert [s.content for s in seen] == [True, True, True, True, False]
    assert [s.terminal for s in seen] == [False] * 4 + [True]
    assert seen[-1].usage == fold(decoded(stream_of("reasoning"))).usage
    assert seen[-1].model == "gemini-2.5-flash"


def test_inspect_sees_a_call_as_content_and_a_blocked_prompt_as_the_end():
    assert sights("parallel_tools")[0].content
    assert sights("blocked_prompt")[0].terminal


def test_inspect_sees_a_failure():
    sight = GEMINI.inspect(
        Frame("", b'{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}')
    )
    assert sight.failure is not None
    assert sight.failure.message == "busy"
    assert sight.failure.status == 503


def test_inspect_is_not_fooled_by_words_in_a_text():
    text = 'say "finishReason": "STOP" and {"error": 1}'
    data = dump({"candidates": [{"content": {"parts": [{"text": text}]}}]})
    sight = GEMINI.inspect(Frame("", data))
    assert sight.content
    assert not sight.terminal
    assert sight.failure is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b'"finishReason"', b'[]"error"', b'{"error":7}', b"\xff"]
)
def test_inspect_never_raises(data):
    GEMINI.inspect(Frame("", data))
