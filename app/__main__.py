"""Where the program starts.

``serve``, ``window``, ``--version`` and the bare command are read here by hand: they need neither
typer nor rich, whose import would cost a third of the time that ``serve`` has until its first
answer. A call that is not understood here goes to the full command line, which explains what is
wrong with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.desktop.bridge import Program

__all__ = ["main"]


@dataclass(frozen=True, slots=True)
class _Serve:
    config: str | None = None
    port: int | None = None
    background: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Args:
        arguments: words after the program's name; those of this process by default.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words == ["--version"]:
        from app.build import find_build

        print(f"dragoman {find_build().line}")  # noqa: T201 - the answer
        return 0
    if not words:
        return _tray()
    if words == ["window"]:
        from app.desktop import window

        window.run()
    if words[0] == "serve" and (options := _parse_serve(words[1:])) is not None:
        from app.cli.foreground import run

        return run(options.config, options.port, background=options.background)
    from app.cli import program

    return program.run(words)


def _tray() -> int:
    from app.cli import tray
    from app.desktop import start

    def serve(ready: Callable[[str], None], attach: Callable[[Program], None]) -> int:
        from app.desktop.agents import agent_commands
        from app.desktop.proxy import Proxy
        from app.service import ServeOptions
        from app.serving import serve as serve_service

        return serve_service(
            ServeOptions(),
            ready=ready,
            attach=lambda running: attach(
                Proxy(running, running.subscribe, agent_commands(running))
            ),
        )

    return tray.run(start, serve)


def _parse_serve(words: Sequence[str]) -> _Serve | None:
    """Return the options of ``serve``, or None for anything but a right call without ``--help``."""
    config: str | None = None
    port: int | None = None
    background = False
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name == "--background" and not equals:
            background = True
            continue
        if name not in ("--config", "--port"):
            return None
        if not equals:
            if not rest:
                return None
            value = rest.pop(0)
        if name == "--config":
            config = value
        elif value.isascii() and value.isdecimal() and int(value) <= 65_535:
            port = int(value)
        else:
            return None
    return _Serve(config, port, background)


if __name__ == "__main__":
    sys.exit(main())
