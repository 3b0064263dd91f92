"""Anthropic Messages answers that come whole, wire to canon and back.

Towards a client of this dialect, signatures of other vendors are sealed into the ``signature`` of
a thinking block (see ``carrier``). A signature that belongs to a tool call (Gemini) gets an empty
thinking block of its own, with the call's id in the seal; ``decode_blocks`` gives it back to the
call.

Source: ``anthropic.types.Message`` of the official Python SDK 2.12 (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec

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
from app.dialects.anthropic_blocks import decode_blocks
from app.dialects.anthropic_values import ISSUER, NAME, own_fields, parse_arguments
from app.dialects.base import Encoded, Ending, LossList, ReplyContext
from app.dialects.carrier import facts_of, seal
from app.dialects.citations import note_lost
from app.dialects.values import (
    need_list,
    need_object,
    opt_count,
    opt_object,
    opt_text,
    rest_of,
    unique_id,
)
from app.errors import RequestError, UpstreamError

__all__ = [
    "ANSWER_KEYS",
    "answer_id",
    "call_fields",
    "call_seal",
    "count_usage",
    "decode_response",
    "decode_stop",
    "decode_usage",
    "encode_response",
    "encode_stop",
    "encode_usage",
    "fit_call",
    "is_own_redacted",
    "media_note",
    "read_ending",
    "redacted_block",
    "slot_of",
]


# --- usage and stop reasons ----------------------------------------------------------------------

_ABSENT = msgspec.Raw()

_USAGE_KEYS = frozenset(
    {
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    }
)
_NESTED_KEYS = {
    "cache_creation": {"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"},
    "output_tokens_details": {"thinking_tokens"},
}
"""Objects within ``usage`` of which nothing is left over when they hold just these keys."""


def count_usage(raw: JsonObject, path: str = "usage") -> Usage:
    """Return the counts.

    Raises:
        RequestError: a count is no whole number.
    """
    write = opt_count(raw, "cache_creation_input_tokens", path)
    write_1h = reasoning = None
    if (by_life := opt_object(raw, "cache_creation", path)) is not None:
        write_1h = opt_count(by_life, "ephemeral_1h_input_tokens", path)
        if write is None:
            write = (opt_count(by_life, "ephemeral_5m_input_tokens", path) or 0) + (write_1h or 0)
    if (details := opt_object(raw, "output_tokens_details", path)) is not None:
        reasoning = opt_count(details, "thinking_tokens", path)
    return Usage(
        opt_count(raw, "input_tokens", path) or 0,
        opt_count(raw, "cache_read_input_tokens", path) or 0,
        write or 0,
        opt_count(raw, "output_tokens", path) or 0,
        reasoning,
        write_1h,
    )


def decode_usage(raw: JsonObject, path: str = "usage") -> tuple[Usage, JsonObject]:
    """Return the counts, and the usage fields that the canon does not name.

    Raises:
        RequestError: a count is no whole number.
    """
    usage = count_usage(raw, path)
    rest = rest_of(raw, _USAGE_KEYS)
    for key, known in _NESTED_KEYS.items():
        nested = rest.get(key)
        if isinstance(nested, dict) and nested.keys() == known:
            del rest[key]
    return usage, rest


def encode_usage(usage: Usage | None) -> JsonObject:
    """Return the counts on the wire."""
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


def decode_stop(word: str | None) -> tuple[StopReason, JsonObject]:
    """Return the reason, and the service's own word where the canon has none for it."""
    if word is None:
        return "end", {}
    reason = _STOPS.get(word)
    if reason is not None:
        return reason, {}
    return _OTHER_STOPS.get(word, "end"), {"stop_reason": word}


def encode_stop(stop: StopReason, *, calls: bool, refused: bool) -> str:
    """Return ``stop_reason``; ``calls`` and ``refused`` say what the answer holds."""
    if stop == "end" and refused:
        return "refusal"
    if stop == "end" and calls:
        return "tool_use"
    return _STOP_WORDS.get(stop, "refusal")


# --- whole answers, wire to canon ----------------------------------------------------------------

ANSWER_KEYS = frozenset(
    {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}
)


def decode_response(body: JsonObject, issuer: str) -> ChatResponse:
    """Return an answer in the canon; see ``Dialect.decode_response``."""
    error = body.get("error")
    if body.get("type") == "error" or ("content" not in body and isinstance(error, dict)):
        message = error.get("message") if isinstance(error, dict) else None
        failed = UpstreamError(message if isinstance(message, str) else "The upstream failed.")
        failed.passed_on = isinstance(message, str)
        raise failed
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
    fields = rest_of(body, ANSWER_KEYS)
    stop, extras = decode_stop(opt_text(body, "stop_reason"))
    fields.update(extras)
    raw = opt_object(body, "usage")
    usage: Usage | None = None
    if raw is not None:
        usage, rest = decode_usage(raw)
        if rest:
            fields["usage"] = rest
    return ChatResponse(
        id=opt_text(body, "id") or "",
        model=opt_text(body, "model") or "",
        parts=tuple(parts),
        stop=stop,
        usage=usage,
        stop_sequence=opt_text(body, "stop_sequence"),
        native=Native(NAME, fields),
    )


