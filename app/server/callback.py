"""Where services send the browser back to after a sign-in: pages, and ports for them.

Some services only send a browser to one address that was registered with them, a port of this
machine. Such a port is open only while a sign-in waits for it, on both loopback addresses and
nowhere else, and answers one path. What arrives is worth nothing without the ``state`` of a flow
that waits (``accounts.login``); whatever else comes is 404, without a word about why.

A port that somebody else has, that the system keeps for itself, or of which somebody has one half
(a program on ``::1`` would catch what was meant for us) is not used: the user pastes instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from socket import socket
from typing import Any, Protocol
from urllib.parse import parse_qs

from tornado.web import Application, RequestHandler

from app.accounts.flow import Flow
from app.errors import AppError, RequestError
from app.help import help_command
from app.http import Headers
from app.providers.signin import Listen
from app.server.front import FrontServer
from app.server.listen import ListenError, bind

__all__ = ["CallbackListeners", "Receive", "is_navigation", "render_page", "show_return"]

_log = logging.getLogger("dragoman.server")

_IDLE_S = 15.0
_LAST_ANSWER_S = 100.0
"""How long a page may take that waits for the service to take the code."""
_LONGEST = 4_096
"""Characters of a code or a state; real ones have some hundred."""

PAGE_HEADERS: Headers = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)
"""The address of these pages holds a code: it goes nowhere."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:12vh auto;padding:0 1.5em}}
h1{{font-size:1.4em}}code{{font-size:1.6em;letter-spacing:.1em}}</style></head>
<body><h1>{title}</h1>{body}</body></html>
"""


class Receive(Protocol):
    """Takes what the browser brought back; ``Logins.callback`` is one."""

    async def __call__(
        self, state: str, code: str = "", error: str = "", *, at: Listen | str | None = None
    ) -> Flow:
        """Return the flow; ``RequestError`` 404 for a state that belongs to none."""
        ...


def render_page(title: str, *paragraphs: str, code: str = "", link: str = "") -> bytes:
    """Return a plain page that needs nothing from elsewhere; all texts are escaped."""
    parts = [f"<p>{escape(text)}</p>" for text in paragraphs if text]
    if link:
        parts.append(f'<p><a rel="noreferrer" href="{escape(link)}">{escape(link)}</a></p>')
    if code:
        parts.append(f"<p><code>{escape(code)}</code></p>")
    return _PAGE.format(title=escape(title), body="".join(parts)).encode()


def is_navigation(headers: Mapping[str, str]) -> bool:
    """Say whether a browser goes to a page, as far as it tells: no image, frame or script."""
    return headers.get("Sec-Fetch-Mode", "navigate").lower() == "navigate" and (
        headers.get("Sec-Fetch-Dest", "document").lower() == "document"
    )


async def show_return(
    receive: Receive, query: str, headers: Mapping[str, str], at: Listen | str
) -> tuple[int, bytes]:
    """Take a browser's return from a service, and return status and page of the answer.

    Raises:
        RequestError: 404: it belongs to no sign-in that waits.
    """
    fields = parse_qs(query, keep_blank_values=True, max_num_fields=50)
    state, code, error = (_only(fields, name) for name in ("state", "code", "error"))
    if state is None or code is None or error is None or not state or not is_navigation(headers):
        raise RequestError(
            "This address belongs to no sign-in that is waiting here.",
            status=404,
            code="unknown_state",
        )
    try:
        flow = await receive(state, code, error, at=at)
    except RequestError:
        raise
    except AppError as failure:
        return failure.status, render_page("Not signed in", failure.text, _more(failure.code))
    return _page_of(flow)


def _only(fields: Mapping[str, Sequence[str]], name: str) -> str | None:
    """Return a field that is there at most once, empty when it is not; None when it is odd."""
    values = fields.get(name, [""])
    return values[0] if len(values) == 1 and len(values[0]) <= _LONGEST else None


def _page_of(flow: Flow) -> tuple[int, bytes]:
    who = " ".join(part for part in (flow.name, f"({flow.plan})" if flow.plan else "") if part)
    match flow.state:
        case "done":
            done = f"{flow.account} is signed in" + (f" as {who}." if who else ".")
            return 200, render_page("Signed in", done, "You may close this window.")
        case "other_identity":
            return 200, render_page(
                "Another account", flow.error, "Go back to Dragoman to confirm or cancel."
            )
        case _:
            return 400, render_page(
                "Not signed in",
                flow.error or "The sign-in did not succeed.",
                "Start it again.",
                _more(flow.code),
            )


def _more(code: str) -> str:
    # No link: these pages are also at ports that have nothing else.
    command = help_command(code)
    return f"In a terminal, {command} says more." if command else ""


async def _refuse_all(
    state: str, code: str = "", error: str = "", *, at: Listen | str | None = None
) -> Flow:
    raise RequestError("Nothing waits here.", status=404, code="unknown_state")


@dataclass(slots=True)
class _Port:
    server: FrontServer
    flows: dict[str, int]
    """How many flows wait for each path."""
    answering: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class CallbackListeners:
    """The callback ports that are open now.

    Args:
        listen: opens the sockets of a port on both loopback addresses.

    ``receive`` takes what arrives; set it before the first ``open``.
    """

    def __init__(self, listen: Callable[[int], list[socket]] = bind) -> None:
        self.receive: Receive = _refuse_all
        self._listen = listen
        self._ports: dict[int, _Port] = {}

    @property
    def ports(self) -> tuple[int, ...]:
        """Return the ports that are open."""
        return tuple(self._ports)

    async def open(self, listen: Listen) -> str:
        """Listen for one more flow; returns why that cannot be, empty when it is done."""
        port = self._ports.get(listen.port)
        if port is None:
            try:
                sockets = self._listen(listen.port)
            except ListenError as error:
                _log.info("no callback on port %d: %s", listen.port, error.message)
                return _reason(listen.port, error)
            port = self._serve(listen.port, sockets)
        port.flows[listen.path] = port.flows.get(listen.path, 0) + 1
        return ""

    def _serve(self, number: int, sockets: list[socket]) -> _Port:
        application = Application(
            [(r".*", _Callback, {"listeners": self, "port": number})],
            log_function=lambda _handler: None,
        )
        server = FrontServer(application, max_body_bytes=1_024, idle_timeout_s=_IDLE_S)
        server.add_sockets(sockets)
        port = self._ports[number] = _Port(server, {})
        port.idle.set()
        return port

    async def close(self, listen: Listen) -> None:
        """Listen for one flow less; the last one closes the port once its page was sent."""
        port = self._ports.get(listen.port)
        if port is None:
            return
        port.flows[listen.path] = port.flows.get(listen.path, 0) - 1
        if port.flows[listen.path] <= 0:
            del port.flows[listen.path]
        if not port.flows:
            del self._ports[listen.port]
            await _shut(port)

    async def aclose(self) -> None:
        """Close all ports."""
        while self._ports:
            _, port = self._ports.popitem()
            await _shut(port)

    def waits(self, number: int, path: str) -> bool:
        """Say whether a flow waits for a path on a port."""
        port = self._ports.get(number)
        return port is not None and path in port.flows

    async def answer(self, number: int, path: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work of one answer; its port stays until the answer has gone out."""
        port = self._ports.get(number)
        if port is None:
            return
        port.answering += 1
        port.idle.clear()
        try:
            await work()
        finally:
            port.answering -= 1
            if port.answering == 0:
                port.idle.set()


