"""What stands in front of Tornado's HTTP parser: strict heads, provable callers, no Nagle.

Tornado's parser takes some things that other parsers read differently: lines that end in a bare
LF, ``Content-Length`` given twice with equal values, and unmasked WebSocket frames. Two readings
of one byte stream are how requests are smuggled, so all such heads are refused here, before
anything else looks at them. A head has to match one regular expression as a whole (a few
microseconds); only when it does not is it looked at again, to say what is wrong with it.

A refused client gets a complete answer with ``Connection: close``. The connection is then closed
in two steps: our side first, and the rest after the client's bytes have been drained for a
moment, because closing a socket with unread input resets it and takes our answer along.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
from tornado.http1connection import (
    HTTP1Connection,
    HTTP1ConnectionParameters,
    HTTP1ServerConnection,
)
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
)
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from app.errors import BugError
from app.http import Headers
from app.server.guard import Caller
from app.server.peer import NoProver, ProgramNames, Prover, pair_of, prove
from app.tasks import spawn

__all__ = [
    "FrontConnection",
    "FrontContext",
    "FrontServer",
    "HeadRefused",
    "StrictWebSocketHandler",
    "check_head",
]

_log = logging.getLogger("dragoman.server")

MAX_HEAD_BYTES = 64 * 1024
_READ_HEAD_BYTES = 4 * MAX_HEAD_BYTES
"""How long a head Tornado collects: beyond our limit, so that one over it can be answered 431;
past this one, the connection is closed without an answer."""
_MAX_FIELDS = 256
_LINGER_S = 1.0
_LINGER_BYTES = 4 * 1024 * 1024

_REASONS = {
    400: "Bad Request",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}

# Possessive quantifiers: a head that does not match fails at once, without backtracking.
_HEAD = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}+ /[\x21-\x7e]*+ HTTP/1\.[01]\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n"
)
_REQUEST_LINE = re.compile(rb"([^ ]*) ([^ ]*) HTTP/([0-9]\.[0-9])")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class HeadRefused(Exception):
    """A request that is not let through to the parser; ``status`` is the answer's."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def render(self) -> bytes:
        """Return the whole HTTP answer."""
        error = {"type": "invalid_request_error", "code": self.code, "message": self.message}
        if self.status >= 500:
            error["type"] = "server_error"
        body = msgspec.json.encode({"error": error})
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
            f"x-request-id: req_{secrets.token_hex(12)}",
            "x-dragoman-route: attempts=0",
        ]
        if self.status == 503:
            lines.append("Retry-After: 1")
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def check_head(head: bytes) -> None:
    """Check the bytes of a request's head, from its request line to its empty line.

    One empty line before the request line is allowed (RFC 9112, section 2.2).

    Raises:
        HeadRefused: 431 when it is too long or has too many fields; 400 when it is not exactly
            a request line in origin form and fields as RFC 9110 and 9112 write them.
    """
    if len(head) > MAX_HEAD_BYTES:
        raise HeadRefused(
            431, "head_too_large", f"The request's head is longer than {MAX_HEAD_BYTES} bytes."
        )
    if head.startswith(b"\r\n"):
        head = head[2:]
    if _HEAD.fullmatch(head) is None:
        raise HeadRefused(400, "malformed_request", _fault_of(head))
    if head.count(b"\n") > _MAX_FIELDS + 2:
        raise HeadRefused(
            431, "head_too_large", f"The request has more than {_MAX_FIELDS} header fields."
        )


def _fault_of(head: bytes) -> str:
    """Say what is wrong with a head that does not match."""
    if b"\0" in head:
        return "The request's head contains a NUL byte."
    plain = head.replace(b"\r\n", b"")
    if b"\n" in plain or b"\r" in plain:
        return "Every line of the request's head has to end in CR LF."
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        return "The request line is not of the form `METHOD /path HTTP/1.1`."
    if _METHOD.fullmatch(match[1]) is None:
        return "The request's method is not a short token."
    if not match[2].startswith(b"/"):
        return "The request's target has to be a path that starts with a slash."
    if match[3] not in (b"1.0", b"1.1"):
        return "The request's HTTP version is neither 1.0 nor 1.1."
    for field in fields:
        if field[:1] in (b" ", b"\t"):
            return "A header field may not be folded over several lines."
        name, colon, _ = field.partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            return "A header field's name is not a token directly followed by a colon."
    return "The request's head contains a control character, or its target a non-ASCII one."


