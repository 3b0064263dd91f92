"""``dragoman start``: the proxy in the background."""

from __future__ import annotations

from app.cli.connect import connections
from app.cli.connected import note_outdated
from app.cli.launch import launch
from app.cli.running import address_of, find_running, places
from app.cli.serve import ConfigOption, PortOption
from app.cli.terminal import say

__all__ = ["serve_arguments", "start"]


def start(config: ConfigOption = None, port: PortOption = None) -> None:
    """Start the proxy in the background."""
    paths = places()
    if (running := find_running(paths)) is not None:
        say(f"Dragoman runs already at {address_of(running)} (process {running.pid}).")
        return
    record = launch(serve_arguments(config, port), paths).record
    say(f"Dragoman runs at {address_of(record)} (process {record.pid}).")
    note_outdated(connections, f"http://127.0.0.1:{record.port}")


def serve_arguments(config: str | None, port: int | None) -> list[str]:
    """Return the options of ``serve`` as words."""
    words = [] if config is None else ["--config", config]
    return words if port is None else [*words, "--port", str(port)]
