"""Windows on AI Studio as children of the desktop: each with a folder of its own that lasts.

The proxy decides what is open (``server.aistudio.Studio``); this only shows it, and hands on what
the windows say. Everything may be called from any thread, and returns at once.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from app.desktop.windows import Page, Windows

__all__ = ["StudioWindows"]

_log = logging.getLogger("dragoman.desktop")

_MENU = (("Open in my browser", "browser"), ("Hide", "hide"))
_GONE_S = 0.05
_GONE_TRIES = 100


class StudioWindows:
    """Implements ``server.aistudio.StudioShower``.

    Args:
        windows: opens them.
        folder: has one folder per account: the sign-in at Google lives there.
        call: has the program carry a command out.
        begin: runs a coroutine on the desktop's loop.
    """

    def __init__(
        self,
        windows: Windows,
        folder: Path,
        call: Callable[[str, str], Future[str]],
        begin: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._windows = windows
        self._folder = folder
        self._call = call
        self._begin = begin
        self._numbers: dict[str, int] = {}
        """Counts the windows of an account: the end of one must not count for its successor."""

    @property
    def windows(self) -> bool:
        """Return whether there can be windows."""
        return self._windows.possible

    def processes(self) -> Iterable[tuple[str, int, float, str]]:
        """Return name, process, opening time and state of every window."""
        return self._windows.processes()

    def open(self, label: str, url: str) -> None:
        """Open the window of an account, or raise it."""
        self._begin(self._open(label, url))

    async def _open(self, label: str, url: str) -> None:
        number = self._numbers[label] = self._numbers.get(label, 0) + 1

        def heard(event: Mapping[str, Any]) -> None:
            if self._numbers.get(label) == number:
                self._report(label, event)

        page = Page(
            url,
            f"AI Studio, {label}",
            self._folder / label,
            host_in_title=True,
            menu=_MENU,
            menu_title="AI Studio",
            keep=True,
            watch=True,
        )
        await asyncio.to_thread(self._windows.open, _name(label), page, heard)

    def _report(self, label: str, event: Mapping[str, Any]) -> None:
        told = msgspec.json.encode({"label": label, "event": dict(event)}).decode()
        self._call("aistudio_heard", told).add_done_callback(_note_failure)

    def order(self, label: str, do: str) -> None:
        """Tell a window to show or hide itself."""
        self._begin(self._order(label, do))

    async def _order(self, label: str, do: str) -> None:
        if await asyncio.to_thread(self._windows.order, _name(label), do=do):
            self._report(label, {"event": "shown" if do == "show" else "hidden"})

    def close(self, label: str) -> None:
        """Close a window."""
        self._numbers[label] = self._numbers.get(label, 0) + 1
        self._windows.close(_name(label))

    def forget(self, label: str) -> None:
        """Close a window, and delete its folder once it is gone."""
        self.close(label)
        self._begin(self._forget(label))

    async def _forget(self, label: str) -> None:
        for _ in range(_GONE_TRIES):
            if _name(label) not in self._windows.names():
                break
            await asyncio.sleep(_GONE_S)
        folder = self._folder / label
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if folder.exists():
            _log.warning("%s could not be deleted whole", folder)

    def browse(self, url: str) -> None:
        """Open an address in the user's browser."""
        self._begin(self._browse(url))

    async def _browse(self, url: str) -> None:
        await asyncio.to_thread(self._windows.browse, url)


def _name(label: str) -> str:
    return f"aistudio/{label}"


def _note_failure(future: Future[str]) -> None:
    error = None if future.cancelled() else future.exception()
    if error is not None:  # it stops, and its windows with it
        _log.debug("nobody heard a window: %s", error)
