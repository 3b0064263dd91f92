"""Whole Chat answers, in both directions, and what streams share with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec

from app.canonical.ids import CHAT_CALL, fit_id
from app.canonical.parts import (
    Json,
    JsonObject,
    Media,
    Native,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from app.canonical.response import ChatResponse, StopReason
from app.dialects.base import Encoded, Ending, LossList, ReplyContext, Skipped
from app.dialects.citations import LOST, foreign_citations, url_citation, web_citations
from app.dialects.openai_chat_parts import (
    call_signature,
    decode_call,
    decode_part,
    encode_call,
    media_url,
)
from app.dialects.openai_chat_thought import (
    consumed,
    decode_thought,
    decode_usage,
    encode_usage,
    text_details,
    thought_details,
    usage_extras,
)
from app.dialects.openai_chat_values import (
    NAME,
    add_native,
    form_of,
    native_of,
    own_fields,
    rest_of,
)
from app.dialects.values import need_list, need_object, unique_id
from app.errors import RequestError

__all__ = [
    "ANSWER_KEYS",
    "CHOICE_KEYS",
    "MESSAGE_KEYS",
    "answer_id",
    "call_id_of",
    "chat_annotations",
    "decode_answer",
    "decode_chunk",
    "encode_answer",
    "finish_reason_of",
    "first_choice",
    "read_ending",
    "stop_of",
    "tidy_choice",
    "wants_functions",
]

_ABSENT = msgspec.Raw()

_STOPS: dict[str, StopReason] = {
    "stop": "end",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "model_length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filter",
}
_FINISH_REASONS: dict[StopReason, str] = {
    "end": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "content_filter": "content_filter",
    "pause": "stop",
    "context_full": "length",
}


def stop_of(finish_reason: str | None, *, calls: bool, refused: bool) -> StopReason:
    """Return why an answer ended.

    Some servers say ``stop`` although the model called tools, or nothing at all.

    Args:
        finish_reason: the service's word.
        calls: the answer holds tool calls.
        refused: the answer holds a refusal.
    """
    stop = _STOPS.get(finish_reason or "", "end")
    if stop == "end" and calls:
        return "tool_use"
    return "refusal" if stop == "end" and refused else stop


def finish_reason_of(stop: StopReason, *, refused: bool) -> str:
    """Return Chat's word for why an answer ended; a refusal in words is a normal end there."""
    return "stop" if stop == "refusal" and refused else _FINISH_REASONS[stop]


ANSWER_KEYS = frozenset(("id", "object", "created", "model", "choices", "usage"))
CHOICE_KEYS = frozenset(("index", "message", "finish_reason"))
MESSAGE_KEYS = frozenset(("role", "content", "refusal", "tool_calls", "function_call", "images"))


def decode_answer(body: JsonObject, issuer: str) -> ChatResponse:
    """Decode a whole answer.

    Raises:
        RequestError: it does not follow the dialect.
    """
    choices = need_list(body.get("choices"), "choices")
    if not choices:
        raise RequestError("choices is empty.", param="choices")
    objects = [need_object(choice, "choices[]") for choice in choices]
    choice = next((c for c in objects if c.get("index") in (0, None)), objects[0])
    message = need_object(choice.get("message"), "choices[0].message")
    parts = _decode_message(message, issuer)
    finish = choice.get("finish_reason")
    if finish == "error":
        raise RequestError("it ended with an error.")
    fields = rest_of(body, ANSWER_KEYS)
    extras = usage_extras(body.get("usage"))
    if extras:
        fields["usage"] = extras
    others = rest_of(choice, CHOICE_KEYS)
    inner = tidy_choice(others, rest_of(message, MESSAGE_KEYS | consumed(message)))
    if inner:
        fields["choices"] = [inner]
    created = body.get("created")
    number = isinstance(created, int | float) and not isinstance(created, bool)
    return ChatResponse(
        id=_text(body.get("id")),
        model=_text(body.get("model")),
        parts=tuple(parts),
        stop=stop_of(
            finish if isinstance(finish, str) else None,
            calls=any(isinstance(part, ToolCall) for part in parts),
            refused=any(isinstance(part, Refusal) for part in parts),
        ),
        usage=decode_usage(body.get("usage")),
        created=float(created) if number and isinstance(created, int | float) else None,
        native=native_of(fields),
    )


