"""One HTTP/1.1 connection to a service, and the answer that is read from it.

Theory of operation. A ``Connection`` is an ``asyncio.Protocol`` that feeds each socket read to
``httptools`` (llhttp in its strict mode). All body bytes of one read become one chunk, however
many HTTP chunks or server-sent events they held, so that one read costs one wake-up and one write
downstream. The states of a connection:

``idle``
    In its origin's pool. A byte that arrives now belongs to no request: the connection is ended.
``head``
    A request was written; ``head_done`` is false. 1xx heads are skipped, a bounded number of them.
``body``
    The head is there; chunks queue up. Above ``HIGH_BYTES`` reading pauses until the reader has
    taken half of it, so the kernel slows the service down.
``done``
    The answer is complete (``error`` is None) or has failed (``error`` says how). A failure after
    some body bytes is raised behind these bytes, never instead of a clean end.
``closed``
    The socket is gone.

A complete answer leaves the connection usable unless the service asked to close it, sent bytes
behind the end of its answer, or has not taken the whole request yet.

Time limits use one timer per connection that is moved only when a nearer deadline comes or when it
fires early; waiting therefore creates one future and nothing else. The clock runs only while
somebody waits: a slow reader is not a slow service.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Protocol, cast

import httptools

from app.errors import UpstreamError
from app.upstream.failures import Stage, closed, timed_out, violation

__all__ = [
    "BODILESS",
    "HIGH_BYTES",
    "MAX_FIELDS",
    "MAX_HEAD_BYTES",
    "MAX_INTERIM",
    "OUR_FIELDS",
    "Answer",
    "Connection",
    "Home",
]

HIGH_BYTES = 256 * 1024
"""Unread body bytes at which reading pauses; asyncio reads at most this much at once."""
MAX_HEAD_BYTES = 64 * 1024
"""Limit of the head, 1xx heads before it included; also of bytes that carry no body at all."""
MAX_FIELDS = 200
"""Limit of header fields in one head."""
OUR_FIELDS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Request fields that belong to the connection; those of a caller are replaced or dropped."""
BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""Methods whose requests say nothing of a length where they have no body."""
MAX_INTERIM = 16
"""Limit of 1xx heads before the answer."""
_CLOCK_S = 0.001
"""A timer may fire this much early, by the resolution of the loop's clock."""


class Home(Protocol):
    """What a connection tells the pool that owns it."""

    def opened(self, connection: Connection) -> None:
        """Note a new connection."""

    def lost(self, connection: Connection) -> None:
        """Forget a connection whose socket is gone."""

    def released(self, connection: Connection) -> bool:
        """Keep a connection for reuse; False when there is no room."""


