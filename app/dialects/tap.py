"""What a pass-through stream tells the gateway, read beside the bytes that go out unchanged.

Until the first content, every frame is inspected: that is when failover is still possible. After
that only the stream's end matters (usage, a failure, the terminal event), so chunks are kept as
they are, without splitting or decoding, and the last frames of them are inspected when the stream
ends.
"""

from __future__ import annotations

import re
from collections import deque

from app.canonical.failure import Failure, cut_stream
from app.canonical.response import StopReason
from app.canonical.usage import Usage
from app.dialects.base import Dialect, Sight
from app.dialects.sse import SseParser
from app.errors import UpstreamError

__all__ = ["Tap"]

_TAIL_BYTES = 64 * 1024
"""What is kept of the end. A final event longer than this (Responses repeats the whole answer
there) is found by its beginning, see ``Dialect.final_names``."""
_END_BYTES = (512, 4096)
"""How much of that is looked at first: in nearly every stream it holds all that matters."""
_WINDOW_BYTES = 64
"""How much of a chunk is looked at again with the next one: more than a match is long."""


class Tap:
    """Reads one pass-through stream."""

    __slots__ = (
        "_dialect",
        "_final_names",
        "_final_seen",
        "_last",
        "_parser",
        "_size",
        "_tail",
        "content",
        "failure",
        "final",
        "stop",
        "terminal",
        "usage",
    )

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._final_names = dialect.final_names
        self._parser: SseParser | None = SseParser()
        self._tail: deque[bytes] = deque()
        self._size = 0
        self._last = b""
        self._final_seen = False
        self.content = False
        """True once something that a client acts upon has passed."""
        self.failure: Failure | None = None
        self.terminal = False
        self.stop: StopReason | None = None
        """Why the answer ended, as far as its frames tell."""
        self.usage: Usage | None = None
        self.final = b""
        """The stream's last bytes, with the whole final event of a Responses stream; after
        ``close``."""

    def feed(self, chunk: bytes) -> None:
        """Look at one chunk."""
        if self._parser is None:
            self._keep(chunk)
            return
        at = 0
        while at < len(chunk):  # frame by frame, so that nothing behind the first content is read
            border = chunk.find(b"\n\n", at)
            end = len(chunk) if border < 0 else border + 2
            try:
                for frame in self._parser.feed(chunk[at:end]):
                    self._take(self._dialect.inspect(frame))
            except UpstreamError:
                self.content = True
            if self.content or self.terminal:
                self._parser = None
                # Without a border the parser may hold the beginning of a further frame.
                self._keep(chunk if self.terminal or border < 0 else chunk[end:])
                return
            at = end

    def _keep(self, chunk: bytes) -> None:
        self._tail.append(chunk)
        self._size += len(chunk)
        if self._final_seen:
            return
        if self._final_names and self._names_final(chunk):
            self._final_seen = True  # from here on everything is the final event: keep it whole
            return
        while self._size - len(self._tail[0]) > _TAIL_BYTES:
            self._size -= len(self._tail.popleft())

    def _names_final(self, chunk: bytes) -> bool:
        """Say whether the final event begins in a chunk.

        An answer that only speaks of such an event cannot look like one: inside a JSON string line
        ends and quotation marks are escaped.
        """
        joint = self._last + chunk[:_WINDOW_BYTES]
        self._last = (joint if len(chunk) < _WINDOW_BYTES else chunk)[-_WINDOW_BYTES:]
        for text in (joint, chunk):
            for name in self._final_names:
                if name in text and re.search(
                    rb'(?:[\r\n]event: ?|"type"\s*:\s*")%b["\s]' % re.escape(name), text
                ):
                    return True
        return False

    def close(self) -> None:
        """Read what the end of the stream said."""
        if self._parser is not None:
            sights = [self._dialect.inspect(frame) for frame in self._parser.close()]
        else:
            self.final = data = b"".join(self._tail)
            self._tail.clear()
            for size in (*_END_BYTES, len(data)):
                border = data.rfind(b"\n\n", 0, max(len(data) - size, 0))
                start = 0 if border < 0 else border + 2
                sights = self._read(data[start:])
                ended = any(sight.terminal or sight.failure for sight in sights)
                counted = size > _END_BYTES[0] or any(sight.usage for sight in sights)
                if not start or (ended and counted):
                    break
        for sight in sights:
            self._take(sight)

    def _read(self, data: bytes) -> list[Sight]:
        parser = SseParser()
        try:
            frames = parser.feed(data) + parser.close()
        except UpstreamError:  # an event without end, as ``feed`` may have met it
            return []
        return [self._dialect.inspect(frame) for frame in frames]

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
        if sight.stop is not None:
            self.stop = sight.stop
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
    prompt = first if last.prompt == 0 else last
    write_1h = last.cache_write_1h
    if write_1h is None and prompt.cache_write == first.cache_write:
        write_1h = first.cache_write_1h
    return Usage(
        prompt.input,
        prompt.cache_read,
        prompt.cache_write,
        last.output,
        last.reasoning,
        write_1h,
    )
