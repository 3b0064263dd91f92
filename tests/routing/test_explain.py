"""From a decision to accounts, and the explanation over the same code."""

import json

import pytest

from app.accounts.roster import AccountState
from app.errors import AccountError, NoRouteError
from app.routing.explain import (
    explain,
    left_out,
    listed_names,
    plan_decision,
    trace_json,
    trace_of,
)
from app.routing.rules import decide
from tests.routing.accounts import READY, account, catalog, demo, plan_for, tried
from tests.routing.calls import decided, facts, rules

WORK, HOME, CLAUDE = account("openai/work"), account("openai/home"), account("anthropic/a")
ROUTER = account("openrouter/main")
ACCOUNTS = [WORK, HOME, CLAUDE, ROUTER]
KNOWN = catalog({"openrouter/main": ["vendor/big", "gpt-5"]}.items())
COOLING = AccountState("cooling", "busy", 100.0)
RESTING = AccountState("cooling", "busy", 100.0, soft=True)


def arguments(accounts=ACCOUNTS, known=KNOWN, states=None, allows=None, rank=None):
    states = states or {}
    return (
        "openai_chat",
        accounts,
        known,
        lambda a, m: states.get((a.id, m), states.get(a.id, READY)),
        allows or (lambda *_: True),
        rank or (lambda *_: (0, "")),
    )


def routed(text, call, **how):
    return plan_decision(decided(text, call), *arguments(**how))


def steps(plan):
    return tuple(candidate.step for candidate in plan.candidates)


def explained(text, call, **how):
    def no_account(plan):
        return AccountError(f"nobody for {plan.model}")

    return explain(decided(text, call), *arguments(**how), no_account)


@pytest.mark.parametrize("model", ["gpt-5", "claude-opus-4-5", "openrouter/vendor/big"])
def test_without_rules_the_plan_is_that_of_the_model(model):
    plan = plan_for(model, ACCOUNTS, KNOWN)
    assert routed("rules: []", facts(model)) == plan


def test_a_chain_is_tried_model_by_model_and_each_candidate_knows_its_step():
    text = "chains: {c: [claude-x, gpt-5, claude-x]}"
    found = routed(text, facts("c"))
    assert tried(found) == [
        ("anthropic/a", "claude-x"),
        ("openrouter/main", "gpt-5"),
    ]
    assert steps(found) == (0, 1)
    assert found.model == "c"


def test_a_chain_with_the_name_of_its_model_does_not_run_in_a_circle():
    text = "chains: {gpt-5: [gpt-5, claude-x]}"
    known = catalog(KNOWN.listed.items(), chains={"gpt-5": ("gpt-5", "claude-x")})
    assert tried(routed(text, facts("gpt-5"), known=known)) == [
        ("openrouter/main", "gpt-5"),
        ("anthropic/a", "claude-x"),
    ]


def test_models_that_nobody_serves_are_passed_over():
    text = "chains: {c: [nowhere, claude-x]}"
    found = routed(text, facts("c"))
    assert tried(found) == [("anthropic/a", "claude-x")]
    assert steps(found) == (1,)
    with pytest.raises(NoRouteError, match="'nowhere'"):
        routed("chains: {c: [nowhere, neither]}", facts("c"))


def test_a_rule_limits_who_may_serve():
    text = "rules: [{then: {account: openai/home}}]"
    assert tried(routed(text, facts("gpt-5-nano"))) == [("openai/home", "gpt-5-nano")]
    only = "rules: [{then: {provider: openrouter, model: vendor/big}}]"
    assert tried(routed(only, facts("gpt-5"))) == [("openrouter/main", "vendor/big")]


def test_who_rests_is_asked_only_when_nobody_is_ready_in_the_whole_chain():
    text = "chains: {c: [claude-x, gpt-5]}"
    ready = routed(text, facts("c"), states={"anthropic/a": RESTING})
    assert tried(ready) == [("openrouter/main", "gpt-5")]
    later = AccountState("cooling", "busy", 200.0, soft=True)
    states = {"anthropic/a": later, "openrouter/main": RESTING}
    both = routed(text, facts("c"), states=states)
    assert tried(both) == [("openrouter/main", "gpt-5"), ("anthropic/a", "claude-x")]
    assert steps(both) == (1, 0)
    none = routed(
        text, facts("c"), states=dict.fromkeys(("anthropic/a", "openrouter/main"), COOLING)
    )
    assert none.candidates == ()
    assert len(none.waiting) == 2


def test_the_demo_is_never_what_a_chain_falls_back_to():
    accounts = [*ACCOUNTS, demo()]
    text = "chains: {c: [claude-x, demo-chat], d: [demo-chat, claude-x], e: [nowhere, demo-chat]}"
    assert tried(routed(text, facts("c"), accounts=accounts)) == [("anthropic/a", "claude-x")]
    assert tried(routed(text, facts("d"), accounts=accounts))[0] == ("demo/demo", "demo-chat")
    with pytest.raises(NoRouteError):
        routed(text, facts("e"), accounts=accounts)


