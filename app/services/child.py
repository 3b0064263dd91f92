"""One process that we started: its end is noticed at once, and nothing of it stays behind.

It runs in a process group of its own. Two threads belong to it: one keeps what it prints, one
waits for its end; so it works on every system and under every event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.services.journal import Journal

__all__ = ["Child", "start"]

_log = logging.getLogger("dragoman.services")

_READER_S = 2.0
"""What it printed last is read within this time, once it and all that it started have ended."""


async def start(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    first_line: bytes,
    journal: Journal,
) -> Child:
    """Start a process.

    Args:
        command: program and arguments.
        folder: it runs there.
        environment: all of it.
        first_line: written to its standard input, which then stays open until it is stopped.
        journal: keeps what it prints.

    Raises:
        OSError: it cannot be started.
    """
    loop = asyncio.get_running_loop()

    def launch() -> Child:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        process = subprocess.Popen(  # noqa: S603 - a row of our own table
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **_apart(),
        )
        child = Child(process, journal, loop)
        child.tell(first_line)
        return child

    launching = asyncio.ensure_future(asyncio.to_thread(launch))
    try:
        return await asyncio.shield(launching)
    except asyncio.CancelledError:
        with suppress(OSError):
            await (await launching).stop(0.0)
        raise


def _apart() -> dict[str, Any]:
    """Return the arguments that give the child a group of its own, without a console."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return {"creationflags": flags}
    return {"start_new_session": True}


class Child:
    """A started process. States: running → ended (by itself or by ``stop``)."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        journal: Journal,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.pid = process.pid
        self.code: int | None = None
        """How it ended: an exit code, or the negative number of a signal."""
        self.ended = asyncio.Event()
        self._process = process
        self._journal = journal
        self._loop = loop
        self._reader = threading.Thread(target=self._read, name="service log", daemon=True)
        self._reader.start()
        threading.Thread(target=self._await_end, name="service end", daemon=True).start()

    # --- on threads of their own -----------------------------------------------------------------

    def tell(self, line: bytes) -> None:
        """Write to its standard input; one that does not read any more is let be."""
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - it was asked for
        with suppress(OSError, ValueError):
            pipe.write(line)
            pipe.flush()

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - it was asked for
        with pipe:
            for line in pipe:
                try:
                    self._journal.write(line.decode("utf-8", "replace"))
                except OSError as error:  # a full disk must not stop the service's own output
                    _log.warning("what a service prints cannot be kept: %s", error)

    def _await_end(self) -> None:
        if sys.platform != "win32":
            # While it is not yet taken leave of, its number and its group are nobody else's.
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self._signal_group(signal.SIGKILL)
        self.code = self._process.wait()
        self._reader.join(_READER_S)
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self.ended.set)

    def _signal_group(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    # --- on the loop -----------------------------------------------------------------------------

    async def wait(self, limit_s: float) -> bool:
        """Wait for its end, at most so long; returns whether it has ended."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), limit_s)
        return self.ended.is_set()

    async def stop(self, within_s: float) -> None:
        """Ask it to end, then kill it with all that it started; returns when it is gone."""
        if self.ended.is_set():
            return
        self._ask_to_end()
        if not await self.wait(within_s):
            self._journal.write(f"It did not end within {within_s:g} s and is killed.")
            self._kill()
            await self.ended.wait()

    def _ask_to_end(self) -> None:
        if sys.platform == "win32":
            self._process.terminate()
        else:
            self._signal_group(signal.SIGTERM)

    def _kill(self) -> None:
        if sys.platform == "win32":
            self._process.kill()
        else:
            self._signal_group(signal.SIGKILL)

    def describe_end(self) -> str:
        """Return how it ended, in words, with the last line that it printed."""
        code = self.code
        if code is not None and code < 0:
            with suppress(ValueError):
                return self._with_last(f"It was ended by {signal.Signals(-code).name}")
        return self._with_last(f"It ended with exit code {code}")

    def _with_last(self, text: str) -> str:
        last = self._journal.last
        return f"{text}: {last[:200]}" if last else f"{text}."
