"""Responses over WebSocket: ``GET /v1/responses`` with an upgrade; 426 where it cannot be served.

One socket, one conversation at a time: each ``response.create`` is the same exchange as a POST,
its events go out one per message. A second one waits until the first has ended. The socket
remembers its own answers for ``previous_response_id``, also those that are not to be stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.websocket import WebSocketClosedError

from app.canonical.events import Finished, Started
from app.canonical.failure import failure_of
from app.dialects.base import Dialect, ReplyContext, read_head
from app.dialects.openai_responses_store import final_response
from app.dialects.openai_responses_ws import (
    decode_ws_message,
    encode_ws_failure,
    wants_answer,
    ws_frames,
)
from app.dialects.sse import SseParser
from app.errors import AppError
from app.gateway.call import Call, ClientGone
from app.gateway.exchange import Gateway
from app.gateway.refusal import with_help
from app.http import Headers
from app.server.caller import account_scope
from app.server.frames import StrictWebSocketHandler
from app.server.front import FrontContext
from app.server.inference import Inference
from app.server.pages import Control, Page
from app.tasks import spawn

__all__ = ["Sockets", "socket_routes"]

_log = logging.getLogger("dragoman.server")

_WAITING = 8
"""Messages that may wait while one is served; a client that sends more is broken."""


@dataclass(slots=True)
class Sockets:
    """The sockets that are open: HTTP's own list of connections no longer has them."""

    inference: Inference
    """Counts what is being served; its limit of bodies is that of messages."""
    open: set[ResponsesSocket] = field(default_factory=set)

    def close_all(self) -> None:
        """Tell every client that the server goes away."""
        for socket in list(self.open):
            socket.close(1001, "Dragoman is stopping")


