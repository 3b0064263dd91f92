"""The ledger at rest: rows of requests and attempts, and the sums that reports are made of.

The sums change in the same transaction as the rows, so that the two always agree.

What is written with every request is made of tuples and of statements as text, which SQLite and
PostgreSQL understand alike: SQLAlchemy hands both to the driver as they are, and a batch is summed
up in memory first, so that each row of sums is touched once.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import add, itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy
from sqlalchemy import Connection, Table, bindparam, text

from app.store.database import Database
from app.store.rows import AttemptRow, RequestRow
from app.store.tables import (
    LATENCY_BUCKETS,
    LEDGER_TABLES,
    attempts,
    latency_days,
    latency_months,
    requests,
    total_days,
    usage_days,
    usage_hours,
    usage_months,
)
from app.store.usage import UsageStore

__all__ = ["LedgerStore"]

_Sums: TypeAlias = dict[tuple[Any, ...], tuple[int, ...]]
"""Key of a row of sums to what is added to its other columns, in their order."""

_WIDTH = RequestRow._fields.index("trace") + 1
"""Fields of a row that are columns."""


def _picks(*names: str) -> itemgetter[Any]:
    return itemgetter(*map(RequestRow._fields.index, names))


_TIMES = ("hour", "day", "month")
_DIMENSIONS = ("provider", "account", "model", "key_id", "client")
_TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
_group_of = _picks(*_TIMES, *_DIMENSIONS)
_amounts_of = _picks("error", "cached", "cost", "worth", *_TOKENS)
_latency_of = _picks("day", "month", *_DIMENSIONS[:3], "first_bucket", "whole_bucket")
_NO_LATENCIES = (0,) * (2 * LATENCY_BUCKETS)

_SLICE = 5_000
"""Rows removed at a time: a writer waits for a fraction of a second at most."""


class LedgerStore:
    """Writes the ledger, and takes away what is too old or too much. Calls block."""

    def __init__(self, database: Database) -> None:
        """Take a migrated database."""
        self.database = database
        self.usage = UsageStore(database)
        """Reads what is written here."""

    def add(
        self,
        rows: Sequence[RequestRow],
        tries: Sequence[AttemptRow],
        *,
        again: bool = False,
    ) -> int:
        """Write requests with their attempts, and add them to the sums: all of it, or nothing.

        Args:
            rows: of requests.
            tries: of attempts.
            again: some may be there already, from a write whose success was never told.

        Returns:
            How many requests were new.

        Raises:
            AppError: the database cannot be used (see ``Database``), or takes no such row
                (``store_conflict``).
        """
        with self.database.write() as connection:
            if again:
                known = _known(connection, [row.id for row in rows])
                rows = [row for row in rows if row.id not in known]
                tries = [row for row in tries if row.request not in known]
            if not rows:
                return 0
            mark = _mark(connection)
            connection.exec_driver_sql(_inserting(mark, requests), [row[:_WIDTH] for row in rows])
            if tries:
                connection.exec_driver_sql(_inserting(mark, attempts), list(tries))
            groups = _grouped(rows)
            latencies = _latencies(rows)
            for place, table in enumerate((usage_hours, usage_days, usage_months)):
                _sum_up(connection, table, _folded(groups, itemgetter(place, 3, 4, 5, 6, 7)))
            for place, table in enumerate((latency_days, latency_months)):
                _sum_up(connection, table, _folded(latencies, itemgetter(place, 2, 3, 4)))
            _sum_up(connection, total_days, _totals(groups, latencies))
        return len(rows)

    def set_aside(self, now: float) -> Path | None:
        """Begin a new file in place of a damaged one; see ``Database.set_aside``.

        Raises:
            AppError: the file cannot be put aside.
        """
        return self.database.set_aside(now)

    def expire(self, before: float, first_day: int, first_hour: int) -> int:
        """Remove what is too old.

        Args:
            before: requests that began earlier go, in epoch seconds.
            first_day: sums of earlier days go.
            first_hour: sums of earlier hours go.

        Returns:
            How many requests were removed.

        Raises:
            AppError: the database cannot be used.
        """
        with self.database.write() as connection:
            for table, first in (
                (usage_hours, first_hour),
                *((table, first_day) for table in (usage_days, latency_days, total_days)),
                *((table, first_day // 100) for table in (usage_months, latency_months)),
            ):
                bucket = table.columns[0]
                connection.execute(table.delete().where(bucket < first))
        removed = 0
        while True:
            some = self._remove_oldest(before)
            removed += some
            if some < _SLICE:
                return removed

    def shrink(self, limit_bytes: int) -> int:
        """Remove the oldest requests until the file holds no more than this; sums stay.

        Freed room is used again; the file itself does not become smaller. PostgreSQL does not tell
        freed room from used, and its disk has its own keeper: there, nothing is removed.

        Returns:
            How many requests were removed.

        Raises:
            AppError: the database cannot be used.
        """
        removed = 0
        if not self.database.is_file:
            return removed
        while self.size_bytes() > limit_bytes:
            some = self._remove_oldest(None)
            removed += some
            if not some:
                break
        return removed

    def size_bytes(self) -> int:
        """Return the room that the ledger takes; in SQLite, all that the file has in use.

        Raises:
            AppError: the database cannot be used.
        """
        with self.database.read() as connection:
            if connection.dialect.name == "sqlite":
                pages, free, size = (
                    int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
                    for name in ("page_count", "freelist_count", "page_size")
                )
                return (pages - free) * size
            size_of = text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
            return sum(
                int(connection.execute(size_of, {"name": table.name}).scalar_one())
                for table in LEDGER_TABLES
            )

    def _remove_oldest(self, before: float | None) -> int:
        """Remove up to ``_SLICE`` requests with their attempts, the oldest first."""
        with self.database.write() as connection:
            oldest = sqlalchemy.select(requests.c.at).order_by(requests.c.at).limit(_SLICE)
            if before is not None:
                oldest = oldest.where(requests.c.at < before)
            times = connection.execute(oldest).scalars().all()
            if not times:
                return 0
            # Rows of the same moment go together, so that the two tables agree.
            gone = connection.execute(requests.delete().where(requests.c.at <= times[-1]))
            connection.execute(attempts.delete().where(attempts.c.at <= times[-1]))
            return gone.rowcount


def _known(connection: Connection, ids: Sequence[str]) -> set[str]:
    query = sqlalchemy.select(requests.c.id).where(
        requests.c.id.in_(bindparam("ids", expanding=True))
    )
    found: set[str] = set()
    for start in range(0, len(ids), _SLICE):
        found.update(
            connection.execute(query, {"ids": list(ids[start : start + _SLICE])}).scalars()
        )
    return found


def _grouped(rows: Iterable[RequestRow]) -> _Sums:
    """Return the counts of the rows, by all times and dimensions."""
    groups: dict[tuple[Any, ...], list[RequestRow]] = {}
    for row in rows:
        group = _group_of(row)
        if group in groups:
            groups[group].append(row)
        else:
            groups[group] = [row]
    return {group: _counted(some) for group, some in groups.items()}


def _counted(rows: Sequence[RequestRow]) -> tuple[int, ...]:
    """Return the counts of the rows: what a table of usage has behind its key."""
    errors, cached, costs, worth, *tokens = zip(*map(_amounts_of, rows), strict=True)
    whole = sum(filter(None, costs))
    of_plans = sum(cost for cost, plan in zip(costs, worth, strict=True) if plan and cost)
    unpriced = 0
    if None in costs:
        counts = zip(costs, *tokens, strict=True)
        unpriced = sum(1 for cost, *used in counts if cost is None and any(used))
    return (
        len(errors),
        len(errors) - errors.count(""),
        sum(cached),
        *(sum(filter(None, numbers)) for numbers in tokens),
        whole - of_plans,
        of_plans,
        unpriced,
    )


def _latencies(rows: Iterable[RequestRow]) -> _Sums:
    """Return how many answers took how long, by day, month and the dimensions of latencies."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for (*key, first, whole), times in Counter(map(_latency_of, rows)).items():
        if whole is None:
            continue
        counts = found.setdefault(tuple(key), [*_NO_LATENCIES])
        counts[LATENCY_BUCKETS + whole] += times
        if first is not None:
            counts[first] += times
    return {key: tuple(counts) for key, counts in found.items()}