def test_a_scope_counts_for_the_name_asked_for_and_for_the_model_served():
    text = "{aliases: {fast: gpt-5}, rules: [{when: {model: gpt-5(high)}, then: {model: gpt-5}}]}"

    def scoped(*names):
        return lambda _account, model: model in names

    for asked, scope in (("fast", "fast"), ("fast", "gpt-5"), ("gpt-5(high)", "gpt-5")):
        assert routed(text, facts(asked), allows=scoped(scope)).candidates
    with pytest.raises(NoRouteError):
        routed(text, facts("fast"), allows=scoped("other"))


def test_an_explanation_says_what_would_happen_and_why():
    text = """
    aliases: {fast: gpt-5(low)}
    rules:
      - {name: long, when: {tokens: 100}, then: {model: claude-x}}
      - {name: quick, when: {model: "f*"}, then: {model: fast}}
    """
    trace = explained(
        text,
        facts("f", tokens=5),
        states={"openrouter/main": COOLING, "openai/home": COOLING},
    )
    assert trace.rule == "quick"
    assert trace.models == ("gpt-5, reasoning low",)
    assert [(v.name, v.matched) for v in trace.rules] == [("long", False), ("quick", True)]
    assert trace.candidates == ()
    assert [(row.account, row.why) for row in trace.left_out] == [
        ("openrouter/main", "busy"),
        ("openai/work", "it is not known to serve gpt-5"),
        ("openai/home", "it is not known to serve gpt-5"),
        ("anthropic/a", "it is not known to serve gpt-5"),
    ]
    assert trace.error == "nobody for f"


def test_every_account_is_either_asked_or_left_out_with_a_reason():
    off = account("openai/off", enabled=False)
    accounts = [*ACCOUNTS, off, demo()]
    states = {"openai/off": AccountState("disabled", "switched off in the settings")}
    for text, call in (
        ("rules: []", facts("gpt-5-nano")),
        ("rules: [{name: one, then: {account: openai/work}}]", facts("gpt-5-nano")),
        ("rules: []", facts("nowhere")),
    ):
        trace = explained(text, call, accounts=accounts, states=states)
        named = [c.account for c in trace.candidates] + [row.account for row in trace.left_out]
        assert sorted(named) == sorted(a.id for a in accounts)
        assert all(row.why for row in trace.left_out)


def test_reasons_for_leaving_out_are_told_apart():
    off = account("openai/off", enabled=False)
    decision = decided("rules: [{name: one, then: {provider: openai}}]", facts("gpt-5-nano"))
    rows = left_out(
        decision,
        trace_of(decision),
        [CLAUDE, off, WORK, demo()],
        lambda a, _m: a.id != "openai/work",
        lambda *_: AccountState("disabled", "switched off in the settings"),
    )
    assert {row.account: row.why for row in rows} == {
        "anthropic/a": "one wants openai alone",
        "openai/off": "switched off in the settings",
        "openai/work": "the caller's key may not use it",
        "demo/demo": "the demo answers only under its own names",
    }


def test_a_refused_call_is_explained_without_accounts():
    trace = explained("rules: [{name: no, then: {reject: not today}}]", facts("gpt-5"))
    assert (trace.rule, trace.error, trace.candidates) == ("no", "not today", ())


def test_the_explanation_and_the_plan_agree():
    text = """
    chains: {c: [claude-x, gpt-5-nano, vendor/big]}
    rules: [{when: {stream: true}, then: {chain: c}}, {when: {model: x}, then: {provider: openai}}]
    """
    ready = rules(text)
    for call in (facts("gpt-5", stream=True), facts("x"), facts("claude-y")):
        how = arguments(rank=lambda a, _m: (a.id != "openai/home", "room"))
        decision = decide(call, ready)
        plan = plan_decision(decision, *how)
        trace = explain(decision, *how, lambda _plan: AccountError("none"))
        assert [(c.account, c.model, c.why) for c in trace.candidates] == [
            (c.account.id, c.model, c.reason) for c in plan.candidates
        ]


def test_a_trace_is_json():
    trace = explained("rules: [{name: a, when: {model: z}, then: {}}]", facts("gpt-5-nano"))
    assert json.loads(trace_json(trace)) == {
        "asked": "gpt-5-nano",
        "models": ["gpt-5-nano"],
        "rule": "",
        "rules": [{"name": "a", "matched": False, "why": "does not hold: model is z"}],
        "notes": ["no rule matched, so the asked model is kept"],
        "candidates": [
            {
                "account": f"openai/{label}",
                "model": "gpt-5-nano",
                "dialect": "openai_chat",
                "step": 0,
                "why": "family of openai",
            }
            for label in ("work", "home")
        ],
        "left_out": [
            {"account": i, "why": "it is not known to serve gpt-5-nano"}
            for i in ("anthropic/a", "openrouter/main")
        ],
        "error": "",
    }


def test_listed_names_are_those_of_accounts():
    known = listed_names(ACCOUNTS, KNOWN)
    assert known("vendor/big")
    assert not known("gpt-5-nano")
