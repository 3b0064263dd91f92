"""The services that Dragoman knows (pure)."""

from app.providers.aistudio import AISTUDIO
from app.providers.anthropic import ANTHROPIC
from app.providers.base import Credential, Provider, join_url
from app.providers.claude import CLAUDE
from app.providers.codex import CODEX
from app.providers.compatible import compatible
from app.providers.copilot import COPILOT
from app.providers.ctonew import CTONEW
from app.providers.demo import DEMO
from app.providers.gemini import GEMINI
from app.providers.openai import OPENAI
from app.providers.webai import WEBAI

__all__ = [
    "CLAUDE",
    "CODEX",
    "COPILOT",
    "CTONEW",
    "DEMO",
    "PROVIDERS",
    "Credential",
    "Provider",
    "compatible",
    "join_url",
]

PROVIDERS: dict[str, Provider] = {
    p.id: p
    for p in (
        *(ANTHROPIC, CLAUDE, OPENAI, CODEX, COPILOT, GEMINI, AISTUDIO, CTONEW, WEBAI),
        DEMO,
    )
}
"""Built-in services by id, in the order in which they are shown."""
