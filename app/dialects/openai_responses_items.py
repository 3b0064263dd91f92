"""Items of the Responses dialect: wire items to canonical parts, and back.

A Responses conversation is a flat list of items. The canon groups them into messages, so the
facts of an item (its id, status, phase) travel on the parts that it became:

- a ``message`` item of the assistant becomes Text and Refusal parts; its own fields stand under
  ``ITEM`` in the native fields of its first part, which also marks where one item ends and the
  next begins;
- every other item becomes one part, with its remaining fields in that part's native fields.

Source: https://platform.openai.com/docs/api-reference/responses and the types of openai-python 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from app.canonical.ids import RESPONSES_CALL
from app.canonical.parts import (
    Json,
    JsonObject,
    Media,
    Native,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.dialects.base import dump
from app.dialects.openai_responses_content import decode_content, encode_content
from app.dialects.openai_responses_values import (
    CONTENT,
    IMAGE_CALL,
    LIST,
    NAME,
    TYPE,
    fields_of,
    native_of,
    wire_fields,
)
from app.dialects.values import need_list, need_object, need_text, opt_text, rest_of
from app.errors import RequestError

__all__ = [
    "decode_call",
    "decode_image_call",
    "decode_reasoning",
    "decode_result",
    "decode_spoken",
    "encode_image_call",
    "encode_result_output",
    "encode_spoken",
    "made_call_id",
    "reasoning_body",
]


def decode_spoken(value: Json, path: str, *, exact: bool) -> Text | Refusal | None:
    """Decode one content part of an assistant's message.

    Args:
        value: the wire part.
        path: where it stands.
        exact: keep empty lists, too (a client's history, which must come back as it was).

    Returns:
        None when the part is of a kind that the canon does not know.
    """
    part = need_object(value, path)
    match part.get("type"):
        case "output_text" | "input_text" | "text" as kind:
            fields = rest_of(part, ("type", "text"))
            if kind != "output_text":
                fields[TYPE] = kind
            text = need_text(part.get("text"), f"{path}.text")
            return Text(text, native=native_of(fields if exact else _not_empty(fields)))
        case "refusal":
            fields = rest_of(part, ("type", "refusal"))
            text = need_text(part.get("refusal"), f"{path}.refusal")
            return Refusal(text, native_of(fields if exact else _not_empty(fields)))
        case _:
            return None


def _not_empty(fields: JsonObject) -> JsonObject:
    return {key: value for key, value in fields.items() if value not in (None, [])}


def encode_spoken(part: Text | Refusal) -> JsonObject:
    """Encode a Text or Refusal part as content of an assistant's message."""
    fields = fields_of(part.native)
    rest = wire_fields(fields)
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text, **rest}
    return {"type": fields.get(TYPE, "output_text"), "text": part.text, **rest}


def decode_reasoning(item: JsonObject, path: str, issuer: str, *, exact: bool) -> Reasoning:
    """Decode a ``reasoning`` item; ``encrypted_content`` is taken as signed by ``issuer``."""
    summary = need_list(item.get("summary") or [], f"{path}.summary")
    content = need_list(item.get("content") or [], f"{path}.content")
    thought = _texts(content, f"{path}.content")
    sections = _texts(summary, f"{path}.summary")
    fields = rest_of(item, ("type", "id", "summary", "content", "encrypted_content"))
    if not exact:
        fields.pop("status", None)
        fields = _not_empty(fields)
    if any(thought):
        if summary:
            fields["summary"] = summary
        fields[CONTENT] = True
        if exact and content != _written(thought, "reasoning_text"):
            fields["content"] = content
        sections = thought
    else:
        if exact and "content" in item:
            fields["content"] = item["content"]
        if exact and summary != _written(sections, "summary_text"):
            fields["summary"] = summary
    sections = [text for text in sections if text]
    encrypted = opt_text(item, "encrypted_content", path)
    if exact and encrypted is None and "encrypted_content" in item:
        fields["encrypted_content"] = None
    return Reasoning(
        text="\n\n".join(sections),
        sections=tuple(sections) if len(sections) > 1 else (),
        summary=CONTENT not in fields and bool(sections),
        signature=Signature(issuer, encrypted) if encrypted else None,
        id=opt_text(item, "id", path),
        native=Native(NAME, fields) if exact or fields else None,
    )


def _texts(parts: list[Json], path: str) -> list[str]:
    texts: list[str] = []
    for number, value in enumerate(parts):
        part = need_object(value, f"{path}[{number}]")
        texts.append(need_text(part.get("text"), f"{path}[{number}].text"))
    return texts


