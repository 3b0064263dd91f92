"""The formats that agents keep their settings in, behind one way to change them.

``changed`` and ``reverted`` are the only callers of the editors. They compare what a changed text
holds with what it should hold: an editor may refuse a file, but cannot damage one unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, Self, TypeAlias

from app.clients.change import (
    ABSENT,
    Change,
    Entry,
    NotEditable,
    Path,
    dropped,
    get,
    placed,
    render_place,
    same,
)
from app.clients.jsonc import JsonDocument
from app.clients.marked import EnvDocument

__all__ = ["FORMATS", "Document", "FormatName", "Former", "Reverted", "changed", "reverted"]

FormatName: TypeAlias = Literal["jsonc", "toml", "yaml", "env", "line"]
"""``env``: lines of ours between marks; ``line``: one value, at the path ``value``."""


class Document(Protocol):
    """A text that was read. Reading raises ``SyntaxFault`` for what is not in the format."""

    text: str

    @property
    def value(self) -> Any:
        """What it holds, as plain values; None where it is empty."""

    def put(self, path: Path, value: Any) -> Self:
        """Return the document with a value at a place."""

    def drop(self, path: Path) -> Self:
        """Return the document without what stands at a place."""


@dataclass(frozen=True, slots=True)
class Former:
    """What stood at a place before we set it: the memory that undoing needs."""

    path: Path
    value: Any
    """What we set."""
    old: Any
    """What stood there, or ``ABSENT``."""
    made: int = 0
    """Steps of the path that were there already; containers after them are ours."""


@dataclass(frozen=True, slots=True)
class Reverted:
    """A text without our values."""

    text: str
    left: tuple[str, ...] = ()
    """Places that somebody changed after us; they are left as they are."""


class _LineDocument:
    """A file whose whole text is one value."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.value: Any = {"value": text.strip()} if text.strip() else None

    def put(self, path: Path, value: Any) -> _LineDocument:
        if path != ("value",) or not isinstance(value, str) or "\n" in value:
            raise NotEditable(f"{render_place(path)} cannot stand in a file of one line.")
        return _LineDocument(value + "\n")

    def drop(self, path: Path) -> _LineDocument:
        return _LineDocument("") if path == ("value",) else self


def _toml(text: str) -> Document:
    from app.clients.tomltext import TomlDocument

    return TomlDocument(text)


def _yaml(text: str) -> Document:
    from app.clients.yamltext import YamlDocument

    return YamlDocument(text)


FORMATS: Final[Mapping[FormatName, Callable[[str], Document]]] = {
    "jsonc": JsonDocument,
    "toml": _toml,
    "yaml": _yaml,
    "env": EnvDocument,
    "line": _LineDocument,
}
"""Reads a text; the libraries of TOML and YAML are imported when one is read."""


def changed(
    name: FormatName, text: str, changes: Iterable[Change]
) -> tuple[str, tuple[Former, ...]]:
    """Return a text with values set, and what undoing needs; equal values are not touched.

    Raises:
        SyntaxFault: the text is not in its format.
        NotEditable: a value cannot be set without changing something else.
    """
    document = FORMATS[name](text)
    former = []
    for change in changes:
        old = get(document.value, change.path)
        if change.optional and old is not ABSENT and old is not None:
            continue
        former.append(Former(change.path, change.value, old, _depth(document.value, change.path)))
        if old is ABSENT or not same(old, change.value):
            wanted = placed(document.value, change.path, change.value)
            document = _checked(document.put(change.path, change.value), wanted, change.path)
    return document.text, tuple(former)


def reverted(name: FormatName, text: str, former: Sequence[Former]) -> Reverted:
    """Return a text in which our values are what they were, containers of ours removed if empty.

    Raises:
        SyntaxFault: the text is not in its format.
        NotEditable: a value cannot be removed without changing something else.
    """
    document = FORMATS[name](text)
    left = []
    for entry in reversed(former):
        now = get(document.value, entry.path)
        if now is ABSENT:
            continue
        if not same(now, entry.value):
            left.append(render_place(entry.path))
        elif entry.old is not ABSENT:
            if not same(now, entry.old):
                wanted = placed(document.value, entry.path, entry.old)
                document = _checked(document.put(entry.path, entry.old), wanted, entry.path)
        else:
            document = _removed(document, entry)
    return Reverted(document.text, tuple(reversed(left)))


def _removed(document: Document, entry: Former) -> Document:
    path = entry.path
    while True:
        wanted = dropped(document.value, path)
        document = _checked(document.drop(path), wanted, path)
        path = path[:-1]
        if len(path) <= entry.made or not path or get(document.value, path) not in ({}, [], None):
            return document


def _checked(document: Document, wanted: Any, path: Path) -> Document:
    if not same(document.value, wanted):
        raise NotEditable(
            f"{render_place(path)} cannot be changed without changing the layout of this file."
        )
    return document


def _depth(tree: Any, path: Sequence[str | Entry]) -> int:
    """Return how many steps of a path lead to something."""
    steps = range(len(path), 0, -1)
    return next((n for n in steps if get(tree, path[:n]) is not ABSENT), 0)
