import threading
from contextlib import contextmanager

import pytest
import sqlalchemy
from sqlalchemy.dialects.postgresql import psycopg

from app.canonical.usage import Usage
from app.errors import AppError
from app.ledger.days import day_of, hour_of
from app.ledger.row import attempt_rows, row_of
from app.store.database import Database
from app.store.ledger import LedgerStore
from app.store.tables import (
    attempts,
    latency_days,
    latency_months,
    requests,
    total_days,
    usage_days,
    usage_hours,
    usage_months,
)
from tests.ledger.entries import NOON, attempt, entry

DAY_S = 86_400.0
TODAY = day_of(NOON)
SUMS = (usage_hours, usage_days, usage_months, total_days)


@pytest.fixture
def store(tmp_path):
    database = Database(None, tmp_path)
    database.migrate()
    yield LedgerStore(database)
    database.close()


def put(store, *entries, again=False):
    rows = [row_of(one) for one in entries]
    return store.add(rows, [row for one in entries for row in attempt_rows(one)], again=again)


def rows_of(store, table):
    with store.database.read() as connection:
        return [dict(row) for row in connection.execute(sqlalchemy.select(table)).mappings()]


def sum_of(store, table, column="requests"):
    return sum(row[column] for row in rows_of(store, table))


def test_rows_attempts_and_sums_are_written_together(store):
    assert put(store, entry("a", attempts=(attempt(status=529), attempt())), entry("b")) == 2
    assert [row["id"] for row in rows_of(store, requests)] == ["a", "b"]
    assert len(rows_of(store, attempts)) == 3
    assert [sum_of(store, table) for table in SUMS] == [2] * 4
    (total,) = rows_of(store, total_days)
    assert (total["day"], total["input"], total["cache_read"]) == (TODAY, 200, 100)
    assert (total["cost"], total["worth"], total["whole_15"]) == (2_000, 0, 2)


def test_sums_grow_by_what_comes_later(store):
    put(store, entry("a"))
    put(store, entry("b", worth=True), entry("c", error="x", status=500), entry("d", cached=True))
    (day,) = rows_of(store, usage_days)
    assert (day["requests"], day["failed"], day["cached"]) == (4, 1, 1)
    assert (day["cost"], day["worth"]) == (3_000, 1_000)
    assert sum_of(store, latency_days, "whole_15") == 2
    assert sum_of(store, latency_months, "first_9") == 2


def test_unknown_prices_are_counted_but_not_where_nothing_was_used(store):
    put(store, entry("a", cost=None), entry("b", cost=None, tokens=None))
    assert sum_of(store, usage_days, "unpriced") == 1
    assert sum_of(store, usage_days, "cost") == 0


def test_a_batch_that_was_written_after_all_is_not_written_twice(store):
    put(store, entry("a"), entry("b"))
    assert put(store, entry("a"), entry("b"), entry("c"), again=True) == 1
    assert put(store, entry("a"), again=True) == 0
    assert len(rows_of(store, requests)) == len(rows_of(store, attempts)) == 3
    assert [sum_of(store, table) for table in SUMS] == [3] * 4


def test_a_batch_with_an_id_that_is_there_leaves_nothing(store):
    put(store, entry("a"))
    with pytest.raises(AppError) as caught:
        put(store, entry("b"), entry("a"))
    assert caught.value.code == "store_conflict"
    assert len(rows_of(store, requests)) == 1
    assert [sum_of(store, table) for table in SUMS] == [1] * 4


def test_two_writers_at_once_lose_no_sum(store, tmp_path):
    other = Database(None, tmp_path)

    def work(target, name):
        for i in range(30):
            put(target, entry(f"{name}{i}"))

    threads = [
        threading.Thread(target=work, args=(target, name))
        for target, name in ((store, "a"), (LedgerStore(other), "b"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert [sum_of(store, table) for table in SUMS] == [60] * 4


def test_what_is_too_old_goes_with_its_attempts_and_sums(store):
    put(store, *(entry(f"r{i}", at=NOON - i * DAY_S) for i in range(100)))
    first = day_of(NOON - 40 * DAY_S)
    removed = store.expire(NOON - 40.5 * DAY_S, first, hour_of(NOON - 3 * DAY_S))
    assert removed == 59
    assert len(rows_of(store, requests)) == len(rows_of(store, attempts)) == 41
    assert sum_of(store, usage_days) == sum_of(store, total_days) == 41
    assert min(row["day"] for row in rows_of(store, latency_days)) == first
    assert min(row["month"] for row in rows_of(store, usage_months)) == first // 100
    assert sum_of(store, usage_hours) == 4
    assert store.expire(NOON - 40.5 * DAY_S, first, 0) == 0


def test_more_than_one_slice_is_removed(store, monkeypatch):
    monkeypatch.setattr("app.store.ledger._SLICE", 7)
    put(store, *(entry(f"r{i}", at=NOON - i) for i in range(50)))
    assert store.expire(NOON - 9.5, 0, 0) == 40
    assert len(rows_of(store, requests)) == len(rows_of(store, attempts)) == 10


def test_the_oldest_go_when_there_is_too_much_and_sums_stay(store, monkeypatch):
    monkeypatch.setattr("app.store.ledger._SLICE", 100)
    long = "x" * 400
    put(store, *(entry(f"r{i}", at=NOON + i, reason=long, session=f"{i}") for i in range(1_000)))
    full = store.size_bytes()
    removed = store.shrink(full * 2 // 3)
    assert 100 <= removed < 1_000
    assert store.size_bytes() <= full * 2 // 3
    left = rows_of(store, requests)
    assert min(row["at"] for row in left) == NOON + removed
    assert len(rows_of(store, attempts)) == len(left)
    assert sum_of(store, usage_days) == 1_000
    assert store.shrink(full) == 0


def test_a_limit_below_the_empty_file_ends_when_nothing_is_left(store):
    put(store, entry("a"))
    assert store.shrink(1) == 1
    assert rows_of(store, requests) == []


def test_counts_that_a_service_left_out_stay_unknown(store):
    put(store, entry("a", tokens=Usage(1)))
    (row,) = rows_of(store, requests)
    assert (row["input"], row["reasoning"], row["cache_write_1h"]) == (1, None, None)


class PostgresConnection:
    """Takes statements as PostgreSQL's driver does; it is not there to answer."""

    dialect = psycopg.dialect()

    def __init__(self):
        self.taken = []

    def exec_driver_sql(self, statement, parameters):
        self.taken.append((statement, parameters))


def test_postgresql_gets_its_own_marks_for_as_many_values_as_a_row_has():
    connection = PostgresConnection()

    class Postgres:
        @contextmanager
        def write(self):
            yield connection

    store = LedgerStore(Postgres())
    assert put(store, entry("a", attempts=(attempt(),)), entry("b")) == 2
    tables = [requests, attempts, *SUMS[:3], latency_days, latency_months, total_days]
    assert [line.split()[2] for line, _ in connection.taken] == [table.name for table in tables]
    for statement, rows in connection.taken:
        assert "?" not in statement
        assert {len(row) for row in rows} == {statement.count("%")} == {statement.count("%s")}
