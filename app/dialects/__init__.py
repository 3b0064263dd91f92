"""The wire dialects (pure). Adding one: its file, its cases, one line here."""

from app.canonical.parts import DialectName
from app.dialects.anthropic import ANTHROPIC
from app.dialects.base import Dialect
from app.dialects.completions import COMPLETIONS
from app.dialects.gemini import GEMINI
from app.dialects.openai_chat import OPENAI_CHAT
from app.dialects.openai_responses import OPENAI_RESPONSES

__all__ = ["COMPLETIONS", "DIALECTS"]

DIALECTS: dict[DialectName, Dialect] = {
    dialect.name: dialect for dialect in (OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC, GEMINI)
}
"""Every dialect by its name."""
