"""How fast accounts are used: so many calls at once, and so many begun in a minute.

A subscription is sold for one person. What one person with a few agents does is well within the
limits here; a program that runs wild is not, and is held back before the service takes the account
for something else than a person. Accounts with keys pay for what they use and have no pace unless
the settings give them one.

A call that finds no room goes to the next account that has some. Where none has, it waits in order:
whoever came first is served first by whichever of its accounts has room first. ``Meter`` decides and
knows no clock; ``Pacer`` owns the meters and those who wait, and is told of every end by
``Permit.release``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.accounts.account import Account
from app.accounts.flow import Timer
from app.config import Pace as Written
from app.errors import AccountError

__all__ = ["SUBSCRIPTION", "Meter", "Pace", "Pacer", "Permit"]

_WINDOW_S = 60.0
_LONGEST_WAIT_S = 15.0
"""A client that waits longer does better to be told when to come back."""
_LOOK_AGAIN_S = 5.0
"""Nobody knows when a running answer ends; most parts of an agent's work take about this long."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Limits of one account; None: no limit."""

    at_once: int | None = None
    """Calls that run at the same time."""
    per_minute: int | None = None
    """Calls begun within any 60 seconds."""


SUBSCRIPTION: Final = Pace(at_once=6, per_minute=60)
"""For plans of one person. Six at once: an agent, four helpers of it, and the small call beside them
that finds a title. Sixty a minute: an agent that calls one quick tool after the other begins one
every two or three seconds, and two may do so at a time. No service publishes a figure."""


class Meter:
    """What one account does now, and whether it may begin another call. No clock, no waiting."""

    __slots__ = ("_begun", "pace", "running")

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.running = 0
        self._begun: deque[float] = deque()

    def wait_s(self, now: float) -> float | None:
        """Return for how long no call may begin: 0 for not at all, None until one ends.

        Args:
            now: seconds of a clock that nobody sets.
        """
        if self.pace.at_once is not None and self.running >= self.pace.at_once:
            return None
        return self.turn_s(now)

    def turn_s(self, now: float) -> float:
        """Return the seconds until the minute has room, whatever runs."""
        while self._begun and self._begun[0] <= now - _WINDOW_S:
            self._begun.popleft()
        most = self.pace.per_minute
        if most is None or len(self._begun) < most:
            return 0.0
        # A limit that was lowered leaves more in the window than may be there.
        return self._begun[len(self._begun) - most] + _WINDOW_S - now

    def begin(self, now: float) -> None:
        """Note that a call begins."""
        self.running += 1
        if self.pace.per_minute is not None:
            self._begun.append(now)

    def end(self) -> None:
        """Note that one has ended."""
        self.running -= 1


class Permit:
    """The room that one call takes; ``release`` it in every case, once or more often."""

    __slots__ = ("_meter", "_pacer")

    def __init__(self, pacer: Pacer, meter: Meter) -> None:
        self._pacer = pacer
        self._meter: Meter | None = meter

    def release(self) -> None:
        """Let go of it."""
        meter, self._meter = self._meter, None
        if meter is not None:
            meter.end()
            self._pacer.look()


@dataclass(slots=True)
class _Waiter:
    meters: Sequence[Meter]
    """Those that will do, best first."""
    came: asyncio.Future[int | None]
    """Which of them has room; None when the time is over."""


def _call_later(delay_s: float, call: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, call)


