"""One candidate's answer carried to the client: grades, streams, whole answers."""

import asyncio
import json
from dataclasses import replace

import pytest

from app.canonical.usage import Usage
from app.gateway.exchange import GatewayLimits
from app.providers import ANTHROPIC, GEMINI, OPENAI
from app.routing.catalog import Catalog
from tests.fakes.basic import Answered, unreachable
from tests.gateway.scripted import (
    ANTHROPIC_PING,
    CHAT,
    CHAT_END,
    CHAT_START,
    JSON,
    RESPONSES,
    SSE,
    TOLD,
    Client,
    Desk,
    account,
    anthropic_block,
    anthropic_end,
    anthropic_error,
    anthropic_start,
    anthropic_text,
    anthropic_whole,
    ask_body,
    chat_chunk,
    chat_stream,
    chat_whole,
    frame,
    gemini_path,
    gemini_whole,
    responses_body,
    responses_stream,
)

# Grades


async def test_verbatim_leaves_request_and_answer_untouched():
    raw = b'{ "model":"m",\n "messages":[{"role":"user","content":"\\u00e4"}],"unknown":1 }'
    answer = b'{"choices": [ ] , "id":"x"}\n'
    desk = Desk(account(CHAT, "one", ["m"])).answers(Answered(200, JSON, answer))
    client = await desk.ask(raw)
    assert desk.send.requests[0].body == raw
    assert client.body == answer
    assert desk.outcome.grade == "verbatim"
    request = desk.send.requests[0]
    assert (request.method, request.url) == ("POST", "http://chat.test/v1/chat/completions")
    assert ("authorization", "Bearer sk-one") in request.headers
    assert "x-test" not in dict(request.headers)


async def test_patched_replaces_the_model_only():
    raw = b'{"model":"fast", "messages":[{"role":"user","content":"a"}] ,"top_p":0.50}'
    desk = Desk(
        account(CHAT, "one", {"m": "m-upstream"}), catalog=Catalog(aliases={"fast": "m"})
    ).answers(Answered(200, JSON, chat_whole()))
    await desk.ask(raw)
    sent = desk.send.requests[0].body
    assert sent == b'{"model":"m-upstream","messages":[{"role":"user","content":"a"}],"top_p":0.50}'
    assert desk.outcome.grade == "patched"
    assert desk.outcome.model == "fast"
    assert desk.outcome.served == "m-upstream"


async def test_vendor_identity_is_taken_out_elsewhere_and_kept_at_home():
    body = ask_body("anthropic", "claude-x", metadata={"user_id": "device-7"})
    desk = Desk(account(ANTHROPIC, "one")).answers(Answered(200, JSON, anthropic_whole()))
    await desk.ask(body, "anthropic")
    assert desk.sent()["metadata"] == {"user_id": "device-7"}
    other = replace(ANTHROPIC, id="other", vendors=frozenset(), family=None)
    desk = Desk(account(other, "one", ["claude-x"])).answers(Answered(200, JSON, anthropic_whole()))
    await desk.ask(body, "anthropic")
    assert desk.sent()["metadata"]["user_id"].startswith("u_")
    assert desk.outcome.grade == "patched"


async def test_translated_answer_carries_text_usage_and_the_asked_name():
    desk = Desk(account(ANTHROPIC, "one")).answers(Answered(200, JSON, anthropic_whole("salut")))
    client = await desk.ask(ask_body("openai_chat", "claude-x", stop=["x"]))
    assert desk.outcome.grade == "translated"
    assert client.json["choices"][0]["message"]["content"] == "salut"
    assert client.json["model"] == "claude-x"
    assert client.json["usage"]["prompt_tokens"] == 5
    assert desk.outcome.usage == Usage(input=5, output=3)
    assert desk.sent()["stop_sequences"] == ["x"]
    assert ("x-api-key", "sk-one") in desk.send.requests[0].headers


async def test_account_proxy_travels_with_the_request():
    desk = Desk(account(CHAT, "one", ["m"], proxy="http://proxy.test:3128")).answers(
        Answered(200, JSON, chat_whole())
    )
    await desk.ask(ask_body("openai_chat", "m"))
    assert desk.send.requests[0].proxy == "http://proxy.test:3128"


async def test_client_fields_travel_by_name_and_only_within_a_dialect():
    headers = (("anthropic-beta", "b1"), ("cookie", "secret"), ("authorization", "Bearer mine"))
    desk = Desk(account(ANTHROPIC, "one")).answers(Answered(200, JSON, anthropic_whole()))
    await desk.ask(ask_body("anthropic", "claude-x"), "anthropic", headers=headers)
    sent = dict(desk.send.requests[0].headers)
    assert sent["anthropic-beta"] == "b1"
    assert "cookie" not in sent
    assert "Bearer mine" not in sent.values()


