import pytest

from app.errors import RequestError
from app.ledger.days import day_after, day_of, start_of
from app.ledger.query import HOURS_KEPT, list_query, usage_query, with_key_id
from tests.ledger.entries import NOON

TODAY = day_of(NOON)


def test_a_report_is_of_the_last_thirty_days_by_day():
    query = usage_query({}, NOON)
    assert (query.by, query.unit) == ("day", "day")
    assert (query.first, query.last) == (day_after(TODAY, -29), TODAY)
    assert (query.since, query.until) == (start_of(query.first), start_of(day_after(TODAY)))


@pytest.mark.parametrize(
    ("fields", "first", "last"),
    [
        ({"since": "1d"}, TODAY, TODAY),
        ({"since": "today"}, TODAY, TODAY),
        ({"since": "2w"}, day_after(TODAY, -13), TODAY),
        ({"since": "2026-11-01", "until": "2026-11-03"}, 20261101, 20261103),
        ({"since": "2026-11-01", "until": "today"}, 20261101, TODAY),
        ({"by": "model", "since": "1990-01-01"}, day_after(TODAY, -3_700), TODAY),
        ({"by": "day", "since": "24h"}, day_of(NOON - 86_400), TODAY),
    ],
)
def test_days_are_read_in_several_ways(fields, first, last):
    query = usage_query(fields, NOON)
    assert (query.unit, query.first, query.last) == ("day", first, last)


@pytest.mark.parametrize(
    ("fields", "first", "last"),
    [
        ({"by": "hour"}, NOON - 86_400, NOON),
        ({"by": "model", "since": "12h"}, NOON - 12 * 3_600, NOON),
        ({"by": "model", "since": str(NOON - 7_200), "until": str(NOON - 60)}, NOON - 7_200,
         NOON - 60),
        ({"by": "hour", "since": "5000d"}, NOON - HOURS_KEPT * 3_600, NOON),
    ],
)  # fmt: skip
def test_hours_are_counted_where_they_are_asked_for(fields, first, last):
    query = usage_query(fields, NOON)
    assert (query.unit, query.first, query.last) == ("hour", first // 3_600, last // 3_600)


def test_filters_become_columns_and_an_empty_value_is_one():
    query = usage_query({"agent": "codex", "key": "", "model": "m", "format": "csv"}, NOON)
    assert query.only == {"client": "codex", "key_id": "", "model": "m"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"by": "weekday"}, "by"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-02-30"}, "since"),
        ({"until": "0001-01-01"}, "until"),
        ({"since": "99999999999999d"}, "since"),
        ({"since": "2026-11-05", "until": "2026-11-04"}, "since"),
        ({"by": "hour", "since": "2020-01-01", "until": "2020-01-02"}, "until"),
    ],
)
def test_wrong_fields_of_a_report_are_named(fields, param):
    with pytest.raises(RequestError) as caught:
        usage_query(fields, NOON)
    assert caught.value.param == param


def test_a_page_has_fifty_rows_of_any_time():
    query = list_query({}, NOON)
    assert (query.limit, query.before, query.failed, query.only) == (50, None, False, {})
    assert query.since == 0.0
    assert query.until > NOON


def test_a_page_takes_a_day_whole_and_a_moment_as_it_is():
    query = list_query({"since": "2026-11-01", "until": "2026-11-02"}, NOON)
    assert (query.since, query.until) == (start_of(20261101), start_of(20261103))
    assert list_query({"until": str(NOON)}, NOON).until == NOON


def test_a_page_has_more_filters():
    query = list_query(
        {"status": "429", "error": "x", "session": "s", "failed": "1", "limit": "7",
         "cursor": "1795262400.25:17"},
        NOON,
    )  # fmt: skip
    assert query.only == {"status": 429, "error": "x", "session": "s"}
    assert (query.failed, query.limit, query.before) == (True, 7, (NOON + 0.25, 17))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"status": "2xx"}, "status"),
        ({"cursor": "abc"}, "cursor"),
        ({"cursor": "1;DROP:1"}, "cursor"),
        ({"since": "?"}, "since"),
    ],
)
def test_wrong_fields_of_a_page_are_named(fields, param):
    with pytest.raises(RequestError) as caught:
        list_query(fields, NOON)
    assert caught.value.param == param


def test_a_key_may_be_named_by_its_label():
    labels = {"k1": "laptop", "k2": "server", "k3": "server"}
    assert with_key_id({"key": "laptop", "by": "day"}, labels) == {"key": "k1", "by": "day"}
    for name in ("k2", "", "nobody"):
        assert with_key_id({"key": name}, labels) == {"key": name}
    assert with_key_id({}, labels) == {}
    with pytest.raises(RequestError, match="2 keys are called"):
        with_key_id({"key": "server"}, labels)
