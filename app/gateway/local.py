"""The demo as an upstream: same path as every service, but no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

from app.canonical.events import Event, Failed
from app.canonical.failure import Failure
from app.canonical.fold import fold
from app.canonical.parts import DialectName
from app.canonical.request import ChatRequest
from app.dialects.base import Dialect, Peek, ReplyContext, StreamEncoder, decode_object, dump
from app.errors import UpstreamError
from app.http import HttpReply, HttpRequest, Limits, Send, StreamedReply
from app.providers.demo import failure_for, script

__all__ = ["with_demo"]


def with_demo(
    send: Send,
    dialects: Mapping[DialectName, Dialect],
    now: Callable[[], float],
    new_id: Callable[[str], str],
) -> Send:
    """Return a ``Send`` that answers ``demo://`` itself and hands everything else on."""

    async def choose(request: HttpRequest, limits: Limits) -> StreamedReply:
        if not request.url.startswith("demo://"):
            return await send(request, limits)
        path, _, query = request.url.removeprefix("demo://demo").partition("?")
        for dialect in dialects.values():
            for route in dialect.routes:
                if route.method == request.method and route.pattern.fullmatch(path):
                    peek = dialect.peek(request.body, path, query, route)
                    chat = dialect.decode_request(decode_object(request.body), peek)
                    return _answer(dialect, peek, chat, now(), new_id)
        raise UpstreamError(f"The demo has no {path}.", status=404, code="not_found")

    return choose


def _answer(
    dialect: Dialect, peek: Peek, chat: ChatRequest, now: float, new_id: Callable[[str], str]
) -> StreamedReply:
    reply = ReplyContext(peek.model, chat, now, new_id, chat.include_usage, peek.variant)
    failure = failure_for(peek.model)
    if failure is not None:
        return _whole(dialect.encode_failure(failure, new_id("req_")))
    if peek.stream:
        encoder = dialect.stream_encoder(reply)
        return StreamedReply(
            200, (("content-type", "text/event-stream"),), _stream(encoder, script(chat))
        )
    answer = fold([event for _, events in script(chat) for event in events])
    if isinstance(answer, Failure):
        return _whole(dialect.encode_failure(answer, new_id("req_")))
    body = dump(dialect.encode_response(answer, reply).body)
    return _whole(HttpReply(200, (("content-type", "application/json"),), body))


def _whole(reply: HttpReply) -> StreamedReply:
    async def body() -> AsyncIterator[bytes]:
        yield reply.body

    return StreamedReply(reply.status, reply.headers, body())


async def _stream(
    encoder: StreamEncoder, turns: Iterator[tuple[float, list[Event]]]
) -> AsyncIterator[bytes]:
    for pause_s, events in turns:
        await asyncio.sleep(pause_s)  # a pause of 0 lets other streams run between words
        if data := encoder.encode(events):
            yield data
        if any(isinstance(event, Failed) for event in events):
            return
