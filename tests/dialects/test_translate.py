"""Which grade an attempt takes, what is sent for it, and how the answer comes back."""

import itertools

import msgspec
import pytest

from app.canonical.events import (
    ArgumentsDelta,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    Started,
    TextDelta,
)
from app.canonical.fold import fold
from app.canonical.parts import Signature, Text, ToolCall
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import ChatRequest, Message, Tool
from app.canonical.response import ChatResponse
from app.dialects import COMPLETIONS, DIALECTS
from app.dialects.base import DELETE, dump, read_head
from app.dialects.carrier import seal
from app.dialects.tools import ToolNames, fit_tools
from app.dialects.translate import (
    StreamPipe,
    carries_seal,
    decode_reply,
    encode_whole,
    translate,
)
from app.errors import TranslationError, UpstreamError
from tests.dialects.corpus import (
    ISSUERS,
    events_of,
    json_of,
    peek_of,
    raw_of,
    reply_for,
    request_of,
    response_of,
    target_of,
)

PAIRS = list(itertools.product(DIALECTS, DIALECTS))
CROSSINGS = [(one, other) for one, other in PAIRS if one != other]


def translated(client, upstream, raw, model="m", edits=None, verbatim_ok=True, request=None):
    body = msgspec.json.decode(raw)
    return translate(
        DIALECTS[client],
        DIALECTS[upstream],
        raw,
        read_head(raw),
        model,
        target_of(upstream),
        request=request or DIALECTS[client].decode_request(body, peek_of(body)),
        edits=edits or {},
        verbatim_ok=verbatim_ok,
    )


# Grades


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_body_with_nothing_to_change_is_sent_verbatim(dialect):
    raw = raw_of(dialect, "text", "request.json")
    model = msgspec.json.decode(raw).get("model", "any")
    made = translated(dialect, dialect, raw, model)
    assert made.grade == "verbatim"
    assert made.body is raw
    assert (made.losses, made.names, made.request) == ((), ToolNames(), None)


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic"])
def test_another_model_name_is_patched_and_the_rest_kept_byte_for_byte(dialect):
    rest = b'"x": [1.0, 2e3],"messages":[],"input":[] ,"stream":true'
    made = translate(
        *(DIALECTS[dialect],) * 2,
        raw := b'{ "model" : "public", ' + rest + b"}",
        read_head(raw),
        "upstream",
        target_of(dialect),
        request=None,
        edits={},
        verbatim_ok=True,
    )
    assert made.grade == "patched"
    assert made.body == (
        b'{"model":"upstream","x":[1.0, 2e3],"messages":[],"input":[],"stream":true}'
    )
    assert made.request is None


def test_geminis_model_is_in_the_path_and_its_body_stays():
    raw = b'{"model":"models/public","contents":[]}'
    assert translated("gemini", "gemini", raw, "upstream").grade == "verbatim"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_edits_are_patched_in(dialect):
    raw = b'{"model":"m","contents":[],"messages":[],"input":[],"user":"me","a":1}'
    edits = {"user": "u_1", "a": DELETE, "b": None}
    made = translate(
        *(DIALECTS[dialect],) * 2,
        raw,
        read_head(raw),
        "m",
        target_of(dialect),
        request=None,
        edits=edits,
        verbatim_ok=True,
    )
    assert made.grade == "patched"
    assert made.body == (
        b'{"model":"m","contents":[],"messages":[],"input":[],"user":"u_1","b":null}'
    )
    assert edits == {"user": "u_1", "a": DELETE, "b": None}


@pytest.mark.parametrize(("client", "upstream"), CROSSINGS)
def test_another_dialect_is_translated_and_names_the_upstreams_model(client, upstream):
    raw = raw_of(client, "text", "request.json")
    made = translated(client, upstream, raw, "upstream-model")
    assert made.grade == "translated"
    assert made.request == request_of(client, "text")
    body = msgspec.json.decode(made.body)
    if upstream != "gemini":
        assert body["model"] == "upstream-model"
    again = DIALECTS[upstream].decode_request(body, peek_of(body))
    assert isinstance(again, ChatRequest)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_surface_that_is_not_the_dialect_itself_is_translated(dialect):
    raw = raw_of(dialect, "text", "request.json")
    assert translated(dialect, dialect, raw, verbatim_ok=False).grade == "translated"


def test_a_body_with_a_foreign_seal_is_recognised_and_loses_it_in_translation():
    sealed = seal(Signature("someone", "secret"))
    body = {
        **json_of("anthropic", "text", "request.json"),
        "messages": [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": sealed},
                    {"type": "text", "text": "Hello."},
                ],
            },
            {"role": "user", "content": "Go on."},
        ],
    }
    raw = dump(body)
    assert carries_seal(raw)
    assert not carries_seal(raw_of("anthropic", "reasoning_history", "request.json"))
    made = translated("anthropic", "anthropic", raw, verbatim_ok=not carries_seal(raw))
    assert made.grade == "translated"
    assert not carries_seal(made.body)
    assert b"Hello." in made.body


