"""Embeddings, images and compaction: passed on as they are."""

import asyncio
import contextlib

import pytest

from app.gateway.passthrough import EXTRA_PATHS
from app.providers import ANTHROPIC, OPENAI
from app.routing.catalog import Catalog
from tests.fakes.basic import Answered, unreachable
from tests.gateway.scripted import CHAT, JSON, Client, Desk, account, refusal

BODY = b'{"model": "m", "input": ["a", "b"]}'


def ask(desk, body=BODY, extra="embeddings", **more):
    dialect = "openai_responses" if extra == "compact" else "openai_chat"
    return desk.ask(body, dialect, extra=extra, **more)


@pytest.mark.parametrize("extra", EXTRA_PATHS.values())
async def test_body_and_answer_are_untouched(extra):
    desk = Desk(account(OPENAI, "one", ["m"])).answers(
        Answered(200, JSON | {"x-request-id": "up"}, b'{"data" : [1]}')
    )
    client = await ask(desk, extra=extra)
    assert client.body == b'{"data" : [1]}'
    assert desk.send.requests[0].body == BODY
    path = next(path for path, name in EXTRA_PATHS.items() if name == extra)
    assert desk.send.requests[0].url == f"https://api.openai.com{path}"
    assert client.header("x-upstream-request-id") == "up"
    assert client.header("x-request-id") == "req_test"
    assert "grade=verbatim" in client.header("x-dragoman-route")
    assert desk.outcome.status == 200


async def test_alias_is_replaced():
    desk = Desk(
        account(CHAT, "one", {"m": "big"}, proxy="direct"), catalog=Catalog(aliases={"x": "m"})
    ).answers(Answered(200, JSON, b"{}"))
    await ask(desk, b'{"model":"x","input":"a"}')
    assert desk.send.requests[0].body == b'{"model":"big","input":"a"}'
    assert desk.send.requests[0].proxy == "direct"


async def test_accounts_that_offer_no_such_call_are_left_out():
    desk = Desk(account(ANTHROPIC, "one", ["m"]))
    client = await ask(desk)
    assert client.status == 404
    assert "/v1/embeddings" in client.json["error"]["message"]


async def test_next_account_is_asked_and_the_first_pauses():
    desk = Desk(account(CHAT, "one", ["m"]), account(CHAT, "two", ["m"])).answers(
        refusal(429, headers={"retry-after": "9"}), Answered(200, JSON, b"{}")
    )
    client = await ask(desk)
    assert client.status == 200
    assert desk.outcome.attempts == 2
    state = desk.roster.state(desk.roster.accounts()[0], "m", desk.clock())
    assert state.until == desk.clock() + 9


@pytest.mark.parametrize(
    ("step", "status"),
    [(refusal(401), 400), (refusal(400), 400), (unreachable(), 502), (Answered(301), 502)],
)
async def test_failures_are_told_as_for_generation(step, status):
    desk = Desk(account(CHAT, "one", ["m"])).answers(step)
    client = await ask(desk)
    assert client.status == status
    assert client.json["error"]["message"]


@pytest.mark.parametrize("body", [b"{}", b'{"model":5}', b"[]", b"no", b'{"model":"\\ud800"}'])
async def test_wrong_bodies_are_request_faults(body):
    client = await ask(Desk(account(CHAT, "one", ["m"])), body)
    assert client.status == 400


async def test_all_cooling_is_told_with_the_wait():
    desk = Desk(account(CHAT, "one", ["m"])).answers(refusal(429, headers={"retry-after": "9"}))
    await ask(desk)
    client = await ask(desk)
    assert (client.status, client.header("retry-after")) == (429, "9")


async def test_leaving_ends_the_upstream_call():
    reached = asyncio.Event()

    async def hold():
        reached.set()
        await asyncio.Event().wait()

    answer = Answered(200, JSON, [b"{", hold])
    desk = Desk(account(CHAT, "one", ["m"])).answers(answer)
    task = asyncio.ensure_future(desk.gateway.handle(desk.call(BODY, extra="embeddings"), Client()))
    await reached.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert answer.closed
