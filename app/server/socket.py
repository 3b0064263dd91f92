"""Responses over WebSocket: ``GET /v1/responses`` with an upgrade; 426 without one.

One socket, one conversation at a time: each ``response.create`` is the same exchange as a POST,
its events go out one per message. A second one waits until the first has ended. The socket
remembers its own answers for ``previous_response_id``, also those that are not to be stored.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.websocket import WebSocketClosedError

from app.canonical.events import Finished, Started
from app.canonical.failure import failure_of
from app.dialects.base import ReplyContext, read_head
from app.dialects.openai_responses_store import final_response
from app.dialects.openai_responses_ws import (
    decode_ws_message,
    encode_ws_failure,
    wants_answer,
    ws_frames,
)
from app.errors import AppError
from app.gateway.call import Call
from app.gateway.exchange import Gateway
from app.http import Headers
from app.server.caller import account_scope
from app.server.front import StrictWebSocketHandler
from app.server.guard import Grant
from app.server.pages import Control
from app.tasks import spawn

__all__ = ["socket_routes"]

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_WAITING = 8
"""Messages that may wait while one is served; a client that sends more is broken."""


class ResponsesSocket(StrictWebSocketHandler):
    """One WebSocket. States: open → serving ⇄ idle → closed (either side)."""

    control: Control
    gateway: Gateway
    grant: Grant

    def initialize(self, control: Control, gateway: Gateway) -> None:
        """Take what the routes share."""
        self.control = control
        self.gateway = gateway
        self._queue: asyncio.Queue[str | bytes] = asyncio.Queue(_WAITING)
        self._worker: asyncio.Task[None] | None = None
        self._scope = ""

    async def prepare(self) -> None:
        """Check access; without an upgrade, say so."""
        request = self.request
        try:
            self.grant = self.control.access.check(
                "inference",
                getattr(request.connection, "context", None),
                request.method or "GET",
                request.path,
                request.query,
                request.headers,
            )
            if request.headers.get("Upgrade", "").lower() != "websocket":
                raise AppError(
                    "This address answers POST, or a WebSocket upgrade.",
                    status=426,
                    code="upgrade_required",
                )
        except AppError as error:
            reply = self.control.dialects["openai_responses"].encode_failure(
                failure_of(error), self.control.new_id("req_")
            )
            self.set_status(reply.status)
            for key, value in reply.headers:
                self.set_header(key, value)
            if reply.status == 426:
                self.set_header("Upgrade", "websocket")
            await self.finish(reply.body)

    def check_origin(self, origin: str) -> bool:
        """Leave origins to the access rules, which have been asked already."""
        return True

    @property
    def max_message_size(self) -> int:
        """Return the limit of one message."""
        return _MAX_MESSAGE_BYTES

    def open(self, *_args: str, **_kwargs: str) -> None:
        """Begin to serve."""
        self._scope = f"{self.grant.owner}:{self.control.new_id('ws_')}"
        self._worker = spawn(self._serve(), "responses socket")

    def on_message(self, message: str | bytes) -> None:
        """Queue a message."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.close(1008, "too many messages at once")

    def on_close(self) -> None:
        """Stop what is running: nobody reads it."""
        if self._worker is not None:
            self._worker.cancel()
        self.gateway.memory.forget_all(self._scope)

    async def _serve(self) -> None:
        while True:
            message = await self._queue.get()
            try:
                await self._answer(message)
            except WebSocketClosedError:
                return

    async def _answer(self, message: str | bytes) -> None:
        request_id = self.control.new_id("req_")
        try:
            raw = decode_ws_message(message)
            if not wants_answer(message):
                await self._warm_up(raw)
                return
        except AppError as error:
            await self.write_message(encode_ws_failure(failure_of(error), request_id))
            return
        dialect = self.control.dialects["openai_responses"]
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
            memory_scope=self._scope,
        )
        await self.gateway.handle(call, _SocketSink(self, request_id))

    async def _warm_up(self, raw: bytes) -> None:
        """Answer a message that only warms up: an empty answer that can be followed up."""
        dialect = self.control.dialects["openai_responses"]
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


class _SocketSink:
    """Sends an exchange's stream as messages; whole frames only, as the encoders write them."""

    def __init__(self, socket: ResponsesSocket, request_id: str) -> None:
        self._socket = socket
        self._request_id = request_id
        self._rest = b""
        self.started = False
        self.written_at = 0.0

    def start(self, status: int, headers: Headers) -> None:
        """Begin; a socket has no head of its own."""
        self.started = True

    async def write(self, data: bytes) -> None:
        """Send the whole frames of ``data``; a pass-through chunk may end inside one."""
        self.written_at = asyncio.get_running_loop().time()
        data = (self._rest + data).replace(b"\r\n", b"\n") if self._rest else data
        end = data.rfind(b"\n\n")
        if end < 0:
            self._rest = data
            return
        self._rest = data[end + 2 :]
        for text in ws_frames(data[: end + 2]):
            await self._socket.write_message(text)

    def ping(self, data: bytes) -> bool:
        """Send a WebSocket ping."""
        try:
            self._socket.ping()
        except WebSocketClosedError:
            return False
        self.written_at = asyncio.get_running_loop().time()
        return True

    def finish(self) -> None:
        """Send what is left."""
        if self._rest:
            for text in ws_frames(self._rest):
                self._socket.write_message(text)
            self._rest = b""

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a refusal as an error message."""
        dialect = self._socket.control.dialects["openai_responses"]
        failure = dialect.decode_failure(status, headers, body)
        self._socket.write_message(encode_ws_failure(failure, self._request_id))


def socket_routes(control: Control, gateway: Gateway) -> list[Any]:
    """Return the WebSocket route."""
    shared = {"control": control, "gateway": gateway}
    return [(r"/(?:v1/)?responses", ResponsesSocket, shared)]
