"""One connected page and the calls that it carries out; ``app.upstream.relay`` has the theory."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from app.errors import RequestError, UpstreamError
from app.http import HttpRequest, Limits, StreamedReply, header
from app.upstream import failures
from app.upstream.relay_call import (
    NOTHING,
    THE_PAGE,
    Call,
    Message,
    Payload,
    headers_of,
    payload_of,
    read_message,
    refuse,
)

__all__ = ["REFUSED", "REPLACED", "Home", "Marks", "Page", "PageGone", "PageSocket"]

_log = logging.getLogger("dragoman.upstream")

_CLIENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

REPLACED, REFUSED = 4001, 4003
"""Close codes of ours: upon these a page does not come back by itself."""


class PageGone(Exception):
    """The socket is closed."""


class PageSocket(Protocol):
    """One WebSocket, as the server has it."""

    def send_text(self, text: str) -> Awaitable[None]:
        """Send a frame at once, in the order of calls; awaited, it waits until it is written.

        Raises:
            PageGone: the socket is closed, at once or from the awaitable.
        """
        ...

    def end(self, code: int, reason: str) -> None:
        """Close the socket."""
        ...

    def permitted(self) -> bool:
        """Say whether its key is still good."""
        ...


@dataclass(frozen=True, slots=True)
class Marks:
    """How much of an answer may wait for its reader."""

    pause_bytes: int = 256 * 1024
    """From here on the page is asked to pause."""
    most_bytes: int = 8 * 1024 * 1024
    """From here on the socket is not read."""
    patience_s: float = 15.0
    """How long that may last; less than the time within which a ping must be answered."""


class Home(Protocol):
    """Where a page belongs to; ``app.upstream.relay.Relay`` is one."""

    now: Callable[[], float]
    new_id: Callable[[], str]
    marks: Marks

    def named(self, page: Page) -> None:
        """Take note that a page has said who it is."""
        ...

    def left(self, page: Page, reason: str) -> None:
        """Forget a page that is lost."""
        ...


class Page:
    """One connected page, with the calls that it carries out; see the module."""

    def __init__(self, home: Home, account: str, socket: PageSocket) -> None:
        self.account = account
        self.client_id = ""
        self.opened_at = self.heard_at = home.now()
        self.calls: dict[str, Call] = {}
        self.extended = False
        """It has said ``hello``, so that it knows ``cancel``, ``pause`` and ``resume``."""
        self._home = home
        self._socket = socket
        self._gone = ""
        """Why it is lost; empty while it lives."""

    # --- what the socket tells -----------------------------------------------------------------------

    async def feed(self, message: str | bytes) -> None:
        """Take a frame; the next one is to be read when this has returned."""
        if self._gone:
            return
        self.heard_at = self._home.now()
        if not isinstance(message, str):
            self.end(1003, "binary frames are not part of this protocol")
            return
        try:
            told = read_message(message)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            # Whose it was cannot be known, so no answer under way can be trusted any more.
            self.end(1007, "the frame is no message")
            return
        match told.type:
            case "ping":
                self.tell("pong", told.id or "")
                self.check_key()
            case "hello":
                self._greet(payload_of(told) or NOTHING)
            case _:
                await self._carry(told)

    def lost(self, reason: str) -> None:
        """End every call: the socket is closed. Does nothing the second time."""
        if self._gone:
            return
        self._gone = reason or "the socket was closed"
        calls, self.calls = self.calls, {}
        for call in calls.values():
            call.fail(failures.closed(THE_PAGE, f"before the answer was complete ({self._gone})"))
        self._home.left(self, self._gone)

    def end(self, code: int, reason: str) -> None:
        """Close the socket and end every call."""
        if not self._gone:
            self._socket.end(code, reason)
            self.lost(reason)

    def check_key(self) -> None:
        """Let a page go whose key was revoked or has expired."""
        if not self._gone and not self._socket.permitted():
            self.end(REFUSED, "the relay key is no longer valid")

    def _greet(self, said: Payload) -> None:
        client_id = said.client_id
        if isinstance(client_id, str) and _CLIENT_ID.fullmatch(client_id):
            self.client_id = client_id
            self._home.named(self)
        self.extended = True
        self.tell("welcome", "", {"account": self.account, "version": 1})

    async def _carry(self, told: Message) -> None:
        """Hand a message to its call; one that nobody waits for any more is let fall."""
        call_id = told.id or ""
        call = self.calls.get(call_id)
        if call is None:
            return
        said = payload_of(told)
        if said is None:
            self._spoil(call_id, call, f"a {told.type[:40]!r} that cannot be read")
            return
        match told.type:
            case "stream_start" | "http_response" if not 100 <= (said.status or 200) < 600:
                self._spoil(call_id, call, f"the status {said.status}")
            case "stream_start":
                call.begin(said.status or 200, headers_of(said.headers))
            case "stream_chunk":
                if not call.in_order(said.seq):
                    self._spoil(call_id, call, "an answer of which a piece is missing")
                elif said.data:
                    await self._add(call_id, call, said.data)
            case "stream_end":
                del self.calls[call_id]
                call.end()
            case "http_response":
                del self.calls[call_id]
                call.answer(said)
            case "error":
                del self.calls[call_id]
                refuse(call, said)
            case other:
                _log.debug("a page sent a message of the unknown type %.40s", other)

    async def _add(self, call_id: str, call: Call, text: str) -> None:
        marks = self._home.marks
        call.add(text)
        if call.waiting_bytes > marks.pause_bytes and self.extended and not call.paused:
            call.paused = True
            self.tell("pause", call_id)
        if call.waiting_bytes <= marks.most_bytes:
            return
        try:
            async with asyncio.timeout(marks.patience_s):
                await call.emptied()
        except TimeoutError:
            call.fail(
                UpstreamError(
                    "The client reads the answer too slowly: "
                    f"{call.waiting_bytes // 1024} KB of it waited for {marks.patience_s:g} s.",
                    code="client_too_slow",
                )
            )
            self.drop(call_id)

    def _spoil(self, call_id: str, call: Call, what: str) -> None:
        call.fail(UpstreamError(f"{THE_PAGE} sent {what}.", code="upstream_protocol"))
        self.drop(call_id)

    # --- what the page is told -------------------------------------------------------------------

    def tell(self, kind: str, call_id: str, payload: Mapping[str, str | int] | None = None) -> None:
        """Send a message without waiting; a socket that is closed tells so itself."""
        told: dict[str, object] = {"id": call_id, "type": kind}
        if payload is not None:
            told["payload"] = payload
        with suppress(PageGone):
            _unheeded(self._socket.send_text(_encode(told)))

    def resume(self, call_id: str) -> None:
        """Let the page go on with a call that was paused."""
        if call_id in self.calls:
            self.tell("resume", call_id)

    def drop(self, call_id: str) -> None:
        """Give up a call that has not ended."""
        if self.calls.pop(call_id, None) is not None and self.extended:
            self.tell("cancel", call_id)

    async def run(self, request: HttpRequest, url: str, limits: Limits) -> StreamedReply:
        """Carry out one call; see ``Relay.send``."""
        call_id = self._home.new_id()
        text = _encode(self._request(call_id, request, url))
        call = self.calls[call_id] = Call(limits, lambda: self.resume(call_id))
        try:
            await self._ask(call, text, limits)
            status, fields = await call.head()
        except BaseException:
            self.drop(call_id)
            raise
        chunks = call.chunks()

        async def end() -> None:
            await chunks.aclose()
            call.leave()
            self.drop(call_id)

        return StreamedReply(status, fields, chunks, end)

    async def _ask(self, call: Call, text: str, limits: Limits) -> None:
        try:
            async with asyncio.timeout(limits.first_byte_s):
                await self._socket.send_text(text)
        except PageGone as error:
            raise call.error or failures.closed(THE_PAGE, "before it was asked") from error
        except TimeoutError as error:
            raise failures.timed_out(THE_PAGE, failures.Stage.SEND, limits.first_byte_s) from error

    def _request(self, call_id: str, request: HttpRequest, url: str) -> dict[str, object]:
        try:
            body = request.body.decode()
        except UnicodeDecodeError as error:
            raise RequestError("The body is no UTF-8.", code="invalid_json") from error
        # A browser refuses most header fields, and the others say who we are: one is enough.
        kind = header(request.headers, "content-type") if body else None
        sent_at = datetime.fromtimestamp(self._home.now(), UTC).isoformat()
        return {
            "id": call_id,
            "type": "http_request",
            "payload": {
                "method": request.method,
                "url": url,
                "headers": {"Content-Type": [kind]} if kind else {},
                "body": body,
                "sent_at": sent_at.replace("+00:00", "Z"),
            },
        }


def _encode(told: Mapping[str, object]) -> str:
    return msgspec.json.encode(told).decode()


def _unheeded(writing: Awaitable[None]) -> None:
    """Let a write go on; that the socket is closed is told by the socket."""
    asyncio.ensure_future(writing).add_done_callback(_seen)


def _seen(writing: asyncio.Future[None]) -> None:
    if not writing.cancelled():
        writing.exception()
