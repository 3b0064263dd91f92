import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounts.roster import AccountState
from app.errors import AccountError, NoRouteError, Retry
from app.providers.base import ModelFacts
from app.routing.catalog import Catalog, NamePattern
from app.routing.plan import Plan, nearest_models, no_account_error
from tests.routing.accounts import account, catalog, demo, plan_for, plan_name, tried

NOW = 1_770_000_000.0
HOME = account("openai/home")
WORK = account("openai/work")
CLAUDE = account("anthropic/main")
GOOGLE = account("gemini/main")
ROUTER = account("openrouter/main")
ALL = (HOME, WORK, CLAUDE, GOOGLE, ROUTER, demo())


def pattern(match, provider, priority=0):
    return NamePattern(re.compile(match), provider, priority)


def cooling(until, reason="busy"):
    return AccountState("cooling", reason, until)


# How a name finds its accounts


@pytest.mark.parametrize(
    ("model", "expected", "reason"),
    [
        ("claude-sonnet-4-5", [("anthropic/main", "claude-sonnet-4-5")], "family of anthropic"),
        ("gpt-5", [("openai/home", "gpt-5"), ("openai/work", "gpt-5")], "family of openai"),
        ("o3", [("openai/home", "o3"), ("openai/work", "o3")], "family of openai"),
        ("gemini-3-pro", [("gemini/main", "gemini-3-pro")], "family of gemini"),
        ("gemma-3-27b-it", [("gemini/main", "gemma-3-27b-it")], "family of gemini"),
        ("demo-chat", [("demo/demo", "demo-chat")], "listed by demo"),
        ("x/y:free", [("openrouter/main", "x/y:free")], "listed by openrouter"),
        ("gpt-4o", [("openrouter/main", "gpt-4o")], "listed by openrouter"),
        ("gemini/new-one", [("gemini/main", "new-one")], "prefix gemini/"),
        ("openai/work/new", [("openai/work", "new")], "prefix openai/work/"),
        ("openrouter/x/y:free", [("openrouter/main", "x/y:free")], "prefix openrouter/"),
        ("openrouter/a/b/c", [("openrouter/main", "a/b/c")], "prefix openrouter/"),
        ("demo/demo/demo-chat", [("demo/demo", "demo-chat")], "prefix demo/demo/"),
    ],
)
def test_a_name_finds_its_accounts(model, expected, reason):
    plan = plan_for(model, ALL, catalog({"openrouter/main": ["x/y:free", "gpt-4o"]}))
    assert tried(plan) == expected
    assert {c.reason for c in plan.candidates} == {reason}
    assert plan.waiting == ()


@pytest.mark.parametrize(
    "model",
    [
        "mistral-large",
        "my-claude-3",  # a family is told by how a name begins
        "Claude-Sonnet",
        "o10",
        "gemini-3-pro-aistudio",  # of a service that is not there
        "openai/",
        "openai/work/",
        "/gpt-5",
        "unheard/gpt-5",
        " ",
        "gpt",
        "\0",
        "x" * 100_000,
    ],
)
def test_a_name_that_nobody_serves_is_refused(model):
    with pytest.raises(NoRouteError) as caught:
        plan_for(model, ALL)
    assert caught.value.status == 404
    assert caught.value.retry is Retry.NEVER
    assert len(caught.value.message) < 300


def test_each_earlier_step_hides_the_later_ones():
    steps = [
        ({"aliases": {"gpt-5": "openai/home/x"}}, [("openai/home", "x")]),
        ({"listed": {"anthropic/main": ["gpt-5"]}}, [("anthropic/main", "gpt-5")]),
        ({"patterns": (pattern("gpt", "gemini"),)}, [("gemini/main", "gpt-5")]),
        ({}, [("openai/home", "gpt-5"), ("openai/work", "gpt-5")]),
    ]
    for number, (_, expected) in enumerate(steps):
        known = {}
        for settings, _ in steps[number:]:
            known |= settings
        assert tried(plan_for("gpt-5", ALL, catalog(**known))) == expected


