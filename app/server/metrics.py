"""The levels beside the ledger's counters on ``/metrics``: what is so right now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, get_args

from app.accounts.roster import AccountState, Health
from app.ledger.metrics import Gauge
from app.ledger.writer import WriterState

__all__ = ["AccountLevel", "CacheLevel", "gauges"]

_MOST_ACCOUNTS: Final = 100
_MOST_WINDOWS: Final = 8
"""Accounts, and windows of each, that become labels; who has more looks at ``/v1/quota``."""


@dataclass(frozen=True, slots=True)
class AccountLevel:
    """One account now."""

    id: str
    state: AccountState
    left_percent: float | None = None
    """Of its tightest window; None where nobody knows."""
    windows: Mapping[str, float] = field(default_factory=dict)
    """Name of a quota window to the percent left of it."""


@dataclass(frozen=True, slots=True)
class CacheLevel:
    """The cache of whole answers now; counts since the start."""

    answers: int = 0
    size_bytes: int = 0
    hits: int = 0
    misses: int = 0


def gauges(
    *,
    version: str,
    running: int,
    uptime_s: float,
    ledger: WriterState,
    accounts: Iterable[AccountLevel],
    now: float,
    cache: CacheLevel | None = None,
    bodies_waiting: int = 0,
) -> list[Gauge]:
    """Return the levels.

    Args:
        version: of the program.
        running: requests being served.
        uptime_s: seconds since the start.
        ledger: how its writing goes.
        accounts: all of them, the demo left out; the first hundred count.
        now: epoch seconds.
        cache: of whole answers.
        bodies_waiting: prompts and answers that are still to be written.
    """
    shown = list(accounts)[:_MOST_ACCOUNTS]
    cache = cache or CacheLevel()
    return [
        Gauge("build_info", "1, with the version", ("version",), (((version,), 1.0),)),
        _single("requests_running", "Requests being served", running),
        _single("uptime_seconds", "Seconds since the start", uptime_s),
        _single("ledger_waiting", "Entries of the ledger that are not yet written", ledger.waiting),
        _single("ledger_written", "Entries of the ledger written since the start", ledger.written),
        _single("ledger_dropped", "Entries lost for want of room", ledger.dropped),
        _single("ledger_refused", "Entries that the database would not take", ledger.refused),
        _single("ledger_ok", "1 while the ledger can be written", ledger.name == "ok"),
        _single("bodies_waiting", "Prompts and answers that are not yet written", bodies_waiting),
        _single("answer_cache_answers", "Answers in the cache of whole answers", cache.answers),
        _single("answer_cache_bytes", "Memory that they take", cache.size_bytes),
        _single("answer_cache_hits", "Requests answered from it since the start", cache.hits),
        _single("answer_cache_misses", "Requests that it could have answered", cache.misses),
        *_accounts(shown, now),
    ]


def _accounts(shown: list[AccountLevel], now: float) -> list[Gauge]:
    states: tuple[str, ...] = get_args(Health)
    return [
        Gauge(
            "account_ready",
            "1 while an account can be asked",
            ("account",),
            tuple(((one.id,), float(one.state.health == "ready")) for one in shown),
        ),
        Gauge(
            "account_state",
            "1 for the state that an account is in, 0 for the others",
            ("account", "state"),
            tuple(
                ((one.id, name), float(one.state.health == name))
                for one in shown
                for name in states
            ),
        ),
        Gauge(
            "account_cooldown_seconds",
            "Seconds until an account that cools down is asked again; 0 for all others",
            ("account",),
            tuple(((one.id,), _cooldown_s(one.state, now)) for one in shown),
        ),
        Gauge(
            "account_left_percent",
            "What is left of an account's tightest window",
            ("account",),
            tuple(((one.id,), one.left_percent) for one in shown if one.left_percent is not None),
        ),
        Gauge(
            "quota_left_percent",
            "What is left of each quota window of an account",
            ("account", "window"),
            tuple(
                ((one.id, name[:60]), left)
                for one in shown
                for name, left in list(one.windows.items())[:_MOST_WINDOWS]
            ),
        ),
    ]


def _cooldown_s(state: AccountState, now: float) -> float:
    if state.health != "cooling" or state.until is None:
        return 0.0
    return max(0.0, state.until - now)


def _single(name: str, meaning: str, value: float) -> Gauge:
    return Gauge(name, meaning, values=(((), float(value)),))
