"""The parts of a Chat stream on their way, each in a slot until it is its turn."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from app.canonical.events import Event
from app.canonical.parts import Json, Part

__all__ = ["Kind", "Slot"]

Kind: TypeAlias = Literal["text", "refusal", "reasoning", "call", "whole"]

_JSON_MARKS = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)


class _Balance:
    """Says whether the JSON seen so far is one complete object; reads each character once."""

    __slots__ = ("_depth", "_escape", "_seen", "_text")

    def __init__(self) -> None:
        self._depth = 0
        self._seen = False
        self._text = False
        self._escape = False

    def feed(self, piece: str) -> None:
        if self._escape:
            piece = piece[1:] if piece else piece
            self._escape = False
        for match in _JSON_MARKS.finditer(piece):
            mark = match.group()
            if mark[0] == "\\":
                self._escape = len(mark) == 1
            elif mark == '"':
                self._text = not self._text
            elif not self._text:
                self._depth += 1 if mark in "{[" else -1
                self._seen = True

    @property
    def complete(self) -> bool:
        return self._seen and self._depth <= 0 and not self._text


class Slot:
    """A part on its way; ``held`` keeps its events until it is open."""

    __slots__ = (
        "balance",
        "call_id",
        "closed",
        "custom",
        "details",
        "ended",
        "held",
        "index",
        "key",
        "kind",
        "name",
        "open",
        "part",
        "pending",
        "size",
    )

    def __init__(self, kind: Kind, index: int, part: Part | None) -> None:
        self.kind = kind
        self.index = index
        self.part = part
        self.open = False
        self.ended = False
        self.closed = False
        self.held: list[Event] = []
        self.pending: list[str] = []
        """Argument pieces that the balance has not read yet."""
        self.balance = _Balance()
        self.size = 0
        self.call_id = ""
        self.key = ""
        """Field of an unsigned thought."""
        """The id as the service gave it."""
        self.name = ""
        self.custom = False
        self.details: list[Json] = []

    def is_complete(self) -> bool:
        """Say whether a call's arguments are whole."""
        if self.custom:
            return True
        for piece in self.pending:
            self.balance.feed(piece)
        self.pending.clear()
        return self.balance.complete
