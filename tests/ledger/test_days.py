import time

import pytest

from app.ledger.days import date_of, day_after, day_of, hour_of, next_period, start_of
from tests.ledger.entries import NOON

pytestmark = pytest.mark.skipif(not hasattr(time, "tzset"), reason="sets the time zone")


@pytest.fixture
def zone(monkeypatch):
    def put(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield put
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "day", "start"),
    [
        ("UTC", 20261121, NOON - 12 * 3_600),
        ("Asia/Kolkata", 20261121, NOON - 17.5 * 3_600),
        ("Pacific/Kiritimati", 20261122, NOON - 2 * 3_600),
        ("America/Los_Angeles", 20261121, NOON - 4 * 3_600),
    ],
)
def test_days_are_those_of_the_clock_on_the_wall(zone, name, day, start):
    zone(name)
    assert day_of(NOON) == day
    assert start_of(day) == start
    assert day_of(start) == day
    assert day_of(start - 1) == day_after(day, -1)


def test_a_day_of_the_change_to_summer_time_has_23_hours(zone):
    zone("Europe/Berlin")
    assert start_of(20260330) - start_of(20260329) == 23 * 3_600
    assert next_period("day", 20260329) == start_of(20260330)


def test_days_and_months_follow_each_other(zone):
    zone("UTC")
    assert day_after(20261231) == 20270101
    assert day_after(20280301, -1) == 20280229
    assert next_period("month", 20261115) == start_of(20261201)
    assert next_period("month", 20261215) == start_of(20270101)
    assert hour_of(7_199.9) == 1


def test_what_is_no_day_is_refused():
    with pytest.raises(ValueError, match="day"):
        date_of(20260230)
