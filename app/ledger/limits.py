"""Limits of keys: how far each is used, and the words when one is reached. Pure.

Requests count when they begin to be served; one that no account was asked for is given back.
Tokens and money count when a request has ended, so that calls under way may pass a limit by what
they cost. Money is what calls cost at list price, whether or not a plan pays for them: a limit
holds back the use of others, and a plan can be used up, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.errors import AppError
from app.keys import KeyRecord, Limit
from app.ledger.days import next_period
from app.ledger.tally import Amounts, Tally

__all__ = ["LimitUse", "limit_error", "shown_use", "uses_of"]

_PERIOD_WORDS = {"minute": "in the last minute", "day": "today", "month": "this month"}


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How far a limit is used."""

    limit: Limit
    used: int
    """In the unit of the limit."""
    free_at: float
    """Epoch seconds: when something is free again; now or before where something is. Of days and
    months: when the next begins."""

    @property
    def reached(self) -> bool:
        """Whether nothing is left."""
        return self.used >= self.limit.amount

    @property
    def sentence(self) -> str:
        """The use for people."""
        limit = self.limit
        used = limit.show(self.used) if limit.unit == "usd" else f"{self.used:,}"
        return f"{used} of {limit.show(limit.amount)} {_PERIOD_WORDS[limit.period]}"


def uses_of(record: KeyRecord, tally: Tally, day: int, now: float) -> tuple[LimitUse, ...]:
    """Return how far each limit of a key is used.

    Args:
        record: the key.
        tally: what was used.
        day: today.
        now: epoch seconds.
    """
    return tuple(_use(limit, record.id, tally, day, now) for limit in record.limits)


def _use(limit: Limit, key_id: str, tally: Tally, day: int, now: float) -> LimitUse:
    used = _used(limit, key_id, tally, day, now)
    if limit.period == "minute":
        free_at = tally.minute(key_id).falls_below(now, limit.amount, limit.unit)
    else:
        free_at = next_period(limit.period, day)
    return LimitUse(limit, used, free_at)


def _used(limit: Limit, key_id: str, tally: Tally, day: int, now: float) -> int:
    if limit.period == "minute":
        return _amount(limit, tally.minute(key_id).sums(now))
    return _amount(limit, tally.of(("key", key_id), limit.period, day))


def _amount(limit: Limit, amounts: Amounts) -> int:
    match limit.unit:
        case "requests":
            return amounts.requests
        case "tokens":
            return amounts.tokens
        case "usd":
            return amounts.cost + amounts.worth


def shown_use(use: LimitUse) -> dict[str, Any]:
    """Return a limit and its use as plain values for JSON.

    Returns:
        ``limit`` (text), ``unit`` (requests, tokens or usd), ``per``, ``amount``, ``used``,
        ``reached``, ``free_at`` (see ``LimitUse``) and ``text``.
    """
    limit = use.limit
    scale = 1e6 if limit.unit == "usd" else 1
    return {
        "limit": limit.text,
        "unit": limit.unit,
        "per": limit.period,
        "amount": limit.amount / scale,
        "used": use.used / scale,
        "reached": use.reached,
        "free_at": use.free_at,
        "text": use.sentence,
    }


def limit_error(
    record: KeyRecord, tally: Tally, day: int, now: float, clock: Callable[[float, float], str]
) -> AppError | None:
    """Return why a key may not be used now: the limit that lasts longest, or None.

    Args:
        record: the key.
        tally: what was used.
        day: today.
        now: epoch seconds.
        clock: renders a time of day for people; takes it and now.
    """
    reached = [
        limit for limit in record.limits if _used(limit, record.id, tally, day, now) >= limit.amount
    ]
    if not reached:
        return None
    uses = (_use(limit, record.id, tally, day, now) for limit in reached)
    last = max(uses, key=lambda use: use.free_at)
    wait_s = max(last.free_at - now, 0.001)
    again = f"in {wait_s:.0f} s" if wait_s < 120 else clock(last.free_at, now)
    return AppError(
        f"The limit of the key {record.label!r} is reached: {last.sentence}.",
        status=429,
        code="key_limit_reached",
        retry_after_s=wait_s,
        hint=f"It can be used again {again}; `dragoman keys edit` changes its limits.",
    )
