"""Items of the Responses dialect: wire items to canonical parts, and back.

A Responses conversation is a flat list of items. The canon groups them into messages, so the
facts of an item (its id, status, phase) travel on the parts that it became:

- a ``message`` item of the assistant becomes Text and Refusal parts; its own fields stand under
  ``ITEM`` in the native fields of its first part, which also marks where one item ends and the
  next begins;
- every other item becomes one part, with its remaining fields in that part's native fields.

Keys that start with ``@`` are notes of this dialect about the form the client used; they are never
written to the wire.

Source: https://platform.openai.com/docs/api-reference/responses and the types of openai-python 3.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

from app.canonical.ids import RESPONSES_CALL, IdRule, fit_id
from app.canonical.parts import (
    DialectName,
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
from app.dialects.base import dump
from app.dialects.values import need_list, need_object, need_text, opt_text, rest_of, wrong
from app.errors import RequestError, TranslationError

__all__ = [
    "CALL_TYPES",
    "ISSUER",
    "ITEM",
    "NAME",
    "OUTPUT_TYPES",
    "decode_call",
    "decode_content",
    "decode_image_call",
    "decode_reasoning",
    "decode_result",
    "decode_spoken",
    "encode_content",
    "encode_image_call",
    "encode_result_output",
    "encode_spoken",
    "fields_of",
    "fit_item_id",
    "made_call_id",
    "native_of",
    "reasoning_body",
    "wire_fields",
]

NAME: DialectName = "openai_responses"

ISSUER = "openai"
"""Who signed what a client of this dialect sends back unsealed."""
VENDOR_FIELDS = ("client_metadata", "internal_chat_message_metadata_passthrough")
"""What Codex says about its user and device; only for OpenAI."""
STORED = ("prompt", "conversation", "previous_response_id")
"""Fields of a request that may stand in place of ``input``."""
LOGPROBS = "message.output_text.logprobs"
"""What ``include`` says to get log probabilities."""

ITEM = "@item"
"""Native key of the first part of an assistant message: the item's own fields."""
EASY = "@easy"
"""The client wrote the message without ``type``."""
STRING = "@string"
"""The client wrote the content as a string."""
TYPE = "@type"
"""The client's content type where it is not the usual one of the role."""
LIST = "@list"
"""A tool's output came as a list where a string would do."""
CONTENT = "@content"
"""The thought stands in ``content`` (open models), not in ``summary``."""
RAW = "@raw"
"""``file_data`` came as bare base64, not as a data URL."""
USER = "$user"
"""Request note: the end user came under the older name ``user``."""
INPUT = "@input"
"""Message note: the whole ``input`` was a string."""
ITEMS = "@items"
"""Message note: its opaque parts are items, not content parts."""
UNSIGNED = "@unsigned"
"""Reasoning note: the thought came from a service that signs nothing; no one takes it back."""
IMAGE_CALL = "@image_call"
"""The image is the result of an ``image_generation_call``."""

CALL_TYPES = ("function_call", "custom_tool_call")
OUTPUT_TYPES = ("function_call_output", "custom_tool_call_output")

_ID_RULES: dict[str, IdRule] = {
    "message": IdRule("msg_", re.compile(r"msg[\x21-\x7e]{1,61}")),
    "function_call": IdRule("fc_", re.compile(r"fc[\x21-\x7e]{1,62}")),
    "custom_tool_call": IdRule("ctc_", re.compile(r"ctc[\x21-\x7e]{1,61}")),
    "reasoning": IdRule("rs_", re.compile(r"rs[\x21-\x7e]{1,62}")),
}
_ANY_ID = IdRule("item_", re.compile(r"[\x21-\x7e]{1,64}"))


def fit_item_id(item_type: str, value: str) -> str:
    """Return an item id in the form that OpenAI accepts for its type, at most 64 characters."""
    return fit_id(value, _ID_RULES.get(item_type, _ANY_ID))


# Native fields ---------------------------------------------------------------------------


def fields_of(native: Native | None) -> Mapping[str, Json]:
    """Return the fields kept for this dialect; empty when there are none or they are foreign."""
    return native.fields if native is not None and native.dialect == NAME else {}


