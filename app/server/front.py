"""What stands in front of Tornado's HTTP parser: strict heads, provable callers, no Nagle.

Heads are judged by ``head`` before Tornado reads them. A refused client gets a complete answer with
``Connection: close``, and the connection is closed as ``linger`` does it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from tornado.http1connection import (
    HTTP1Connection,
    HTTP1ConnectionParameters,
    HTTP1ServerConnection,
)
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerConnectionDelegate
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from app.errors import BugError
from app.http import Headers
from app.server.guard import Caller
from app.server.head import MAX_HEAD_BYTES, HeadRefused, check_framing, check_head, parse_head
from app.server.linger import LINGER_S, drain, shut_down
from app.server.peer import NoProver, ProgramNames, Prover, pair_of, prove

__all__ = ["FrontConnection", "FrontContext", "FrontServer"]

_log = logging.getLogger("dragoman.server")

_READ_HEAD_BYTES = 4 * MAX_HEAD_BYTES
"""How long a head Tornado collects: beyond our limit, so that one over it can be answered 431;
past this one, the connection is closed without an answer."""


class FrontContext:
    """What is known of one connection; the ``context`` of its requests' connections.

    Attributes:
        address: the remote socket address.
        address_family: of that address.
        remote_ip: its IP address as text (read by ``HTTPServerRequest``).
        protocol: always ``http``.
        turned_away: the server was full when the connection came; its request is answered 503.
    """

    __slots__ = (
        "_caller",
        "_key",
        "_names",
        "_prover",
        "_socket",
        "address",
        "address_family",
        "protocol",
        "remote_ip",
        "turned_away",
    )

    def __init__(
        self,
        sock: socket.socket,
        address: Any,
        prover: Prover,
        names: ProgramNames | None = None,
        turned_away: bool = False,
    ) -> None:
        self.address = address
        self.address_family = sock.family
        self.remote_ip = str(address[0]) if isinstance(address, tuple) else "0.0.0.0"  # noqa: S104 - "no IP", as Tornado has it
        self.protocol = "http"
        self.turned_away = turned_away
        self._socket = sock
        self._prover = prover
        self._names = names
        self._caller: Caller | None = None
        self._key: int | None = None

    def __str__(self) -> str:
        return self.remote_ip

    @property
    def caller(self) -> Caller:
        """Who calls; proven at first use and kept for the connection's life.

        With a slow prover this blocks for a moment unless ``identify`` has been awaited. The
        program's name is filled in once it is known.
        """
        caller = self._caller
        if caller is None:
            caller = self._learn(prove(self._socket, self._prover))
        if caller.program is None and self._names is not None:
            program = self._names.get(self._key)
            if program is not None:
                self._caller = caller = replace(caller, program=program)
        return caller

    @property
    def slow(self) -> bool:
        """Whether ``caller`` would block now, so that ``identify`` has to be awaited first."""
        return self._caller is None and self._prover.slow

    async def identify(self) -> Caller:
        """Return ``caller``, having asked a slow prover in an executor."""
        if self._caller is None and self._prover.slow:
            loop = asyncio.get_running_loop()
            proof = await loop.run_in_executor(None, prove, self._socket, self._prover)
            if self._caller is None:
                self._learn(proof)
        return self.caller

    def _learn(self, proof: Any) -> Caller:
        try:
            pair = pair_of(self._socket.getsockname(), self.address)
        except OSError:  # closed meanwhile
            pair = None
        self._key = proof.key
        self._caller = Caller(
            self.remote_ip,
            same_user=proof.same_user,
            loopback=pair is not None and pair.loopback,
        )
        return self._caller


_UNASKED_BYTES = 64 * 1024
"""What is read of a connection while nobody wants it; a request as agents send them has less."""


class _FrontStream(IOStream):
    """A stream that makes fewer system calls than Tornado's.

    Its no-delay flag, once on, stays on: Tornado puts Nagle's algorithm back after each request,
    which delays the second and later streamed answers of a connection.

    It stays registered for reading while a request is taken from the buffer, and between requests:
    Tornado takes it out when a head has come together with its body or before it is awaited, and
    puts it back for the body or to see the client leave. What comes while nobody reads is read into
    the buffer, one piece at a time; with many of them there it is taken out.
    """

    _nodelay = False
    _stays = False

    def _handle_read(self) -> None:
        # With nobody reading, Tornado must not think that somebody does: it would read on and on.
        self._stays = awaited = self._read_future is not None
        super()._handle_read()
        self._stays = awaited or self._read_buffer_size < _UNASKED_BYTES

    def reading(self) -> bool:
        return self._stays or super().reading()

    def set_nodelay(self, value: bool) -> None:
        if value and not self._nodelay:
            self._nodelay = True
            super().set_nodelay(True)


async def _turn_away(stream: IOStream, refusal: HeadRefused) -> None:
    """Answer a refused request and close its connection."""
    _log.debug("refused a request: %s", refusal.message)
    try:
        help_at = f"http://localhost:{stream.socket.getsockname()[1]}"
        async with asyncio.timeout(LINGER_S):
            await stream.write(refusal.render(help_at))
    except (OSError, StreamClosedError, TimeoutError):
        stream.close()
        return
    if shut_down(stream):
        await drain(stream)
    else:
        stream.close()


class FrontConnection(HTTP1Connection):
    """One request of a connection: Tornado's, with our checks before its parser."""

    context: FrontContext
    _unsent_head: bytes = b""

    @property
    def has_head(self) -> bool:
        """Whether the head of the request is there."""
        return self._request_start_line is not None

    @property
    def has_body(self) -> bool:
        """Whether the request is there as a whole."""
        return self._read_finished

    def _parse_headers(self, data: bytes) -> tuple[str, HTTPHeaders]:
        if self.context.turned_away:
            raise HeadRefused(503, "too_many_connections", "Dragoman has too many open files.")
        check_head(data)
        line, headers = parse_head(data)
        check_framing(line, headers)
        return line, headers

    def send_head(self, status_line: str, headers: Headers, body: bytes | None = None) -> None:
        """Send the head of an answer, and its body where that is whole.

        Tornado's ``write_headers`` does the same at three times the cost. Without a body the
        answer is chunked (until the connection's end for HTTP/1.0); send it with ``send`` and end
        it with ``finish``, as also after a whole body. The head of such an answer leaves with its
        first piece.

        Args:
            status_line: ``200 OK``.
            headers: without those of framing, which are ours.
            body: the whole body, or None when it follows.

        Raises:
            BugError: a field holds a line break or a character beyond latin-1.
        """
        request = self._request_start_line
        chunked = request is not None and request.version == "HTTP/1.1" and body is None
        lines = [f"HTTP/1.1 {status_line}", *[f"{name}: {value}" for name, value in headers]]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        elif chunked:
            lines.append("Transfer-Encoding: chunked")
        if self._disconnect_on_finish:
            lines.append("Connection: close")
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise BugError("A header field of an answer holds a line break.")
        try:
            data = text.encode("latin-1") + b"\r\n\r\n"
        except UnicodeEncodeError as error:
            raise BugError("A header field of an answer is not latin-1.") from error
        self._chunking_output = chunked
        if body is None:
            self._unsent_head = data
        elif not self.stream.closed():
            self._pending_write = self.stream.write(data + body)

    def send(self, data: bytes) -> asyncio.Future[None]:
        """Send a piece of a body; the future ends when the connection has taken it.

        The future of Tornado's ``write`` ends one turn of the loop later.

        Raises:
            StreamClosedError: the connection is closed; also raised by the future.
        """
        if self._chunking_output and data:  # an empty chunk would be the end
            data = b"%b%x\r\n%b\r\n" % (self._unsent_head, len(data), data)
        else:
            data = self._unsent_head + data
        self._unsent_head = b""
        self._pending_write = written = self.stream.write(data)
        return written

    def finish(self) -> None:
        """End the answer."""
        if self._unsent_head and not self.stream.closed():
            self.send(b"")
        super().finish()

    def _read_body(
        self, code: int, headers: HTTPHeaders, delegate: HTTPMessageDelegate
    ) -> Awaitable[None] | None:
        if not self._write_finished:
            return super()._read_body(code, headers, delegate)
        # Answered from the head alone (413, 401): the body is not wanted. Left to itself,
        # Tornado would read it all, or write a second answer when it is too long.
        if "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0":
            return drain(self.stream)
        self.close()
        return None

    def _finish_request(self, future: asyncio.Future[None] | None) -> None:
        stream: IOStream | None = self.stream
        if (
            stream is None
            or not self._disconnect_on_finish
            or self._read_finished
            or not shut_down(stream)
        ):
            super()._finish_request(future)
            return
        # The body is not read to its end: give the client time to read the answer. Whoever
        # reads the body goes on doing so; this bounds for how long.
        self._clear_callbacks()
        asyncio.get_running_loop().call_later(LINGER_S, self.close)