def _written(texts: Iterable[str], kind: str) -> list[Json]:
    return [{"type": kind, "text": text} for text in texts if text]


def reasoning_body(part: Reasoning) -> JsonObject:
    """Return ``summary`` and, where the thought itself is told, ``content`` of a thought."""
    fields = fields_of(part.native)
    sections = part.sections or ((part.text,) if part.text else ())
    if fields.get(CONTENT):
        out: JsonObject = {"summary": [], "content": _written(sections, "reasoning_text")}
    else:
        out = {"summary": _written(sections, "summary_text")}
    out.update(wire_fields(fields))
    return out


def decode_call(item: JsonObject, path: str, *, exact: bool) -> ToolCall:
    """Decode a ``function_call`` or ``custom_tool_call`` item."""
    custom = item["type"] == "custom_tool_call"
    key = "input" if custom else "arguments"
    value = item.get(key)
    if isinstance(value, dict):  # some compatible servers do not quote the arguments
        text = dump(value).decode()
    elif value is None and not exact:
        text = ""
    else:
        text = need_text(value, f"{path}.{key}")
    fields = rest_of(item, ("type", "call_id", "name", "namespace", key))
    if not exact:
        fields.pop("status", None)
        fields = _not_empty(fields)
    call_id = opt_text(item, "call_id", path) or opt_text(item, "id", path) or ""
    if exact and not call_id:
        raise RequestError(f"{path}.call_id is missing.", param=f"{path}.call_id")
    return ToolCall(
        call_id,
        need_text(item.get("name"), f"{path}.name"),
        text if custom else text or "{}",
        kind="custom" if custom else "function",
        namespace=opt_text(item, "namespace", path),
        native=native_of(fields),
    )


def decode_result(item: JsonObject, path: str) -> ToolResult:
    """Decode a ``function_call_output`` or ``custom_tool_call_output`` item with a call id."""
    fields = rest_of(item, ("type", "call_id", "output"))
    parts, string = decode_content(item.get("output"), f"{path}.output")
    if string and parts == (Text(""),):
        parts = ()
    if not string and (not parts or (len(parts) == 1 and isinstance(parts[0], Text))):
        fields[LIST] = True
    return ToolResult(
        need_text(item.get("call_id"), f"{path}.call_id"),
        parts,
        name=opt_text(item, "name", path),
        kind="custom" if item["type"] == "custom_tool_call_output" else "function",
        native=native_of(fields),
    )


def encode_result_output(part: ToolResult, path: str) -> Json:
    """Return the ``output`` of a tool result: a string, or a list of content parts.

    Raises:
        TranslationError: it holds something that Responses cannot take.
    """
    as_list = bool(fields_of(part.native).get(LIST))
    if not as_list:
        if not part.content:
            return ""
        first = part.content[0]
        if len(part.content) == 1 and isinstance(first, Text) and not fields_of(first.native):
            return first.text
    return [encode_content(p, f"{path}.content[{i}]") for i, p in enumerate(part.content)]


def decode_image_call(item: JsonObject) -> Media | None:
    """Return the picture that an ``image_generation_call`` made, or None when it made none."""
    data = item.get("result")
    if not isinstance(data, str) or not data:
        return None
    form = item.get("output_format")
    media_type = f"image/{form}" if isinstance(form, str) and form else _sniff(data)
    fields = rest_of(item, ("type", "result"))
    return Media("image", media_type, data, native=Native(NAME, {IMAGE_CALL: True, **fields}))


_STARTS = (("iVBORw0KGgo", "image/png"), ("/9j/", "image/jpeg"), ("UklGR", "image/webp"))


def _sniff(data: str) -> str:
    return next((kind for start, kind in _STARTS if data.startswith(start)), "image/png")


def encode_image_call(part: Media) -> JsonObject | None:
    """Return an assistant's picture as ``image_generation_call``, or None when it is none."""
    if part.kind != "image" or part.data is None:
        return None
    fields = fields_of(part.native)
    out: JsonObject = {"type": "image_generation_call", "result": part.data, "status": "completed"}
    if not fields.get(IMAGE_CALL):
        form = (part.media_type or "").rpartition("/")[2]
        if form in ("png", "webp", "jpeg", "gif"):
            out["output_format"] = form
        return out
    out.update(wire_fields(fields))
    return out


def made_call_id(message: int, part: int, name: str) -> str:
    """Return the id of a call that came without one; a function of its place and name."""
    text = f"{message}.{part}.{name}".encode("utf-8", "surrogatepass")
    return RESPONSES_CALL.prefix + hashlib.sha256(text).hexdigest()[:24]
