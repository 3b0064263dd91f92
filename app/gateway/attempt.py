"""One attempt: one candidate is asked, and its answer carried to the client.

``run`` returns ``Served`` once the client has its answer, complete or broken after content was
sent; it returns a ``Failure`` when nothing of the answer reached the client, so that the next
candidate may be asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import msgspec

from app.accounts.account import Account
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
from app.canonical.failure import Failure, cut_stream, failure_of
from app.canonical.fold import fold
from app.canonical.parts import Media, Opaque, ToolCall
from app.canonical.profile import Target
from app.canonical.request import ChatRequest
from app.canonical.response import ChatResponse
from app.canonical.stale import without_signatures
from app.canonical.usage import Usage
from app.dialects.base import Dialect
from app.dialects.identity import identity_edits
from app.dialects.stream_usage import UsageFilter, ask_for_usage
from app.dialects.tap import Tap
from app.dialects.tools import ToolNames
from app.dialects.translate import (
    StreamPipe,
    Translation,
    decode_reply,
    encode_whole,
    read_ending,
    translate,
)
from app.errors import AppError, RequestError, UpstreamError
from app.gateway.asking import Prepared, prepare, session_key
from app.gateway.call import Outcome, Sink, since_ms
from app.gateway.pinger import Pinger
from app.gateway.refusal import with_help
from app.gateway.resources import Resources, kept_headers
from app.gateway.work import Work
from app.http import Headers, HttpReply, StreamedReply
from app.routing.plan import Candidate
from app.routing.suffix import reasoning_edits, with_reasoning

__all__ = ["Attempt", "Served"]

_MAX_HELD_BYTES = 64 * 1024 * 1024
"""What a stream may send before its first content; one image may be nearly as large."""
_DRAIN_S = 1.0
"""How long the rest of a stream is awaited after its last event, so that its connection can be
used again."""
_BORDERS = (b"\n\n", b"\r\n\r\n")
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

    __slots__ = (
        "_bare",
        "_candidate",
        "_content_by",
        "_gateway",
        "_may_ask_usage",
        "_outcome",
        "_pinger",
        "_sink",
        "_upstream",
        "_usage_filter",
        "_work",
        "asked",
        "asks_usage",
        "first_at",
        "kept",
        "status",
    )

    def __init__(
        self,
        gateway: Resources,
        work: Work,
        candidate: Candidate,
        sink: Sink,
        outcome: Outcome,
        pinger: Pinger,
        *,
        bare: bool = False,
        ask_usage: bool = True,
    ) -> None:
        """Begin an attempt.

        Args:
            gateway: what every exchange needs.
            work: the call.
            candidate: whom to ask.
            sink: where the answer goes.
            outcome: what is noted of the call.
            pinger: keeps the client's connection alive until the answer begins.
            bare: leave out what is signed in the history.
            ask_usage: the service may be asked what a stream used.
        """
        self._bare = bare
        self._gateway = gateway
        self._work = work
        self._candidate = candidate
        self._sink = sink
        self._outcome = outcome
        self._pinger = pinger
        self._upstream: Dialect = gateway.dialects[candidate.dialect]
        self._content_by = 0.0
        self._usage_filter: UsageFilter | None = None
        self._may_ask_usage = (
            ask_usage
            and work.peek.stream
            and candidate.dialect == "openai_chat"
            and gateway.usage_support.may_ask(candidate.account.id)
        )
        self.asks_usage = False
        """Whether we asked the service what the stream used; its client may have, too."""
        self.asked: Account | None = None
        """The account with the credential that went along; None before it was asked."""
        self.status = 0
        """Of the service's answer; 0 before there is one."""
        self.first_at: float | None = None
        """When the first content came, in monotonic seconds."""
        self.kept: Headers = ()
        """What clients read of the header of a refusal."""

    async def run(self) -> Served | Failure:
        """Ask the candidate and carry its answer.

        Raises:
            AppError: nothing was sent to the client; the caller makes a failure of it.
        """
        work, candidate, outcome = self._work, self._candidate, self._outcome
        outcome.account = candidate.account.id
        outcome.served = candidate.model
        outcome.dialect = candidate.dialect
        outcome.reason = candidate.reason
        outcome.grade, outcome.losses = None, ()
        translation = self._translate()
        outcome.grade = translation.grade
        outcome.losses = translation.losses
        self._pinger.head = lambda: (
            *self._stream_type(),
            *self._gateway.own_headers(work.call, outcome),
        )
        prepared = await self._prepare(translation)
        self.asked = prepared.account
        changed = work.patched or prepared.shaped.body is not translation.body
        if translation.grade == "verbatim" and changed:
            outcome.grade = "patched"
        collects = prepared.shaped.always_streams and not work.peek.stream
        names = translation.names.through(prepared.shaped.names)
        limits = self._gateway.call_limits(work.peek)
        self._content_by = asyncio.get_running_loop().time() + limits.first_byte_s + limits.idle_s
        reply = await self._gateway.send(prepared.request, limits)
        try:
            self.status = reply.status
            self._gateway.noticed(prepared.account, reply.headers)
            if not 200 <= reply.status < 300:
                self.kept = kept_headers(reply.headers)
                return await self._gateway.read_failure(candidate, self._upstream, reply)
            self._gateway.proved(prepared.account)
            if self.asks_usage:
                self._gateway.usage_support.learn(candidate.account.id, takes=True)
            if collects:
                return await self._collected(reply, names)
            if not work.peek.stream:
                return await self._whole(reply, translation, names)
            if (reply.header("content-type") or "").startswith("application/json"):
                unstreamed = await self._unstreamed(reply)
                if unstreamed is not None:
                    return unstreamed
            if translation.grade == "translated" or names.back:
                return await self._translated(reply, translation.request, names)
            return await self._passed_on(reply)
        finally:
            await reply.aclose()

    def _translate(self) -> Translation:
        try:
            return self._translated_request()
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            # A value that nobody had to look at before: half a surrogate pair, deep nesting.
            raise RequestError(f"The body cannot be read: {error}.", code="invalid_json") from error

    def _translated_request(self) -> Translation:
        work, candidate, call = self._work, self._candidate, self._work.call
        account = candidate.account
        provider = account.provider
        # A variant is a form of the answer that no service is asked for.
        plain = call.surface is None and not work.peek.variant
        same = candidate.dialect == call.dialect.name and plain and not work.sealed
        same = same and not self._bare
        request: ChatRequest | None = None
        if self._bare:
            request = without_signatures(work.request())
        elif not same:
            request = self._gateway.replay.attach(call.owner, work.request())
        edits = (
            {}
            if candidate.dialect in provider.vendors or not same
            else identity_edits(candidate.dialect, work.head)
        )
        profile = self._gateway.catalog.profile(account, candidate.public, candidate.model)
        target = Target(profile, provider.issuer, provider.official, self._may_ask_usage)
        level = work.level(candidate.step)
        if level is not None and same:
            edits |= reasoning_edits(self._upstream, work.request(), level, target)
        elif level is not None and request is not None:
            request = with_reasoning(request, level)
        self.asks_usage = self._may_ask_usage and not same
        if same and self._may_ask_usage and (asking := ask_for_usage(candidate.dialect, work.head)):
            self.asks_usage, self._usage_filter = True, UsageFilter()
            edits |= asking
        return translate(
            call.dialect,
            self._upstream,
            call.raw,
            work.head,
            candidate.model,
            target,
            request=request,
            edits=edits,
            verbatim_ok=same,
        )

    async def _prepare(self, translation: Translation) -> Prepared:
        work, candidate = self._work, self._candidate
        account = candidate.account
        return await prepare(
            self._gateway,
            account,
            candidate.dialect,
            "generate",
            candidate.model,
            self._upstream.path("generate", candidate.model, stream=work.peek.stream),
            translation.body,
            stream=work.peek.stream,
            client_headers=() if translation.grade == "translated" else work.call.headers,
            session=session_key(work.conversation, account.id),
        )

    # --- answers that are not streamed -----------------------------------------------------

    async def _whole(
        self, reply: StreamedReply, translation: Translation, names: ToolNames
    ) -> Served | Failure:
        raw = await reply.read()
        hidden = self._hidden_failure(raw, reply.headers)
        if hidden is not None:
            return hidden
        if translation.grade != "translated" and not names.back:
            if not raw.lstrip()[:1] == b"{":
                raise self._no_answer("something that is no JSON object")
            content_type = reply.header("content-type") or "application/json"
            body = raw
            self._outcome.read_usage = lambda: self._usage_of(raw)
        else:
            content_type = "application/json"
            response = decode_reply(self._upstream, raw, self._candidate.account.provider.issuer)
            self._outcome.usage, self._outcome.stop = response.usage, response.stop
            body = self._encode_whole(response, translation.request, names)
        return self._answer(reply, content_type, body)

    async def _collected(self, reply: StreamedReply, names: ToolNames) -> Served | Failure:
        """Make a whole answer of the stream of a service that only streams."""
        decoder = self._upstream.stream_decoder(self._candidate.account.provider.issuer)
        events: list[Event] = []
        size = 0
        async for chunk in reply.chunks:
            events += decoder.feed(chunk)
            size += len(chunk)
            if size > _MAX_HELD_BYTES:
                raise self._no_answer("a stream of more than 64 MB where a whole answer was wanted")
            if events and isinstance(events[-1], (Finished, Failed)):
                break
        else:
            events += decoder.close()
        answer = fold(events)
        if isinstance(answer, Failure):
            return self._classify(answer)
        self._outcome.usage, self._outcome.stop = answer.usage, answer.stop
        # What an answer repeats of its request is read from the request, however it was sent.
        body = self._encode_whole(answer, self._work.request(), names)
        return self._answer(reply, "application/json", body)

    def _note_first(self) -> None:
        """Note the moment of the first content."""
        self.first_at = time.monotonic()
        self._outcome.first_ms = since_ms(self._outcome.began)

    def _answer(self, reply: StreamedReply, content_type: str, body: bytes) -> Served:
        self._note_first()
        self._remember_whole(body)
        self._outcome.status = reply.status
        self._sink.reply(
            reply.status, (("content-type", content_type), *self._headers(reply.headers)), body
        )
        return Served()

    def _encode_whole(
        self, response: ChatResponse, request: ChatRequest | None, names: ToolNames
    ) -> bytes:
        call = self._work.call
        context = self._gateway.reply_context(call, self._work.peek, request)
        watch = self._gateway.replay.watch(call.owner)
        body, losses = encode_whole(call.client_side, response, names, context, watch)
        self._outcome.losses += losses
        return body

    def _usage_of(self, raw: bytes) -> Usage | None:
        try:
            issuer = self._candidate.account.provider.issuer
            ending = read_ending(self._upstream, raw, issuer)
            self._outcome.stop = ending.stop
            return ending.usage
        except AppError:
            return None  # the client has the answer; only its cost stays unknown

    def _hidden_failure(self, raw: bytes, headers: Headers) -> Failure | None:
        """Return the failure that some services put into a 200 answer."""
        start = raw[:512]
        if b'"error"' not in start or b'"error":null' in start or b'"error": null' in start:
            return None
        try:
            body = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        error = body.get("error") if isinstance(body, dict) else None
        if not error or any(body.get(key) for key in ("output", "choices", "content")):
            return None
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
        self.kept = kept_headers(headers)
        return self._classify(self._upstream.decode_failure(status, headers, raw))

    async def _unstreamed(self, reply: StreamedReply) -> Failure | None:
        """Look at an answer to a streamed call that calls itself one JSON value.

        Returns:
            The failure in it; None when it is a stream by its first bytes.

        Raises:
            UpstreamError: it is one JSON value, but no failure.
        """
        chunks = aiter(reply.chunks)
        first = await anext(chunks, b"")
        reply.chunks = _chained(first, chunks)
        if not first.lstrip().startswith(b"{"):
            return None
        failure = self._hidden_failure(await reply.read(), reply.headers)
        if failure is None:
            raise self._no_answer("one whole answer where a stream was asked for")
        return failure

    def _no_answer(self, what: str) -> UpstreamError:
        return UpstreamError(
            f"{self._candidate.account.provider.title} answered {what}.",
            hint="Check base_url in the settings.",
            code="upstream_protocol",
        )

    # --- streams -----------------------------------------------------------------------------

    async def _passed_on(self, reply: StreamedReply) -> Served | Failure:
        """Carry a same-dialect stream: bytes untouched, looked at only beside."""
        tap, use = Tap(self._upstream), self._usage_filter
        held: list[bytes] = []
        sink, pinger = self._sink, self._pinger
        committed = False
        broken: Failure | None = None
        try:
            async for chunk in reply.chunks:
                tap.feed(chunk)
                if use is not None:
                    chunk = use.feed(chunk)
                if not committed:
                    held.append(chunk)
                    if tap.failure is not None and not tap.content:
                        return self._classify(tap.failure)
                    if not (tap.content or tap.terminal):
                        self._check_wait(held)
                        continue
                    committed = True
                    self._start(reply.headers)
                    chunk = b"".join(held)
                    held.clear()
                if chunk:
                    pinger.at_border = chunk.endswith(_BORDERS)
                    await sink.write(chunk)
        except UpstreamError as error:
            broken = failure_of(error)
        if use is not None:
            held.append(use.close())
        return await self._passed(reply, tap, held, broken, committed=committed)

    async def _passed(
        self,
        reply: StreamedReply,
        tap: Tap,
        held: list[bytes],
        broken: Failure | None,
        *,
        committed: bool,
    ) -> Served | Failure:
        """End a same-dialect stream; ``held`` is what the client was not sent yet."""
        sink = self._sink
        tap.close()
        self._outcome.usage, self._outcome.stop = tap.usage, tap.stop or ""
        verdict = tap.verdict()
        if verdict is not None and tap.failure is None:
            verdict = broken or verdict
        if not committed:
            if verdict is not None:
                return self._classify(verdict)
            self._start(reply.headers)
        if rest := b"".join(held):
            await sink.write(rest)
        if verdict is not None and tap.failure is None:
            # The service did not say that it failed, so we do.
            await sink.write(b"\n\n" + self._failure_event(verdict))
        if tap.final:
            self._remember_stream(tap.final)
        sink.finish()
        return Served(verdict)

    async def _translated(
        self, reply: StreamedReply, request: ChatRequest | None, names: ToolNames
    ) -> Served | Failure:
        pipe = self._pipe(request, names)
        sink = self._sink
        held: list[Event] = []
        committed = False
        failure: Failure | None = None
        chunks = aiter(reply.chunks)
        while events := await self._next_events(chunks, pipe, waiting=not committed):
            last = events[-1]
            if not committed:
                held += events
                if not _has_content(events):
                    if isinstance(last, Failed):
                        return self._classify(last.failure)
                    continue
                committed = True
                self._start(reply.headers)
                events, held = held, []
            if out := self._encode(pipe, events):
                await sink.write(out)
            if isinstance(last, Failed):
                failure = last.failure
                break
            if isinstance(last, Finished):
                break
        if not committed:
            return self._classify(cut_stream())
        self._outcome.losses += pipe.losses
        sink.finish()
        if failure is None:
            await _drain(chunks)
        return Served(failure)

    async def _next_events(
        self, chunks: AsyncIterator[bytes], pipe: StreamPipe, *, waiting: bool
    ) -> list[Event]:
        """Return the next events; their grammar ends them with ``Finished`` or ``Failed``."""
        try:
            async for chunk in chunks:
                if waiting:
                    self._check_wait(())
                if events := pipe.decode(chunk):
                    return events
        except UpstreamError as error:
            return [Failed(failure_of(error))]
        return pipe.close()

    def _check_wait(self, held: Sequence[bytes]) -> None:
        """Bound the wait for content, which signs of life do not end.

        Raises:
            UpstreamError: there was none for too long, or too much without any.
        """
        title = self._candidate.account.provider.title
        if asyncio.get_running_loop().time() >= self._content_by:
            raise UpstreamError(
                f"{title} sent signs of life for too long, but no content.",
                status=504,
                code="upstream_timeout",
                hint="upstream.first_byte_timeout_s and idle_timeout_s in the settings set how "
                "long that may be.",
            )
        if sum(map(len, held)) > _MAX_HELD_BYTES:
            raise self._no_answer("64 MB without any content")

    def _pipe(self, request: ChatRequest | None, names: ToolNames) -> StreamPipe:
        call = self._work.call
        return StreamPipe(
            call.client_side,
            self._upstream,
            self._candidate.account.provider.issuer,
            names,
            self._gateway.reply_context(call, self._work.peek, request),
            self._gateway.replay.watch(call.owner),
        )

    def _encode(self, pipe: StreamPipe, events: list[Event]) -> bytes:
        last = events[-1]
        if type(last) is Finished:
            self._outcome.stop = last.stop
            self._outcome.usage = last.usage or self._outcome.usage
        elif type(last) is Failed:
            events = [*events[:-1], self._told(last.failure)]
        out = pipe.encode(events)
        if type(last) is Finished:
            self._remember_stream(out)
        return out

    def _start(self, upstream: Headers) -> None:
        self._note_first()
        self._outcome.status = 200
        if not self._sink.started:
            self._sink.start(200, (*self._stream_type(), *self._headers(upstream)))

    def _stream_type(self) -> Headers:
        if self._work.peek.variant == "array":
            return (("content-type", "application/json; charset=utf-8"), *STREAM_HEADERS[1:])
        return STREAM_HEADERS

    def _headers(self, upstream: Headers) -> Headers:
        ours = self._gateway.own_headers(self._work.call, self._outcome)
        return (*kept_headers(upstream), *ours)

    def _failure_event(self, failure: Failure) -> bytes:
        call = self._work.call
        context = self._gateway.reply_context(call, self._work.peek, None)
        return call.client_side.stream_encoder(context).encode([self._told(failure)])

    def _told(self, failure: Failure) -> Failed:
        return Failed(with_help(failure, self._work.call.help_at))

    def _classify(self, failure: Failure) -> Failure:
        return self._candidate.account.provider.classify(failure, HttpReply(failure.status))

    # --- what previous_response_id will ask for --------------------------------------------

    def _scope(self) -> str | None:
        """Return under whose name the answer is remembered; None: it is not."""
        call = self._work.call
        if self._gateway.memory.wants(call.dialect.name, self._work.head):
            return call.owner
        return call.memory_scope or None

    def _remember_whole(self, body: bytes) -> None:
        if (scope := self._scope()) is not None:
            self._gateway.memory.remember(scope, self._work.head, body)

    def _remember_stream(self, stream: bytes) -> None:
        if (scope := self._scope()) is not None:
            self._gateway.memory.remember_event(scope, self._work.head, stream)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for _ in chunks:
                pass
    except (UpstreamError, TimeoutError):
        return  # the answer was complete; only its connection is lost


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
