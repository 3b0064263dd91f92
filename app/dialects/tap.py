"""What a pass-through stream tells the gateway, read beside the bytes that go out unchanged.

Until the first content, every frame is inspected: that is when failover is still possible. After
that only the stream's end matters (usage, a failure, the terminal event), so chunks are kept as
they are, without splitting or decoding, and the last of them are inspected when the stream ends.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace

from app.canonical.failure import Failure, cut_stream
from app.canonical.usage import Usage
from app.dialects.base import Dialect, Sight
from app.dialects.sse import SseParser
from app.errors import UpstreamError

__all__ = ["Tap"]

_TAIL_BYTES = 64 * 1024
"""What is kept of the end. A final event longer than this (Responses repeats the whole answer
there) is found by its beginning, see ``_marks``."""

_FINAL_MARKS = (b"response.completed", b"response.incomplete", b"response.failed")
_FINAL = re.compile(
    rb'(?:[\r\n]event: ?|"type"\s*:\s*")response\.(?:completed|incomplete|failed)["\s]'
)
"""The same as the name of an event, which an answer that only speaks of it cannot hold: inside a
JSON string line ends and quotation marks are escaped."""
_WINDOW_BYTES = 64
"""How much of a chunk is looked at again with the next one: more than a match is long."""


class Tap:
    """Reads one pass-through stream."""

    __slots__ = (
        "_dialect",
        "_final_seen",
        "_last",
        "_parser",
        "_size",
        "_tail",
        "content",
        "failure",
        "final",
        "terminal",
        "usage",
    )

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._parser: SseParser | None = SseParser()
        self._tail: deque[bytes] = deque()
        self._size = 0
        self._last = b""
        self._final_seen = False
        self.content = False
        """True once something that a client acts upon has passed."""
        self.failure: Failure | None = None
        self.terminal = False
        self.usage: Usage | None = None
        self.final = b""
        """The stream's last bytes, with the whole final event of a Responses stream; after
        ``close``."""

    def feed(self, chunk: bytes) -> None:
        """Look at one chunk."""
        if self._parser is not None:
            try:
                for frame in self._parser.feed(chunk):
                    self._take(self._dialect.inspect(frame))
            except UpstreamError:
                self.content = True
            if self.content or self.terminal:
                self._parser = None
                self._keep(chunk)
            return
        self._keep(chunk)

    def _keep(self, chunk: bytes) -> None:
        self._tail.append(chunk)
        self._size += len(chunk)
        if self._final_seen:
            return
        window = self._last + chunk
        if any(mark in window for mark in _FINAL_MARKS) and _FINAL.search(window):
            self._final_seen = True  # from here on everything is the final event: keep it whole
            return
        self._last = window[-_WINDOW_BYTES:]
        while self._size - len(self._tail[0]) > _TAIL_BYTES:
            self._size -= len(self._tail.popleft())

    def close(self) -> None:
        """Read what the end of the stream said."""
        if self._parser is not None:
            frames = self._parser.close()
        else:
            tail = SseParser()
            self.final = data = b"".join(self._tail)
            self._tail.clear()
            try:
                frames = tail.feed(data) + tail.close()
            except UpstreamError:  # an event without end, as ``feed`` may have met it
                frames = []
        for frame in frames:
            self._take(self._dialect.inspect(frame))

    def verdict(self) -> Failure | None:
        """Return why the stream failed, or None when it ended as it should; after ``close``."""
        if self.failure is not None:
            return self.failure
        return None if self.terminal else cut_stream()

    def _take(self, sight: Sight) -> None:
        if sight.content:
            self.content = True
        if sight.terminal:
            self.terminal = True
        if sight.usage is not None:
            self.usage = _joined(self.usage, sight.usage)
        if sight.failure is not None and self.failure is None:
            self.failure = sight.failure


def _joined(first: Usage | None, last: Usage) -> Usage:
    """Return the later counts, with what only the earlier ones said.

    Several services of the Anthropic dialect count the prompt at the start of a stream only, and
    its owner tells only there how long written cache entries live.
    """
    if first is None:
        return last
    if last.prompt == 0:
        last = replace(
            last, input=first.input, cache_read=first.cache_read, cache_write=first.cache_write
        )
    if last.cache_write_1h is None and last.cache_write == first.cache_write:
        last = replace(last, cache_write_1h=first.cache_write_1h)
    return last
