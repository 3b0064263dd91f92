"""Bytes of a settings file as text and back, with everything kept that is not text.

The byte order mark and the encoding are taken off and put back; line ends stay in the text as they
are, mixed ones too, and lines that are added get the ends that most lines have.
"""

from __future__ import annotations

import codecs
import difflib
from dataclasses import dataclass
from typing import Final

from app.clients.change import SyntaxFault

__all__ = ["MAX_BYTES", "TextFile", "decode", "keep_line_ends", "newline_of"]

MAX_BYTES: Final = 8_000_000
"""Larger files are left alone: a settings file of people is a thousand times smaller."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text, and what ``encode`` needs to make bytes of a changed one."""

    text: str
    mark: bytes = b""
    """Byte order mark, empty where there is none."""
    encoding: str = "utf-8"

    def encode(self, text: str) -> bytes:
        """Return the bytes of a text in this file's encoding."""
        return self.mark + text.encode(self.encoding)


def decode(content: bytes) -> TextFile:
    """Read a file's bytes; without a byte order mark they are UTF-8.

    Raises:
        SyntaxFault: it is no text, or too large.
    """
    if len(content) > MAX_BYTES:
        raise SyntaxFault(f"the file is larger than {MAX_BYTES} bytes")
    marks = (found for found in _MARKS if content.startswith(found[0]))
    mark, encoding = next(marks, (b"", "utf-8"))
    body = content[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise SyntaxFault(f"the text is not {encoding.upper()}", line) from None
    return TextFile(text, mark, encoding)


def newline_of(text: str) -> str:
    """Return the line end that most lines have; a line feed where none has any."""
    windows = text.count("\r\n")
    return "\r\n" if windows > text.count("\n") - windows else "\n"


def keep_line_ends(before: str, after: str) -> str:
    """Give the lines of a changed text, all ending in a line feed, the ends they had before.

    Args:
        before: the text with its own line ends.
        after: the changed text; lines that are new get the end that most lines have.
    """
    if "\r\n" not in before:
        return after
    newline = newline_of(before)
    if before.count("\r\n") == before.count("\n"):
        return after.replace("\n", newline)
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    plain = [line.replace("\r\n", "\n") for line in old]
    result: list[str] = []
    matcher = difflib.SequenceMatcher(None, plain, new, autojunk=False)
    for kind, old_start, old_end, start, end in matcher.get_opcodes():
        if kind == "equal":
            result += old[old_start:old_end]
        else:
            result += [line.replace("\n", newline) for line in new[start:end]]
    return "".join(result)
