"""What the tray can do with agents: look at them, test one, give them their settings back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from app.clients.connections import AgentState
from app.clients.described import titles
from app.desktop.agentsmenu import EVERY_AGENT, AgentLine
from app.desktop.bridge import Command
from app.errors import AppError
from app.server.agentdesk import AgentDesk, Program

__all__ = ["agent_commands"]


def agent_commands(program: Program) -> Mapping[str, Command]:
    """Return the commands, for ``proxy.Proxy``: ``agents`` returns JSON for ``read_agents``.

    Args:
        program: the running program.
    """
    desk = AgentDesk(program)

    async def agents(_target: str) -> str:
        lines = _lines(await desk.states(), desk.address.url)
        return msgspec.json.encode(lines).decode()

    async def disconnect(target: str) -> str:
        states = [
            state
            for state in await desk.states()
            if state.connected and target in (EVERY_AGENT, state.agent.name)
        ]
        await desk.disconnect([state.agent.name for state in states])
        if not states:
            return ""
        verb, whose = ("has", "its") if len(states) == 1 else ("have", "their")
        return f"{titles(states)} {verb} {whose} own settings back."

    async def test(target: str) -> str:
        found = await desk.test(target)
        if not found:
            raise AppError(
                "There is nothing to ask: the demo is switched off, and no model was chosen.",
                code="no_model",
            )
        return "\n".join(f"{target}, {one.model or 'its own model'}: {one.text}" for one in found)

    return {"agents": agents, "agent_disconnect": disconnect, "agent_test": test}


def _lines(states: Sequence[AgentState], url: str) -> list[AgentLine]:
    return [
        AgentLine(
            name=state.agent.name,
            title=state.agent.title,
            editable=state.agent.editable,
            testable=state.agent.trial is not None and state.found.program is not None,
            connected=state.connected,
            outdated=state.points_elsewhere(url),
            drifted=bool(state.drifted),
            model="" if state.record is None else state.record.roles.get("main", ""),
        )
        for state in states
        if state.connected or state.found.installed
    ]
