"""Content of the Responses dialect's messages and tool outputs: text, pictures, files, sound.

Source: https://platform.openai.com/docs/api-reference/responses and the types of openai-python 3.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from app.canonical.parts import Json, JsonObject, Media, Native, Opaque, Part, Refusal, Text
from app.dialects.media import AUDIO_FORMATS, AUDIO_TYPES, is_data_url, split_data_url
from app.dialects.openai_responses_values import NAME, RAW, TYPE, fields_of, native_of, wire_fields
from app.dialects.values import need_object, need_text, opt_text, rest_of, wrong
from app.errors import RequestError, TranslationError

__all__ = ["decode_content", "encode_content"]


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
        if is_data_url(url):
            media_type, data = split_data_url(url, f"{path}.image_url")
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
        if is_data_url(data):
            media_type, data = split_data_url(data, f"{path}.file_data")
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


def _decode_audio(part: JsonObject, path: str) -> Media:
    sound = need_object(part.get("input_audio"), f"{path}.input_audio")
    data = need_text(sound.get("data"), f"{path}.input_audio.data")
    form = need_text(sound.get("format"), f"{path}.input_audio.format")
    return Media(
        "audio",
        AUDIO_TYPES.get(form, f"audio/{form}"),
        data,
        native=native_of(rest_of(part, ("type", "input_audio"))),
    )


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
            form = AUDIO_FORMATS.get(part.media_type or "")
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