class Connection(asyncio.Protocol):
    """One connection; carries one request at a time. See the module's theory of operation."""

    __slots__ = (
        "_barren_bytes",
        "_deadline",
        "_head_bytes",
        "_head_only",
        "_home",
        "_interim",
        "_limit_s",
        "_loop",
        "_parser",
        "_parts",
        "_paused",
        "_sending",
        "_skip",
        "_stage",
        "_timer",
        "_timer_at",
        "_total_at",
        "_total_s",
        "_unsent_bytes",
        "_until_close",
        "_waiter",
        "buffered_bytes",
        "chunks",
        "closed",
        "done",
        "error",
        "fields",
        "head_done",
        "host",
        "idle_since",
        "keep",
        "status",
        "transport",
        "untouched",
    )

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, home: Home) -> None:
        self._loop = loop
        self._home = home
        self.host = host
        self.closed = False
        self.idle_since: float | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._limit_s = 0.0
        self._total_at: float | None = None
        self._total_s = 0.0
        self._stage = Stage.FIRST_BYTE
        self._paused = False
        self._sending = False
        self._unsent_bytes = 0
        self.begin(head_only=False)
        self.done = True  # nothing was asked yet: bytes that come now are not an answer

    def begin(self, *, head_only: bool) -> None:
        """Get ready for one answer; ``head_only`` for HEAD, whose answer has no body."""
        self.idle_since = None
        self.fields: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.chunks: deque[bytes] = deque()
        self.buffered_bytes = 0
        self.done = False
        self.error: UpstreamError | None = None
        self.head_done = False
        self.keep = False
        self.untouched = True
        self._parts: list[bytes] = []
        self._skip = False
        self._interim = 0
        self._head_bytes = 0
        self._barren_bytes = 0
        self._head_only = head_only
        self._until_close = False

    # httptools

    def on_message_begin(self) -> None:
        """Refuse a second message: only one answer was asked for."""
        if self.done:
            raise httptools.HttpParserError("surplus")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field of the head; trailers are read and dropped."""
        if not self.head_done:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Judge a head: skip 1xx, refuse ambiguous framing."""
        parser = cast(httptools.HttpResponseParser, self._parser)
        status = parser.get_status_code()
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > MAX_INTERIM:
                self._refuse("it changed the protocol" if status == 101 else "too many 1xx heads")
            self.fields = []
            self._skip = True
            return
        fields = self.fields
        if len(fields) > MAX_FIELDS:
            self._refuse(f"more than {MAX_FIELDS} header fields")
        size = 0
        framed = False
        coded = False
        for name, value in fields:
            length = len(name)
            size += length + len(value) + 4
            if length == 17 and name.lower() == b"transfer-encoding":
                # llhttp reads every other coding, or two of them, until the connection ends
                if coded or value.strip().lower() != b"chunked":
                    self._refuse("a transfer coding other than chunked")
                framed = coded = True
            elif length == 14 and name.lower() == b"content-length":
                framed = True
        if size > MAX_HEAD_BYTES:
            self._refuse(f"a head of more than {MAX_HEAD_BYTES} bytes")
        version = parser.get_http_version()
        if version != "1.1" and (version != "1.0" or coded):
            self._refuse(f"HTTP version {version} with this framing")
        self.status = status
        self.head_done = True
        if self._head_only:
            self.done = True
        else:
            self._until_close = not framed

    def on_body(self, data: bytes) -> None:
        """Collect body bytes of the current read."""
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """Note the end of a 1xx head or of the answer."""
        if self._skip:
            self._skip = False
            return
        self.done = True
        self.keep = cast(httptools.HttpResponseParser, self._parser).should_keep_alive()

    def _refuse(self, reason: str) -> None:
        """Fail the answer and stop the parser."""
        self.error = violation(self.host, reason)
        raise httptools.HttpParserError(reason)

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Switch Nagle's algorithm off and report to the pool."""
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._home.opened(self)

    def data_received(self, data: bytes) -> None:
        """Parse one socket read."""
        parser = self._parser
        if self.done or parser is None:
            self.keep = False
            self.transport.abort()
            return
        self.untouched = False
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.keep = False
            if not self.done:
                self.done = True
                if self.error is None:
                    self.error = violation(self.host, _plain(error))
                    self.error.__cause__ = error
        parts = self._parts
        if parts and not self._head_only:
            chunk = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            self.chunks.append(chunk)
            self.buffered_bytes += len(chunk)
            self._barren_bytes = 0
            if self.buffered_bytes > HIGH_BYTES and not self._paused and not self.done:
                self._paused = True
                self.transport.pause_reading()
        elif not self.done:
            self._count_barren(len(data))
        if self.head_done or self.done:
            waiter = self._waiter
            if waiter is not None:
                self._waiter = None
                if not waiter.done():
                    waiter.set_result(None)

    def _count_barren(self, size: int) -> None:
        """Bound bytes that bring no body: long heads, endless trailers or chunk extensions."""
        self._barren_bytes += size
        if self._barren_bytes > MAX_HEAD_BYTES:
            what = "trailer or chunk extension" if self.head_done else "head"
            self.fail(violation(self.host, f"a {what} of more than {MAX_HEAD_BYTES} bytes"))

    def eof_received(self) -> None:
        """Let the transport close; ``connection_lost`` judges the end."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Judge how the answer ended and wake whoever waits."""
        self.closed = True
        self.keep = False
        self._parser = None  # parser and connection refer to each other
        if not self.done:
            self.done = True
            clean = self.head_done and self._until_close and exc is None
            if self.error is None and not clean:
                if self.untouched:
                    during = "without an answer"
                else:
                    during = "in the middle of its answer" if self.head_done else "within its head"
                self.error = closed(self.host, during)
                self.error.__cause__ = exc
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()
        self._home.lost(self)

    def pause_writing(self) -> None:
        """Note that the service is slower in taking the request than we in giving it."""
        self._sending = True
        self._unsent_bytes = self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """Start the clock of the first byte: the request is out, but for a rest on its way."""
        self._sending = False
        if self._waiter is not None and not self.head_done and self._stage is Stage.FIRST_BYTE:
            self._set_deadline()

    # waiting

    def wait(
        self, limit_s: float, stage: Stage, total_at: float | None, total_s: float
    ) -> asyncio.Future[None]:
        """Return a future that ends when there is something new, a failure included.

        Args:
            limit_s: seconds to wait at most.
            stage: what is waited for.
            total_at: end of the whole call on the loop's clock, or None.
            total_s: the limit that ``total_at`` came from, for the message.
        """
        loop = self._loop
        self._stage = stage
        self._limit_s = limit_s
        self._total_at = total_at
        self._total_s = total_s
        self._set_deadline()
        deadline = self._deadline
        if self._timer is None or self._timer_at > deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = loop.call_at(deadline, self._on_timer)
        self._waiter = waiter = loop.create_future()
        return waiter

    def _set_deadline(self) -> None:
        """Count the limit from now, within the limit of the whole call."""
        self._deadline = self._loop.time() + self._limit_s
        if self._total_at is not None and self._total_at < self._deadline:
            self._deadline = self._total_at
            self._stage = Stage.TOTAL
            self._limit_s = self._total_s

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._sending and self._stage is Stage.FIRST_BYTE:
            unsent = self.transport.get_write_buffer_size()
            if unsent < self._unsent_bytes:
                self._unsent_bytes = unsent
                self._set_deadline()
            else:
                self._stage = Stage.SEND
        if self._loop.time() < self._deadline - _CLOCK_S:
            self._timer_at = self._deadline
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
            return
        self.fail(timed_out(self.host, self._stage, self._limit_s))

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def now(self) -> float:
        """Return the loop's clock."""
        return self._loop.time()

    # ends

    def fail(self, error: UpstreamError) -> None:
        """End the answer with an error and close the socket at once."""
        if self.error is None:
            self.error = error
        self.done = True
        self.keep = False
        self.transport.abort()
        self._wake()

    def abort(self) -> None:
        """Close the socket at once, so that the service stops generating."""
        self.done = True
        self.keep = False
        self.transport.abort()

    def take(self) -> bytes:
        """Return the oldest unread chunk; reading goes on when enough was taken."""
        chunk = self.chunks.popleft()
        self.buffered_bytes -= len(chunk)
        if self._paused and self.buffered_bytes < HIGH_BYTES // 2:
            self._paused = False
            self.transport.resume_reading()
        return chunk

    def release(self) -> None:
        """Give the connection back after a complete answer, or end it."""
        transport = self.transport
        if (
            not self.keep
            or self.closed
            or self._head_only
            or transport.is_closing()
            or transport.get_write_buffer_size()
        ):
            self.abort()
            return
        self.chunks.clear()
        if self._paused:
            self._paused = False
            transport.resume_reading()
        if not self._home.released(self):
            self.abort()


