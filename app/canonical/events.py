"""A streamed answer, as small values.

Grammar, which every decoder keeps and every encoder may rely on::

    stream = Started part* (UsageSeen | Ping)* ( Finished | Failed )
    part   = PartStarted delta* PartEnded

One part is open at a time: a decoder whose wire interleaves parts holds the later one back until
the earlier one has ended. Indices rise by one from 0. ``UsageSeen`` and ``Ping`` may stand
anywhere after ``Started``; ``Failed`` may stand anywhere, also first, and ends the stream. A
decoder's ``close`` adds what is missing: ``PartEnded`` for an open part, then ``Failed`` with
``cut_stream()`` when the terminal event never came. ``Finished`` comes exactly once.

The part in ``PartStarted`` is what is known at its start (``Text("")``, ``ToolCall(id, name,
"")``); media and opaque parts are whole there and have no deltas.

Events are created once and never modified; they are not frozen only because a frozen dataclass
costs several times as much to create, and there is one per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from app.canonical.failure import Failure
from app.canonical.parts import Native, Part, Signature
from app.canonical.response import StopReason
from app.canonical.usage import Usage

__all__ = [
    "Annotated",
    "ArgumentsDelta",
    "Event",
    "Failed",
    "Finished",
    "PartEnded",
    "PartStarted",
    "Ping",
    "ReasoningDelta",
    "SignatureDelta",
    "Started",
    "TextDelta",
    "UsageSeen",
]


@dataclass(slots=True)
class Started:
    """The answer begins; ``id`` and ``model`` as the service gave them (may be empty)."""

    id: str
    model: str
    usage: Usage | None = None
    created: float | None = None
    native: Native | None = None


@dataclass(slots=True)
class PartStarted:
    """A part begins."""

    index: int
    part: Part


@dataclass(slots=True)
class TextDelta:
    """More of a Text or Refusal part."""

    index: int
    text: str


@dataclass(slots=True)
class ReasoningDelta:
    """More thought text; ``section`` counts summary sections from 0."""

    index: int
    text: str
    section: int = 0


@dataclass(slots=True)
class SignatureDelta:
    """The signature of the open part, whole (Reasoning, Text or ToolCall).

    ``id`` and ``summary`` are what a dialect tells of a thought only with its signature; they add
    to what its ``PartStarted`` said.
    """

    index: int
    signature: Signature
    id: str | None = None
    summary: bool = False


@dataclass(slots=True)
class ArgumentsDelta:
    """More of a tool call's argument text."""

    index: int
    text: str


@dataclass(slots=True)
class Annotated:
    """Native extras of the open part (citations, annotations); lists are appended."""

    index: int
    native: Native


@dataclass(slots=True)
class PartEnded:
    """The open part is complete."""

    index: int


@dataclass(slots=True)
class UsageSeen:
    """Counts so far; each replaces the one before."""

    usage: Usage


@dataclass(slots=True)
class Finished:
    """The answer is complete; ``usage`` is None only when the service never said any."""

    stop: StopReason
    usage: Usage | None = None
    stop_sequence: str | None = None
    native: Native | None = None


@dataclass(slots=True)
class Failed:
    """The stream failed; nothing follows."""

    failure: Failure


@dataclass(slots=True)
class Ping:
    """A sign of life without content."""


Event: TypeAlias = (
    Started
    | PartStarted
    | TextDelta
    | ReasoningDelta
    | SignatureDelta
    | ArgumentsDelta
    | Annotated
    | PartEnded
    | UsageSeen
    | Finished
    | Failed
    | Ping
)
