"""When a failed call is worth another try at the same account, and after how long (pure).

Only before anything of an answer was sent. Another account comes first: asking again is for the
last candidate of a step, and for a failure that usually passes within seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.canonical.failure import Failure, FailureKind

__all__ = ["RetryPolicy"]

_PASSING: frozenset[FailureKind] = frozenset(("rate_limit", "overloaded", "server", "unavailable"))
"""A time-out is not among them: the service may still be at work on the call."""
_LASTING = frozenset(("upstream_protocol", "upstream_redirect"))
"""Codes of what stays until somebody changes the settings."""
_LONGEST_SHIFT = 30


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently; times in seconds."""

    attempts: int = 1
    """Calls of one account, the first included."""
    first_wait_s: float = 0.5
    longest_wait_s: float = 8.0
    budget_s: float = 20.0
    """No try begins later than this after the request came."""

    def wait_s(self, failure: Failure, tried: int, elapsed_s: float, random: float) -> float | None:
        """Return how long to wait before the same account is asked again; None: it is not.

        The wait doubles with each try up to its bound and is drawn from its upper half, so that
        callers who failed together do not come back together. A time that the service states is
        kept to where the budget allows it, and never cut short.

        Args:
            failure: of the last try.
            tried: how often the account was asked, 1 or more.
            elapsed_s: since the request came.
            random: from 0 up to 1.
        """
        if failure.final or failure.kind not in _PASSING or failure.scope == "request":
            return None
        if failure.code in _LASTING:
            return None
        if tried >= self.attempts:
            return None
        step = min(self.first_wait_s * 2.0 ** min(tried - 1, _LONGEST_SHIFT), self.longest_wait_s)
        wait = step / 2 + random * step / 2
        stated = failure.retry_after_s
        if stated is not None:
            if stated > self.longest_wait_s:
                return None
            wait = max(wait, stated)
        return wait if elapsed_s + wait <= self.budget_s else None
