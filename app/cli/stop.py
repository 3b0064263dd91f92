"""``dragoman stop``: end whichever instance runs."""

from __future__ import annotations

import os

from app.cli.launch import end
from app.cli.running import find_running, places
from app.cli.terminal import note, say
from app.errors import ConfigError

__all__ = ["stop"]


def stop() -> None:
    """Stop the running proxy."""
    paths = places()
    record = find_running(paths)
    if record is None:
        say("Dragoman does not run.")
        _name_stranger()
        return
    end(record, paths)
    say(f"Dragoman (process {record.pid}) has stopped.")


def _name_stranger() -> None:
    """Say who has the port, when somebody has: the user may have meant that program."""
    from app.configfile import load_file, locate
    from app.server.listen import holder_of

    try:
        port = load_file(locate(None, os.environ), os.environ).server.port
    except ConfigError:
        return  # no port to look at; `config check` tells what is wrong with the file
    if port and (holder := holder_of(port)) is not None:
        note(f"Port {port} is held by {holder}, which is not this instance; it was left alone.")
