"""Reading the ledger: sums for reports, and requests a page at a time.

Reports read the tables of sums, whose size depends on how many accounts, models, keys and programs
there are, not on how many requests. Lists walk an index from the newest request back. Calls block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import sqlalchemy
from sqlalchemy import ColumnElement, RowMapping, func

from app.store.database import Database
from app.store.tables import (
    FAILED,
    LATENCY_BUCKETS,
    attempts,
    latency_days,
    requests,
    usage_days,
    usage_hours,
)

__all__ = ["Unit", "UsageStore"]

Unit: TypeAlias = Literal["day", "hour"]

_SUMMED = (
    *("requests", "failed", "cached", "input", "cache_read", "cache_write", "output"),
    *("reasoning", "cost", "worth", "unpriced"),
)
_LISTED = tuple(column for column in requests.columns if column.name != "trace")


class UsageStore:
    """Answers what reports ask. Every method raises ``AppError`` when the database cannot be used.

    ``only`` maps columns (provider, account, model, key_id, client) to the one value that counts.
    """

    def __init__(self, database: Database) -> None:
        """Take a migrated database."""
        self._database = database

    def sums(
        self, unit: Unit, first: int, last: int, by: Sequence[str], only: Mapping[str, str | int]
    ) -> list[dict[str, Any]]:
        """Return sums over a range of time, one row per group.

        Args:
            unit: what ``first`` and ``last`` are: days (20261121) or hours since the epoch.
            first: of the range.
            last: of the range, included.
            by: columns to group by; among them may be ``unit``. None gives one row.
            only: see the class.

        Returns:
            Rows with the columns of ``by``, and requests, failed, cached, tokens, cost and worth.
            Nothing at all where nothing was counted.
        """
        table = usage_days if unit == "day" else usage_hours
        groups = [table.c[name] for name in by]
        summed = [func.sum(table.c[name]).label(name) for name in _SUMMED]
        query = (
            sqlalchemy.select(*groups, *summed)
            .where(table.c[unit].between(first, last), *_only(table, only))
            .group_by(*groups)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        names = [*by, *_SUMMED]
        # PostgreSQL sums bigints into decimals.
        return [
            {name: row[name] if name in by else int(row[name]) for name in names}
            for row in rows
            if row["requests"] is not None
        ]

    def latencies(
        self, first_day: int, last_day: int, by: Sequence[str], only: Mapping[str, str | int]
    ) -> list[dict[str, Any]]:
        """Return how many answers took how long, one row per group.

        Args:
            first_day: of the range.
            last_day: of the range, included.
            by: columns to group by: of day, provider, account, model.
            only: as in the class, but of provider, account and model.

        Returns:
            Rows with the columns of ``by``, and ``first`` and ``whole``: lists of counts by bucket.
        """
        table = latency_days
        groups = [table.c[name] for name in by]
        counted = [func.sum(column) for column in table.columns if column.name[:6] in _KINDS]
        query = (
            sqlalchemy.select(*groups, *counted)
            .where(table.c.day.between(first_day, last_day), *_only(table, only))
            .group_by(*groups)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        width = len(by)
        return [
            dict(zip(by, row, strict=False))
            | {
                "first": [int(n) for n in row[width : width + LATENCY_BUCKETS]],
                "whole": [int(n) for n in row[width + LATENCY_BUCKETS :]],
            }
            for row in rows
            if row[width] is not None
        ]

    def extent(
        self, first_day: int, last_day: int, only: Mapping[str, str | int]
    ) -> tuple[int, int, int, int] | None:
        """Tell what there is without looking at requests.

        Returns:
            How many requests, how many of them failed, the first and the last day with any; None
            where there are none.
        """
        table = usage_days
        query = sqlalchemy.select(
            func.sum(table.c.requests),
            func.sum(table.c.failed),
            func.min(table.c.day),
            func.max(table.c.day),
        ).where(table.c.day.between(first_day, last_day), *_only(table, only))
        with self._database.read() as connection:
            count, failed, first, last = connection.execute(query).one()
        return None if count is None else (int(count), int(failed), first, last)

    def page(
        self,
        since: float,
        until: float,
        only: Mapping[str, str | int],
        *,
        limit: int,
        before: tuple[float, int] | None = None,
        failed: bool = False,
    ) -> list[dict[str, Any]]:
        """Return requests, the newest first, without their traces.

        Args:
            since: the earliest, in epoch seconds.
            until: just after the latest.
            only: as in the class, and of session, status, error, asked and dialect.
            limit: how many.
            before: ``at`` and ``seq`` of the last row of the page before.
            failed: only failed ones.
        """
        at, seq = requests.c.at, requests.c.seq
        query = sqlalchemy.select(*_LISTED).where(at >= since, at < until, *_only(requests, only))
        if failed or "error" in only:
            query = query.where(FAILED)
        if before is not None:
            # The first bound is what an index can use.
            query = query.where(at <= before[0], sqlalchemy.or_(at < before[0], seq < before[1]))
        query = query.order_by(at.desc(), seq.desc()).limit(limit)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def request(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """Return a request by its id, and its attempts in their order; None when unknown."""
        tries = (
            sqlalchemy.select(attempts)
            .where(attempts.c.request == name)
            .order_by(attempts.c.number)
        )
        with self._database.read() as connection:
            row: RowMapping | None = (
                connection.execute(sqlalchemy.select(requests).where(requests.c.id == name))
                .mappings()
                .one_or_none()
            )
            if row is None:
                return None
            return dict(row), [dict(one) for one in connection.execute(tries).mappings()]


_KINDS = ("first_", "whole_")


def _only(table: sqlalchemy.Table, only: Mapping[str, str | int]) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name, value in only.items()]