class ResponsesSocket(StrictWebSocketHandler, Page):
    """One WebSocket. States: open → serving ⇄ idle → closed (either side)."""

    gateway: Gateway
    sockets: Sockets

    def initialize(  # type: ignore[override] # Tornado gives each route its own arguments
        self, control: Control, gateway: Gateway, sockets: Sockets
    ) -> None:
        """Take what the routes share."""
        super().initialize(control)
        self.gateway = gateway
        self.sockets = sockets
        self._queue: asyncio.Queue[str | bytes] = asyncio.Queue(_WAITING)
        self._worker: asyncio.Task[None] | None = None
        self._scope = ""

    def dialect(self) -> Dialect:
        """Return the one dialect that is spoken here."""
        return self.control.dialects["openai_responses"]

    async def prepare(self) -> None:
        """Check access; what is no handshake is told so, upon which clients post instead."""
        await super().prepare()
        if self._finished or _is_handshake(self.request):
            return
        self.set_header("Upgrade", "websocket")
        self.set_header("Sec-WebSocket-Version", "13")
        self.refuse(
            AppError(
                "This address answers POST, or a WebSocket upgrade.",
                status=426,
                code="upgrade_required",
            )
        )

    def check_origin(self, origin: str) -> bool:
        """Leave origins to the access rules, which have been asked already."""
        return True

    @property
    def max_message_size(self) -> int:
        """Return the limit of one message."""
        return self.sockets.inference.max_body_bytes

    def open(self, *_args: str, **_kwargs: str) -> None:
        """Begin to serve."""
        self._scope = f"{self.grant.owner}:{self.control.new_id('ws_')}"
        self.sockets.open.add(self)
        self._worker = spawn(self._serve(), "responses socket")

    def on_message(self, message: str | bytes) -> None:
        """Queue a message."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.close(1008, "too many messages at once")

    def on_close(self) -> None:
        """Stop what is running: nobody reads it."""
        self.sockets.open.discard(self)
        if self._worker is not None:
            self._worker.cancel()
        self.gateway.memory.forget_all(self._scope)

    async def _serve(self) -> None:
        inference = self.sockets.inference
        while True:
            message = await self._queue.get()
            if self.ws_connection is None:
                return  # closed by us; what the client sent before it knew is not asked any more
            inference.began()
            try:
                await self._answer(message)
            except (ClientGone, WebSocketClosedError):
                return
            except Exception:
                _log.exception("a message could not be answered")
                self.close(1011, "Dragoman failed on this message")
                return
            finally:
                inference.ended()

    async def _answer(self, message: str | bytes) -> None:
        request_id = self.control.new_id("req_")
        try:
            raw = decode_ws_message(message)
            if not wants_answer(message):
                await self._warm_up(raw)
                return
        except AppError as error:
            failure = with_help(failure_of(error), self.help_at())
            await self.write_message(encode_ws_failure(failure, request_id))
            return
        dialect = self.dialect()
        call = Call(
            dialect=dialect,
            route=dialect.routes[0],
            path=self.request.path,
            query="",
            headers=tuple(self.request.headers.get_all()),
            raw=raw,
            request_id=request_id,
            owner=self.grant.owner,
            allows=account_scope(self.grant),
            show_account=self.grant.key is None,
            client=self._program(),
            key_id="" if self.grant.key is None else self.grant.key.id,
            key_label="" if self.grant.key is None else self.grant.key.label,
            means=str if self.grant.key is None else self.grant.key.means,
            memory_scope=self._scope,
            help_at=self.help_at(),
        )
        await self.sockets.inference.handle(call, _SocketSink(self, request_id))

    def _program(self) -> str:
        context = getattr(self.request.connection, "context", None)
        caller = context.caller if isinstance(context, FrontContext) else None
        program = None if caller is None else caller.program
        return self.sockets.inference.names.of(program, self.request.headers)

    async def _warm_up(self, raw: bytes) -> None:
        """Answer a message that only warms up: an empty answer that can be followed up."""
        dialect = self.dialect()
        peek = dialect.peek(raw, self.request.path, "", dialect.routes[0])
        reply = ReplyContext(peek.model, None, self.gateway.now(), self.control.new_id)
        encoder = dialect.stream_encoder(reply)
        data = encoder.encode([Started("", peek.model), Finished("end")])
        body = final_response(data)
        if body is not None:
            head = read_head(raw)
            self.gateway.memory.remember(self._scope, head, body)
        for text in ws_frames(data):
            await self.write_message(text)


def _is_handshake(request: HTTPServerRequest) -> bool:
    """Say whether a request asks for a WebSocket as RFC 6455, section 4.2.1, has it."""
    headers = request.headers
    connection = [token.strip().lower() for token in headers.get("Connection", "").split(",")]
    return (
        request.method == "GET"
        and request.version == "HTTP/1.1"
        and headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in connection
        and headers.get("Sec-WebSocket-Version") == "13"
        and bool(headers.get("Sec-WebSocket-Key"))
    )


class _SocketSink:
    """Sends an exchange's stream as messages, one per event, however the pieces are cut."""

    def __init__(self, socket: ResponsesSocket, request_id: str) -> None:
        self._socket = socket
        self._request_id = request_id
        self._parser = SseParser()
        self.started = False
        self.written_at = asyncio.get_running_loop().time()

    def start(self, status: int, headers: Headers) -> None:
        """Begin; a socket has no head of its own."""
        self.started = True

    async def write(self, data: bytes) -> None:
        """Send the events that ``data`` completes.

        Raises:
            ClientGone: the socket is closed.
        """
        self.written_at = asyncio.get_running_loop().time()
        for frame in self._parser.feed(data):
            try:
                await self._socket.write_message(frame.data.decode("utf-8", "replace"))
            except WebSocketClosedError as error:
                raise ClientGone from error

    def alive(self) -> bool:
        """Say whether the socket is open: it is read all the time, so that its end is noticed."""
        return self._socket.ws_connection is not None

    def ping(self, data: bytes) -> bool:
        """Send a WebSocket ping."""
        try:
            self._socket.ping()
        except WebSocketClosedError:
            return False
        self.written_at = asyncio.get_running_loop().time()
        return True

    def finish(self) -> None:
        """Send an event that its stream did not close."""
        for frame in self._parser.close():
            self._send(frame.data.decode("utf-8", "replace"))

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a refusal as an error message."""
        failure = self._socket.dialect().decode_failure(status, headers, body)
        self._send(encode_ws_failure(failure, self._request_id))

    def _send(self, text: str) -> None:
        try:
            spawn(_sent(self._socket.write_message(text)), "last message")
        except WebSocketClosedError:
            return  # nobody waits for it


async def _sent(writing: Awaitable[None]) -> None:
    try:
        await writing
    except WebSocketClosedError:
        _log.debug("a socket was closed before its last message")


def socket_routes(control: Control, gateway: Gateway, sockets: Sockets) -> list[Any]:
    """Return the WebSocket route."""
    shared = {"control": control, "gateway": gateway, "sockets": sockets}
    return [(r"/(?:v1/)?responses", ResponsesSocket, shared)]
