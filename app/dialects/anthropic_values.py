"""Typed access to Anthropic's wire values, and what travels in ``native``.

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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.canonical.parts import DialectName, Json, JsonObject, Native
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import ChatRequest
from app.dialects.base import LossList
from app.errors import RequestError

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
    "kind_of",
    "native_of",
    "need_list",
    "need_object",
    "need_text",
    "opt_count",
    "opt_flag",
    "opt_number",
    "opt_object",
    "opt_text",
    "own_fields",
    "parse_arguments",
    "rest_of",
    "unique_id",
    "wrong",
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


def kind_of(value: Any) -> str:
    """Return what a JSON value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def wrong(path: str, wanted: str, value: Any) -> RequestError:
    """Return the error for a value of a wrong type."""
    return RequestError(f"{path} must be {wanted}, not {kind_of(value)}.", param=path)


def need_object(value: Any, path: str) -> JsonObject:
    """Return an object.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(value, dict):
        raise wrong(path, "an object", value)
    return value


def need_list(value: Any, path: str) -> list[Json]:
    """Return a list.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(value, list):
        raise wrong(path, "a list", value)
    return value


def need_text(value: Any, path: str) -> str:
    """Return a string.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(value, str):
        raise wrong(path, "a string", value)
    return value


def opt_text(body: Mapping[str, Any], key: str, path: str) -> str | None:
    """Return an optional string; null counts as absent."""
    value = body.get(key)
    return None if value is None else need_text(value, path)


def opt_object(body: Mapping[str, Any], key: str, path: str) -> JsonObject | None:
    """Return an optional object; null counts as absent."""
    value = body.get(key)
    return None if value is None else need_object(value, path)


def opt_count(body: Mapping[str, Any], key: str, path: str) -> int | None:
    """Return an optional whole number from 0 upwards; null counts as absent."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(path, "a whole number", value)
    if value < 0:
        raise RequestError(f"{path} must not be negative.", param=path)
    return value


def opt_number(body: Mapping[str, Any], key: str, path: str) -> float | None:
    """Return an optional number; null counts as absent."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong(path, "a number", value)
    return value


def opt_flag(body: Mapping[str, Any], key: str, path: str) -> bool | None:
    """Return an optional boolean; null counts as absent."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, bool):
        raise wrong(path, "a boolean", value)
    return value


def rest_of(body: Mapping[str, Json], known: frozenset[str]) -> JsonObject:
    """Return the fields that are not among ``known``, in order."""
    return {key: value for key, value in body.items() if key not in known}


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


def unique_id(wanted: str, taken: set[str]) -> str:
    """Return an id that is not among ``taken``, and add it there: a suffix tells twins apart."""
    made, number = wanted, 1
    while made in taken:
        number += 1
        made = f"{wanted[:58]}_{number}"
    taken.add(made)
    return made


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