class _Message(msgspec.Struct, gc=False):
    content: msgspec.Raw = _ABSENT
    refusal: str | None = None
    tool_calls: list[Skipped] | None = None
    function_call: Skipped | None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None


class _Ending(msgspec.Struct, gc=False):
    choices: list[_Choice]
    usage: msgspec.Raw = _ABSENT


_decode_ending = msgspec.json.Decoder(_Ending).decode


def read_ending(raw: bytes) -> Ending | None:
    """Read usage and stop reason of a whole answer; see ``Dialect.read_ending``."""
    try:
        answer = _decode_ending(raw)
        usage = None if answer.usage is _ABSENT else msgspec.json.decode(answer.usage)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if len(answer.choices) != 1 or answer.choices[0].finish_reason == "error":
        return None
    choice = answer.choices[0]
    message = choice.message
    if bytes(memoryview(message.content)[:1]) == b"[":
        return None  # a chunk of a list may be a refusal
    calls = bool(message.tool_calls) or message.function_call is not None
    stop = stop_of(choice.finish_reason, calls=calls, refused=bool(message.refusal))
    return Ending(decode_usage(usage), stop)


def tidy_choice(choice: JsonObject, message: JsonObject) -> JsonObject:
    """Return the unknown fields of a choice and its message without those that say nothing."""
    inner: JsonObject = {key: value for key, value in choice.items() if value is not None}
    said: JsonObject = {k: v for k, v in message.items() if v is not None and v != []}
    if said:
        inner["message"] = said
    return inner


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _decode_message(message: JsonObject, issuer: str) -> list[Part]:
    place = "choices[0].message"
    thought, text_signature = decode_thought(message, issuer)
    parts: list[Part] = list(thought)
    content = message.get("content")
    if isinstance(content, str) and content:
        parts.append(Text(content, signature=text_signature))
    elif isinstance(content, list):
        # Mistral's answers with thought are lists of chunks.
        parts.extend(
            part
            for index, item in enumerate(content)
            for part in decode_chunk(item, f"{place}.content[{index}]")
        )
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        parts.append(Refusal(refusal))
    images = message.get("images")
    if isinstance(images, list):
        parts.extend(decode_part(v, f"{place}.images[{i}]") for i, v in enumerate(images))
    taken: set[str] = set()
    calls = message.get("tool_calls")
    for index, value in enumerate(need_list(calls, f"{place}.tool_calls") if calls else ()):
        call = decode_call(value, f"{place}.tool_calls[{index}]", issuer)
        parts.append(replace(call, id=unique_id(call.id, taken)))
    legacy = message.get("function_call")
    if isinstance(legacy, dict):
        parts.append(decode_call({"function": legacy}, f"{place}.function_call", issuer))
    return parts


def decode_chunk(value: Json, path: str) -> list[Part]:
    """Decode one chunk of a content list, thought included.

    Raises:
        RequestError: it does not follow the dialect.
    """
    if isinstance(value, dict) and value.get("type") == "thinking":
        inner = value.get("thinking")
        pieces = inner if isinstance(inner, list) else [inner]
        texts = [p.get("text") if isinstance(p, dict) else p for p in pieces]
        text = "".join(t for t in texts if isinstance(t, str))
        return [Reasoning(text)] if text else []
    part = decode_part(value, path)
    return [] if isinstance(part, Text) and not part.text else [part]


def answer_id(value: str, reply: ReplyContext) -> str:
    """Return an id in OpenAI's form."""
    return value if value.startswith("chatcmpl-") else reply.new_id("chatcmpl-")


def encode_answer(response: ChatResponse, reply: ReplyContext) -> Encoded:
    """Encode a whole answer for a client."""
    losses = LossList()
    fields = own_fields(response.native)
    refused = any(isinstance(part, Refusal) for part in response.parts)
    message = _encode_message(response.parts, reply, losses)
    finish: Json = finish_reason_of(response.stop, refused=refused)
    if "function_call" in message:
        finish = "function_call"
    choice: JsonObject = {"index": 0, "message": message, "finish_reason": finish}
    body: JsonObject = {
        "id": answer_id(response.id, reply),
        "object": "chat.completion",
        "created": int(reply.created),
        "model": reply.model,
        "choices": [choice],
    }
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage, fields.get("usage"))
    native = response.native
    add_native(body, native, frozenset(("choices", "usage")))
    add_native(choice, Native(NAME, first_choice(native)))
    return Encoded(body, losses.done())


