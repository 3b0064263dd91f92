"""Calls over accounts with a pace: who is asked, who waits, and what a client hears."""

import asyncio
from dataclasses import replace

import pytest

from app.accounts.pace import Pacer
from app.canonical.failure import Failure
from app.config import Pace
from app.errors import Retry
from tests.fakes.basic import Answered, Timers
from tests.gateway.scripted import (
    CHAT,
    JSON,
    SSE,
    Client,
    Desk,
    account,
    ask_body,
    chat_stream,
    chat_whole,
    refusal,
)

PLAN = replace(CHAT, id="plan", subscription=True)
OTHER = replace(PLAN, id="other")
GOOD = Answered(200, JSON, chat_whole())
BODY = ask_body("openai_chat", "m")


def desk(*accounts, at_once=1, per_minute=100, **options):
    """A gateway whose plans take this much, with timers in ``made.timers``."""
    made = Desk(*accounts, **options)
    made.timers = Timers(made.clock)
    written = {name: Pace(at_once=at_once, per_minute=per_minute) for name in ("plan", "other")}
    made.gateway.pacer = Pacer(made.clock, made.timers.call_later, written)
    return made


def plan(label="one", provider=PLAN):
    return account(provider, label, ["m"])


async def begin(made, body=BODY, **more):
    """Begin a call and let it come as far as it can."""
    client = Client()
    task = asyncio.ensure_future(made.gateway.handle(made.call(body, **more), client))
    for _ in range(20):
        await asyncio.sleep(0)
    return client, task


def running(made, which="plan/one"):
    return made.gateway.pacer._meters[which].running


class Held:
    """An answer that comes when a test says so."""

    def __init__(self, *accounts, **pace):
        self.go = asyncio.Event()
        self.asked = []
        self.desk = desk(*accounts, **pace)
        inner = self.desk.gateway.send

        async def send(request, limits):
            self.asked.append(dict(request.headers)["authorization"].removeprefix("Bearer sk-"))
            await self.go.wait()
            return await inner(request, limits)

        self.desk.gateway.send = send


async def test_second_call_goes_to_the_next_account_with_room():
    held = Held(plan("one"), plan("two"))
    held.desk.answers(GOOD, GOOD)
    (a, first), (b, second) = await begin(held.desk), await begin(held.desk)
    held.go.set()
    await asyncio.gather(first, second)
    assert held.asked == ["one", "two"]
    assert [a.status, b.status] == [200, 200]
    assert running(held.desk) == running(held.desk, "plan/two") == 0


async def test_conversation_stays_with_its_account_when_another_only_helped_out():
    held = Held(plan("one"), plan("two"))
    held.desk.answers(*[GOOD] * 4)
    talk = BODY | {"prompt_cache_key": "talk"}
    held.go.set()
    await held.desk.ask(talk)
    held.go.clear()
    (_, first), (_, second) = await begin(held.desk, talk), await begin(held.desk, talk)
    held.go.set()
    await asyncio.gather(first, second)
    await held.desk.ask(talk)
    assert held.asked == ["one", "one", "two", "one"]


async def test_without_room_a_call_waits_and_then_goes_on():
    held = Held(plan())
    held.desk.answers(GOOD, GOOD)
    (_, first), (b, second) = await begin(held.desk), await begin(held.desk)
    assert held.asked == ["one"]
    held.go.set()
    await asyncio.gather(first, second)
    assert held.asked == ["one", "one"]
    assert b.status == 200


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic", "openai_responses"])
async def test_call_that_waited_long_enough_hears_429_with_a_time(dialect):
    held = Held(plan())
    held.desk.answers(GOOD)
    _, first = await begin(held.desk)
    b, second = await begin(held.desk, ask_body(dialect, "m"), dialect=dialect)
    held.desk.timers.go(15.0)
    await second
    assert b.status == 429
    assert b.header("retry-after") == "5"
    assert "one: as many calls run as may at once, 1" in b.json["error"]["message"]
    assert held.asked == ["one"]
    assert held.desk.outcome.attempts == 0
    # It says nothing against the account.
    assert held.desk.roster.state(plan(), "m", held.desk.clock()).health == "ready"
    held.go.set()
    await first


async def test_labels_are_hidden_from_callers_with_a_key():
    held = Held(plan("ada"))
    held.desk.answers(GOOD)
    _, first = await begin(held.desk)
    b, second = await begin(held.desk, show_account=False)
    held.desk.timers.go(15.0)
    await second
    assert "plan: as many calls run" in b.json["error"]["message"]
    assert "ada" not in b.json["error"]["message"]
    held.go.set()
    await first


