import pytest

from app.ledger.budget import Budget, Purse
from app.ledger.days import start_of

DAY = 20261121


def spend(purse, day=DAY, key="", provider="openai", cost=0, worth=0, tokens=0):
    purse.add(day, key, provider, cost=cost, worth=worth, tokens=tokens)


def levels(purse, day=DAY):
    return {one.budget.name: one.level for one in purse.standings(day)}


def test_levels_rise_with_what_is_used():
    purse = Purse([Budget("all", 1_000)])
    assert levels(purse) == {"all": "ok"}
    spend(purse, cost=799)
    assert levels(purse) == {"all": "ok"}
    spend(purse, cost=1)
    assert levels(purse) == {"all": "warn"}
    spend(purse, cost=200)
    assert levels(purse) == {"all": "stop"}
    (standing,) = purse.standings(DAY)
    assert (standing.used, standing.part) == (1_000, 1.0)


@pytest.mark.parametrize(
    ("budget", "used"),
    [
        (Budget("b", 100), 111),
        (Budget("b", 100, key_id="k1"), 11),
        (Budget("b", 100, key_id=""), 100),
        (Budget("b", 100, provider="openai"), 101),
        (Budget("b", 100, provider="openai", key_id="k1"), 1),
        (Budget("b", 100, unit="tokens"), 7),
        (Budget("b", 100, count_worth=True), 1_111),
    ],
)
def test_a_budget_counts_what_it_is_about(budget, used):
    purse = Purse([budget])
    spend(purse, key="k1", cost=1, tokens=7)
    spend(purse, key="k1", provider="claude", cost=10, worth=1_000)
    spend(purse, key="", cost=100)
    assert purse.standings(DAY)[0].used == used


def test_each_day_and_each_month_begins_anew():
    purse = Purse([Budget("day", 10, period="day"), Budget("month", 10)])
    spend(purse, day=20261130, cost=10)
    assert levels(purse, 20261130) == {"day": "stop", "month": "stop"}
    assert levels(purse, 20261201) == {"day": "ok", "month": "ok"}
    spend(purse, day=20261201, cost=10)
    spend(purse, day=20261202, cost=1)
    assert levels(purse, 20261202) == {"day": "ok", "month": "stop"}
    assert [one.resets_at for one in purse.standings(20261202)] == [
        start_of(20261203),
        start_of(20270101),
    ]


def test_what_comes_late_from_an_earlier_day_is_not_counted_today():
    purse = Purse([Budget("day", 10, period="day")])
    spend(purse, day=DAY, cost=3)
    spend(purse, day=DAY - 1, cost=5)
    assert purse.standings(DAY)[0].used == 3


def test_a_request_is_refused_by_the_budget_that_lasts_longest():
    purse = Purse(
        [
            Budget("today", 10, period="day"),
            Budget("month", 10),
            Budget("other key", 1, key_id="k2"),
            Budget("claude", 1, provider="claude"),
        ]
    )
    assert purse.stopped(DAY, "k1") is None
    spend(purse, key="k1", provider="claude", cost=1)
    assert purse.stopped(DAY, "k1", "openai") is None
    assert purse.stopped(DAY, "k1") is None  # where it goes is not known yet
    assert purse.stopped(DAY, "k1", "claude").budget.name == "claude"
    spend(purse, key="k1", cost=20)
    assert purse.stopped(DAY, "k1", "openai").budget.name == "month"


def test_a_budget_may_warn_only():
    purse = Purse([Budget("b", 10, stop=None, warn=0.5)])
    spend(purse, cost=1_000)
    assert levels(purse) == {"b": "warn"}
    assert purse.stopped(DAY, "") is None


def test_what_the_store_has_is_counted_beside_what_came_since():
    purse = Purse([Budget("day", 100, period="day", unit="tokens"), Budget("month", 100)])
    spend(purse, cost=1, tokens=1)
    tokens = {"input": 1, "cache_read": 2, "cache_write": 3, "output": 4}
    one = {"key_id": "", "provider": "openai", "cost": 10, "worth": 0} | tokens
    purse.load([one | {"day": DAY}, one | {"day": DAY - 5}])
    assert [standing.used for standing in purse.standings(DAY)] == [11, 21]


def test_sentences_tell_money_in_dollars():
    purse = Purse([Budget("work", 10_000_000), Budget("t", 5_000, unit="tokens", period="day")])
    spend(purse, cost=8_450_000, tokens=1_234)
    assert [one.sentence for one in purse.standings(DAY)] == [
        "Budget work: $8.45 of $10.00 used this month (84%).",
        "Budget t: 1,234 of 5,000 tokens used today (25%).",
    ]
