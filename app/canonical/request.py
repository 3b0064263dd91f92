"""The vendor-neutral request.

Shape of a conversation: ``system`` holds what the dialect keeps outside the messages (Anthropic's
``system``, Gemini's ``systemInstruction``, Responses' ``instructions``). ``messages`` may hold
``system`` and ``developer`` messages at any place. Tool results stand in messages of role
``tool`` that hold nothing else; neighbouring results of one turn share one message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from app.canonical.parts import CacheMark, DialectName, Json, JsonObject, Native, Part

__all__ = [
    "ChatRequest",
    "Effort",
    "Message",
    "OutputFormat",
    "ReasoningConfig",
    "Role",
    "ServerTool",
    "Tool",
    "ToolChoice",
    "hoist_system",
]

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn, or one piece of it."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    """Chat's participant name."""
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the client runs."""

    name: str
    description: str | None = None
    schema: JsonObject | None = None
    """JSON Schema of the arguments (an object schema); None when the client gave none."""
    kind: Literal["function", "custom"] = "function"
    """Custom tools take free text (Responses, newer Chat)."""
    grammar: Json = None
    """A custom tool's input format as the client wrote it, or None for plain text."""
    strict: bool | None = None
    namespace: str | None = None
    """Responses: the namespace that holds the tool."""
    cache: CacheMark | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class ServerTool:
    """A tool that the service runs (web search, code execution …)."""

    dialect: DialectName
    body: Mapping[str, Json]
    """The declaration, verbatim."""
    purpose: Literal["web_search", "code_execution", "url_context"] | None = None
    """What it does, where other dialects have the same; None when nothing corresponds."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether and which tools may be called.

    ``names`` empty: any tool. ``required`` with one name: exactly that tool. ``auto`` with names:
    only these may be called.
    """

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class ReasoningConfig:
    """How much the model should think, in whichever terms the client used.

    At most one of ``effort`` and ``budget_tokens`` is usually set; ``reasoning.resolve`` maps
    them onto what a model accepts.
    """

    mode: Literal["off", "on", "adaptive"] = "on"
    effort: Effort | None = None
    budget_tokens: int | None = None
    """Tokens the model may spend on thought; -1 lets the service decide (Gemini)."""
    visible: bool | None = None
    """Whether thought text or a summary is wanted back; None: the dialect's default."""
    native: Native | None = None
    """For instance ``summary: detailed``, ``display: updates``."""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The form of the answer."""

    kind: Literal["text", "json_object", "json_schema"]
    schema: JsonObject | None = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request for an answer; None means that the client said nothing."""

    model: str
    messages: tuple[Message, ...]
    system: tuple[Part, ...] = ()
    tools: tuple[Tool | ServerTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    """False: at most one call per turn."""
    max_tokens: int | None = None
    """Limit of the answer, thought included."""
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    choices: int = 1
    """Number of alternative answers; only Chat and Gemini have more than one."""
    reasoning: ReasoningConfig | None = None
    output: OutputFormat | None = None
    verbosity: str | None = None
    """``low``, ``medium`` or ``high`` (OpenAI)."""
    stream: bool = False
    include_usage: bool = True
    """Chat: whether the stream ends with a usage chunk; the other dialects always say it."""
    cache_key: str | None = None
    user: str | None = None
    """The caller's id of its own end user; a vendor identity, never sent to another vendor."""
    service_tier: str | None = None
    metadata: Mapping[str, str] | None = None
    store: bool | None = None
    native: Native | None = None


def hoist_system(request: ChatRequest) -> tuple[tuple[Part, ...], tuple[Message, ...], bool]:
    """Gather system text for a dialect that knows it only outside the messages.

    Returns:
        The parts of ``system`` followed by those of every system and developer message, the
        remaining messages, and whether a message from the middle of the conversation was moved
        (which a caller reports as a loss of position).
    """
    parts = list(request.system)
    rest: list[Message] = []
    moved = False
    for message in request.messages:
        if message.role in ("system", "developer"):
            moved = moved or bool(rest)
            parts.extend(message.parts)
        else:
            rest.append(message)
    return tuple(parts), tuple(rest), moved


def with_model(request: ChatRequest, model: str) -> ChatRequest:
    """Return the request for another model."""
    return request if request.model == model else replace(request, model=model)
