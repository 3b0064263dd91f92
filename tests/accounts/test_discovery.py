"""Model lists: read, kept, and what is known without them."""

import asyncio
import json
from dataclasses import replace

import pytest

from app.accounts.account import Account
from app.accounts.discovery import Discovery
from app.dialects import DIALECTS
from app.errors import AccountError, UpstreamError
from app.http import HttpReply
from app.providers import DEMO, OPENAI, Credential
from app.providers.base import ModelFacts


def account(label="one", provider=OPENAI, **more):
    return Account(
        f"{provider.id}/{label}",
        provider,
        label,
        provider.base_url,
        Credential(f"sk-{label}"),
        **more,
    )


def models(*names):
    return HttpReply(200, (), json.dumps({"data": [{"id": name} for name in names]}).encode())


class Desk:
    """A discovery whose calls are answered from a script, by account."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.discovery = Discovery(self.fetch, self.fresh, DIALECTS)

    async def fetch(self, request, _limits):
        self.asked.append(request)
        secret = dict(request.headers)["authorization"].removeprefix("Bearer ")
        answer = self.answers[secret.removeprefix("sk-")]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def fresh(self, asked):
        return asked

    def names(self, *accounts):
        return {key: list(rows) for key, rows in self.discovery.listed(accounts).items()}


async def test_lists_are_read_per_account():
    desk = Desk(one=models("a", "b"), two=models("c"))
    one, two = account("one"), account("two")
    await desk.discovery.read([one, two])
    assert desk.names(one, two) == {"openai/one": ["a", "b"], "openai/two": ["c"]}
    assert desk.asked[0].url == "https://api.openai.com/v1/models"


@pytest.mark.parametrize(
    "changes",
    [
        {"models": {"a": "a"}},
        {"enabled": False},
        {"trouble": "no key"},
        {"provider": replace(OPENAI, models_path="")},
    ],
)
async def test_accounts_that_cannot_or_need_not_be_asked_are_not(changes):
    desk = Desk()
    await desk.discovery.read([account(**changes)])
    assert desk.asked == []


async def test_the_demo_is_known_and_not_asked():
    desk = Desk()
    demo = account("demo", DEMO)
    await desk.discovery.read([demo])
    assert "demo-chat" in desk.names(demo)["demo/demo"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (UpstreamError("No way there."), "No way there."),
        (HttpReply(401, (), b'{"error":{"message":"bad key"}}'), "bad key"),
        (HttpReply(200, (), b"<html>"), "no model list"),
    ],
)
async def test_what_cannot_be_read_is_told_and_leaves_the_former_list(answer, words, caplog):
    desk = Desk(one=models("a"))
    one = account()
    await desk.discovery.read([one])
    desk.answers["one"] = answer
    await desk.discovery.read([one])
    assert desk.names(one) == {"openai/one": ["a"]}
    assert words in desk.discovery.trouble("openai/one")
    assert words in caplog.text
    desk.answers["one"] = models("b")
    await desk.discovery.read([one])
    assert desk.discovery.trouble("openai/one") == ""
    assert desk.names(one) == {"openai/one": ["b"]}


async def test_one_that_fails_keeps_no_other_back():
    desk = Desk(one=UpstreamError("down"), two=models("c"))
    await desk.discovery.read([account("one"), account("two")])
    assert desk.names(account("one"), account("two")) == {"openai/two": ["c"]}


async def test_an_account_that_is_signed_out_is_told():
    desk = Desk()

    async def signed_out(_account):
        raise AccountError("The sign-in is over.", code="sign_in_again")

    discovery = Discovery(desk.fetch, signed_out, DIALECTS)
    await discovery.read([account()])
    assert discovery.trouble("openai/one") == "The sign-in is over."


async def test_what_a_plan_offers_is_known_until_the_list_was_read():
    plan = replace(OPENAI, known_models=lambda credential: (ModelFacts(credential.secret),))
    desk = Desk(one=models("read"))
    one = account(provider=plan)
    assert desk.names(one) == {"openai/one": ["sk-one"]}
    await desk.discovery.read([one])
    assert desk.names(one) == {"openai/one": ["read"]}


async def test_calls_go_through_the_accounts_proxy_with_a_fresh_credential():
    desk = Desk(new=models("a"))

    async def fresh(asked):
        return replace(asked, credential=Credential("sk-new"))

    discovery = Discovery(desk.fetch, fresh, DIALECTS)
    await discovery.read([account(proxy="http://proxy:1")])
    assert desk.asked[0].proxy == "http://proxy:1"


async def test_new_settings_forget_accounts_that_are_gone_and_every_trouble():
    desk = Desk(one=models("a"), two=models("b"), three=UpstreamError("down"))
    one, two, three = account("one"), account("two"), account("three")
    await desk.discovery.read([one, two, three])
    desk.discovery.begin_anew([one, three])
    assert desk.names(one, two, three) == {"openai/one": ["a"]}
    assert desk.discovery.trouble("openai/three") == ""


class Held(Desk):
    """A desk whose services answer only once the gate is open, and with a clock."""

    def __init__(self, **answers):
        super().__init__(**answers)
        self.gate = asyncio.Event()
        self.at = 0.0
        self.discovery = Discovery(self.fetch, self.fresh, DIALECTS, lambda: self.at)

    async def fetch(self, request, limits):
        answer = await super().fetch(request, limits)
        await self.gate.wait()
        return answer


async def test_of_several_that_want_a_list_at_once_one_asks():
    desk = Held(one=models("a"))
    one = account()
    waiting = [asyncio.ensure_future(desk.discovery.read([one])) for _ in range(4)]
    while not desk.asked:  # noqa: ASYNC110 - until the task has come so far
        await asyncio.sleep(0)
    waiting[0].cancel()  # one who leaves ends it for nobody else
    desk.gate.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert waiting[0].cancelled()
    assert len(desk.asked) == 1
    assert desk.names(one) == {"openai/one": ["a"]}
    await desk.discovery.read([one])
    assert len(desk.asked) == 2


async def test_another_sign_in_of_the_same_name_is_asked_for_itself():
    desk = Held(one=models("a"), two=models("b"))
    old = account()
    new = replace(old, credential=Credential("sk-two"))
    waiting = [asyncio.ensure_future(desk.discovery.read([who])) for who in (old, new)]
    while len(desk.asked) < 2:  # noqa: ASYNC110 - until both have come so far
        await asyncio.sleep(0)
    desk.gate.set()
    await asyncio.gather(*waiting)
    assert len(desk.asked) == 2


async def test_a_list_that_was_asked_for_a_moment_ago_is_left_to_cool_down():
    desk = Held(one=models("a"))
    desk.gate.set()
    one = account()
    for at, asked in ((0, 1), (59, 1), (60, 2), (61, 2)):
        desk.at = at
        await desk.discovery.read([one], unless_within_s=60)
        assert len(desk.asked) == asked
    desk.discovery.begin_anew([one])  # other settings: nothing counts any more
    await desk.discovery.read([one], unless_within_s=60)
    assert len(desk.asked) == 3
