"""The client of all services: one call in, one answer out, every failure an ``UpstreamError``.

``send`` is for the exchange, ``fetch`` for control calls. Direct calls of the exchange go over
``pool`` without building httpx's objects (``transport`` says why). Control calls go through an
``httpx.AsyncClient`` over the same pool; calls through a proxy, and all of them with
``transport: httpx``, go over httpx's own transport (``calls``, imported at first need). Redirects
are never followed, cookies never kept, no headers added but those of the connection, and nothing is
read from the environment but the choice of proxy.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from app.http import HttpReply, HttpRequest, Limits, StreamedReply
from app.upstream import failures, proxies
from app.upstream.decode import MAX_CHUNK_BYTES, Decoded, open_decoder
from app.upstream.pool import Origin, Pool
from app.upstream.wire import BODILESS, OUR_FIELDS

if TYPE_CHECKING:
    from app.upstream.calls import HttpxAnswer, Line, Transport
    from app.upstream.wire import Answer

__all__ = ["Client", "ClientSettings", "Way"]

_CALLS = "app.upstream.calls"
_MAX_TARGETS = 512
_MAX_LINES = 16
_ENVIRONMENT_S = 60.0
"""Seconds for which the proxies of environment and system hold; people change networks."""
_HOST = re.compile(r"[a-z0-9_.\-]+|[0-9a-f:.]+(%[a-z0-9_.\-]+)?")
_METHOD = re.compile(r"[A-Z]+")
_OUR_LENGTHS = frozenset(map(len, OUR_FIELDS))


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Settings of the client.

    Attributes:
        transport: ``fast`` for our own connections, ``httpx`` for httpx's.
        proxy: proxy URL for all calls that do not go to this machine; ``direct`` for none; None
            for what environment and system say.
        ca_file: PEM file of authorities trusted in addition to the system's.
        forbidden: our own listening addresses as (host, port), or a function of host and port;
            calls to them are refused.
    """

    transport: Literal["fast", "httpx"] = "fast"
    proxy: str | None = None
    ca_file: str | None = None
    forbidden: Callable[[str, int], bool] | frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Way:
    """How an address is reached."""

    proxy: str | None
    """Proxy URL; None for a direct connection."""
    context: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class _Target:
    """What a URL comes to: where to connect, and the request line's end with the Host field."""

    origin: Origin
    local: bool
    path: str
    """Path and query."""
    rest: str