def check_framing(version_line: str, headers: HTTPHeaders) -> None:
    """Check the fields that say where a request ends and whom it is for.

    Raises:
        HeadRefused: 400 unless there is exactly one ``Host``, at most one ``Content-Length`` of
            digits, and instead of it at most ``Transfer-Encoding: chunked`` in HTTP/1.1.
    """
    if len(headers.get_list("Host")) != 1:
        raise HeadRefused(400, "malformed_request", "The request needs exactly one Host field.")
    lengths = headers.get_list("Content-Length")
    if lengths and not (len(lengths) == 1 and lengths[0].isascii() and lengths[0].isdecimal()):
        raise HeadRefused(
            400, "malformed_request", "Content-Length has to be given once, as a decimal number."
        )
    if "Transfer-Encoding" not in headers:
        return
    if lengths:
        raise HeadRefused(
            400,
            "malformed_request",
            "A request may not have both Content-Length and Transfer-Encoding.",
        )
    encodings = headers.get_list("Transfer-Encoding")
    if len(encodings) != 1 or encodings[0].lower() != "chunked":
        raise HeadRefused(
            400, "malformed_request", "The only Transfer-Encoding taken is `chunked`."
        )
    if version_line.endswith("/1.0"):
        raise HeadRefused(400, "malformed_request", "HTTP/1.0 has no Transfer-Encoding.")


def parse_head(head: bytes) -> tuple[str, HTTPHeaders]:
    """Return request line and fields of a head that ``check_head`` has let through."""
    line, *fields = head.decode("latin-1").strip("\r\n").split("\r\n")
    headers = HTTPHeaders()
    seen: set[str] = set()
    for field in fields:
        name, _, value = field.partition(":")
        lower = name.lower()
        if lower in seen:
            headers.add(name, value.strip("\t "))
        else:
            seen.add(lower)
            headers[name] = value.strip("\t ")  # ``add`` would check the name once more
    return line, headers


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


class _FrontStream(IOStream):
    """A stream that makes fewer system calls than Tornado's.

    Its no-delay flag, once on, stays on: Tornado puts Nagle's algorithm back after each request,
    which delays the second and later streamed answers of a connection.

    It stays registered for reading while a request is taken from the buffer: Tornado takes it out
    when a head has come together with its body, and puts it back when the body has been taken.
    What comes while nobody reads is read once into the buffer; then it is taken out, too.
    """

    _nodelay = False
    _awaited = False

    def _handle_read(self) -> None:
        self._awaited = self._read_future is not None
        super()._handle_read()

    def reading(self) -> bool:
        return self._awaited or super().reading()

    def set_nodelay(self, value: bool) -> None:
        if value and not self._nodelay:
            self._nodelay = True
            super().set_nodelay(True)


def _shut_down(stream: IOStream) -> bool:
    """End our side of a connection; False when it is already gone."""
    if stream.closed() or not isinstance(stream.socket, socket.socket):
        return False
    try:
        stream.socket.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


async def _drain(stream: IOStream) -> None:
    """Read and forget what the client still sends, within limits, then close."""
    left = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER_S):
            while left > 0:
                left -= len(await stream.read_bytes(65536, partial=True))
    except (StreamClosedError, TimeoutError):
        _log.debug("a refused client has stopped sending")
    finally:
        stream.close()


async def _turn_away(stream: IOStream, refusal: HeadRefused) -> None:
    """Answer a refused request and close its connection."""
    _log.debug("refused a request: %s", refusal.message)
    try:
        async with asyncio.timeout(_LINGER_S):
            await stream.write(refusal.render())
    except (StreamClosedError, TimeoutError):
        stream.close()
        return
    if _shut_down(stream):
        await _drain(stream)
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
            return _drain(self.stream)
        self.close()
        return None

    def _finish_request(self, future: asyncio.Future[None] | None) -> None:
        stream: IOStream | None = self.stream
        if (
            stream is None
            or not self._disconnect_on_finish
            or self._read_finished
            or not _shut_down(stream)
        ):
            super()._finish_request(future)
            return
        # The body is not read to its end: give the client time to read the answer. Whoever
        # reads the body goes on doing so; this bounds for how long.
        self._clear_callbacks()
        asyncio.get_running_loop().call_later(_LINGER_S, self.close)


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


class _StrictProtocol(WebSocketProtocol13):
    """WebSocket frames as RFC 6455 asks of clients: every one masked (section 5.1)."""

    _at_frame_start = False

    async def _receive_frame(self) -> None:
        self._at_frame_start = True
        await super()._receive_frame()

    async def _read_bytes(self, n: int) -> bytes:
        data = await super()._read_bytes(n)
        if self._at_frame_start:
            self._at_frame_start = False
            if not data[1] & 0x80:
                self.close(1002, "client frames must be masked")
                if _shut_down(self.stream):
                    await _drain(self.stream)
                raise StreamClosedError  # on which the receive loop ends the connection
        return data

    def _abort(self) -> None:
        # Called right after a close frame, too (1009, a message too big), which a reset by
        # unread input would take along.
        told = self.server_terminated and not self.client_terminated
        if not told or not _shut_down(self.stream):
            super()._abort()
            return
        self.client_terminated = True  # ends the receive loop
        spawn(self._end(), "refused socket")

    async def _end(self) -> None:
        await _drain(self.stream)
        super()._abort()


class StrictWebSocketHandler(WebSocketHandler):
    """A WebSocket handler that closes with 1002 (protocol error) on an unmasked frame."""

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Return the protocol for the version that the client asks for; None if not 13."""
        protocol = super().get_websocket_protocol()
        if not isinstance(protocol, WebSocketProtocol13):
            return None
        return _StrictProtocol(self, mask_outgoing=False, params=protocol.params)