def test_a_listed_name_is_preferred_to_the_same_words_as_a_prefix():
    known = catalog({"openrouter/main": ["openai/gpt-5"]})
    assert tried(plan_for("openai/gpt-5", ALL, known)) == [("openrouter/main", "openai/gpt-5")]


# Prefixes


def test_a_label_means_that_account_alone():
    for accounts in (ALL, ALL[::-1]):
        assert tried(plan_for("openai/work/gpt-5", accounts)) == [("openai/work", "gpt-5")]


def test_a_label_of_an_account_that_is_switched_off_is_not_taken_for_a_model():
    off = account("openai/work", enabled=False)
    states = {"openai/work": AccountState("disabled", "switched off in the settings")}
    plan = plan_for("openai/work/gpt-5", (HOME, off), states=states)
    assert plan.candidates == ()
    assert plan.waiting == ((off, states["openai/work"]),)


def test_a_label_out_of_scope_is_not_taken_for_a_model():
    with pytest.raises(NoRouteError):
        plan_for("openai/work/gpt-5", ALL, allows=lambda a, _: a.id == "openai/home")


def test_a_vendor_that_is_also_a_label_is_told_by_the_list():
    named = account("openrouter/meta")
    known = catalog({"openrouter/main": ["meta/llama"]})
    assert tried(plan_for("openrouter/meta/llama", (ROUTER, named), known)) == [
        ("openrouter/main", "meta/llama"),
        ("openrouter/meta", "llama"),
    ]


def test_the_longest_label_wins():
    short, long = account("openai/a"), account("openai/a/b")
    assert tried(plan_for("openai/a/b/m", (short, long))) == [("openai/a/b", "m")]
    assert tried(plan_for("openai/a/m", (short, long))) == [("openai/a", "m")]


def test_a_prefix_finds_the_public_names_of_a_mapping_and_no_others():
    mapped = account("openai/home", models={"quick": "gpt-5-mini"})
    assert tried(plan_for("quick", (mapped,))) == [("openai/home", "gpt-5-mini")]
    plan = plan_for("openai/quick", (mapped,))
    assert tried(plan) == [("openai/home", "gpt-5-mini")]
    assert plan.candidates[0].public == "quick"
    for name in ("openai/gpt-5-mini", "gpt-5-mini", "openai/home/gpt-5", "gpt-5"):
        with pytest.raises(NoRouteError):
            plan_for(name, (mapped,))


# Aliases, chains, patterns


@pytest.mark.parametrize(
    ("aliases", "model", "expected"),
    [
        ({"fast": "gpt-5-mini"}, "fast", "gpt-5-mini"),
        ({"a": "b", "b": "c", "c": "gpt-5"}, "a", "gpt-5"),
        ({"gpt-5": "gpt-5"}, "gpt-5", "gpt-5"),
        ({"gpt-5": "gpt-4o", "gpt-4o": "gpt-5"}, "gpt-5", "gpt-5"),
        ({"a": "gpt-5", "gpt-5": "gpt-4o", "gpt-4o": "gpt-5"}, "a", "gpt-5"),
        ({"a": "openai/gpt-5"}, "a", "gpt-5"),
    ],
)
def test_aliases_are_followed_to_their_end_or_to_where_a_circle_closes(aliases, model, expected):
    plan = plan_for(model, (HOME,), catalog(aliases=aliases))
    assert tried(plan) == [("openai/home", expected)]
    assert plan.model == model
    assert plan.candidates[0].reason.startswith(f"alias {model}, ")


names = st.sampled_from(["a", "b", "c", "gpt-5", "openai/a", "demo-chat", ""])


@given(
    st.dictionaries(names, names, max_size=7),
    st.dictionaries(names, st.lists(names, min_size=1, max_size=3).map(tuple), max_size=3),
    st.dictionaries(st.sampled_from([a.id for a in ALL]), st.lists(names), max_size=3),
    names,
)
def test_any_settings_give_a_plan_or_a_refusal(aliases, chains, listed, model):
    known = catalog(listed, aliases=aliases, chains=chains)
    try:
        plan = plan_for(model, ALL, known)
    except NoRouteError:
        return
    found = tried(plan)
    assert found
    assert len(found) == len(set(found))
    demos = [c.account.provider.demo for c in plan.candidates]
    assert demos == sorted(demos, reverse=True), "the demo came behind a real account"