@dataclass(slots=True)
class Pacer:
    """Gives out permits; the one owner of who runs and who waits.

    Args:
        now: seconds of a clock that nobody sets.
        call_later: sets a timer; takes seconds and what to call.
        written: what the settings say, by provider; may be swapped at any time.
    """

    now: Callable[[], float] = time.monotonic
    call_later: Callable[[float, Callable[[], None]], Timer] = _call_later
    written: Mapping[str, Written] = field(default_factory=dict)
    _meters: dict[str, Meter] = field(default_factory=dict)
    _waiters: list[_Waiter] = field(default_factory=list)
    _timer: Timer | None = None

    def pace_of(self, account: Account) -> Pace | None:
        """Return an account's pace, or None when it has none."""
        provider = account.provider
        written = self.written.get(provider.id)
        if written is None:
            return SUBSCRIPTION if provider.subscription else None
        default = SUBSCRIPTION if provider.subscription else Pace()
        pace = Pace(
            default.at_once if written.at_once is None else written.at_once,
            default.per_minute if written.per_minute is None else written.per_minute,
        )
        return None if pace == Pace() else pace

    def claim(self, account: Account) -> Permit | bool:
        """Return a permit, True for an account that needs none, or False: it has no room now."""
        pace = self.pace_of(account)
        if pace is None:
            return True
        if self._waiters:
            self.look()  # those who wait come first
        meter = self._meter(account, pace)
        now = self.now()
        if meter.wait_s(now) != 0.0:
            return False
        meter.begin(now)
        return Permit(self, meter)

    async def wait(self, accounts: Sequence[Account]) -> tuple[int, Permit] | None:
        """Wait for the first of these accounts that has room.

        Args:
            accounts: all of them have a pace; best first.

        Returns:
            Its place in ``accounts`` and the permit, or None after 15 seconds.
        """
        meters = [self._meter(one, self.pace_of(one) or Pace()) for one in accounts]
        waiter = _Waiter(meters, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        limit = self.call_later(_LONGEST_WAIT_S, lambda: self._give_up(waiter))
        self.look()
        try:
            place = await waiter.came
        except BaseException:
            # The client may leave in the moment in which its turn has come.
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif waiter.came.done() and not waiter.came.cancelled():
                given = waiter.came.result()
                if given is not None:
                    Permit(self, meters[given]).release()
            raise
        finally:
            limit.cancel()
        return None if place is None else (place, Permit(self, meters[place]))

    def look(self) -> None:
        """Give what room there is to those who wait, in order."""
        now = self.now()
        for waiter in tuple(self._waiters):
            for place, meter in enumerate(waiter.meters):
                if meter.wait_s(now) == 0.0:
                    meter.begin(now)
                    self._waiters.remove(waiter)
                    waiter.came.set_result(place)
                    break
        self._arm(now)

    def refusal(
        self, accounts: Sequence[Account], model: str, *, show_labels: bool
    ) -> AccountError:
        """Return the error for a call that no account has room for.

        Args:
            accounts: who could serve it; all have a pace.
            model: as the client named it.
            show_labels: False names providers only.
        """
        now = self.now()
        lines, waits, sections = [], [], []
        for account in accounts:
            pace = self.pace_of(account) or Pace()
            meter = self._meter(account, pace)
            late_s = meter.turn_s(now)
            name = account.label if show_labels else account.provider.id
            full = meter.wait_s(now) is None
            lines.append(
                f"{name}: as many calls run as may at once, {pace.at_once}"
                if full
                else f"{name}: as many calls were begun as may in a minute, {pace.per_minute}"
            )
            waits.append(max(late_s, _LOOK_AGAIN_S) if full else late_s)
            sections.append(f"providers.{account.provider.id}.pace")
        told = "; ".join(dict.fromkeys(lines))
        return AccountError(
            f"No account has room for another call to {model} right now ({told}).",
            hint=f"{' or '.join(dict.fromkeys(sections))} in the settings says how much is allowed.",
            status=429,
            code="pace_reached",
            retry_after_s=max(1.0, min(waits)),
        )

    def _meter(self, account: Account, pace: Pace) -> Meter:
        meter = self._meters.get(account.id)
        if meter is None:
            meter = self._meters[account.id] = Meter(pace)
        meter.pace = pace
        return meter

    def _give_up(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            waiter.came.set_result(None)

    def _arm(self, now: float) -> None:
        """Look again when a minute has room; the end of a call is told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = [meter.wait_s(now) for waiter in self._waiters for meter in waiter.meters]
        soonest = min((wait for wait in waits if wait is not None), default=None)
        if soonest is not None:
            self._timer = self.call_later(soonest, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self.look()
