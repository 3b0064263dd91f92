"""The only crossing between the desktop's threads and the proxy's asyncio thread.

Calls go in by ``call_soon_threadsafe`` and its relatives; snapshots come out through ``publish``,
at most once a second and only when something changed. The proxy never waits here: ``publish`` has
to return at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, TypeAlias

from app.errors import AppError
from app.gateway.status import Status

if TYPE_CHECKING:
    from app.server.aistudio import StudioShower
    from app.server.places import Shower

__all__ = ["Bridge", "Command", "Program"]

_log = logging.getLogger("dragoman.desktop")

_SLEPT_S = 30.0
"""A look that comes this late was not kept waiting by a busy loop."""

Command: TypeAlias = Callable[[str], Awaitable[str]]
"""Carries an action out on what the target names; see ``menu.Action``. What it returns depends on
the action: an address to show in a window (``dashboard``, ``sign_in``, ``add_account``, ``logs``,
``help``), a new key (``new_key``), else a sentence for the user or nothing. Raises ``AppError``."""


class Program(Protocol):
    """The running proxy as the desktop sees it; everything is called on its loop."""

    @property
    def commands(self) -> Mapping[str, Command]:
        """Return what can be done, by the names of ``menu.ActionName``; the rest is not shown."""
        ...

    def status(self) -> Status:
        """Return what to show now."""
        ...

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` after each change of the status; returns what ends that."""
        ...

    def on_sign_in(self, shower: Shower) -> None:
        """Have the pages of services shown by ``shower``, whoever begins a sign-in."""
        ...

    def on_windows(self, shower: StudioShower) -> None:
        """Have windows on AI Studio shown by ``shower``, and learn from it which are open."""
        ...

    def on_show(self, show: Callable[[], None]) -> None:
        """Call ``show`` when a second start asks this one to show itself; it returns at once."""
        ...

    @property
    def grace_s(self) -> float:
        """Return how long a stop waits for running answers, in seconds."""
        ...

    def woke(self) -> None:
        """Look at everything anew: the computer has slept."""
        ...

    def stop(self) -> None:
        """Begin to shut down."""
        ...


class Bridge:
    """Connects the desktop with a program. States: apart → attached → apart.

    Args:
        publish: takes each new snapshot, on the program's thread.
        interval_s: shortest time between two snapshots.
        refresh_s: a snapshot is looked at this often without a change being told: what depends on
            the time alone, like a window of quota that begins anew, is told by nobody.
        now: epoch seconds. A sleep of the computer is seen by it: where the loop's clock stands
            still meanwhile (Linux, macOS) the two have come apart, elsewhere the look is late.
    """

    def __init__(
        self,
        publish: Callable[[Status], None],
        *,
        interval_s: float = 1.0,
        refresh_s: float = 60.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._publish = publish
        self._interval_s = interval_s
        self._refresh_s = refresh_s
        self._now = now
        self._now_at = 0.0
        self._program: Program | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._last_at = 0.0
        self._last: Status | None = None

    def attach(self, program: Program, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Begin to follow a program; called on its loop, once it listens."""
        self._loop = asyncio.get_running_loop() if loop is None else loop
        self._program = program
        self._last_at, self._now_at = self._loop.time(), self._now()
        self._show()
        self._unsubscribe = program.subscribe(self._changed)

    def detach(self) -> None:
        """Leave the program alone; called on its loop, or when that has ended."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()
        self._program = self._loop = self._unsubscribe = self._timer = None

    @property
    def actions(self) -> frozenset[str]:
        """What the program carries out; from any thread."""
        program = self._program
        return frozenset() if program is None else frozenset(program.commands)

    @property
    def grace_s(self) -> float:
        """How long a stop waits for running answers; from any thread."""
        program = self._program
        return 0.0 if program is None else program.grace_s

    def call(self, name: str, target: str = "") -> Future[str]:
        """Have the program carry an action out; from any thread.

        Returns:
            What the command returns or raises; an ``AppError`` ``not_running`` when there is no
            program, or it does not do that.
        """
        program, loop = self._program, self._loop
        command = None if program is None else program.commands.get(name)
        if command is None or loop is None or loop.is_closed():
            return _failed(AppError("Dragoman is not running.", code="not_running", status=503))
        called = _awaited(command, target)
        try:
            return asyncio.run_coroutine_threadsafe(called, loop)
        except RuntimeError:  # the loop was closed just now
            called.close()
            return _failed(AppError("Dragoman is stopping.", code="not_running", status=503))

    def stop(self) -> bool:
        """Have the program shut down; from any thread. Returns whether there is one."""
        program, loop = self._program, self._loop
        if program is None or loop is None:
            return False
        try:
            loop.call_soon_threadsafe(program.stop)
        except RuntimeError:  # the loop has just been closed: it is stopping already
            return False
        return True

    def refresh(self) -> None:
        """Look at the status soon; from any thread."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it was closed just now
                loop.call_soon_threadsafe(self._changed)

    # --- on the program's loop -------------------------------------------------------------------

    def _changed(self) -> None:
        loop = self._loop
        if loop is None:
            return
        due = max(loop.time(), self._last_at + self._interval_s)
        if self._timer is None or due < self._due:
            self._wait_until(due)

    def _wait_until(self, due: float) -> None:
        assert self._loop is not None  # noqa: S101 - callers have looked
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, self._show)

    def _show(self) -> None:
        loop, program = self._loop, self._program
        if loop is None or program is None:
            return
        slept = self._has_slept(loop.time())
        self._last_at, self._now_at = loop.time(), self._now()
        self._wait_until(self._last_at + self._refresh_s)
        if slept:
            _log.info("the computer has slept")
            program.woke()
        status = program.status()
        if status != self._last:
            self._last = status
            try:
                self._publish(status)
            except Exception:  # the desktop's fault must not become the proxy's
                _log.exception("the desktop could not take the new status")

    def _has_slept(self, at: float) -> bool:
        """Say whether more time has passed since the last look than there was to wait."""
        passed = max(at - self._last_at, self._now() - self._now_at)
        return passed > self._refresh_s + _SLEPT_S


async def _awaited(command: Command, target: str) -> str:
    return await command(target)


def _failed(error: AppError) -> Future[str]:
    future: Future[str] = Future()
    future.set_exception(error)
    return future
