"""The dashboard's live feed: what happens, as one stream of JSON lines per page that looks.

A line is an object with ``kind``:

- ``status``: ``status`` is the whole snapshot (``gateway.status.Status``); on each change, at most
  once a second.
- ``requests``: ``changed`` are rows (``gateway.recent.Recent.rows``) that are new or have changed,
  at most four times a second. The first line has all that are remembered.
- ``log``: ``lines`` are records, each with ``at``, ``level``, ``name`` and ``text``; secrets are
  cut out as in the log file. ``lost`` counts those that a slow reader missed.
- ``beat``: a sign of life when nothing else was sent for a while.

Nothing is collected for nobody: the log's last lines are kept always, all else is asked for when a
page looks. A page that reads slowly is sent the newest state later, and no backlog builds up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack
from typing import Any

import msgspec

from app.gateway.recent import Recent
from app.gateway.status import Status
from app.log import scrub

__all__ = ["Live", "LogLines"]

_PACE_S = 0.25
_STATUS_PACE_S = 1.0
_STATUS_LOOK_S = 60.0
"""What changes with time alone, such as a window of quota that begins anew, is told by nobody."""
_BEAT_S = 15.0
_KEPT_LINES = 500
_MAX_READERS = 16
_LONGEST_TEXT = 4_000


class LogLines(logging.Handler):
    """Keeps the last records of the log, redacted; ``install`` puts it on the root logger.

    Records come from any thread.
    """

    def __init__(self, keep: int = _KEPT_LINES) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._lines: deque[dict[str, Any]] = deque(maxlen=keep)
        self._count = 0
        self._told: Callable[[], None] | None = None

    def install(self) -> Callable[[], None]:
        """Begin to listen; returns what ends that."""
        root = logging.getLogger()
        root.addHandler(self)
        return lambda: root.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        try:
            text = record.getMessage()
        except Exception as error:  # as in the log file: a wrong format must not break its caller
            text = f"{record.msg!s} (its arguments cannot be shown: {type(error).__name__})"
        if record.exc_info and record.exc_info[1] is not None:
            error_type = type(record.exc_info[1]).__name__
            text += f"\n{error_type}: {record.exc_info[1]} (the log file has the traceback)"
        line = {
            "at": record.created,
            "level": record.levelname.lower(),
            "name": record.name,
            "text": scrub(text)[:_LONGEST_TEXT],
        }
        with self._guard:
            self._lines.append(line)
            self._count += 1
        if self._told is not None:
            self._told()

    def tell(self, told: Callable[[], None] | None) -> None:
        """Call ``told`` after each record, on whatever thread it came from; None ends that."""
        self._told = told

    def since(self, count: int) -> tuple[int, int, list[dict[str, Any]]]:
        """Return the records after the first ``count`` of all.

        Returns:
            How many there were in all, how many of the new ones are no longer kept, and the rest.
        """
        with self._guard:
            fresh = self._count - count
            kept = min(fresh, len(self._lines))
            lines = list(self._lines)[len(self._lines) - kept :] if kept else []
            return self._count, fresh - kept, lines


class Live:
    """Feeds every page that looks. States: open → closed.

    Args:
        recent: the requests.
        status: returns what to show now.
        subscribe: calls its argument after each change of the status; returns what ends that.
        lines: the log's last records.
    """

    def __init__(
        self,
        recent: Recent,
        status: Callable[[], Status],
        subscribe: Callable[[Callable[[], None]], Callable[[], None]],
        lines: LogLines,
    ) -> None:
        self.recent = recent
        self.status = status
        self.subscribe = subscribe
        self.lines = lines
        self._readers: set[_Reader] = set()
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether no further page may look."""
        return self._closed or len(self._readers) >= _MAX_READERS

    async def feed(self, alive: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
        """Yield pieces of the stream, each of whole lines, until ``close`` or the reader's end.

        Args:
            alive: asked at each sign of life whether the reader may go on looking.
        """
        loop = asyncio.get_running_loop()
        reader = _Reader(self, loop)
        with ExitStack() as stack:
            self._readers.add(reader)
            stack.callback(self._leave, reader)
            stack.callback(self.recent.watch(reader.wake))
            stack.callback(self.subscribe(reader.status_changed))
            self.lines.tell(self._log_grew)
            while not self._closed:
                if piece := reader.read():
                    yield piece
                elif loop.time() - reader.wrote_at >= _BEAT_S:
                    if not alive():
                        return
                    reader.wrote_at = loop.time()
                    yield b'{"kind":"beat"}\n'
                await reader.wait(busy=self.recent.busy)

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for reader in tuple(self._readers):
            reader.wake()

    def _leave(self, reader: _Reader) -> None:
        self._readers.discard(reader)
        if not self._readers:
            self.lines.tell(None)

    def _log_grew(self) -> None:
        for reader in tuple(self._readers):
            reader.wake_from_any_thread()


class _Reader:
    """What one page has been told."""

    def __init__(self, live: Live, loop: asyncio.AbstractEventLoop) -> None:
        self._live = live
        self._loop = loop
        self._event = asyncio.Event()
        self._rows: dict[str, dict[str, Any]] = {}
        self._status: Status | None = None
        self._status_at = 0.0
        self._status_due = 0.0
        self._lines = 0
        self._first = True
        self.wrote_at = loop.time()

    def wake(self) -> None:
        """Look soon; on the loop's thread."""
        self._event.set()

    def wake_from_any_thread(self) -> None:
        """Look soon."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)

    def status_changed(self) -> None:
        """Look at the status soon."""
        self._status_due = min(self._status_due, self._status_at + _STATUS_PACE_S)
        self._event.set()

    async def wait(self, *, busy: bool) -> None:
        """Wait for news, and at least as long as keeps to the pace."""
        self._event.clear()
        await asyncio.sleep(_PACE_S)
        if busy or self._event.is_set():
            return
        now = self._loop.time()
        until = min(self.wrote_at + _BEAT_S, max(self._status_due, now))
        try:
            await asyncio.wait_for(self._event.wait(), max(0.0, until - now))
        except TimeoutError:
            return

    def read(self) -> bytes:
        """Return the lines of what is new; empty for nothing."""
        parts: list[dict[str, Any]] = []
        now = self._loop.time()
        if now >= self._status_due:
            self._status_due = now + _STATUS_LOOK_S
            status = self._live.status()
            if status != self._status:
                self._status = status
                self._status_at = now
                parts.append({"kind": "status", "status": status})
        rows = {row["id"]: row for row in self._live.recent.rows()}
        changed = [row for name, row in rows.items() if row != self._rows.get(name)]
        self._rows = rows
        if changed or self._first:
            parts.append({"kind": "requests", "changed": changed})
        self._lines, lost, lines = self._live.lines.since(self._lines)
        if lines or self._first:
            parts.append({"kind": "log", "lines": lines, "lost": 0 if self._first else lost})
        self._first = False
        if parts:
            self.wrote_at = now
        return b"".join(msgspec.json.encode(part) + b"\n" for part in parts)
