import pytest

from app.canonical.usage import Usage
from app.ledger.days import day_of
from app.ledger.latency import bucket_of
from app.ledger.row import MAX_TEXT, attempt_rows, row_of
from tests.ledger.entries import NOON, attempt, entry


def test_a_row_has_what_sums_are_grouped_by():
    row = row_of(entry())
    assert row.day == day_of(NOON)
    assert row.month == row.day // 100
    assert row.hour == int(NOON) // 3_600
    assert (row.first_bucket, row.whole_bucket) == (bucket_of(350), bucket_of(2_100))
    assert (row.cost, row.reasoning, row.cache_write_1h) == (1_000, 5, 4)
    assert row.attempts == 1


def test_attempts_are_numbered():
    rows = attempt_rows(entry(attempts=(attempt(at=NOON + 1), attempt(at=NOON + 5))))
    assert [(row.number, row.request, row.at) for row in rows] == [
        (1, "req_1", NOON),
        (2, "req_1", NOON),
    ]


def test_what_was_not_counted_is_no_zero():
    row = row_of(entry(tokens=None, cost=None, first_ms=None))
    assert (row.input, row.output, row.reasoning, row.cost, row.first_ms) == (None,) * 5
    assert row_of(entry(tokens=Usage(1))).reasoning is None


@pytest.mark.parametrize(
    "changes",
    [{"error": "overloaded"}, {"status": 499}, {"cached": True}, {"duration_ms": 0}],
)
def test_latencies_are_those_of_answers_that_were_fetched_and_came(changes):
    row = row_of(entry(**changes))
    assert (row.first_bucket, row.whole_bucket) == (None, None)


def test_a_first_content_at_once_counts():
    assert row_of(entry(first_ms=0)).first_bucket == 0


def test_odd_texts_become_such_as_any_database_takes():
    row = row_of(entry(asked="a\0b\ud800ü" + "x" * 10_000, losses=(("p\0", "\udfff"),)))
    assert row.asked.startswith("ab?üxxx")
    assert len(row.asked) == MAX_TEXT - 1
    assert row.losses == '[["p","?"]]'
    row.asked.encode()


def test_numbers_stay_within_what_a_column_holds():
    row = row_of(entry(tokens=Usage(2**70, -3), duration_ms=-1))
    assert (row.input, row.cache_read, row.duration_ms) == (2**63 - 1, 0, 0)


def test_a_trace_that_is_too_long_is_left_out():
    assert row_of(entry(trace='{"a":1}')).trace == '{"a":1}'
    assert row_of(entry(trace="x" * 20_000)).trace == ""