def _folded(sums: _Sums, key_of: itemgetter[Any]) -> _Sums:
    """Return sums by a part of their key."""
    folded: _Sums = {}
    for key, counts in sums.items():
        part = key_of(key)
        folded[part] = tuple(map(add, folded[part], counts)) if part in folded else counts
    return folded


def _totals(groups: _Sums, latencies: _Sums) -> _Sums:
    """Return counts and latencies by day."""
    by_day = _folded(latencies, itemgetter(slice(0, 1)))
    days = _folded(groups, itemgetter(slice(1, 2)))
    return {day: counts + by_day.get(day, _NO_LATENCIES) for day, counts in days.items()}


def _sum_up(connection: Connection, table: Table, sums: _Sums) -> None:
    """Add to rows, or make them."""
    # Several programs on one PostgreSQL take the rows' locks in the same order: no deadlock.
    ordered = [(*key, *counts) for key, counts in sorted(sums.items())]
    if ordered:
        connection.exec_driver_sql(_adding(_mark(connection), table), ordered)


def _mark(connection: Connection) -> str:
    """Return how the driver marks the place of a value: SQLite's has ``?``, PostgreSQL's ``%s``."""
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


@functools.cache
def _inserting(mark: str, table: Table) -> str:
    """Return the statement that adds a row; the database counts ``seq`` up itself."""
    names = [column.name for column in table.columns if column.name != "seq"]
    marks = ", ".join([mark] * len(names))
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - our own names


@functools.cache
def _adding(mark: str, table: Table) -> str:
    """Return the statement that adds to a row, or makes it."""
    names = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key.columns]
    added = (
        f"{name} = {table.name}.{name} + excluded.{name}" for name in names if name not in keys
    )
    return (
        f"{_inserting(mark, table)}"
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(added)}"
    )
