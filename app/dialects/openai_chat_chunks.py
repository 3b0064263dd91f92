"""The shape of Chat's stream chunks: typed for speed, and leniently where the types are off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.canonical.parts import Part, Reasoning, Text
from app.dialects.base import dump
from app.dialects.openai_chat_answer import ANSWER_KEYS, MESSAGE_KEYS, decode_chunk
from app.dialects.openai_chat_thought import REASONING_KEYS
from app.errors import RequestError

__all__ = [
    "CHUNK_KEYS",
    "DELTA_KEYS",
    "Call",
    "Choice",
    "Chunk",
    "Delta",
    "decode_frame",
    "lenient_chunk",
    "object_of",
    "text_or_none",
]


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class Custom(msgspec.Struct, gc=False):
    name: str | None = None
    input: str | None = None


class Call(msgspec.Struct, gc=False):
    """One fragment of a tool call."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Custom | None = None
    extra_content: Any = None


class Delta(msgspec.Struct, gc=False):
    """What one chunk adds; the fields that the decoder acts upon."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    annotations: Any = None
    audio: Any = None
    images: Any = None


class Choice(msgspec.Struct, gc=False):
    """One of the alternative answers; the first has index 0."""

    index: int | None = 0
    delta: Delta | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class Chunk(msgspec.Struct, gc=False):
    """One event of a stream."""

    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None


decode_frame = msgspec.json.Decoder(Chunk).decode
_decode_any = msgspec.json.Decoder().decode
DELTA_KEYS = (
    MESSAGE_KEYS
    | REASONING_KEYS
    | frozenset(("annotations", "audio", "reasoning_content", "reasoning"))
)
CHUNK_KEYS = ANSWER_KEYS | frozenset(("obfuscation", "x_groq", "error"))


def lenient_chunk(body: Mapping[str, Any]) -> Chunk:
    """Build a chunk from an object whose types are not quite Chat's; what cannot be read is left out.

    Raises:
        msgspec.ValidationError: ``choices`` is no list of objects.
    """
    choices = body.get("choices")
    if choices is not None and not isinstance(choices, list):
        raise msgspec.ValidationError("choices is no list")
    return Chunk(
        [_lenient_choice(choice) for choice in choices or ()],
        body.get("usage"),
        body.get("error"),
        body.get("x_groq"),
    )


def _lenient_choice(choice: Any) -> Choice:
    if not isinstance(choice, dict):
        raise msgspec.ValidationError("a choice is no object")
    delta = choice.get("delta")
    index, finish = choice.get("index"), choice.get("finish_reason")
    return Choice(
        index if isinstance(index, int) else 0,
        _lenient_delta(delta) if isinstance(delta, dict) else None,
        finish if isinstance(finish, str) else None,
        choice.get("logprobs"),
    )


def _lenient_delta(delta: Mapping[str, Any]) -> Delta:
    result = Delta()
    for key in ("content", "refusal", "reasoning_content", "reasoning"):
        value = delta.get(key)
        if isinstance(value, str):
            setattr(result, key, value)
    content = delta.get("content")
    if isinstance(content, list):
        # Mistral's models with thought stream lists of chunks.
        parts = [part for item in content for part in _lenient_chunk(item)]
        result.content = "".join(part.text for part in parts if isinstance(part, Text))
        thought = "".join(part.text for part in parts if isinstance(part, Reasoning))
        result.reasoning_content = thought or result.reasoning_content
    details = delta.get("reasoning_details")
    if isinstance(details, list):
        result.reasoning_details = [item for item in details if isinstance(item, dict)]
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        result.tool_calls = [_lenient_call(call) for call in calls if isinstance(call, dict)]
    legacy = delta.get("function_call")
    if isinstance(legacy, dict):
        result.function_call = Function(
            text_or_none(legacy.get("name")), _words(legacy, "arguments")
        )
    result.annotations, result.audio = delta.get("annotations"), delta.get("audio")
    result.images = delta.get("images")
    return result


def _lenient_chunk(item: Any) -> list[Part]:
    try:
        return decode_chunk(item, "content")
    except RequestError:
        return []


def _lenient_call(call: Mapping[str, Any]) -> Call:
    function, custom, index = call.get("function"), call.get("custom"), call.get("index")
    return Call(
        index if isinstance(index, int) else None,
        text_or_none(call.get("id")),
        text_or_none(call.get("type")),
        Function(text_or_none(function.get("name")), _words(function, "arguments"))
        if isinstance(function, dict)
        else None,
        Custom(text_or_none(custom.get("name")), _words(custom, "input"))
        if isinstance(custom, dict)
        else None,
        call.get("extra_content"),
    )


def text_or_none(value: Any) -> str | None:
    """Return a string, or None for anything else."""
    return value if isinstance(value, str) else None


def _words(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    return dump(value).decode() if isinstance(value, dict) else text_or_none(value)


def object_of(data: bytes) -> dict[str, Any]:
    """Decode an event whole.

    Raises:
        msgspec.MsgspecError: it is no JSON object.
    """
    value = _decode_any(data)
    if not isinstance(value, dict):
        raise msgspec.ValidationError("an event is no object")
    return value
