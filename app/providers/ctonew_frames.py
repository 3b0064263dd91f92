"""Frames of cto.new's WebSocket, told as events.

A frame is a JSON object with a ``type``: ``history`` and ``label`` are of no concern; ``state``
says whether the answer is under way; ``update`` holds one message, as JSON text or as an object.
An idle ``state`` comes at once when the socket opens, so that the end is an idle one after a busy
one, or after an ``update``::

    waiting ──inProgress: true, or an update──▶ begun ──inProgress: false──▶ ended

Texts of a message come piece by piece; older servers sent all of it again each time. A text that
begins with everything told so far of its message is such a repetition, and only what is new in it
is told. A short text may begin so by chance (``1``, then ``10``): once pieces were seen, only one
that repeats a good deal counts.

Source: zero199901/cto-new-openai-proxy ``ws_engine.go`` (2026) and Luotianyi-0712/cto (2025-10).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec

from app.errors import UpstreamError

__all__ = ["FrameDecoder", "Heard"]

_SURE_CHARACTERS = 24
"""Pieces do not repeat this much of a message by chance."""

Kind: TypeAlias = Literal["text", "thinking"]


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of the answer."""

    kind: Kind
    text: str


@dataclass(slots=True)
class FrameDecoder:
    """Frames in, pieces of the answer out; see the module for its states."""

    begun: bool = False
    ended: bool = False
    _told: dict[tuple[str, Kind], str] = field(default_factory=dict)
    _in_pieces: bool = False
    _last: str | None = None
    """Id of the message whose text was told last."""

    def feed(self, frame: str | bytes) -> list[Heard]:
        """Read one frame.

        Raises:
            UpstreamError: it cannot be read, or tells of a failure.
        """
        body = _object(frame)
        match body.get("type"):
            case "state":
                self._state(body.get("state"))
            case "update":
                return self._update(_inner(body.get("buffer")))
            case "error":
                raise _failed(body)
        return []

    def _state(self, state: Any) -> None:
        if not isinstance(state, dict):
            return
        if state.get("inProgress") is True:
            self.begun = True
        elif self.begun:
            if state.get("cancelled") is True:
                raise UpstreamError("cto.new broke off the answer.", code="upstream_cancelled")
            self.ended = True

    def _update(self, message: dict[str, Any]) -> list[Heard]:
        if not message or message.get("role") == "user":
            return []  # the question comes back first
        self.begun = True
        kind: Kind
        match message.get("type"):
            case "chat":
                kind = "text"
            case "thinking":
                kind = "thinking"
            case "error":
                raise _failed(message)
            case _:
                return []
        chat = message.get("chat")
        text = chat.get("content") if isinstance(chat, dict) else None
        if not isinstance(text, str) or not text:
            return []
        name = message.get("id")
        return self._tell(name if isinstance(name, str) else "", kind, text)

    def _tell(self, name: str, kind: Kind, text: str) -> list[Heard]:
        told = self._told.get((name, kind), "")
        sure = not self._in_pieces or len(told) >= _SURE_CHARACTERS
        if told and sure and text.startswith(told):
            new = text[len(told) :]
            self._told[name, kind] = text
        else:
            new = text
            self._told[name, kind] = told + text
            self._in_pieces = self._in_pieces or bool(told)
        if not new:
            return []
        if kind == "text":
            if self._last not in (None, name):
                new = f"\n\n{new}"  # an agent's next message
            self._last = name
        return [Heard(kind, new)]


def _object(frame: str | bytes) -> dict[str, Any]:
    """Return the JSON object in a frame; frames that are no JSON at all are signs of life."""
    text = frame.encode() if isinstance(frame, str) else frame
    if not text.lstrip().startswith(b"{"):
        return {}
    try:
        body = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable() from error
    return body if isinstance(body, dict) else {}


def _inner(buffer: Any) -> dict[str, Any]:
    if isinstance(buffer, str):
        if not buffer.strip():
            return {}
        try:
            buffer = msgspec.json.decode(buffer)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise _unreadable() from error
    return buffer if isinstance(buffer, dict) else {}


def _unreadable() -> UpstreamError:
    return UpstreamError("cto.new sent a frame that cannot be read.", code="upstream_protocol")


def _failed(body: dict[str, Any]) -> UpstreamError:
    error = body.get("error")
    words = error.get("message") if isinstance(error, dict) else error
    words = words if isinstance(words, str) else body.get("message")
    text = " ".join(words.split())[:300] if isinstance(words, str) else "without a reason"
    return UpstreamError(f"cto.new failed: {text}.", code="upstream_failed")
