"""One attempt: one candidate is asked, and its answer carried to the client.

``run`` returns ``Served`` once the client has its answer, complete or broken after content was
sent; it returns a ``Failure`` when nothing of the answer reached the client, so that the next
candidate may be asked.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from app.canonical.events import (
    Event,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    Started,
    UsageSeen,
)
from app.canonical.failure import Failure, failure_of
from app.canonical.parts import Media, Opaque, ToolCall
from app.canonical.profile import Target
from app.canonical.request import ChatRequest
from app.canonical.response import ChatResponse
from app.dialects.base import Dialect
from app.dialects.identity import identity_edits
from app.dialects.tap import Tap
from app.dialects.translate import (
    StreamPipe,
    Translation,
    carries_seal,
    decode_reply,
    encode_whole,
    translate,
)
from app.errors import UpstreamError
from app.gateway.call import Outcome, Sink
from app.gateway.pinger import Pinger
from app.gateway.resources import Resources
from app.gateway.work import Work
from app.http import Headers, HttpReply, HttpRequest, StreamedReply
from app.providers.base import join_url
from app.routing.plan import Candidate

__all__ = ["Attempt", "Served"]

_log = logging.getLogger("dragoman.gateway")

_MAX_ERROR_BYTES = 1024 * 1024
_PASSED = (
    "retry-after",
    "retry-after-ms",
    "request-id",
    "openai-model",
    "openai-processing-ms",
    "openai-version",
    "x-should-retry",
)
_PASSED_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-", "x-codex-")
STREAM_HEADERS: Headers = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),
)


@dataclass(frozen=True, slots=True)
class Served:
    """The client was answered; ``failure`` when the answer broke after content was sent."""

    failure: Failure | None = None


class Attempt:
    """See the module."""

    __slots__ = ("_candidate", "_gateway", "_outcome", "_pinger", "_sink", "_upstream", "_work")

    def __init__(
        self,
        gateway: Resources,
        work: Work,
        candidate: Candidate,
        sink: Sink,
        outcome: Outcome,
        pinger: Pinger,
    ) -> None:
        self._gateway = gateway
        self._work = work
        self._candidate = candidate
        self._sink = sink
        self._outcome = outcome
        self._pinger = pinger
        self._upstream: Dialect = gateway.dialects[candidate.dialect]

    async def run(self) -> Served | Failure:
        """Ask the candidate and carry its answer.

        Raises:
            AppError: nothing was sent to the client; the caller makes a failure of it.
        """
        work, candidate = self._work, self._candidate
        translation = self._translate()
        outcome = self._outcome
        outcome.account = candidate.account.id
        outcome.served = candidate.model
        outcome.dialect = candidate.dialect
        outcome.grade = translation.grade
        outcome.reason = candidate.reason
        outcome.losses = translation.losses
        self._pinger.head = lambda: (
            *self._stream_type(),
            *self._gateway.own_headers(work.call, outcome),
        )
        reply = await self._gateway.send(
            self._request(translation), self._gateway.call_limits(work.peek)
        )
        try:
            if not 200 <= reply.status < 300:
                return await self._failure(reply)
            if not work.peek.stream:
                return await self._whole(reply, translation)
            if translation.grade == "translated":
                return await self._translated(reply, translation)
            return await self._passed_on(reply)
        finally:
            await reply.aclose()

    def _translate(self) -> Translation:
        work, candidate, call = self._work, self._candidate, self._work.call
        account = candidate.account
        provider = account.provider
        same = candidate.dialect == call.dialect.name and call.surface is None
        sealed = same and carries_seal(call.raw)
        request: ChatRequest | None = None
        if not same or sealed:
            request = self._gateway.replay.attach(call.owner, work.request())
        edits = (
            {}
            if candidate.dialect in provider.vendors or not same
            else identity_edits(candidate.dialect, work.head)
        )
        profile = self._gateway.catalog.profile(account, candidate.public, candidate.model)
        return translate(
            call.dialect,
            self._upstream,
            call.raw,
            work.head,
            candidate.model,
            Target(profile, provider.issuer, provider.official),
            request=request,
            edits=edits,
            verbatim_ok=call.surface is None,
        )

    def _request(self, translation: Translation) -> HttpRequest:
        work, candidate = self._work, self._candidate
        account = candidate.account
        path = self._upstream.path("generate", candidate.model, stream=work.peek.stream)
        request = HttpRequest(
            "POST",
            join_url(account.base_url, path),
            (
                ("content-type", "application/json"),
                ("accept", "text/event-stream" if work.peek.stream else "application/json"),
            ),
            translation.body,
        )
        passed = () if translation.grade == "translated" else work.call.headers
        return account.provider.prepare(
            request, account.credential, candidate.dialect, passed, account.headers
        )

    async def _failure(self, reply: StreamedReply) -> Failure:
        try:
            body = await reply.read(_MAX_ERROR_BYTES)
        except UpstreamError:
            body = b""
        if reply.status < 400:
            return failure_of(
                UpstreamError(
                    f"{self._candidate.account.provider.title} answered with a redirect "
                    f"({reply.status}), which is not followed.",
                    hint="Check base_url in the settings.",
                    code="upstream_redirect",
                )
            )
        failure = self._upstream.decode_failure(reply.status, reply.headers, body)
        return self._candidate.account.provider.classify(
            failure, HttpReply(reply.status, reply.headers, body)
        )

    # --- answers that are not streamed -----------------------------------------------------

    async def _whole(self, reply: StreamedReply, translation: Translation) -> Served | Failure:
        raw = await reply.read()
        hidden = self._hidden_failure(raw, reply.headers)
        if hidden is not None:
            return hidden
        if translation.grade != "translated":
            content_type = reply.header("content-type") or "application/json"
            body = raw
        else:
            content_type = "application/json"
            response = decode_reply(self._upstream, raw, self._candidate.account.provider.issuer)
            self._outcome.usage = response.usage
            body = self._encode_whole(response, translation)
        self._remember_whole(body)
        self._outcome.status = reply.status
        self._sink.reply(
            reply.status, (("content-type", content_type), *self._headers(reply.headers)), body
        )
        return Served()

    def _encode_whole(self, response: ChatResponse, translation: Translation) -> bytes:
        call = self._work.call
        context = self._gateway.reply_context(call, self._work.peek, translation.request)
        watch = self._gateway.replay.watch(call.owner)
        return encode_whole(call.client_side, response, translation.names, context, watch)

    def _hidden_failure(self, raw: bytes, headers: Headers) -> Failure | None:
        """Return the failure that some services put into a 200 answer."""
        if b'"error"' not in raw[:256]:
            return None
        try:
            body = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        error = body.get("error") if isinstance(body, dict) else None
        if not error or "output" in body or "choices" in body:
            return None
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
        return self._upstream.decode_failure(status, headers, raw)

    # --- streams -----------------------------------------------------------------------------

    async def _passed_on(self, reply: StreamedReply) -> Served | Failure:
        """Carry a same-dialect stream: bytes untouched, looked at only beside."""
        tap = Tap(self._upstream)
        held: list[bytes] = []
        sink, pinger = self._sink, self._pinger
        committed = False
        broken: Failure | None = None
        try:
            async for chunk in reply.chunks:
                tap.feed(chunk)
                if committed:
                    pinger.at_border = chunk.endswith((b"\n\n", b"\r\n\r\n"))
                    await sink.write(chunk)
                    continue
                held.append(chunk)
                if tap.failure is not None and not tap.content:
                    return self._classify(tap.failure)
                if tap.content or tap.terminal:
                    committed = True
                    self._start(reply.headers)
                    data = b"".join(held)
                    pinger.at_border = data.endswith((b"\n\n", b"\r\n\r\n"))
                    await sink.write(data)
        except UpstreamError as error:
            broken = failure_of(error)
        tap.close()
        self._outcome.usage = tap.usage
        verdict = broken or tap.verdict()
        if not committed:
            if verdict is not None:
                return self._classify(verdict)
            self._start(reply.headers)
            await sink.write(b"".join(held))
        if verdict is not None and tap.failure is None:
            # The service did not say that it failed, so we do.
            await sink.write(b"\n\n" + self._failure_event(verdict))
        if tap.final:
            self._remember_stream(tap.final)
        sink.finish()
        return Served(verdict)

    async def _translated(self, reply: StreamedReply, translation: Translation) -> Served | Failure:
        pipe = self._pipe(translation)
        sink = self._sink
        held: list[Event] = []
        committed = False
        failure: Failure | None = None
        async for events in self._events(reply, pipe):
            if not committed:
                held += events
                failed = _failed(held)
                if not _has_content(held):
                    if failed is not None:
                        return self._classify(failed)
                    continue
                committed = True
                self._start(reply.headers)
                events, held = held, []
            if (out := self._encode(pipe, events)) is not None:
                await sink.write(out)
            last = events[-1]
            if type(last) is Failed:
                failure = last.failure
                break
        sink.finish()
        return Served(failure)

    async def _events(self, reply: StreamedReply, pipe: StreamPipe) -> AsyncIterator[list[Event]]:
        """Yield the events of each upstream chunk; ends with ``Finished`` or ``Failed``."""
        try:
            async for chunk in reply.chunks:
                if events := pipe.decode(chunk):
                    yield events
        except UpstreamError as error:
            yield [Failed(failure_of(error))]
            return
        if events := pipe.close():
            yield events

    def _pipe(self, translation: Translation) -> StreamPipe:
        call = self._work.call
        return StreamPipe(
            call.client_side,
            self._upstream,
            self._candidate.account.provider.issuer,
            translation.names,
            self._gateway.reply_context(call, self._work.peek, translation.request),
            self._gateway.replay.watch(call.owner),
        )

    def _encode(self, pipe: StreamPipe, events: list[Event]) -> bytes | None:
        last = events[-1]
        if type(last) is Finished and last.usage is not None:
            self._outcome.usage = last.usage
        out = pipe.encode(events)
        if type(last) is Finished:
            self._remember_stream(out)
        return out or None

    def _start(self, upstream: Headers) -> None:
        self._outcome.status = 200
        if not self._sink.started:
            self._sink.start(200, (*self._stream_type(), *self._headers(upstream)))

    def _stream_type(self) -> Headers:
        if self._work.peek.variant == "array":
            return (("content-type", "application/json; charset=utf-8"), *STREAM_HEADERS[1:])
        return STREAM_HEADERS

    def _headers(self, upstream: Headers) -> Headers:
        passed = [
            (key, value)
            for key, value in upstream
            if (lower := key.lower()) in _PASSED or lower.startswith(_PASSED_PREFIXES)
        ]
        ours = self._gateway.own_headers(self._work.call, self._outcome)
        theirs = next((v for k, v in upstream if k.lower() == "x-request-id"), None)
        if theirs is not None:
            passed.append(("x-upstream-request-id", theirs))
        return (*passed, *ours)

    def _failure_event(self, failure: Failure) -> bytes:
        call = self._work.call
        context = self._gateway.reply_context(call, self._work.peek, None)
        return call.client_side.stream_encoder(context).encode([Failed(failure)])

    def _classify(self, failure: Failure) -> Failure:
        return self._candidate.account.provider.classify(failure, HttpReply(failure.status))

    # --- what previous_response_id will ask for --------------------------------------------

    def _remembers(self) -> bool:
        call = self._work.call
        if call.memory_scope:
            return True
        return self._gateway.memory.wants(call.dialect.name, self._work.head)

    def _remember_whole(self, body: bytes) -> None:
        if self._remembers():
            scope = self._work.call.remembers_for
            self._gateway.memory.remember(scope, self._work.head, body)

    def _remember_stream(self, stream: bytes) -> None:
        if self._remembers():
            scope = self._work.call.remembers_for
            self._gateway.memory.remember_event(scope, self._work.head, stream)


def _failed(events: list[Event]) -> Failure | None:
    last = events[-1]
    return last.failure if isinstance(last, Failed) else None


def _has_content(events: list[Event]) -> bool:
    """Say whether a client would act upon what these events carry."""
    for event in events:
        match event:
            case PartStarted(part=ToolCall() | Media() | Opaque()):
                return True
            case Started() | PartStarted() | PartEnded() | UsageSeen() | Ping() | Failed():
                continue
            case _:
                return True
    return False
