"""What a message is made of: pure values that no wire format owns.

A part is complete once constructed. What a dialect has and the canon does not name travels in
``native``, stamped with the dialect it came from, and is written back only there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, Union

__all__ = [
    "CacheMark",
    "DialectName",
    "Json",
    "JsonObject",
    "Media",
    "MediaKind",
    "Native",
    "Opaque",
    "Part",
    "Reasoning",
    "Refusal",
    "Signature",
    "Text",
    "ToolCall",
    "ToolResult",
]

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]
JsonObject: TypeAlias = dict[str, Json]

DialectName: TypeAlias = Literal["openai_chat", "openai_responses", "anthropic", "gemini"]
MediaKind: TypeAlias = Literal["image", "audio", "video", "document"]


@dataclass(frozen=True, slots=True)
class Native:
    """Fields of one dialect that the canon does not name, to be written back only there."""

    dialect: DialectName
    """The dialect that the fields came from."""
    fields: Mapping[str, Json]
    """Wire name to wire value, in the order met."""


@dataclass(frozen=True, slots=True)
class CacheMark:
    """A prompt-cache breakpoint after this part."""

    ttl: str | None = None
    """Life time as the service writes it (``5m``, ``1h``); None for its default."""


@dataclass(frozen=True, slots=True)
class Signature:
    """An opaque proof or encrypted state that only its issuer can read."""

    issuer: str
    """Who can verify it: ``anthropic``, ``openai``, ``google``, or a provider id."""
    value: str
    """The text exactly as the issuer sent it."""


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str
    cache: CacheMark | None = None
    signature: Signature | None = None
    """Gemini puts a thought signature beside text parts, too."""
    native: Native | None = None
    """For instance citations and annotations."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The assistant's words when it declines."""

    text: str
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a sound, a film or a document; exactly one of the four sources is set."""

    kind: MediaKind
    media_type: str | None = None
    """MIME type; None when only a URL is known."""
    data: str | None = None
    """Base64 (standard alphabet, padded)."""
    url: str | None = None
    """An https URL, or a service's own file URI. Never a ``data:`` URL: decode those to ``data``."""
    file_id: str | None = None
    """Id of a file stored at the service of origin; refused elsewhere."""
    text: str | None = None
    """A plain-text document's content."""
    name: str | None = None
    """File name or title."""
    detail: str | None = None
    """OpenAI's resolution hint: ``low``, ``high``, ``auto``, ``original``."""
    cache: CacheMark | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The assistant asks for a tool."""

    id: str
    """Links the call to its result; form rules differ per dialect (see ``ids``)."""
    name: str
    arguments: str
    """JSON text of an object for functions (``{}`` when none); free text for custom tools."""
    kind: Literal["function", "custom"] = "function"
    namespace: str | None = None
    signature: Signature | None = None
    """Gemini's thought signature of this call."""
    cache: CacheMark | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered."""

    call_id: str
    content: tuple[Part, ...]
    """Text, Media and Opaque parts in order; empty means an empty result."""
    is_error: bool = False
    name: str | None = None
    """Name of the tool where the dialect gives it (Gemini)."""
    kind: Literal["function", "custom"] = "function"
    cache: CacheMark | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thought before it answered."""

    text: str = ""
    """Thought text or summary; empty when hidden or redacted. Summary sections are joined by
    a blank line; ``sections`` keeps them apart where there are several."""
    sections: tuple[str, ...] = ()
    """The summary's sections where the dialect has several (Responses); else empty."""
    summary: bool = False
    """True when the text is a summary, not the thought itself."""
    signature: Signature | None = None
    """Anthropic's signature, OpenAI's encrypted content, Gemini's thought signature."""
    redacted: bool = False
    """Anthropic's redacted block: no text, everything in the signature."""
    id: str | None = None
    """Item id (``rs_…``) where the dialect has one."""
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class Opaque:
    """A block that only its own dialect understands: verbatim there, refused elsewhere."""

    dialect: DialectName
    body: Mapping[str, Json]


Part: TypeAlias = Text | Refusal | Media | ToolCall | ToolResult | Reasoning | Opaque
