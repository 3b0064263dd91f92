import pytest

from app.ledger.budget import Budget, budget_error, standing_of
from app.ledger.days import start_of
from app.ledger.tally import Amounts, Tally

DAY = 20261121
NOW = start_of(DAY) + 3_600


def used(cost=0, worth=0, tokens=0, day=DAY, key="", provider="openai"):
    tally = Tally()
    tally.add(day, key, provider, Amounts(1, tokens, cost, worth))
    return tally


@pytest.mark.parametrize(
    ("cost", "level"), [(0, "ok"), (799, "ok"), (800, "warn"), (999, "warn"), (1_000, "stop")]
)
def test_levels_rise_with_what_is_used(cost, level):
    standing = standing_of(Budget("all", 1_000), used(cost), DAY)
    assert (standing.level, standing.used, standing.part) == (level, cost, cost / 1_000)


def test_money_counts_plans_only_where_it_is_told_to():
    tally = used(cost=10, worth=500)
    assert standing_of(Budget("b", 1_000), tally, DAY).used == 10
    assert standing_of(Budget("b", 1_000, count_worth=True), tally, DAY).used == 510


def test_a_budget_may_warn_only_or_stop_only():
    tally = used(5_000)
    assert standing_of(Budget("b", 10, stop=None, warn=0.5), tally, DAY).level == "warn"
    assert standing_of(Budget("b", 5_001, warn=None), tally, DAY).level == "ok"
    assert standing_of(Budget("b", 5_000, warn=None), tally, DAY).level == "stop"


def test_a_budget_is_about_its_scope():
    tally = used(7, key="k1")
    scopes = [("whole", ""), ("key", "k1"), ("key", ""), ("provider", "openai"), ("provider", "x")]
    found = [standing_of(Budget("b", 10, scope=scope), tally, DAY).used for scope in scopes]
    assert found == [7, 7, 0, 7, 0]


def test_each_day_and_each_month_begins_anew():
    tally = used(10, day=20261130)
    day, month = Budget("day", 10, period="day"), Budget("month", 10)
    assert [standing_of(b, tally, 20261130).level for b in (day, month)] == ["stop", "stop"]
    later = [standing_of(b, tally, 20261201) for b in (day, month)]
    assert [one.level for one in later] == ["ok", "ok"]
    assert [one.resets_at for one in later] == [start_of(20261202), start_of(20270101)]


def test_sentences_say_what_is_used():
    tally = used(1_234_567, tokens=1_500)
    assert standing_of(Budget("a", 5_000_000), tally, DAY).sentence == (
        "Budget a: $1.23 of $5.00 used this month (25%)."
    )
    tokens = Budget("b", 3_000, unit="tokens", period="day")
    assert standing_of(tokens, tally, DAY).sentence == (
        "Budget b: 1,500 of 3,000 tokens used today (50%)."
    )


def test_refusal_is_of_the_budget_that_lasts_longest():
    tally = used(10)
    standings = tuple(
        standing_of(budget, tally, DAY)
        for budget in (Budget("month", 10), Budget("day", 10, period="day"), Budget("ok", 100))
    )
    error = budget_error(standings, NOW, lambda at, now: "CLOCK")
    assert (error.status, error.code) == (429, "budget_exceeded")
    assert error.message == "Budget month: $0.00 of $0.00 used this month (100%)."
    assert error.retry_after_s == start_of(20261201) - NOW
    assert error.hint == "It begins anew CLOCK; ledger.budgets in the settings raises it."
    assert budget_error(standings[2:], NOW, lambda at, now: "CLOCK") is None
