"""Anthropic Messages answers, whole and streamed, wire to canon and back.

A stream is ``message_start``, then per content block ``content_block_start``, deltas and
``content_block_stop``, then ``message_delta`` (stop reason, usage so far) and ``message_stop``;
``ping`` and ``error`` may stand anywhere. Blocks that the canon does not know (server tools and
their results, compaction, whatever comes next) are collected and given out whole, as one
``Opaque`` part, when they end.

Towards a client of this dialect, signatures of other vendors are sealed into the ``signature`` of
a thinking block (see ``carrier``). A signature that belongs to a tool call (Gemini) gets an empty
thinking block of its own, with the call's id in the seal; ``decode_blocks`` gives it back to the
call. Text blocks open with their first character, because a client that sends an empty one back
is refused.

Sources: https://platform.claude.com/docs/en/build-with-claude/streaming and the event types of
the official Python SDK 2.12 (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from app.canonical.ids import ANTHROPIC_CALL, fit_id
from app.canonical.parts import (
    Json,
    JsonObject,
    Media,
    Native,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.response import ChatResponse, StopReason
from app.canonical.usage import Usage
from app.dialects.anthropic_request import (
    ISSUER,
    NAME,
    call_fields,
    decode_blocks,
    need_list,
    need_object,
    need_text,
    opt_count,
    opt_object,
    opt_text,
    own_fields,
    parse_arguments,
    rest_of,
    unique_id,
)
from app.dialects.base import Encoded, LossList, ReplyContext, dump
from app.dialects.carrier import seal
from app.dialects.sse import SseParser
from app.errors import RequestError, Retry, UpstreamError

__all__ = [
    "PING",
    "AnthropicDecoder",
    "AnthropicEncoder",
    "decode_response",
    "decode_usage",
    "encode_response",
]

PING = b'event: ping\ndata: {"type":"ping"}\n\n'

_WIRE_FAULTS = (RequestError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


# --- usage and stop reasons ----------------------------------------------------------------------

_USAGE_KEYS = frozenset(
    {
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    }
)
_CACHE_KEYS = frozenset({"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"})
_DETAIL_KEYS = frozenset({"thinking_tokens"})


def decode_usage(raw: JsonObject, path: str = "usage") -> tuple[Usage, JsonObject]:
    """Return the counts, and the usage fields that the canon does not name.

    Raises:
        RequestError: a count is no whole number.
    """

    def count(body: Mapping[str, Json], key: str) -> int | None:
        return opt_count(body, key, f"{path}.{key}")

    rest = rest_of(raw, _USAGE_KEYS)
    write = count(raw, "cache_creation_input_tokens")
    write_1h: int | None = None
    by_life = opt_object(raw, "cache_creation", f"{path}.cache_creation")
    if by_life is not None:
        write_1h = count(by_life, "ephemeral_1h_input_tokens")
        if write is None:
            write = (count(by_life, "ephemeral_5m_input_tokens") or 0) + (write_1h or 0)
        if by_life.keys() == _CACHE_KEYS:
            del rest["cache_creation"]
    details = opt_object(raw, "output_tokens_details", f"{path}.output_tokens_details")
    reasoning: int | None = None
    if details is not None:
        reasoning = count(details, "thinking_tokens")
        if details.keys() == _DETAIL_KEYS:
            del rest["output_tokens_details"]
    usage = Usage(
        input=count(raw, "input_tokens") or 0,
        cache_read=count(raw, "cache_read_input_tokens") or 0,
        cache_write=write or 0,
        output=count(raw, "output_tokens") or 0,
        reasoning=reasoning,
        cache_write_1h=write_1h,
    )
    return usage, rest


def _encode_usage(usage: Usage | None) -> JsonObject:
    # The SDKs need both counts, so an unknown usage is zeros: there is no other way to say it.
    usage = usage or Usage()
    body: JsonObject = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.cache_write_1h is not None:
        body["cache_creation"] = {
            "ephemeral_5m_input_tokens": max(usage.cache_write - usage.cache_write_1h, 0),
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
    if usage.reasoning is not None:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return body


_STOPS: dict[str, StopReason] = {
    "end_turn": "end",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "refusal": "refusal",
    "pause_turn": "pause",
    "model_context_window_exceeded": "context_full",
}
_OTHER_STOPS: dict[str, StopReason] = {
    "sensitive": "content_filter",  # seen by CLIProxyAPI 7.2
    "compaction": "pause",  # beta: stopped after compacting, to be continued
}
_STOP_WORDS: dict[StopReason, str] = {reason: word for word, reason in _STOPS.items()}


def _decode_stop(word: str | None) -> tuple[StopReason, JsonObject]:
    """Return the reason, and the service's own word where the canon has none for it."""
    if word is None:
        return "end", {}
    reason = _STOPS.get(word)
    if reason is not None:
        return reason, {}
    return _OTHER_STOPS.get(word, "end"), {"stop_reason": word}


