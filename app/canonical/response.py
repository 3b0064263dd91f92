"""The vendor-neutral answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.canonical.parts import Native, Part
from app.canonical.usage import Usage

__all__ = ["ChatResponse", "StopReason"]

StopReason: TypeAlias = Literal[
    "end",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "refusal",
    "content_filter",
    "pause",
    "context_full",
]
"""Why the answer ended. ``refusal``: the model or its classifier declined; ``content_filter``:
a filter cut the answer; ``pause``: a server tool will go on; ``context_full``: window used up."""


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """One complete answer."""

    id: str
    model: str
    parts: tuple[Part, ...]
    stop: StopReason
    usage: Usage | None = None
    """None when the service did not say."""
    stop_sequence: str | None = None
    created: float | None = None
    """Epoch seconds; None when the dialect has no such field."""
    native: Native | None = None
