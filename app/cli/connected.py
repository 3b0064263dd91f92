"""What is said of the agents that point here: by ``status``, ``doctor``, ``start`` and ``stop``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from app.cli.checks import Check
from app.cli.terminal import advice, note
from app.errors import AppError

if TYPE_CHECKING:
    from app.clients.connections import AgentState, Connections

__all__ = [
    "UPDATE",
    "check_agents",
    "connected",
    "note_outdated",
    "note_stranded",
]

UPDATE = "`dragoman connect --update` shows the change and makes it."


def connected(known: Connections) -> tuple[AgentState, ...]:
    """Return how the connected agents stand; the files of all others are not looked at.

    Raises:
        AppError: ``manifest_unreadable``.
    """
    return tuple(known.state(name) for name in known.names())


def check_agents(known: Connections, url: str) -> Iterator[Check]:
    """Yield a check for each connected agent: is it there, does it point here, is it unchanged?

    Args:
        known: the agents.
        url: where they are to point; empty where that is not known.
    """
    try:
        states = connected(known)
    except AppError as error:
        yield Check("agents", "failed", error.message, advice(error))
        return
    for state in states:
        yield _check(state, known.version(state), url)


def _check(state: AgentState, version: str, url: str) -> Check:
    name = f"agent {state.agent.name}"
    who = f"{state.agent.title} {version}".strip()
    if url and state.points_elsewhere(url) and state.record is not None:
        text = f"{who} is connected to {state.record.url}, but Dragoman is at {url}."
        return Check(name, "warning", text, UPDATE)
    for file in state.drifted:
        detail = ", ".join(file.places) or file.reason
        told = f"{file.path} is {file.state}" + (f" ({detail})" if detail else "")
        hint = (
            f"`dragoman connect {state.agent.name}` shows what would set it again, `dragoman "
            f"disconnect {state.agent.name}` what would end it."
        )
        return Check(name, "warning", f"{who} is connected, but {told}.", hint)
    if not state.found.installed:
        hint = f"`dragoman disconnect {state.agent.name}` takes the settings away."
        return Check(name, "warning", f"{who} is connected, but not installed any more.", hint)
    return Check(name, "ok", f"{who} is connected; its settings are as they were written.")


def note_outdated(find: Callable[[], Connections], url: str) -> None:
    """Say beside the answer which agents still point to another port, and what updates them."""
    from app.clients.described import titles

    try:
        states = [state for state in connected(find()) if state.points_elsewhere(url)]
    except AppError as error:
        note(f"Agents: {error.text}")
        return
    if states:
        verb = "points" if len(states) == 1 else "point"
        note(f"{titles(states)} still {verb} to another address than {url}: {UPDATE}")


def note_stranded(states: Sequence[AgentState]) -> None:
    """Say beside the answer which agents point to what does not answer, and what frees them."""
    if states:
        from app.clients.described import titles

        verb = "points" if len(states) == 1 else "point"
        note(
            f"{titles(states)} {verb} here and cannot answer until Dragoman runs again: "
            "`dragoman start`, or `dragoman disconnect --all` gives them their own settings back."
        )
