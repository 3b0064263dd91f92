"""Anthropic's event stream, canon to wire.

Blocks open late where that matters: a text with its first character, because a client that sends
an empty one back is refused, and a thought with its first text or its signature.

Sources: https://platform.claude.com/docs/en/build-with-claude/streaming and the event types of
the official Python SDK 2.12 (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Callable

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
    JsonObject,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.usage import Usage
from app.dialects.anthropic_answer import (
    answer_id,
    call_fields,
    call_seal,
    encode_stop,
    encode_usage,
    fit_call,
    is_own_redacted,
    media_note,
    redacted_block,
    slot_of,
)
from app.dialects.anthropic_values import NAME, own_fields
from app.dialects.base import LossList, ReplyContext, dump
from app.dialects.citations import note_lost

__all__ = ["PING", "AnthropicEncoder"]


PING = b'event: ping\ndata: {"type":"ping"}\n\n'


_TEXT_DELTA = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":%%b}}\n\n'
)
_THINKING_DELTA = _TEXT_DELTA.replace(b'"text_delta","text"', b'"thinking_delta","thinking"')
_INPUT_DELTA = _TEXT_DELTA.replace(b'"text_delta","text"', b'"input_json_delta","partial_json"')
_SIGNATURE_DELTA = _TEXT_DELTA.replace(b'"text_delta","text"', b'"signature_delta","signature"')
_BLOCK_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_DELTA_FIELDS = frozenset({"stop_details", "container"})
"""Fields of an answer that a stream brings inside ``message_delta.delta``."""


def _safe(data: bytes) -> bytes:
    """Escape the line separators of Unicode, at which some clients wrongly cut lines."""
    if b"\xe2" in data:  # one byte is found several times as fast as three
        return data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return data


def _event(kind: bytes, body: JsonObject) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind, _safe(dump(body)))


class AnthropicEncoder:
    """Encodes one stream for a client."""

    __slots__ = (
        "_at",
        "_calls",
        "_custom",
        "_done",
        "_error_body",
        "_frame",
        "_late",
        "_losses",
        "_native",
        "_opened",
        "_part",
        "_refused",
        "_reply",
        "_section",
        "_signature",
        "_started",
        "_taken",
        "_usage",
    )

    def __init__(self, reply: ReplyContext, error_body: Callable[[Failure], JsonObject]) -> None:
        """Begin a stream.

        Args:
            reply: what the answer must echo.
            error_body: renders a failure as this dialect's error object.
        """
        self._reply = reply
        self._error_body = error_body
        self._at = 0
        self._part: Part | None = None
        self._opened = False
        self._frame = b""
        self._section = 0
        self._signature: Signature | None = None
        self._late: str | None = None
        self._custom: list[str] = []
        self._taken: set[str] = set()
        self._started = False
        self._done = False
        self._calls = False
        self._refused = False
        self._usage: Usage | None = None
        self._native: JsonObject = {}
        self._losses = LossList()

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What this dialect could not say so far."""
        return self._losses.done()

    def ping(self) -> bytes:
        """Return a sign of life; see ``StreamEncoder``."""
        return PING

    def encode(self, events: list[Event]) -> bytes:
        """Return the wire form of the events; see ``StreamEncoder``."""
        out: list[bytes] = []
        for at, event in enumerate(events):
            kind = type(event)
            if kind is TextDelta or kind is ArgumentsDelta or kind is ReasoningDelta:
                self._delta(event, out)
            elif not self._done:
                self._other(event, events, at, out)
        return b"".join(out)

    def _delta(self, event: Event, out: list[bytes]) -> None:
        match event:
            case TextDelta(text=text):
                if not text or self._part is None:
                    return
                if not self._opened:
                    self._open_text(out)
            case ReasoningDelta(text=text, section=section):
                if not text or self._part is None:
                    return
                if not self._opened:
                    self._open_thought(out)
                elif section > self._section:
                    text = "\n\n" + text
                self._section = section
            case ArgumentsDelta(text=text):
                if not text or not self._opened:
                    return
                if isinstance(self._part, ToolCall) and self._part.kind == "custom":
                    self._custom.append(text)
                    return
            case _:
                return
        out.append(self._frame % _safe(dump(text)))

    def _other(self, event: Event, events: list[Event], at: int, out: list[bytes]) -> None:
        match event:
            case PartStarted(index=index, part=part):
                self._start(out)
                self._begin(part, _signature_ahead(events, at, index), out)
            case PartEnded():
                self._end(out)
            case SignatureDelta(signature=signature):
                self._signature = signature
                if isinstance(self._part, Reasoning):
                    self._part = told_late(self._part, event)
            case Annotated(native=native):
                note_lost(native, NAME, self._losses, "citations")
                self._annotate(own_fields(native), out)
            case Started():
                self._start(out, event)
            case UsageSeen(usage=usage):
                self._usage = usage
            case Ping():
                out.append(PING)
            case Finished():
                self._finish(event, out)
            case Failed(failure=failure):
                self._done = True
                self._part = None
                self._opened = False
                out.append(_event(b"error", {"type": "error", "error": self._error_body(failure)}))
            case _:
                pass

    # messages

    def _start(self, out: list[bytes], event: Started | None = None) -> None:
        if self._started:
            return
        self._started = True
        event = event or Started("", "")
        self._usage = event.usage or self._usage
        fields = own_fields(event.native)
        fields.pop("usage", None)
        message: JsonObject = {
            "id": answer_id(event.id, event.native, self._reply),
            "type": "message",
            "role": "assistant",
            "model": self._reply.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": encode_usage(event.usage),
        }
        message.update(fields)
        out.append(_event(b"message_start", {"type": "message_start", "message": message}))

    def _finish(self, event: Finished, out: list[bytes]) -> None:
        self._start(out)
        self._done = True
        fields = own_fields(event.native)
        usage = encode_usage(event.usage or self._usage)
        extra = fields.pop("usage", None)
        usage.update(extra if isinstance(extra, dict) else {})
        word = encode_stop(event.stop, calls=self._calls, refused=self._refused)
        delta: JsonObject = {
            "stop_reason": fields.pop("stop_reason", word),
            "stop_sequence": event.stop_sequence,
        }
        delta.update({key: fields.pop(key) for key in _DELTA_FIELDS & fields.keys()})
        body: JsonObject = {"type": "message_delta", "delta": delta, "usage": usage, **fields}
        out.append(_event(b"message_delta", body))
        out.append(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')

    # blocks

    def _begin(self, part: Part, ahead: Signature | None, out: list[bytes]) -> None:
        self._part = part
        self._opened = False
        self._signature = None
        self._section = 0
        match part:
            case Text(text=text):
                self._native = own_fields(part.native)
                note_lost(part.native, NAME, self._losses, "citations")
                if text:
                    self._open_text(out)
                    out.append(self._frame % _safe(dump(text)))
            case Refusal(text=text):
                self._refused = True
                self._native = {}
                if text:
                    self._open_text(out)
                    out.append(self._frame % _safe(dump(text)))
            case Reasoning(text=text, signature=signature):
                self._signature = signature
                if text:
                    self._open_thought(out)
                    out.append(self._frame % _safe(dump(text)))
            case ToolCall():
                self._begin_call(part, ahead, out)
            case Media():
                self._native = {}
                self._open_text(out)
                out.append(self._frame % _safe(dump(media_note(part))))
            case Opaque(dialect=dialect, body=body):
                if dialect == NAME:
                    self._whole(dict(body), out)
            case ToolResult():
                pass

    def _begin_call(self, call: ToolCall, ahead: Signature | None, out: list[bytes]) -> None:
        self._calls = True
        self._custom = []
        made = fit_call(call, self._reply, self._taken)
        signature = call.signature or ahead
        if signature is not None:
            self._carry(made, signature, out)
        self._late = made if signature is None else None
        block: JsonObject = {"type": "tool_use", "id": made, "name": call.name, "input": {}}
        block.update(call_fields(call))
        self._open(block, _INPUT_DELTA, out)
        if call.arguments:
            self._delta(ArgumentsDelta(0, call.arguments), out)

    def _carry(self, call_id: str, signature: Signature, out: list[bytes]) -> None:
        """Write the empty thinking block that holds a call's signature."""
        self._open({"type": "thinking", "thinking": "", "signature": ""}, _SIGNATURE_DELTA, out)
        out.append(self._frame % dump(call_seal(call_id, signature)))
        self._shut(out)

    def _open(self, block: JsonObject, frame: bytes, out: list[bytes]) -> None:
        body: JsonObject = {
            "type": "content_block_start",
            "index": self._at,
            "content_block": block,
        }
        out.append(_event(b"content_block_start", body))
        self._frame = frame % self._at
        self._opened = True

    def _shut(self, out: list[bytes]) -> None:
        out.append(_BLOCK_STOP % self._at)
        self._at += 1
        self._opened = False

    def _open_text(self, out: list[bytes]) -> None:
        self._open({"type": "text", "text": "", **self._native}, _TEXT_DELTA, out)

    def _open_thought(self, out: list[bytes]) -> None:
        native = own_fields(self._part.native) if isinstance(self._part, Reasoning) else {}
        block: JsonObject = {"type": "thinking", "thinking": "", "signature": "", **native}
        self._open(block, _THINKING_DELTA, out)

    def _whole(self, block: JsonObject, out: list[bytes]) -> None:
        """Write a block of this dialect at once; a server tool's input goes as a delta."""
        given = block.get("input")
        streamed = isinstance(given, dict) and block.get("type") == "server_tool_use"
        if streamed:
            block["input"] = {}
        self._open(block, _INPUT_DELTA, out)
        if streamed:
            out.append(self._frame % _safe(dump(dump(given).decode())))

    def _annotate(self, fields: JsonObject, out: list[bytes]) -> None:
        citations = fields.get("citations")
        if not isinstance(self._part, Text) or not isinstance(citations, list):
            return
        if not self._opened:
            self._open_text(out)
        for citation in citations:
            body: JsonObject = {
                "type": "content_block_delta",
                "index": self._at,
                "delta": {"type": "citations_delta", "citation": citation},
            }
            out.append(_event(b"content_block_delta", body))

    def _end(self, out: list[bytes]) -> None:
        part, self._part = self._part, None
        if isinstance(part, Reasoning):
            self._end_thought(part, out)
        elif isinstance(part, ToolCall) and part.kind == "custom" and self._opened:
            whole = dump({"input": "".join(self._custom)}).decode()
            out.append(self._frame % _safe(dump(whole)))
        if self._opened:
            self._shut(out)
        if isinstance(part, ToolCall) and self._late is not None and self._signature is not None:
            self._carry(self._late, self._signature, out)
        self._late = None

    def _end_thought(self, part: Reasoning, out: list[bytes]) -> None:
        signature = self._signature
        if is_own_redacted(part, signature):
            self._open(redacted_block(part, signature), _TEXT_DELTA, out)
            return
        if not self._opened:
            if signature is None:
                return
            self._open_thought(out)
        out.append(_SIGNATURE_DELTA % self._at % dump(slot_of(part, signature)))


def _signature_ahead(events: list[Event], at: int, index: int) -> Signature | None:
    """Return the signature of a part that begins at ``at``, where this batch holds it already."""
    for event in events[at + 1 :]:
        if isinstance(event, SignatureDelta) and event.index == index:
            return event.signature
        if isinstance(event, PartEnded):
            return None
    return None