async def test_minute_that_is_full_is_told_with_its_end():
    made = desk(plan(), per_minute=1).answers(GOOD)
    await made.ask(BODY)
    made.clock.advance(18.0)
    client, task = await begin(made)
    made.timers.go(15.0)
    await task
    assert (client.status, client.header("retry-after")) == (429, "27")


async def test_keyed_accounts_have_no_limit():
    held = Held(account(CHAT, "key", ["m"]))
    held.desk.answers(*[GOOD] * 30)
    tasks = [(await begin(held.desk))[1] for _ in range(30)]
    assert len(held.asked) == 30
    held.go.set()
    await asyncio.gather(*tasks)
    assert held.desk.gateway.pacer._meters == {}


async def test_failover_comes_back_to_the_account_that_had_no_room():
    held = Held(plan("one"), plan("two", OTHER))
    held.desk.answers(GOOD, refusal(429, headers={"retry-after": "900"}), GOOD)
    (_, first), (b, second) = await begin(held.desk), await begin(held.desk)
    held.go.set()
    await asyncio.gather(first, second)
    assert held.asked == ["one", "two", "one"]
    assert b.status == 200


async def test_account_that_was_refused_meanwhile_is_not_asked():
    held = Held(plan())
    final = Failure(403, "Not for you.", "permission", scope="account", final=True)
    held.desk.answers(GOOD)
    (_, first), (b, second) = await begin(held.desk), await begin(held.desk)
    held.desk.roster.pause("plan/one", None, 600.0, final.message, held.desk.clock(), refused=True)
    held.go.set()
    await asyncio.gather(first, second)
    assert held.asked == ["one"]
    assert b.json["error"]["code"] == "accounts_unavailable"
    assert "one: Not for you" in b.json["error"]["message"]
    assert running(held.desk) == 0


async def test_room_is_let_go_of_when_the_client_leaves():
    held = Held(plan())
    held.desk.answers(GOOD)
    (_, first), (_, waiting) = await begin(held.desk), await begin(held.desk)
    for task in (waiting, first):
        task.cancel()
        await asyncio.wait([task])
    assert running(held.desk) == 0
    held.go.set()
    assert (await held.desk.ask(BODY)).status == 200


@pytest.mark.parametrize(
    "answer",
    [
        Answered(200, SSE, chat_stream("hello")),
        Answered(200, SSE, chat_stream("hello")[:2]),
        refusal(500),
        refusal(400),
        Answered(200, JSON, b"no json"),
    ],
    ids=["whole", "cut", "failed", "bad request", "nonsense"],
)
async def test_room_is_let_go_of_however_an_answer_ends(answer):
    made = desk(plan()).answers(answer)
    await made.ask(BODY | {"stream": True})
    assert running(made) == 0


async def test_room_is_held_until_a_stream_has_ended():
    made = desk(plan())
    more = asyncio.Event()

    start, first, *rest = chat_stream("a", "b")
    made.answers(Answered(200, SSE, [start, first, more.wait, *rest]))
    client, task = await begin(made, BODY | {"stream": True})
    assert client.started
    assert running(made) == 1
    more.set()
    await task
    assert running(made) == 0


async def test_caller_with_a_sign_in_of_its_own_has_its_own_pace():
    own = replace(plan("forward"), models=None)
    held = Held(own_sign_in=lambda *_: own)
    held.desk.answers(*[GOOD] * 3)
    tasks = [(await begin(held.desk))[1] for _ in range(3)]
    assert len(held.asked) == 3
    held.go.set()
    await asyncio.gather(*tasks)


async def test_calls_that_are_passed_on_keep_to_the_pace():
    server = replace(PLAN, extras=frozenset({"embeddings"}))
    held = Held(plan(provider=server))
    held.desk.answers(Answered(200, JSON, b"{}"))
    body = {"model": "m", "input": "x"}
    _, first = await begin(held.desk, body, path="/v1/chat/completions", extra="embeddings")
    b, second = await begin(held.desk, body, path="/v1/chat/completions", extra="embeddings")
    assert held.asked == ["one"]
    held.desk.timers.go(15.0)
    await second
    assert (b.status, b.json["error"]["code"]) == (429, "pace_reached")
    held.go.set()
    await first
    assert running(held.desk) == 0


def test_policy_of_the_refusal_fits_agents():
    error = Pacer().refusal([plan()], "m", show_labels=True)
    assert error.retry is Retry.NEXT_ACCOUNT
