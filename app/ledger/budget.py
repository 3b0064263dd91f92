"""Budgets: how much money or how many tokens a day or a month may cost. Pure.

A budget is for everything, for one key or for one provider. Its level rises from ``ok`` to ``warn``
and to ``stop`` as it is used; at ``stop``, requests that it is about are refused until the next day
or month. A request that is being served is never cut off, so a budget can be passed by the requests
that run at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.errors import AppError
from app.ledger.days import Period, next_period
from app.ledger.tally import EVERYTHING, Scope, Tally

__all__ = ["Budget", "Level", "Standing", "budget_error", "standing_of"]

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
    scope: Scope = EVERYTHING
    """What it is about. The key without id: requests without a key."""
    warn: float | None = 0.8
    """Part of the limit at which the user is told; None never tells before it stops."""
    stop: float | None = 1.0
    """Part of the limit at which requests are refused; None never refuses."""
    count_worth: bool = False
    """Money: counts what plans served at list price as well, though nobody paid for it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands."""

    budget: Budget
    used: int
    """In the unit of the limit."""
    level: Level
    day: int
    """On which it stands so."""

    @property
    def resets_at(self) -> float:
        """When it begins anew, epoch seconds."""
        return next_period(self.budget.period, self.day)

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


def standing_of(budget: Budget, tally: Tally, day: int) -> Standing:
    """Return how a budget stands on a day."""
    amounts = tally.of(budget.scope, budget.period, day)
    if budget.unit == "tokens":
        used = amounts.tokens
    else:
        used = amounts.cost + amounts.worth if budget.count_worth else amounts.cost
    level: Level = "ok"
    if budget.stop is not None and used >= budget.limit * budget.stop:
        level = "stop"
    elif budget.warn is not None and used >= budget.limit * budget.warn:
        level = "warn"
    return Standing(budget, used, level, day)


def budget_error(
    standings: tuple[Standing, ...], now: float, clock: Callable[[float, float], str]
) -> AppError | None:
    """Return why requests are refused, if a budget is used up: the one that lasts longest.

    Args:
        standings: of the budgets that a request is about.
        now: epoch seconds.
        clock: renders a time of day for people; takes it and now.
    """
    stopped = [standing for standing in standings if standing.level == "stop"]
    if not stopped:
        return None
    last = max(stopped, key=lambda standing: standing.resets_at)
    return AppError(
        last.sentence,
        status=429,
        code="budget_exceeded",
        retry_after_s=max(1.0, last.resets_at - now),
        hint=f"It begins anew {clock(last.resets_at, now)}; ledger.budgets in the settings raises it.",
    )
