"""What a rule changes in the body of a call (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from app.canonical.parts import Json
from app.dialects.base import DELETE, Delete
from app.errors import RequestError

__all__ = ["NO_EDITS", "Edits", "body_edits"]


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes of a body, in the words of the client's dialect.

    Keys are fields of the body, or paths into objects of it joined by dots.
    """

    absent: Mapping[str, Json] = field(default_factory=dict)
    """Written where the call has no such field."""
    override: Mapping[str, Json] = field(default_factory=dict)
    """Written whatever the call has."""
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.absent or self.override or self.remove)


NO_EDITS = Edits()


def body_edits(head: Mapping[str, msgspec.Raw], edits: Edits) -> dict[str, Json | Delete]:
    """Return what has to change in a body, for ``dialects.base.patch_object``.

    Args:
        head: the top level of the body, not decoded; only objects that are changed inside are.
        edits: what a rule wants.

    Returns:
        Top-level key to its new value, or ``DELETE``; empty when all is as wanted.

    Raises:
        RequestError: an object that is to be changed inside cannot be read.
    """
    body = _Body(head)
    for path, value in edits.absent.items():
        body.put(path.split("."), value, replaces=False)
    for path, value in edits.override.items():
        body.put(path.split("."), value, replaces=True)
    for path in edits.remove:
        body.drop(path.split("."))
    return body.changed


class _Body:
    """A body of which only what is touched gets decoded."""

    def __init__(self, head: Mapping[str, msgspec.Raw]) -> None:
        self._head = head
        self.changed: dict[str, Json | Delete] = {}

    def _top(self, name: str) -> Json | Delete:
        if name in self.changed:
            return self.changed[name]
        raw = self._head.get(name)
        if raw is None:
            return DELETE
        try:
            value: Json = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            # Half a surrogate pair, deep nesting: what nobody had to look at before.
            raise RequestError(
                f"The field {name} cannot be read: {error}.", code="invalid_json", param=name
            ) from error
        return value

    def put(self, path: list[str], value: Json, *, replaces: bool) -> None:
        """Write a value; one that is there, be it null, is kept unless it is to be replaced."""
        name, *inside = path
        old = self._top(name)
        new = _put(old, inside, value, replaces)
        if new is not old:
            self.changed[name] = new

    def drop(self, path: list[str]) -> None:
        """Take a value out, if it is there."""
        name, *inside = path
        old = self._top(name)
        if isinstance(old, Delete):
            return
        if not inside:
            if name in self._head:
                self.changed[name] = DELETE
            else:
                del self.changed[name]
            return
        new = _without(old, inside)
        if new is not old:
            self.changed[name] = new


def _put(old: Json | Delete, path: list[str], value: Json, replaces: bool) -> Json | Delete:
    if not path:
        return value if replaces or isinstance(old, Delete) else old
    if isinstance(old, dict):
        name, *inside = path
        there: Json | Delete = old.get(name, DELETE)
        new = _put(there, inside, value, replaces)
        return old if new is there or isinstance(new, Delete) else {**old, name: new}
    if isinstance(old, Delete) or replaces:
        made: Json = value
        for name in reversed(path):
            made = {name: made}
        return made
    return old  # something else is there, and may stay


def _without(old: Json, path: list[str]) -> Json:
    name, *inside = path
    if not isinstance(old, dict) or name not in old:
        return old
    if not inside:
        return {key: value for key, value in old.items() if key != name}
    new = _without(old[name], inside)
    return old if new is old[name] else {**old, name: new}