def wire_fields(fields: Mapping[str, Json]) -> JsonObject:
    """Return native fields without this dialect's own notes."""
    return {key: value for key, value in fields.items() if not key.startswith("@")}


def native_of(fields: JsonObject) -> Native | None:
    """Return native fields, or None when there is nothing to keep."""
    return Native(NAME, fields) if fields else None


# Content of messages and results -----------------------------------------------------------------


def decode_content(value: Json, path: str) -> tuple[tuple[Part, ...], bool]:
    """Decode the content of a user, system or developer message, or a tool's output.

    Returns:
        The parts, and whether the content was a plain string.

    Raises:
        RequestError: neither a string nor a list of content parts.
    """
    if isinstance(value, str):
        return (Text(value),), True
    if not isinstance(value, list):
        raise wrong(path, "a string or a list of parts", value)
    return tuple(_decode_part(part, f"{path}[{i}]") for i, part in enumerate(value)), False


def _decode_part(value: Json, path: str) -> Part:
    part = need_object(value, path)
    kind = need_text(part.get("type"), f"{path}.type")
    match kind:
        case "input_text" | "output_text" | "text":
            fields = rest_of(part, ("type", "text"))
            if kind != "input_text":
                fields[TYPE] = kind
            return Text(need_text(part.get("text"), f"{path}.text"), native=native_of(fields))
        case "input_image":
            return _decode_image(part, path)
        case "input_file":
            return _decode_file(part, path)
        case "input_audio":
            return _decode_audio(part, path)
        case _:
            return Opaque(NAME, part)


def _decode_image(part: JsonObject, path: str) -> Media:
    native = native_of(rest_of(part, ("type", "image_url", "file_id", "detail")))
    detail = opt_text(part, "detail", path)
    url = opt_text(part, "image_url", path)
    if url is not None:
        if url[:5].lower() == "data:":
            media_type, data = _split_data_url(url, f"{path}.image_url")
            return Media("image", media_type or "image/png", data, detail=detail, native=native)
        return Media("image", url=url, detail=detail, native=native)
    file_id = opt_text(part, "file_id", path)
    if file_id is None:
        raise RequestError(f"{path} needs image_url or file_id.", param=path)
    return Media("image", file_id=file_id, detail=detail, native=native or Native(NAME, {}))


def _decode_file(part: JsonObject, path: str) -> Media:
    fields = rest_of(part, ("type", "file_data", "file_id", "file_url", "filename", "detail"))
    name = opt_text(part, "filename", path)
    detail = opt_text(part, "detail", path)
    data = opt_text(part, "file_data", path)
    if data is not None:
        if data[:5].lower() == "data:":
            media_type, data = _split_data_url(data, f"{path}.file_data")
        else:
            media_type = None
            fields[RAW] = True
        kind = media_type or _type_of_name(name)
        return Media("document", kind, data, name=name, detail=detail, native=native_of(fields))
    url = opt_text(part, "file_url", path)
    if url is not None:
        return Media("document", url=url, name=name, detail=detail, native=native_of(fields))
    file_id = opt_text(part, "file_id", path)
    if file_id is None:
        raise RequestError(f"{path} needs file_data, file_url or file_id.", param=path)
    return Media("document", file_id=file_id, name=name, detail=detail, native=Native(NAME, fields))


_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}


def _decode_audio(part: JsonObject, path: str) -> Media:
    sound = need_object(part.get("input_audio"), f"{path}.input_audio")
    data = need_text(sound.get("data"), f"{path}.input_audio.data")
    form = need_text(sound.get("format"), f"{path}.input_audio.format")
    return Media(
        "audio",
        _AUDIO_TYPES.get(form, f"audio/{form}"),
        data,
        native=native_of(rest_of(part, ("type", "input_audio"))),
    )


def _split_data_url(url: str, path: str) -> tuple[str | None, str]:
    head, comma, body = url[5:].partition(",")
    if not comma:
        raise RequestError(f"{path} is a data URL without data.", param=path)
    words = [word.strip() for word in head.split(";")]
    if any(word.lower() == "base64" for word in words[1:]) or words[0].lower() == "base64":
        data = body
    else:
        data = base64.b64encode(unquote_to_bytes(body)).decode("ascii")
    media_type = words[0].lower() if "/" in words[0] else None
    return media_type, data