# What is lost, and what is refused


def test_losses_are_listed_where_the_upstream_lacks_a_knob():
    body = {
        **json_of("openai_chat", "text", "request.json"),
        "seed": 7,
        "logit_bias": {"1": 2},
        "frequency_penalty": 0.5,
    }
    made = translated("openai_chat", "anthropic", dump(body))
    assert {"seed", "native.logit_bias", "frequency_penalty"} <= {loss.path for loss in made.losses}
    assert all(loss.reason for loss in made.losses)
    assert translated("openai_chat", "openai_chat", dump(body), body["model"]).losses == ()


@pytest.mark.parametrize("client", ["openai_chat", "gemini"])
def test_several_answers_are_refused_across_dialects_and_passed_within(client):
    body = json_of(client, "text", "request.json")
    if client == "gemini":
        body["generationConfig"] = {"candidateCount": 2}
    else:
        body["n"] = 2
    for upstream in DIALECTS:
        if upstream == client:
            made = translated(client, client, dump(body), verbatim_ok=False)
            assert b'":2' in made.body
            continue
        with pytest.raises(TranslationError) as caught:
            translated(client, upstream, dump(body))
        assert (caught.value.status, caught.value.param) == (400, "n")


def test_content_that_the_upstream_cannot_take_is_refused_with_its_path():
    body = json_of("anthropic", "text", "request.json")
    source = {"type": "file", "file_id": "file_1"}
    body["messages"] = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    with pytest.raises(TranslationError) as caught:
        translated("anthropic", "openai_chat", dump(body))
    assert caught.value.param == "messages[0].content[0]"
    assert caught.value.code == "unsupported_content"


def test_a_request_that_nobody_read_cannot_be_translated():
    raw = b'{"model":"m","messages":[]}'
    with pytest.raises(TranslationError):
        translate(
            DIALECTS["openai_chat"],
            DIALECTS["gemini"],
            raw,
            read_head(raw),
            "m",
            target_of("gemini"),
            request=None,
            edits={},
            verbatim_ok=True,
        )


def test_the_decoded_request_is_the_one_sent_also_when_it_was_completed_meanwhile():
    raw = raw_of("openai_chat", "text", "request.json")
    request = ChatRequest("public", (Message("user", (Text("Other words."),)),))
    made = translated("openai_chat", "anthropic", raw, "m", request=request)
    assert b"Other words." in made.body
    assert made.request is request  # still under the client's name of the model


# Answers


class Seeing:
    def __init__(self):
        self.events = []

    def see(self, events):
        self.events += events


def named(upstream):
    """The names of two tools that no upstream takes as they are."""
    tools = (Tool("a b", namespace="s"), Tool("patch", kind="custom"))
    fitted, names = fit_tools(
        ChatRequest("m", (), tools=tools), upstream, Target(ModelProfile("m"), "x", official=False)
    )
    return names, [tool.name for tool in fitted.tools]


CALLS = (
    ToolCall("call_1", "a b", '{"x":1}', namespace="s"),
    ToolCall("call_2", "patch", "free", "custom"),
)


def upstream_answer(names):
    return ChatResponse(
        "resp_1",
        "m",
        (
            Text("Hi."),
            ToolCall("call_1", names[0], '{"x":1}'),
            ToolCall("call_2", names[1], '{"input":"free"}'),
        ),
        "tool_use",
    )


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_whole_answer_reaches_the_client_under_its_own_tool_names(client, upstream):
    names, sent = named(upstream)
    raw = dump(DIALECTS[upstream].encode_response(upstream_answer(sent), reply_for()).body)
    answer = decode_reply(DIALECTS[upstream], raw, ISSUERS[upstream])
    watch = Seeing()
    told, _ = encode_whole(DIALECTS[client], answer, names, reply_for(), watch)
    assert b"a b" in told
    assert all(name.encode() not in told for name in sent if name != "patch")
    calls = [part for part in fold(watch.events).parts if isinstance(part, ToolCall)]
    assert [(c.name, c.namespace, c.kind, c.arguments) for c in calls] == [
        (c.name, c.namespace, c.kind, c.arguments) for c in CALLS
    ]
    assert encode_whole(DIALECTS[client], answer, names, reply_for(), None)[0] == told


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_stream_reaches_the_client_as_the_whole_answer_does(client, upstream):
    names, sent = named(upstream)
    answer = upstream_answer(sent)
    encoder = DIALECTS[upstream].stream_encoder(reply_for())
    data = encoder.encode(
        [
            Started("resp_1", "m"),
            *(
                event
                for index, part in enumerate(answer.parts)
                for event in part_events(index, part)
            ),
            Finished("tool_use"),
        ]
    )
    watch = Seeing()
    pipe = StreamPipe(
        DIALECTS[client], DIALECTS[upstream], ISSUERS[upstream], names, reply_for(), watch
    )
    out = b"".join(pipe.encode(pipe.decode(data[i : i + 7])) for i in range(0, len(data), 7))
    out += pipe.encode(pipe.close())
    calls = [part for part in fold(watch.events).parts if isinstance(part, ToolCall)]
    assert [(c.name, c.namespace, c.kind, c.arguments) for c in calls] == [
        (c.name, c.namespace, c.kind, c.arguments) for c in CALLS
    ]
    got = fold(events_of(client, out)).parts
    assert [part.name for part in got if isinstance(part, ToolCall)] == ["a b", "patch"]


