"""The bare command: tray and proxy, or the proxy alone where this session has no tray."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from app import __version__, instance
from app.cli import foreground
from app.cli.launch import end, own_command, own_environment
from app.cli.running import address_of, client_of, find_running, places
from app.cli.terminal import note, prepare, say, show_error
from app.errors import AppError
from app.instance import InstanceRecord
from app.paths import Paths

__all__ = ["DesktopHalf", "run"]

_INTERRUPTED = 130
"""What shells expect of a program that Ctrl+C ended before it could do so itself."""


class DesktopHalf(Protocol):
    """What this asks of ``app.desktop.start``, which it must not import."""

    def by_hand(self) -> bool:
        """Return whether a person started this, and not the sign-in to the computer."""
        ...

    def missing(self) -> str:
        """Return why this session can have no tray; empty when it can."""
        ...

    def offer(
        self,
        address: str,
        *,
        open_dashboard: Callable[[], None],
        is_gone: Callable[[], bool],
        say: Callable[[str], None],
    ) -> bool:
        """Offer to take over from a program without a tray; return whether that is wanted."""
        ...

    def start(
        self,
        serve: Callable[[Callable[[Any], None]], int],
        paths: Paths,
        *,
        command: Sequence[str],
        environment: Mapping[str, str],
        say: Callable[[str], None],
    ) -> int:
        """Run proxy and tray until both have ended; return the exit code."""
        ...


def run(
    desktop: DesktopHalf,
    serve: Callable[[Callable[[str], None], Callable[[Any], None]], int],
    *,
    browse: Callable[[str], bool] = webbrowser.open,
) -> int:
    """Run the program as people start it, and return the exit code.

    A second start shows the first one instead. Where that has no tray and this session can have one,
    it stays and offers to take over.

    Args:
        desktop: ``app.desktop.start``.
        serve: runs the proxy until it is stopped. It is given what takes the address once the port
            listens, and what takes the program itself, on its loop; returns the exit code.
        browse: opens an address in the browser; returns whether it could.
    """
    prepare()
    try:
        if (record := find_running(places())) is not None:
            if not desktop.by_hand():
                return 0  # what runs may go on unseen: nobody asked to see it
            if _show_first(record, browse) or desktop.missing():
                return 0
            if not _offer(desktop, record, browse):
                return 0
            note(f"Ending process {record.pid}; answers under way may finish.")
            end(record, places())
        if missing := desktop.missing():
            note(f"{missing} Dragoman runs without a tray icon.")
            return foreground.run(greet=True)
        return desktop.start(
            lambda attach: serve(_ready, attach),
            places(),
            command=own_command(),
            environment=own_environment(),
            say=note,
        )
    except AppError as error:
        return show_error(error)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _ready(address: str) -> None:
    say(f"Dragoman {__version__} listens at {address} (Ctrl+C ends it).")


def _show_first(record: InstanceRecord, browse: Callable[[str], bool]) -> bool:
    """Have the instance that runs show itself; one without a tray names a page to open.

    Returns:
        Whether it has a tray, or is of a version that does not tell.
    """
    say(f"Dragoman runs already at {address_of(record)} (process {record.pid}).")
    try:
        answer: dict[str, Any] = client_of(record).post("/admin/show")
    except AppError as error:
        if error.status == 404:  # a version that cannot show itself
            return True
        raise
    url = str(answer.get("url") or "")
    if not answer.get("shown") and url and not browse(url):
        # The fragment is a ticket for one use, which does not belong on a screen.
        say(f"Open {url.partition('#')[0]} in a browser.")
    return bool(answer.get("shown"))


def _offer(desktop: DesktopHalf, record: InstanceRecord, browse: Callable[[str], bool]) -> bool:
    """Offer to take over from an instance that has no tray; return whether that is wanted."""
    note("It has no tray icon; the icon that is there now offers to take over (Ctrl+C ends that).")

    def open_dashboard() -> None:
        browse(str(client_of(record).post("/admin/ticket").get("url") or ""))

    def is_gone() -> bool:
        paths = places()
        return instance.read(paths.data, paths.runtime).record != record

    return desktop.offer(
        address_of(record), open_dashboard=open_dashboard, is_gone=is_gone, say=note
    )