class Client:
    """Send requests to services; implements ``app.http.Send`` with ``send``.

    Use it on one event loop, and close it with ``aclose``.

    Args:
        settings: see ``ClientSettings``.
        transport: an httpx transport that takes every call instead, for tests and tools.
        environment: reads the proxies of environment and system; called in a thread.
    """

    def __init__(
        self,
        settings: ClientSettings | None = None,
        *,
        transport: Transport | None = None,
        environment: Callable[[], proxies.Environment] = proxies.read_environment,
    ) -> None:
        self._settings = settings if settings is not None else ClientSettings()
        self._transport = transport
        forbidden = self._settings.forbidden
        self._own: Callable[[str, int], bool] | None
        if callable(forbidden):
            self._own = forbidden
        elif forbidden:
            own = forbidden
            self._own = lambda host, port: proxies.is_own(host, port, own)
        else:
            self._own = None
        self._pool = Pool(ca_file=self._settings.ca_file, own=self._own)
        self._targets: dict[str, _Target] = {}
        self._lines: dict[str | None, Line] = {}
        self._read_environment = environment
        self._environment: proxies.Environment | None = None
        self._environment_until = 0.0
        self._closed = False

    async def send(
        self, request: HttpRequest, limits: Limits, *, proxy: str | None = None
    ) -> StreamedReply:
        """Send a request and return once the head of its answer is there.

        The answer's content codings are taken off, with their fields. ``aclose`` of the reply must
        be awaited in every case.

        Args:
            request: absolute http or https URL; headers without Host and length.
            limits: time limits, and ``max_body_bytes`` for what one decompressed chunk may become.
            proxy: proxy of this call, as in ``ClientSettings``; None for the settings'.

        Raises:
            UpstreamError: with the codes of ``app.upstream.failures``.
        """
        target = self._find(request.url)
        route = await self._route(target, proxy)
        answer: Answer | HttpxAnswer
        if route is None and self._settings.transport == "fast" and self._transport is None:
            head = _render_head(request, target)
            answer = await self._pool.open(
                target.origin, head, request.body, limits, head_only=request.method == "HEAD"
            )
        else:
            answer = await self._call(request, target, limits, route, control=False)
        return await _reply(answer, target.origin.label, limits, bodiless=request.method == "HEAD")

    async def fetch(
        self, request: HttpRequest, limits: Limits, *, proxy: str | None = None
    ) -> HttpReply:
        """Send a request and return the whole answer.

        Raises:
            UpstreamError: as ``send``, and ``upstream_too_large`` beyond ``limits.max_body_bytes``.
        """
        target = self._find(request.url)
        route = await self._route(target, proxy)
        answer = await self._call(request, target, limits, route, control=True)
        reply = await _reply(answer, target.origin.label, limits, bodiless=request.method == "HEAD")
        try:
            body = await reply.read(limits.max_body_bytes)
        finally:
            await reply.aclose()
        return HttpReply(reply.status, reply.headers, body)

    async def way(self, url: str, proxy: str | None = None) -> Way:
        """Return how an address is reached, for connections that are no HTTP calls (WebSockets).

        Args:
            url: http or https URL with the same host and port; only these two count.
            proxy: as in ``send``.

        Raises:
            UpstreamError: as ``send``, before it connects.
        """
        scheme, host, port, _ = _parse_url(url)
        origin = self._pool.origin(scheme, host, port)
        if self._own is not None and self._own(host, port):
            raise failures.self_target(origin.label)
        target = _Target(origin, proxies.is_local(host), "", "")
        return Way(await self._route(target, proxy), await self._pool.context())

    def drop_idle(self) -> None:
        """Close connections that nothing runs on; the next call opens a new one."""
        self._pool.drop_idle()

    async def aclose(self) -> None:
        """Close all connections; answers still being read fail with ``upstream_closed``."""
        self._closed = True
        await self._pool.aclose()
        while self._lines:
            _, line = self._lines.popitem()
            await line.aclose()
        if self._transport is not None:
            await self._transport.aclose()

    def _find(self, url: str) -> _Target:
        """Return what a URL comes to.

        Raises:
            UpstreamError: it is no such URL, or one of ours.
        """
        target = self._targets.get(url)
        if target is None:
            target = self._add_target(url)
        origin = target.origin
        if self._own is not None and self._own(origin.host, origin.port):
            raise failures.self_target(origin.label)
        return target

    def _add_target(self, url: str) -> _Target:
        scheme, host, port, path = _parse_url(url)
        origin = self._pool.origin(scheme, host, port)
        rest = f" {path} HTTP/1.1\r\nHost: {origin.authority}\r\n"
        target = _Target(origin, proxies.is_local(host), path, rest)
        if len(self._targets) >= _MAX_TARGETS:
            self._targets.clear()
        self._targets[url] = target
        return target

    async def _route(self, target: _Target, proxy: str | None) -> str | None:
        """Return the proxy URL for a call, or None for a direct one."""
        if target.local:
            return None
        choice = proxy or self._settings.proxy
        if choice is not None:
            return None if choice == proxies.DIRECT else proxies.parse_proxy(choice)
        now = asyncio.get_running_loop().time()
        environment = self._environment
        if environment is None or now > self._environment_until:
            environment = await asyncio.to_thread(self._read_environment)
            if self._environment is None or environment.proxies != self._environment.proxies:
                self._environment = environment
            self._environment_until = now + _ENVIRONMENT_S
        if not environment.proxies:
            return None
        origin = target.origin
        key = (origin.scheme, origin.host)
        if key in environment.known:
            found = environment.known[key]
        else:
            found = await asyncio.to_thread(environment.choose, *key)
        return None if found is None else proxies.parse_proxy(found)

    async def _call(
        self,
        request: HttpRequest,
        target: _Target,
        limits: Limits,
        route: str | None,
        *,
        control: bool,
    ) -> HttpxAnswer:
        """Send with httpx: through this proxy, directly, or over the transport given."""
        if self._closed:
            raise failures.closed(target.origin.label, "because Dragoman is stopping")
        if _CALLS not in sys.modules:
            await asyncio.to_thread(importlib.import_module, _CALLS)
        from app.upstream import calls
        from app.upstream.transport import FastTransport

        given = self._transport
        fast = given is None and route is None and self._settings.transport == "fast"
        context = None if fast or given is not None else await self._pool.context()
        key = None if given is not None else route
        line = self._lines.get(key)
        if line is None:
            if context is not None:
                given = calls.make_transport(route, context)
            line = self._lines[key] = calls.open_line(given or FastTransport(self._pool))
            while len(self._lines) > _MAX_LINES:
                await self._lines.pop(next(iter(self._lines))).aclose()
        send = line.control if control else line.stream
        path = target.path if route is None else None
        return await calls.open_call(send, request, target.origin, path, limits)


