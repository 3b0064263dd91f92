import pytest

from app.accounts.quota import QuotaView, WindowView
from app.accounts.roster import AccountState
from app.gateway.status import (
    ModelRoutes,
    ModelStatus,
    WindowStatus,
    describe_account,
    describe_models,
    describe_state,
)
from app.providers.quota import QuotaWindow
from tests.desktop import statuses
from tests.routing.accounts import READY, account, catalog, demo


def state_of(**changes):
    facts = {"listening": True, "paused": "", "running": 0, "problems": (), "accounts": ()}
    return describe_state(**(facts | changes))


BROKEN = statuses.account(needs_sign_in=True, health="unusable", reason="It has ended.")
COOLING = statuses.account("chatgpt/b", health="cooling", reason="used up")


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({"listening": False, "paused": "x"}, "stopped", "does not listen"),
        ({"paused": "By you.", "problems": ("p",)}, "paused", "By you."),
        ({"problems": ("first", "second"), "running": 1}, "attention", "first"),
        ({"accounts": (statuses.account(), BROKEN)}, "attention", "chatgpt-1: It has ended."),
        ({"accounts": (statuses.account(health="refused", reason="No."),)}, "attention", "No."),
        ({"accounts": (COOLING,)}, "attention", "No account can answer"),
        ({"accounts": (statuses.account(), COOLING), "running": 2}, "working", ""),
        ({"accounts": (statuses.account(health="disabled"),)}, "running", ""),
        ({}, "running", ""),
    ],
)
def test_state_of_the_whole(changes, state, reason):
    found, why = state_of(**changes)
    assert found == state
    assert reason in why


def test_account_shows_its_quota_in_whole_percent():
    view = WindowView(QuotaWindow("5h", 37.6, resets_at=9.0), 1.0, "headers", runs_out_at=5.0)
    spent = WindowView(QuotaWindow("7d", None, exhausted=True), 1.0, "headers")
    found = describe_account(
        account("openai/work"),
        AccountState("ready"),
        QuotaView((view, spent), plan="pro"),
        identity="a@b",
        plan="plus",
        warning="not stored",
    )
    assert found.windows[0] == WindowStatus("5h", 62.0, 9.0, runs_out_at=5.0)
    assert (found.plan, found.reason, found.identity) == ("pro", "not stored", "a@b")
    assert (found.left_percent, found.spent) == (0.0, True)


def test_account_without_quota_tells_nothing_of_it():
    found = describe_account(account("openai/work"), AccountState("cooling", "why", 9.0), None)
    assert (found.left_percent, found.spent, found.until) == (None, False, 9.0)
    assert found.reason == "why"


def test_whole_shows_what_the_best_account_has_left():
    accounts = (
        statuses.account(windows=(statuses.window(left=20.0), statuses.window("7d", 90.0))),
        statuses.account("chatgpt/b", windows=(statuses.window(left=50.0),)),
        statuses.account("chatgpt/c", health="disabled", windows=(statuses.window(left=99.0),)),
        statuses.account("chatgpt/d"),
    )
    assert statuses.status(accounts=accounts).left_percent == 50.0
    assert statuses.status().left_percent is None


A, B = account("openai/a"), account("openai/b")


def models_of(accounts, known, states=None, rank=lambda account, model: (0, "")):
    states = states or {}
    return describe_models(accounts, known, lambda a, m: states.get(a.id, READY), rank)


def test_models_name_who_answers_now():
    known = catalog({"openai/a": ["gpt-5"], "openai/b": ["gpt-5"]}, aliases={"fast": "gpt-5"})
    title = A.provider.title
    assert models_of([A, B, demo()], known, rank=lambda a, m: (a is A, "")) == (
        ModelStatus("gpt-5", "openai", title, "openai/b", "gpt-5"),
        ModelStatus("fast", "openai", title, "openai/b", "gpt-5", alias_of="gpt-5"),
    )


def test_models_say_why_nobody_can_answer():
    known = catalog({"openai/a": ["gpt-5"]}, aliases={"lost": "no-such-model"})
    gpt, lost = models_of([A], known, {"openai/a": AccountState("cooling", "used up")})
    assert (gpt.account, gpt.provider, gpt.reason) == ("", "openai", "a: used up")
    assert (lost.provider, lost.account) == ("", "")
    assert "no-such-model" in lost.reason


def test_chain_is_listed_with_its_names():
    known = catalog({"openai/a": ["x", "y"]}, chains={"either": ("y", "x")})
    found = models_of([A], known)[-1]
    assert (found.name, found.alias_of, found.upstream) == ("either", "y → x", "y")


def test_demo_is_listed_only_while_it_is_alone():
    assert {model.provider for model in models_of([demo()], catalog())} == {"demo"}
    assert models_of([demo(), A], catalog()) == ()


def test_routes_are_worked_out_once_per_key():
    asked = []

    def state_of(account, model):
        asked.append(model)
        return READY

    routes = ModelRoutes()
    known = catalog({"openai/a": ["gpt-5"]})
    for key in (1, 1, 2):
        found = routes.read(key, [A], known, state_of, lambda a, m: (0, ""))
        assert [model.name for model in found] == ["gpt-5"]
    assert len(asked) == 2
