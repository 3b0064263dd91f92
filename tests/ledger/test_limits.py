import pytest

from app.keys import KeyRecord, parse_limit
from app.ledger.days import start_of
from app.ledger.limits import limit_error, shown_use, uses_of
from app.ledger.tally import Amounts, Tally

DAY = 20261121
NOW = start_of(DAY) + 43_200


def key(*limits):
    return KeyRecord("k1", "laptop", "client", "ab", 1.0, limits=tuple(map(parse_limit, limits)))


def used(**amounts):
    tally = Tally()
    tally.add(DAY, "k1", "openai", Amounts(**amounts))
    tally.add(DAY, "k2", "openai", Amounts(10**6, 10**9, 10**9, 0))
    tally.add_now(NOW - 10, "k1", Amounts(**amounts))
    return tally


def error_of(record, tally):
    return limit_error(record, tally, DAY, NOW, lambda at, now: "CLOCK")


@pytest.mark.parametrize("period", ["minute", "day", "month"])
@pytest.mark.parametrize(
    ("limit", "under", "at"),
    [
        ("5 requests", {"requests": 4}, {"requests": 5}),
        ("100 tokens", {"tokens": 99}, {"tokens": 100}),
        ("$1", {"cost": 999_999}, {"cost": 1_000_000}),
        ("$1", {"worth": 999_999}, {"cost": 400_000, "worth": 600_000}),
    ],
)
def test_each_unit_is_limited_in_each_period(period, limit, under, at):
    record = key(f"{limit}/{period}")
    assert error_of(record, used(**under)) is None
    error = error_of(record, used(**at))
    assert (error.status, error.code) == (429, "key_limit_reached")
    waits = {
        "minute": 51.0,
        "day": start_of(DAY + 1) - NOW,
        "month": start_of(20261201) - NOW,
    }
    assert error.retry_after_s == waits[period]


def test_error_tells_key_use_and_when_it_goes_on():
    error = error_of(key("5 requests/minute"), used(requests=6))
    assert error.text == (
        "The limit of the key 'laptop' is reached: 6 of 5 requests in the last minute. "
        "It can be used again in 51 s; `dragoman keys edit` changes its limits."
    )
    assert "again CLOCK;" in error_of(key("$1/month"), used(cost=10**6)).hint


def test_of_several_limits_the_one_that_lasts_longest_is_told():
    record = key("1/minute", "1/month", "1/day", "$5/month")
    assert "this month" in error_of(record, used(requests=1)).message


def test_key_without_limits_is_never_refused():
    assert error_of(key(), used(requests=10**9)) is None


def test_use_is_shown_as_plain_values():
    limited = key("5 requests/day", "$2/month")
    requests, money = uses_of(limited, used(requests=3, cost=1_234_567), DAY, NOW)
    assert shown_use(requests) == {
        "limit": "5 requests/day",
        "unit": "requests",
        "per": "day",
        "amount": 5.0,
        "used": 3.0,
        "reached": False,
        "free_at": start_of(DAY + 1),
        "text": "3 of 5 requests today",
    }
    shown = shown_use(money)
    assert (shown["amount"], shown["used"]) == (2.0, 1.234567)
    assert shown["text"] == "$1.234567 of $2.00 this month"