class _Ending(msgspec.Struct, gc=False):
    type: str = "message"
    content: msgspec.Raw = _ABSENT
    stop_reason: str | None = None
    usage: msgspec.Raw = _ABSENT


_decode_ending = msgspec.json.Decoder(_Ending).decode


def read_ending(raw: bytes) -> Ending | None:
    """Read usage and stop reason of a whole answer; see ``Dialect.read_ending``."""
    try:
        answer = _decode_ending(raw)
        if answer.type == "error" or answer.content is _ABSENT:
            return None
        usage = None if answer.usage is _ABSENT else msgspec.json.decode(answer.usage)
        counts = None if usage is None else count_usage(need_object(usage, "usage"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, RequestError):
        return None
    return Ending(counts, decode_stop(answer.stop_reason)[0])


# --- whole answers, canon to wire ----------------------------------------------------------------


def encode_response(response: ChatResponse, reply: ReplyContext) -> Encoded:
    """Return an answer for a client; see ``Dialect.encode_response``."""
    losses = LossList()
    blocks: list[Json] = []
    taken: set[str] = set()
    for index, part in enumerate(response.parts):
        blocks.extend(_answer_blocks(part, f"parts[{index}]", reply, taken, losses))
    fields = own_fields(response.native)
    usage = encode_usage(response.usage)
    extra = fields.pop("usage", None)
    usage.update(extra if isinstance(extra, dict) else {})
    word = encode_stop(
        response.stop,
        calls=any(isinstance(part, ToolCall) for part in response.parts),
        refused=any(isinstance(part, Refusal) for part in response.parts),
    )
    body: JsonObject = {
        "id": answer_id(response.id, response.native, reply),
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


def answer_id(value: str, native: Native | None, reply: ReplyContext) -> str:
    """Return the answer's id: as it came where it is of this dialect, else a new one."""
    own = native is not None and native.dialect == NAME
    return value if value and (own or value.startswith("msg_")) else reply.new_id("msg_")


def _answer_blocks(
    part: Part, path: str, reply: ReplyContext, taken: set[str], losses: LossList
) -> Iterable[Json]:
    match part:
        case Text(text=text, native=native):
            if part.signature is not None:
                losses.add(f"{path}.signature", "no place for it in this dialect")
            note_lost(native, NAME, losses, f"{path}.citations")
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
            yield {"type": "text", "text": media_note(part)}
        case ToolResult():
            losses.add(path, "answers hold no tool results")


def _thought_blocks(part: Reasoning) -> Iterable[Json]:
    signature = part.signature
    if is_own_redacted(part, signature):
        yield redacted_block(part, signature)
    elif part.text or signature is not None:
        yield {
            "type": "thinking",
            "thinking": part.text,
            "signature": slot_of(part, signature),
            **own_fields(part.native),
        }


def redacted_block(part: Reasoning, signature: Signature | None) -> JsonObject:
    """Return a block of thought that only its issuer can read."""
    data = "" if signature is None else signature.value
    return {"type": "redacted_thinking", "data": data, **own_fields(part.native)}


def _call_blocks(
    part: ToolCall, path: str, reply: ReplyContext, taken: set[str], losses: LossList
) -> Iterable[Json]:
    made = fit_call(part, reply, taken)
    if part.signature is not None:
        slot = call_seal(made, part.signature)
        yield {"type": "thinking", "thinking": "", "signature": slot}
    yield {
        "type": "tool_use",
        "id": made,
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


def fit_call(call: ToolCall, reply: ReplyContext, taken: set[str]) -> str:
    """Return a call's id as this dialect accepts it, unlike any in ``taken``."""
    return unique_id(fit_id(call.id or reply.new_id("toolu_"), ANTHROPIC_CALL), taken)


def call_seal(call_id: str, signature: Signature) -> str:
    """Return the seal that carries the signature of a call."""
    return seal(signature, {"call": call_id})


def is_own_redacted(part: Reasoning, signature: Signature | None) -> bool:
    """Say whether a thought is a redacted one that Anthropic itself signed."""
    return part.redacted and signature is not None and signature.issuer == ISSUER


def slot_of(part: Reasoning, signature: Signature | None) -> str:
    """Return what stands in a thinking block's ``signature``.

    It must be there: without one, the client's next request would be refused for its shape. A
    thought that nobody signed gets a seal of nobody, which is recognised when it comes back.
    """
    if signature is not None and signature.issuer == ISSUER:
        return signature.value
    return seal(signature or Signature("none", ""), facts_of(part))


def media_note(part: Media) -> str:
    """Return the text that stands where an answer cannot hold media."""
    if part.url is not None and part.url.startswith(("https://", "http://")):
        return f"![{part.kind}]({part.url})" if part.kind == "image" else part.url
    return f"[{part.media_type or part.kind}: answers in this dialect can hold text only]"


def call_fields(call: ToolCall) -> JsonObject:
    """Return the unknown wire fields of a call (``caller``, ``toolset_name``)."""
    return rest_of(own_fields(call.native), frozenset({"cache_control"}))