class _FrontServerConnection(HTTP1ServerConnection):
    """One connection: a loop over its requests."""

    stream: IOStream
    _idle_s: float = 0.0
    _head: FrontConnection | None = None
    """The request whose head is awaited or was taken last."""
    _head_by: float = 0.0

    def serve(self, delegate: HTTPServerConnectionDelegate, idle_s: float) -> None:
        """Serve requests until either side ends the connection.

        Args:
            delegate: what the requests go to.
            idle_s: seconds that each head may take to be complete, from the end of the request
                before it; its body may take as long once more.
        """
        self._idle_s = idle_s
        self.start_serving(delegate)

    async def _server_request_loop(self, delegate: HTTPServerConnectionDelegate) -> None:
        loop = asyncio.get_running_loop()
        # One timer that looks now and then, where Tornado sets and cancels one per request.
        self._watch = loop.call_later(self._idle_s, self._look)
        try:
            going_on = True
            while going_on:
                connection = FrontConnection(self.stream, False, self.params, self.context)
                self._head = connection
                self._head_by = loop.time() + self._idle_s
                receiver = delegate.start_request(self, connection)
                going_on = await connection.read_response(receiver)
                # Requests that have already arrived must not keep other connections waiting.
                await asyncio.sleep(0)
        except HeadRefused as refusal:
            await _turn_away(self.stream, refusal)
        except (StreamClosedError, UnsatisfiableReadError, asyncio.CancelledError):
            self.stream.close()
        except Exception:
            _log.exception("a connection failed")
            self.stream.close()
        finally:
            self._watch.cancel()
            delegate.on_close(self)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        rest = self._head_by - loop.time()
        request = self._head
        if request is not None and request.has_head:
            # A body may take as long as its head once more.
            rest = self._idle_s if request.has_body else rest + self._idle_s
        if rest <= 0:
            self.stream.close()
            return
        self._watch = loop.call_later(rest, self._look)