def _encode_stop(stop: StopReason, *, calls: bool, refused: bool) -> str:
    if stop == "end" and refused:
        return "refusal"
    if stop == "end" and calls:
        return "tool_use"
    return _STOP_WORDS.get(stop, "refusal")


# --- whole answers, wire to canon ----------------------------------------------------------------

_ANSWER_KEYS = frozenset(
    {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}
)


def decode_response(body: JsonObject, issuer: str) -> ChatResponse:
    """Return an answer in the canon; see ``Dialect.decode_response``."""
    error = body.get("error")
    if body.get("type") == "error" or ("content" not in body and isinstance(error, dict)):
        message = error.get("message") if isinstance(error, dict) else None
        raise UpstreamError(message if isinstance(message, str) else "The upstream failed.")
    try:
        return _decode_response(body, issuer)
    except (RequestError, RecursionError) as fault:
        detail = fault.message if isinstance(fault, RequestError) else "It nests too deeply."
        raise UpstreamError(
            f"The upstream's answer does not follow the Anthropic dialect. {detail}",
            code="upstream_protocol",
        ) from fault


def _decode_response(body: JsonObject, issuer: str) -> ChatResponse:
    blocks = need_list(body.get("content"), "content")
    parts = decode_blocks(blocks, "content", "assistant", issuer, sealed=False)
    taken: set[str] = set()
    parts = [replace(p, id=unique_id(p.id, taken)) if isinstance(p, ToolCall) else p for p in parts]
    fields = rest_of(body, _ANSWER_KEYS)
    stop, extras = _decode_stop(opt_text(body, "stop_reason", "stop_reason"))
    fields.update(extras)
    raw = opt_object(body, "usage", "usage")
    usage: Usage | None = None
    if raw is not None:
        usage, rest = decode_usage(raw)
        if rest:
            fields["usage"] = rest
    return ChatResponse(
        id=opt_text(body, "id", "id") or "",
        model=opt_text(body, "model", "model") or "",
        parts=tuple(parts),
        stop=stop,
        usage=usage,
        stop_sequence=opt_text(body, "stop_sequence", "stop_sequence"),
        native=Native(NAME, fields),
    )


# --- whole answers, canon to wire ----------------------------------------------------------------


def encode_response(response: ChatResponse, reply: ReplyContext) -> Encoded:
    """Return an answer for a client; see ``Dialect.encode_response``."""
    losses = LossList()
    blocks: list[Json] = []
    taken: set[str] = set()
    for index, part in enumerate(response.parts):
        blocks.extend(_answer_blocks(part, f"parts[{index}]", reply, taken, losses))
    fields = own_fields(response.native)
    usage = _encode_usage(response.usage)
    extra = fields.pop("usage", None)
    usage.update(extra if isinstance(extra, dict) else {})
    word = _encode_stop(
        response.stop,
        calls=any(isinstance(part, ToolCall) for part in response.parts),
        refused=any(isinstance(part, Refusal) for part in response.parts),
    )
    body: JsonObject = {
        "id": _answer_id(response.id, response.native, reply),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": blocks,
        "stop_reason": word,
        "stop_sequence": response.stop_sequence,
        "usage": usage,
    }
    body.update(fields)
    return Encoded(body, losses.done())


def _answer_id(value: str, native: Native | None, reply: ReplyContext) -> str:
    own = native is not None and native.dialect == NAME
    return value if value and (own or value.startswith("msg_")) else reply.new_id("msg_")