async def test_value_that_nobody_looked_at_before_is_a_request_fault():
    raw = b'{"model":"m","messages":[],"user":"\\ud800"}'
    desk = Desk(account(CHAT, "one", ["m"]))
    client = await desk.ask(raw)
    assert client.status == 400
    assert client.json["error"]["code"] == "invalid_json"


# Whole answers


@pytest.mark.parametrize(
    ("provider", "dialect", "model", "answer", "usage"),
    [
        (CHAT, "openai_chat", "m", chat_whole(), Usage(input=7, output=2)),
        (ANTHROPIC, "anthropic", "claude-x", anthropic_whole(), Usage(input=5, output=3)),
        (GEMINI, "gemini", "gemini-x", gemini_whole(), Usage(input=4, output=2)),
        (
            RESPONSES,
            "openai_responses",
            "m",
            json.dumps(responses_body()).encode(),
            Usage(input=3, output=2, reasoning=0),
        ),
    ],
)
async def test_cost_of_a_verbatim_answer_is_read_when_asked_for(
    provider, dialect, model, answer, usage
):
    desk = Desk(account(provider, "one", [model])).answers(Answered(200, JSON, answer))
    path = gemini_path(model) if dialect == "gemini" else None
    client = await desk.ask(ask_body(dialect, model), dialect, path)
    assert client.body == answer
    assert desk.outcome.usage is None
    tokens = desk.outcome.tokens()
    assert (tokens.input, tokens.output) == (usage.input, usage.output)
    assert desk.outcome.tokens() is tokens


async def test_cost_of_an_answer_that_cannot_be_read_is_unknown():
    desk = Desk(account(ANTHROPIC, "one")).answers(Answered(200, JSON, b'{"odd":true}'))
    client = await desk.ask(ask_body("anthropic", "claude-x"), "anthropic")
    assert client.status == 200
    assert desk.outcome.tokens() is None


@pytest.mark.parametrize(
    "hidden",
    [
        b'{"error":{"message":"busy","code":503}}',
        b'{"error":{"message":"busy","type":"server_error"}}',
        b'{"id":"resp_1","status":"failed","error":{"code":"server_error","message":"busy"},'
        b'"output":[]}',
    ],
)
@pytest.mark.parametrize("provider", [CHAT, RESPONSES])
async def test_error_hidden_in_a_good_status_is_a_failure(hidden, provider):
    dialect = provider.dialects[0]
    desk = Desk(account(provider, "one", ["m"])).answers(Answered(200, JSON, hidden))
    client = await desk.ask(ask_body(dialect, "m"), dialect)
    assert client.status >= 500
    assert client.json["error"]["message"] == "busy"


async def test_null_error_of_a_good_response_is_no_failure():
    body = json.dumps(responses_body()).encode()
    desk = Desk(account(RESPONSES, "one", ["m"])).answers(Answered(200, JSON, body))
    client = await desk.ask(ask_body("openai_responses", "m"), "openai_responses")
    assert client.status == 200
    assert client.body == body


async def test_redirect_is_refused_and_named():
    desk = Desk(account(CHAT, "one", ["m"])).answers(
        Answered(307, {"location": "http://elsewhere.test"}, b"")
    )
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 502
    assert "redirect" in client.json["error"]["message"]
    assert len(desk.send.requests) == 1


# Streams


async def test_verbatim_stream_keeps_every_byte():
    chunks = [
        CHAT_START[:20],
        CHAT_START[20:] + b": odd comment\n",
        b"\n",
        chat_chunk({"content": "a"}),
    ]
    chunks += [CHAT_END[:30], CHAT_END[30:]]
    desk = Desk(account(CHAT, "one", ["m"])).answers(Answered(200, SSE, chunks))
    client = await desk.ask(ask_body("openai_chat", "m", stream=True, **TOLD))
    assert client.body == b"".join(chunks)
    assert desk.outcome.usage == Usage(input=7, output=2)
    assert client.header("content-type") == "text/event-stream; charset=utf-8"
    assert client.header("cache-control") == "no-cache"
    desk.send.assert_settled()


async def test_content_is_one_write_per_upstream_chunk():
    chunks = chat_stream("a", "b", "c")
    desk = Desk(account(CHAT, "one", ["m"])).answers(Answered(200, SSE, chunks))
    client = await desk.ask(ask_body("openai_chat", "m", stream=True, **TOLD))
    assert client.pieces == [chunks[0] + chunks[1], *chunks[2:]]


