"""Agents on this machine: pointing them here, showing the change first, undoing it exactly.

Adding one: a file with its facts, a test file with its corpus, a line here.
"""

from collections.abc import Mapping
from typing import Final

from app.clients.agent import Agent
from app.clients.agent_aider import AIDER
from app.clients.agent_claude import CLAUDE_CODE
from app.clients.agent_codex import CODEX
from app.clients.agent_continue import CONTINUE
from app.clients.agent_copilot import COPILOT
from app.clients.agent_crush import CRUSH
from app.clients.agent_gemini import GEMINI_CLI
from app.clients.agent_goose import GOOSE
from app.clients.agent_llm import LLM
from app.clients.agent_opencode import OPENCODE
from app.clients.agent_sdk import SDK
from app.clients.agent_zed import ZED
from app.clients.agents_by_hand import CLINE, CURSOR, ROO

__all__ = ["AGENTS"]

AGENTS: Final[Mapping[str, Agent]] = {
    agent.name: agent
    for agent in (
        CLAUDE_CODE,
        CODEX,
        OPENCODE,
        GEMINI_CLI,
        COPILOT,
        AIDER,
        LLM,
        CLINE,
        ROO,
        CONTINUE,
        ZED,
        CRUSH,
        GOOSE,
        CURSOR,
        SDK,
    )
}
"""Name on the command line → agent, in the order of lists."""
