"""The inference routes: Tornado's message delegate on one side, the gateway on the other.

A ``RequestHandler`` would cost 40 % more per request and parses what is not needed here. The body
is counted as it comes; access is checked on the head, before a body is read.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError

from app.canonical.failure import failure_of
from app.dialects.base import Dialect, Route
from app.dialects.translate import ClientSide
from app.errors import AppError, RequestError
from app.gateway.call import Call, ClientGone, Outcome, Sink
from app.gateway.refusal import with_help
from app.http import Headers
from app.providers.base import Extra
from app.server.caller import Access, account_scope, cors
from app.server.clientnames import ClientNames
from app.server.front import FrontConnection
from app.server.guard import Grant
from app.tasks import spawn

__all__ = ["Entry", "HttpSink", "Inference", "InferenceDelegate", "decode_path"]

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
            413: "Content Too Large", 429: "Too Many Requests", 500: "Internal Server Error",
            502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}  # fmt: skip
_SMALL_BODY = 1024 * 1024
_STALL_S = 300.0
"""A client that takes nothing for so long is gone, whatever its connection says."""

_log = logging.getLogger("dragoman.server")


@dataclass(frozen=True, slots=True)
class Entry:
    """What serves a path: the caller's dialect, its route, and who encodes the answers."""

    dialect: Dialect
    route: Route
    surface: ClientSide | None = None
    extra: Extra | None = None


Handle = Callable[[Call, Sink], Awaitable[Outcome]]


@dataclass(slots=True)
class Inference:
    """The inference routes and what they need."""

    exact: Mapping[str, Entry]
    """Paths without a variable part; all of them are POST."""
    patterns: tuple[Entry, ...]
    access: Access
    handle: Handle
    new_id: Callable[[str], str]
    max_body_bytes: int = 64 * 1024 * 1024
    names: ClientNames = field(default_factory=ClientNames)
    """Of calling programs."""
    active: int = 0
    """Requests being served."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no request is being served."""
    changed: Callable[[], None] = lambda: None
    """Called when a request was counted in or out."""

    def __post_init__(self) -> None:
        self.idle.set()

    def began(self) -> None:
        """Count a request in."""
        self.active += 1
        self.idle.clear()
        self.changed()

    def ended(self) -> None:
        """Count a request out."""
        self.active -= 1
        if not self.active:
            self.idle.set()
        self.changed()

    def find(self, method: str, path: str) -> Entry | None:
        """Return what serves a path, or None when it is no inference route."""
        if method != "POST":
            return None
        entry = self.exact.get(path)
        if entry is not None:
            return entry
        for candidate in self.patterns:
            if candidate.route.pattern.fullmatch(path):
                return candidate
        return None


def decode_path(path: str) -> str:
    """Percent-decode a path, but keep ``%2F``: it stands inside model names."""
    if "%" not in path:
        return path
    return "%2F".join(unquote(piece) for piece in path.replace("%2f", "%2F").split("%2F"))


