"""Lines of ours between marks, at the end of a file that belongs to somebody else.

``EnvDocument`` reads such lines as ``NAME=value``, the form of ``.env`` files: of a name that is
there twice the later one holds, so nothing above the marks has to be changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from app.clients.change import NotEditable, Path, SyntaxFault, render_place
from app.clients.textfile import newline_of

__all__ = ["EnvDocument", "block_of", "with_block", "without_block"]

_BEGIN: Final = "# >>> dragoman >>>"
_END: Final = "# <<< dragoman <<<"
_BLOCK = re.compile(
    rf"^{re.escape(_BEGIN)}[ \t]*\r?\n(.*?)^{re.escape(_END)}[ \t]*(?:\r?\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(rf"^(?:{re.escape(_BEGIN)}|{re.escape(_END)})", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,-]*")


def block_of(text: str) -> tuple[str, ...] | None:
    """Return the lines between our marks, or None where there are no marks.

    Raises:
        SyntaxFault: one mark without the other, or two blocks.
    """
    found = list(_BLOCK.finditer(text))
    marks = list(_MARK.finditer(text))
    if len(marks) != 2 * len(found) or len(found) > 1:
        place = marks[-1].start()
        raise SyntaxFault.at(text, place, "the marks of Dragoman's lines are not one pair")
    return tuple(found[0][1].splitlines()) if found else None


def with_block(text: str, lines: Sequence[str]) -> str:
    """Return a text with our lines, in place of older ones or at the end.

    Raises:
        SyntaxFault: as ``block_of``.
    """
    newline = newline_of(text)
    block = newline.join((_BEGIN, *lines, _END))
    if block_of(text) is not None:
        match = _BLOCK.search(text)
        assert match is not None  # noqa: S101 - block_of found it
        end = newline if match[0].endswith("\n") else ""
        return text[: match.start()] + block + end + text[match.end() :]
    if not text or text.endswith("\n"):
        return text + block + newline
    return text + newline + block  # a file without a last line end stays one


def without_block(text: str) -> str:
    """Return a text without our lines and marks: what ``with_block`` was given.

    Raises:
        SyntaxFault: as ``block_of``.
    """
    if block_of(text) is None:
        return text
    match = _BLOCK.search(text)
    assert match is not None  # noqa: S101 - block_of found it
    start = match.start()
    if not match[0].endswith("\n"):
        start = len(text[:start].removesuffix("\n").removesuffix("\r"))
    return text[:start] + text[match.end() :]


class EnvDocument:
    """The variables between our marks; an edit returns a new document."""

    def __init__(self, text: str) -> None:
        """Read a text; it may be empty.

        Raises:
            SyntaxFault: the marks are broken, or a line between them is no assignment.
        """
        self.text = text
        self.value: dict[str, Any] = {}
        """Our variables; those of others are not in it."""
        for line in block_of(text) or ():
            name, equals, value = line.partition("=")
            if line.strip() and not line.startswith("#"):
                if not equals or not _NAME.fullmatch(name):
                    place = text.index(_BEGIN)
                    raise SyntaxFault.at(text, place, f"expected NAME=value, not {line}")
                self.value[name] = _unquoted(value)

    def put(self, path: Path, value: Any) -> EnvDocument:
        """Return the document with a variable set.

        Raises:
            NotEditable: the value cannot stand on a line.
        """
        return self._with({**self.value, _name(path): value})

    def drop(self, path: Path) -> EnvDocument:
        """Return the document without a variable."""
        name = _name(path)
        return self._with({key: value for key, value in self.value.items() if key != name})

    def _with(self, variables: dict[str, Any]) -> EnvDocument:
        if not variables:
            return EnvDocument(without_block(self.text))
        lines = [f"{name}={_quoted(value)}" for name, value in variables.items()]
        return EnvDocument(with_block(self.text, lines))


def _name(path: Path) -> str:
    if len(path) != 1 or not isinstance(path[0], str) or not _NAME.fullmatch(path[0]):
        raise NotEditable(f"{render_place(path)} is no name of a variable.")
    return path[0]


def _quoted(value: Any) -> str:
    if not isinstance(value, str) or "'" in value or "\n" in value or "\r" in value:
        raise NotEditable("A variable's value is one line of text without single quotation marks.")
    return value if _PLAIN.fullmatch(value) else f"'{value}'"


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value