def _plain(error: Exception) -> str:
    """Return llhttp's reason as the rest of a sentence."""
    text = str(error).strip().rstrip(".")
    return text[:1].lower() + text[1:] if text and not text.isdigit() else "it cannot be parsed"


class Answer:
    """The head of one answer, and its body as an async iterator of chunks.

    A chunk is what one socket read brought. The iterator raises ``UpstreamError`` when the answer
    breaks off or a time limit passes, and raises it again when asked again: a broken answer never
    looks complete. ``aclose`` gives the connection back, or ends it if the answer is not complete.
    """

    __slots__ = ("_connection", "_error", "_idle_s", "_total_at", "_total_s", "fields", "status")

    def __init__(
        self, connection: Connection, idle_s: float, total_at: float | None, total_s: float
    ) -> None:
        self._connection: Connection | None = connection
        self._error: UpstreamError | None = None
        self._idle_s = idle_s
        self._total_at = total_at
        self._total_s = total_s
        self.status = connection.status
        self.fields = connection.fields

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> bytes:
        connection = self._connection
        if connection is None:
            if self._error is not None:
                raise self._error
            raise StopAsyncIteration
        if self._total_at is not None and not connection.done and connection.now() > self._total_at:
            connection.chunks.clear()
            connection.fail(timed_out(connection.host, Stage.TOTAL, self._total_s))
        while True:
            if connection.chunks:
                return connection.take()
            if connection.done:
                self._connection = None
                if connection.error is None:
                    connection.release()
                    raise StopAsyncIteration
                self._error = connection.error
                connection.abort()
                raise self._error
            try:
                await connection.wait(self._idle_s, Stage.IDLE, self._total_at, self._total_s)
            except BaseException:  # cancelled: nobody will read the rest
                self._connection = None
                self._error = closed(connection.host, "after reading was cancelled")
                connection.abort()
                raise

    async def aclose(self) -> None:
        """Give the connection back, or close it at once when the answer is not complete."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        if connection.done and connection.error is None:
            connection.release()
        else:
            self._error = closed(connection.host, "because reading was given up")
            connection.abort()
