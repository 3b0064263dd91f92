"""What is seen of one helper program, whoever runs it, and the task that keeps looking."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import ClassVar

from app.errors import AppError
from app.http import HttpReply, HttpRequest, Limits
from app.services.definition import ServiceState
from app.tasks import spawn

__all__ = ["Fetch", "Lookout", "ask_health"]

Fetch = Callable[[HttpRequest, Limits], Awaitable[HttpReply]]
"""Sends a request to the program itself, never through a proxy."""

_MOST_BYTES = 16 * 1024 * 1024


async def ask_health(
    fetch: Fetch, request: HttpRequest, judge: Callable[[HttpReply], str], within_s: float
) -> str:
    """Ask a program how it is; returns what is wrong, empty for nothing."""
    limits = Limits(within_s, within_s, within_s, within_s, _MOST_BYTES)
    try:
        return judge(await fetch(request, limits))
    except AppError as error:
        return error.message


class Lookout(ABC):
    """State, reason and times of a program; what ``_look`` of a subclass sees. Closed by ``stop``.

    Args:
        changed: called after each change of what is seen.
        now: epoch seconds UTC.
    """

    _beginning: ClassVar[str]
    """The reason that is told from the start until something is seen."""
    _ending: ClassVar[ServiceState] = "off"
    """What is seen while it is being stopped."""

    def __init__(self, changed: Callable[[], None], now: Callable[[], float] = time.time) -> None:
        self._changed = changed
        self._now = now
        self._task: asyncio.Task[None] | None = None
        self.state: ServiceState = "off"
        self.reason = ""
        self.since: float | None = None
        """Epoch seconds since when it is ready, or was; None before."""
        self.until: float | None = None
        """Epoch seconds at which something is tried again."""
        self.pid: int | None = None
        self.starts = 0
        """How often it was started."""

    @property
    def running(self) -> bool:
        """Whether it is looked after."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin; does nothing while it runs."""
        if not self.running:
            self.starts = 0
            self.state, self.reason = "starting", self._beginning
            self._task = spawn(self._look(), "service")

    async def stop(self) -> None:
        """Look no more; returns when all that was begun has ended."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            self._set(self._ending)
            task.cancel()
            await asyncio.wait({task})
        self._set("off")

    @abstractmethod
    def _look(self) -> Coroutine[None, None, None]:
        """Look until cancelled, and ``_set`` what is seen."""

    def _set(
        self,
        state: ServiceState,
        reason: str = "",
        *,
        since: float | None = None,
        until: float | None = None,
    ) -> None:
        new = (state, reason, since, until)
        if new == (self.state, self.reason, self.since, self.until):
            return
        self.state, self.reason, self.since, self.until = new
        self._changed()