class InferenceDelegate(HTTPMessageDelegate):
    """One inference request. States: head → body → running → done."""

    __slots__ = (
        "_answered",
        "_chunks",
        "_connection",
        "_cors",
        "_entry",
        "_grant",
        "_headers",
        "_inference",
        "_path",
        "_query",
        "_refused",
        "_size",
        "_task",
    )

    def __init__(
        self, inference: Inference, entry: Entry, connection: FrontConnection, path: str, query: str
    ) -> None:
        self._inference = inference
        self._entry = entry
        self._connection = connection
        self._path = path
        self._query = query
        self._chunks: list[bytes] = []
        self._size = 0
        self._grant: Grant | None = None
        self._refused: AppError | None = None
        self._answered = False
        self._task: asyncio.Task[None] | None = None
        self._headers = HTTPHeaders()
        self._cors: Headers = ()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Check access and size; a refusal waits for a small body, so that it can be read."""
        assert isinstance(start_line, RequestStartLine)  # noqa: S101 - narrows the type
        self._headers = headers
        if start_line.version == "HTTP/1.0":
            # A streamed answer ends with its connection there, which Tornado would keep open.
            headers.pop("Connection", None)
            self._connection._disconnect_on_finish = True
        if self._inference.access.must_wait(self._connection.context, self._query, headers):
            return self._admit_later(start_line.method)
        self._admit(start_line.method)
        return None

    async def _admit_later(self, method: str) -> None:
        await self._inference.access.ready(self._connection.context)
        self._admit(method)

    def _admit(self, method: str) -> None:
        inference, headers = self._inference, self._headers
        try:
            self._grant = grant = inference.access.check(
                "inference", self._connection.context, method, self._path, self._query, headers
            )
            self._cors = cors(grant, method, self._path, self._query, headers)
            if "multipart/" in headers.get("Content-Type", "").lower():
                raise RequestError(
                    "The body must be JSON, not multipart form data.",
                    status=415,
                    code="unsupported_media_type",
                )
        except AppError as error:
            self._refused = error
        length = headers.get("Content-Length")
        declared = int(length) if length is not None and length.isdecimal() else 0
        if declared > inference.max_body_bytes:
            self._too_large()
        elif self._refused is not None and declared > _SMALL_BODY:
            self._answer_refusal()

    def data_received(self, chunk: bytes) -> None:
        """Collect and count the body."""
        self._size += len(chunk)
        if self._refused is not None:
            return
        if self._size > self._inference.max_body_bytes:
            self._too_large()
            return
        self._chunks.append(chunk)

    def finish(self) -> None:
        """Start the exchange: the request is complete."""
        if self._refused is not None:
            self._answer_refusal()
            return
        chunks = self._chunks
        raw = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        grant = self._grant
        assert grant is not None  # noqa: S101 - headers_received came first
        entry = self._entry
        call = Call(
            dialect=entry.dialect,
            route=entry.route,
            path=self._path,
            query=self._query,
            headers=tuple(self._headers.get_all()),
            raw=raw,
            request_id=self._inference.new_id("req_"),
            owner=grant.owner,
            allows=account_scope(grant),
            show_account=grant.key is None,
            client=self._inference.names.of(self._connection.context.caller.program, self._headers),
            key_id="" if grant.key is None else grant.key.id,
            key_label="" if grant.key is None else grant.key.label,
            means=str if grant.key is None else grant.key.means,
            surface=entry.surface,
            extra=entry.extra,
            help_at=self._help_at(),
        )
        if self._connection.stream.closed():
            return  # the client left while its body was read; nobody would tell us again
        self._connection.set_close_callback(self.on_connection_close)
        self._inference.began()
        self._task = spawn(self._run(call, HttpSink(self._connection, self._cors)), "exchange")

    def on_connection_close(self) -> None:
        """Stop the exchange: nobody reads its answer."""
        self._chunks = []
        if self._task is not None:
            self._task.cancel()

    async def _run(self, call: Call, sink: HttpSink) -> None:
        try:
            await self._inference.handle(call, sink)
        except asyncio.CancelledError:
            # The client has gone, or the program ends; an unfinished answer must not look whole.
            sink.abort()
        except Exception:
            _log.exception("request %s could not be answered", call.request_id)
            sink.abort()
        finally:
            self._inference.ended()

    def _too_large(self) -> None:
        megabytes = self._inference.max_body_bytes // (1024 * 1024)
        self._refused = RequestError(
            f"The request is larger than {megabytes} MB.",
            status=413,
            code="request_too_large",
            hint="advanced.max_body_mb in the settings raises the limit.",
        )
        self._chunks = []
        self._answer_refusal()

    def _help_at(self) -> str:
        return self._inference.access.policy.address_for(self._headers.get("Host", ""))

    def _answer_refusal(self) -> None:
        error = self._refused
        if error is None or self._answered or self._connection.stream.closed():
            return
        self._answered = True
        request_id = self._inference.new_id("req_")
        failure = with_help(failure_of(error), self._help_at())
        reply = self._entry.dialect.encode_failure(failure, request_id)
        fields = {key.lower(): (key, value) for key, value in reply.headers}
        fields["x-request-id"] = ("x-request-id", request_id)
        fields["x-dragoman-route"] = ("x-dragoman-route", "attempts=0")
        if error.status == 401:
            fields["www-authenticate"] = ("www-authenticate", 'Bearer realm="dragoman"')
        sink = HttpSink(self._connection, self._cors)
        sink.reply(reply.status, tuple(fields.values()), reply.body)


class HttpSink:
    """Writes one answer to an HTTP/1.1 connection."""

    __slots__ = ("_connection", "_extra", "_loop", "started", "written_at")

    def __init__(self, connection: FrontConnection, extra: Headers = ()) -> None:
        self._connection = connection
        self._extra = extra
        self._loop = asyncio.get_running_loop()
        self.started = False
        self.written_at = self._loop.time()

    def start(self, status: int, headers: Headers) -> None:
        """Send the head of a streamed answer (chunked, or until close for HTTP/1.0)."""
        self.started = True
        self.written_at = self._loop.time()
        self._connection.send_head(_status(status), (*headers, *self._extra))

    async def write(self, data: bytes) -> None:
        """Send a piece; waits while the client does not read.

        Raises:
            ClientGone: the connection is closed.
        """
        self.written_at = self._loop.time()
        try:
            await self._connection.send(data)
        except StreamClosedError as error:
            raise ClientGone from error

    def alive(self) -> bool:
        """Look at the socket; a client that has gone or stands still is cut off.

        A connection whose client has sent bytes ahead is not read while its answer is on the
        way, so that its end goes unnoticed otherwise.
        """
        stream = self._connection.stream
        if stream.closed():
            return False
        stalled = stream.writing() and self._loop.time() - self.written_at > _STALL_S
        if stalled or _peer_left(stream.socket):
            stream.close()  # upon which the exchange is cancelled
            return False
        return True

    def ping(self, data: bytes) -> bool:
        """Send a sign of life without waiting; False when the client has gone."""
        stream = self._connection.stream
        if stream.closed():
            return False
        if not stream.writing():
            self.written_at = self._loop.time()
            self._connection.send(data)
        return True

    def finish(self) -> None:
        """End the answer."""
        self._connection.finish()

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self.started = True
        self._connection.send_head(_status(status), (*headers, *self._extra), body)
        self._connection.finish()

    def abort(self) -> None:
        """Close the connection so that a broken answer cannot be taken for a whole one."""
        stream = self._connection.stream
        if not stream.closed():
            stream.close()


def _peer_left(sock: socket.socket) -> bool:
    """Say whether the other side has closed, also behind bytes that nobody has read yet."""
    if hasattr(select, "POLLRDHUP"):
        poller = select.poll()
        poller.register(sock, select.POLLRDHUP)  # errors and hang-ups are always reported
        return bool(poller.poll(0))
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True


def _status(status: int) -> str:
    return f"{status} {_REASONS.get(status, 'Status')}"
