"""What is to stand at which place of a settings file, whatever its format.

A place is a path of keys from the top; an ``Entry`` among them names the item of a list by one of
its fields. The functions here work on plain values: the editors of the formats are held to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from app.errors import AppError

__all__ = [
    "ABSENT",
    "Absent",
    "Change",
    "Entry",
    "NotEditable",
    "Path",
    "SyntaxFault",
    "dropped",
    "get",
    "nested",
    "placed",
    "render_place",
    "same",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """The item of a list whose ``field`` has this ``value``."""

    field: str
    value: str


Path: TypeAlias = tuple[str | Entry, ...]
"""Keys and entries from the top of the document; never empty."""


class Absent:
    """The type of ``ABSENT``."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
"""Nothing stands at a place; None would be the file's own null."""


@dataclass(frozen=True, slots=True)
class Change:
    """A value that is to stand at a place."""

    path: Path
    value: Any
    """Text, number, truth value, or lists and dictionaries of these."""
    optional: bool = False
    """Set only where nothing stands: what a file must have, whoever wrote it."""


class SyntaxFault(Exception):
    """A text that is not in its format; ``line`` and ``column`` count from 1, 0 is unknown."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column

    @classmethod
    def at(cls, text: str, index: int, message: str) -> SyntaxFault:
        """Return a fault at a position of a text."""
        line = text.count("\n", 0, index) + 1
        return cls(message, line, index - (text.rfind("\n", 0, index) + 1) + 1)


class NotEditable(AppError):
    """The text is valid, but cannot be changed here without changing something else, too."""

    status = 409
    code = "not_editable"


def render_place(path: Sequence[str | Entry]) -> str:
    """Return a path as people read it: ``models[name=x].apiBase``."""
    text = ""
    for step in path:
        if isinstance(step, Entry):
            text += f"[{step.field}={step.value}]"
        else:
            text += f".{step}" if text else step
    return text


def get(tree: Any, path: Sequence[str | Entry]) -> Any:
    """Return the value at a place, or ``ABSENT``."""
    for step in path:
        tree = _child(tree, step)
        if tree is ABSENT:
            return ABSENT
    return tree


def _child(tree: Any, step: str | Entry) -> Any:
    if isinstance(step, Entry):
        if isinstance(tree, list):
            for item in tree:
                if isinstance(item, dict) and item.get(step.field) == step.value:
                    return item
        return ABSENT
    return tree.get(step, ABSENT) if isinstance(tree, dict) else ABSENT


def nested(path: Sequence[str | Entry], value: Any) -> Any:
    """Return a value wrapped in the containers that a path goes through."""
    for step in reversed(path):
        if isinstance(step, Entry):
            fields = value if isinstance(value, dict) else {}
            value = [{step.field: step.value, **fields}]
        else:
            value = {step: value}
    return value


def placed(tree: Any, path: Path, value: Any) -> Any:
    """Return a tree with a value at a place; nothing of ``tree`` is changed.

    Raises:
        NotEditable: something on the way is no container of the needed kind.
    """
    step, rest = path[0], path[1:]
    if isinstance(step, Entry):
        items = [] if tree is None or tree is ABSENT else tree
        if not isinstance(items, list):
            raise NotEditable(f"{render_place(path)} is to be an item of what is no list.")
        for i, item in enumerate(items):
            if isinstance(item, dict) and item.get(step.field) == step.value:
                new = placed(item, rest, value) if rest else value
                return [*items[:i], new, *items[i + 1 :]]
        return [*items, *nested(path, value)]
    keys = {} if tree is None or tree is ABSENT else tree
    if not isinstance(keys, dict):
        raise NotEditable(f"{render_place(path)} is to be a key of what has no keys.")
    new = placed(keys.get(step, ABSENT), rest, value) if rest else value
    return {**keys, step: new}


def dropped(tree: Any, path: Path) -> Any:
    """Return a tree without what stands at a place; nothing of ``tree`` is changed."""
    step, rest = path[0], path[1:]
    child = _child(tree, step)
    if child is ABSENT:
        return tree
    if isinstance(step, Entry):
        return [
            item if item is not child else dropped(item, rest)
            for item in tree
            if item is not child or rest
        ]
    if rest:
        return {**tree, step: dropped(child, rest)}
    return {key: item for key, item in tree.items() if key != step}


def same(one: Any, other: Any) -> bool:
    """Say whether two trees hold the same, keys in any order; empty containers equal null.

    A removed last key leaves ``key:`` in YAML, which reads as null.
    """
    if _is_empty(one) and _is_empty(other):
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return all(same(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other or (one != one and other != other))


def _is_empty(value: Any) -> bool:
    return value is None or value is ABSENT or value in ({}, [])
