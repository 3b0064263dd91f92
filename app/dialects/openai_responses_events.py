"""One event of a Responses stream as read, and what is known of an output item on its way."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from app.canonical.parts import Json, JsonObject

__all__ = ["Item", "Wire", "decode_odd_wire", "decode_wire"]


class Wire(msgspec.Struct):
    """The fields of any stream event that matter here."""

    type: str = ""
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    item_id: str | None = None
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: str | None = None
    logprobs: list[Any] | None = None
    annotation: dict[str, Any] | None = None
    item: dict[str, Any] | None = None
    part: dict[str, Any] | None = None
    response: dict[str, Any] | None = None


decode_wire = msgspec.json.Decoder(Wire).decode


class Item:
    """One output item on its way."""

    __slots__ = (
        "annotations",
        "at",
        "closed",
        "final",
        "first",
        "index",
        "kind",
        "logprobs",
        "mode",
        "native",
        "raw",
        "sent",
        "waiting",
    )

    def __init__(self, index: int, kind: str) -> None:
        self.index = index
        self.kind = kind
        self.raw: JsonObject = {}
        """The item as announced."""
        self.waiting: list[Wire] = []
        self.closed = False
        self.at = -1
        """Content index of the open part of a message."""
        self.first = True
        """No part of a message has been told yet."""
        self.sent: dict[int, int] = {}
        """Characters told: by section for thoughts, by content index for words, 0 for calls."""
        self.mode: Literal["", "summary", "content", "call"] = ""
        self.native: JsonObject = {}
        """Native fields told with the open part."""
        self.annotations = 0
        self.logprobs: list[Json] = []
        self.final: JsonObject = {}
        """The open content part as its ``done`` event gave it."""


_TYPES: dict[str, type] = {
    "output_index": int,
    "content_index": int,
    "summary_index": int,
    "logprobs": list,
    "annotation": dict,
    "item": dict,
    "part": dict,
    "response": dict,
}
"""Types of the fields of ``Wire``; the others are strings."""


def decode_odd_wire(data: bytes) -> Wire | None:
    """Read an event some field of which is not as expected; None when it is no JSON object."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    wire = Wire()
    for name in Wire.__struct_fields__:
        field = value.get(name)
        if type(field) is _TYPES.get(name, str):
            setattr(wire, name, field)
    return wire