def _answer_blocks(
    part: Part, path: str, reply: ReplyContext, taken: set[str], losses: LossList
) -> Iterable[Json]:
    match part:
        case Text(text=text, native=native):
            if part.signature is not None:
                losses.add(f"{path}.signature", "no place for it in this dialect")
            if text:
                yield {"type": "text", "text": text, **own_fields(native)}
        case Refusal(text=text):
            if text:
                yield {"type": "text", "text": text}
        case Reasoning():
            yield from _thought_blocks(part)
        case ToolCall():
            yield from _call_blocks(part, path, reply, taken, losses)
        case Opaque(dialect=dialect, body=body):
            if dialect == NAME:
                yield dict(body)
            else:
                losses.add(path, "a block of another dialect")
        case Media():
            losses.add(path, "answers in this dialect hold text only")
            yield {"type": "text", "text": _media_note(part)}
        case ToolResult():
            losses.add(path, "answers hold no tool results")


def _thought_blocks(part: Reasoning) -> Iterable[Json]:
    signature = part.signature
    if _is_own_redacted(part, signature):
        yield _redacted_block(part, signature)
    elif part.text or signature is not None:
        yield {
            "type": "thinking",
            "thinking": part.text,
            "signature": _slot(part, signature),
            **own_fields(part.native),
        }


def _redacted_block(part: Reasoning, signature: Signature | None) -> JsonObject:
    data = "" if signature is None else signature.value
    return {"type": "redacted_thinking", "data": data, **own_fields(part.native)}


def _call_blocks(
    part: ToolCall, path: str, reply: ReplyContext, taken: set[str], losses: LossList
) -> Iterable[Json]:
    call_id = _call_id(part, reply, taken)
    if part.signature is not None:
        slot = _call_seal(call_id, part.signature)
        yield {"type": "thinking", "thinking": "", "signature": slot}
    yield {
        "type": "tool_use",
        "id": call_id,
        "name": part.name,
        "input": _call_input(part, path, losses),
        **call_fields(part),
    }


def _call_input(call: ToolCall, path: str, losses: LossList) -> JsonObject:
    if call.kind == "custom":
        return {"input": call.arguments}
    value = parse_arguments(call.arguments)
    if value is None:
        losses.add(f"{path}.arguments", "no JSON object; carried as text under _raw")
        return {"_raw": call.arguments}
    return value


def _call_id(call: ToolCall, reply: ReplyContext, taken: set[str]) -> str:
    return unique_id(fit_id(call.id or reply.new_id("toolu_"), ANTHROPIC_CALL), taken)


def _call_seal(call_id: str, signature: Signature) -> str:
    return seal(signature, {"call": call_id})


def _is_own_redacted(part: Reasoning, signature: Signature | None) -> bool:
    return part.redacted and signature is not None and signature.issuer == ISSUER


def _slot(part: Reasoning, signature: Signature | None) -> str:
    """Return what stands in a thinking block's ``signature``.

    It must be there: without one, the client's next request would be refused for its shape. A
    thought that nobody signed gets a seal of nobody, which is recognised when it comes back.
    """
    if signature is not None and signature.issuer == ISSUER:
        return signature.value
    extra: JsonObject = {}
    if part.id is not None:
        extra["id"] = part.id
    if part.summary:
        extra["summary"] = True
    if part.redacted:
        extra["redacted"] = True
    return seal(signature or Signature("none", ""), extra)


def _media_note(part: Media) -> str:
    if part.url is not None and part.url.startswith(("https://", "http://")):
        return f"![{part.kind}]({part.url})" if part.kind == "image" else part.url
    return f"[{part.media_type or part.kind}: answers in this dialect can hold text only]"