async def test_error_of_the_service_after_content_passes_untouched():
    chunks = [anthropic_start(), anthropic_text("a"), anthropic_error()]
    desk = Desk(account(ANTHROPIC, "one")).answers(Answered(200, SSE, chunks))
    client = await desk.ask(ask_body("anthropic", "claude-x", stream=True), "anthropic")
    assert client.body == b"".join(chunks)
    assert desk.outcome.failure.kind == "overloaded"


@pytest.mark.parametrize("cut", ["broken", "ended"])
async def test_cut_after_content_gets_our_error_once(cut):
    chunks = [anthropic_start(), anthropic_text("a")]
    tail = [unreachable()] if cut == "broken" else []
    desk = Desk(account(ANTHROPIC, "one")).answers(Answered(200, SSE, [*chunks, *tail]))
    client = await desk.ask(ask_body("anthropic", "claude-x", stream=True), "anthropic")
    assert client.body.startswith(b"".join(chunks))
    assert client.body.count(b"event: error") == 1
    assert client.finished == 1
    assert desk.outcome.failure is not None


async def test_connection_lost_after_the_last_event_is_no_failure():
    chunks = [*chat_stream("a"), unreachable()]
    for dialect in ("openai_chat", "anthropic"):
        desk = Desk(account(CHAT, "one", ["m"])).answers(Answered(200, SSE, chunks))
        client = await desk.ask(ask_body(dialect, "m", stream=True), dialect)
        assert b"error" not in client.body
        assert desk.outcome.failure is None


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic", "openai_responses", "gemini"])
async def test_failure_after_content_is_the_clients_own_error_event(dialect):
    chunks = [anthropic_start(), anthropic_text("abc"), anthropic_error(message="too busy")]
    desk = Desk(account(ANTHROPIC, "one", ["m"])).answers(Answered(200, SSE, chunks))
    path = gemini_path("m", stream=True) if dialect == "gemini" else None
    body = ask_body(dialect, "m") if dialect == "gemini" else ask_body(dialect, "m", stream=True)
    client = await desk.ask(body, dialect, path, query="alt=sse")
    assert b"abc" in client.body
    assert b"too busy" in client.body
    last = client.events()[-1]
    if dialect == "openai_responses":
        assert last["type"] in ("response.failed", "error")
    else:
        assert "too busy" in last["error"]["message"]
    assert desk.outcome.failure.message == "too busy"


async def test_list_form_of_gemini_is_never_passed_on_as_events():
    chunk = b"data: " + gemini_whole() + b"\n\n"
    desk = Desk(account(GEMINI, "one", ["gemini-x"])).answers(Answered(200, SSE, [chunk]))
    client = await desk.ask(ask_body("gemini", "x"), "gemini", gemini_path("gemini-x", stream=True))
    assert client.header("content-type") == "application/json; charset=utf-8"
    assert client.json[0]["candidates"][0]["content"]["parts"][0]["text"] == "hello"
    assert desk.outcome.grade == "translated"
    assert desk.send.requests[0].url.endswith("?alt=sse")


async def test_list_form_stays_a_list_when_a_ping_came_before_a_failure():
    gate = asyncio.Event()

    async def hold():
        await gate.wait()

    desk = Desk(account(GEMINI, "one", ["gemini-x"]), limits=GatewayLimits(ping_s=0.001))
    desk.answers(Answered(200, SSE, [hold, unreachable()]))
    client = Client()
    call = desk.call(ask_body("gemini", "x"), "gemini", gemini_path("gemini-x", stream=True))
    task = asyncio.ensure_future(desk.gateway.handle(call, client))
    while not client.pings:
        client.seen.clear()
        await client.seen.wait()
    gate.set()
    await task
    assert client.json[0]["error"]["code"] == 502


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic"])
@pytest.mark.parametrize("sign", [b": comment\n\n", CHAT_START])
async def test_signs_of_life_without_content_end_in_a_clear_504(dialect, sign):
    limits = GatewayLimits(first_byte_s=0.0, idle_s=0.0)
    answer = Answered(200, SSE, [sign] * 1000)
    desk = Desk(account(CHAT, "one", ["m"]), limits=limits).answers(answer)
    client = await desk.ask(ask_body(dialect, "m", stream=True), dialect)
    assert client.status == 504
    assert "no content" in client.json["error"]["message"]
    assert answer.read < 3
    assert answer.closed


async def test_pings_of_the_service_before_content_are_held():
    chunks = [anthropic_start(), ANTHROPIC_PING, ANTHROPIC_PING, anthropic_text("a")]
    desk = Desk(account(ANTHROPIC, "one")).answers(Answered(200, SSE, [*chunks, anthropic_end()]))
    client = await desk.ask(ask_body("anthropic", "claude-x", stream=True), "anthropic")
    assert client.pieces == [b"".join(chunks), anthropic_end()]


