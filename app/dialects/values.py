"""Checked access to wire values: what a client or a service wrote is of the type that is wanted.

``need_x`` takes a value and the path where it stands. ``opt_x`` takes the object that holds a
value, its key, and the path of that object ("" for the body itself); null counts as absent. All of
them raise ``RequestError`` whose message begins with the path and whose ``param`` is the path.
Decoders of a service's answer turn that into their own failure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from app.canonical.parts import Json, JsonObject
from app.errors import RequestError

__all__ = [
    "first_object",
    "join",
    "kind_of",
    "need_flag",
    "need_list",
    "need_object",
    "need_text",
    "opt_count",
    "opt_flag",
    "opt_number",
    "opt_object",
    "opt_text",
    "rest_of",
    "unique_id",
    "wrong",
]


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


def join(path: str, key: str) -> str:
    """Return the path of a field."""
    return f"{path}.{key}" if path else key


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


def need_flag(value: Any, path: str, wanted: str = "true or false") -> bool:
    """Return a boolean, which the error calls ``wanted``.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(value, bool):
        raise wrong(path, wanted, value)
    return value


def opt_text(body: Mapping[str, Any], key: str, path: str = "") -> str | None:
    """Return an optional string.

    Raises:
        RequestError: it is something else.
    """
    value = body.get(key)
    return None if value is None else need_text(value, join(path, key))


def opt_object(body: Mapping[str, Any], key: str, path: str = "") -> JsonObject | None:
    """Return an optional object.

    Raises:
        RequestError: it is something else.
    """
    value = body.get(key)
    return None if value is None else need_object(value, join(path, key))


def opt_count(body: Mapping[str, Any], key: str, path: str = "") -> int | None:
    """Return an optional whole number from 0 upwards.

    Raises:
        RequestError: it is something else.
    """
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(join(path, key), "a whole number", value)
    if value < 0:
        raise RequestError(f"{join(path, key)} must not be negative.", param=join(path, key))
    return value


def opt_number(body: Mapping[str, Any], key: str, path: str = "") -> float | None:
    """Return an optional number, as an ``int`` where it was written as one.

    Raises:
        RequestError: it is something else.
    """
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong(join(path, key), "a number", value)
    return value


def opt_flag(
    body: Mapping[str, Any], key: str, path: str = "", wanted: str = "a boolean"
) -> bool | None:
    """Return an optional boolean, which the error calls ``wanted``.

    Raises:
        RequestError: it is something else.
    """
    value = body.get(key)
    return None if value is None else need_flag(value, join(path, key), wanted)


def rest_of(body: Mapping[str, Json], known: Collection[str]) -> JsonObject:
    """Return the fields that are not among ``known``, in order."""
    return {key: value for key, value in body.items() if key not in known}


def first_object(body: bytes) -> JsonObject | None:
    """Return the JSON object of a body, or the first of a list of them; None for all else.

    Google's services wrap their errors in a list.
    """
    try:
        value: Json = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, dict) else None


def unique_id(wanted: str, taken: set[str]) -> str:
    """Return an id that is not among ``taken``, and add it there: a suffix tells twins apart.

    The result has at most 64 characters where ``wanted`` has no more. An empty id stays empty:
    it is no id, and whoever writes it makes one.
    """
    made, number = wanted, 1
    while made and made in taken:
        number += 1
        made = f"{wanted[:58]}_{number}"
    taken.add(made)
    return made
