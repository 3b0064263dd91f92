"""A helper program that the user runs: nothing is started or stopped, its health is looked at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from app.http import HttpReply, HttpRequest
from app.services.definition import ServiceState
from app.services.supervisor import Fetch, ask_health
from app.tasks import spawn

__all__ = ["Outside"]


class Outside:
    """Asks the program once a minute how it is. States: off → starting → ready ⇄ unhealthy → off.

    Args:
        probe: makes the health call.
        judge: says what is wrong with its answer.
        fetch: sends it.
        changed: called after each change of what is seen.
        now: epoch seconds UTC.
        every_s: how often it is asked.
        within_s: how long it may take to answer.
    """

    def __init__(
        self,
        probe: Callable[[], HttpRequest],
        judge: Callable[[HttpReply], str],
        fetch: Fetch,
        changed: Callable[[], None],
        now: Callable[[], float] = time.time,
        *,
        every_s: float = 60.0,
        within_s: float = 5.0,
    ) -> None:
        self._probe = probe
        self._judge = judge
        self._fetch = fetch
        self._changed = changed
        self._now = now
        self._every_s = every_s
        self._within_s = within_s
        self._task: asyncio.Task[None] | None = None
        self.state: ServiceState = "off"
        self.reason = ""
        self.since: float | None = None
        self.until: float | None = None
        self.pid: int | None = None
        self.starts = 1

    @property
    def running(self) -> bool:
        """Whether it is looked at."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to look; does nothing while it does."""
        if not self.running:
            self.state, self.reason = "starting", "It is being asked how it is."
            self._task = spawn(self._look(), "service outside")

    async def stop(self) -> None:
        """Look no more."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})
        self._set("off")

    def _set(
        self,
        state: ServiceState,
        reason: str = "",
        since: float | None = None,
        until: float | None = None,
    ) -> None:
        changed = (state, reason) != (self.state, self.reason)
        self.state, self.reason, self.since, self.until = state, reason, since, until
        if changed:
            self._changed()

    async def _look(self) -> None:
        while True:
            trouble = await ask_health(self._fetch, self._probe(), self._judge, self._within_s)
            if trouble:
                self._set("unhealthy", trouble, until=self._now() + self._every_s)
            else:
                self._set("ready", since=self.since or self._now())
            await asyncio.sleep(self._every_s)