def part_events(index, part):
    if isinstance(part, Text):
        return [PartStarted(index, Text("")), TextDelta(index, part.text), PartEnded(index)]
    empty = ToolCall(part.id, part.name, "")
    return [PartStarted(index, empty), ArgumentsDelta(index, part.arguments), PartEnded(index)]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_pipe_gives_signs_of_life_that_tell_nothing(client, upstream):
    pipe = StreamPipe(DIALECTS[client], DIALECTS[upstream], "x", ToolNames(), reply_for(), None)
    assert pipe.ping()
    data = raw_of(upstream, "text", "stream.sse")
    out = pipe.encode(pipe.decode(data) + pipe.close())
    with_ping, without = (
        [event for event in events_of(client, data) if not isinstance(event, Ping)]
        for data in (pipe.ping() + out, out)
    )
    assert with_ping == without


def test_completions_are_answered_from_any_upstream():
    for upstream in DIALECTS:
        told, _ = encode_whole(
            COMPLETIONS, response_of(upstream, "text"), ToolNames(), reply_for(), None
        )
        body = msgspec.json.decode(told)
        assert body["object"] == "text_completion"
        assert body["choices"][0]["text"]


# Errors


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"3", b'{"a":"\xff"}', b"[" * 100_000])
def test_an_answer_that_is_no_json_object_is_the_upstreams_fault(upstream, raw):
    with pytest.raises(UpstreamError) as caught:
        decode_reply(DIALECTS[upstream], raw, "x")
    assert (caught.value.status, caught.value.code) == (502, "upstream_protocol")


@pytest.mark.parametrize("upstream", DIALECTS)
def test_an_answer_of_another_shape_is_the_upstreams_fault(upstream):
    with pytest.raises(UpstreamError):
        decode_reply(
            DIALECTS[upstream], b'{"choices":3,"output":3,"content":3,"candidates":3}', "x"
        )


FAULTS = [
    (400, "invalid_request"),
    (401, "authentication"),
    (403, "permission"),
    (404, "not_found"),
    (413, "too_large"),
    (429, "rate_limit"),
    (500, "server"),
    (503, "unavailable"),
]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@pytest.mark.parametrize(("status", "kind"), FAULTS)
def test_an_upstreams_error_keeps_status_words_and_wait(client, upstream, status, kind):
    body = dump({"error": {"message": "Words of the service.", "code": status}})
    headers = (("retry-after", "7"),)
    failure = DIALECTS[upstream].decode_failure(status, headers, body)
    assert failure.kind == kind
    reply = DIALECTS[client].encode_failure(failure, "req_1")
    assert reply.status == status
    assert b"Words of the service." in reply.body
    if status == 429:
        assert reply.header("retry-after") == "7"
    again = DIALECTS[client].decode_failure(reply.status, reply.headers, reply.body)
    # OpenAI has one word for a service that is overloaded or out of order.
    assert again.kind in ((kind, "overloaded") if kind == "unavailable" else (kind,))
    assert again.message == "Words of the service."


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_stream_that_was_cut_ends_in_the_clients_own_error_event(client, upstream):
    data = raw_of(upstream, "text", "stream.sse")
    pipe = StreamPipe(
        DIALECTS[client], DIALECTS[upstream], ISSUERS[upstream], ToolNames(), reply_for(), None
    )
    out = pipe.encode(pipe.decode(data[: len(data) // 2]))
    events = pipe.close()
    assert isinstance(events[-1], Failed)
    last = events_of(client, out + pipe.encode(events))[-1]
    assert isinstance(last, Failed)
    assert last.failure.message == events[-1].failure.message
