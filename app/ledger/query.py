"""What may be asked of the ledger, read from the text of addresses and commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal, cast, get_args

from app.errors import RequestError
from app.ledger.days import date_of, day_after, day_of, hour_of, start_of
from app.ledger.report import By

__all__ = [
    "HOURS_KEPT",
    "ListQuery",
    "UsageQuery",
    "list_query",
    "usage_query",
    "with_key_id",
]

HOURS_KEPT: Final = 35 * 24
"""Sums by the hour are for looking at some days closely; a month of them is kept."""
_MOST_DAYS: Final = 3_700
_DEFAULT_DAYS: Final = 30
_MOST_ROWS: Final = 500
_DEFAULT_ROWS: Final = 50

_FILTERS: Final = {
    "provider": "provider",
    "account": "account",
    "model": "model",
    "key": "key_id",
    "agent": "client",
}
_LIST_FILTERS: Final = {
    **_FILTERS,
    **{name: name for name in ("session", "status", "error", "asked", "dialect")},
}


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """A report that is wanted."""

    by: By
    unit: Literal["day", "hour"]
    """What the next two are."""
    first: int
    last: int
    """Included."""
    since: float
    until: float
    """The range in epoch seconds."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Column to value."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page of requests that is wanted."""

    since: float
    until: float
    limit: int
    before: tuple[float, int] | None = None
    failed: bool = False
    only: Mapping[str, str | int] = field(default_factory=dict)


def usage_query(fields: Mapping[str, str], now: float) -> UsageQuery:
    """Read a report's fields.

    Args:
        fields: ``by`` (day, hour, model, account, agent, key, provider; day by default), ``since``
            and ``until``, and a value for any of provider, account, model, key and agent. A time
            is a day (``2026-11-21``), ``today``, a length of time before now (``30d``, ``4w``,
            ``12h``), or epoch seconds. Of the last two kinds, hours and epoch seconds make the
            range one of whole hours, all others one of whole days.
        now: epoch seconds.

    Raises:
        RequestError: a field is wrong; ``param`` names it.
    """
    by = fields.get("by") or "day"
    if by not in get_args(By):
        raise RequestError(f"`by` is one of {', '.join(get_args(By))}.", param="by")
    fine = by == "hour"
    since, until = fields.get("since", ""), fields.get("until", "")
    begin, by_hours = _moment(since or ("24h" if fine else f"{_DEFAULT_DAYS}d"), now, "since")
    end, ends_by_hours = _moment(until, now, "until") if until else (now, False)
    fine = fine or by_hours or ends_by_hours
    if by == "day":
        fine = False
    if begin > end:
        raise RequestError("`since` is later than `until`.", param="since")
    only = _only(fields, _FILTERS)
    if fine:
        first, last = hour_of(begin), hour_of(end)
        oldest = hour_of(now) - HOURS_KEPT
        if last < oldest:
            raise RequestError(
                f"Sums by the hour are kept for {HOURS_KEPT // 24} days.", param="until"
            )
        first = max(first, oldest)
        return UsageQuery(
            cast(By, by), "hour", first, last, first * 3_600.0, (last + 1) * 3_600.0, only
        )
    last = day_of(end)
    first = max(day_of(begin), day_after(last, -_MOST_DAYS))
    return UsageQuery(
        cast(By, by), "day", first, last, start_of(first), start_of(day_after(last)), only
    )


def with_key_id(fields: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """Return a query's fields with the id of the key that they name by its label.

    Args:
        fields: of ``usage_query`` or ``list_query``.
        labels: of all keys, by id.

    Raises:
        RequestError: several keys have that label.
    """
    named = fields.get("key", "")
    if not named or named in labels:
        return dict(fields)
    found = [name for name, label in labels.items() if label == named]
    if len(found) > 1:
        raise RequestError(
            f"{len(found)} keys are called {named[:100]!r}; name one by its id.", param="key"
        )
    return {**fields, "key": found[0]} if found else dict(fields)


def list_query(fields: Mapping[str, str], now: float) -> ListQuery:
    """Read the fields of a page of requests.

    Args:
        fields: as in ``usage_query`` but for ``by``; further session, status, error, asked (the
            model as asked for), dialect, ``failed`` (1), ``limit`` (up to 500) and ``cursor`` (from
            the page before). ``until`` as a day includes that day.
        now: epoch seconds.

    Raises:
        RequestError: a field is wrong; ``param`` names it.
    """
    begin = 0.0
    end = now + 86_400.0  # clocks are set, and rows may be from ahead
    if since := fields.get("since"):
        begin, _ = _moment(since, now, "since")
    if until := fields.get("until"):
        end, exact = _moment(until, now, "until")
        if not exact:
            end = start_of(day_after(day_of(end)))
    limit = _whole(fields.get("limit") or str(_DEFAULT_ROWS), "limit")
    if not 1 <= limit <= _MOST_ROWS:
        raise RequestError(f"`limit` is from 1 to {_MOST_ROWS}.", param="limit")
    only: dict[str, str | int] = {**_only(fields, _LIST_FILTERS)}
    if "status" in only:
        only["status"] = _whole(fields["status"], "status")
    failed = fields.get("failed", "") not in ("", "0", "false")
    return ListQuery(begin, end, limit, _cursor(fields.get("cursor", "")), failed, only)


def _only(fields: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    # An empty value is a value: requests without a key are found by `key=`.
    return {column: fields[name] for name, column in names.items() if name in fields}


def _moment(text: str, now: float, param: str) -> tuple[float, bool]:
    """Return a moment, and whether it means just that rather than a whole day."""
    text = text.strip()
    if text == "today":
        return start_of(day_of(now)), False
    if match := re.fullmatch(r"(\d{1,5})([hdw])", text):
        count = int(match[1])
        if match[2] == "h":
            return now - count * 3_600.0, True
        # 7 days are today and the six before.
        days = count * (7 if match[2] == "w" else 1)
        return start_of(day_after(day_of(now), 1 - max(1, min(days, _MOST_DAYS)))), False
    if re.fullmatch(r"\d{9,11}(\.\d+)?", text):
        return float(text), True
    try:
        day = date.fromisoformat(text)
        number = day.year * 10_000 + day.month * 100 + day.day
        if date_of(number).year < 1990:
            raise ValueError(text)
        return start_of(number), False
    except (ValueError, OverflowError, OSError):
        raise RequestError(
            f"`{param}` is a day (2026-11-21), `today`, a length of time (30d, 4w, 12h) or epoch "
            "seconds.",
            param=param,
        ) from None


def _whole(text: str, param: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise RequestError(f"`{param}` is a whole number.", param=param)
    return int(text)


def _cursor(text: str) -> tuple[float, int] | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,20})?):(\d{1,18})", text)
    if match is None:
        raise RequestError("`cursor` is not one of a page before.", param="cursor")
    return float(match[1]), int(match[2])
