"""Anthropic's event stream, wire to canon.

A stream is ``message_start``, then per content block ``content_block_start``, deltas and
``content_block_stop``, then ``message_delta`` (stop reason, usage so far) and ``message_stop``;
``ping`` and ``error`` may stand anywhere. Blocks that the canon does not know (server tools and
their results, compaction, whatever comes next) are collected and given out whole, as one
``Opaque`` part, when they end.

Sources: https://platform.claude.com/docs/en/build-with-claude/streaming and the event types of
the official Python SDK 2.12 (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

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
from app.canonical.parts import (
    Json,
    JsonObject,
    Native,
    Opaque,
    Part,
    Reasoning,
    Signature,
    Text,
    ToolCall,
)
from app.canonical.usage import Usage
from app.dialects.anthropic_answer import ANSWER_KEYS, decode_stop, decode_usage
from app.dialects.anthropic_blocks import decode_blocks
from app.dialects.anthropic_values import NAME, parse_arguments
from app.dialects.sse import Frame, SseParser
from app.dialects.values import need_object, need_text, opt_object, opt_text, rest_of, unique_id
from app.errors import RequestError, Retry, UpstreamError

__all__ = [
    "AnthropicDecoder",
]


_WIRE_FAULTS = (RequestError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    signature: str = ""


class _Wire(msgspec.Struct, gc=False):
    type: str = ""
    index: int = -1
    delta: _Delta | None = None


_decode_wire = msgspec.json.Decoder(_Wire).decode
_decode_any = msgspec.json.Decoder().decode
_DELTAS = frozenset(
    ("text_delta", "thinking_delta", "input_json_delta", "signature_delta", "citations_delta")
)


@dataclass(slots=True)
class _Block:
    """A content block that has begun and not ended."""

    wire: int
    index: int
    part: Part
    signature: str = ""
    pieces: list[str] = field(default_factory=list)
    """Input of an opaque block, as it streams in."""
    fed: bool = False
    """Arguments have come as deltas."""


class AnthropicDecoder:
    """Decodes one stream.

    Blocks come one after another on Anthropic's own wire. Compatible servers were seen to
    interleave them, and to leave out ``content_block_stop``: frames of a later block wait until
    the open one has ended, at the latest when the message ends.
    """

    __slots__ = (
        "_done",
        "_draining",
        "_extras",
        "_failure_of",
        "_issuer",
        "_next",
        "_open",
        "_parser",
        "_started",
        "_stop",
        "_stop_sequence",
        "_taken",
        "_usage",
        "_waiting",
    )

    def __init__(self, issuer: str, failure_of_error: Callable[[JsonObject], Failure]) -> None:
        """Begin a stream.

        Args:
            issuer: who signs the thinking blocks.
            failure_of_error: reads the body of an ``error`` event.
        """
        self._issuer = issuer
        self._failure_of = failure_of_error
        self._parser = SseParser()
        self._open: _Block | None = None
        self._waiting: dict[int, list[bytes]] = {}
        self._draining = False
        self._next = 0
        self._taken: set[str] = set()
        self._started = False
        self._done = False
        self._stop: str | None = None
        self._stop_sequence: str | None = None
        self._usage: JsonObject = {}
        self._extras: JsonObject = {}

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that ``data`` completes; see ``StreamDecoder``."""
        out: list[Event] = []
        if self._done:
            return out
        try:
            frames = self._parser.feed(data)
        except UpstreamError as error:
            self._fail(failure_of(error), out)
            return out
        self._take_all(frames, out)
        return out

    def close(self) -> list[Event]:
        """Return what the end of the stream brings; see ``StreamDecoder``."""
        out: list[Event] = []
        self._take_all(self._parser.close(), out)
        if not self._done:
            self._fail(cut_stream(), out)
        return out

    def _take_all(self, frames: list[Frame], out: list[Event]) -> None:
        try:
            for event, data in frames:
                if self._done:
                    return
                self._take(data, event, out)
        except _WIRE_FAULTS as fault:
            detail = fault.message if isinstance(fault, RequestError) else ""
            self._fail(_malformed(detail), out)

    def _take(self, data: bytes, event: str, out: list[Event]) -> None:
        try:
            wire = _decode_wire(data)
        except msgspec.ValidationError:
            self._take_odd(data, event)
            return
        except msgspec.DecodeError:
            if data.strip() == b"[DONE]":  # compatible servers end like Chat, after message_stop
                return
            raise
        kind = wire.type or event
        if kind == "content_block_delta":
            block, delta = self._open, wire.delta
            if block is None or block.wire != wire.index:
                self._hold(wire.index, data)
            elif delta is None:
                return
            elif delta.type == "text_delta" and type(block.part) is Text:
                if delta.text:
                    out.append(TextDelta(block.index, delta.text))
            else:
                self._delta(block, delta, data, out)
        elif kind == "content_block_stop":
            self._stop_block(wire.index, data, out)
        elif kind == "ping":
            out.append(Ping())
        else:
            self._other(kind, wire.index, data, out)

    def _take_odd(self, data: bytes, event: str) -> None:
        """Refuse a frame of unexpected shape, unless it is of a type that nobody knows yet."""
        body = _decode_any(data)
        kind = body.get("type", event) if isinstance(body, dict) else event
        if not isinstance(kind, str) or not kind or kind in _HANDLED:
            raise RequestError("An event has fields of a wrong type.")

    def _other(self, kind: str, index: int, data: bytes, out: list[Event]) -> None:
        if kind not in _HANDLED:
            return
        body = need_object(_decode_any(data), kind)
        if kind == "error":
            self._fail(self._failure_of(body), out)
        elif kind == "message_start":
            self._start_message(body, out)
        elif not self._started:
            raise RequestError(f"{kind!r} came before 'message_start'.")
        elif kind == "content_block_start":
            self._start_block(index, body, data, out)
        elif kind == "message_delta":
            self._end_blocks(out)
            self._change_message(body, out)
        else:
            self._end_blocks(out)
            self._finish(out)

    # messages

    def _start_message(self, body: JsonObject, out: list[Event]) -> None:
        if self._started:
            raise RequestError("'message_start' came twice.")
        self._started = True
        message = need_object(body.get("message"), "message")
        raw = opt_object(message, "usage", "message")
        usage: Usage | None = None
        if raw is not None:
            self._usage = dict(raw)
            usage, _ = decode_usage(raw, "message.usage")
        out.append(
            Started(
                opt_text(message, "id", "message") or "",
                opt_text(message, "model", "message") or "",
                usage,
                native=Native(NAME, rest_of(message, ANSWER_KEYS)),
            )
        )

    def _change_message(self, body: JsonObject, out: list[Event]) -> None:
        delta = opt_object(body, "delta") or {}
        self._stop = opt_text(delta, "stop_reason", "delta") or self._stop
        sequence = opt_text(delta, "stop_sequence", "delta")
        self._stop_sequence = sequence if sequence is not None else self._stop_sequence
        self._extras.update(rest_of(delta, frozenset({"stop_reason", "stop_sequence"})))
        self._extras.update(rest_of(body, frozenset({"type", "delta", "usage"})))
        raw = opt_object(body, "usage")
        if raw is not None:
            # Cumulative: what is said again replaces what was said before.
            self._usage.update({key: value for key, value in raw.items() if value is not None})
            out.append(UsageSeen(decode_usage(self._usage)[0]))

    def _finish(self, out: list[Event]) -> None:
        stop, extras = decode_stop(self._stop)
        fields = {**self._extras, **extras}
        usage: Usage | None = None
        if self._usage:
            usage, rest = decode_usage(self._usage)
            if rest:
                fields["usage"] = rest
        self._done = True
        out.append(Finished(stop, usage, self._stop_sequence, Native(NAME, fields)))

    def _fail(self, failure: Failure, out: list[Event]) -> None:
        if self._open is not None and not isinstance(self._open.part, Opaque):
            out.append(PartEnded(self._open.index))
        self._open = None
        self._done = True
        out.append(Failed(failure))

    # blocks

    def _hold(self, index: int, data: bytes) -> None:
        frames = self._waiting.get(index)
        if frames is None:
            raise RequestError(f"Content block {index} was never started.")
        frames.append(data)

    def _start_block(self, index: int, body: JsonObject, data: bytes, out: list[Event]) -> None:
        if self._open is not None:
            if self._open.wire != index:
                self._waiting.setdefault(index, []).append(data)
                return
            self._end_block(self._open, out)
        raw = need_object(body.get("content_block"), "content_block")
        part = decode_blocks([raw], "content", "assistant", self._issuer, sealed=False)[0]
        block = self._open = _Block(index, self._next, part)
        if isinstance(part, Opaque):
            return
        self._next += 1
        match part:
            case Text(text=text):
                out.append(PartStarted(block.index, replace(part, text="")))
                if text:
                    out.append(TextDelta(block.index, text))
            case Reasoning(text=text, signature=signature):
                block.signature = "" if signature is None else signature.value
                out.append(PartStarted(block.index, replace(part, text="", signature=None)))
                if text:
                    out.append(ReasoningDelta(block.index, text))
            case ToolCall():
                call = replace(part, id=unique_id(part.id, self._taken), arguments="")
                out.append(PartStarted(block.index, call))
            case _:
                out.append(PartStarted(block.index, part))

    def _delta(self, block: _Block, delta: _Delta, data: bytes, out: list[Event]) -> None:
        kind = delta.type
        part = block.part
        if kind == "input_json_delta" and isinstance(part, ToolCall):
            if delta.partial_json:
                block.fed = True
                out.append(ArgumentsDelta(block.index, delta.partial_json))
        elif kind == "thinking_delta" and isinstance(part, Reasoning):
            if delta.thinking:
                out.append(ReasoningDelta(block.index, delta.thinking))
        elif kind == "signature_delta" and isinstance(part, Reasoning):
            block.signature = delta.signature or block.signature
        else:
            self._rare_delta(block, kind, data, out)

    def _rare_delta(self, block: _Block, kind: str, data: bytes, out: list[Event]) -> None:
        delta = need_object(need_object(_decode_any(data), "event").get("delta"), "delta")
        part = block.part
        if isinstance(part, Opaque):
            if kind == "input_json_delta":
                block.pieces.append(need_text(delta.get("partial_json"), "delta.partial_json"))
                return
            block.part = Opaque(NAME, _grown(part.body, delta))
        elif kind == "citations_delta" and isinstance(part, Text):
            citation = delta.get("citation")
            out.append(Annotated(block.index, Native(NAME, {"citations": [citation]})))
        elif kind in _DELTAS:
            raise RequestError(f"A {kind!r} came for a block of another type.")

    def _stop_block(self, index: int, data: bytes, out: list[Event]) -> None:
        block = self._open
        if block is not None and block.wire == index:
            self._end_block(block, out)
            if not self._draining:
                self._drain(out, force=False)
        elif index in self._waiting:
            self._waiting[index].append(data)
        # else: a second stop of an ended block says nothing new

    def _end_block(self, block: _Block, out: list[Event]) -> None:
        self._open = None
        part = block.part
        index = block.index
        if isinstance(part, Opaque):
            self._next += 1
            out.append(PartStarted(index, _with_input(part, block.pieces)))
        elif isinstance(part, ToolCall) and not block.fed:
            out.append(ArgumentsDelta(index, part.arguments))
        elif isinstance(part, Reasoning) and block.signature:
            out.append(SignatureDelta(index, Signature(self._issuer, block.signature)))
        out.append(PartEnded(index))

    def _drain(self, out: list[Event], *, force: bool) -> None:
        self._draining = True
        while self._open is None and self._waiting:
            index = next(iter(self._waiting))
            for data in self._waiting.pop(index):
                self._take(data, "", out)
            if force and self._open is not None:
                self._end_block(self._open, out)
        self._draining = False

    def _end_blocks(self, out: list[Event]) -> None:
        if self._open is not None:
            self._end_block(self._open, out)
        self._drain(out, force=True)


_HANDLED = frozenset(
    (
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    )
)


def _grown(body: Mapping[str, Json], delta: JsonObject) -> JsonObject:
    """Return an unknown block with a delta applied: texts grow, other values are replaced."""
    grown = dict(body)
    for key, value in delta.items():
        old = grown.get(key)
        if key == "type" or (value is None and old is not None):
            continue
        grown[key] = old + value if isinstance(old, str) and isinstance(value, str) else value
    return grown


def _with_input(part: Opaque, pieces: list[str]) -> Opaque:
    text = "".join(pieces)
    if not text:
        return part
    value = parse_arguments(text)
    return Opaque(NAME, {**part.body, "input": {"_raw": text} if value is None else value})


def _malformed(detail: str) -> Failure:
    return Failure(
        status=502,
        message=f"The upstream's stream does not follow the Anthropic dialect. {detail}".strip(),
        kind="server",
        code="upstream_protocol",
        scope="service",
        retry=Retry.NEXT_ACCOUNT,
        ours=True,
    )
