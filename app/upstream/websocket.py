"""Outgoing WebSockets: Tornado's client behind the same proxies and trust as every call.

Tornado's client speaks to the host alone, so that a proxy is passed by a TCP client of ours, which
asks the proxy for a tunnel (``CONNECT``, or SOCKS 5 with the name resolved by the proxy) and starts
TLS inside of it. Proxies that are themselves spoken to over TLS cannot be used: Tornado has no TLS
within TLS.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from typing import Any
from urllib.parse import unquote, urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse, _RequestProxy
from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream, StreamClosedError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError
from tornado.tcpclient import TCPClient
from tornado.websocket import WebSocketClientConnection, WebSocketError

from app.errors import UpstreamError
from app.http import Headers, HttpReply
from app.upstream import failures, tls
from app.upstream.client import Way

__all__ = ["HandshakeRefused", "open_websocket"]

_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_MAX_HEAD_BYTES = 16 * 1024


class HandshakeRefused(UpstreamError):
    """The service answered the handshake with something other than 101; ``reply`` is that."""

    def __init__(self, host: str, reply: HttpReply) -> None:
        super().__init__(
            f"{host} refused a WebSocket (HTTP {reply.status}).", code="upstream_protocol"
        )
        self.reply = reply


async def open_websocket(
    url: str, headers: Headers, way: Way, *, connect_s: float
) -> WebSocketClientConnection:
    """Open a WebSocket; whoever gets it must ``close`` it in every case.

    Args:
        url: ws or wss URL.
        headers: further fields of the handshake.
        way: proxy and TLS context.
        connect_s: seconds for connection, tunnel, TLS and handshake together.

    Raises:
        HandshakeRefused: the service answered otherwise.
        UpstreamError: with the codes of ``app.upstream.failures``.
    """
    host = urlsplit(url).netloc
    request = HTTPRequest(
        url,
        headers=HTTPHeaders(),
        connect_timeout=connect_s,
        request_timeout=connect_s,
        ssl_options=way.context,
    )
    for key, value in headers:
        request.headers.add(key, value)
    tunnel = _Tunnel(way.proxy, connect_s) if way.proxy is not None else None
    connection = _Connection(request, tunnel)
    try:
        async with asyncio.timeout(connect_s):
            return await connection.connect_future
    except BaseException as error:
        connection.abandon()
        if isinstance(error, Exception):
            raise _upstream_error(error, host, connect_s) from error
        raise


def _upstream_error(error: Exception, host: str, connect_s: float) -> UpstreamError:
    cause = error.real_error if isinstance(error, StreamClosedError) else None
    match cause if isinstance(cause, Exception) else error:
        case UpstreamError() as known:
            return known
        case TimeoutError() | HTTPTimeoutError():
            return failures.timed_out(host, failures.Stage.CONNECT, connect_s)
        case HTTPStreamClosedError() | StreamClosedError():
            return failures.closed(host, "during the handshake of a WebSocket")
        case HTTPClientError(response=HTTPResponse() as answer):
            fields = tuple((key.lower(), value) for key, value in answer.headers.get_all())
            return HandshakeRefused(host, HttpReply(answer.code, fields, answer.body or b""))
        case ssl.SSLError() as refused:
            return failures.tls(host, tls.explain(refused))
        case OSError() as unreachable:
            return failures.unreachable(host, unreachable.strerror or "no connection")
        case WebSocketError() | HTTPClientError() as odd:
            return failures.violation(host, f"it is no WebSocket ({type(odd).__name__})")
        case other:
            return failures.violation(host, type(other).__name__)


class _Connection(WebSocketClientConnection):
    """Tornado's connection, over a tunnel where there is one."""

    def __init__(self, request: HTTPRequest, tunnel: TCPClient | None) -> None:
        # As websocket_connect does it; that returns no connection which could be given up.
        complete: Any = _RequestProxy(request, HTTPRequest._DEFAULTS)
        super().__init__(complete, max_message_size=_MAX_MESSAGE_BYTES)
        if tunnel is not None:
            # The connection is begun by the loop's next turn, not before.
            self.tcp_client = tunnel

    def abandon(self) -> None:
        """Give up a connection, at whatever point it is."""
        self.final_callback = None  # type: ignore[assignment]  # how Tornado marks a late timeout
        if self.connect_future.done() and not self.connect_future.cancelled():
            self.connect_future.exception()  # seen
        else:
            self.connect_future.cancel()
        if self.protocol is not None:
            self.close()
        stream = getattr(self, "stream", None)
        if stream is not None:
            stream.close()


