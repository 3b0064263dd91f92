"""Ten thousand requests over four accounts that expire, throttle, break and recover."""

import asyncio
import json
import random

import msgspec
import pytest

from app.accounts.desk import Desk as Accounts
from app.accounts.roster import Roster
from app.dialects import DIALECTS
from app.gateway.exchange import Gateway
from app.http import StreamedReply
from app.providers.credential import Credential
from app.routing.catalog import Catalog
from tests.accounts.services import CANARY, PROVIDERS, START, record
from tests.fakes.basic import Clock, DictVault, Ids, Timers
from tests.gateway.scripted import Client, ask_body, chat_whole
from tests.gateway.scripted import Desk as Scripts

REQUESTS = 10_000
AT_ONCE = 25
LABELS = ("web-1", "web-2", "web-3", "web-4")
LIFE = 300.0


class Service:
    """One service with four accounts, each with its own fate; strict about tokens."""

    def __init__(self, clock, seed):
        self.clock = clock
        self.random = random.Random(seed)  # noqa: S311 - a repeatable soak
        self.number = 0
        self.refresh = {f"{CANARY}-refresh-{label}": label for label in LABELS}
        self.access = {f"{CANARY}-access-{label}": (label, START + LIFE) for label in LABELS}
        self.throttled = dict.fromkeys(LABELS, 0.0)
        self.broken = dict.fromkeys(LABELS, 0.0)
        self.calls = dict.fromkeys((200, 401, 429, 500), 0)
        self.renewals = 0
        self.reused = []

    def turn(self):
        """Let fate strike now and then, never all accounts with an outage at once."""
        now = self.clock()
        for label in LABELS:
            if self.throttled[label] <= now and self.random.random() < 0.02:
                self.throttled[label] = now + self.random.uniform(5, 200)
            outage = any(until > now for until in self.broken.values())
            if not outage and self.random.random() < 0.04:
                self.broken[label] = now + self.random.uniform(4, 30)
        for secret, (owner, ends) in self.access.items():  # a token that ends before its time
            if now + 30 < ends < now + LIFE - 90 and self.random.random() < 0.02:
                self.access[secret] = (owner, 0.0)

    def able(self):
        """Whether any account could serve a request now; a renewal is always to be had."""
        now = self.clock()
        return any(self.throttled[i] <= now and self.broken[i] <= now for i in LABELS)

    async def send(self, request, _limits):
        await asyncio.sleep(0)
        if request.url == "https://id.test/renew":
            return self.renew(json.loads(request.body)["renewal"])
        secret = dict(request.headers)["authorization"].removeprefix("Bearer ")
        label, ends = self.access[secret]
        now = self.clock()
        if ends <= now:
            return self.answer(401, {"error": {"message": "expired", "code": "token_expired"}})
        if self.throttled[label] > now:
            wait = str(int(self.throttled[label] - now))
            limit = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            return self.answer(429, limit, (("retry-after", wait),))
        if self.broken[label] > now:
            return self.answer(500, {"error": {"message": "oops"}})
        self.calls[200] += 1
        return reply(200, chat_whole(label))

    def renew(self, held):
        label = self.refresh.pop(held, None)
        if label is None:
            self.reused.append(held)
            return reply(400, b'{"said": "used twice"}')
        self.renewals += 1
        self.number += 1
        fresh = {"secret": f"{CANARY}-a{self.number}", "renewal": f"{CANARY}-r{self.number}"}
        self.refresh[fresh["renewal"]] = label
        self.access[fresh["secret"]] = (label, self.clock() + LIFE)
        return reply(200, msgspec.json.encode(fresh | {"life": LIFE, "id": f"id-{label}"}))

    def answer(self, status, body, headers=()):
        self.calls[status] += 1
        return reply(status, json.dumps(body).encode(), headers)


def reply(status, body, headers=()):
    async def chunks():
        yield body

    return StreamedReply(status, (("content-type", "application/json"), *headers), chunks())


class World:
    """The service, its accounts, and a gateway over them, with clocks that a test moves."""

    def __init__(self, seed, labels=LABELS):
        self.wall = Clock(START)
        steady = Clock(0.0)
        self.timers = Timers(self.wall, steady)
        self.service = Service(self.wall, seed)
        self.vault = DictVault(*(record(label, credential=credential(label)) for label in labels))
        roster = Roster()
        self.accounts = Accounts(
            self.vault,
            roster,
            PROVIDERS,
            self.service.send,
            now=self.wall,
            monotonic=steady,
            call_later=self.timers.call_later,
            jitter=lambda: 0.0,
        )
        refresher = self.accounts.refresher
        self.gateway = Gateway(
            dialects=DIALECTS,
            roster=roster,
            send=self.service.send,
            now=self.wall,
            new_id=Ids(),
            counter=lambda text: None,
            catalog=Catalog(aliases={"m": "web/m"}),
            fresh=refresher.fresh,
            rejected=lambda asked: refresher.rejected(asked, asked.credential.secret),
        )
        self.scripts = Scripts()

    async def ask(self, number):
        client = Client()
        session = f"conversation-{number % 40}"
        body = ask_body("openai_chat", "m", prompt_cache_key=session)
        await self.gateway.handle(self.scripts.call(body), client)
        return client


def credential(label):
    names = f"{CANARY}-access-{label}", f"{CANARY}-refresh-{label}"
    return Credential(names[0], "oauth", START + LIFE, names[1], {}, START)


@pytest.mark.parametrize("way", ["ended", "refused"])
async def test_two_hundred_requests_at_once_cause_one_renewal(way):
    world = World(1, LABELS[:1])
    await world.accounts.open()
    if way == "ended":
        world.wall.advance(LIFE + 1)
    else:  # the service takes a token back that has not ended
        world.service.access[f"{CANARY}-access-web-1"] = ("web-1", 0.0)
    answers = await asyncio.gather(*(world.ask(number) for number in range(200)))
    assert {client.status for client in answers} == {200}
    assert world.service.renewals == 1
    assert world.service.reused == []
    assert world.service.calls[200] == 200
    await world.accounts.close()


@pytest.mark.gen_test(timeout=120)  # the usual minute is short on a busy machine
async def test_no_request_is_lost_that_any_account_could_have_served(caplog):
    world = World(seed=1)
    service = world.service
    await world.accounts.open()
    lost, refused = [], 0
    for first in range(0, REQUESTS, AT_ONCE):
        service.turn()
        able = service.able()
        answers = await asyncio.gather(*(world.ask(first + n) for n in range(AT_ONCE)))
        for client in answers:
            if client.status == 200:
                continue
            if able:
                lost.append((world.wall(), client.status, client.body))
            else:
                refused += 1
                assert client.status in (429, 500), client.body
        world.timers.go(4.0)
    await world.accounts.close()
    assert lost == []
    assert service.reused == []
    assert service.renewals > 20
    assert all(service.calls.values()), service.calls
    assert service.calls[200] == REQUESTS - refused
    assert refused < REQUESTS / 10
    assert CANARY not in caplog.text
    assert world.vault.records["web/web-1"].credential.renewal in service.refresh
