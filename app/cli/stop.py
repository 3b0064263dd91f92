"""``dragoman stop``: end whichever instance runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from app.cli.connect import carry_out, connections
from app.cli.connected import connected, note_stranded
from app.cli.launch import end
from app.cli.running import find_running, places
from app.cli.terminal import note, say
from app.cli.typed import is_terminal
from app.errors import AppError, ConfigError

if TYPE_CHECKING:
    from app.clients.connections import AgentState, Connections

__all__ = ["stop"]


def stop() -> None:
    """Stop the running proxy.

    Names the agents that point here, and offers to give them their own settings back first.
    """
    paths = places()
    record = find_running(paths)
    known = connections()
    if record is None:
        say("Dragoman does not run.")
        note_stranded(_connected(known))
        _name_stranger()
        return
    _offer(known)
    end(record, paths)
    say(f"Dragoman (process {record.pid}) has stopped.")
    note_stranded(_connected(known))


def _connected(known: Connections) -> tuple[AgentState, ...]:
    try:
        return connected(known)
    except AppError as error:
        note(f"Agents: {error.text}")  # a damaged list must not keep it from stopping
        return ()


def _offer(known: Connections) -> None:
    """Disconnect the agents that point here, where somebody sits there and says so."""
    states = _connected(known)
    if not states or not is_terminal(sys.stdin):
        return
    from app.clients.described import titles

    verb = "points" if len(states) == 1 else "point"
    question = f"{titles(states)} {verb} here. Disconnect before stopping?"
    if typer.confirm(question, default=False, err=True):
        for state in states:
            carry_out(
                known,
                state.agent.name,
                known.propose_undo,
                write=True,
                yes=True,
                as_json=False,
                must_ask=False,
            )


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
