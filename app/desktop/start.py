"""The desktop half as the command line starts it; loads nothing before it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from app.desktop.autostart import MARK
from app.desktop.tray import choose, look_around
from app.paths import Paths

if TYPE_CHECKING:
    from app.desktop.program import Serve

__all__ = ["by_hand", "missing", "offer", "start"]


def by_hand() -> bool:
    """Return whether a person started this, and not the sign-in to the computer."""
    return not os.environ.get(MARK)


def missing() -> str:
    """Return why this session can have no tray; empty when it can."""
    return choose(look_around())[1]


def offer(
    address: str,
    *,
    open_dashboard: Callable[[], None],
    is_gone: Callable[[], bool],
    say: Callable[[str], None],
) -> bool:
    """Offer, by an icon, to take over from a program that runs without one.

    Args:
        address: of that program.
        open_dashboard: shows its dashboard; may raise ``AppError``.
        is_gone: whether it has ended.
        say: takes a sentence for the terminal.

    Returns:
        Whether the user wants it; at the latest when that program has ended.
    """
    from app.desktop.program import system_tray
    from app.desktop.takeover import Takeover
    from app.desktop.theme import find_theme

    choice, _ = choose(look_around())
    held = Takeover(
        address,
        open_dashboard=open_dashboard,
        is_gone=is_gone,
        theme="template" if choice == "darwin" else find_theme(),
        say=say,
    )
    return held.hold(lambda desktop: system_tray(choice, desktop))


def start(
    serve: Serve,
    paths: Paths,
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    say: Callable[[str], None],
) -> int:
    """Run proxy and tray until both have ended; return the exit code.

    Args:
        serve: runs the proxy, on a thread of its own; see ``program.Serve``.
        paths: the folders of this installation.
        command: starts this program.
        environment: of children.
        say: takes a sentence for the terminal.

    Raises:
        BaseException: whatever ``serve`` raised.
    """
    from app.desktop.program import run, system_parts, system_tray

    choice, _ = choose(look_around())
    parts = system_parts(paths, choice, command=command, environment=environment, say=say)
    return run(serve, parts, lambda desktop: system_tray(choice, desktop))
