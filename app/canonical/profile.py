"""Facts about a model that encoders consult."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.canonical.request import Effort

__all__ = ["ModelProfile", "ReasoningStyle", "Target"]

ReasoningStyle: TypeAlias = Literal["none", "effort", "budget", "adaptive", "level", "unknown"]
"""How a model is told to think: not at all, by OpenAI effort, by a token budget (Anthropic up to
4.5, Gemini 2.5), adaptively with an effort (Anthropic from 4.6), by level (Gemini 3).
``unknown``: the encoder uses its dialect's usual form and sends only what the client asked for."""


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What is known of one model at one service; the defaults describe an unknown model."""

    name: str
    context: int | None = None
    """Tokens of prompt and answer together."""
    max_output: int | None = None
    reasoning: ReasoningStyle = "unknown"
    efforts: tuple[Effort, ...] = ()
    """Accepted efforts or levels in rising order; empty: unknown."""
    budget_min: int | None = None
    budget_max: int | None = None
    can_disable_reasoning: bool = True
    sampling: bool = True
    """False: temperature, top_p, penalties are refused (OpenAI's reasoning models)."""
    temperature_or_top_p: bool = False
    """True: not both at once (newer Anthropic models)."""
    stop: bool = True
    """False: stop sequences are refused."""
    tools: bool = True
    images: bool = True
    audio: bool = False
    documents: bool = True
    json_schema: bool = True
    """False: structured output is not enforced by the service."""
    custom_tools: bool = False
    """True: free-text tools are accepted by this service and model."""
    mid_system: bool = False
    """True: system messages are accepted in the middle of the conversation (newer Anthropic)."""
    legacy_max_tokens: bool = False
    """Chat: True for servers that know ``max_tokens`` but not ``max_completion_tokens``."""
    developer_role: bool = False
    """Chat: True when ``developer`` is preferred over ``system``."""


@dataclass(frozen=True, slots=True)
class Target:
    """For whom a request is encoded."""

    profile: ModelProfile
    issuer: str
    """Signatures of this issuer, and no others, may be sent (``anthropic``, ``openai``,
    ``google``, or the provider's id)."""
    official: bool = True
    """False for compatible servers, which know fewer fields than the dialect's owner."""
    tells_usage: bool = True
    """Chat: False for a server that refuses to be asked what a stream used."""
