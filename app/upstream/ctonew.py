"""cto.new's own chat, carried out: a hosted project, a WebSocket, a POST, and the clean-up.

For everyone else it is one call: a ``Job`` goes to an address that begins with ``ctonew+``, and a
Chat Completion comes back. In order:

1. a project is made for the chat; its id names the conversation;
2. the WebSocket is opened, before anything is asked, since the first frames are not kept for later;
3. the account's preferred model is set, and the prompt posted. The preferred model belongs to the
   whole account, so that this pair is done by one chat at a time;
4. frames are read until the answer ends; the server's ``ping`` is answered;
5. the socket is closed and the project deleted, whatever happened. There is no call that stops an
   answer: a closed socket is all that a client who leaves can mean.

A socket that closes before the answer began is opened again, once. An answer that any of the calls
refuses is given back as it is: status and body say what it means for the account.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from urllib.parse import quote, urlencode, urlsplit
from weakref import WeakValueDictionary

import msgspec
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError

from app.errors import AppError, BugError, UpstreamError
from app.http import Headers, HttpReply, HttpRequest, Limits, Send, StreamedReply
from app.providers.ctonew import CHAT_PATH, SCHEME
from app.providers.ctonew_answer import Answer
from app.providers.ctonew_frames import FrameDecoder, Heard
from app.providers.ctonew_prompt import Job
from app.tasks import spawn
from app.upstream import failures
from app.upstream.client import Way
from app.upstream.websocket import HandshakeRefused, open_websocket

__all__ = ["Reach", "with_ctonew"]

_log = logging.getLogger("dragoman.upstream")

Reach = Callable[[str, str | None], Awaitable[Way]]
"""How an address is reached: an http or https URL and the proxy of the call (``Client.way``)."""

_SMALL = Limits(first_byte_s=30.0, idle_s=30.0, total_s=60.0, max_body_bytes=1024 * 1024)
"""Of the calls around the chat."""
_CHECKED = frozenset({"authorization", "cookie", "origin", "referer", "user-agent"})
"""Fields of the call that its parts carry, too."""
_SOCKET_FIELDS = frozenset({"cookie", "origin", "user-agent"})
_PING, _PONG = "ping", "pong"


def with_ctonew(
    send: Send,
    reach: Reach,
    now: Callable[[], float],
    new_id: Callable[[str], str],
    *,
    stall_s: float = 60.0,
) -> Send:
    """Return a ``Send`` that carries out ``ctonew+`` addresses and hands everything else on.

    Args:
        send: carries out the HTTP calls.
        reach: proxy and TLS context for the WebSocket.
        now: epoch seconds.
        new_id: makes ids with a prefix.
        stall_s: silence on the WebSocket after which the answer is given up; the server sends a
            sign of life every 30 s.
    """
    turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def choose(request: HttpRequest, limits: Limits) -> StreamedReply:
        if not request.url.startswith(SCHEME):
            return await send(request, limits)
        job = msgspec.json.decode(request.body, type=Job)
        turn = turns.setdefault(job.user, asyncio.Lock())
        answer = Answer(job, new_id("chatcmpl-"), int(now()))
        chat = _Chat(send, reach, request, job, limits, turn, answer, new_id, stall_s)
        return await chat.run()

    return choose


class _Chat:
    """One chat."""

    def __init__(
        self,
        send: Send,
        reach: Reach,
        request: HttpRequest,
        job: Job,
        limits: Limits,
        turn: asyncio.Lock,
        answer: Answer,
        new_id: Callable[[str], str],
        stall_s: float,
    ) -> None:
        url = request.url.removeprefix(SCHEME)
        if not url.endswith(CHAT_PATH):
            raise BugError(f"cto.new's chat is not at {urlsplit(url).path}.")
        self._send = send
        self._reach = reach
        self._base = url.removesuffix(CHAT_PATH)
        self._host = urlsplit(url).netloc
        self._headers: Headers = tuple(f for f in request.headers if f[0].lower() in _CHECKED)
        self._proxy = request.proxy
        self._job = job
        self._limits = limits
        self._turn = turn
        self._answer = answer
        self._new_id = new_id
        self._stall_s = stall_s
        self._project = ""
        self._workspace = ""
        self._socket: WebSocketClientConnection | None = None

    async def run(self) -> StreamedReply:
        """Begin the chat; a whole answer is collected, a streamed one begun.

        Raises:
            UpstreamError: it failed.
        """
        try:
            async with asyncio.timeout(self._limits.total_s):
                refused = await self._begin()
                if refused is None and not self._job.stream:
                    async with aclosing(self._heard()) as pieces:
                        async for heard in pieces:
                            self._answer.add(heard)
        except HandshakeRefused as error:
            refused = error.reply
        except TimeoutError as error:
            self._close()
            limit_s = self._limits.total_s or 0.0
            raise failures.timed_out(self._host, failures.Stage.TOTAL, limit_s) from error
        except BaseException:
            self._close()
            raise
        if refused is None and self._job.stream:
            fields = (("content-type", "text/event-stream; charset=utf-8"),)
            chunks = self._chunks()

            async def end() -> None:
                await chunks.aclose()
                self._close()

            return StreamedReply(200, fields, chunks, end)
        self._close()
        if refused is not None:
            return _whole(refused)
        fields = (("content-type", "application/json"),)
        return _whole(HttpReply(200, fields, self._answer.whole()))

    # --- the beginning ---------------------------------------------------------------------------

    async def _begin(self) -> HttpReply | None:
        """Bring the chat to where frames come; returns the answer that stands against it."""
        name = self._new_id("dragoman-")
        made = await self._call("POST", "/projects/create-hosted", {"projectName": name})
        if not _is_good(made):
            return made
        self._project, self._workspace = _project(made)
        self._socket = await self._connect()
        async with self._turn:
            chosen = await self._call(
                "PATCH", "/teams/preferred-model", {"modelKey": self._job.model}
            )
            if not _is_good(chosen):
                return chosen
            posted = await self._call(
                "POST",
                CHAT_PATH,
                {
                    "prompt": base64.b64encode(
                        self._job.prompt.encode("utf-8", "replace")
                    ).decode(),
                    "chatHistoryId": self._project,
                    "encoded": True,
                },
            )
        return None if _is_good(posted) else posted

    async def _call(self, method: str, path: str, body: dict[str, object] | None) -> HttpReply:
        fields = (*self._headers, ("accept", "application/json"))
        raw = b""
        if body is not None:
            raw = msgspec.json.encode(body)
            fields = (*fields, ("content-type", "application/json"))
        reply = await self._send(
            HttpRequest(method, self._base + path, fields, raw, self._proxy), _SMALL
        )
        try:
            return HttpReply(reply.status, reply.headers, await reply.read(_SMALL.max_body_bytes))
        finally:
            await reply.aclose()

    async def _connect(self) -> WebSocketClientConnection:
        job = self._job
        token = f"{job.user}:{job.organization}" if job.organization else job.user
        query = {"token": token, **({"workspaceId": self._workspace} if self._workspace else {})}
        path = f"/engine-agent/chat-histories/{quote(self._project, safe='')}/buffer/stream"
        base = "ws" + self._base.removeprefix("http")
        return await open_websocket(
            f"{base}{path}?{urlencode(query)}",
            tuple(field for field in self._headers if field[0].lower() in _SOCKET_FIELDS),
            await self._reach(self._base, self._proxy),
            connect_s=self._limits.connect_s,
        )

    # --- the answer ------------------------------------------------------------------------------

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._heard()) as pieces:
            async for heard in pieces:
                if out := self._answer.encode(heard):
                    yield out
        yield self._answer.close()

    async def _heard(self) -> AsyncGenerator[list[Heard], None]:
        """Yield what each frame tells, until the answer ends.

        Raises:
            UpstreamError: the socket closed too early, or was silent for too long.
        """
        decoder = FrameDecoder()
        loop = asyncio.get_running_loop()
        again = True
        told_at = loop.time()
        while not decoder.ended:
            frame = await self._next(told_at)
            if frame is None:
                if decoder.begun or not again:
                    raise failures.closed(self._host, "before the answer was complete")
                again = False
                self._hang_up()
                self._socket = await self._connect()
            elif frame in (_PING, b"ping"):
                await self._pong()
            else:
                told_at = loop.time()
                heard = decoder.feed(frame)
                if heard:
                    yield heard

    async def _next(self, told_at: float) -> str | bytes | None:
        """Return the next frame; None when the socket is closed.

        Signs of life keep the socket, but not for ever: what is said must come within the idle
        limit of the call.
        """
        socket = self._socket
        if socket is None:
            return None
        loop = asyncio.get_running_loop()
        silent_at, idle_at = loop.time() + self._stall_s, told_at + self._limits.idle_s
        try:
            async with asyncio.timeout_at(min(silent_at, idle_at)):
                return await socket.read_message()
        except TimeoutError as error:
            limit_s = self._stall_s if silent_at <= idle_at else self._limits.idle_s
            raise UpstreamError(
                f"{self._host} stopped sending in the middle of its answer for {limit_s:g} s.",
                status=504,
                code="upstream_timeout",
            ) from error

    async def _pong(self) -> None:
        if self._socket is None:
            return
        try:
            await self._socket.write_message(_PONG)
        except WebSocketClosedError:
            return  # the next read says so

    # --- the end ---------------------------------------------------------------------------------

    def _close(self) -> None:
        self._hang_up()
        project, self._project = self._project, ""
        if project:
            spawn(self._delete(project), "ctonew clean-up")

    def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    async def _delete(self, project: str) -> None:
        path = f"/engine-agent/chat-histories/{quote(project, safe='')}"
        try:
            reply = await self._call("DELETE", path, None)
        except AppError as error:
            _log.info("a project at cto.new was not deleted: %s", error.message)
            return
        if not _is_good(reply) and reply.status != 404:
            _log.info("a project at cto.new was not deleted: it answered %d", reply.status)


def _is_good(reply: HttpReply) -> bool:
    return 200 <= reply.status < 300


def _project(reply: HttpReply) -> tuple[str, str]:
    """Return the ids of a new project and its workspace.

    Raises:
        UpstreamError: the answer names no project.
    """
    try:
        made = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        made = None
    project = made.get("projectId") if isinstance(made, dict) else None
    if not isinstance(project, str) or not project:
        raise UpstreamError("cto.new made no project for the chat.", code="upstream_protocol")
    workspace = made.get("workspaceId")
    return project, workspace if isinstance(workspace, str) else ""


def _whole(reply: HttpReply) -> StreamedReply:
    async def body() -> AsyncIterator[bytes]:
        yield reply.body

    return StreamedReply(reply.status, reply.headers, body())
