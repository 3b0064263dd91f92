"""TOML changed in place, by tomlkit, which keeps comments, order and space.

Line ends are taken off before and put back after. A new table is added at the end of the text,
where it disturbs nothing; every change is read again, so that a text which the library lays out
otherwise than expected is refused and not damaged. Source: toml.io/en/v1.0.0.
"""

from __future__ import annotations

import re
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError
from tomlkit.items import AoT, Table

from app.clients.change import (
    Entry,
    NotEditable,
    Path,
    SyntaxFault,
    dropped,
    nested,
    placed,
    render_place,
    same,
)
from app.clients.jsonc import render_inline
from app.clients.textfile import keep_line_ends

__all__ = ["TomlDocument"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"(?:^[ \t]*#[^\n]*\n)*^[ \t]*\[", re.MULTILINE)
"""The header of a table, with the comments right above it, which are about it."""


class TomlDocument:
    """One text and what it holds; an edit returns a new document."""

    def __init__(self, text: str) -> None:
        """Read a text; it may be empty.

        Raises:
            SyntaxFault: it is not TOML.
            NotEditable: it is, but the library would not write it back as it is.
        """
        self.text = text
        self._plain = text.replace("\r\n", "\n")
        try:
            self._tree = tomlkit.parse(self._plain)
        except ParseError as error:
            message = str(error).partition(" at line ")[0]
            if "\\x00" in message:  # how the library sees the end of the text
                message = "the text ends before this is complete"
            raise SyntaxFault(message, error.line, error.col) from error
        except (TOMLKitError, RecursionError) as error:
            raise SyntaxFault(str(error)) from error
        if tomlkit.dumps(self._tree) != self._plain:
            raise NotEditable("This TOML text cannot be written back exactly as it is.")
        self.value: Any = self._tree.unwrap()
        """The document as plain values."""

    def put(self, path: Path, value: Any) -> TomlDocument:
        """Return the document with a value at a place.

        Raises:
            NotEditable: it cannot be put there without changing something else.
        """
        _require_keys(path)
        wanted = placed(self.value, path, value)
        texts: list[str | None] = [self._assigned(path, value)]
        if isinstance(value, dict):
            texts.insert(0, self._with_table(path, value))
        for text in texts:
            if (document := self._checked(text, wanted)) is not None:
                return document
        raise NotEditable(
            f"{render_place(path)} cannot be set without changing the layout of this file."
        )

    def drop(self, path: Path) -> TomlDocument:
        """Return the document without what stands at a place.

        Raises:
            NotEditable: it cannot be removed without changing something else.
        """
        _require_keys(path)
        wanted = dropped(self.value, path)
        for text in (self._without_table(path), self._removed(path)):
            if (document := self._checked(text, wanted)) is not None:
                return document
        raise NotEditable(
            f"{render_place(path)} cannot be removed without changing the layout of this file."
        )

    def _checked(self, text: str | None, wanted: Any) -> TomlDocument | None:
        """Return the document of a changed text, or None where it does not hold what it should."""
        if text is None:
            return None
        try:
            document = TomlDocument(keep_line_ends(self.text, text))
        except (SyntaxFault, NotEditable):
            return None
        return document if same(document.value, wanted) else None

    def _with_table(self, path: Path, value: dict[str, Any]) -> str:
        """Return the text with a table of its own at the end; the old one, if any, is left out."""
        rest = self._without_table(path)
        text = self._plain if rest is None else rest
        body = text.rstrip("\n")
        head = f"{text}{'' if text.endswith(chr(10)) else chr(10)}\n" if body else text
        lines = _table_lines([str(step) for step in path], value)
        ends = "\n" if not self._plain or self._plain.endswith("\n") else ""
        return head + "\n".join(lines) + ends

    def _without_table(self, path: Path) -> str | None:
        """Return the text without the lines of a table and its parts, or None if it has none."""
        name = r"[ \t]*\.[ \t]*".join(_any_form(str(step)) for step in path)
        header = re.compile(rf"^[ \t]*\[[ \t]*{name}[ \t]*(\.[^\]\n]*)?\][^\n]*\n?", re.MULTILINE)
        text, found = self._plain, False
        while match := header.search(text):
            following = _HEADER.search(text, match.end())
            end = following.start() if following else len(text)
            start = match.start()
            if text[:start].endswith("\n\n"):
                start -= 1  # the empty line before it was made with it
            text, found = text[:start] + text[end:], True
        if found and not self._plain.endswith("\n"):
            text = text.removesuffix("\n")
        return text if found else None

    def _assigned(self, path: Path, value: Any) -> str | None:
        tree = tomlkit.parse(self._plain)
        try:
            table: Any = tree
            for depth, step in enumerate(path[:-1]):
                if step not in table:
                    table[step] = nested(path[depth + 1 :], value)
                    return self._dumped(tree)
                table = table[step]
            if isinstance(table.get(path[-1]), (Table, AoT)):
                return None  # the library would take the comments below it along
            table[path[-1]] = value
            return self._dumped(tree)
        except (TOMLKitError, KeyError, TypeError, AttributeError, ValueError):
            return None  # what the library cannot do here is refused by the caller

    def _removed(self, path: Path) -> str | None:
        tree = tomlkit.parse(self._plain)
        try:
            table: Any = tree
            for step in path[:-1]:
                table = table[step]
            if isinstance(table[path[-1]], (Table, AoT)):
                return None  # as above
            del table[path[-1]]
            return self._dumped(tree)
        except (TOMLKitError, KeyError, TypeError, AttributeError, ValueError):
            return None  # as above

    def _dumped(self, tree: tomlkit.TOMLDocument) -> str:
        text = tomlkit.dumps(tree)
        if self._plain and not self._plain.endswith("\n"):
            return text.removesuffix("\n")
        return text if text.endswith("\n") or not text else text + "\n"


def _require_keys(path: Path) -> None:
    if any(isinstance(step, Entry) for step in path):
        raise NotEditable(f"{render_place(path)}: lists of TOML are not edited.")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else render_inline(name)


def _any_form(name: str) -> str:
    """Return the pattern of a key in all ways of writing it that are in use."""
    forms = {render_inline(name), f"'{name}'"} | ({name} if _BARE_KEY.fullmatch(name) else set())
    return f"(?:{'|'.join(map(re.escape, sorted(forms)))})"


def _table_lines(path: list[str], value: dict[str, Any]) -> list[str]:
    """Return the lines of a table; tables in it follow with headers of their own."""
    lines = [f"[{'.'.join(map(_key, path))}]"]
    tables = []
    for key, item in value.items():
        if isinstance(item, dict):
            tables += ["", *_table_lines([*path, key], item)]
        else:
            lines.append(f"{_key(key)} = {tomlkit.item(item).as_string()}")
    return lines + tables
