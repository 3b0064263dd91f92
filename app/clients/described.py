"""How agents stand, in words and for scripts: the same for command line, tray and dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.clients.agent import Address
from app.clients.connections import AgentState, Proposal

__all__ = ["describe_agent", "describe_proposal", "describe_state", "state_text", "titles"]


def titles(states: Sequence[AgentState]) -> str:
    """Return agents' names as one phrase: ``Claude Code, Codex CLI and Aider``."""
    names = [state.agent.title for state in states]
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def state_text(state: AgentState, url: str) -> str:
    """Return how an agent stands, in a few words.

    Args:
        state: how it is.
        url: where Dragoman is; empty where that is not known.
    """
    if not state.connected:
        if state.agent.editable:
            return "not connected" if state.found.installed else "not found"
        return "by hand" if not state.agent.runnable else "by environment"
    if url and state.points_elsewhere(url) and state.record is not None:
        return f"connected to {state.record.url}; connect again to update it"
    if not state.drifted:
        return "connected"
    places = ", ".join(place for file in state.drifted for place in file.places)
    words = ", ".join(sorted({file.state for file in state.drifted}))
    return f"connected, but {words}" + (f": {places}" if places else "")


def describe_state(state: AgentState, url: str) -> dict[str, Any]:
    """Return how an agent's connection stands, as JSON values."""
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


def describe_agent(state: AgentState, version: str, address: Address) -> dict[str, Any]:
    """Return all that is known of an agent, as JSON values."""
    agent = state.agent
    return {
        **describe_state(state, address.url),
        "state": state_text(state, address.url),
        "installed": state.found.installed,
        "program": None if state.found.program is None else str(state.found.program),
        "version": version or None,
        "connected": state.connected,
        "drifted": bool(state.drifted),
        "roles": dict(agent.roles),
        "needs": list(agent.needs),
        "editable": agent.editable,
        "runnable": agent.runnable,
        "testable": agent.trial is not None,
        "steps": [step.format(url=address.url, v1=address.v1) for step in agent.steps],
        "limits": list(agent.limits),
    }


def describe_proposal(proposal: Proposal) -> dict[str, Any]:
    """Return what a proposal would write, as JSON values."""
    return {
        "files": [
            {"path": str(edit.path), "action": edit.action, "diff": edit.diff()}
            for edit in proposal.edits
        ],
        "left": list(proposal.left),
        "copies": dict(proposal.copies),
        "limits": list(proposal.agent.limits) if proposal.record is not None else [],
    }
