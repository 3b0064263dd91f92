"""What travels in ``native`` of Anthropic's dialect, and a request on its way to a service.

``Native.fields`` of this dialect hold unknown wire fields under their own names. Names that begin
with ``@`` are ours and never written: ``LIST`` on the only text of a content means that it stood
in a list, not as a string; ``JOIN`` on a message that it continues the wire message before it
(a user message is split where tool results end, since the canon keeps those apart); ``THINKING``
and ``EFFORT_ONLY`` on a reasoning configuration keep forms of ``thinking`` without a counterpart.
``decode_request`` always sets ``ChatRequest.native``, if only to an empty one: that is how
``encode_request`` knows that a request comes from this dialect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import msgspec

from app.canonical.parts import DialectName, JsonObject, Native
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import ChatRequest
from app.dialects.base import LossList

__all__ = [
    "BILLING",
    "BILLING_KEY",
    "EFFORT_ONLY",
    "ISSUER",
    "JOIN",
    "LIST",
    "NAME",
    "THINKING",
    "TOOL_NAME",
    "Outgoing",
    "has_mark",
    "native_of",
    "own_fields",
    "parse_arguments",
    "parse_object",
]


NAME: DialectName = "anthropic"
ISSUER = "anthropic"
"""Issuer of the signatures that a client of this dialect sends back unsealed."""
BILLING = "x-anthropic-billing-header:"
"""Begins the system block by which Claude Code names itself; meant for its vendor only."""
BILLING_KEY = "billing_blocks"
"""Where ``ChatRequest.native`` keeps those blocks."""
LIST, JOIN, THINKING, EFFORT_ONLY = "@list", "@join", "@thinking", "@effort_only"
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
"""What the service accepts as a tool's name."""


def native_of(fields: JsonObject) -> Native | None:
    """Return fields as this dialect's native ones, or None when there are none."""
    return Native(NAME, fields) if fields else None


def own_fields(native: Native | None) -> JsonObject:
    """Return the wire fields that this dialect left with a value, without our own marks."""
    if native is None or native.dialect != NAME:
        return {}
    return {key: value for key, value in native.fields.items() if not key.startswith("@")}


def has_mark(native: Native | None, mark: str) -> bool:
    """Say whether one of our own marks was left there."""
    return native is not None and native.dialect == NAME and mark in native.fields


def parse_arguments(arguments: str) -> JsonObject | None:
    """Return a call's arguments as an object, or None when they are no JSON object."""
    if not arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return value if isinstance(value, dict) else None


@dataclass(slots=True)
class Outgoing:
    """One request on its way to a service, and what it loses there."""

    request: ChatRequest
    target: Target
    losses: LossList = field(default_factory=LossList)

    @property
    def own(self) -> bool:
        """Whether the request came in this dialect."""
        native = self.request.native
        return native is not None and native.dialect == NAME

    @property
    def profile(self) -> ModelProfile:
        """Facts about the model."""
        return self.target.profile


def parse_object(raw: bytes) -> JsonObject | None:
    """Return a JSON object, or None when it is none."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
