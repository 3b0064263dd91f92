"""Failover, refusals and what a client sees of them, as scripts."""

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest

from app.errors import Retry, UpstreamError
from app.gateway import exchange
from app.gateway.exchange import GatewayLimits
from app.providers import ANTHROPIC, OPENAI
from tests.fakes.basic import Answered, unreachable
from tests.gateway.scripted import (
    ANTHROPIC_PING,
    CHAT,
    CHAT_START,
    JSON,
    SSE,
    TOLD,
    Client,
    Desk,
    account,
    anthropic_end,
    anthropic_error,
    anthropic_start,
    anthropic_text,
    ask_body,
    chat_chunk,
    chat_stream,
    chat_whole,
    refusal,
    responses_body,
    responses_created,
)


def good():
    return Answered(200, JSON, chat_whole("from two"))


def two(**options):
    return Desk(account(CHAT, "one", ["m"]), account(CHAT, "two", ["m"]), **options)


FAILURES = {
    "401": refusal(401, message="Incorrect API key"),
    "402": refusal(402, message="Insufficient balance"),
    "403 quota": refusal(
        403, message="You exceeded your current quota", type="insufficient_quota",
        code="insufficient_quota",
    ),
    "429": refusal(429, message="slow down"),
    "500": refusal(500),
    "502 page": Answered(502, {"content-type": "text/html"}, b"<html>bad gateway</html>"),
    "503": refusal(503),
    "529": refusal(529),
    "redirect": Answered(302, {"location": "http://elsewhere.test/"}, b""),
    "connection": unreachable(),
    "timeout": UpstreamError("too slow", status=504, code="upstream_timeout"),
    "cut whole answer": Answered(200, JSON, [b'{"id":', UpstreamError("closed")]),
    "page": Answered(200, {"content-type": "text/html"}, b"<html>sign in</html>"),
    "hidden error": Answered(
        200, JSON, b'{"error":{"message":"overloaded","code":503}}'
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
async def test_next_account_is_asked_after(name):
    step = FAILURES[name]
    if isinstance(step, Answered):
        step = Answered(step.status, step.headers, step.chunks)
    desk = two().answers(step, good())
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 200
    assert client.json["choices"][0]["message"]["content"] == "from two"
    assert desk.outcome.attempts == 2
    assert desk.outcome.account == "server/two"
    assert [failed for failed, _ in desk.outcome.failures] == ["server/one"]
    assert desk.outcome.failure is None
    desk.send.assert_settled()


STREAM_FAILURES = {
    "error first": [b'data: {"error":{"message":"overloaded","code":503}}\n\n'],
    "error after the handshake": [CHAT_START, b'data: {"error":{"message":"no"}}\n\n'],
    "clean end without content": [CHAT_START],
    "empty": [],
    "cut": [CHAT_START, UpstreamError("closed", code="upstream_closed")],
    "json instead of a stream": [b'{"error":{"message":"no","code":503}}'],
    "page instead of a stream": [b"<html></html>"],
}


@pytest.mark.parametrize("name", STREAM_FAILURES)
@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic"])
async def test_stream_without_content_moves_on(name, dialect):
    failed = Answered(200, SSE if "json" not in name else JSON, STREAM_FAILURES[name])
    desk = two().answers(failed, Answered(200, SSE, chat_stream("from", " two")))
    client = await desk.ask(ask_body(dialect, "m", stream=True), dialect)
    assert client.status == 200
    assert b"from" in client.body
    assert b"error" not in client.body
    assert b"overloaded" not in client.body
    assert desk.outcome.attempts == 2
    assert desk.outcome.failure is None
    desk.send.assert_settled()


async def test_handshake_of_a_failed_attempt_does_not_reach_the_client():
    desk = Desk(account(ANTHROPIC, "one"), account(ANTHROPIC, "two")).answers(
        Answered(200, SSE, [anthropic_start("first"), ANTHROPIC_PING, anthropic_error()]),
        Answered(200, SSE, [anthropic_start("second"), anthropic_text("x") + anthropic_end()]),
    )
    client = await desk.ask(ask_body("anthropic", "claude-x", stream=True), "anthropic")
    assert b"first" not in client.body
    assert b"second" in client.body
    assert client.body.count(b"message_start") == 2  # event name and type, once


async def test_handshake_of_responses_is_held_too():
    provider = replace(OPENAI, id="two")
    desk = Desk(account(OPENAI, "one", ["m"]), account(provider, "b", ["m"])).answers(
        Answered(200, SSE, [responses_created("resp_a"), unreachable()]), refusal(500)
    )
    client = await desk.ask(ask_body("openai_responses", "m", stream=True), "openai_responses")
    assert client.status in (500, 502)
    assert b"resp_a" not in client.body


NEVER = {
    "bad request": refusal(400, message="messages is wrong", type="invalid_request_error"),
    "unprocessable": refusal(422, message="messages is wrong"),
    "too large": refusal(413, message="too large"),
    "context": refusal(400, message="too long", code="context_length_exceeded"),
}


@pytest.mark.parametrize("name", NEVER)
async def test_request_fault_is_told_at_once_in_the_services_words(name):
    step = NEVER[name]
    desk = two().answers(Answered(step.status, step.headers, step.chunks))
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == step.status
    assert client.json["error"]["message"] in ("messages is wrong", "too large", "too long")
    assert desk.outcome.attempts == 1
    assert desk.roster.state(desk.roster.accounts()[0], "m", desk.clock()).health == "ready"


async def test_final_refusal_of_a_provider_ends_the_request_and_the_account():
    def final(failure, _reply):
        return replace(failure, final=True, retry=Retry.NEXT_ACCOUNT)

    provider = replace(CHAT, classify=final)
    desk = Desk(account(provider, "one", ["m"]), account(CHAT, "two", ["m"]))
    desk.answers(refusal(403, message="only for its own app"))
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 403
    assert desk.outcome.attempts == 1
    state = desk.roster.state(desk.roster.accounts()[0], "m", desk.clock())
    assert state.health == "refused"


async def test_attempts_are_limited():
    accounts = [account(CHAT, f"a{n}", ["m"]) for n in range(exchange.MAX_ATTEMPTS + 3)]
    desk = Desk(*accounts).answers(*(refusal(500) for _ in range(exchange.MAX_ATTEMPTS)))
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 500
    assert desk.outcome.attempts == exchange.MAX_ATTEMPTS
    desk.send.assert_settled()


async def test_content_that_one_dialect_cannot_say_goes_to_another():
    item = {"type": "computer_call_output", "call_id": "c", "output": {"type": "x"}}
    desk = Desk(account(CHAT, "one", ["m"]), account(OPENAI, "two", ["m"]))
    desk.answers(Answered(200, JSON, json.dumps(responses_body()).encode()))
    client = await desk.ask({"model": "m", "input": [item]}, "openai_responses")
    assert client.status == 200
    assert desk.outcome.account == "openai/two"
    assert desk.outcome.failures[0][1].code == "unsupported_content"
    assert len(desk.send.requests) == 1


async def test_content_that_nobody_can_say_is_a_request_fault():
    item = {"type": "computer_call_output", "call_id": "c", "output": {"type": "x"}}
    desk = Desk(account(CHAT, "one", ["m"]))
    client = await desk.ask({"model": "m", "input": [item]}, "openai_responses")
    assert client.status == 400
    assert client.json["error"]["code"] == "unsupported_content"
    assert client.json["error"]["param"]


# Cooldown


async def test_stated_wait_is_recorded_and_told():
    desk = Desk(account(CHAT, "one", ["m"])).answers(
        refusal(429, headers={"retry-after": "42", "x-ratelimit-remaining-requests": "0"})
    )
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 429
    assert client.header("retry-after") == "42"
    assert client.header("x-ratelimit-remaining-requests") == "0"
    state = desk.roster.state(desk.roster.accounts()[0], "m", desk.clock())
    assert state.health == "cooling"
    assert state.until == desk.clock() + 42


async def test_all_cooling_is_429_with_the_soonest_wait():
    desk = two().answers(
        refusal(429, headers={"retry-after": "90"}), refusal(429, headers={"retry-after": "30"})
    )
    first = await desk.ask(ask_body("openai_chat", "m"))
    assert (first.status, first.header("retry-after")) == (429, "30")
    desk.clock.advance(10)
    second = await desk.ask(ask_body("openai_chat", "m"))
    assert (second.status, second.header("retry-after")) == (429, "20")
    assert "one" in second.json["error"]["message"]
    assert desk.outcome.attempts == 0
    desk.clock.advance(25)
    desk.answers(good())
    assert (await desk.ask(ask_body("openai_chat", "m"))).status == 200


async def test_labels_are_hidden_from_callers_with_a_key():
    desk = Desk(account(CHAT, "secret-label", ["m"])).answers(
        refusal(429, headers={"retry-after": "30"}), good()
    )
    body = ask_body("openai_chat", "m")
    await desk.ask(body)
    hidden = await desk.ask(body, show_account=False)
    assert hidden.status == 429
    assert b"secret-label" not in hidden.body
    assert "secret-label" not in str(hidden.headers)
    desk.clock.advance(31)
    served = await desk.ask(body, show_account=False)
    assert served.status == 200
    assert "secret-label" not in str(served.headers)


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic", "openai_responses", "gemini"])
async def test_refused_account_is_never_401(dialect):
    desk = Desk(account(CHAT, "one", ["m"])).answers(refusal(401, message="Incorrect API key"))
    path = "/v1beta/models/m:generateContent" if dialect == "gemini" else None
    client = await desk.ask(ask_body(dialect, "m"), dialect, path)
    assert client.status == 400
    assert "Incorrect API key" in client.body.decode()
    assert b"authentication" not in client.body
    again = await desk.ask(ask_body(dialect, "m"), dialect, path)
    assert again.status == 400, "nobody is told to wait where a person is needed"
    assert "Incorrect API key" in again.body.decode()
    assert again.header("retry-after") is None


async def test_refused_account_is_not_told_as_authentication_within_a_stream():
    gate = asyncio.Event()

    async def hold():
        await gate.wait()

    desk = Desk(account(CHAT, "one", ["m"]), limits=GatewayLimits(ping_s=0.001))
    desk.answers(
        Answered(200, SSE, [hold, b'data: {"error":{"message":"bad key","code":401}}\n\n'])
    )
    client = Client()
    call = desk.call(ask_body("anthropic", "m", stream=True), "anthropic")
    task = asyncio.ensure_future(desk.gateway.handle(call, client))
    while not client.pings:
        client.seen.clear()
        await client.seen.wait()
    gate.set()
    outcome = await task
    assert outcome.failure is not None
    assert client.body.count(b"event: error") == 1
    assert b"authentication_error" not in client.body


# Before the head


async def test_pings_go_out_before_the_head_and_failover_still_works():
    gate = asyncio.Event()

    async def hold():
        await gate.wait()

    desk = two(limits=GatewayLimits(ping_s=0.001)).answers(
        Answered(200, SSE, [hold, unreachable()]), Answered(200, SSE, chat_stream("hello"))
    )
    client = Client()
    call = desk.call(ask_body("anthropic", "m", stream=True), "anthropic")
    task = asyncio.ensure_future(desk.gateway.handle(call, client))
    while not client.pings:
        client.seen.clear()
        await client.seen.wait()
    assert client.status == 200
    gate.set()
    outcome = await task
    assert outcome.attempts == 2
    assert outcome.failure is None
    assert b"hello" in client.body
    assert client.finished == 1


async def test_failure_after_a_ping_comes_in_the_stream():
    gate = asyncio.Event()

    async def hold():
        await gate.wait()

    desk = Desk(account(CHAT, "one", ["m"]), limits=GatewayLimits(ping_s=0.001))
    desk.answers(Answered(200, SSE, [hold, unreachable()]))
    client = Client()
    call = desk.call(ask_body("openai_chat", "m", stream=True))
    task = asyncio.ensure_future(desk.gateway.handle(call, client))
    while not client.pings:
        client.seen.clear()
        await client.seen.wait()
    gate.set()
    outcome = await task
    assert outcome.status == 200
    assert (
        next(e for e in client.events() if "error" in e)["error"]["code"] == "upstream_unreachable"
    )
    assert client.body.count(b'"error"') == 1
    assert client.finished == 1


# Leaving


async def leaving(desk, call, reached):
    client = Client()
    task = asyncio.ensure_future(desk.gateway.handle(call, client))
    await reached.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    return client


async def test_leaving_within_a_stream_closes_the_upstream_at_once():
    reached = asyncio.Event()

    async def hold():
        reached.set()
        await asyncio.Event().wait()

    answer = Answered(200, SSE, [CHAT_START, chat_chunk({"content": "a"}), hold])
    desk = Desk(account(CHAT, "one", ["m"])).answers(answer)
    await leaving(desk, desk.call(ask_body("openai_chat", "m", stream=True)), reached)
    assert answer.closed
    assert desk.outcome.status == 499
    assert desk.outcome.failures == []


async def test_leaving_while_the_head_is_awaited_ends_the_call():
    reached, ended = asyncio.Event(), asyncio.Event()

    async def send(_request, _limits):
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    desk = Desk(account(CHAT, "one", ["m"]), send=send)
    await leaving(desk, desk.call(ask_body("openai_chat", "m", stream=True)), reached)
    assert ended.is_set()
    assert desk.outcome.status == 499


async def test_client_that_is_found_gone_at_a_write_ends_the_exchange_without_noise(caplog):
    class Leaving(Client):
        async def write(self, data):
            await super().write(data)
            self.gone = True

    answer = Answered(200, SSE, chat_stream("a", "b", "c"))
    desk = Desk(account(CHAT, "one", ["m"])).answers(answer)
    client = Leaving()
    outcome = await desk.gateway.handle(
        desk.call(ask_body("openai_chat", "m", stream=True)), client
    )
    assert outcome.status == 499
    assert answer.closed
    assert not caplog.records
    assert desk.roster.state(desk.roster.accounts()[0], "m", desk.clock()).health == "ready"


# Our own refusals


async def test_paused_gateway_refuses_new_calls_with_the_reason():
    desk = Desk(account(CHAT, "one", ["m"]))
    desk.gateway.paused = "Dragoman is paused."
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 503
    assert "paused" in client.json["error"]["message"]


async def test_unknown_model_names_the_nearest():
    desk = Desk(account(CHAT, "one", ["gpt-large"]))
    client = await desk.ask(ask_body("anthropic", "gpt-larg"), "anthropic")
    assert client.status == 404
    assert "gpt-large" in client.json["error"]["message"]


async def test_fault_of_ours_is_logged_and_answered(caplog):
    async def send(_request, _limits):
        raise ZeroDivisionError

    desk = Desk(account(CHAT, "one", ["m"]), send=send)
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 500
    assert "req_test" in client.json["error"]["message"]
    assert "ZeroDivisionError" in caplog.text
    assert desk.outcome.failure.status == 500


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 400, 429])
async def test_own_headers_are_on_every_answer_once(status, stream):
    if status == 200:
        step = Answered(
            200,
            (SSE if stream else JSON) | {"x-request-id": "up_1", "request-id": "up_2"},
            chat_stream("a") if stream else chat_whole(),
        )
    else:
        step = refusal(status, headers={"x-request-id": "up_1", "request-id": "up_2"})
    desk = Desk(account(CHAT, "one", ["m"])).answers(step)
    client = await desk.ask(ask_body("openai_chat", "m", stream=stream, **(TOLD if stream else {})))
    assert client.status == status
    assert client.header("x-request-id") == "req_test"
    route = client.header("x-dragoman-route")
    assert "provider=server" in route
    assert "model=m" in route
    assert "grade=verbatim" in route
    assert "attempts=1" in route
    assert "account=one" in route
    assert client.header("x-upstream-request-id") == "up_1"
    assert client.header("request-id") == "up_2"


async def test_in_stream_failure_after_content_pauses_the_account():
    stream = [CHAT_START, chat_chunk({"content": "a"}), unreachable()]
    desk = Desk(account(CHAT, "one", ["m"])).answers(Answered(200, SSE, stream))
    await desk.ask(ask_body("openai_chat", "m", stream=True))
    state = desk.roster.state(desk.roster.accounts()[0], "m", desk.clock())
    assert state.health == "cooling"
    assert desk.outcome.failure.code == "upstream_unreachable"
