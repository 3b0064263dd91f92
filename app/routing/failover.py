"""What a failure means for the account that had it: the policy, as pure functions.

Sources: the field's reports gathered in ``quota-and-errors`` (2026-08): a single network hiccup
must not block the only account for a minute; a stated reset is believed; a later reset never
shortens a running one; parallel failures of one window count once; nothing is retried after "not
allowed" or "bad request".
"""

from __future__ import annotations

from dataclasses import dataclass

from app.canonical.failure import Failure, FailureKind
from app.errors import Retry

__all__ = ["MAX_COOLDOWN_S", "Cooldown", "cooldown_for", "may_try_next"]

MAX_COOLDOWN_S = 7 * 86_400 + 3_600.0
"""No stated reset is believed beyond a week and an hour."""

_FIRST_S: dict[FailureKind, float] = {
    "authentication": 1_800.0,
    "payment": 1_800.0,
    "permission": 1_800.0,
    "not_found": 600.0,
    "rate_limit": 1.0,
    "quota": 60.0,
    "overloaded": 5.0,
    "server": 5.0,
    "unavailable": 5.0,
    "timeout": 5.0,
}
_SOFT: frozenset[FailureKind] = frozenset(("overloaded", "server", "unavailable", "timeout"))
_LAST_S: dict[FailureKind, float] = {
    "rate_limit": 1_800.0,
    "quota": 1_800.0,
    "overloaded": 60.0,
    "server": 60.0,
    "unavailable": 60.0,
    "timeout": 60.0,
}


@dataclass(frozen=True, slots=True)
class Cooldown:
    """For how long an account, or one model on it, is left alone."""

    seconds: float
    whole_account: bool
    """False: only the model that failed."""
    soft: bool = False
    """Nothing says that the account cannot serve: it may be asked again where nobody else can."""


def may_try_next(failure: Failure) -> bool:
    """Say whether another account may be asked after this failure."""
    return not failure.final and failure.retry is not Retry.NEVER


def cooldown_for(failure: Failure, level: int) -> Cooldown | None:
    """Return the pause that a failure asks for, or None when it says nothing of the account.

    Args:
        failure: what happened.
        level: how many cooldowns in a row this account and model already had without a success;
            each doubles the pause where no reset was stated.
    """
    if failure.final:
        return Cooldown(MAX_COOLDOWN_S, whole_account=True)
    first = _FIRST_S.get(failure.kind)
    if first is None or failure.retry is Retry.NEVER or failure.scope == "request":
        return None
    whole = failure.scope == "account"
    if failure.retry_after_s is not None:
        return Cooldown(min(max(1.0, failure.retry_after_s), MAX_COOLDOWN_S), whole)
    last = _LAST_S.get(failure.kind, first)
    seconds = min(first * 2.0 ** min(level, 16), last)
    return Cooldown(seconds, whole, soft=failure.kind in _SOFT)