_TYPES_BY_ENDING = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "xml": "application/xml",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}


def _type_of_name(name: str | None) -> str:
    ending = (name or "").rpartition(".")[2].lower()
    return _TYPES_BY_ENDING.get(ending, "application/pdf")


def encode_content(part: Part, path: str) -> JsonObject:
    """Encode one part of a user, system or developer message, or of a tool's output.

    Raises:
        TranslationError: Responses has no such input.
    """
    match part:
        case Text(text=text):
            fields = fields_of(part.native)
            kind = fields.get(TYPE, "input_text")
            return {"type": kind, "text": text, **wire_fields(fields)}
        case Media():
            return _encode_media(part, path)
        case Opaque(dialect=dialect, body=body) if dialect == NAME:
            return dict(body)
        case Opaque():
            raise TranslationError(
                f"{path} holds a block that only its own service understands.", path
            )
        case Refusal(text=text):
            return {"type": "input_text", "text": text}
        case _:
            raise TranslationError(f"{path} cannot stand in a message of this role.", path)


def _encode_media(part: Media, path: str) -> JsonObject:
    fields = fields_of(part.native)
    if part.file_id is not None and (
        part.native is None or part.native.dialect not in (NAME, "openai_chat")
    ):
        raise TranslationError(f"{path} names a file that is stored at another service.", path)
    match part.kind:
        case "image":
            out = _encode_image(part, path)
        case "document":
            out = _encode_file(part, fields, path)
        case "audio":
            form = _AUDIO_FORMATS.get(part.media_type or "")
            if form is None or part.data is None:
                raise TranslationError(f"{path}: only WAV and MP3 sound can be sent.", path)
            out = {"type": "input_audio", "input_audio": {"data": part.data, "format": form}}
        case _:
            raise TranslationError(f"{path}: video cannot be sent to this service.", path)
    out.update(wire_fields(fields))
    return out


def _encode_image(part: Media, path: str) -> JsonObject:
    out: JsonObject = {"type": "input_image"}
    if part.data is not None:
        out["image_url"] = f"data:{part.media_type or 'image/png'};base64,{part.data}"
    elif part.url is not None:
        out["image_url"] = _open_url(part, path)
    else:
        out["file_id"] = part.file_id
    # The service takes a missing detail as "auto", which its own types call for.
    if part.detail is not None or part.native is None or part.native.dialect != NAME:
        out["detail"] = part.detail or "auto"
    return out


def _open_url(part: Media, path: str) -> str:
    url = part.url or ""
    if fields_of(part.native) or _PUBLIC_URL.match(url):
        return url
    raise TranslationError(f"{path} names a file that is stored at another service.", path)


_PUBLIC_URL = re.compile(r"https?://(?!generativelanguage\.googleapis\.com/)", re.IGNORECASE)
"""Google's file URIs look public but open only with the key that uploaded the file."""


def _encode_file(part: Media, fields: Mapping[str, Json], path: str) -> JsonObject:
    out: JsonObject = {"type": "input_file"}
    name = part.name
    data, media_type = part.data, part.media_type
    if part.text is not None:
        data = base64.b64encode(part.text.encode("utf-8", "replace")).decode("ascii")
        media_type = media_type or "text/plain"
    if data is not None:
        media_type = media_type or "application/pdf"
        out["file_data"] = data if fields.get(RAW) else f"data:{media_type};base64,{data}"
        if name is None and not fields:
            name = f"document.{_ending(media_type)}"
    elif part.url is not None:
        out["file_url"] = _open_url(part, path)
    else:
        out["file_id"] = part.file_id
    if name is not None:
        out["filename"] = name
    if part.detail is not None:
        out["detail"] = part.detail
    return out


def _ending(media_type: str) -> str:
    return next((end for end, kind in _TYPES_BY_ENDING.items() if kind == media_type), "txt")


# The assistant's words ---------------------------------------------------------------------------


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


# Thoughts, calls, results, pictures --------------------------------------------------------------


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