# --- streams, wire to canon ----------------------------------------------------------------------


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
        for frame in frames:
            self._guarded(frame.data, frame.event, out)
        return out

    def close(self) -> list[Event]:
        """Return what the end of the stream brings; see ``StreamDecoder``."""
        out: list[Event] = []
        for frame in self._parser.close():
            self._guarded(frame.data, frame.event, out)
        if not self._done:
            self._fail(cut_stream(), out)
        return out

    def _guarded(self, data: bytes, event: str, out: list[Event]) -> None:
        if self._done:
            return
        try:
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
            block = self._open
            if block is None or block.wire != wire.index:
                self._hold(wire.index, data)
            elif wire.delta is not None:
                self._delta(block, wire.delta, data, out)
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
        raw = opt_object(message, "usage", "message.usage")
        usage: Usage | None = None
        if raw is not None:
            self._usage = dict(raw)
            usage, _ = decode_usage(raw, "message.usage")
        out.append(
            Started(
                opt_text(message, "id", "message.id") or "",
                opt_text(message, "model", "message.model") or "",
                usage,
                native=Native(NAME, rest_of(message, _ANSWER_KEYS)),
            )
        )

    def _change_message(self, body: JsonObject, out: list[Event]) -> None:
        delta = opt_object(body, "delta", "delta") or {}
        self._stop = opt_text(delta, "stop_reason", "delta.stop_reason") or self._stop
        sequence = opt_text(delta, "stop_sequence", "delta.stop_sequence")
        self._stop_sequence = sequence if sequence is not None else self._stop_sequence
        self._extras.update(rest_of(delta, frozenset({"stop_reason", "stop_sequence"})))
        self._extras.update(rest_of(body, frozenset({"type", "delta", "usage"})))
        raw = opt_object(body, "usage", "usage")
        if raw is not None:
            # Cumulative: what is said again replaces what was said before.
            self._usage.update({key: value for key, value in raw.items() if value is not None})
            out.append(UsageSeen(decode_usage(self._usage)[0]))

    def _finish(self, out: list[Event]) -> None:
        stop, extras = _decode_stop(self._stop)
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
        if kind == "text_delta" and isinstance(part, Text):
            if delta.text:
                out.append(TextDelta(block.index, delta.text))
        elif kind == "input_json_delta" and isinstance(part, ToolCall):
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
    )


# --- streams, canon to wire ----------------------------------------------------------------------

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
    if b"\xe2\x80" in data:
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
            case Annotated(native=native):
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
            "id": _answer_id(event.id, event.native, self._reply),
            "type": "message",
            "role": "assistant",
            "model": self._reply.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _encode_usage(event.usage),
        }
        message.update(fields)
        out.append(_event(b"message_start", {"type": "message_start", "message": message}))

    def _finish(self, event: Finished, out: list[bytes]) -> None:
        self._start(out)
        self._done = True
        fields = own_fields(event.native)
        usage = _encode_usage(event.usage or self._usage)
        extra = fields.pop("usage", None)
        usage.update(extra if isinstance(extra, dict) else {})
        word = _encode_stop(event.stop, calls=self._calls, refused=self._refused)
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
                out.append(self._frame % _safe(dump(_media_note(part))))
            case Opaque(dialect=dialect, body=body):
                if dialect == NAME:
                    self._whole(dict(body), out)
            case ToolResult():
                pass

    def _begin_call(self, call: ToolCall, ahead: Signature | None, out: list[bytes]) -> None:
        self._calls = True
        self._custom = []
        call_id = _call_id(call, self._reply, self._taken)
        signature = call.signature or ahead
        if signature is not None:
            self._carry(call_id, signature, out)
        self._late = call_id if signature is None else None
        block: JsonObject = {"type": "tool_use", "id": call_id, "name": call.name, "input": {}}
        block.update(call_fields(call))
        self._open(block, _INPUT_DELTA, out)
        if call.arguments:
            self._delta(ArgumentsDelta(0, call.arguments), out)

    def _carry(self, call_id: str, signature: Signature, out: list[bytes]) -> None:
        """Write the empty thinking block that holds a call's signature."""
        self._open({"type": "thinking", "thinking": "", "signature": ""}, _SIGNATURE_DELTA, out)
        out.append(self._frame % dump(_call_seal(call_id, signature)))
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
        if _is_own_redacted(part, signature):
            self._open(_redacted_block(part, signature), _TEXT_DELTA, out)
            return
        if not self._opened:
            if signature is None:
                return
            self._open_thought(out)
        out.append(_SIGNATURE_DELTA % self._at % dump(_slot(part, signature)))


def _signature_ahead(events: list[Event], at: int, index: int) -> Signature | None:
    """Return the signature of a part that begins at ``at``, where this batch holds it already."""
    for event in events[at + 1 :]:
        if isinstance(event, SignatureDelta) and event.index == index:
            return event.signature
        if isinstance(event, PartEnded):
            return None
    return None
