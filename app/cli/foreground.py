"""Running the proxy in this process, until it is told to stop. Imports neither typer nor rich."""

from __future__ import annotations

import os
import sys
import threading
from urllib.parse import urlsplit

from app import __version__
from app.cli.health import describe_accounts
from app.cli.running import address_of, client_of, find_running, places
from app.cli.terminal import advice, note, prepare, say, show_error
from app.errors import AppError

__all__ = ["FIRST_CALL", "run"]

FIRST_CALL = (
    "curl {address}/v1/chat/completions -d "
    '\'{{"model":"demo-chat","messages":[{{"role":"user","content":"Hello"}}]}}\''
)
"""A call that works without an account; ``address`` without ``http://``, as people type it."""

_INTERRUPTED = 130
"""What shells expect of a program that Ctrl+C ended before it could do so itself."""


def run(
    config: str | None = None,
    port: int | None = None,
    *,
    background: bool = False,
    greet: bool = False,
) -> int:
    """Serve until stopped, and return the exit code.

    Args:
        config: settings file instead of the usual one.
        port: port instead of the settings' one.
        background: let go of standard output and error once it listens, which tells ``launch``
            that it does.
        greet: say what state it is in and what to try first; an instance that runs already is
            then no failure.
    """
    prepare()
    try:
        if greet and (record := find_running(places())) is not None:
            say(f"Dragoman runs already at {address_of(record)} (process {record.pid}).")
            return 0
        from app.service import ServeOptions
        from app.serving import serve

        def ready(address: str) -> None:
            if background:
                _let_go()
                return
            say(f"Dragoman {__version__} listens at {address} (Ctrl+C ends it).")
            if greet:
                # The state is asked for over HTTP, which this thread is about to serve.
                threading.Thread(target=_greet, args=(address,), daemon=True).start()

        return serve(ServeOptions(config, port, foreground=not background), ready=ready)
    except AppError as error:
        return show_error(error)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _let_go() -> None:
    """Point standard output and error at nothing; whoever reads them sees their end."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        if stream is not None:
            stream.flush()
            os.dup2(null, descriptor)
    os.close(null)


def _greet(address: str) -> None:
    try:
        record = find_running(places())
        if record is None:
            return  # stopped meanwhile
        health = client_of(record).get("/v1/health")
    except AppError as error:
        note(f"{error.message} {advice(error)}")
        return
    say(describe_accounts(health))
    say()
    say("Try it:")
    say(f"  {FIRST_CALL.format(address=urlsplit(address).netloc)}")
