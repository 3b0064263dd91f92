"""Keeps one helper program running: started, ready, healthy; started again when it ends.

States::

    off → starting → ready ⇄ unhealthy
           │  ↑        │        │
           │  └─ waiting ←──────┘   (it ended, was too slow, or did not answer any more)
           └──→ failed              (too often in a row)
    any → stopping → off

Between starts the time doubles (``definition.Restart``). A port that somebody else has counts as a
failure of its own: the program is not even started, since whoever has the port would then be taken
for it. Its end is noticed at once; health is asked for once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable

from app.services import child as children
from app.services.child import Child
from app.services.definition import Definition
from app.services.journal import Journal
from app.services.lookout import Fetch, Lookout, ask_health

__all__ = ["Supervisor", "is_taken"]

_log = logging.getLogger("dragoman.services")

_LOOK_S = 0.2
"""While it starts."""


def is_taken(port: int) -> bool:
    """Say whether somebody listens on a loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


class Supervisor(Lookout):
    """One program; see the module.

    Args:
        definition: what to start; asked for anew at each start.
        fetch: for the health call.
        journal: keeps what it prints.
        changed: called after each change of what is seen.
        now: epoch seconds UTC.
    """

    _beginning = "It is being started."
    _ending = "stopping"

    def __init__(
        self,
        definition: Callable[[], Definition],
        fetch: Fetch,
        journal: Journal,
        changed: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(changed, now)
        self._define = definition
        self._fetch = fetch
        self._journal = journal

    # --- its life --------------------------------------------------------------------------------

    async def _look(self) -> None:
        failures = 0
        while True:
            definition = self._define()
            self.starts += 1
            try:
                ready_at, reason = await self._run(definition)
            except OSError as error:
                ready_at, reason = None, f"It cannot be started: {error.strerror or error}."
            stable = ready_at is not None and (
                self._now() - ready_at >= definition.restart.stable_s
            )
            failures = 1 if stable else failures + 1
            delay_s = definition.restart.delay_s(failures)
            self._journal.write(reason)
            if delay_s is None:
                times = "once" if failures == 1 else f"{failures} times in a row"
                _log.error("%s is given up: %s", definition.name, reason)
                self._set("failed", f"{reason} It failed {times} and is not started again.")
                return
            _log.warning("%s is started again in %g s: %s", definition.name, delay_s, reason)
            self._set("waiting", reason, until=self._now() + delay_s)
            await asyncio.sleep(delay_s)

    async def _run(self, definition: Definition) -> tuple[float | None, str]:
        """Start it and stay with it to its end; returns when it was ready, and why it ended."""
        if is_taken(definition.port):
            return None, f"Port {definition.port} is used by another program."
        self._set("starting", "It is being started.")
        self._journal.forget()
        self._journal.write(f"It is started on port {definition.port}.")
        running = await children.start(
            definition.command,
            definition.folder,
            definition.environment,
            definition.first_line(),
            self._journal,
        )
        self.pid = running.pid
        ready_at = None
        try:
            reason = await self._until_ready(definition, running)
            if not reason:
                ready_at = self._now()
                _log.info("%s is ready on port %d", definition.name, definition.port)
                self._set("ready", since=ready_at)
                reason = await self._watch(definition, running, ready_at)
        finally:
            await running.stop(definition.stop_within_s)
            self.pid = None
        return ready_at, reason

    async def _until_ready(self, definition: Definition, running: Child) -> str:
        end = asyncio.get_running_loop().time() + definition.ready_within_s
        trouble = ""
        while asyncio.get_running_loop().time() < end:
            if await running.wait(_LOOK_S):
                return running.describe_end()
            trouble = await self._ask(definition)
            if not trouble:
                # Somebody who took the port meanwhile might have answered.
                return running.describe_end() if running.ended.is_set() else ""
        return f"It was not ready within {definition.ready_within_s:g} s: {trouble}"

    async def _watch(self, definition: Definition, running: Child, ready_at: float) -> str:
        failed = 0
        while True:
            wait_s = definition.check_within_s if failed else definition.check_every_s
            if await running.wait(wait_s):
                return running.describe_end()
            trouble = await self._ask(definition)
            if running.ended.is_set():
                return running.describe_end()
            if not trouble:
                failed = 0
                self._set("ready", since=ready_at)
                continue
            failed += 1
            if failed >= definition.checks:
                return f"It does not answer any more: {trouble}"
            self._set("unhealthy", trouble, since=ready_at)

    async def _ask(self, definition: Definition) -> str:
        return await ask_health(
            self._fetch, definition.probe(), definition.judge, definition.check_within_s
        )
