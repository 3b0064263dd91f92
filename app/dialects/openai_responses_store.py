"""What has to be read of a Responses call to remember its answer; keeps nothing itself."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.canonical.parts import Json
from app.dialects.base import decode_object, dump, read_head
from app.dialects.openai_responses_memory import input_items, join_previous, response_items
from app.dialects.sse import SseParser
from app.errors import AppError

__all__ = [
    "final_response",
    "join_turn",
    "previous_id",
    "response_id",
    "turn_items",
    "unknown_previous",
    "wants_store",
]

_FINAL = (b"response.completed", b"response.incomplete")


class _Id(msgspec.Struct):
    id: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = msgspec.Raw(b"")


def wants_store(head: Mapping[str, msgspec.Raw]) -> bool:
    """Say whether the service would keep the answer: yes, unless ``store`` is false."""
    return bytes(head.get("store", b"true")) != b"false"


def previous_id(head: Mapping[str, msgspec.Raw]) -> str | None:
    """Return the id of the answer that a request goes on from, or None."""
    try:
        return msgspec.json.decode(head.get("previous_response_id", b"null"), type=str | None)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def response_id(body: bytes) -> str | None:
    """Return the id of a response object, or None when it has none."""
    try:
        return msgspec.json.decode(body, type=_Id).id or None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def turn_items(head: Mapping[str, msgspec.Raw], body: bytes) -> bytes:
    """Return the conversation up to and including an answer, as a JSON list of input items.

    Args:
        head: top level of the request, earlier turns already in its input.
        body: the response object.
    """
    before: Json = msgspec.json.decode(head["input"]) if "input" in head else None
    items: list[Json] = [*input_items(before), *response_items(decode_object(body))]
    return dump(items)


def final_response(stream: bytes) -> bytes | None:
    """Return the response object that a piece of a stream ends with, or None."""
    if not any(mark in stream for mark in _FINAL):
        return None
    parser = SseParser()
    try:
        frames = parser.feed(stream) + parser.close()
    except AppError:
        return None
    for frame in reversed(frames):
        try:
            event = msgspec.json.decode(frame.data, type=_Event)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if event.type in ("response.completed", "response.incomplete"):
            return bytes(event.response)
    return None


def join_turn(
    head: Mapping[str, msgspec.Raw], items: bytes
) -> tuple[bytes, dict[str, msgspec.Raw]]:
    """Return a follow-up's body with the remembered conversation in it, and its top level."""
    raw = join_previous(head, msgspec.json.decode(items))
    return raw, read_head(raw)


def unknown_previous(name: str) -> AppError:
    """Return the service's own error for an id that nobody knows (any more)."""
    return AppError(
        f"Previous response with id '{name[:100]}' not found.",
        status=400,
        code="previous_response_not_found",
        param="previous_response_id",
    )
