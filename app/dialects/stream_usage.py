"""The usage of a Chat stream: asked for where the client does not, and kept from it again.

A stream of OpenAI Chat tells its usage only when the request has ``stream_options.include_usage``.
It is told in one more chunk before ``[DONE]``, whose ``choices`` are empty. A client that did not
ask for it may not expect such a chunk, so that it is taken out of the bytes on their way.

Source: https://platform.openai.com/docs/api-reference/chat/streaming (read 2026-11); chunks of
other services that carry their usage beside a choice belong to the answer and stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from app.canonical.parts import DialectName, Json
from app.dialects.sse import SseParser

__all__ = ["UsageFilter", "ask_for_usage"]

_OPTIONS = "stream_options"
_USE = re.compile(rb'"usage"\s*+:\s*+\{')
"""Cannot be part of a text: within one, quotation marks are escaped."""
_END = re.compile(rb"(?:\r\n|\n|\r(?=[^\n])){2}")
"""Ends an event. A CR at the end of the bytes may be half of a CRLF: the next byte tells."""
_MAX_HELD_BYTES = 8 * 1024
"""A chunk that tells the usage has less than 1 KB; what is longer is passed on as it comes."""


class _Chunk(msgspec.Struct, gc=False):
    choices: list[msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(_Chunk).decode


def ask_for_usage(dialect: DialectName, head: Mapping[str, msgspec.Raw]) -> dict[str, Json]:
    """Return the top-level edits of a streamed request that make the service tell its usage.

    Args:
        dialect: of the service.
        head: top level of a body in that dialect.

    Returns:
        Nothing where the request asks already, where streams of the dialect tell it anyhow, and
        where the options are none that could be added to.
    """
    if dialect != "openai_chat":
        return {}
    options = msgspec.json.decode(head[_OPTIONS]) if _OPTIONS in head else None
    if options is None:
        options = {}
    if not isinstance(options, dict) or options.get("include_usage") is True:
        return {}
    return {_OPTIONS: {**options, "include_usage": True}}


class UsageFilter:
    """Takes the chunk that only tells the usage out of a stream, whatever its pieces.

    Everything else leaves as it came, byte for byte. The beginning of an event waits for its end,
    which no client could use before.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what may go on now; maybe nothing."""
        if self._held:
            data = self._held + data
        # Nearly every chunk ends with an event and has no usage in it.
        end = len(data) if data.endswith(b"\n\n") else _last_end(data)
        self._held = data[end:]
        if len(self._held) > _MAX_HELD_BYTES:
            end, self._held = len(data), b""
        whole = data[:end]
        return whole if _USE.search(whole) is None else _without_usage(whole)

    def close(self) -> bytes:
        """Return what was held when the stream ended."""
        held, self._held = self._held, b""
        return held if _USE.search(held) is None else _without_usage(held)


def _last_end(data: bytes) -> int:
    end = 0
    for found in _END.finditer(data):
        end = found.end()
    return end


def _without_usage(data: bytes) -> bytes:
    kept: list[bytes] = []
    at = 0
    for end in (*(found.end() for found in _END.finditer(data)), len(data)):
        event = data[at:end]
        if _USE.search(event) is None or not _only_tells_usage(event):
            kept.append(event)
        at = end
    return b"".join(kept)


def _only_tells_usage(event: bytes) -> bool:
    parser = SseParser()
    for frame in (*parser.feed(event), *parser.close()):
        try:
            return _decode(frame.data).choices == []
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False
    return False
