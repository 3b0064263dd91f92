import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.tally import EVERYTHING, Amounts, LastMinute, Tally

DAY = 20261121


def requests(number):
    return Amounts(requests=number)


def test_sums_are_kept_of_everything_each_key_and_each_provider():
    tally = Tally()
    tally.add(DAY, "k1", "openai", Amounts(1, 10, 5, 0))
    tally.add(DAY, "", "claude", Amounts(2, 20, 0, 7))
    assert tally.of(EVERYTHING, "day", DAY) == Amounts(3, 30, 5, 7)
    assert tally.of(("key", "k1"), "month", DAY) == Amounts(1, 10, 5, 0)
    assert tally.of(("key", ""), "day", DAY) == Amounts(2, 20, 0, 7)
    assert tally.of(("provider", "claude"), "day", DAY) == Amounts(2, 20, 0, 7)
    assert tally.of(("provider", ""), "day", DAY) == Amounts()
    assert tally.of(("key", "nobody"), "day", DAY) == Amounts()


def test_days_and_months_begin_anew_and_late_comers_count_in_their_own():
    tally = Tally()
    tally.add(20261130, "k", "p", requests(1))
    tally.add(20261201, "k", "p", requests(2))
    tally.add(20261130, "k", "p", requests(4))  # ended after midnight
    tally.add(20261202, "k", "p", requests(8))
    tally.add(20261201, "k", "p", requests(16))
    assert tally.of(EVERYTHING, "day", 20261202).requests == 8
    assert tally.of(EVERYTHING, "month", 20261202).requests == 26
    assert tally.of(EVERYTHING, "day", 20261203).requests == 0
    assert tally.of(EVERYTHING, "month", 20270101).requests == 0


def test_clock_that_was_ahead_does_not_stop_the_counting():
    tally = Tally()
    for day in (20300101, 20280505, *range(20261101, 20261129)):
        tally.add(day, "k", "p", requests(1))
        assert tally.of(("key", "k"), "day", day).requests == 1
    assert tally.of(("key", "k"), "month", 20261128).requests == 28
    assert tally.of(("key", "k"), "day", 20261101).requests == 0  # forgotten
    minute = LastMinute()
    minute.add(5_000.0, requests(1))
    assert minute.falls_below(100.0, 1, "requests") == 100.0
    minute.add(101.0, requests(1))
    assert minute.sums(102.0).requests == 1


def test_what_is_taken_back_is_not_counted():
    tally = Tally()
    tally.add(DAY, "k", "", requests(1))
    tally.add(DAY, "k", "", requests(-1))
    assert tally.of(("key", "k"), "day", DAY) == Amounts()


def test_a_minute_counts_for_sixty_seconds_after_its_second():
    minute = LastMinute()
    minute.add(100.5, requests(1))
    assert minute.sums(160.9).requests == 1
    assert minute.sums(161.0).requests == 0


def test_a_minute_says_when_it_falls_below_a_limit():
    minute = LastMinute()
    minute.add(100.5, Amounts(1, 50, 3, 4))
    minute.add(130.0, Amounts(1, 60, 0, 0))
    assert minute.falls_below(131.0, 3, "requests") == 131.0
    assert minute.falls_below(131.0, 2, "requests") == 161.0
    assert minute.falls_below(131.0, 1, "requests") == 191.0
    assert minute.falls_below(131.0, 100, "tokens") == 161.0
    assert minute.falls_below(131.0, 7, "usd") == 161.0
    assert minute.falls_below(131.0, 8, "usd") == 131.0


def test_what_ended_a_little_earlier_is_counted_in_its_second():
    minute = LastMinute()
    for at in (105.0, 103.2, 104.9, 103.9, 99.0):
        minute.add(at, requests(1))
    assert minute.sums(160.0).requests == 4
    assert minute.falls_below(160.0, 1, "requests") == 166.0


@given(
    st.lists(st.floats(0, 200), min_size=1, max_size=60),
    st.integers(1, 10),
)
def test_no_span_of_a_minute_holds_more_than_the_limit(times, limit):
    """Whoever calls only while the sum is below the limit never passes it in any 60 seconds."""
    minute, taken = LastMinute(), []
    for at in sorted(times):
        if minute.sums(at).requests < limit:
            minute.add(at, requests(1))
            taken.append(at)
        else:
            free = minute.falls_below(at, limit, "requests")
            assert free > at
            assert minute.sums(at).requests >= limit
    for i in range(len(taken) - limit):
        assert taken[i + limit] - taken[i] >= 60


@pytest.mark.parametrize("limit", [1, 3])
def test_after_the_told_wait_there_is_room(limit):
    minute = LastMinute()
    for i in range(limit):
        minute.add(100.0 + i * 7.3, requests(1))
    free = minute.falls_below(130.0, limit, "requests")
    assert minute.sums(free - 0.01).requests == limit
    assert minute.sums(free).requests < limit
