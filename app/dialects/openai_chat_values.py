"""Typed access to Chat's wire values, and what travels in ``native``.

``Native.fields`` of this dialect hold unknown wire fields under their own names (fields of a
nested object under that object's name). One key is ours and never written: ``FORM`` remembers
which of several equal spellings the client used, so that its own dialect gets that one back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.canonical.parts import DialectName, Json, JsonObject, Native
from app.dialects.values import join, opt_flag, opt_number, wrong
from app.errors import RequestError

__all__ = [
    "FORM",
    "ISSUER",
    "NAME",
    "VENDOR",
    "add_native",
    "form_of",
    "get_flag",
    "get_int",
    "merge",
    "native_of",
    "own_fields",
    "required_text",
    "rest_of",
]

NAME: DialectName = "openai_chat"
VENDOR = "openai"
"""Issuer of the service whose clients name their end users in this dialect."""
ISSUER = "openai_chat"
"""Issuer of what a client of this dialect sends back unsealed."""
FORM = "$form"


def required_text(body: Mapping[str, Any], key: str, path: str) -> str:
    """Return a string field that must be there.

    Raises:
        RequestError: it is missing or something else.
    """
    value = body.get(key)
    if not isinstance(value, str):
        if value is None:
            raise RequestError(f"{join(path, key)} is missing.", param=join(path, key))
        raise wrong(join(path, key), "a string", value)
    return value


def get_int(body: Mapping[str, Any], key: str, path: str = "") -> int | None:
    """Return a whole number field; null counts as absent.

    Raises:
        RequestError: it is something else.
    """
    value = opt_number(body, key, path)
    if value is None:
        return None
    if value != int(value):
        raise RequestError(f"{join(path, key)} must be a whole number.", param=join(path, key))
    return int(value)


def get_flag(body: Mapping[str, Any], key: str, path: str = "") -> bool | None:
    """Return a boolean field; null counts as absent.

    Raises:
        RequestError: it is something else.
    """
    return opt_flag(body, key, path, "true or false")


def rest_of(body: Mapping[str, Any], known: frozenset[str]) -> JsonObject:
    """Return the fields that the canon does not name."""
    return {key: value for key, value in body.items() if key not in known and key != FORM}


def native_of(fields: JsonObject, form: Json = None) -> Native | None:
    """Return native fields, or None when there are none."""
    if form is not None:
        fields = {**fields, FORM: form}
    return Native(NAME, fields) if fields else None


def own_fields(native: Native | None) -> Mapping[str, Json]:
    """Return the fields of this dialect's native, else nothing."""
    return native.fields if native is not None and native.dialect == NAME else {}


def form_of(native: Native | None) -> Json:
    """Return the remembered spelling."""
    return own_fields(native).get(FORM)


def add_native(
    body: JsonObject, native: Native | None, skip: frozenset[str] = frozenset()
) -> JsonObject:
    """Add native fields to what was encoded; encoded values win, nested objects are merged."""
    for key, value in own_fields(native).items():
        if key != FORM and key not in skip:
            body[key] = merge(body[key], value) if key in body else value
    return body


def merge(mine: Json, extra: Json) -> Json:
    """Merge two values; mine wins, objects are merged field by field."""
    if isinstance(mine, dict) and isinstance(extra, dict):
        merged = dict(mine)
        for key, value in extra.items():
            merged[key] = merge(mine[key], value) if key in mine else value
        return merged
    return mine
