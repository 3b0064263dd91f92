"""The ledger at rest: rows of requests and attempts, and the sums that reports are made of.

The sums change in the same transaction as the rows, so that the two always agree. A row is a
mapping from column to value; beside the columns of ``requests`` it has ``hour``, ``day``,
``month`` and the latency buckets ``first_bucket`` and ``whole_bucket`` (None: not counted), which the ledger knows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Table, TextClause, bindparam, text

from app.store.database import Database
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

_DIMENSIONS = ("provider", "account", "model", "key_id", "client")
_COUNTS = (
    *("requests", "failed", "cached", "input", "cache_read", "cache_write", "output"),
    *("reasoning", "cost", "worth", "unpriced"),
)
_BUCKETS = (
    *(f"first_{i}" for i in range(LATENCY_BUCKETS)),
    *(f"whole_{i}" for i in range(LATENCY_BUCKETS)),
)
_COLUMNS = tuple(column.name for column in requests.columns if column.name != "seq")

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
        rows: Sequence[Mapping[str, Any]],
        tries: Sequence[Mapping[str, Any]],
        *,
        again: bool = False,
    ) -> int:
        """Write requests with their attempts, and add them to the sums: all of it, or nothing.

        Args:
            rows: of requests; see the module.
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
                known = _known(connection, [row["id"] for row in rows])
                rows = [row for row in rows if row["id"] not in known]
                tries = [row for row in tries if row["request"] not in known]
            if not rows:
                return 0
            connection.execute(
                requests.insert(), [{name: row[name] for name in _COLUMNS} for row in rows]
            )
            if tries:
                connection.execute(attempts.insert(), list(tries))
            for table in (usage_hours, usage_days, usage_months):
                _sum_up(connection, table, _sums(table, rows))
            for table in (latency_days, latency_months):
                _sum_up(connection, table, _latencies(table, rows))
            _sum_up(connection, total_days, _totals(rows))
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


def _sums(table: Table, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the rows add to a table of sums."""
    sums: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(_COUNTS))
    keys = tuple(column.name for column in table.primary_key.columns)
    for row in rows:
        total = sums[tuple(row[name] for name in keys)]
        for i, count in enumerate(_counted(row)):
            total[i] += count
    names = (*keys, *_COUNTS)
    return [dict(zip(names, (*key, *total), strict=True)) for key, total in sums.items()]


def _totals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the rows add to the days' totals."""
    latencies = {row["day"]: row for row in _latencies(total_days, rows)}
    none = dict.fromkeys(_BUCKETS, 0)
    return [none | row | latencies.get(row["day"], {}) for row in _sums(total_days, rows)]


def _counted(row: Mapping[str, Any]) -> tuple[int, ...]:
    """Return one request's part of each of ``_COUNTS``."""
    cost = row["cost"] or 0
    tokens = tuple(
        row[name] or 0 for name in ("input", "cache_read", "cache_write", "output", "reasoning")
    )
    return (
        1,
        int(row["error"] != ""),
        int(row["cached"]),
        *tokens,
        0 if row["worth"] else cost,
        cost if row["worth"] else 0,
        int(row["cost"] is None and any(tokens)),
    )


def _latencies(table: Table, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the rows add to a table of latencies."""
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    names = tuple(column.name for column in table.primary_key.columns)
    for row in rows:
        if row["whole_bucket"] is None:
            continue
        key = tuple(row[name] for name in names)
        total = sums.get(key)
        if total is None:
            total = sums[key] = dict(zip(names, key, strict=True)) | dict.fromkeys(_BUCKETS, 0)
        total[f"whole_{row['whole_bucket']}"] += 1
        if row["first_bucket"] is not None:
            total[f"first_{row['first_bucket']}"] += 1
    return list(sums.values())


def _sum_up(connection: Connection, table: Table, sums: list[dict[str, Any]]) -> None:
    """Add to rows, or make them."""
    if not sums:
        return
    # Several programs on one PostgreSQL take the rows' locks in the same order: no deadlock.
    keys = [column.name for column in table.primary_key.columns]
    sums.sort(key=lambda row: tuple(row[name] for name in keys))
    connection.execute(_ADDING[table], sums)


def _adding(table: Table) -> TextClause:
    """Return the statement, which SQLite and PostgreSQL have alike, but SQLAlchemy has twice.

    As text it is also made once, not for each row of seventy columns.
    """
    names = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key.columns]
    added = (
        f"{name} = {table.name}.{name} + excluded.{name}" for name in names if name not in keys
    )
    return text(
        f"INSERT INTO {table.name} ({', '.join(names)})"  # noqa: S608 - names of our own tables
        f" VALUES ({', '.join(f':{name}' for name in names)})"
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(added)}"
    )


_ADDING = {
    table: _adding(table)
    for table in (
        *(usage_hours, usage_days, usage_months, latency_days, latency_months, total_days),
    )
}
