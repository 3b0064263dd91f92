"""How a conversation begins, read off the bytes of a body: equal for all calls of a conversation.

Clients send all of a conversation with each call, so what stands before the first answer of the
model stays as it is while the conversation grows. Nothing is decoded: this runs for every call of a
client that gives its conversations no names.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["opening"]

_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
_TURNS = ("messages", "input", "contents")
_ANSWERED = (b'"assistant"', b'"model"', b'"reasoning"', b'"function_call"')
"""What the first answer is known by: its role, or the kind of its first item."""
_MOST = 4_096
"""Bytes of each field that are looked at; two conversations rarely begin alike for longer."""


def opening(head: Mapping[str, msgspec.Raw]) -> bytes:
    """Return the beginning of a conversation; empty where there is none.

    Args:
        head: the top level of a body, not decoded.
    """
    pieces = [bytes(memoryview(head[name])[:_MOST]) for name in _SYSTEM if name in head]
    for name in _TURNS:
        if name in head:
            turns = bytes(memoryview(head[name])[:_MOST])
            places = (turns.find(word) for word in _ANSWERED)
            end = min((place for place in places if place >= 0), default=len(turns))
            # Before an answer stands the comma of its list, after the last turn the list's end.
            whole = turns.rfind(b"}", 0, end) + 1
            pieces.append(turns[: whole or end])
    return b"\0".join(pieces)