def test_an_empty_name_means_the_default_and_is_refused_without_one():
    known = catalog(default="fast", aliases={"fast": "gpt-5"})
    assert tried(plan_for("", (HOME,), known)) == [("openai/home", "gpt-5")]
    with pytest.raises(NoRouteError) as caught:
        plan_for("", ALL)
    assert (caught.value.status, caught.value.code) == (400, "model_missing")


def test_a_chain_is_tried_name_by_name_and_each_account_and_model_once():
    chains = {"best": ("claude-opus-4-5", "mini", "gpt-5", "nobody-has-this", "openai/home/gpt-5")}
    known = catalog(chains=chains, aliases={"mini": "gpt-5", "top": "best"})
    expected = [
        ("anthropic/main", "claude-opus-4-5"),
        ("openai/home", "gpt-5"),
        ("openai/work", "gpt-5"),
    ]
    assert tried(plan_name("best", ALL, known)) == expected
    assert tried(plan_name("top", ALL, known)) == expected


def test_a_chain_may_name_itself():
    known = catalog(chains={"gpt-5": ("gpt-5", "claude-opus-4-5")})
    assert [m for _, m in tried(plan_name("gpt-5", ALL, known))] == [
        "gpt-5",
        "gpt-5",
        "claude-opus-4-5",
    ]


def test_the_highest_pattern_with_an_account_decides_and_equals_keep_their_order():
    patterns = (
        pattern("^m-", "openai", 1),
        pattern("^m-", "unheard", 9),
        pattern("x$", "gemini", 5),
        pattern("m", "anthropic", 5),
    )
    known = catalog(patterns=patterns)
    assert tried(plan_for("m-x", ALL, known)) == [("gemini/main", "m-x")]
    assert tried(plan_for("m-y", ALL, known)) == [("anthropic/main", "m-y")]
    without = (HOME, WORK)
    assert tried(plan_for("m-x", without, known)) == [
        ("openai/home", "m-x"),
        ("openai/work", "m-x"),
    ]


def test_a_pattern_sends_nothing_to_an_account_with_a_list_of_its_own():
    listed = account("openai/home", models={"a": "a"})
    known = catalog(patterns=(pattern("^m-", "openai"),))
    assert tried(plan_for("m-1", (listed, WORK), known)) == [("openai/work", "m-1")]
    with pytest.raises(NoRouteError):
        plan_for("m-1", (listed,), known)


# The order, and who is left out


@given(st.permutations(ALL), st.sampled_from(["gpt-5", "openai/gpt-5", "both"]))
def test_accounts_are_tried_in_the_order_of_the_settings(accounts, model):
    known = catalog({"openai/work": ["both"], "openai/home": ["both"]})
    order = [a.id for a in accounts if a.provider.id == "openai"]
    for _ in range(2):  # the same at each call: the first account is kept while it can serve
        assert [i for i, _ in tried(plan_for(model, accounts, known))] == order


@given(st.lists(st.sampled_from(["ready", "cooling", "refused", "unusable"]), min_size=4))
def test_every_account_is_either_asked_or_named_as_waiting(healths):
    accounts = [account(f"openai/{number}") for number in range(len(healths))]
    states = {a.id: AccountState(health) for a, health in zip(accounts, healths, strict=True)}
    plan = plan_for("gpt-5", accounts, states=states)
    ready = [a.id for a in accounts if states[a.id].health == "ready"]
    assert [i for i, _ in tried(plan)] == ready
    waiting = [a.id for a, _ in plan.waiting]
    assert waiting == [a.id for a in accounts if a.id not in ready]


