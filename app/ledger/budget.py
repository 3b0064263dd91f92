"""Budgets: how much money or how many tokens a day or a month may cost. Pure.

A budget is for everything, for one key or for one provider. Its level rises from ``ok`` to ``warn``
and to ``stop`` as it is used; at ``stop``, requests that it is about are refused until the next day
or month. A request that is being served is never cut off, so a budget can be passed by the requests
that run at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from app.ledger.days import Period, next_period

__all__ = ["Budget", "Level", "Purse", "Standing"]

Level: TypeAlias = Literal["ok", "warn", "stop"]


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget."""

    name: str
    """For people; unique."""
    limit: int
    """Micro-dollars or tokens, above 0."""
    unit: Literal["usd", "tokens"] = "usd"
    period: Period = "month"
    key_id: str | None = None
    """Only requests with this key; an empty text: those without a key."""
    provider: str | None = None
    """Only requests that this provider served."""
    warn: float = 0.8
    """Part of the limit at which the user is told."""
    stop: float | None = 1.0
    """Part of the limit at which requests are refused; None never refuses."""
    count_worth: bool = False
    """Money: counts what plans served at list price as well, though nobody paid for it."""

    def covers(self, key_id: str, provider: str | None) -> bool:
        """Say whether it is about a request; ``provider`` None: about one that may go anywhere."""
        return self.key_id in (None, key_id) and self.provider in (None, provider)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands."""

    budget: Budget
    used: int
    """In the unit of the limit."""
    level: Level
    resets_at: float
    """When it begins anew, epoch seconds."""

    @property
    def part(self) -> float:
        """Used part of the limit; may pass 1."""
        return self.used / self.budget.limit

    @property
    def sentence(self) -> str:
        """The state for people."""
        budget = self.budget
        if budget.unit == "usd":
            amounts = f"${self.used / 1e6:,.2f} of ${budget.limit / 1e6:,.2f}"
        else:
            amounts = f"{self.used:,} of {budget.limit:,} tokens"
        when = "today" if budget.period == "day" else "this month"
        return f"Budget {budget.name}: {amounts} used {when} ({self.part:.0%})."


class Purse:
    """What was used of each budget. Not safe for several threads at once."""

    def __init__(self, budgets: Iterable[Budget] = ()) -> None:
        """Begin with nothing used."""
        self.budgets = tuple(budgets)
        self._used: list[tuple[int, int]] = [(0, 0)] * len(self.budgets)
        """Day or month, and what was used in it."""

    def add(
        self, day: int, key_id: str, provider: str, *, cost: int, worth: int, tokens: int
    ) -> None:
        """Count a request, or a sum of requests.

        Args:
            day: on which it began; what comes from an earlier period than the last is left out.
            key_id: empty for none.
            provider: empty for none.
            cost: paid, in micro-dollars.
            worth: served by a plan, in micro-dollars.
            tokens: all of them.
        """
        for i, budget in enumerate(self.budgets):
            if not budget.covers(key_id, provider):
                continue
            if budget.unit == "tokens":
                amount = tokens
            else:
                amount = cost + worth if budget.count_worth else cost
            period, used = self._used[i]
            now = _period(budget, day)
            if now > period:
                self._used[i] = (now, amount)
            elif now == period:
                self._used[i] = (period, used + amount)

    def load(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count the sums of the store, grouped by ``day``, ``key_id`` and ``provider``.

        What was counted before stays: rows are of requests that were not.
        """
        for row in sorted(rows, key=lambda row: int(row["day"])):
            tokens = sum(row[name] for name in ("input", "cache_read", "cache_write", "output"))
            self.add(
                row["day"],
                row["key_id"],
                row["provider"],
                cost=row["cost"],
                worth=row["worth"],
                tokens=tokens,
            )

    def standings(self, day: int) -> tuple[Standing, ...]:
        """Return how each budget stands on a day."""
        return tuple(self._standing(i, day) for i in range(len(self.budgets)))

    def stopped(self, day: int, key_id: str, provider: str | None = None) -> Standing | None:
        """Return the budget that forbids a request, if any: the one that begins anew last.

        Args:
            day: today.
            key_id: of the caller; empty for none.
            provider: whom it would go to; None asks only budgets that are about all providers.
        """
        found: Standing | None = None
        for i, budget in enumerate(self.budgets):
            if budget.stop is None or not budget.covers(key_id, provider):
                continue
            standing = self._standing(i, day)
            if standing.level == "stop" and (found is None or standing.resets_at > found.resets_at):
                found = standing
        return found

    def _standing(self, i: int, day: int) -> Standing:
        budget = self.budgets[i]
        period, used = self._used[i]
        if period != _period(budget, day):
            used = 0
        level: Level = "ok"
        if budget.stop is not None and used >= budget.limit * budget.stop:
            level = "stop"
        elif used >= budget.limit * budget.warn:
            level = "warn"
        return Standing(budget, used, level, next_period(budget.period, day))


def _period(budget: Budget, day: int) -> int:
    return day if budget.period == "day" else day // 100
