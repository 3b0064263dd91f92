"""Calls over a stock httpx transport: through a proxy, or as ``upstream.transport: httpx``.

Importing httpx takes longer than everything else that a start needs, so ``client`` imports this
file when the first such call is made. The interface is that of ``wire.Answer``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar, cast

import httpx

from app.errors import UpstreamError
from app.http import HttpRequest, Limits
from app.upstream import failures, tls
from app.upstream.failures import Stage
from app.upstream.pool import IDLE_S, MAX_IDLE
from app.upstream.wire import OUR_FIELDS

__all__ = ["StockAnswer", "Transport", "make_transport", "open_stock"]

_T = TypeVar("_T")
Transport = httpx.AsyncBaseTransport


def make_transport(proxy: str | None, context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    """Return httpx's own transport, HTTP/1.1 only, that reads nothing from the environment.

    Raises:
        UpstreamError: httpx refuses the proxy address.
    """
    try:
        return httpx.AsyncHTTPTransport(
            proxy=proxy,
            verify=context,
            http1=True,
            http2=False,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=MAX_IDLE, keepalive_expiry=IDLE_S
            ),
        )
    except (ValueError, httpx.InvalidURL) as error:
        raise failures.proxy_invalid("its address cannot be read") from error


class _Clock:
    """The time limits of one call, in the form that httpx takes, and the end of the whole call."""

    def __init__(self, host: str, limits: Limits) -> None:
        self.host = host
        self.limits = limits
        self.stage = Stage.FIRST_BYTE
        # httpcore looks into this dictionary again when it begins to read the body
        self.timeout = {
            "connect": limits.connect_s,
            "read": limits.first_byte_s,
            "write": limits.first_byte_s,
            "pool": limits.connect_s,
        }
        self._ends_at: float | None = None
        if limits.total_s is not None:
            self._ends_at = asyncio.get_running_loop().time() + limits.total_s

    def enter_body(self) -> None:
        """From now on the limit between two reads holds."""
        self.stage = Stage.IDLE
        self.timeout["read"] = self.limits.idle_s

    async def run(self, work: Awaitable[_T]) -> _T:
        """Await a step of the call; foreign exceptions become ``UpstreamError``."""
        try:
            if self._ends_at is None:
                return await work
            async with asyncio.timeout_at(self._ends_at):
                return await work
        except TimeoutError as error:
            total_s = self.limits.total_s or 0.0
            raise failures.timed_out(self.host, Stage.TOTAL, total_s) from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, UnicodeError) as error:
            raise _convert(error, self) from error


async def open_stock(
    transport: httpx.AsyncBaseTransport, request: HttpRequest, host: str, limits: Limits
) -> StockAnswer:
    """Send one request over an httpx transport and return its answer once the head is there.

    Args:
        transport: what to send over.
        request: as given to the client; Host and Content-Length are added by httpx.
        host: the name for messages.
        limits: time limits.

    Raises:
        UpstreamError: with the codes of ``app.upstream.failures``.
    """
    clock = _Clock(host, limits)
    try:
        outgoing = httpx.Request(
            request.method,
            request.url,
            headers=[
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in request.headers
                if name.lower() not in OUR_FIELDS
            ],
            content=request.body,
            extensions={"timeout": clock.timeout, "limits": limits},
        )
    except httpx.InvalidURL as error:
        raise failures.invalid_url("it is not a URL") from error
    except (UnicodeError, ValueError) as error:
        raise failures.invalid_header(host) from error
    response = await clock.run(transport.handle_async_request(outgoing))
    clock.enter_body()
    return StockAnswer(response, clock)


class StockAnswer:
    """The head of one answer, and its body as an async iterator; see ``wire.Answer``."""

    def __init__(self, response: httpx.Response, clock: _Clock) -> None:
        self.status = response.status_code
        self.fields = list(response.headers.raw)
        self._stream = cast(httpx.AsyncByteStream, response.stream)
        self._chunks: AsyncIterator[bytes] = self._stream.__aiter__()
        self._clock = clock
        self._error: UpstreamError | None = None

    def __aiter__(self) -> StockAnswer:
        return self

    async def __anext__(self) -> bytes:
        if self._error is not None:
            raise self._error
        try:
            return await self._clock.run(self._chunks.__anext__())
        except UpstreamError as error:
            self._error = error
            await self._stream.aclose()
            raise

    async def aclose(self) -> None:
        """End the answer; a complete one gives its connection back."""
        await self._stream.aclose()


def _convert(error: Exception, clock: _Clock) -> UpstreamError:  # noqa: C901  # one line per kind
    """Return our error for one of httpx's; the text of theirs may hold an address, so it is left."""
    host, limits = clock.host, clock.limits
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return failures.timed_out(host, Stage.CONNECT, limits.connect_s)
        case httpx.WriteTimeout():
            return failures.timed_out(host, Stage.SEND, limits.first_byte_s)
        case httpx.TimeoutException():
            limit_s = limits.idle_s if clock.stage is Stage.IDLE else limits.first_byte_s
            return failures.timed_out(host, clock.stage, limit_s)
        case httpx.ProxyError():
            return failures.unreachable(host, "the proxy refused the connection")
        case httpx.ConnectError():
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, ssl.SSLError):
                    return failures.tls(host, tls.explain(cause))
                cause = cause.__cause__ or cause.__context__
            return failures.unreachable(host, "no connection could be made")
        case httpx.LocalProtocolError() | UnicodeError():
            return failures.invalid_header(host)
        case httpx.RemoteProtocolError() if "disconnected" in str(error):
            return failures.closed(host, "without an answer")
        case httpx.RemoteProtocolError() if "closed connection" in str(error):
            return failures.closed(host, "in the middle of its answer")
        case httpx.RemoteProtocolError():
            return failures.violation(host, "it cannot be parsed")
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return failures.invalid_url("it is not an http or https URL")
        case _:
            return failures.closed(host, "before the answer was complete")