def test_a_step_whose_accounts_all_rest_does_not_go_elsewhere_unasked():
    known = catalog({"openrouter/main": ["gpt-5"]})
    plan = plan_for("gpt-5", ALL, known, states={"openrouter/main": cooling(NOW + 9)})
    assert plan.candidates == ()
    assert [a.id for a, _ in plan.waiting] == ["openrouter/main"]


def test_health_is_asked_for_the_name_at_the_service():
    mapped = account("openai/home", models={"quick": "gpt-5-mini"})
    plan = plan_for("quick", (mapped,), states={("openai/home", "gpt-5-mini"): cooling(NOW)})
    assert plan.candidates == ()


def test_an_account_that_is_switched_off_stands_in_nobodys_way():
    off = account("openrouter/main", enabled=False)
    states = {"openrouter/main": AccountState("disabled", "switched off in the settings")}
    known = catalog({"openrouter/main": ["gpt-5", "only"]})
    plan = plan_for("gpt-5", (off, HOME), known, states=states)
    assert tried(plan) == [("openai/home", "gpt-5")]
    plan = plan_for("only", (off, HOME), known, states=states)
    assert (plan.candidates, plan.waiting) == ((), ((off, states["openrouter/main"]),))


def test_only_accounts_in_the_callers_scope_are_asked():
    def asked(account, model):
        return (account.id, model) == ("openai/work", "fast")

    known = catalog(aliases={"fast": "gpt-5"})
    assert tried(plan_for("fast", ALL, known, allows=asked)) == [("openai/work", "gpt-5")]
    with pytest.raises(NoRouteError):
        plan_for("gpt-5", ALL, known, allows=asked)


@pytest.mark.parametrize(
    ("model", "client", "dialect"),
    [
        ("gpt-5", "openai_chat", "openai_chat"),
        ("gpt-5", "anthropic", "openai_responses"),
        ("gpt-5-pro", "openai_chat", "openai_responses"),
        ("gpt-4o-audio-preview", "anthropic", "openai_chat"),
        ("claude-opus-4-5", "gemini", "anthropic"),
    ],
)
def test_the_callers_dialect_is_kept_where_it_is_spoken(model, client, dialect):
    candidate = plan_for(model, (HOME, CLAUDE), client=client).candidates[0]
    assert candidate.dialect == dialect


# The demo


def test_the_demo_is_never_what_a_real_model_falls_back_to():
    chains = {"c": ("gpt-5", "demo-chat")}
    known = catalog({"openai/home": ["demo-chat"]}, chains=chains)
    assert tried(plan_name("c", (HOME, demo()), known)) == [
        ("openai/home", "gpt-5"),
        ("openai/home", "demo-chat"),
    ]
    assert tried(plan_name("demo-chat", (demo(), HOME), known)) == [("openai/home", "demo-chat")]
    busy = plan_name("c", (CLAUDE, HOME, demo()), known, states={"openai/home": cooling(NOW + 1)})
    assert busy.candidates == ()


def test_the_demo_does_not_stand_in_for_an_account_that_is_missing_or_off():
    known = catalog(chains={"c": ("gpt-5", "demo-chat")})
    with pytest.raises(NoRouteError):
        plan_name("c", (demo(),), known)
    off = account("openai/home", enabled=False)
    plan = plan_name("c", (off, demo()), known, states={off.id: AccountState("disabled", "off")})
    assert plan.candidates == ()


def test_a_chain_that_begins_with_the_demo_may_go_on_with_it():
    known = catalog(chains={"c": ("demo-error-429", "demo-chat")})
    assert tried(plan_name("c", (HOME, demo()), known)) == [
        ("demo/demo", "demo-error-429"),
        ("demo/demo", "demo-chat"),
    ]


# What a refusal says


def anything(_account, _model):
    return True


def test_a_mistyped_name_is_told_the_nearest_ones():
    known = catalog(
        {"openrouter/main": ["llama-3.3-70b", "qwen-3"]},
        aliases={"fast": "gpt-5"},
        chains={"llama-chain": ("gpt-5",)},
    )

    def near(model):
        return nearest_models(model, (ROUTER,), known, anything)

    assert near("llama-3.3-70") == ["llama-3.3-70b", "llama-chain"]
    assert near("fats") == ["fast"]
    assert near("zzz") == []
    with pytest.raises(NoRouteError) as caught:
        plan_for("qwen3", (ROUTER,), known)
    assert caught.value.hint == "Did you mean qwen-3?"


