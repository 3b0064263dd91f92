"""Signs of life in both directions, without a task per request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from app.gateway.call import Sink
from app.http import Headers

__all__ = ["Pinger"]


class Pinger:
    """Looks after an exchange that has been silent for ``every_s`` seconds.

    It looks whether the client is still there, and writes a ping when the answer is a stream. One
    timer per exchange, armed anew when it fires, not on each write. It writes only at frame
    borders (``at_border``), because a pass-through chunk may end inside a frame. The first ping
    of a stream that has no head yet sends the head, too: the status is then decided, but another
    candidate can still take over, since no content was sent.

    Args:
        sink: where the answer goes.
        ping: gives the bytes of a ping; None where there is no stream to write into.
        every_s: the silence in seconds; 0 for none of this.
    """

    __slots__ = ("_every_s", "_handle", "_loop", "_ping", "_sink", "at_border", "head")

    def __init__(self, sink: Sink, ping: Callable[[], bytes] | None, every_s: float) -> None:
        self._sink = sink
        self._ping = ping
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self.at_border = True
        self.head: Callable[[], Headers] | None = None
        """Gives the head's fields; None while no attempt has begun."""

    def __enter__(self) -> Pinger:
        if self._every_s > 0:
            self._sink.written_at = self._loop.time()
            self._handle = self._loop.call_later(self._every_s, self._fire)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _fire(self) -> None:
        rest = self._sink.written_at + self._every_s - self._loop.time()
        if rest <= 0.001:
            rest = self._every_s
            if not self._sink.alive():
                return
            if self._ping is not None and self.at_border and self.head is not None:
                if not self._sink.started:
                    self._sink.start(200, self.head())
                if not self._sink.ping(self._ping()):
                    return
        self._handle = self._loop.call_later(max(rest, 0.05), self._fire)
