"""What runs on each account and how much it served lately, for the order among accounts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Traffic"]

_HALF_S = 1_800.0
"""A call counts half after this long, so that what an account did yesterday is forgotten."""


@dataclass(slots=True)
class _Load:
    running: int = 0
    used: float = 0.0
    at: float = 0.0

    def used_at(self, now: float) -> float:
        """Return the calls, older ones counting less."""
        return float(self.used * 0.5 ** (max(0.0, now - self.at) / _HALF_S))


@dataclass(slots=True)
class Traffic:
    """State: calls of each account, and how many calls chose among a provider's accounts.

    ``now`` is a clock in seconds that nobody sets.
    """

    now: Callable[[], float]
    _loads: dict[str, _Load] = field(default_factory=dict)
    _turns: dict[str, int] = field(default_factory=dict)

    def began(self, account_id: str) -> None:
        """Count a call that begins."""
        load = self._loads.setdefault(account_id, _Load())
        now = self.now()
        load.used, load.at = load.used_at(now) + 1.0, now
        load.running += 1

    def ended(self, account_id: str) -> None:
        """Count its end."""
        load = self._loads.get(account_id)
        if load is not None and load.running > 0:
            load.running -= 1

    def running(self, account_id: str) -> int:
        """Return how many calls run on an account."""
        load = self._loads.get(account_id)
        return 0 if load is None else load.running

    def used(self, account_id: str) -> float:
        """Return how many calls an account had lately; one of half an hour ago counts half."""
        load = self._loads.get(account_id)
        return 0.0 if load is None else round(load.used_at(self.now()), 2)

    def turn(self, provider_id: str) -> int:
        """Return how many calls chose among a provider's accounts so far."""
        return self._turns.get(provider_id, 0)

    def chose(self, provider_id: str) -> None:
        """Count a call that chose among a provider's accounts."""
        self._turns[provider_id] = self._turns.get(provider_id, 0) + 1

    def keep_only(self, account_ids: frozenset[str]) -> None:
        """Forget the accounts that are no more; those on which something runs stay."""
        for account_id in self._loads.keys() - account_ids:
            if not self._loads[account_id].running:
                del self._loads[account_id]