class _Tunnel(TCPClient):
    """Connects through a proxy."""

    def __init__(self, proxy: str, connect_s: float) -> None:
        super().__init__()
        parts = urlsplit(proxy)
        self._scheme = parts.scheme
        self._host = parts.hostname or ""
        default = 1080 if self._scheme.startswith("socks") else 80
        self._port = parts.port or default
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._connect_s = connect_s

    async def connect(  # type: ignore[override]  # only what Tornado's HTTP client gives
        self,
        host: str,
        port: int,
        af: socket.AddressFamily = socket.AF_UNSPEC,
        ssl_options: ssl.SSLContext | None = None,
        max_buffer_size: int | None = None,
        **_: Any,
    ) -> IOStream:
        """Return a stream to the host, with TLS where it is asked for.

        Raises:
            UpstreamError: the proxy refuses, or cannot be used.
            TimeoutError: the proxy keeps it waiting.
        """
        if self._scheme == "https":
            raise failures.proxy_invalid("a WebSocket cannot pass a proxy that speaks TLS itself")
        async with asyncio.timeout(self._connect_s):
            try:
                stream = await super().connect(
                    self._host, self._port, af, max_buffer_size=max_buffer_size
                )
            except OSError as error:
                raise failures.unreachable("the proxy", "no connection") from error
            try:
                if self._scheme.startswith("socks"):
                    await self._ask_socks(stream, host, port)
                else:
                    await self._ask_http(stream, host, port)
            except BaseException:
                stream.close()
                raise
            if ssl_options is None:
                return stream
            # From here on the socket belongs to the stream that speaks TLS.
            return await stream.start_tls(False, ssl_options, server_hostname=host)

    async def _ask_http(self, stream: IOStream, host: str, port: int) -> None:
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
        if self._user:
            proof = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {proof}")
        await stream.write("\r\n".join((*lines, "", "")).encode("latin-1"))
        try:
            head = await stream.read_until(b"\r\n\r\n", max_bytes=_MAX_HEAD_BYTES)
        except StreamClosedError as error:
            raise failures.closed("the proxy", "instead of opening a tunnel") from error
        words = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(words) < 2 or words[1][:1] != b"2":
            code = words[1].decode("latin-1")[:3] if len(words) > 1 else "?"
            raise failures.unreachable(host, f"the proxy refuses a tunnel (HTTP {code})")

    async def _ask_socks(self, stream: IOStream, host: str, port: int) -> None:
        """Speak SOCKS 5 (RFC 1928), with a password where there is one (RFC 1929)."""
        methods = b"\x00\x02" if self._user else b"\x00"
        try:
            await stream.write(bytes((5, len(methods))) + methods)
            version, method = await stream.read_bytes(2)
            if version == 5 and method == 2 and self._user:
                user, password = self._user.encode()[:255], self._password.encode()[:255]
                await stream.write(
                    bytes((1, len(user))) + user + bytes((len(password),)) + password
                )
                method = (await stream.read_bytes(2))[1]
            if version != 5 or method != 0:
                raise failures.unreachable(host, "the proxy refuses the sign-in")
            name = host.encode("idna")
            await stream.write(
                b"\x05\x01\x00\x03" + bytes((len(name),)) + name + port.to_bytes(2, "big")
            )
            _, status, _, kind = await stream.read_bytes(4)
            if status != 0:
                raise failures.unreachable(host, f"the proxy refuses a tunnel (SOCKS {status})")
            size = {1: 4, 4: 16}.get(kind) or (await stream.read_bytes(1))[0]
            await stream.read_bytes(size + 2)
        except StreamClosedError as error:
            raise failures.closed("the proxy", "instead of opening a tunnel") from error
