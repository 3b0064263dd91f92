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
from contextlib import ExitStack, suppress
from typing import Any

import msgspec

from app.gateway.recent import Recent
from app.gateway.status import Status
from app.log import scrub

__all__ = ["Feed", "Live", "LogLines"]

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
        told = self._told  # ended by another thread, maybe between two looks
        if told is not None:
            told()

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
        self._readers: set[Feed] = set()
        self.closed = False

    @property
    def full(self) -> bool:
        """Whether no further page may look."""
        return self.closed or len(self._readers) >= _MAX_READERS

    def feed(self, alive: Callable[[], bool]) -> Feed:
        """Return a stream for a page that looks.

        Args:
            alive: asked at each sign of life whether the page may go on looking.
        """
        return Feed(self, alive)

    def close(self) -> None:
        """End all streams."""
        self.closed = True
        for reader in tuple(self._readers):
            reader.leave()

    def enter(self, feed: Feed) -> None:
        """Count a reader in."""
        self._readers.add(feed)
        self.lines.tell(self._log_grew)

    def depart(self, feed: Feed) -> None:
        """Count a reader out."""
        self._readers.discard(feed)
        if not self._readers:
            self.lines.tell(None)

    def _log_grew(self) -> None:
        for reader in tuple(self._readers):
            reader.wake_from_any_thread()


class Feed:
    """One page's stream, and what the page has been told. States: open → left."""

    def __init__(self, live: Live, alive: Callable[[], bool]) -> None:
        self._live = live
        self._alive = alive
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        self._event = asyncio.Event()
        """Set when there may be news; cleared before each look, so that none is missed."""
        self._rows: dict[str, dict[str, Any]] = {}
        self._status: Status | None = None
        self._status_at = 0.0
        self._status_due = 0.0
        self._lines = 0
        self._first = True
        self._wrote_at = self._loop.time()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield pieces of the stream, each of whole lines, until the page or the program leaves."""
        live = self._live
        with ExitStack() as stack:
            live.enter(self)
            stack.callback(live.depart, self)
            stack.callback(live.recent.watch(self.wake))
            stack.callback(live.subscribe(self._status_changed))
            while not self._gone.is_set():
                self._event.clear()
                if piece := self._read():
                    yield piece
                elif self._loop.time() - self._wrote_at >= _BEAT_S:
                    if not self._alive():
                        return
                    self._wrote_at = self._loop.time()
                    yield b'{"kind":"beat"}\n'
                await self._wait()

    def leave(self) -> None:
        """End the stream: the page has gone, or the program ends."""
        self._gone.set()
        self._event.set()

    def wake(self) -> None:
        """Look soon; on the loop's thread."""
        self._event.set()

    def wake_from_any_thread(self) -> None:
        """Look soon."""
        with suppress(RuntimeError):  # the loop is closed: the program has ended
            self._loop.call_soon_threadsafe(self._event.set)

    def _status_changed(self) -> None:
        self._status_due = min(self._status_due, self._status_at + _STATUS_PACE_S)
        self._event.set()

    async def _wait(self) -> None:
        """Wait for news, and at least as long as keeps to the pace."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), _PACE_S)
        if self._live.recent.busy:
            return
        now = self._loop.time()
        until = min(self._wrote_at + _BEAT_S, max(self._status_due, now))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), max(0.0, until - now))

    def _read(self) -> bytes:
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
            self._wrote_at = now
        return b"".join(msgspec.json.encode(part) + b"\n" for part in parts)
