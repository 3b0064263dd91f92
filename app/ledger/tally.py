"""What was used lately, in memory: sums of the running minute, day and month. Pure.

Calls are checked against limits and budgets, and none may wait for the database for that. So the
sums are kept here: of everything, of each key and of each provider. Days and months are those of
the clock on the wall (``ledger.days``); a minute is the last sixty seconds, in steps of one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from app.ledger.days import Period

__all__ = ["EVERYTHING", "Amounts", "LastMinute", "Scope", "Tally"]

Scope: TypeAlias = tuple[Literal["whole", "key", "provider"], str]
"""What a sum is about, and the id of the key or provider. The key without id: calls without one."""

EVERYTHING: Final[Scope] = ("whole", "")

_MINUTE_S = 60
_MOST_PERIODS = 4
"""Days, or months, that are kept: today, yesterday for what ends after midnight, and those that a
clock which was wrong has made."""


@dataclass(slots=True)
class Amounts:
    """Sums; each is 0 or more."""

    requests: int = 0
    tokens: int = 0
    cost: int = 0
    """Paid, in micro-dollars."""
    worth: int = 0
    """Served by a plan, at list price in micro-dollars."""

    def add(self, other: Amounts) -> None:
        """Add another's sums to these."""
        self.requests += other.requests
        self.tokens += other.tokens
        self.cost += other.cost
        self.worth += other.worth

    def take(self, other: Amounts) -> None:
        """Take another's sums away from these."""
        self.requests -= other.requests
        self.tokens -= other.tokens
        self.cost -= other.cost
        self.worth -= other.worth


_NOTHING = Amounts()


class LastMinute:
    """What was used in the last sixty seconds; one entry per second in which something was.

    A second counts as a whole until sixty seconds after its end, so that no span of a minute ever
    holds more than the sum said.
    """

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, Amounts]] = deque()
        self._total = Amounts()

    def add(self, at: float, amounts: Amounts) -> None:
        """Count something at a moment in epoch seconds; it may be a little before the last one."""
        second = int(at)
        self._total.add(amounts)
        place = len(self._seconds)
        while place and self._seconds[place - 1][0] > second:
            place -= 1
        if place and self._seconds[place - 1][0] == second:
            self._seconds[place - 1][1].add(amounts)
        else:
            self._seconds.insert(place, (second, Amounts()))
            self._seconds[place][1].add(amounts)

    def sums(self, now: float) -> Amounts:
        """Return what counts now, not to be changed, and forget what no longer does.

        What lies ahead was counted before the clock was set back; nobody shall wait for it.
        """
        while self._seconds and _ends(self._seconds[0][0]) <= now:
            self._total.take(self._seconds.popleft()[1])
        while self._seconds and self._seconds[-1][0] > now:
            self._total.take(self._seconds.pop()[1])
        return self._total

    def falls_below(self, now: float, limit: int, amount: str) -> float:
        """Return when a sum is below a limit if nothing is added, in epoch seconds.

        Args:
            now: epoch seconds.
            limit: above 0.
            amount: which of the sums: ``requests``, ``tokens``, or ``usd`` for all money.
        """
        total = _of(self.sums(now), amount)
        for second, amounts in self._seconds:
            if total < limit:
                break
            now = _ends(second)
            total -= _of(amounts, amount)
        return now


def _ends(second: int) -> float:
    return float(second + 1 + _MINUTE_S)


def _of(amounts: Amounts, name: str) -> int:
    if name == "usd":
        return amounts.cost + amounts.worth
    return amounts.requests if name == "requests" else amounts.tokens


class Tally:
    """Sums by scope. Not safe for several threads at once.

    There are as many as keys and providers, both of which are the user's own.
    """

    def __init__(self) -> None:
        """Begin with nothing used."""
        self._days: dict[Scope, dict[int, Amounts]] = {}
        """By day (20261121)."""
        self._months: dict[Scope, dict[int, Amounts]] = {}
        """By month (202611)."""
        self._minutes: dict[str, LastMinute] = {}

    def add(self, day: int, key_id: str, provider: str, amounts: Amounts) -> None:
        """Count something for the day and the month that it belongs to.

        Args:
            day: 20261121.
            key_id: empty for none.
            provider: empty for none.
            amounts: one request, or a sum of requests; below 0 takes back.
        """
        self._add(EVERYTHING, day, amounts)
        self._add(("key", key_id), day, amounts)
        if provider:
            self._add(("provider", provider), day, amounts)

    def _add(self, scope: Scope, day: int, amounts: Amounts) -> None:
        for sums, period in ((self._days, day), (self._months, day // 100)):
            known = sums.get(scope)
            if known is None:
                known = sums[scope] = {}
            if period not in known:
                if len(known) >= _MOST_PERIODS:
                    del known[min(known)]
                known[period] = Amounts()
            known[period].add(amounts)

    def add_now(self, at: float, key_id: str, amounts: Amounts) -> None:
        """Count something for the last minute of a key, at a moment in epoch seconds."""
        self.minute(key_id).add(at, amounts)

    def of(self, scope: Scope, period: Period, day: int) -> Amounts:
        """Return what was used in the day, or in its month; not to be changed."""
        if period == "day":
            return self._days.get(scope, {}).get(day, _NOTHING)
        return self._months.get(scope, {}).get(day // 100, _NOTHING)

    def minute(self, key_id: str) -> LastMinute:
        """Return the last minute of a key."""
        found = self._minutes.get(key_id)
        if found is None:
            found = self._minutes[key_id] = LastMinute()
        return found
