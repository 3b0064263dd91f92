from collections import Counter

import pytest

from app.routing.strategy import (
    Standing,
    combined,
    fitting,
    order_accounts,
    strategic,
    strategy_of,
)
from tests.routing.accounts import account

A, B, C = (Standing(f"openai/{name}", order) for order, name in enumerate("abc"))


def ids(strategy, standings, turn=0):
    return [s.account_id[-1] for s, _ in order_accounts(strategy, standings, turn)]


def test_the_primary_account_comes_first():
    primary = Standing("openai/c", 2, primary=True)
    assert ids("primary_first", [A, B, primary]) == ["c", "a", "b"]
    assert ids("primary_first", [C, B, A]) == ["a", "b", "c"]


def test_what_is_begun_is_filled_first():
    rows = [Standing("x/a", 0), Standing("x/b", 1, left_percent=20), Standing("x/c", 2, False, 60)]
    assert ids("fill_first", rows) == ["b", "c", "a"]


def test_the_fullest_comes_first():
    rows = [Standing("x/a", 0, False, 10), Standing("x/b", 1, False, 80), Standing("x/c", 2)]
    assert ids("most_left", rows) == ["c", "b", "a"]


def test_turns_go_round():
    assert [ids("round_robin", [A, B, C], turn) for turn in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_turns_are_shared_by_weight_and_evenly():
    rows = [
        Standing("x/a", 0, weight=3),
        Standing("x/b", 1, weight=1),
        Standing("x/c", 2, weight=0),
    ]
    firsts = [ids("weighted", rows, turn)[0] for turn in range(1_000)]
    seen = Counter(firsts)
    assert abs(seen["a"] - 750) <= 5
    assert seen["c"] == 0
    assert max(len(run) for run in "".join(firsts).split("b")) <= 5
    assert ids("weighted", rows, 7)[-1] == "c"


def test_who_has_least_to_do_comes_first():
    rows = [Standing("x/a", 0, running=1), Standing("x/b", 1, used=9), Standing("x/c", 2, used=3)]
    assert ids("least_used", rows) == ["c", "b", "a"]


ALL = ("primary_first", "fill_first", "round_robin", "weighted", "least_used", "most_left")


@pytest.mark.parametrize("strategy", ALL)
def test_no_account_is_lost_and_spent_ones_come_last(strategy):
    rows = [A, Standing("x/s", 1, True, 0.0), B, Standing("x/w", 4, weight=0), C]
    for turn in range(12):
        ordered = ids(strategy, rows, turn)
        assert sorted(ordered) == sorted("asbwc")
        assert ordered[-1] == "s"
    assert order_accounts(strategy, []) == ()
    assert dict(order_accounts(strategy, rows))[rows[1]] == "its quota is used up"


def test_the_rule_wins_over_the_provider_and_that_over_the_rest():
    strategies = {"openai": "round_robin", "*": "most_left"}
    assert strategy_of("openai", strategies) == "round_robin"
    assert strategy_of("gemini", strategies) == "most_left"
    assert strategy_of("openai", strategies, "weighted") == "weighted"
    assert strategy_of("openai", {}) == "primary_first"


@pytest.mark.parametrize("strategy", ALL)
def test_sign_ins_of_a_person_are_never_spread(strategy):
    applied = fitting(strategy, subscription=True)
    assert applied in ("primary_first", "fill_first", "most_left")
    assert fitting(strategy, subscription=False) == strategy


def test_a_strategy_settles_only_what_is_equal():
    ranks = {"openai/a": (1, ""), "openai/b": (1, ""), "openai/c": (0, "same conversation")}
    order = order_accounts("round_robin", [A, B, C], 1)
    rank_of = combined(lambda a, _m: ranks[a.id], order)
    rows = {name: rank_of(account(f"openai/{name}"), "m") for name in "abc"}
    assert sorted(rows, key=rows.get) == ["c", "b", "a"]
    assert rows["c"][1] == "same conversation"
    assert rows["b"][1] == "turn 1"
    ranks["openai/zz"] = (0, "")
    assert rank_of(account("openai/zz"), "m") < rows["b"]


def planned(strategies, wanted=None, turn=0, base=lambda *_: (1, "")):
    accounts = [account(i) for i in ("openai/a", "openai/b", "codex/a", "codex/b", "gemini/a")]
    asked = []

    def standing_of(one, model):
        asked.append((one.id, model))
        return Standing(one.id, accounts.index(one))

    rank_of = strategic(base, accounts, strategies, wanted, standing_of, lambda _provider: turn)
    return [a.id for a in sorted(accounts[:4], key=lambda a: rank_of(a, "m"))], asked


def test_each_provider_has_its_own_strategy():
    order, _ = planned({"openai": "round_robin"}, turn=1)
    assert order.index("openai/b") < order.index("openai/a")
    assert order.index("codex/a") < order.index("codex/b")


def test_a_spreading_strategy_for_all_leaves_sign_ins_in_their_order():
    order, _ = planned({"*": "round_robin"}, turn=1)
    assert order.index("openai/b") < order.index("openai/a")
    assert order.index("codex/a") < order.index("codex/b")
    order, _ = planned({}, wanted="weighted", turn=1)
    assert order.index("codex/a") < order.index("codex/b")


def test_without_strategies_nothing_is_looked_up():
    order, asked = planned({})
    assert order == ["openai/a", "openai/b", "codex/a", "codex/b"]
    assert asked == []


def test_accounts_are_looked_at_once_per_model():
    _, asked = planned({"openai": "least_used"})
    assert sorted(asked) == sorted(set(asked))


def test_the_account_of_the_conversation_stays_first():
    order, _ = planned(
        {"openai": "round_robin"}, base=lambda a, _m: (0 if a.id == "openai/b" else 1, "")
    )
    assert order[0] == "openai/b"
