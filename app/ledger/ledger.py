"""The ledger as the rest of the program sees it.

``note`` takes the entry of a request that has ended: it is counted for metrics and budgets at once
and written by the writer's thread soon. Reports and lists block, so they are asked from threads.
The database may open late, or not at all: nothing here fails for that but the questions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from app.errors import AppError
from app.ledger.budget import Standing
from app.ledger.days import day_after, day_of, hour_of, start_of
from app.ledger.entry import Entry
from app.ledger.meter import Meter
from app.ledger.metrics import Metrics
from app.ledger.query import HOURS_KEPT, ListQuery, UsageQuery
from app.ledger.report import COLUMN, Report, build_report
from app.ledger.writer import Store, Writer, WriterState

if TYPE_CHECKING:
    from app.store.ledger import LedgerStore

__all__ = ["Ledger", "Retention", "list_page", "request_detail", "usage_report"]

_log = logging.getLogger("dragoman.ledger")

_HALF_DAY_S: Final = 43_200.0
_EARLIEST: Final = 86_400.0 * 7
"""Some systems have no local time before the epoch."""
_LATENCY_COLUMNS: Final = frozenset({"day", "provider", "account", "model"})


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept."""

    days: int = 400
    max_bytes: int = 2 * 1024**3
    """The oldest requests go when the ledger takes more; two gigabytes are some three million."""