async def test_stream_that_is_called_json_is_carried_all_the_same():
    desk = Desk(account(CHAT, "one", ["m"])).answers(Answered(200, JSON, chat_stream("a", "b")))
    client = await desk.ask(ask_body("openai_chat", "m", stream=True, **TOLD))
    assert client.body == b"".join(chat_stream("a", "b"))


async def test_whole_answer_to_a_streamed_call_is_named():
    desk = Desk(account(CHAT, "one", ["m"])).answers(Answered(200, JSON, chat_whole()))
    client = await desk.ask(ask_body("openai_chat", "m", stream=True))
    assert client.status == 502
    assert "where a stream was asked for" in client.json["error"]["message"]


async def test_answer_without_any_content_is_an_answer():
    end = anthropic_end()
    desk = Desk(account(ANTHROPIC, "one")).answers(
        Answered(200, SSE, [anthropic_start(), end]), Answered(200, SSE, [anthropic_start(), end])
    )
    same = await desk.ask(ask_body("anthropic", "claude-x", stream=True), "anthropic")
    assert same.body == anthropic_start() + end
    other = await desk.ask(ask_body("openai_chat", "claude-x", stream=True))
    assert other.events()[-1]["choices"][0]["finish_reason"] == "stop"


async def test_translated_client_is_not_kept_waiting_for_the_upstreams_end():
    finished = asyncio.Event()
    client = Client()

    async def hold():
        assert client.finished
        finished.set()

    desk = Desk(account(ANTHROPIC, "one")).answers(
        Answered(200, SSE, [anthropic_start(), anthropic_text("a"), anthropic_end(), hold])
    )
    await desk.gateway.handle(desk.call(ask_body("openai_chat", "claude-x", stream=True)), client)
    assert finished.is_set()


async def test_completions_are_answered_by_chat():
    desk = Desk(account(CHAT, "one", ["m"])).answers(
        Answered(200, JSON, chat_whole("tail")), Answered(200, SSE, chat_stream("t", "ail"))
    )
    body = {"model": "m", "prompt": "head"}
    whole = await desk.ask(body, path="/v1/completions")
    assert whole.json["choices"][0]["text"] == "tail"
    assert whole.json["object"] == "text_completion"
    assert desk.sent()["messages"] == [{"role": "user", "content": "head"}]
    stream = await desk.ask(body | {"stream": True}, path="/v1/completions")
    assert "".join(e["choices"][0]["text"] for e in stream.events() if e["choices"]) == "tail"


async def test_chat_client_gets_a_responses_stream():
    desk = Desk(account(RESPONSES, "one", ["m"])).answers(
        Answered(200, SSE, responses_stream("hi there"))
    )
    client = await desk.ask(ask_body("openai_chat", "m", stream=True))
    text = "".join(
        e["choices"][0]["delta"].get("content") or "" for e in client.events() if e["choices"]
    )
    assert text == "hi there"
    assert desk.outcome.usage.input == 3


async def test_official_key_goes_only_where_its_account_points():
    desk = Desk(account(OPENAI, "one", ["m"])).answers(
        Answered(200, JSON, json.dumps(responses_body()).encode())
    )
    await desk.ask(ask_body("anthropic", "m"), "anthropic")
    assert desk.send.requests[0].url == "https://api.openai.com/v1/responses"


async def test_frames_of_an_unknown_kind_are_passed_on():
    odd = frame({"type": "message_note", "text": "?"}, "message_note")
    chunks = [anthropic_start(), odd, anthropic_text("a"), anthropic_end()]
    desk = Desk(account(ANTHROPIC, "one")).answers(Answered(200, SSE, chunks))
    client = await desk.ask(ask_body("anthropic", "claude-x", stream=True), "anthropic")
    assert client.body == b"".join(chunks)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_an_answer_could_not_say_is_noted(stream):
    desk = Desk(account(ANTHROPIC, "one"))
    cited = {
        "type": "char_location",
        "cited_text": "sky",
        "document_index": 0,
        "document_title": "t",
        "start_char_index": 0,
        "end_char_index": 3,
    }
    if stream:
        desk.answers(
            Answered(
                200,
                SSE,
                anthropic_start()
                + anthropic_block(
                    0,
                    {"type": "text", "text": "", "citations": []},
                    {"type": "text_delta", "text": "blue"},
                    {"type": "citations_delta", "citation": cited},
                )
                + anthropic_end(),
            )
        )
    else:
        content = [{"type": "text", "text": "blue", "citations": [cited]}]
        desk.answers(Answered(200, JSON, anthropic_whole(content=content)))
    client = await desk.ask(ask_body("openai_chat", "claude-x", stream=stream))
    assert b"blue" in client.body
    assert any("citation" in loss.reason or "citation" in loss.path for loss in desk.outcome.losses)
