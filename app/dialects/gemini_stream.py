"""Gemini's streams to canonical events and back.

Decoder. Every chunk is a small answer: parts, sometimes a ``finishReason``, and the counts so
far. Consecutive text parts of one kind (text, thought) are one part of the canon; one that
brought its signature, or fields of its own, takes nothing more. A signature on an empty text
part belongs to the open part of the same kind. Calls come whole; where a service streams their
arguments (``partialArgs`` under JSON paths), they are put together first. The terminal event is
the end of the bytes after a ``finishReason``, because some services repeat that word in every
chunk and some send counts after it; bytes that end without one are a cut stream.

Encoder. States of the open part: none, text, thought, call (arguments are held until they are
whole), skip (nothing to show). All text of one write goes into one chunk. The last chunk has the
``finishReason`` and the counts. A thought without text whose signature another service issued
waits for the part behind it and travels there. The ``array`` variant is one JSON list, written
piece by piece.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, TypeAlias

import msgspec

from app.canonical.events import (
    Annotated,
    ArgumentsDelta,
    Event,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    ReasoningDelta,
    SignatureDelta,
    Started,
    TextDelta,
    UsageSeen,
)
from app.canonical.failure import Failure, cut_stream, failure_of
from app.canonical.fold import told_late
from app.canonical.loss import Loss
from app.canonical.parts import (
    Json,
    JsonObject,
    Native,
    Part,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
)
from app.canonical.usage import Usage
from app.dialects.base import LossList, ReplyContext, dump
from app.dialects.citations import note_lost
from app.dialects.gemini_failure import error_object, failure_of_error
from app.dialects.gemini_held import HeldCall
from app.dialects.gemini_parts import (
    DIALECT,
    ISSUER,
    decode_part,
    fields,
    own_fields,
    seal_reasoning,
    seal_signature,
)
from app.dialects.gemini_response import (
    FINISH,
    Answer,
    ahead_of,
    alone,
    encode_part,
    encode_usage,
    frame,
    is_blocked_part,
    read_usage,
    render_time,
)
from app.dialects.sse import SseParser
from app.dialects.values import (
    need_list,
)
from app.errors import AppError, RequestError, UpstreamError

__all__ = ["GeminiStreamDecoder", "GeminiStreamEncoder"]


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


_UNSAFE = re.compile(rb"[<>&]|\xe2\x80[\xa8\xa9]")


def _escaped(data: bytes) -> bytes:
    """Return JSON with the characters escaped that Google escapes.

    The Python SDK takes U+2028 and U+2029 for line ends.
    """
    if _UNSAFE.search(data) is None:
        return data
    return (
        data.replace(b"<", b"\\u003c")
        .replace(b">", b"\\u003e")
        .replace(b"&", b"\\u0026")
        .replace(b"\xe2\x80\xa8", b"\\u2028")
        .replace(b"\xe2\x80\xa9", b"\\u2029")
    )


_HEAD = b'{"candidates":[{"content":{"parts":[{"text":'
_TEXT_TAIL = b'}],"role":"model"},"index":0}]'
_THOUGHT_TAIL = b',"thought":true' + _TEXT_TAIL

_OpenKind: TypeAlias = Literal["none", "text", "thought", "call", "skip"]


class GeminiStreamEncoder:
    """Events to one client stream."""

    __slots__ = (
        "_array",
        "_buffer",
        "_call",
        "_done",
        "_extras",
        "_first",
        "_kind",
        "_losses",
        "_names",
        "_reply",
        "_section",
        "_shown",
        "_tail",
        "_text_tail",
        "_thought",
        "_thought_tail",
        "_usage",
        "_waiting",
        "_wrote",
    )

    def __init__(self, reply: ReplyContext) -> None:
        self._reply = reply
        self._array = reply.variant == "array"
        self._first = True
        self._done = False
        self._wrote = False
        self._kind: _OpenKind = "none"
        self._buffer: list[str] = []
        self._extras: JsonObject = {}
        """Fields for the next chunk of the open text."""
        self._call: ToolCall | None = None
        self._thought: Reasoning | None = None
        self._shown = False
        """The open thought has text."""
        self._section = 0
        self._waiting: Reasoning | None = None
        """A thought without text whose foreign signature travels on the part behind it."""
        self._usage: Usage | None = None
        self._names: JsonObject = {}
        self._losses = LossList()
        self._name("", None)

    def _name(self, response_id: str, created: float | None) -> None:
        self._names = {
            "modelVersion": self._reply.model,
            "responseId": response_id or self._reply.new_id("resp_"),
        }
        moment = None if created is None else render_time(created)
        if moment is not None:
            self._names["createTime"] = moment
        self._tail = b"," + _escaped(dump(self._names))[1:]
        end = b"" if self._array else b"\n\n"
        self._text_tail = _TEXT_TAIL + self._tail + end
        self._thought_tail = _THOUGHT_TAIL + self._tail + end

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What this dialect could not say so far."""
        return self._losses.done()

    def ping(self) -> bytes:
        """Return blank lines.

        Not a comment: google-genai for Python (3.4, observed 2026-11) takes every line that is
        neither blank nor data for JSON and fails.
        """
        return b"\n" if self._array else b"\n\n"

    def encode(self, events: list[Event]) -> bytes:
        """Return the chunks that the events make; the text of all of them in as few as can be."""
        out: list[bytes] = []
        for event in events:
            if self._done:
                break
            kind = type(event)
            if kind is TextDelta and self._kind == "text":
                self._buffer.append(event.text)  # type: ignore[union-attr]  # its type was asked
            else:
                self._take(event, out)
        if self._buffer:
            self._flush(out)
        return b"".join(out)

    def _take(self, event: Event, out: list[bytes]) -> None:
        match event:
            case ReasoningDelta(text=text, section=section):
                self._think(text, section)
            case PartStarted(part=part):
                self._flush(out)
                self._start(part, out)
            case ArgumentsDelta(text=text):
                self._buffer.append(text)
            case SignatureDelta(signature=signature):
                self._know(event)
                self._sign(signature, out)
            case Annotated(native=native):
                note_lost(native, DIALECT, self._losses, "citations")
            case PartEnded():
                self._end(out)
            case UsageSeen(usage=usage):
                self._usage = usage
            case Started():
                self._name(event.id, event.created)
                self._usage = event.usage or self._usage
            case Finished():
                self._finish(event, out)
            case Failed(failure=failure):
                self._fail(failure, out)
            case Ping():
                out.append(self.ping())
            case _:
                pass  # extras of other dialects, and text of a part that is not shown

    def _think(self, text: str, section: int) -> None:
        if self._kind != "thought":
            return
        if section != self._section and self._shown:
            self._buffer.append("\n\n")
        self._section = section
        self._shown = self._shown or bool(text)
        self._buffer.append(text)

    def _start(self, part: Part, out: list[bytes]) -> None:
        self._end(out)
        match part:
            case Text(text=text, signature=signature):
                self._kind = "text"
                self._buffer.append(text)
                note_lost(part.native, DIALECT, self._losses, "citations")
                self._extras = dict(own_fields(part.native))
                self._ride()
                if signature is not None:
                    self._sign(signature, out)
            case Refusal(text=text):
                self._kind = "skip" if is_blocked_part(part) else "text"
                if self._kind == "text":
                    self._buffer.append(text)
                    self._ride()
            case Reasoning(text=text):
                self._settle(out)
                self._kind = "thought"
                self._thought = part
                self._section = 0
                self._shown = bool(text)
                self._extras = dict(own_fields(part.native))
                self._buffer.append(text)
                if part.signature is not None:
                    self._sign(part.signature, out)
            case ToolCall():
                self._kind = "call"
                self._call = part
                self._buffer.append(part.arguments)
            case _:
                self._settle(out)
                self._kind = "skip"
                body = encode_part(part, self._reply)
                if body is not None:
                    self._write_parts([body], out)

    def _ride(self) -> None:
        if self._waiting is not None:
            self._extras["thoughtSignature"] = ahead_of(self._waiting)
            self._waiting = None

    def _settle(self, out: list[bytes]) -> None:
        """Write a waiting thought by itself: nothing behind it can carry its signature."""
        if self._waiting is not None:
            self._write_parts([alone(self._waiting)], out)
            self._waiting = None

    def _know(self, event: SignatureDelta) -> None:
        if self._thought is not None:
            self._thought = told_late(self._thought, event)

    def _sign(self, signature: Signature, out: list[bytes]) -> None:
        if self._kind == "call" and self._call is not None:
            self._call = replace(self._call, signature=signature)
        elif self._kind == "text":
            if "thoughtSignature" in self._extras:
                self._flush(out, always=True)
            self._extras["thoughtSignature"] = seal_signature(signature)
            self._flush(out, always=True)
        elif self._kind == "thought" and self._thought is not None:
            if not self._shown and signature.issuer != ISSUER:
                self._waiting = replace(self._thought, signature=signature)
                return
            self._extras["thoughtSignature"] = seal_reasoning(self._thought, signature, ahead=False)
            self._flush(out, always=True)

    def _end(self, out: list[bytes]) -> None:
        if self._kind == "call" and self._call is not None:
            self._end_call(self._call, out)
        elif self._kind == "skip":
            self._buffer.clear()
        else:
            self._flush(out, always=bool(self._extras) and self._waiting is None)
        self._kind = "none"
        self._call = None
        self._extras = {}

    def _end_call(self, call: ToolCall, out: list[bytes]) -> None:
        arguments = "".join(self._buffer)
        self._buffer.clear()
        waiting, self._waiting = self._waiting, None
        bodies: list[JsonObject] = []
        body = encode_part(replace(call, arguments=arguments), self._reply)
        if waiting is not None and call.signature is not None:
            bodies.append(alone(waiting))
        elif waiting is not None and body is not None:
            body["thoughtSignature"] = ahead_of(waiting)
        if body is not None:
            bodies.append(body)
        self._write_parts(bodies, out)

    def _flush(self, out: list[bytes], *, always: bool = False) -> None:
        if self._kind not in ("text", "thought"):
            return
        text = "".join(self._buffer)
        self._buffer.clear()
        if not text and not always:
            return
        if self._extras:
            extras, self._extras = self._extras, {}
            body: JsonObject = {"text": text, **extras}
            if self._kind == "thought":
                body["thought"] = True
            self._write_parts([body], out)
            return
        tail = self._text_tail if self._kind == "text" else self._thought_tail
        out.append(self._lead() + _HEAD + _escaped(dump(text)) + tail)
        self._wrote = True

    def _lead(self) -> bytes:
        if not self._array:
            return b"data: "
        lead = b"[" if self._first else b",\r\n"
        self._first = False
        return lead

    def _write_parts(self, bodies: list[JsonObject], out: list[bytes]) -> None:
        listed: list[Json] = [*bodies]
        content: JsonObject = {"parts": listed, "role": "model"}
        candidates: list[Json] = [{"content": content, "index": 0}]
        self._wrote = True
        self._write({"candidates": candidates, **self._names}, out)

    def _write(self, body: JsonObject, out: list[bytes]) -> None:
        out.append(self._lead() + _escaped(dump(body)) + (b"" if self._array else b"\n\n"))

    def _finish(self, event: Finished, out: list[bytes]) -> None:
        text = ""
        if self._kind == "text" and not self._extras:
            text = "".join(self._buffer)
            self._buffer.clear()
        self._end(out)
        self._settle(out)
        kept = own_fields(event.native)
        parts: list[Json] = [{"text": text}]
        if kept.get("content", {}) is None and not text and not self._wrote:
            parts = []
        blocked = event.stop == "content_filter" and not self._wrote and not text
        body = frame(parts, FINISH[event.stop], kept, blocked=blocked)
        usage = event.usage or self._usage
        if usage is not None:
            body["usageMetadata"] = encode_usage(usage, kept.get("usageMetadata"))
        self._write({**self._names, **body}, out)
        self._close(out)

    def _fail(self, failure: Failure, out: list[bytes]) -> None:
        self._flush(out)
        self._write(error_object(failure), out)
        self._close(out)

    def _close(self, out: list[bytes]) -> None:
        if self._array:
            out.append(b"]")
        self._done = True
