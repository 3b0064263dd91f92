"""What is said of the agents that point here: by ``status``, ``doctor``, ``start`` and ``stop``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from app.cli.checks import Check
from app.cli.terminal import note
from app.errors import AppError

if TYPE_CHECKING:
    from app.clients.connections import AgentState, Connections

__all__ = [
    "UPDATE",
    "check_agents",
    "connected",
    "describe",
    "note_outdated",
    "note_stranded",
    "state_json",
    "titles",
]

UPDATE = "`dragoman connect --update` shows the change and makes it."


def connected(known: Connections) -> tuple[AgentState, ...]:
    """Return how the connected agents stand; the files of all others are not looked at.

    Raises:
        AppError: ``manifest_unreadable``.
    """
    return tuple(known.state(name) for name in known.names())


def titles(states: Sequence[AgentState]) -> str:
    """Return their names as one phrase: ``Claude Code, Codex CLI and Aider``."""
    names = [state.agent.title for state in states]
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def describe(state: AgentState, url: str) -> str:
    """Return how a connected agent stands, in a few words.

    Args:
        state: how it is.
        url: where Dragoman is; empty where that is not known.
    """
    if url and state.points_elsewhere(url) and state.record is not None:
        return f"connected to {state.record.url}; connect again to update it"
    if not state.drifted:
        return "connected"
    places = ", ".join(place for file in state.drifted for place in file.places)
    words = ", ".join(sorted({file.state for file in state.drifted}))
    return f"connected, but {words}" + (f": {places}" if places else "")


def state_json(state: AgentState, url: str) -> dict[str, Any]:
    """Return how a connected agent stands, for scripts."""
    record = state.record
    return {
        "name": state.agent.name,
        "title": state.agent.title,
        "url": None if record is None else record.url,
        "outdated": bool(url) and state.points_elsewhere(url),
        "models": {} if record is None else dict(record.roles),
        "files": [
            {"path": str(f.path), "state": f.state, "places": list(f.places), "reason": f.reason}
            for f in state.files
        ],
    }


def check_agents(known: Connections, url: str) -> Iterator[Check]:
    """Yield a check for each connected agent: is it there, does it point here, is it unchanged?

    Args:
        known: the agents.
        url: where they are to point; empty where that is not known.
    """
    try:
        states = connected(known)
    except AppError as error:
        yield Check("agents", "failed", error.message, error.hint)
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
        verb = "points" if len(states) == 1 else "point"
        note(
            f"{titles(states)} {verb} here and cannot answer until Dragoman runs again: "
            "`dragoman start`, or `dragoman disconnect --all` gives them their own settings back."
        )
