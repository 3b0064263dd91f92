"""``dragoman usage``: what was used, as a table with bars, as JSON or as CSV.

A running instance is asked, since it may still be writing; otherwise the database is opened here.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

import typer

from app.cli.running import client_of, find_running, places
from app.cli.status import JsonOption
from app.cli.terminal import note, render_span, say, show_json, show_table
from app.errors import AppError, RequestError

if TYPE_CHECKING:
    from app.ledger.query import UsageQuery

__all__ = ["render_bar", "usage"]

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_WIDEST_BAR: Final = 40
_PLAIN_BAR: Final = 24
_OTHER_COLUMNS: Final = 78
"""What the columns beside the bar take, roughly."""


def usage(
    by: Annotated[
        str, typer.Option("--by", help="day, hour, model, account, agent, key or provider.")
    ] = "day",
    since: Annotated[
        str | None,
        typer.Option("--since", help="30d, 4w, 12h, today, or a day: 2026-11-01.  [default: 30d]"),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="The same; a day is included.  [default: now]")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Only this model, as its service calls it.")
    ] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Only this provider.")] = None,
    account: Annotated[
        str | None, typer.Option("--account", help="Only this account: provider/label.")
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="Only this program.")] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="Only calls with this key: its id or label; '' for none."),
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show requests, tokens and costs."""
    if as_json and as_csv:
        raise typer.BadParameter("One form at a time: --json or --csv.")
    wishes = {
        "by": by,
        "since": since,
        "until": until,
        "model": model,
        "provider": provider,
        "account": account,
        "agent": agent,
        "key": key,
    }
    fields = {name: value for name, value in wishes.items() if value is not None}
    answer = _ask(fields)
    if as_json:
        show_json(answer)
        return
    if as_csv:
        from app.ledger.report import render_csv

        sys.stdout.write(render_csv(answer["rows"], by))
        return
    _show(answer)


def _ask(fields: Mapping[str, str]) -> dict[str, Any]:
    from app.ledger.query import usage_query

    try:
        query = usage_query(fields, time.time())
    except RequestError as error:
        raise typer.BadParameter(error.message.replace("`", "")) from None
    record = find_running(places())
    if record is None:
        return _read_here(fields, query)
    found: dict[str, Any] = client_of(record).get(f"/admin/usage?{urlencode(fields)}")
    return found


def _read_here(fields: Mapping[str, str], query: UsageQuery) -> dict[str, Any]:
    """Return what ``/admin/usage`` would answer."""
    from app.configfile import load_file, locate
    from app.ledger.ledger import usage_report
    from app.ledger.query import usage_query, with_key_id
    from app.ledger.report import report_json
    from app.store.database import Database
    from app.store.keys import Keys
    from app.store.ledger import LedgerStore

    url = load_file(locate(None, os.environ), os.environ).database.url
    if url is not None and (missing := url.missing(os.environ)):
        raise AppError(
            f"The database is not known: {', '.join(missing)} is not set in this session.",
            code="store_unavailable",
            status=503,
            hint="Set it, or start Dragoman where it is set; it is then asked.",
        )
    database = Database(None if url is None else url.resolve(os.environ), places().data)
    try:
        database.migrate()
        labels = None
        if query.by == "key" or query.only.get("key_id"):
            labels = {record.id: record.label for record in Keys(database).list()}
            query = usage_query(with_key_id(fields, labels), time.time())
        shown = labels if query.by == "key" else None
        return report_json(usage_report(LedgerStore(database), query), shown)
    finally:
        database.close()


def _show(answer: Mapping[str, Any]) -> None:
    rows: list[Mapping[str, Any]] = answer["rows"]
    total = answer["total"]
    if not total["requests"]:
        note("Nothing was used in that time.")
        return
    by = answer["by"]
    if by in ("day", "hour"):
        rows = _without_empty_ends(rows)
    measure = "spent" if any(_spent(row) for row in rows) else "tokens"
    weights = [_spent(row) if measure == "spent" else float(row["tokens"]) for row in rows]
    most = max(weights)
    width = _bar_width()
    plain = not _can_print(_EIGHTHS + "█")
    show_table(
        (by.upper(), "REQUESTS", "FAILED", "INPUT", "CACHED", "OUTPUT", "PAID", "WORTH", "FIRST",
         "SPENT" if measure == "spent" else "TOKENS"),
        [
            (
                *_cells(row, by),
                render_bar(weight / most if most else 0.0, width, plain=plain),
            )
            for row, weight in zip(rows, weights, strict=True)
        ]
        + [(*_cells({**total, "name": "total"}, "total"), "")],
    )  # fmt: skip
    if total["unpriced"]:
        say(f"{total['unpriced']:,} requests went to models whose price is not known.")
    if answer.get("trouble"):
        note(answer["trouble"])


def _cells(row: Mapping[str, Any], by: str) -> tuple[str, ...]:
    name = row.get("label") or row["name"]
    if not name:
        name = {"key": "(no key)", "agent": "(unknown)"}.get(by, "(none)")
    rate, first = row["cache_hit_rate"], row["first_ms"]
    return (
        name,
        f"{row['requests']:,}",
        f"{row['failed']:,}" if row["failed"] else "",
        _short(row["input"] + row["cache_read"] + row["cache_write"]),
        "" if not rate else f"{rate:.0%}",
        _short(row["output"]),
        _dollars(row["cost_usd"]),
        _dollars(row["worth_usd"]),
        "" if first is None else _seconds(first["p50"]),
    )


def _without_empty_ends(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    used = [i for i, row in enumerate(rows) if row["requests"]]
    return list(rows[used[0] : used[-1] + 1])


def _spent(row: Mapping[str, Any]) -> float:
    return float(row["cost_usd"] + row["worth_usd"])


def render_bar(part: float, width: int, *, plain: bool = False) -> str:
    """Return a bar of up to ``width`` characters; what is above nothing shows at least a little.

    Args:
        part: from 0 to 1.
        width: of the longest bar.
        plain: only ASCII.
    """
    if part <= 0:
        return ""
    if plain:
        return "#" * max(1, round(part * width))
    eighths = max(1, round(min(part, 1.0) * width * 8))
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _bar_width() -> int:
    if not sys.stdout.isatty():
        return _PLAIN_BAR
    left = shutil.get_terminal_size().columns - _OTHER_COLUMNS
    return max(8, min(_WIDEST_BAR, left))


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _short(count: int) -> str:
    """Return a count of tokens in three digits or so."""
    if not count:
        return ""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def _dollars(amount: float) -> str:
    if not amount:
        return ""
    return f"${amount:,.2f}" if amount >= 0.01 else "<$0.01"


def _seconds(ms: int) -> str:
    return f"{ms / 1_000:.1f} s" if ms < 60_000 else render_span(ms / 1_000)