@given(st.text(max_size=30), st.lists(st.text(max_size=10), max_size=8))
def test_at_most_three_known_names_are_suggested(model, listed):
    near = nearest_models(model, (ROUTER,), catalog({"openrouter/main": listed}), anything)
    assert len(near) <= 3
    assert set(near) <= set(listed)


def test_only_names_in_the_callers_scope_are_suggested():
    known = catalog(
        {"openrouter/main": ["model-1", "model-2"], "openai/home": ["model-3"]},
        aliases={"model-4": "model-1", "model-5": "model-1"},
    )
    scope = {("openrouter/main", "model-1"), ("openrouter/main", "model-4")}
    with pytest.raises(NoRouteError) as caught:
        plan_for("model-9", ALL, known, allows=lambda a, m: (a.id, m) in scope)
    assert caught.value.hint == "Did you mean model-4, model-1?"


def test_the_demo_is_offered_only_to_those_who_may_use_it():
    with pytest.raises(NoRouteError) as caught:
        plan_for("zzzzzzzzzz", (demo(),), allows=lambda _, m: m == "demo-think")
    assert caught.value.hint.startswith("No account is set up yet")
    assert "demo-" not in caught.value.hint


def test_an_account_out_of_scope_is_set_up_all_the_same():
    with pytest.raises(NoRouteError) as caught:
        plan_for("zzzzzzzzzz", (HOME,), allows=lambda *_: False)
    assert "`dragoman models`" in caught.value.hint


@pytest.mark.parametrize(
    ("accounts", "word"),
    [((), "No account is set up yet"), ((demo(),), "demo-chat"), ((HOME,), "`dragoman models`")],
)
def test_the_hint_fits_what_is_set_up(accounts, word):
    with pytest.raises(NoRouteError) as caught:
        plan_for("zzzzzzzzzz", accounts)
    assert word in caught.value.hint


def clock(at, now):
    """A clock on the wall that shows what it was asked."""
    return f"at {at - now:.0f}"


def why_not(*waiting, labels=True):
    return no_account_error(Plan("m", (), waiting), NOW, labels, clock)


@pytest.mark.parametrize(
    ("wait", "shown"),
    [
        (-5.0, "in 1 s"),
        (0.0, "in 1 s"),
        (59.4, "in 59 s"),
        (60.0, "at 60"),
        (90_000.0, "at 90000"),
    ],
)
def test_a_rest_is_told_in_words_and_never_in_the_past(wait, shown):
    error = why_not((HOME, cooling(NOW + wait)))
    assert f"home: busy, back {shown})" in error.message
    assert error.retry_after_s == pytest.approx(max(1.0, wait))


def test_each_account_is_named_with_its_own_reason_and_time():
    spent = AccountState("cooling", "5-hour window used up", NOW + 3_600)
    over = "not signed in any more. OpenAI ended it. Sign in again: `dragoman login openai`."
    error = why_not((CLAUDE, spent), (WORK, AccountState("unusable", over)))
    told = f"({CLAUDE.label}: 5-hour window used up, back at 3600; work: not signed in any more)"
    assert told in error.message
    assert (error.status, error.retry_after_s) == (429, 3_600)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (
            "The system keyring is locked. Unlock it, then try again.",
            "The system keyring is locked",
        ),
        ("Use gpt-4.1 or v2.0 now", "Use gpt-4.1 or v2.0 now"),
        ("KEY is not set in this session; set it", "KEY is not set in this session; set it"),
        ("w" * 300, "w" * 199 + "…"),
        ("", ""),
    ],
)
def test_reason_is_cut_after_its_first_sentence(reason, shown):
    error = why_not((HOME, AccountState("unusable", reason)))
    assert error.message == f"No account can serve m right now (home: {shown})."


