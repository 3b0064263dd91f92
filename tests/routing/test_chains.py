import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.canonical.failure import Failure
from app.errors import Retry
from app.routing.chains import MOST_STEPS, Names, Step, expand, may_ask


def models(name, names, known=None):
    return [(s.model, s.reasoning) for s in expand(name, names, known)]


NAMES = Names(
    aliases={
        "fast": "gpt-5-mini",
        "deep": "gpt-5(high)",
        "deeper": "deep(max)",
        "gpt-6": "gpt-6(low)",
        "best": "careful",
    },
    chains={
        "careful": ["claude-x", "gpt-5"],
        "wide": ["careful", "fast", "gemini-x(1024)"],
        "gpt-5": ["gpt-5", "claude-x"],
    },
)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("other", [("other", None)]),
        ("", [("", None)]),
        ("other(high)", [("other", "high")]),
        ("fast", [("gpt-5-mini", None)]),
        ("fast(low)", [("gpt-5-mini", "low")]),
        ("deep", [("gpt-5", "high"), ("claude-x", "high")]),
        ("deeper", [("gpt-5", "max"), ("claude-x", "max")]),
        ("deep(none)", [("gpt-5", "none"), ("claude-x", "none")]),
        ("gpt-6", [("gpt-6", "low")]),
        ("gpt-5", [("gpt-5", None), ("claude-x", None)]),
        ("best", [("claude-x", None), ("gpt-5", None)]),
        ("best(0)", [("claude-x", 0), ("gpt-5", 0)]),
        (
            "wide",
            [("claude-x", None), ("gpt-5", None), ("gpt-5-mini", None), ("gemini-x", 1024)],
        ),
        ("wide(low)", [(m, "low") for m in ("claude-x", "gpt-5", "gpt-5-mini", "gemini-x")]),
    ],
)
def test_names_are_written_out(name, steps):
    assert models(name, NAMES) == steps


def test_a_listed_name_keeps_its_parentheses():
    assert models("m(high)", NAMES, lambda name: name == "m(high)") == [("m(high)", None)]


def test_circles_end():
    names = Names(
        aliases={"a": "b", "b": "a", "s": "s"}, chains={"c": ["d"], "d": ["c", "e"], "e": ["d"]}
    )
    assert models("a", names) == [("a", None)]
    assert models("s", names) == [("s", None)]
    assert {m for m, _ in models("c", names)} <= {"c", "d"}


def test_a_maze_of_chains_costs_little():
    chains = {f"c{i}": [f"c{i + 1}", f"c{i + 1}"] for i in range(200)}
    assert len(expand("c0", Names(chains=chains))) <= MOST_STEPS
    wide = {f"c{i}": [f"c{j}" for j in range(50) if j != i] for i in range(50)}
    assert len(expand("c0", Names(chains=wide))) <= MOST_STEPS


def test_long_lines_of_aliases_and_suffixes_end():
    aliases = {f"a{i}": f"a{i + 1}" for i in range(5_000)}
    assert len(expand("a0", Names(aliases=aliases))) == 1
    assert len(expand("m" + "(high)" * 10_000, Names())) == 1


names = st.sampled_from(["a", "b", "c", "d", "a(low)", "c(9)", "x"])


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(names, names, max_size=5),
    st.dictionaries(names, st.lists(names, min_size=1, max_size=4), max_size=5),
    names,
)
def test_every_name_ends_in_models_each_once(aliases, chains, name):
    steps = expand(name, Names(aliases=aliases, chains=chains))
    assert 1 <= len(steps) <= MOST_STEPS
    assert len({(s.model, s.reasoning) for s in steps}) == len(steps)


def failure(kind, retry=Retry.NEXT_ACCOUNT, **fields):
    return Failure(500, "x", kind, retry=retry, **fields)


@pytest.mark.parametrize(
    ("moves", "failed", "allowed"),
    [
        ((), failure("quota"), True),
        ((), failure("invalid_request", Retry.NEVER), False),
        ((), failure("context_full", Retry.NEVER), False),
        (("quota",), failure("quota"), True),
        (("quota",), failure("payment"), True),
        (("quota",), failure("rate_limit"), True),
        (("quota",), failure("overloaded"), False),
        (("rate_limit",), failure("quota"), False),
        (("timeout",), failure("timeout"), True),
        (("overloaded", "server"), failure("server"), True),
        (("unavailable",), failure("unavailable"), True),
        (("authentication",), failure("permission"), True),
        (("not_found",), failure("not_found"), True),
        (("too_long",), failure("context_full", Retry.NEVER), True),
        (("too_long",), failure("too_large", Retry.NEVER), True),
        (("too_long",), failure("quota"), False),
        (("refused",), failure("content_policy", Retry.NEVER), True),
        (("invalid",), failure("invalid_request", Retry.NEVER), True),
        (("any",), failure("content_policy", Retry.NEVER), True),
        (("any",), failure("cancelled", Retry.NEVER), False),
        (("any",), failure("permission", final=True), False),
    ],
)
def test_a_chain_moves_on_for_its_reasons(moves, failed, allowed):
    steps = (Step("a"), Step("b", moves=frozenset(moves)))
    assert may_ask(steps, 0, 1, failed) is allowed


def test_another_account_of_the_same_model_needs_no_reason_of_the_chain():
    steps = (Step("a"), Step("b", moves=frozenset(("timeout",))))
    assert may_ask(steps, 1, 1, failure("quota"))
    assert not may_ask(steps, 1, 1, failure("context_full", Retry.NEVER))


def test_reasons_stand_beside_the_entry_that_they_lead_to():
    names = Names(
        chains={"c": ["a", "inner", "z"], "inner": ["p", "q"]},
        moves={"c": {"inner": ["quota"], "z": ["too_long"]}, "inner": {"q": ["timeout"]}},
    )
    assert [(s.model, set(s.moves)) for s in expand("c", names)] == [
        ("a", set()),
        ("p", {"quota"}),
        ("q", {"timeout"}),
        ("z", {"too_long"}),
    ]