def _parse_url(url: str) -> tuple[str, str, int, str]:
    """Split a URL into scheme, host, port and request target.

    Raises:
        UpstreamError: it is not an absolute http or https URL, or holds a user name or password
            (code ``invalid_url``).
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError as error:
        raise failures.invalid_url("it is not a URL") from error
    if parts.scheme not in ("http", "https"):
        raise failures.invalid_url("it is not an http or https URL")
    if not _HOST.fullmatch(host):
        raise failures.invalid_url("its host name is not valid")
    if "@" in parts.netloc:
        raise failures.invalid_url("it holds a user name or a password")
    path = parts.path or "/"
    if parts.query:
        path = f"{path}?{parts.query}"
    # what may stand in a target stays as it is; blanks and other characters are escaped
    target = quote(path, safe="%/?:@!$&'()*+,;=~-._[]")
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    return parts.scheme, host, port, target


def _render_head(request: HttpRequest, target: _Target) -> bytes:
    """Return request line and fields; ours (Host, length) replace those of the request.

    Raises:
        UpstreamError: a field holds a line break, a NUL or a character beyond latin-1.
    """
    fields = [
        f"{name}: {value}\r\n"
        for name, value in request.headers
        if len(name) not in _OUR_LENGTHS or name.lower() not in OUR_FIELDS
    ]
    body = request.body
    if body or request.method not in BODILESS:
        fields.append(f"Content-Length: {len(body)}\r\n")
    block = "".join(fields)
    count = len(fields)
    # one comparison of counts finds any line break that is not ours
    if (
        block.count("\n") != count
        or block.count("\r") != count
        or "\0" in block
        or not _METHOD.fullmatch(request.method)
    ):
        raise failures.invalid_header(target.origin.label)
    try:
        return f"{request.method}{target.rest}{block}\r\n".encode("latin-1")
    except UnicodeEncodeError as error:
        raise failures.invalid_header(target.origin.label) from error


async def _reply(
    answer: Answer | HttpxAnswer, host: str, limits: Limits, *, bodiless: bool
) -> StreamedReply:
    """Return an answer as the rest of the program sees it, content codings taken off."""
    headers: list[tuple[str, str]] = []
    coding = ""
    for name, value in answer.fields:
        if len(name) == 16 and name.lower() == b"content-encoding":
            coding = f"{coding},{value.decode('latin-1')}" if coding else value.decode("latin-1")
        headers.append((name.decode("latin-1"), value.decode("latin-1")))
    if not coding or bodiless:
        return StreamedReply(answer.status, tuple(headers), answer, answer.aclose)
    try:
        decoders = open_decoder(coding, host)
    except BaseException:
        await answer.aclose()
        raise
    if not decoders:  # identity
        return StreamedReply(answer.status, tuple(headers), answer, answer.aclose)
    kept = [
        field for field in headers if field[0].lower() not in ("content-encoding", "content-length")
    ]
    limit = min(MAX_CHUNK_BYTES, limits.max_body_bytes)
    chunks = Decoded(answer, answer.aclose, decoders, host, limit)
    return StreamedReply(answer.status, tuple(kept), chunks, answer.aclose)
