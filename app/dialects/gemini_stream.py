"""Gemini's streams, wire to canonical events.

Every chunk is a small answer: parts, sometimes a ``finishReason``, and the counts so far.
Consecutive text parts of one kind (text, thought) are one part of the canon; one that brought its
signature, or fields of its own, takes nothing more. A signature on an empty text part belongs to
the open part of the same kind. Calls come whole; where a service streams their arguments
(``partialArgs`` under JSON paths), they are put together first. The terminal event is the end of
the bytes after a ``finishReason``, because some services repeat that word in every chunk and some
send counts after it; bytes that end without one are a cut stream.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

import msgspec

from app.canonical.events import (
    ArgumentsDelta,
    Event,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    ReasoningDelta,
    SignatureDelta,
    Started,
    TextDelta,
    UsageSeen,
)
from app.canonical.failure import Failure, cut_stream, failure_of
from app.canonical.parts import Json, JsonObject, Native, Part, Reasoning, Signature, Text, ToolCall
from app.canonical.usage import Usage
from app.dialects.gemini_failure import failure_of_error
from app.dialects.gemini_held import HeldCall
from app.dialects.gemini_parts import decode_part, fields
from app.dialects.gemini_response import Answer, read_usage
from app.dialects.sse import SseParser
from app.dialects.values import need_list
from app.errors import AppError, RequestError, UpstreamError

__all__ = ["GeminiStreamDecoder"]


_NO_COUNTS = msgspec.Raw(b"")


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    thought: bool = False
    thoughtSignature: str = ""  # the wire's name


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    parts: list[_Part]
    role: Literal["model"] = "model"


class _Candidate(msgspec.Struct, forbid_unknown_fields=True):
    content: _Content
    index: Literal[0] = 0


class _Chunk(msgspec.Struct, forbid_unknown_fields=True):
    """What nearly every chunk looks like; anything else takes the slow way."""

    candidates: list[_Candidate]
    usageMetadata: msgspec.Raw = _NO_COUNTS
    modelVersion: str = ""
    responseId: str = ""


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_any = msgspec.json.Decoder().decode

_TextKind: TypeAlias = Literal["text", "thought"]


def _spoilt(error: AppError) -> Failure:
    """Return the failure for bytes that cannot be read; what a reader refuses is not the client's."""
    if isinstance(error, RequestError):
        message = f"The service's stream cannot be read: {error.message}"
        error = UpstreamError(message, code="malformed_answer")
    return failure_of(error)


