"""Connections to origins, kept alive between requests.

The pool of an origin is a stack: the connection used last is used next, so that a few warm ones
carry the load and the others expire. A connection is idle for ``IDLE_S`` seconds at most, which is
below the 60 s after which common load balancers close silently; age is checked at check-out, and
by one timer that exists only while something is idle.

A kept connection may have been closed by the service just as we write to it. If such a *reused*
connection ends before a single byte of an answer, the request is sent once more on a *new*
connection. A new connection that ends is never retried here, nor is a time-out.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.errors import UpstreamError
from app.http import Limits
from app.upstream import failures, tls
from app.upstream.failures import Stage
from app.upstream.wire import Answer, Connection

__all__ = ["IDLE_S", "MAX_IDLE", "Origin", "Pool"]

IDLE_S = 55.0
"""Seconds that a connection may be idle."""
MAX_IDLE = 200
"""Idle connections kept per origin."""
_MAX_ORIGINS = 512
_EYEBALLS_S = 0.25
"""Head start of the first address family (RFC 8305, section 5)."""
_JOIN_BYTES = 256 * 1024
"""Up to this size head and body go out in one write; above it the copy would cost more."""


@dataclass(eq=False, slots=True)
class Origin:
    """Where connections go: scheme, host without brackets, port; and those that are idle."""

    scheme: str
    host: str
    port: int
    label: str
    """Host, with the port unless it is the scheme's own; the name used in messages."""
    idle: list[Connection] = field(default_factory=list)

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        if ":" in self.host:
            return self.label.replace(self.host, f"[{self.host}]", 1)
        return self.label


