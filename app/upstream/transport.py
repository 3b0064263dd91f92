"""The fast connections as an httpx transport, for code that speaks httpx."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx

from app.http import Limits
from app.upstream.pool import Pool
from app.upstream.wire import Answer

__all__ = ["FastTransport"]

_DEFAULT = Limits()


class FastTransport(httpx.AsyncBaseTransport):
    """``httpx.AsyncBaseTransport`` over ``Pool``; HTTP/1.1, no proxy.

    Time limits come from ``request.extensions``: ``limits`` (an ``app.http.Limits``), else httpx's
    own ``timeout`` dictionary, whose ``connect`` and ``read`` are taken (``read`` for the first
    byte and between reads). Failures are ``app.errors.UpstreamError``, not httpx's exceptions.

    Args:
        pool: connections to use; a new pool by default.
        context: TLS context of the new pool.
    """

    def __init__(self, pool: Pool | None = None, *, context: ssl.SSLContext | None = None) -> None:
        self.pool = pool if pool is not None else Pool(context=context)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response streams one chunk per socket read.

        Raises:
            UpstreamError: with the codes of ``app.upstream.failures``.
        """
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        origin = self.pool.origin(url.scheme, url.raw_host.decode("ascii"), port)
        lines = [request.method.encode("ascii") + b" " + url.raw_path + b" HTTP/1.1\r\n"]
        lines += [name + b": " + value + b"\r\n" for name, value in request.headers.raw]
        lines.append(b"\r\n")
        body = await request.aread()
        answer = await self.pool.open(
            origin, b"".join(lines), body, _limits(request), head_only=request.method == "HEAD"
        )
        return httpx.Response(answer.status, headers=answer.fields, stream=_Stream(answer))

    async def aclose(self) -> None:
        """Close all connections."""
        await self.pool.aclose()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._answer

    async def aclose(self) -> None:
        await self._answer.aclose()


def _limits(request: httpx.Request) -> Limits:
    limits = request.extensions.get("limits")
    if isinstance(limits, Limits):
        return limits
    timeout = request.extensions.get("timeout") or {}
    connect_s = timeout.get("connect") or _DEFAULT.connect_s
    read_s = timeout.get("read")
    return Limits(
        connect_s=connect_s,
        first_byte_s=read_s or _DEFAULT.first_byte_s,
        idle_s=read_s or _DEFAULT.idle_s,
    )
