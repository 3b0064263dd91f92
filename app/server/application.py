"""Which request goes where: inference to its delegate, everything else to the pages."""

from __future__ import annotations

from collections.abc import Awaitable

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from app.server.front import FrontConnection
from app.server.inference import Inference, InferenceDelegate, decode_path

__all__ = ["Front"]

_PAGE_BODY_BYTES = 1024 * 1024
"""What a page is sent is read before its access is checked: it is small, or it is refused."""


class Front(HTTPServerConnectionDelegate):
    """Chooses per request, by method and path, once the head is there."""

    def __init__(self, inference: Inference, pages: Application) -> None:
        self._inference = inference
        self._pages = pages

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate of one request."""
        assert isinstance(request_conn, FrontConnection)  # noqa: S101 - all that we serve
        return _Chooser(self, server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        """Do nothing: connections keep no state here."""

    def choose(
        self, server_conn: object, connection: FrontConnection, start_line: RequestStartLine
    ) -> HTTPMessageDelegate:
        """Return what serves a request."""
        path, _, query = start_line.path.partition("?")
        decoded = decode_path(path)
        entry = self._inference.find(start_line.method, decoded)
        if entry is not None:
            return InferenceDelegate(self._inference, entry, connection, decoded, query)
        connection.set_max_body_size(_PAGE_BODY_BYTES)
        return self._pages.start_request(server_conn, connection)


class _Chooser(HTTPMessageDelegate):
    __slots__ = ("_connection", "_front", "_inner", "_server")

    def __init__(self, front: Front, server_conn: object, connection: FrontConnection) -> None:
        self._front = front
        self._server = server_conn
        self._connection = connection
        self._inner: HTTPMessageDelegate | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)  # noqa: S101 - narrows the type
        self._inner = self._front.choose(self._server, self._connection, start_line)
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None if self._inner is None else self._inner.data_received(chunk)

    def finish(self) -> None:
        if self._inner is not None:
            self._inner.finish()

    def on_connection_close(self) -> None:
        if self._inner is not None:
            self._inner.on_connection_close()
