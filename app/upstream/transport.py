"""The fast connections as an httpx transport, for code that speaks httpx.

Control calls (tokens, quota, model lists, identity) go through ``httpx.AsyncClient`` over this
transport. The exchange's calls do not: httpx's request and response objects cost more than all the
rest of a call over a kept connection (measured on one core in November 2026: 75 µs of CPU directly
over the pool, 155 µs through ``handle_async_request``, 255 µs through ``AsyncClient``), and they
are made anew for each request. Both ways share one pool and put the same bytes on the wire.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from app.http import Limits
from app.upstream import failures
from app.upstream.pool import Pool
from app.upstream.wire import Answer

__all__ = ["FastTransport"]


class FastTransport(httpx.AsyncBaseTransport):
    """``httpx.AsyncBaseTransport`` over a ``Pool``, which stays its owner's to close.

    HTTP/1.1, no proxy. Two of ``request.extensions`` are read: ``limits`` (an ``app.http.Limits``,
    its defaults otherwise) and ``target`` (bytes of the request line in place of the URL's path
    and query, as httpcore has it). Failures are ``app.errors.UpstreamError``.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response streams one chunk per socket read.

        Raises:
            UpstreamError: with the codes of ``app.upstream.failures``.
        """
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        origin = self._pool.origin(url.scheme, url.raw_host.decode("ascii"), port)
        target: bytes = request.extensions.get("target", url.raw_path)
        lines = [request.method.encode("ascii") + b" " + target + b" HTTP/1.1\r\n"]
        lines += [name + b": " + value + b"\r\n" for name, value in request.headers.raw]
        head = b"".join(lines)
        # one comparison of counts finds any line break that is not ours
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            raise failures.invalid_header(origin.label)
        answer = await self._pool.open(
            origin,
            head + b"\r\n",
            await request.aread(),
            request.extensions.get("limits") or Limits(),
            head_only=request.method == "HEAD",
        )
        return httpx.Response(answer.status, headers=answer.fields, stream=_Stream(answer))


class _Stream(httpx.AsyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._answer

    async def aclose(self) -> None:
        await self._answer.aclose()
