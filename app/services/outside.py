"""A helper program that the user runs: nothing is started or stopped, its health is looked at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from app.http import HttpReply, HttpRequest
from app.services.lookout import Fetch, Lookout, ask_health

__all__ = ["Outside"]


class Outside(Lookout):
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

    _beginning = "It is being asked how it is."

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
        super().__init__(changed, now)
        self._probe = probe
        self._judge = judge
        self._fetch = fetch
        self._every_s = every_s
        self._within_s = within_s

    async def _look(self) -> None:
        while True:
            trouble = await ask_health(self._fetch, self._probe(), self._judge, self._within_s)
            if trouble:
                self._set("unhealthy", trouble, until=self._now() + self._every_s)
            else:
                self._set("ready", since=self.since or self._now())
            await asyncio.sleep(self._every_s)
