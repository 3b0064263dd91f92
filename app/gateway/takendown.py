"""Sinks for who wants to have what was answered: beside the client, or instead of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from app.gateway.call import Sink
from app.http import Headers

__all__ = ["Nowhere", "TakenDown"]


class TakenDown:
    """A sink that keeps what goes through it to another, up to a size."""

    __slots__ = (
        "_most_bytes",
        "_pieces",
        "_sink",
        "cut",
        "ended",
        "headers",
        "size",
        "status",
        "streamed",
    )

    def __init__(self, sink: Sink, most_bytes: int) -> None:
        """Take the sink to pass on to, and how much is kept."""
        self._sink = sink
        self._most_bytes = most_bytes
        self._pieces: list[bytes] = []
        self.size = 0
        """Bytes that went through."""
        self.status = 0
        """Of the answer; 0 before it began."""
        self.headers: Headers = ()
        self.streamed = False
        self.ended = False
        """Whether the answer came to its end."""
        self.cut = False
        """Whether more went through than was kept."""

    @property
    def body(self) -> bytes:
        """What was kept."""
        return b"".join(self._pieces)

    def _take(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= self._most_bytes:
            self._pieces.append(data)
        else:
            self.cut = True

    @property
    def started(self) -> bool:
        """Whether the head was sent."""
        return self._sink.started

    @property
    def written_at(self) -> float:
        """Loop time of the last write."""
        return self._sink.written_at

    @written_at.setter
    def written_at(self, moment: float) -> None:
        self._sink.written_at = moment

    def start(self, status: int, headers: Headers) -> None:
        """Send the head."""
        self.status, self.headers, self.streamed = status, headers, True
        self._sink.start(status, headers)

    def write(self, data: bytes) -> Awaitable[None]:
        """Send a piece."""
        self._take(data)
        return self._sink.write(data)

    def alive(self) -> bool:
        """Look whether the client is still there."""
        return self._sink.alive()

    def ping(self, data: bytes) -> bool:
        """Send a sign of life, which is no part of the answer."""
        return self._sink.ping(data)

    def finish(self) -> None:
        """End the answer."""
        self.ended = True
        self._sink.finish()

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self.status, self.headers, self.ended = status, headers, True
        self._take(body)
        self._sink.reply(status, headers, body)


class Nowhere:
    """A sink without a client: the program itself wants to know."""

    __slots__ = ("started", "written_at")

    def __init__(self) -> None:
        """Begin; on the loop."""
        self.started = False
        self.written_at = asyncio.get_running_loop().time()

    def start(self, status: int, headers: Headers) -> None:
        """Begin an answer."""
        self.started = True

    async def write(self, data: bytes) -> None:
        """Take a piece."""

    def alive(self) -> bool:
        """Say that nobody has left."""
        return True

    def ping(self, data: bytes) -> bool:
        """Say that nobody has left."""
        return True

    def finish(self) -> None:
        """End an answer."""

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Take a whole answer."""
        self.started = True
