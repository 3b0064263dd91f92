"""Reading the ledger: sums for reports, and requests a page at a time.

Reports read the tables of sums, whose size depends on how many accounts, models, keys and programs
there are, not on how many requests. Lists walk an index from the newest request back. Calls block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import add
from typing import Any, Literal, NamedTuple, TypeAlias

import sqlalchemy
from sqlalchemy import ColumnElement, RowMapping, Table, func

from app.store.database import Database
from app.store.tables import (
    FAILED,
    LATENCY_BUCKETS,
    attempts,
    latency_days,
    latency_months,
    requests,
    total_days,
    usage_days,
    usage_hours,
    usage_months,
)

__all__ = ["Unit", "UsageStore"]

Unit: TypeAlias = Literal["day", "hour"]

_SUMMED = (
    *("requests", "failed", "cached", "input", "cache_read", "cache_write", "output"),
    *("reasoning", "cost", "worth", "unpriced"),
)
_FIRST = tuple(f"first_{i}" for i in range(LATENCY_BUCKETS))
_WHOLE = tuple(f"whole_{i}" for i in range(LATENCY_BUCKETS))
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
        groups = tuple(by)
        if unit == "hour":
            spans = [_Span(usage_hours, first, last)]
        elif groups == ("day",) and not only:
            spans = [_Span(total_days, first, last)]
        else:
            spans = _spans(usage_days, usage_months, first, last, whole="day" not in by)
        return self._summed(spans, groups, _SUMMED, only)

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
        groups = tuple(by)
        if groups == ("day",) and not only:
            spans = [_Span(total_days, first_day, last_day)]
        else:
            spans = _spans(latency_days, latency_months, first_day, last_day, whole="day" not in by)
        rows = self._summed(spans, groups, (*_FIRST, *_WHOLE), only)
        return [
            {name: row[name] for name in groups}
            | {"first": [row[name] for name in _FIRST], "whole": [row[name] for name in _WHOLE]}
            for row in rows
        ]

    def _summed(
        self,
        spans: Sequence[_Span],
        by: tuple[str, ...],
        names: tuple[str, ...],
        only: Mapping[str, str | int],
    ) -> list[dict[str, Any]]:
        """Return sums over several tables, grouped."""
        totals: dict[tuple[Any, ...], list[int]] = {}
        width = len(by)
        with self._database.read() as connection:
            for table, first, last in spans:
                groups = [table.c[name] for name in by]
                query = (
                    sqlalchemy.select(*groups, *(func.sum(table.c[name]) for name in names))
                    .where(table.columns[0].between(first, last), *_only(table, only))
                    .group_by(*groups)
                )
                for row in connection.execute(query):
                    if row[width] is None:  # no group at all, and nothing in it
                        continue
                    # PostgreSQL sums bigints into decimals.
                    numbers = [int(number) for number in row[width:]]
                    known = totals.get(tuple(row[:width]))
                    totals[tuple(row[:width])] = (
                        numbers if known is None else list(map(add, known, numbers))
                    )
        columns = (*by, *names)
        return [dict(zip(columns, (*key, *row), strict=True)) for key, row in totals.items()]

    def days_with(
        self, first_day: int, last_day: int, only: Mapping[str, str | int], *, failed: bool
    ) -> list[tuple[int, int]]:
        """Return the days with such requests and how many, the last day first.

        Args:
            first_day: of the range.
            last_day: of the range, included.
            only: see the class.
            failed: count only failed ones.
        """
        table = usage_days
        count = func.sum(table.c.failed if failed else table.c.requests)
        query = (
            sqlalchemy.select(table.c.day, count)
            .where(table.c.day.between(first_day, last_day), *_only(table, only))
            .group_by(table.c.day)
            .having(count > 0)
            .order_by(table.c.day.desc())
        )
        with self._database.read() as connection:
            return [(day, int(number)) for day, number in connection.execute(query)]

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


class _Span(NamedTuple):
    """A range of a table's time buckets, both ends included."""

    table: Table
    first: int
    last: int


def _spans(days: Table, months: Table, first: int, last: int, *, whole: bool) -> list[_Span]:
    """Cover a range of days with days and, where ``whole``, with the months that are in it."""
    # A month counts as whole from its first day to the 31st; shorter ones at the range's end are
    # taken by the day, which is as right and only slower.
    begin = first // 100 if first % 100 <= 1 else _next_month(first // 100)
    end = last // 100 if last % 100 >= 31 else _month_before(last // 100)
    if not whole or begin > end:
        return [_Span(days, first, last)]
    spans = [_Span(months, begin, end)]
    if first < begin * 100:
        spans.append(_Span(days, first, begin * 100))
    if last > end * 100 + 31:
        spans.append(_Span(days, end * 100 + 32, last))
    return spans


def _next_month(month: int) -> int:
    return month + 1 if month % 100 < 12 else month + 89


def _month_before(month: int) -> int:
    return month - 1 if month % 100 > 1 else month - 89


def _only(table: Table, only: Mapping[str, str | int]) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name, value in only.items()]
