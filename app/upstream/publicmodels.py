"""What is publicly known of models: fetched from models.dev, kept on disk, shipped as a fallback.

States: shipped (nothing was ever fetched) → fetched (from the cache folder, or just now). A fetch
that fails leaves what was there. The copy on disk is used whatever its age; its age only says when
to ask again: once a day, by a conditional request that usually answers 304. Of several that ask at
once one does, and nobody does so again within a minute of the last try, or within an hour of one
that failed, unless a person asks.

Nothing waits for it: until the first answer the facts are those of the cache, or those shipped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from app.errors import AppError, UpstreamError
from app.http import HttpReply, HttpRequest, Limits
from app.paths import write_private
from app.routing.snapshot import Snapshot
from app.tasks import spawn
from app.upstream.modelsdev import Registry, overlay, parse_registry

__all__ = ["URL", "PublicModels"]

URL: Final = "https://models.dev/api.json"

_log = logging.getLogger("dragoman.models")

_LIMITS: Final = Limits(
    connect_s=10.0, first_byte_s=10.0, idle_s=10.0, max_body_bytes=32 * 1024 * 1024
)
_FRESH_S: Final = 86_400.0
_AGAIN_S: Final = 3_600.0
"""After a failure nobody but a person asks again so soon."""
_COOL_S: Final = 60.0
"""Between two tries, whoever asks."""


class _About(msgspec.Struct):
    """The first line of the file in the cache folder; the rest is the document."""

    fetched_at: float
    etag: str = ""


class PublicModels:
    """See the module.

    Args:
        fetch: sends a request and returns the whole answer.
        path: where the copy is kept.
        shipped: the facts that come with the program.
        changed: called on the loop after the facts have become others.
        online: says whether models.dev may be asked.
        now: epoch seconds.
        url: of the document.
        timeout_s: how long a try may take in all.
    """

    def __init__(
        self,
        fetch: Callable[[HttpRequest, Limits], Awaitable[HttpReply]],
        path: Path,
        shipped: Snapshot,
        *,
        changed: Callable[[], None],
        online: Callable[[], bool],
        now: Callable[[], float] = time.time,
        url: str = URL,
        timeout_s: float = 30.0,
    ) -> None:
        self._fetch = fetch
        self._path = path
        self._shipped = shipped
        self._changed = changed
        self._online = online
        self._now = now
        self._url = url
        self._timeout_s = timeout_s
        self._about: _About | None = None
        self._tried_at = float("-inf")
        self._running: asyncio.Task[None] | None = None
        self.snapshot: Snapshot = shipped
        """The facts in force; swapped whole."""
        self.registry = Registry()
        """What was fetched; empty before."""
        self.trouble = ""
        """Why the last try failed; empty when it did not."""

    @property
    def fetched_at(self) -> float | None:
        """When the facts were last confirmed, epoch seconds; None while they are the shipped ones."""
        return None if self._about is None else self._about.fetched_at

    async def load(self) -> None:
        """Take what an earlier run has kept; a file that cannot be read is as none."""
        try:
            about, registry = await asyncio.to_thread(self._read)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            _log.warning("the kept model data cannot be used: %s", error)
            return
        self._take(about, registry)

    async def refresh(self, *, asked: bool = False) -> None:
        """Ask models.dev, unless that was done a moment ago or may not be done.

        Several callers wait for the same answer. What fails is told by ``trouble``.

        Args:
            asked: a person wants it now: age and failures do not count, only the cool-down.
        """
        if self._running is None:
            if not self._is_due(asked):
                return
            self._tried_at = self._now()
            self._running = spawn(self._refresh(), "models.dev")
            self._running.add_done_callback(self._ended)
        # Whoever waits may leave; the others want the answer still.
        await asyncio.shield(self._running)

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self._running = None

    def _is_due(self, asked: bool) -> bool:
        if not self._online():
            return False
        now = self._now()
        if now - self._tried_at < _COOL_S:
            return False
        if asked:
            return True
        if self.trouble and now - self._tried_at < _AGAIN_S:
            return False
        # A clock that was set back makes no copy fresh for ever.
        return self._about is None or not 0 <= now - self._about.fetched_at < _FRESH_S

    def document(self) -> bytes | None:
        """Return the document as it was fetched, or None; blocks."""
        try:
            return self._path.read_bytes().partition(b"\n")[2] or None
        except OSError:
            return None

    async def _refresh(self) -> None:
        try:
            reply = await self._ask()
            if reply.status == 304 and self._about is not None:
                about = _About(self._now(), self._about.etag)
                await asyncio.to_thread(self._touch, about)
                self._about, self.trouble = about, ""
                return
            if reply.status != 200:
                raise UpstreamError(f"models.dev answered with status {reply.status}.")
            about = _About(self._now(), reply.header("etag") or "")
            registry = await asyncio.to_thread(self._read_and_keep, about, reply.body)
        except AppError as error:
            self._failed(error.message)
        except ValueError as error:
            self._failed(f"models.dev answered something else than its registry: {error}")
        else:
            self.trouble = ""
            self._take(about, registry)

    async def _ask(self) -> HttpReply:
        headers = [("accept", "application/json"), ("user-agent", "dragoman")]
        if self._about is not None and self._about.etag:
            headers.append(("if-none-match", self._about.etag))
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._fetch(HttpRequest("GET", self._url, tuple(headers)), _LIMITS)
        except TimeoutError as error:
            raise UpstreamError("models.dev was too slow.", status=504) from error

    def _failed(self, message: str) -> None:
        if not self.trouble:  # once, not daily where there is no network
            _log.info("public model data is not refreshed: %s", message)
        self.trouble = message

    def _take(self, about: _About, registry: Registry) -> None:
        self._about, self.registry = about, registry
        self.snapshot = overlay(self._shipped, registry.rows)
        self._changed()

    # --- in a thread ---------------------------------------------------------------------------

    def _read(self) -> tuple[_About, Registry]:
        first, _, document = self._path.read_bytes().partition(b"\n")
        return msgspec.json.decode(first, type=_About), parse_registry(document)

    def _read_and_keep(self, about: _About, document: bytes) -> Registry:
        registry = parse_registry(document)
        self._write(about, document)
        return registry

    def _touch(self, about: _About) -> None:
        if (document := self.document()) is not None:
            self._write(about, document)

    def _write(self, about: _About, document: bytes) -> None:
        try:
            write_private(self._path, msgspec.json.encode(about) + b"\n" + document)
        except OSError as error:  # it holds until the stop, and is fetched again after it
            _log.warning("the model data cannot be kept: %s", error)