class Ledger:
    """See the module. States: new → running (``start``) → closed (``close``)."""

    def __init__(
        self,
        *,
        spill: Path | None,
        retention: Callable[[], Retention] = Retention,
        meter: Meter | None = None,
        now: Callable[[], float] = time.time,
        every_s: float = 0.5,
    ) -> None:
        """Prepare; entries are taken from now on, and wait in memory.

        Args:
            spill: file for entries that cannot be written at the end, in the data folder.
            retention: what is kept, asked about hourly.
            meter: counts for limits and budgets; one without any by default.
            now: the clock, epoch seconds.
            every_s: how long entries are gathered before a write, in seconds.
        """
        self.metrics = Metrics()
        self._retention = retention
        self._now = now
        self.meter = Meter(now=now) if meter is None else meter
        """What limits and budgets are checked by; told of every entry."""
        self._store: LedgerStore | None = None
        self.opened = threading.Event()
        """Set once questions can be asked and budgets know what was used this month."""
        self._open: Callable[[], LedgerStore] | None = None
        self._writer = Writer(
            self._opened,
            spill=spill,
            tidy=self._tidy,
            recalled=self.meter.note,
            now=now,
            every_s=every_s,
        )

    def start(self, open_store: Callable[[], LedgerStore]) -> None:
        """Begin to write.

        Args:
            open_store: returns the store over a migrated database; called in the writer's thread,
                and again later when it raises ``AppError``.
        """
        self._open = open_store
        self._writer.start()

    def note(self, entry: Entry) -> None:
        """Take the entry of a request. Never waits for the database, and never fails for it."""
        self.metrics.note(entry)
        self.meter.note(entry)
        self._writer.add(entry)

    def close(self, grace_s: float = 5.0) -> None:
        """Write all that waits; blocks for ``grace_s`` and a little more at most."""
        self._writer.close(grace_s)

    @property
    def state(self) -> WriterState:
        """How the writing goes."""
        return self._writer.state

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all entries so far are written; tell whether they are."""
        return self._writer.flush(timeout_s)

    # --- questions; all of them block and raise AppError when there is no database ----------------

    def usage(self, query: UsageQuery) -> Report:
        """Return a report."""
        return usage_report(self._asked(), query)

    def page(self, query: ListQuery) -> dict[str, Any]:
        """Return a page of requests; see ``list_page``."""
        return list_page(self._asked(), query)

    def request(self, name: str) -> dict[str, Any] | None:
        """Return a request with its attempts; see ``request_detail``."""
        return request_detail(self._asked(), name)

    def standings(self) -> tuple[Standing, ...]:
        """Return how each budget stands now."""
        return self.meter.standings()

    # --- the writer's thread -----------------------------------------------------------------------

    def _opened(self) -> Store:
        if self._open is None:
            raise AppError("The ledger has not been started.", code="store_unavailable")
        store = self._open()
        self.meter.prime(store.usage)
        self._store = store
        self.opened.set()
        return store

    def _tidy(self, _store: Store) -> None:
        store = self._store
        if store is None:
            return
        kept, now = self._retention(), self._now()
        first_day = day_of(now - kept.days * 86_400)
        removed = store.expire(start_of(first_day), first_day, hour_of(now) - HOURS_KEPT)
        removed += store.shrink(kept.max_bytes)
        if removed:
            _log.info("%d old requests were removed from the ledger", removed)

    def _asked(self) -> LedgerStore:
        if self._store is None:
            trouble = self._writer.state.sentence
            raise AppError(
                trouble or "The ledger is still opening.", code="store_unavailable", status=503
            )
        return self._store


def usage_report(store: LedgerStore, query: UsageQuery) -> Report:
    """Return a report. Times are not kept by key and program, nor by the hour.

    Raises:
        AppError: the database cannot be used.
    """
    column = COLUMN[query.by]
    rows = store.usage.sums(query.unit, query.first, query.last, (column,), query.only)
    latencies: Sequence[Mapping[str, Any]] = ()
    if query.unit == "day" and column in _LATENCY_COLUMNS and query.only.keys() <= _LATENCY_COLUMNS:
        latencies = store.usage.latencies(query.first, query.last, (column,), query.only)
    return build_report(
        query.by,
        rows,
        latencies,
        first=query.first,
        last=query.last,
        since=query.since,
        until=query.until,
        only=query.only,
    )


def list_page(store: LedgerStore, query: ListQuery) -> dict[str, Any]:
    """Return ``requests`` (the newest first) and ``next``, the cursor of the page after, or None.

    Raises:
        AppError: the database cannot be used.
    """
    rows: list[dict[str, Any]] = []
    for since, until in _where_to_look(store, query):
        rows += store.usage.page(
            since,
            until,
            query.only,
            limit=query.limit + 1 - len(rows),
            before=query.before,
            failed=query.failed,
        )
        if len(rows) > query.limit:
            break
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    cursor = f"{rows[-1]['at']!r}:{rows[-1]['seq']}" if more else None
    return {"requests": [_shown(row) for row in rows], "next": cursor}


def _where_to_look(store: LedgerStore, query: ListQuery) -> list[tuple[float, float]]:
    """Return ranges of time that hold the page, the last one first.

    One filter has its index. Where several meet, what one of them finds may be a long way from what
    all of them find; the sums by the day tell where that is.
    """
    summed = {name: query.only[name] for name in COLUMN.values() if name in query.only}
    several = len(query.only) + query.failed > 1
    if not summed or not several or "session" in query.only:
        return [(query.since, query.until)]
    end = query.until if query.before is None else min(query.until, query.before[0] + 1)
    failed = query.failed or "error" in query.only
    first, last = day_after(day_of(max(query.since, _EARLIEST)), -1), day_after(day_of(end))
    days = store.usage.days_with(first, last, summed, failed=failed)
    ranges: list[tuple[float, float]] = []
    for day, _ in days:
        # Rows of a day may be from another time zone's day; ranges never overlap.
        since = max(query.since, start_of(day) - _HALF_DAY_S)
        until = min(end, start_of(day_after(day)) + _HALF_DAY_S)
        if ranges and until >= ranges[-1][0]:
            ranges[-1] = (since, ranges[-1][1])
        else:
            ranges.append((since, until))
    return ranges


def request_detail(store: LedgerStore, name: str) -> dict[str, Any] | None:
    """Return a request with ``tries`` (its attempts) and ``trace``; None when it is not there.

    Raises:
        AppError: the database cannot be used.
    """
    found = store.usage.request(name)
    if found is None:
        return None
    row, tries = found
    shown = _shown(row)
    shown["trace"] = _json(row["trace"])
    shown["tries"] = [
        {key: value for key, value in one.items() if key not in ("request", "losses")}
        | {"losses": _json(one["losses"])}
        for one in tries
    ]
    return shown


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: row[key] for key in row if key not in ("seq", "cost", "losses", "trace")}
    shown["losses"] = _json(row["losses"])
    shown["cost_usd"] = None if row["cost"] is None else row["cost"] / 1e6
    return shown


def _json(text: str) -> Any:
    if not text:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text