def test_label_inside_a_reason_is_not_shown_either():
    state = AccountState("unusable", f"The sign-in of {HOME.id} has ended.")
    assert HOME.id in why_not((HOME, state)).message
    assert HOME.id not in why_not((HOME, state), labels=False).message


def test_all_resting_is_429_with_the_soonest_time():
    waiting = (
        (HOME, cooling(NOW + 60)),
        (WORK, cooling(NOW + 7)),
        (CLAUDE, AccountState("refused", "not allowed")),
    )
    error = no_account_error(Plan("m", (), waiting), NOW, True, clock)
    assert isinstance(error, AccountError)
    assert (error.status, error.code, error.retry_after_s) == (429, "accounts_cooling", 7)


def test_all_needing_a_person_is_503_without_a_time():
    waiting = ((HOME, AccountState("unusable", "it has no api_key")),)
    error = no_account_error(Plan("m", (), waiting), NOW, True, clock)
    assert (error.status, error.code, error.retry_after_s) == (503, "accounts_unavailable", None)
    assert "doctor" in error.hint


def test_labels_are_not_shown_to_callers_with_a_key():
    waiting = tuple((a, AccountState("unusable", "no key")) for a in (HOME, WORK))
    hidden = no_account_error(Plan("m", (), waiting), NOW, False, clock).message
    assert "home" not in hidden
    assert hidden.count("openai: no key") == 1


def test_a_model_is_called_in_a_dialect_that_its_service_lists():
    listed = {HOME.id: {"gpt-5": ModelFacts("gpt-5", dialects=("openai_responses",))}}
    plan = plan_for("gpt-5", [HOME, WORK], Catalog(listed))
    assert [c.dialect for c in plan.candidates] == ["openai_responses"]
    assert [c.dialect for c in plan_for("gpt-5", [WORK]).candidates] == ["openai_chat"]


# The order among accounts


def soft(until):
    return AccountState("cooling", "overloaded", until, soft=True)


def test_who_failed_a_moment_ago_is_asked_only_when_nobody_else_is_left():
    states = {HOME.id: soft(NOW + 5), WORK.id: cooling(NOW + 60)}
    third = account("openai/third")
    assert tried(plan_for("gpt-5", (HOME, WORK, third), states=states)) == [(third.id, "gpt-5")]
    plan = plan_for("gpt-5", (HOME, WORK), states=states)
    assert tried(plan) == [(HOME.id, "gpt-5")]
    assert "nobody else" in plan.candidates[0].reason
    assert [held.id for held, _ in plan.waiting] == [HOME.id, WORK.id]


def test_of_several_that_failed_the_one_whose_rest_ends_first_is_asked_first():
    states = {HOME.id: soft(NOW + 9), WORK.id: soft(NOW + 5)}
    assert [i for i, _ in tried(plan_for("gpt-5", (HOME, WORK), states=states))] == [
        WORK.id,
        HOME.id,
    ]


def test_rank_orders_the_accounts_of_one_name_and_is_told():
    ranks = {HOME.id: (2, "3 % of its quota left"), WORK.id: (1, "")}
    plan = plan_for("gpt-5", (HOME, WORK), rank=lambda a, _: ranks[a.id])
    assert [i for i, _ in tried(plan)] == [WORK.id, HOME.id]
    assert plan.candidates[1].reason.endswith(", 3 % of its quota left")
    assert plan.candidates[0].reason == "family of openai"


def test_equal_ranks_keep_the_order_of_the_accounts():
    plan = plan_for("gpt-5", (WORK, HOME), rank=lambda *_: (1, ""))
    assert [i for i, _ in tried(plan)] == [WORK.id, HOME.id]


def test_rank_does_not_change_the_order_of_a_chain():
    known = catalog(chains={"c": ("claude-opus-4-5", "gpt-5")})
    ranks = {CLAUDE.id: (3, "used up"), HOME.id: (0, "")}
    plan = plan_name("c", (CLAUDE, HOME), known, rank=lambda a, _: ranks[a.id])
    assert [i for i, _ in tried(plan)] == [CLAUDE.id, HOME.id]
