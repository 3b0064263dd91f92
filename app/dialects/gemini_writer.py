"""Gemini's streams, canonical events to wire.

States of the open part: none, text, thought, call (arguments are held until they are whole), skip
(nothing to show). All text of one write goes into one chunk. The last chunk has the
``finishReason`` and the counts. A thought without text whose signature another service issued
waits for the part behind it and travels there. The ``array`` variant is one JSON list, written
piece by piece.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, TypeAlias

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
from app.canonical.failure import Failure
from app.canonical.fold import told_late
from app.canonical.loss import Loss
from app.canonical.parts import (
    Json,
    JsonObject,
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
from app.dialects.gemini_failure import error_object
from app.dialects.gemini_parts import DIALECT, ISSUER, own_fields, seal_reasoning, seal_signature
from app.dialects.gemini_response import (
    FINISH,
    ahead_of,
    alone,
    encode_part,
    encode_usage,
    frame,
    is_blocked_part,
    render_time,
)

__all__ = ["GeminiStreamEncoder"]

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
