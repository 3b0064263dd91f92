"""JSON that is changed in places and keeps its bytes everywhere else.

A prompt cache and a signature hold for exact bytes, so a body is never decoded whole and written
anew: it is opened level by level (``msgspec.Raw``), single values are replaced, and what was not
opened goes out as it came. All readers return None for a value of another type: whether that is a
fault is for the service to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from app.canonical.parts import Json

__all__ = ["Fields", "join", "read_array", "read_fields", "read_text", "read_value", "write"]

Fields: TypeAlias = dict[str, msgspec.Raw]
"""One level of an object: keys in order, values not decoded."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_any = msgspec.json.Decoder().decode
_dump = msgspec.json.Encoder().encode


def read_fields(raw: msgspec.Raw | None) -> Fields | None:
    """Return one level of an object."""
    if raw is None:
        return None
    try:
        return _object(raw)
    except msgspec.MsgspecError:
        return None


def read_array(raw: msgspec.Raw | None) -> list[msgspec.Raw] | None:
    """Return the values of an array, not decoded."""
    if raw is None:
        return None
    try:
        return _array(raw)
    except msgspec.MsgspecError:
        return None


def read_text(raw: msgspec.Raw | None) -> str | None:
    """Return a string."""
    if raw is None:
        return None
    try:
        return _text(raw)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def read_value(raw: msgspec.Raw | None) -> Json:
    """Return a decoded value; None also where it is missing or cannot be decoded."""
    if raw is None:
        return None
    try:
        value: Json = _any(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return value


def write(value: Json) -> msgspec.Raw:
    """Return a value as JSON."""
    return msgspec.Raw(_dump(value))


def join(value: Mapping[str, msgspec.Raw] | Sequence[msgspec.Raw]) -> msgspec.Raw:
    """Return an object or array of values that are JSON already."""
    return msgspec.Raw(_dump(value))
