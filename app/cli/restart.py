"""``dragoman restart``: stop, then start."""

from __future__ import annotations

from typing import Any

from app.cli.connect import connections
from app.cli.connected import note_outdated
from app.cli.launch import end, launch
from app.cli.running import address_of, client_of, find_running, places
from app.cli.serve import ConfigOption, PortOption
from app.cli.start import serve_arguments
from app.cli.terminal import say

__all__ = ["restart"]


def restart(config: ConfigOption = None, port: PortOption = None) -> None:
    """Stop what runs, and start in the background.

    The settings file that was named with --config is used again; a port that was given with
    --port is not.
    """
    paths = places()
    record = find_running(paths)
    if record is not None:
        used: dict[str, Any] = client_of(record).get("/v1/health")["config"]
        if config is None and used["why"] == "option":
            config = used["path"]
        end(record, paths)
    started = launch(serve_arguments(config, port), paths).record
    say(f"Dragoman runs at {address_of(started)} (process {started.pid}).")
    note_outdated(connections, f"http://127.0.0.1:{started.port}")
