"""When services are asked what is left, and what is read beside."""

from dataclasses import replace

import pytest

from app.accounts.account import Account
from app.accounts.quota import Quotas
from app.accounts.quota_reader import QuotaReader, reach_of
from app.accounts.steps import Driver
from app.errors import AccountError, UpstreamError
from app.http import HttpRequest
from app.providers import OPENAI, Credential
from app.providers.quota import Quota, QuotaWindow
from app.providers.signin import ask
from tests.fakes.basic import Answered, Clock, ScriptedSend

USAGE = "https://api.service.test/usage"


def usage_call(credential):
    answer = yield from ask(HttpRequest("GET", USAGE, (("authorization", credential.secret),)))
    if answer.reply.status == 429:
        raise UpstreamError("Asked too often.", retry_after_s=3_600)
    used = float(answer.reply.body)
    return Quota((QuotaWindow("5h", used, answer.now + 60),), answer.now, "usage call")


PLAN = replace(
    OPENAI,
    id="plan",
    base_url="https://api.service.test",
    hosts=frozenset({"api.service.test"}),
    quota_steps=usage_call,
)


def account(label="one", provider=PLAN, **more):
    credential = more.pop("credential", Credential(f"secret-{label}", "oauth"))
    return Account(f"plan/{label}", provider, label, provider.base_url, credential, **more)


class Desk:
    def __init__(self, *answers):
        self.clock = Clock()
        self.send = ScriptedSend()
        self.send.script(
            *(
                Answered(200, {}, str(a).encode()) if a != 429 else Answered(429, {}, b"")
                for a in answers
            )
        )
        self.quotas = Quotas()
        self.fresh_error = None
        self.reader = QuotaReader(
            self.quotas, Driver(self.send, self.clock), self.fresh, self.clock
        )

    async def fresh(self, asked):
        if self.fresh_error is not None:
            raise self.fresh_error
        return asked

    def left(self, label="one"):
        return self.quotas.left_percent(f"plan/{label}", "m", self.clock())


async def test_an_unknown_account_is_asked_at_once():
    desk = Desk(30, 40)
    await desk.reader.read([account("one"), account("two")])
    assert sorted([desk.left("one"), desk.left("two")]) == [60, 70]
    assert {dict(r.headers)["authorization"] for r in desk.send.requests} == {
        "secret-one",
        "secret-two",
    }


async def test_an_account_is_asked_again_only_when_it_was_used_since():
    desk = Desk(30, 40)
    one = account()
    await desk.reader.read([one])
    desk.clock.advance(10_000)
    await desk.reader.read([one])
    assert len(desk.send.requests) == 1
    desk.reader.notice(one, ())
    await desk.reader.read([one])
    assert len(desk.send.requests) == 2


@pytest.mark.parametrize(
    ("for_people", "after", "asked"),
    [(False, 599, 1), (False, 600, 2), (True, 59, 1), (True, 60, 2)],
)
async def test_no_account_is_asked_too_often(for_people, after, asked):
    desk = Desk(30, 40)
    one = account()
    await desk.reader.read([one])
    desk.reader.notice(one, ())
    desk.clock.advance(after)
    await desk.reader.read([one], for_people=for_people)
    assert len(desk.send.requests) == asked


async def test_people_see_an_unused_account_anew_too():
    desk = Desk(30, 40)
    one = account()
    await desk.reader.read([one])
    desk.clock.advance(60)
    await desk.reader.read([one], for_people=True)
    assert desk.left() == 60


async def test_a_service_that_wants_rest_gets_it_even_from_people():
    desk = Desk(429, 40)
    one = account()
    await desk.reader.read([one])
    assert desk.reader.trouble("plan/one") == "Asked too often."
    desk.clock.advance(3_599)
    await desk.reader.read([one], for_people=True)
    assert len(desk.send.requests) == 1
    desk.clock.advance(1)
    await desk.reader.read([one], for_people=True)
    assert desk.left() == 60
    assert desk.reader.trouble("plan/one") == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"enabled": False},
        {"trouble": "signed out"},
        {"provider": replace(PLAN, quota_steps=None)},
        {"credential": None},
    ],
)
async def test_who_cannot_be_asked_is_not(changes):
    desk = Desk()
    await desk.reader.read([account(**changes)])
    assert desk.send.requests == []


async def test_an_account_that_is_signed_out_is_told():
    desk = Desk()
    desk.fresh_error = AccountError("The sign-in is over.")
    await desk.reader.read([account()])
    assert desk.reader.trouble("plan/one") == "The sign-in is over."


async def test_a_call_to_another_host_is_stopped():
    def astray(_credential):
        yield from ask(HttpRequest("GET", "https://elsewhere.test/usage"))

    desk = Desk()
    await desk.reader.read([account(provider=replace(PLAN, quota_steps=astray))])
    assert "elsewhere.test" in desk.reader.trouble("plan/one")
    assert desk.send.requests == []


async def test_heads_are_read_beside():
    desk = Desk()
    told = replace(
        PLAN,
        read_quota=lambda headers, now: (
            Quota((QuotaWindow("5h", 90.0),), now, "headers") if headers else None
        ),
    )
    one = account(provider=told)
    desk.reader.notice(one, ())
    assert desk.left() is None
    desk.reader.notice(one, (("x-left", "10"),))
    assert desk.left() == 10


async def test_an_account_that_is_gone_is_forgotten():
    desk = Desk(30, 40)
    one = account()
    await desk.reader.read([one])
    desk.reader.forget("plan/one")
    assert desk.left() is None
    await desk.reader.read([one])
    assert desk.left() == 60


def test_an_address_of_its_own_and_a_host_of_its_own_may_be_reached():
    plain = reach_of(account())
    assert plain.allows(USAGE)
    assert not plain.allows("https://own.test/usage")
    own = replace(account(), base_url="https://own.test/api")
    assert reach_of(own).allows("https://own.test/usage")
    hosted = account(credential=Credential("s", "oauth", facts={"host": "ghe.test"}))
    assert reach_of(hosted).allows("https://api.ghe.test/usage")
