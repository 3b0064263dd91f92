"""Follow-up calls that name an earlier answer instead of repeating it.

A client may send ``previous_response_id`` and only its new input. Whoever remembers the earlier
answers turns them into input items again and puts these before the new ones; the functions here
do both and keep nothing themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import msgspec

from app.canonical.parts import Json, JsonObject
from app.canonical.response import ChatResponse
from app.dialects.base import DELETE, ReplyContext, patch_object
from app.dialects.openai_responses_reply import encode_response
from app.errors import RequestError

__all__ = ["input_items", "join_previous", "response_items"]


def response_items(answer: JsonObject | ChatResponse) -> list[Json]:
    """Return the output of an answer as the input items that a follow-up needs.

    Args:
        answer: a response object as a client got it, or the canonical answer. A canonical answer
            gives items with ids that are a function of the answer's id, and with foreign
            signatures sealed, as the client would have sent them.

    Returns:
        The items in order; nulls that the service refuses when they are sent back are left out.
    """
    if isinstance(answer, ChatResponse):
        reply = ReplyContext(answer.model, None, answer.created or 0.0, _counted_ids(answer.id))
        answer = encode_response(answer, reply).body
    output = answer.get("output")
    items = output if isinstance(output, list) else []
    return [_as_input(item) for item in items if isinstance(item, dict)]


def _counted_ids(seed: str) -> Callable[[str], str]:
    count = 0

    def new_id(prefix: str) -> str:
        nonlocal count
        count += 1
        text = f"{seed}.{count}".encode("utf-8", "surrogatepass")
        return prefix + hashlib.sha256(text).hexdigest()[:24]

    return new_id


def _as_input(item: JsonObject) -> Json:
    thought = item.get("type") == "reasoning"
    kept: JsonObject = {}
    for key, value in item.items():
        if value is None and (key in ("id", "status") or (key == "content" and not thought)):
            continue
        if key == "status" and thought:
            continue  # an output-only field of thoughts
        kept[key] = value
    return kept


def input_items(value: Json) -> list[Json]:
    """Return ``input`` as a list of items.

    Raises:
        RequestError: it is neither absent, nor a string, nor a list.
    """
    if value is None:
        return []
    if isinstance(value, str):
        content: list[Json] = [{"type": "input_text", "text": value}]
        return [{"type": "message", "role": "user", "content": content}]
    if isinstance(value, list):
        return value
    raise RequestError("input must be a string or a list of items.", param="input")


def join_previous(head: Mapping[str, msgspec.Raw], items: list[Json]) -> bytes:
    """Return a body that says itself what its ``previous_response_id`` stands for.

    Args:
        head: top level of the follow-up's body (``base.read_head``).
        items: input and output of the earlier calls, oldest first.

    Raises:
        RequestError: the body's input is neither a string nor a list.
    """
    try:
        value: Json = msgspec.json.decode(head["input"]) if "input" in head else None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RequestError("input is not valid JSON.", param="input") from error
    joined: list[Json] = [*items, *input_items(value)]
    return patch_object(head, {"previous_response_id": DELETE, "input": joined})
