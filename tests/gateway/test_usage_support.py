"""What a Chat stream used is known, though its client did not ask for it."""

import pytest

from app.canonical.failure import Failure
from app.canonical.usage import Usage
from app.gateway.usage_support import UsageSupport
from tests.fakes.basic import Answered, Clock
from tests.gateway.scripted import (
    SSE,
    TOLD,
    Desk,
    account,
    ask_body,
    chat_chunk,
    chat_stream,
    refusal,
)

USE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
ENDED = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
WORDS = [chat_chunk({"content": word}) for word in ("a", "b")]


def good():
    return Answered(200, SSE, [*WORDS, ENDED + USE[:30], USE[30:] + DONE])


def wrong(text="stream_options is not known here"):
    return refusal(400, message=text)


def desk(*steps):
    return Desk(account(models=["m"])).answers(*steps)


def streamed(**more):
    return ask_body("openai_chat", "m", stream=True, **more)


async def test_use_is_asked_for_and_the_client_does_not_see_it():
    one = desk(good())
    client = await one.ask(streamed(temperature=0.5))
    assert one.sent() == streamed(temperature=0.5) | TOLD
    assert client.pieces == [*WORDS, ENDED, DONE]
    assert one.outcome.usage == Usage(input=7, output=2)
    assert one.outcome.grade == "patched"


async def test_client_that_asks_gets_every_byte():
    one = desk(good())
    client = await one.ask(streamed(**TOLD))
    assert client.body == b"".join(WORDS) + ENDED + USE + DONE
    assert one.outcome.grade == "verbatim"


async def test_answer_that_is_not_streamed_is_not_touched():
    one = desk(Answered(200, {"content-type": "application/json"}, b'{"choices":[]}'))
    await one.ask(ask_body("openai_chat", "m"))
    assert one.sent() == ask_body("openai_chat", "m")


async def test_server_that_refuses_the_question_is_asked_without_it_from_then_on():
    silent = Answered(200, SSE, [*WORDS, ENDED, DONE])
    one = desk(wrong(), silent, silent)
    client = await one.ask(streamed())
    assert client.body == b"".join(WORDS) + ENDED + DONE
    assert [sorted(one.sent(n)) for n in (0, 1)] == [
        ["messages", "model", "stream", "stream_options"],
        ["messages", "model", "stream"],
    ]
    assert (one.outcome.attempts, one.outcome.usage) == (2, None)
    await one.ask(streamed())
    assert one.outcome.attempts == 1
    assert one.sent() == streamed()


async def test_servers_refusal_holds_for_clients_of_other_dialects_too():
    silent = Answered(200, SSE, chat_stream("a"))
    one = desk(wrong(), silent, silent)
    for _ in range(2):
        client = await one.ask(ask_body("anthropic", "m", stream=True), "anthropic")
        assert client.status == 200
        assert "stream_options" not in one.sent()


async def test_request_that_is_wrong_anyhow_is_told_and_nothing_is_concluded():
    one = desk(wrong("no"), wrong("no such tool"), good())
    client = await one.ask(streamed())
    assert client.json["error"]["message"] == "no such tool"
    await one.ask(streamed())
    assert "stream_options" in one.sent()


async def test_server_that_took_the_question_once_is_not_doubted():
    one = desk(good(), wrong("no such tool"))
    await one.ask(streamed())
    client = await one.ask(streamed())
    assert client.json["error"]["message"] == "no such tool"
    assert one.outcome.attempts == 1


@pytest.mark.parametrize(
    "more",
    [
        {"param": "messages[0].content"},
        {"code": "context_length_exceeded", "param": "messages"},
        {"code": "context_length_exceeded"},
    ],
)
async def test_server_that_says_what_else_was_wrong_is_believed(more):
    one = desk(refusal(400, **more))
    await one.ask(streamed())
    assert len(one.send.requests) == 1


async def test_server_that_names_the_question_is_asked_without_it():
    one = desk(refusal(422, param="stream_options"), good())
    client = await one.ask(streamed())
    assert client.status == 200


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_other_refusals_are_not_blamed_on_the_question(status):
    one = desk(refusal(status))
    await one.ask(streamed())
    assert len(one.send.requests) == 1


async def test_broken_stream_is_told_after_all_that_came():
    one = desk(Answered(200, SSE, [*WORDS, USE[:30]]))
    client = await one.ask(streamed())
    sent, _, error = client.body.partition(b'\n\ndata: {"error"')
    assert sent == b"".join(WORDS) + USE[:30]
    assert b"closed the stream" in error


def test_what_is_known_is_forgotten_after_a_day():
    clock = Clock()
    support = UsageSupport(clock)
    failure = Failure(422, "extra_forbidden", "invalid_request")
    support.learn("a", takes=False)
    support.learn("b", takes=True)
    assert [support.may_ask(name) for name in "abc"] == [False, True, True]
    assert [support.may_blame(name, failure) for name in "abc"] == [False, False, True]
    clock.advance(24 * 3_600)
    assert support.may_ask("a")
    assert support.may_blame("b", failure)


def test_no_more_than_a_thousand_servers_are_remembered():
    support = UsageSupport(Clock())
    for number in range(1_001):
        support.learn(str(number), takes=False)
    assert [support.may_ask(name) for name in ("0", "1", "1000")] == [True, False, False]