async def _shut(port: _Port) -> None:
    port.server.stop()
    try:
        await asyncio.wait_for(port.idle.wait(), _LAST_ANSWER_S)
    except TimeoutError:
        _log.warning("the page after a sign-in was cut off")
    finally:
        await port.server.close_all_connections()


def _reason(port: int, error: ListenError) -> str:
    """Say why a port cannot be used, for somebody who wants to sign in."""
    match error.code:
        case "port_in_use":
            holder = f"by {error.holder}" if error.holder else "by another program"
            return f"Port {port}, to which the browser will come back, is used {holder}."
        case "port_not_permitted":
            return (
                f"The system does not let Dragoman use port {port}, to which the browser will "
                "come back."
            )
        case _:
            return f"Port {port}, to which the browser will come back, cannot be used."


class _Callback(RequestHandler):
    """Everything that comes to a callback port."""

    def initialize(self, listeners: CallbackListeners, port: int) -> None:
        """Take what it belongs to."""
        self._listeners = listeners
        self._port = port

    def set_default_headers(self) -> None:
        """Name nothing but what the answer needs."""
        self.clear_header("Server")
        for key, value in PAGE_HEADERS:
            self.set_header(key, value)
        self.set_header("Connection", "close")

    def compute_etag(self) -> None:
        """Send no ETag."""

    async def prepare(self) -> None:
        """Answer every request; a method that carries a code has no other meaning."""
        await self._listeners.answer(self._port, self.request.path, self._work)

    async def _work(self) -> None:
        request = self.request
        listen = Listen(self._port, request.path)
        names = {f"{name}:{self._port}" for name in ("localhost", "127.0.0.1", "[::1]")}
        page = 404, render_page("Nothing here", "No sign-in waits at this address.")
        if (
            request.method == "GET"
            and request.host.lower() in names
            and self._listeners.waits(self._port, request.path)
        ):
            try:
                page = await show_return(
                    self._listeners.receive, request.query, request.headers, listen
                )
            except RequestError as error:
                page = error.status, render_page("Not signed in", error.text, _more(error.code))
            except ValueError:  # a query that is none
                _log.debug("a callback could not be read")
        self.set_status(page[0])
        await self.finish(page[1])

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Keep the request out of the log: its address holds a code."""
        _log.error("a callback page failed with %s", getattr(typ, "__name__", typ))
