"""Reports from sums. Pure: rows of the store go in, lines that people and scripts read come out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, TypeAlias

from app.ledger.latency import percentile_ms

__all__ = ["COLUMN", "By", "Line", "Report", "build_report", "render_csv", "report_json"]

By: TypeAlias = Literal["day", "hour", "model", "account", "agent", "key", "provider"]

COLUMN: Mapping[By, str] = {
    "day": "day",
    "hour": "hour",
    "model": "model",
    "account": "account",
    "agent": "client",
    "key": "key_id",
    "provider": "provider",
}
"""What a report groups by, in the words of the store."""

_PERCENTS = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Line:
    """One group's sums."""

    name: str
    """Of the group; a day is ``2026-11-21``, an hour ``2026-11-21T10:00Z``; may be empty."""
    requests: int = 0
    failed: int = 0
    cached: int = 0
    """Answered from the cache of whole answers."""
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    """Reasoning included."""
    reasoning: int = 0
    cost: int = 0
    """Paid, in micro-dollars."""
    worth: int = 0
    """What plans served, at list price, in micro-dollars."""
    unpriced: int = 0
    """Requests with tokens whose price is not known."""
    first: tuple[int, ...] = ()
    """Counts of times to first content by bucket; empty where they are not kept."""
    whole: tuple[int, ...] = ()
    """Counts of durations by bucket."""

    @property
    def prompt(self) -> int:
        """All prompt tokens."""
        return self.input + self.cache_read + self.cache_write

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.prompt + self.output

    @property
    def hit_rate(self) -> float | None:
        """Which part of the prompt tokens came from the service's cache; None without any."""
        return self.cache_read / self.prompt if self.prompt else None


@dataclass(frozen=True, slots=True)
class Report:
    """Lines in the order in which they are shown, and their total."""

    by: By
    since: float
    """Epoch seconds, as is the next."""
    until: float
    lines: tuple[Line, ...]
    total: Line
    only: Mapping[str, str] = field(default_factory=dict)
    """What it is limited to, in the words of the store."""


def build_report(
    by: By,
    rows: Iterable[Mapping[str, Any]],
    latencies: Iterable[Mapping[str, Any]],
    *,
    first: int,
    last: int,
    since: float,
    until: float,
    only: Mapping[str, str] | None = None,
) -> Report:
    """Return the report over rows of ``UsageStore``.

    Days and hours come in their order, with empty lines where nothing was; all else by what was
    spent (paid or not), the most first.

    Args:
        by: what the rows are grouped by.
        rows: of ``sums``.
        latencies: of ``latencies``, grouped in the same way; none where they are not kept.
        first: day or hour of the range, for the empty lines.
        last: of the range, included.
        since: the range in epoch seconds.
        until: end of the range.
        only: what the rows are limited to.
    """
    column = COLUMN[by]
    times = {row[column]: row for row in latencies}
    lines = {
        row[column]: _line(_name(by, row[column]), row, times.get(row[column])) for row in rows
    }
    ordered: list[Line]
    if by in ("day", "hour"):
        ordered = [
            lines.get(bucket) or Line(_name(by, bucket)) for bucket in _range(by, first, last)
        ]
    else:
        ordered = sorted(
            lines.values(),
            key=lambda line: (-(line.cost + line.worth), -line.tokens, -line.requests, line.name),
        )
    return Report(by, since, until, tuple(ordered), _total(ordered), dict(only or {}))


def _line(name: str, row: Mapping[str, Any], times: Mapping[str, Any] | None) -> Line:
    numbers = {key: row[key] for key in _NUMBERS}
    if times is None:
        return Line(name, **numbers)
    return Line(name, **numbers, first=tuple(times["first"]), whole=tuple(times["whole"]))


_NUMBERS = (
    *("requests", "failed", "cached", "input", "cache_read", "cache_write", "output"),
    *("reasoning", "cost", "worth", "unpriced"),
)


def _total(lines: Sequence[Line]) -> Line:
    numbers = {name: sum(getattr(line, name) for line in lines) for name in _NUMBERS}
    return Line(
        "",
        **numbers,
        first=_added(line.first for line in lines),
        whole=_added(line.whole for line in lines),
    )


def _added(histograms: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    present = [counts for counts in histograms if counts]
    return tuple(map(sum, zip(*present, strict=True)))


def _name(by: By, value: Any) -> str:
    if by == "day":
        return _date(value).isoformat()
    if by == "hour":
        return datetime.fromtimestamp(value * 3_600, UTC).strftime("%Y-%m-%dT%H:%MZ")
    return str(value)


def _date(day: int) -> date:
    return date(day // 10_000, day // 100 % 100, day % 100)


def _range(by: By, first: int, last: int) -> Iterable[int]:
    if by == "hour":
        return range(first, last + 1)
    begin, end = _date(first), _date(last)
    days = (begin + timedelta(days=n) for n in range((end - begin).days + 1))
    return (day.year * 10_000 + day.month * 100 + day.day for day in days)


# --- as JSON and as CSV ----------------------------------------------------------------------


def report_json(report: Report, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a report as the answer of ``GET /admin/usage``.

    Args:
        report: the report.
        labels: names for people by the name of a line (keys have them).
    """
    return {
        "by": report.by,
        "since": report.since,
        "until": report.until,
        "only": dict(report.only),
        "rows": [
            _line_json(line)
            | ({"label": labels[line.name]} if labels and line.name in labels else {})
            for line in report.lines
        ],
        "total": _line_json(report.total),
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "requests": line.requests,
        "failed": line.failed,
        "cached": line.cached,
        "input": line.input,
        "cache_read": line.cache_read,
        "cache_write": line.cache_write,
        "output": line.output,
        "reasoning": line.reasoning,
        "tokens": line.tokens,
        "cache_hit_rate": None if line.hit_rate is None else round(line.hit_rate, 4),
        "cost_usd": line.cost / 1e6,
        "worth_usd": line.worth / 1e6,
        "unpriced": line.unpriced,
        "first_ms": _percentiles(line.first),
        "duration_ms": _percentiles(line.whole),
    }


def _percentiles(counts: Sequence[int]) -> dict[str, int] | None:
    found = {f"p{percent}": percentile_ms(counts, percent) for percent in _PERCENTS}
    return {name: ms for name, ms in found.items() if ms is not None} or None


def render_csv(rows: Sequence[Mapping[str, Any]], by: str) -> str:
    """Return the ``rows`` of ``report_json`` as CSV with a header line.

    A cell that a spreadsheet would take for a formula begins with an apostrophe: names come from
    clients.
    """
    flat = [_flat(row, by) for row in rows]
    columns = list(flat[0]) if flat else list(_flat(_line_json(Line("")), by))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(row: Mapping[str, Any], by: str) -> dict[str, Any]:
    cells: dict[str, Any] = {by: _cell(row["name"])}
    for name, value in row.items():
        if name in ("first_ms", "duration_ms"):
            for percent in _PERCENTS:
                cells[f"{name}_p{percent}"] = "" if value is None else value[f"p{percent}"]
        elif name.endswith("_usd"):
            cells[name] = f"{value:.6f}"
        elif name not in ("name", "label"):
            cells[name] = "" if value is None else value
    return cells


def _cell(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
