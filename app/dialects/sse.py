"""Server-sent events: bytes to frames, whatever the chunks.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html (line ends LF, CR or CRLF;
only these split lines, unlike ``str.splitlines``; a frame ends at a blank line; several ``data``
lines are joined by LF; one leading space after the colon is dropped; a BOM at the start is
ignored). One deviation: a frame without a closing blank line is given out by ``close``, because
several services end their stream that way.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import chain
from typing import NamedTuple

from app.errors import UpstreamError

__all__ = ["Frame", "SseParser", "render_frame"]

_BOM = b"\xef\xbb\xbf"
MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Images travel in one line; more than this is an attack or a fault."""


class Frame(NamedTuple):
    """One event: ``event`` is the type ('' when the stream names none), ``data`` its bytes."""

    event: str
    data: bytes


_make_frame = partial(tuple.__new__, Frame)
"""The same as ``Frame._make``, without its check of the length."""

# Every dialect writes its frames in one of two shapes. Chunks of nothing else are read by the
# regular expression engine, at a third of the cost of looking at line after line in Python. What
# it found is all there is when it and the frames' fixed bytes are as long as the chunk.
_UNNAMED = re.compile(rb"data: ([^\n]*+)\n\n")
_NAMED = re.compile(rb"event: ([^\n]*+)\ndata: ([^\n]*+)\n\n")
_UNNAMED_FIXED = len(b"data: \n\n")
_NAMED_FIXED = len(b"event: \ndata: \n\n")
_MAX_NAMES = 64


class _Names(dict[bytes, str]):
    """Event names decoded; a stream has a dozen of them."""

    def __missing__(self, name: bytes) -> str:
        text = name.strip().decode("utf-8", "replace")
        if len(self) < _MAX_NAMES:
            self[name] = text
        return text


class SseParser:
    """Splits a byte stream into frames; comments and unknown fields are dropped."""

    __slots__ = ("_buffer", "_names", "_size", "_start")

    def __init__(self) -> None:
        self._buffer: list[bytes] = []
        self._names = _Names()
        self._size = 0
        self._start = True

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that ``data`` completes.

        Raises:
            UpstreamError: a frame grows beyond 64 MB.
        """
        if self._start:
            data = self._skip_bom(data)
        if b"\n" not in data and b"\r" not in data:
            self._keep(data)
            return []
        if self._buffer:
            self._buffer.append(data)
            data = b"".join(self._buffer)
            self._buffer.clear()
            self._size = 0
        held = b""
        if b"\r" in data:
            # A CR at the very end may be half of a CRLF: wait for the next byte.
            if data.endswith(b"\r"):
                data, held = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            self._keep(data + held)
            return []
        if end < len(data) or held:
            self._keep(data[end:] + held)
            data = data[:end]
        return self._split(data)

    def _split(self, data: bytes) -> list[Frame]:
        """Return the frames of whole blocks."""
        if data.startswith(b"data: "):
            texts = _UNNAMED.findall(data)
            if len(data) == len(texts) * _UNNAMED_FIXED + len(b"".join(texts)):
                return [_make_frame(("", text)) for text in texts]
        elif data.startswith(b"event: "):
            found = _NAMED.findall(data)
            size = len(b"".join(chain.from_iterable(found)))
            if len(data) == len(found) * _NAMED_FIXED + size:
                names = self._names
                return [_make_frame((names[name], text)) for name, text in found]
        blocks = data.split(b"\n\n")
        return [frame for block in blocks if (frame := _parse_block(block)) is not None]

    def close(self) -> list[Frame]:
        """Return the frame left without its blank line, if it has data."""
        data = b"".join(self._buffer)
        self._buffer.clear()
        self._size = 0
        frame = _parse_block(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
        return [] if frame is None else [frame]

    def _skip_bom(self, data: bytes) -> bytes:
        if self._buffer:
            data = b"".join((*self._buffer, data))
            self._buffer.clear()
            self._size = 0
        if len(data) < 3 and data == _BOM[: len(data)]:
            return data  # may still become one; without a line end it is kept whole
        self._start = False
        return data[3:] if data.startswith(_BOM) else data

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_FRAME_BYTES:
            raise UpstreamError("The upstream sent an event longer than 64 MB.")
        self._buffer.append(data)


def _parse_block(block: bytes) -> Frame | None:
    event = ""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line.startswith(b"event:"):
            event = line[6:].strip().decode("utf-8", "replace")
        elif line == b"data":
            data.append(b"")
    if not data:
        return None
    return Frame(event, data[0] if len(data) == 1 else b"\n".join(data))


def render_frame(data: bytes, event: str = "") -> bytes:
    """Return one frame; ``data`` must be one line (JSON is)."""
    if event:
        return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
    return b"data: %b\n\n" % data
