"""Answers of the Responses dialect, wire to canon: the whole object, its usage, how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

import msgspec

from app.canonical.parts import Json, JsonObject, Native, Opaque, Part, Refusal, ToolCall
from app.canonical.response import ChatResponse, StopReason
from app.canonical.usage import Usage
from app.dialects.base import Ending
from app.dialects.openai_errors import error_of, read_openai_error
from app.dialects.openai_responses_items import (
    decode_call,
    decode_image_call,
    decode_reasoning,
    decode_spoken,
    made_call_id,
)
from app.dialects.openai_responses_values import CALL_TYPES, ITEM, NAME, fields_of
from app.dialects.values import need_list, need_object, need_text, unique_id
from app.errors import RequestError, UpstreamError

__all__ = [
    "answer_native",
    "decode_item",
    "decode_response",
    "decode_usage",
    "item_fields",
    "name_call",
    "read_ending",
    "seconds_of",
    "stop_of",
]

_ABSENT = msgspec.Raw()

_REBUILT = ("id", "object", "created_at", "model", "output", "usage", "status", "error")
"""Fields of a response that the canon carries or that every answer states anew."""


def decode_response(body: JsonObject, issuer: str) -> ChatResponse:
    """Decode a response object.

    Raises:
        UpstreamError: it does not follow the dialect, it failed, or it is not finished.
    """
    status = body.get("status")
    if status == "failed" or (status is None and isinstance(body.get("error"), dict)):
        raise _failed(body)
    if status not in ("completed", "incomplete", None):
        raise UpstreamError(
            f"The upstream's answer is not finished: its status is {status!r}.",
            code="upstream_protocol",
        )
    try:
        return _decode(body, issuer)
    except RequestError as error:
        raise UpstreamError(
            f"The upstream's answer does not follow the Responses format: {error.message}",
            code="upstream_protocol",
        ) from error


class _Spoken(msgspec.Struct, gc=False):
    type: str


class _Item(msgspec.Struct, gc=False):
    type: str
    content: msgspec.Raw = _ABSENT


class _Ending(msgspec.Struct, gc=False):
    output: list[_Item]
    status: str | None = None
    incomplete_details: Any = None
    usage: Any = None


_decode_ending = msgspec.json.Decoder(_Ending).decode
_decode_spoken_kinds = msgspec.json.Decoder(list[_Spoken]).decode


def read_ending(raw: bytes) -> Ending | None:
    """Read usage and stop reason of a whole answer; see ``Dialect.read_ending``."""
    try:
        answer = _decode_ending(raw)
        if answer.status not in ("completed", "incomplete"):
            return None
        refused = any(
            spoken.type == "refusal"
            for item in answer.output
            if item.type == "message"
            for spoken in _decode_spoken_kinds(item.content)
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    called = any(item.type in CALL_TYPES for item in answer.output)
    says = {"status": answer.status, "incomplete_details": answer.incomplete_details}
    return Ending(decode_usage(answer.usage), stop_of(says, called=called, refused=refused))


def _failed(body: JsonObject) -> UpstreamError:
    error = body.get("error")
    failure = read_openai_error(error if isinstance(error, dict) else {})
    return error_of(failure)


def _decode(body: JsonObject, issuer: str) -> ChatResponse:
    parts: list[Part] = []
    ids: set[str] = set()
    for number, value in enumerate(need_list(body.get("output"), "output")):
        path = f"output[{number}]"
        parts.extend(decode_item(need_object(value, path), number, path, issuer, ids))
    created = body.get("created_at")
    return ChatResponse(
        id=_text(body.get("id")),
        model=_text(body.get("model")),
        parts=tuple(parts),
        stop=stop_of(
            body,
            called=any(isinstance(part, ToolCall) for part in parts),
            refused=any(isinstance(part, Refusal) for part in parts),
        ),
        usage=decode_usage(body.get("usage")),
        created=seconds_of(created),
        native=answer_native(body),
    )


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def seconds_of(value: Json) -> float | None:
    """Return epoch seconds, or None when ``value`` is no such number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if isfinite(seconds) else None


def decode_item(
    item: JsonObject, number: int, path: str, issuer: str, ids: set[str]
) -> Iterable[Part]:
    """Return the parts of one output item.

    Args:
        item: the wire item.
        number: its place in the output, which names calls that come without an id.
        path: where it stands, for errors.
        issuer: who signed its encrypted content.
        ids: call ids of this answer so far.

    Raises:
        RequestError: it does not follow the dialect.
    """
    kind = need_text(item.get("type"), f"{path}.type")
    if kind == "message":
        return _decode_message(item, path)
    if kind == "reasoning":
        return (decode_reasoning(item, path, issuer, exact=False),)
    if kind in CALL_TYPES:
        return (name_call(decode_call(item, path, exact=False), number, ids),)
    if kind == "image_generation_call":
        return (decode_image_call(item) or Opaque(NAME, item),)
    return (Opaque(NAME, item),)


def name_call(call: ToolCall, number: int, ids: set[str]) -> ToolCall:
    """Return a call under an id of its own."""
    call_id = unique_id(call.id or made_call_id(number, 0, call.name), ids)
    return call if call_id == call.id else replace(call, id=call_id)


def _decode_message(item: JsonObject, path: str) -> Iterable[Part]:
    parts: list[Part] = []
    for number, value in enumerate(need_list(item.get("content"), f"{path}.content")):
        part = decode_spoken(value, f"{path}.content[{number}]", exact=False)
        if part is None:
            continue
        if not parts:
            native = Native(NAME, {ITEM: item_fields(item), **fields_of(part.native)})
            part = replace(part, native=native)
        parts.append(part)
    return parts


def item_fields(item: Mapping[str, Json]) -> JsonObject:
    """Return what a message item says of itself: id, phase and fields unknown here."""
    return {
        key: value
        for key, value in item.items()
        if key not in ("type", "role", "content", "status") and value is not None
    }


def stop_of(response: Mapping[str, Json], *, called: bool, refused: bool) -> StopReason:
    """Return why an answer ended.

    Args:
        response: the wire object (``status``, ``incomplete_details.reason``).
        called: the answer holds a call for the client.
        refused: it holds a refusal.
    """
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        if reason == "content_filter":
            return "content_filter"
        return "pause" if reason == "steered" else "max_tokens"
    if called:
        return "tool_use"
    return "refusal" if refused else "end"


def answer_native(response: Mapping[str, Json]) -> Native | None:
    """Return the fields of a response object that only its own dialect knows."""
    fields = {key: value for key, value in response.items() if key not in _REBUILT}
    return Native(NAME, fields) if fields else None


def decode_usage(value: Json) -> Usage | None:
    """Return disjoint counts; the wire's input includes what was read from or put in the cache."""
    if not isinstance(value, dict):
        return None
    prompt = _count(value.get("input_tokens"))
    output = _count(value.get("output_tokens"))
    if prompt is None and output is None:
        return None
    details = value.get("input_tokens_details")
    details = details if isinstance(details, dict) else {}
    read = _count(details.get("cached_tokens")) or 0
    written = _count(details.get("cache_write_tokens")) or 0
    out_details = value.get("output_tokens_details")
    reasoning = out_details.get("reasoning_tokens") if isinstance(out_details, dict) else None
    return Usage(
        input=max(0, (prompt or 0) - read - written),
        cache_read=read,
        cache_write=written,
        output=output or 0,
        reasoning=_count(reasoning),
    )


def _count(value: Json) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value
