"""Calls made with httpx's objects, and how httpx is set up for them.

These are control calls, which go through an ``httpx.AsyncClient``, and the exchange's calls through
a proxy or with ``upstream.transport: httpx``, which go to httpx's own transport; ``transport`` says
why the others do without. Requests are built here and never by ``AsyncClient``, so that none of its
default headers, cookies and redirects comes in: what a provider prepared goes out, between the
``Host`` and the length that belong to the connection.

Importing httpx takes longer than everything else that a start needs, so ``client`` imports this
file when the first such call is made. The interface of an answer is that of ``wire.Answer``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeAlias, TypeVar, cast

import httpx

from app.errors import UpstreamError
from app.http import HttpRequest, Limits
from app.upstream import failures, tls
from app.upstream.failures import Stage
from app.upstream.pool import IDLE_S, MAX_IDLE, Origin
from app.upstream.wire import BODILESS, OUR_FIELDS

__all__ = [
    "HttpxAnswer",
    "Line",
    "Transport",
    "make_transport",
    "open_call",
    "open_line",
]

_T = TypeVar("_T")
Transport = httpx.AsyncBaseTransport
_Sender: TypeAlias = Callable[[httpx.Request], Awaitable[httpx.Response]]


@dataclass(frozen=True, slots=True)
class Line:
    """One way to services: a transport, and the client of control calls over it."""

    transport: httpx.AsyncBaseTransport
    client: httpx.AsyncClient

    async def stream(self, request: httpx.Request) -> httpx.Response:
        """Send a call of the exchange."""
        return await self.transport.handle_async_request(request)

    async def control(self, request: httpx.Request) -> httpx.Response:
        """Send a control call."""
        return await self.client.send(request, stream=True)

    async def aclose(self) -> None:
        """Close client and transport."""
        await self.client.aclose()


def open_line(transport: httpx.AsyncBaseTransport) -> Line:
    """Return a line over a transport: no redirects, no cookies, nothing from the environment."""
    client = httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )
    return Line(transport, client)


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


async def open_call(
    send: _Sender, request: HttpRequest, origin: Origin, path: str | None, limits: Limits
) -> HttpxAnswer:
    """Send one request with httpx and return its answer once the head is there.

    Args:
        send: ``stream`` or ``control`` of a line.
        request: as given to the client.
        origin: where it goes, for the Host field and for messages.
        path: path and query as they stand in the request line; None through a proxy, whose request
            line httpx writes.
        limits: time limits.

    Raises:
        UpstreamError: with the codes of ``app.upstream.failures``.
    """
    clock = _Clock(origin.label, limits)
    extensions: dict[str, object] = {"timeout": clock.timeout, "limits": limits}
    if path is not None:
        extensions["target"] = path.encode("ascii")
    sized = request.body or request.method not in BODILESS
    try:
        outgoing = httpx.Request(
            request.method,
            request.url,
            headers=[
                (b"Host", origin.authority.encode("ascii")),
                *(
                    (name.encode("latin-1"), value.encode("latin-1"))
                    for name, value in request.headers
                    if name.lower() not in OUR_FIELDS
                ),
                *([(b"Content-Length", b"%d" % len(request.body))] if sized else ()),
            ],
            content=request.body,
            extensions=extensions,
        )
    except httpx.InvalidURL as error:
        raise failures.invalid_url("it is not a URL") from error
    except (UnicodeError, ValueError) as error:
        raise failures.invalid_header(origin.label) from error
    response = await clock.run(send(outgoing))
    clock.enter_body()
    return HttpxAnswer(response, clock)


class HttpxAnswer:
    """The head of one answer, and its body as an async iterator; see ``wire.Answer``."""

    def __init__(self, response: httpx.Response, clock: _Clock) -> None:
        self.status = response.status_code
        self.fields = list(response.headers.raw)
        self._stream = cast(httpx.AsyncByteStream, response.stream)
        self._chunks: AsyncIterator[bytes] = self._stream.__aiter__()
        self._clock = clock
        self._error: UpstreamError | None = None

    def __aiter__(self) -> HttpxAnswer:
        return self

    async def __anext__(self) -> bytes:
        if self._error is not None:
            raise self._error
        try:
            return await self._clock.run(self._chunks.__anext__())
        except UpstreamError as error:
            self._error = error
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """End the answer; a complete one gives its connection back."""
        if isinstance(self._chunks, AsyncGenerator):
            await self._chunks.aclose()
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
