"""What was used, asked before a call and told after it: the one owner of limits and budgets.

``admit`` is asked by the gateway before anything is done for a call, ``note`` is told how it ended,
and neither waits for anything but a lock held for microseconds. ``prime`` counts once what the
database knows of this month, so that a restart forgets nothing.

Of several programs on one database, each knows what was there at its start and what it served.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from app.errors import AppError
from app.keys import KeyIndex, KeyRecord
from app.ledger.budget import Budget, Level, Standing, budget_error, standing_of
from app.ledger.days import day_of
from app.ledger.entry import Entry
from app.ledger.limits import LimitUse, limit_error, uses_of
from app.ledger.tally import EVERYTHING, Amounts, Tally

__all__ = ["Asked", "Meter", "UsageSource"]

_log = logging.getLogger("dragoman.ledger")

_MINUTE_S = 61.0
_MOST_RECENT = 5_000
"""Requests of the last minute that a start looks at; more than a machine serves of real answers."""
_TOKENS = ("input", "cache_read", "cache_write", "output")


class Asked(Protocol):
    """A request as it comes; ``gateway.call.Outcome`` is one."""

    request_id: str
    key_id: str
    at: float
    """Epoch seconds."""


class UsageSource(Protocol):
    """Where earlier use is read; ``store.usage.UsageStore`` is one. Calls block."""

    def sums(
        self, unit: Any, first: int, last: int, by: Sequence[str], only: Mapping[str, str | int]
    ) -> list[dict[str, Any]]:
        """Return sums over days."""
        ...

    def page(
        self, since: float, until: float, only: Mapping[str, str | int], *, limit: int
    ) -> list[dict[str, Any]]:
        """Return requests."""
        ...


def _plain_clock(at: float, _now: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


class Meter:
    """See the module. Safe for several threads. States: new → primed."""

    def __init__(
        self,
        keys: KeyIndex | None = None,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[float, float], str] = _plain_clock,
    ) -> None:
        """Begin with nothing used.

        Args:
            keys: tells the limits of a key.
            now: the clock, epoch seconds.
            clock: renders a time of day for people; takes it and now, in epoch seconds.
        """
        self._keys = KeyIndex() if keys is None else keys
        self._now = now
        self._clock = clock
        self._lock = threading.Lock()
        self._priming = threading.Lock()
        self._primed = False
        self._tally = Tally()
        self._budgets: tuple[Budget, ...] = ()
        self._levels: dict[str, Level] = {}
        self.guess: Callable[[Entry], Entry] | None = None
        """Estimates what a service did not tell of a stream, which would pass every limit else;
        only the meter counts it, and a restart forgets it."""
        self._last_day = (0, day_of(0.0))
        """Minutes since the epoch, and the local day then."""
        self._running: set[str] = set()
        """Ids of the requests that were admitted and have not ended."""

    # --- calls -----------------------------------------------------------------------------------

    def admit(self, asked: Asked) -> None:
        """Count a request in, or say why it may not be served.

        Raises:
            AppError: 429 ``budget_exceeded`` or ``key_limit_reached``, with the seconds to wait.
        """
        now = self._now()
        with self._lock:
            error = self._refusal(asked.key_id, now)
            if error is None:
                self._running.add(asked.request_id)
                self._count_request(asked.key_id, asked.at, 1)
        if error is not None:
            raise error

    def _refusal(self, key_id: str, now: float) -> AppError | None:
        if self._budgets:
            scopes = (EVERYTHING, ("key", key_id))
            about = (budget for budget in self._budgets if budget.scope in scopes)
            day = self._day(now)
            standings = tuple(standing_of(budget, self._tally, day) for budget in about)
            error = budget_error(standings, now, self._clock)
            if error is not None:
                return error
        record = self._keys.get(key_id) if key_id else None
        if record is None or not record.limits:
            return None
        return limit_error(record, self._tally, self._day(now), now, self._clock)

    def _day(self, at: float) -> int:
        """Return the local day of a moment; the clock on the wall is asked once a minute."""
        minute = int(at // 60)
        if self._last_day[0] != minute:
            self._last_day = minute, day_of(at)
        return self._last_day[1]

    def _count_request(self, key_id: str, at: float, number: int) -> None:
        amounts = Amounts(requests=number)
        self._tally.add(self._day(at), key_id, "", amounts)
        if key_id:
            self._tally.add_now(at, key_id, amounts)

    def note(self, entry: Entry) -> None:
        """Count how a request ended; one that no account was asked for is given back."""
        if entry.tokens is None and entry.stream and entry.provider and self.guess is not None:
            entry = self.guess(entry)
        tokens = 0 if entry.tokens is None else entry.tokens.total
        worth = (entry.cost or 0) if entry.worth else 0
        amounts = Amounts(0, tokens, entry.spent, worth)
        served = entry.provider != "" or entry.cached
        now = self._now()
        with self._lock:
            admitted = entry.id in self._running
            self._running.discard(entry.id)
            if served != admitted:
                self._count_request(entry.key_id, entry.at, 1 if served else -1)
            if tokens or amounts.cost or worth:
                self._tally.add(self._day(entry.at), entry.key_id, entry.provider, amounts)
                if entry.key_id:
                    ended = min(now, entry.at + entry.duration_ms / 1000)
                    self._tally.add_now(ended, entry.key_id, amounts)
            risen = self._risen(now) if self._budgets else []
        _tell(risen)

    def barred(self, provider: str) -> tuple[str, float] | None:
        """Return why a provider may not be asked now, and until when, in epoch seconds."""
        if not self._budgets:
            return None
        now = self._now()
        with self._lock:
            about = [one for one in self._budgets if one.scope == ("provider", provider)]
            day = self._day(now)
            standings = [standing_of(budget, self._tally, day) for budget in about]
        stopped = [standing for standing in standings if standing.level == "stop"]
        last = max(stopped, key=lambda standing: standing.resets_at, default=None)
        return None if last is None else (last.sentence, last.resets_at)

    # --- what people see -------------------------------------------------------------------------

    def standings(self) -> tuple[Standing, ...]:
        """Return how each budget stands now."""
        with self._lock:
            day = day_of(self._now())
            return tuple(standing_of(budget, self._tally, day) for budget in self._budgets)

    def uses(self, record: KeyRecord) -> tuple[LimitUse, ...]:
        """Return how far each limit of a key is used now."""
        now = self._now()
        with self._lock:
            return uses_of(record, self._tally, day_of(now), now)

    def set_budgets(self, budgets: Iterable[Budget]) -> None:
        """Take other budgets; what was used stays known."""
        with self._lock:
            self._budgets = tuple(budgets)
            names = {budget.name for budget in self._budgets}
            self._levels = {name: level for name, level in self._levels.items() if name in names}
            risen = self._risen(self._now())
        _tell(risen)

    def _risen(self, now: float) -> list[Standing]:
        """Return the budgets whose level has become another, and worse, since last asked."""
        risen = []
        for budget in self._budgets:
            standing = standing_of(budget, self._tally, self._day(now))
            if self._levels.get(budget.name, "ok") != standing.level:
                self._levels[budget.name] = standing.level
                if standing.level != "ok":
                    risen.append(standing)
        return risen

    # --- the start -------------------------------------------------------------------------------

    def prime(self, source: UsageSource) -> None:
        """Count what the database has of this month, once; blocks.

        What was counted before stays: nothing of it has been written yet.

        Raises:
            AppError: the database cannot be used; to be called again.
        """
        with self._priming:
            if self._primed:
                return
            now = self._now()
            today = day_of(now)
            first = today // 100 * 100 + 1
            days = source.sums("day", first, today, ("day", "key_id", "provider"), {})
            recent = source.page(now - _MINUTE_S, now + 1, {}, limit=_MOST_RECENT)
            with self._lock:
                for row in sorted(days, key=lambda row: int(row["day"])):
                    # Without a provider nobody was asked, and the request did not count.
                    requests = row["requests"] if row["provider"] else row["cached"]
                    tokens = sum(row[name] for name in _TOKENS)
                    amounts = Amounts(requests, tokens, row["cost"], row["worth"])
                    self._tally.add(row["day"], row["key_id"], row["provider"], amounts)
                for row in reversed(recent):
                    self._recall(row)
                self._primed = True
                risen = self._risen(now)
        _tell(risen)

    def _recall(self, row: Mapping[str, Any]) -> None:
        if not row["key_id"] or not (row["provider"] or row["cached"]):
            return
        self._tally.add_now(row["at"], row["key_id"], Amounts(requests=1))
        tokens = sum(row[name] or 0 for name in _TOKENS)
        ended = row["at"] + row["duration_ms"] / 1000
        self._tally.add_now(ended, row["key_id"], Amounts(0, tokens, row["cost"] or 0))


def _tell(risen: Iterable[Standing]) -> None:
    for standing in risen:
        what = "requests are refused" if standing.level == "stop" else "it is nearly used up"
        _log.warning("%s At its %s level: %s.", standing.sentence, standing.level, what)