class GeminiStreamDecoder:
    """One upstream stream to events."""

    __slots__ = (
        "_answer",
        "_done",
        "_held",
        "_index",
        "_issuer",
        "_open",
        "_parser",
        "_sealed",
        "_started",
        "_usage_raw",
    )

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._parser = SseParser()
        self._answer = Answer()
        self._started = False
        self._done = False
        self._index = 0
        self._open: _TextKind | None = None
        self._sealed = False
        """The open part takes nothing more."""
        self._held: HeldCall | None = None
        self._usage_raw: msgspec.Raw | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that ``data`` completes; a malformed stream yields ``Failed``."""
        events: list[Event] = []
        if self._done:
            return events
        try:
            for _, payload in self._parser.feed(data):
                self._frame(payload, events)
                if self._done:
                    break
        except AppError as error:
            self._fail(_spoilt(error), events)
        return events

    def close(self) -> list[Event]:
        """End of the stream."""
        events: list[Event] = []
        if self._done:
            return events
        try:
            self._finish(events)
        except AppError as error:
            self._fail(_spoilt(error), events)
        self._done = True
        return events

    def _frame(self, payload: bytes, events: list[Event]) -> None:
        if self._started and self._held is None:
            try:
                chunk = _decode_chunk(payload)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass  # not the usual shape: the slow way says what it is
            else:
                self._usual(chunk, events)
                return
        if payload.strip() in (b"", b"[DONE]"):
            return
        try:
            value: Json = _decode_any(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamError(
                "The service sent an event that is not valid JSON.", code="malformed_answer"
            ) from error
        for item in value if isinstance(value, list) else [value]:
            self._chunk(fields(item, "chunk"), events)
            if self._done:
                return

    def _usual(self, chunk: _Chunk, events: list[Event]) -> None:
        if chunk.usageMetadata is not _NO_COUNTS:
            self._usage_raw = chunk.usageMetadata
        if len(chunk.candidates) != 1:
            return
        self._answer.bare = False
        self._answer.chosen = True
        for part in chunk.candidates[0].content.parts:
            signature = (
                Signature(self._issuer, part.thoughtSignature) if part.thoughtSignature else None
            )
            kind: _TextKind = "thought" if part.thought else "text"
            self._text(kind, part.text, signature, None, events)

    def _chunk(self, body: JsonObject, events: list[Event]) -> None:
        error = body.get("error")
        if error is not None:
            known: JsonObject = error if isinstance(error, dict) else {"message": error}
            self._fail(failure_of_error(known), events)
            return
        if "usageMetadata" in body:
            self._usage_raw = None
        candidate = self._answer.take_body(body)
        if not self._started:
            self._started = True
            answer = self._answer
            events.append(Started(answer.id, answer.model, None, answer.created))
        if candidate is None:
            return
        where = "candidates[0].content.parts"
        for number, item in enumerate(need_list(candidate["parts"], where)):
            path = f"{where}[{number}]"
            if not self._take_piece(item, path, events):
                self._whole(item, path, events)

    def _whole(self, item: Json, path: str, events: list[Event]) -> None:
        for part in decode_part(item, path, lambda value: (Signature(self._issuer, value), None)):
            self._add(part, events)

    def _take_piece(self, item: Json, path: str, events: list[Event]) -> bool:
        """Take a piece of a streamed call; False when the part is something else."""
        if not isinstance(item, dict):
            return False
        part = fields(item, path)
        raw = part.pop("functionCall", None)
        if raw is None:
            self._release(events)
            return False
        call = fields(raw, f"{path}.functionCall")
        pieces = call.pop("partialArgs", None)
        goes_on = call.pop("willContinue", False)
        if self._held is not None and "name" in call:
            self._release(events)
        if self._held is None:
            if pieces is None and goes_on is not True:
                return False
            self._held = HeldCall(call, part)
        else:
            self._held.call.update(call)
            self._held.rest.update(part)
        if pieces is not None:
            where = f"{path}.functionCall.partialArgs"
            self._held.add(need_list(pieces, where), where)
        if goes_on is not True:
            self._release(events)
        return True

    def _release(self, events: list[Event]) -> None:
        if self._held is not None:
            part, self._held = self._held.part(), None
            self._whole(part, "functionCall", events)

    def _add(self, part: Part, events: list[Event]) -> None:
        match part:
            case Text(text=text, signature=signature, native=native):
                self._text("text", text, signature, native, events)
            case Reasoning(text=text, signature=signature, native=native):
                self._text("thought", text, signature, native, events)
            case ToolCall():
                self._end_part(events)
                call = self._answer.take_part(part)
                if isinstance(call, ToolCall):
                    start = replace(call, arguments="", signature=None)
                    events.append(PartStarted(self._index, start))
                    events.append(ArgumentsDelta(self._index, call.arguments))
                    if call.signature is not None:
                        events.append(SignatureDelta(self._index, call.signature))
                    events.append(PartEnded(self._index))
                    self._index += 1
            case _:
                self._end_part(events)
                self._answer.take_part(part)
                events.append(PartStarted(self._index, part))
                events.append(PartEnded(self._index))
                self._index += 1

    def _text(
        self,
        kind: _TextKind,
        text: str,
        signature: Signature | None,
        native: Native | None,
        events: list[Event],
    ) -> None:
        if kind != self._open or self._sealed or native is not None:
            if not text and signature is None and native is None:
                return
            self._end_part(events)
            part: Part = (
                Text("", native=native)
                if kind == "text"
                else Reasoning("", summary=True, native=native)
            )
            events.append(PartStarted(self._index, part))
            self._open = kind
            self._sealed = native is not None
        if text:
            if kind == "text":
                events.append(TextDelta(self._index, text))
                self._answer.filled = True
            else:
                events.append(ReasoningDelta(self._index, text))
        if signature is not None:
            events.append(SignatureDelta(self._index, signature))
            self._sealed = True

    def _end_part(self, events: list[Event]) -> None:
        if self._open is not None:
            events.append(PartEnded(self._index))
            self._open = None
            self._sealed = False
            self._index += 1

    def _take_usage(self) -> Usage | None:
        if self._usage_raw is not None:
            raw, self._usage_raw = self._usage_raw, None
            self._answer.usage, self._answer.usage_rest = read_usage(_decode_any(raw))
        return self._answer.usage

    def _finish(self, events: list[Event]) -> None:
        for _, payload in self._parser.close():
            # An event cut in its middle is the stream's fault, not the event's.
            try:
                self._frame(payload, events)
            except UpstreamError:
                self._fail(cut_stream(), events)
            if self._done:
                return
        answer = self._answer
        if answer.reason is None and not answer.blocked:
            self._fail(cut_stream(), events)
            return
        self._release(events)
        self._end_part(events)
        usage = self._take_usage()
        told = answer.blocked_part() if answer.blocked else None
        if told is not None:
            events.append(PartStarted(self._index, replace(told, text="")))
            events.append(TextDelta(self._index, told.text))
            events.append(PartEnded(self._index))
        answer.top.pop("candidates", None)  # pieces of further candidates, which nobody asked for
        stop = answer.stop()
        events.append(Finished(stop, usage, None, answer.native(stop)))

    def _fail(self, failure: Failure, events: list[Event]) -> None:
        self._end_part(events)
        try:
            usage = self._take_usage()
        except RequestError:
            usage = None  # the failure at hand says more than a spoilt count
        if usage is not None and self._started:
            events.append(UsageSeen(usage))
        events.append(Failed(failure))
        self._done = True