class Pool:
    """All connections of the fast transport.

    Args:
        ca_file: PEM file of additional authorities, or None.
        own: says whether (host, port) is an address of ours, which is never called.
        context: TLS context to use instead of building one at first need.
    """

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        own: Callable[[str, int], bool] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._ca_file = ca_file
        self._own = own
        self._context = context
        self._context_lock = asyncio.Lock()
        self._origins: dict[tuple[str, str, int], Origin] = {}
        self._places: dict[Connection, Origin | None] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None
        self._closed = False

    def origin(self, scheme: str, host: str, port: int) -> Origin:
        """Return the origin of an address; scheme and host in lower case."""
        key = (scheme, host, port)
        origin = self._origins.get(key)
        if origin is None:
            if len(self._origins) >= _MAX_ORIGINS:
                self._origins.clear()  # idle connections still expire by the timer
            standard = port == (443 if scheme == "https" else 80)
            label = host if standard else f"{host}:{port}"
            origin = self._origins[key] = Origin(scheme, host, port, label)
        return origin

    async def open(
        self, origin: Origin, head: bytes, body: bytes, limits: Limits, *, head_only: bool = False
    ) -> Answer:
        """Send one request and return its answer once the head is there.

        Args:
            origin: where to.
            head: request line and fields, with the empty line at the end.
            body: the body, possibly empty.
            limits: time limits; ``total_s`` counts from now.
            head_only: the request is HEAD, so that the answer has no body.

        Raises:
            UpstreamError: with the codes of ``app.upstream.failures``.
        """
        now = asyncio.get_running_loop().time()
        total_s = limits.total_s or 0.0
        total_at = None if limits.total_s is None else now + total_s
        idle = origin.idle
        while idle:
            connection = idle.pop()
            if now - connection.idle_since > IDLE_S:  # type: ignore[operator]  # idle: it has one
                connection.abort()
                continue
            if connection.transport.is_closing():
                continue
            error = await self._exchange(connection, head, body, limits, total_at, head_only)
            if error is None:
                return Answer(connection, limits.idle_s, total_at, total_s)
            if not (connection.untouched and error.code == "upstream_closed"):
                raise error
            break
        connection = await self._connect(origin, limits, total_at)
        error = await self._exchange(connection, head, body, limits, total_at, head_only)
        if error is not None:
            raise error
        return Answer(connection, limits.idle_s, total_at, total_s)

    async def _exchange(
        self,
        connection: Connection,
        head: bytes,
        body: bytes,
        limits: Limits,
        total_at: float | None,
        head_only: bool,
    ) -> UpstreamError | None:
        """Write a request and wait for the head; return why there is none."""
        connection.begin(head_only=head_only)
        if len(body) > _JOIN_BYTES:
            connection.transport.write(head)
            connection.transport.write(body)
        else:
            connection.transport.write(head + body if body else head)
        try:
            await connection.wait(
                limits.first_byte_s, Stage.FIRST_BYTE, total_at, limits.total_s or 0.0
            )
        except BaseException:  # cancelled: the service need not go on
            connection.abort()
            raise
        if connection.head_done:
            return None  # a fault behind the head is met behind the body bytes before it
        connection.abort()
        return connection.error

    async def _connect(self, origin: Origin, limits: Limits, total_at: float | None) -> Connection:
        if self._closed:
            raise failures.closed(origin.label, "because Dragoman is stopping")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.connect_s
        stage, limit_s = Stage.CONNECT, limits.connect_s
        if total_at is not None and total_at < deadline:
            deadline, stage, limit_s = total_at, Stage.TOTAL, limits.total_s or 0.0
        context = await self.context() if origin.scheme == "https" else None
        # uvloop takes no such option and tries the addresses in turn
        options: dict[str, Any] = {}
        if isinstance(loop, asyncio.BaseEventLoop):
            options["happy_eyeballs_delay"] = _EYEBALLS_S
        try:
            async with asyncio.timeout_at(deadline):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, origin.label, self),
                    origin.host,
                    origin.port,
                    ssl=context,
                    server_hostname=origin.host if context is not None else None,
                    **options,
                )
        except TimeoutError as error:
            raise failures.timed_out(origin.label, stage, limit_s) from error
        except ssl.SSLError as error:
            raise failures.tls(origin.label, tls.explain(error)) from error
        except OSError as error:
            raise failures.unreachable(origin.label, _reason(error)) from error
        except UnicodeError as error:  # a label of the name is too long for DNS
            raise failures.unreachable(origin.label, "its name is not valid") from error
        self._places[connection] = origin
        if self._own is not None and _is_self(connection.transport, self._own):
            connection.abort()
            raise failures.self_target(origin.label)
        return connection

    async def context(self) -> ssl.SSLContext:
        """Return the TLS context, built in a thread at first need.

        Raises:
            UpstreamError: the additional CA file cannot be read.
        """
        if self._context is None:
            async with self._context_lock:
                if self._context is None:
                    self._context = await asyncio.to_thread(tls.build_context, self._ca_file)
        return self._context

    # what connections tell

    def opened(self, connection: Connection) -> None:
        """Note a new connection."""
        self._places[connection] = None  # until _connect knows it

    def lost(self, connection: Connection) -> None:
        """Forget a connection whose socket is gone."""
        origin = self._places.pop(connection, None)
        if origin is not None and connection in origin.idle:
            origin.idle.remove(connection)
        if self._empty is not None and not self._places and not self._empty.done():
            self._empty.set_result(None)

    def released(self, connection: Connection) -> bool:
        """Keep a connection for reuse; False when there is no room."""
        origin = self._places.get(connection)
        if origin is None or self._closed or len(origin.idle) >= MAX_IDLE:
            return False
        connection.idle_since = connection.now()
        origin.idle.append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(IDLE_S, self.sweep)
        return True

    def sweep(self) -> None:
        """Close what was idle too long; come back when the next one will be."""
        loop = asyncio.get_running_loop()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        now = loop.time()
        oldest = now
        for connection, origin in list(self._places.items()):
            since = connection.idle_since
            if since is None or origin is None:
                continue
            if now - since >= IDLE_S - 1:
                if connection in origin.idle:
                    origin.idle.remove(connection)
                connection.abort()
            else:
                oldest = min(oldest, since)
        if oldest < now:
            self._sweeper = loop.call_at(oldest + IDLE_S, self.sweep)

    def drop_idle(self) -> None:
        """Close what is idle: after a sleep of the computer nobody at the other end knows it."""
        for connection, origin in list(self._places.items()):
            if origin is not None and connection in origin.idle:
                origin.idle.remove(connection)
                connection.abort()

    async def aclose(self) -> None:
        """Close every connection, those in use as well, and wait until the sockets are gone."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._places):
            if connection.done:
                connection.abort()
            else:
                connection.fail(failures.closed(connection.host, "because Dragoman is stopping"))
        if self._places:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty


def _reason(error: OSError) -> str:
    """Return why a connection failed, as the rest of a sentence."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing answers at its port"
    if type(error).__name__ == "gaierror":
        return "its name cannot be found"
    # asyncio joins the failures of several addresses into one text without a number
    if "Connect call failed" in str(error) and "Multiple" in str(error):
        return "none of its addresses answers"
    return (error.strerror or "the network refused").split(" (")[0].lower()


def _is_self(transport: asyncio.Transport, own: Callable[[str, int], bool]) -> bool:
    """Say whether a connection ended at one of our own ports, whatever name led there."""
    peer = transport.get_extra_info("peername")
    sock = transport.get_extra_info("sockname")
    if not peer or not sock:
        return False
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    here = address.is_loopback or peer[0] == sock[0]
    return own(peer[0], peer[1]) or (here and own("127.0.0.1", peer[1]))
