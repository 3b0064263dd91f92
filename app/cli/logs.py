"""``dragoman logs``: the last lines of the log, and those to come."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from app.cli.running import places
from app.cli.terminal import note, say
from app.errors import AppError

__all__ = ["logs"]


def logs(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl+C.")
    ] = False,
    count: Annotated[int, typer.Option("-n", min=0, help="How many of the last lines.")] = 50,
) -> None:
    """Show the log."""
    from app import log

    file = places().log_file
    if not file.exists():
        if not follow:
            raise AppError(
                f"There is no log yet: {file}.",
                code="no_log",
                hint="`dragoman start` starts the proxy, which writes it.",
            )
        note(f"There is no log yet; waiting for {file}.")
    for line in log.tail(file, count) if count else ():
        say(line)
    if follow:
        try:
            for line in log.follow(file, threading.Event()):
                say(line)
        except KeyboardInterrupt:
            return  # how one leaves it