def first_choice(native: Native | None) -> JsonObject:
    """Return the unknown fields of the first choice."""
    choices = own_fields(native).get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


@dataclass(slots=True)
class _Said:
    """What an answer says, by its place in the message."""

    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    details: list[Json] = field(default_factory=list)
    calls: list[Json] = field(default_factory=list)
    images: list[Json] = field(default_factory=list)
    annotations: list[Json] = field(default_factory=list)
    uncited: int = 0
    """How many citations have no form here."""


def _sort(part: Part, said: _Said, reply: ReplyContext) -> bool:
    """Put a part where Chat holds its kind; False when it holds none such."""
    match part:
        case Text():
            if cited := foreign_citations(part.native, NAME):
                offset = sum(map(len, said.text))
                notes, lost = chat_annotations(cited, len(part.text), offset)
                said.annotations.extend(notes)
                said.uncited += lost
            said.text.append(part.text)
            if part.signature is not None:
                said.details.extend(text_details(part.signature))
        case Refusal():
            said.refusal.append(part.text)
        case Reasoning():
            said.thought.append(part.text)
            if part.signature is not None:
                said.details.extend(thought_details(part, part.signature, len(part.text)))
            listed = own_fields(part.native).get("reasoning_details")
            said.details.extend(listed if isinstance(listed, list) else ())
        case ToolCall():
            said.calls.append(_encode_call(part, reply))
        case Media(kind="image"):
            url = media_url(part, "image/png")
            said.images.append({"type": "image_url", "image_url": {"url": url}})
        case _:
            return False
    return True


def _encode_message(parts: tuple[Part, ...], reply: ReplyContext, losses: LossList) -> JsonObject:
    said = _Said()
    for index, part in enumerate(parts):
        if not _sort(part, said, reply):
            losses.add(f"content[{index}]", "answers of this dialect cannot hold it")
    message: JsonObject = {
        "role": "assistant",
        "content": "".join(said.text) if said.text else None,
        "refusal": "".join(said.refusal) if said.refusal else None,
    }
    if any(said.thought):
        message["reasoning_content"] = "".join(said.thought)
    if said.details:
        message["reasoning_details"] = said.details
    if said.images:
        message["images"] = said.images
    if said.annotations:
        message["annotations"] = said.annotations
    if said.uncited:
        losses.add("annotations", LOST)
    if said.calls and wants_functions(reply):
        message["function_call"] = _only_function(said.calls, losses)
    elif said.calls:
        message["tool_calls"] = said.calls
    return message


def chat_annotations(citations: list[Json], size: int, offset: int) -> tuple[list[Json], int]:
    """Return the annotations for citations of a text part, and how many have no form here.

    Args:
        citations: as another dialect has them.
        size: characters in the part.
        offset: characters of the message before it.
    """
    pages, lost = web_citations(citations)
    notes: list[Json] = [
        {"type": "url_citation", "url_citation": url_citation(page, size, offset)} for page in pages
    ]
    return notes, lost


def _encode_call(call: ToolCall, reply: ReplyContext) -> JsonObject:
    return encode_call(call, call_id_of(call, reply), call_signature(call.signature))


def call_id_of(call: ToolCall, reply: ReplyContext) -> str:
    """Return a call's id for a client."""
    return fit_id(call.id, CHAT_CALL) if call.id else reply.new_id("call_")


def wants_functions(reply: ReplyContext) -> bool:
    """Say whether the client declared ``functions`` and knows no ``tool_calls``."""
    form = form_of(reply.request.native) if reply.request is not None else None
    return isinstance(form, dict) and "functions" in form


def _only_function(calls: list[Json], losses: LossList) -> Json:
    if len(calls) > 1:
        losses.add("content", "the old function form holds one call only")
    first = calls[0]
    return first.get("function") if isinstance(first, dict) else None