class FrontServer(HTTPServer):
    """Tornado's HTTP server behind strict head checks.

    Each request's ``connection.context`` is a ``FrontContext``.

    Args:
        delegate: the application or router that requests go to.
        prover: asks the kernel who calls; None proves nobody. Stays the caller's to close.
        names: finds the calling programs' names, if they are wanted.
        full: tells at each accept whether the process is near its limit of open files; such a
            connection's request is answered 503.
        max_body_bytes: the application's own limit; Tornado's is set to twice that, as a
            backstop for handlers that do not count.
        idle_timeout_s: seconds that a connection may wait for a request's head to be complete.
    """

    def __init__(
        self,
        delegate: HTTPServerConnectionDelegate,
        *,
        prover: Prover | None = None,
        names: ProgramNames | None = None,
        full: Callable[[], bool] | None = None,
        max_body_bytes: int = 64 * 1024 * 1024,
        idle_timeout_s: float = 600.0,
    ) -> None:
        super().initialize(
            delegate,
            max_header_size=_READ_HEAD_BYTES,
        )
        # Tornado's own limit, which the connections have a cheaper way for.
        self.conn_params.header_timeout = None
        self._idle_s = idle_timeout_s
        self.limit_bodies(max_body_bytes)
        self._prover = prover or NoProver()
        self._names = names
        self._full = full

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: Tornado calls this before ``__init__``, which does the work."""

    def limit_bodies(self, max_body_bytes: int) -> None:
        """Set the application's own limit, from each connection's next request on."""
        self.conn_params.max_body_size = 2 * max_body_bytes
        # A WebSocket message is read as one piece: of connections that are still to come.
        self.max_buffer_size = max(2 * max_body_bytes, 128 * 1024 * 1024)

    @property
    def open_connections(self) -> int:
        """Connections being served, WebSockets excluded."""
        return len(self._connections)

    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        try:
            stream = _FrontStream(
                connection,
                max_buffer_size=self.max_buffer_size,
                read_chunk_size=self.read_chunk_size,
            )
            stream.set_nodelay(True)
        except OSError:
            connection.close()  # the client has gone since accept
            return
        self.handle_stream(stream, address)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve an accepted connection."""
        full = self._full is not None and self._full()
        context = FrontContext(stream.socket, address, self._prover, self._names, full)
        params: HTTP1ConnectionParameters = self.conn_params
        served = _FrontServerConnection(stream, params, context)
        self._connections.add(served)
        served.serve(self, self._idle_s)
