"""Chat's content parts and tool calls, in both directions.

A tool call's signature stands where Google's compatible endpoint puts it,
``extra_content.google.thought_signature`` (https://ai.google.dev/gemini-api/docs/openai): Google's
own raw, any other sealed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from app.canonical.parts import (
    CacheMark,
    Json,
    JsonObject,
    Media,
    MediaKind,
    Opaque,
    Part,
    Refusal,
    Signature,
    Text,
    ToolCall,
)
from app.canonical.profile import Target
from app.dialects.base import LossList, dump
from app.dialects.carrier import open_seal, seal
from app.dialects.media import AUDIO_FORMATS, AUDIO_TYPES, is_data_url, split_data_url
from app.dialects.openai_chat_values import (
    NAME,
    add_native,
    form_of,
    native_of,
    required_text,
    rest_of,
)
from app.dialects.values import join, need_object, opt_text, wrong
from app.errors import RequestError, TranslationError

__all__ = [
    "CACHE_KEYS",
    "call_signature",
    "decode_cache",
    "decode_call",
    "decode_part",
    "encode_call",
    "encode_part",
    "media_url",
    "split_call_signature",
]

GOOGLE = "google"
"""Issuer of the raw signatures in ``extra_content.google``."""
CACHE_KEYS = frozenset(("cache_control",))
"""Part fields that OpenRouter and LiteLLM know and OpenAI refuses."""


_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_SPACE = re.compile(r"\s+")
_MAGIC = (
    ("iVBOR", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lG", "image/gif"),
    ("UklG", "image/webp"),
    ("JVBER", "application/pdf"),
)
"""Beginnings of base64 data."""
_FILE_TYPES = {"pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown"}


def clean_base64(text: str, path: str) -> str:
    """Return standard, padded base64.

    Raises:
        RequestError: it is not base64.
    """
    if _BASE64.fullmatch(text) is None:
        text = _SPACE.sub("", text).replace("-", "+").replace("_", "/")
        if _BASE64.fullmatch(text) is None:
            raise RequestError(f"{path} does not hold valid base64 data.", param=path)
    return text + "=" * (-len(text) % 4)


def media_url(media: Media, fallback: str) -> str:
    """Return the URL of a medium that has data or a URL, as a ``data:`` URL where it has data."""
    if media.data is None:
        return media.url or ""
    media_type = media.media_type
    if media_type is None:
        media_type = next((t for mark, t in _MAGIC if media.data.startswith(mark)), fallback)
    return f"data:{media_type};base64,{media.data}"


def decode_cache(body: Mapping[str, Any]) -> CacheMark | None:
    """Return the cache mark of a part or tool, in OpenRouter's or OpenAI's form."""
    mark = body.get("cache_control")
    if isinstance(mark, dict):
        ttl = mark.get("ttl")
        return CacheMark(ttl if isinstance(ttl, str) else None)
    if isinstance(body.get("prompt_cache_breakpoint"), dict):
        # Its life times (30m, 12h) are OpenAI's own and stay in native.
        return CacheMark()
    return None


def decode_part(value: Any, path: str) -> Part:
    """Decode one item of a content list; an unknown type becomes an Opaque part.

    Raises:
        RequestError: it does not follow the dialect.
    """
    if isinstance(value, str):
        return Text(value)
    part = need_object(value, path)
    kind = part.get("type")
    if kind is None and isinstance(part.get("text"), str):
        kind = "text"
    if not isinstance(kind, str):
        raise RequestError(
            f"{path}.type must name the kind of part (text, image_url …).", param=f"{path}.type"
        )
    decoder = _PART_DECODERS.get(kind)
    return Opaque(NAME, part) if decoder is None else decoder(part, path)


_TEXT_KEYS = frozenset(("type", "text"))


def _decode_text(part: JsonObject, path: str) -> Part:
    text = required_text(part, "text", path)
    if len(part) == 2:
        return Text(text)
    return Text(text, decode_cache(part), native=native_of(rest_of(part, _TEXT_KEYS)))


def _decode_refusal(part: JsonObject, path: str) -> Part:
    native = native_of(rest_of(part, frozenset(("type", "refusal"))))
    return Refusal(required_text(part, "refusal", path), native)


def _source(url: str, path: str) -> tuple[str | None, str | None, str | None]:
    """Return media type, data and URL; exactly one of the latter two is set."""
    if is_data_url(url):
        media_type, data = split_data_url(url, path)
        data = clean_base64(data, path)
        return media_type, data, None
    return None, None, url


def _decode_visual(kind: MediaKind, key: str) -> Callable[[JsonObject, str], Part]:
    def decode(part: JsonObject, path: str) -> Part:
        inner = part.get(key)
        if isinstance(inner, str):
            inner = {"url": inner}
        source = need_object(inner, join(path, key))
        place = f"{path}.{key}.url"
        media_type, data, url = _source(required_text(source, "url", f"{path}.{key}"), place)
        fields = rest_of(part, frozenset(("type", key)))
        extras = rest_of(source, frozenset(("url", "detail")))
        if extras:
            fields[key] = extras
        return Media(
            kind,
            media_type,
            data,
            url,
            detail=opt_text(source, "detail", f"{path}.{key}"),
            cache=decode_cache(part),
            native=native_of(fields),
        )

    return decode


def _decode_audio(part: JsonObject, path: str) -> Part:
    place = f"{path}.input_audio"
    inner = need_object(part.get("input_audio"), place)
    data = required_text(inner, "data", place)
    form = opt_text(inner, "format", place)
    media_type = AUDIO_TYPES.get(form, f"audio/{form}") if form else None
    if is_data_url(data):
        named, data = split_data_url(data, f"{place}.data")
        media_type = media_type or named
    data = clean_base64(data, f"{place}.data")
    fields = rest_of(part, frozenset(("type", "input_audio")))
    extras = rest_of(inner, frozenset(("data", "format")))
    if extras:
        fields["input_audio"] = extras
    cache = decode_cache(part)
    return Media("audio", media_type, data, cache=cache, native=native_of(fields))


def _decode_file(part: JsonObject, path: str) -> Part:
    place = f"{path}.file"
    inner = need_object(part.get("file"), place)
    file_id = opt_text(inner, "file_id", place)
    content = opt_text(inner, "file_data", place)
    name = opt_text(inner, "filename", place)
    if file_id is None and content is None:
        raise RequestError(f"{place} needs file_data or file_id.", param=place)
    media_type = data = url = None
    form: Json = None
    if file_id is not None:
        form = "id"  # tells the encoder that the file is at a service of this dialect
    elif content is not None:
        if is_data_url(content) or content.startswith(("http://", "https://")):
            media_type, data, url = _source(content, f"{place}.file_data")
            form = None if name else "nameless"
        else:
            data = clean_base64(content, f"{place}.file_data")
            media_type = _FILE_TYPES.get((name or "").rpartition(".")[2].lower())
            form = "raw"
    fields = rest_of(part, frozenset(("type", "file")))
    extras = rest_of(inner, frozenset(("file_data", "file_id", "filename")))
    if file_id is not None and content is not None:
        extras["file_data"] = content
    if extras:
        fields["file"] = extras
    return Media(
        "document",
        media_type,
        data,
        url,
        file_id,
        name=name,
        cache=decode_cache(part),
        native=native_of(fields, form),
    )


_PART_DECODERS: dict[str, Callable[[JsonObject, str], Part]] = {
    "text": _decode_text,
    "input_text": _decode_text,
    "output_text": _decode_text,
    "refusal": _decode_refusal,
    "image_url": _decode_visual("image", "image_url"),
    "video_url": _decode_visual("video", "video_url"),
    "input_audio": _decode_audio,
    "file": _decode_file,
}
"""The Responses names of text are taken, too: some editors mix the two dialects up."""


def encode_part(part: Part, path: str, target: Target, losses: LossList) -> JsonObject:
    """Encode one item of a content list.

    Raises:
        TranslationError: Chat has no such part.
    """
    match part:
        case Text(text=text):
            body: JsonObject = {"type": "text", "text": text}
        case Refusal(text=text):
            body = {"type": "refusal", "refusal": text}
        case Media():
            body = _encode_media(part, path, target, losses)
        case Opaque(dialect=dialect, body=opaque) if dialect == NAME:
            return dict(opaque)
        case _:
            raise TranslationError(
                f"{path} holds content of another interface that this model cannot take.", path
            )
    skip = CACHE_KEYS if target.official else frozenset()
    add_native(body, part.native, skip)
    cache = None if isinstance(part, Refusal) else part.cache
    if cache is not None and not body.keys() & {"cache_control", "prompt_cache_breakpoint"}:
        losses.add(f"{path}.cache", "cache marks of this form are not known here")
    return body


def _encode_media(media: Media, path: str, target: Target, losses: LossList) -> JsonObject:
    if media.kind == "document":
        return _encode_document(media, path, target, losses)
    if media.file_id is not None or media.text is not None:
        raise TranslationError(f"{path}: this model takes no {media.kind} by file id.", path)
    if media.data is None and not (media.url or "").startswith(("https://", "http://")):
        raise TranslationError(f"{path}: this model takes no {media.kind} by that address.", path)
    if media.kind == "image":
        image: JsonObject = {"url": media_url(media, "image/png")}
        if media.detail is not None:
            image["detail"] = media.detail
        return {"type": "image_url", "image_url": image}
    if media.kind == "video":
        if target.official:
            raise TranslationError(f"{path}: this model takes no video.", path)
        return {"type": "video_url", "video_url": {"url": media_url(media, "video/mp4")}}
    if media.data is None:
        raise TranslationError(f"{path}: this model takes audio only as data.", path)
    media_type = media.media_type or "audio/wav"
    form = AUDIO_FORMATS.get(media_type)
    if form is None:
        if target.official:
            raise TranslationError(
                f"{path}: this model takes audio as WAV or MP3, not {media_type}.", path
            )
        form = media_type.rpartition("/")[2]
    return {"type": "input_audio", "input_audio": {"data": media.data, "format": form}}


def _encode_document(media: Media, path: str, target: Target, losses: LossList) -> JsonObject:
    if media.text is not None:
        losses.add(path, "a text document is sent as text")
        return {
            "type": "text",
            "text": f"{media.name}\n\n{media.text}" if media.name else media.text,
        }
    file: JsonObject = {}
    if media.file_id is not None:
        if form_of(media.native) != "id":
            raise TranslationError(f"{path}: the file is stored at another service.", path)
        file["file_id"] = media.file_id
    elif media.data is not None:
        raw = form_of(media.native) == "raw"
        file["file_data"] = media.data if raw else media_url(media, "application/pdf")
    elif media.url is not None and not target.official:
        file["file_data"] = media.url
    else:
        raise TranslationError(f"{path}: this model takes documents only as data.", path)
    if media.name is not None:
        file["filename"] = media.name
    elif media.data is not None and form_of(media.native) is None:
        file["filename"] = "document.pdf"  # OpenAI refuses file data without a name
    return {"type": "file", "file": file}


_CALL_KEYS = frozenset(("id", "type", "function", "custom", "index", "extra_content"))


def decode_call(value: Any, path: str, issuer: str | None) -> ToolCall:
    """Decode one item of ``tool_calls``; a missing id becomes ''.

    Args:
        value: the wire value.
        path: where it stands.
        issuer: who signed what is signed in it; None in a client's request, where raw signatures
            are Google's (see the module's theory).

    Raises:
        RequestError: it does not follow the dialect.
    """
    call = need_object(value, path)
    custom = call.get("type") == "custom" or ("custom" in call and "function" not in call)
    key = "custom" if custom else "function"
    inner = need_object(call.get(key), f"{path}.{key}")
    argument_key = "input" if custom else "arguments"
    arguments = inner.get(argument_key)
    if isinstance(arguments, dict):
        arguments = dump(arguments).decode()
    elif arguments is not None and not isinstance(arguments, str):
        raise wrong(f"{path}.{key}.{argument_key}", "a string", arguments)
    text: str = arguments or ""
    if not custom and not text.strip():
        text = "{}"
    fields = rest_of(call, _CALL_KEYS)
    extras = rest_of(inner, frozenset(("name", argument_key)))
    if extras:
        fields[key] = extras
    signature, extra_content = split_call_signature(call.get("extra_content"), issuer)
    if extra_content:
        fields["extra_content"] = extra_content
    return ToolCall(
        opt_text(call, "id", path) or "",
        required_text(inner, "name", f"{path}.{key}"),
        text,
        "custom" if custom else "function",
        signature=signature,
        native=native_of(fields),
    )


def split_call_signature(value: Any, issuer: str | None) -> tuple[Signature | None, Json]:
    """Return the signature in a call's ``extra_content``, and what else is in there."""
    google = value.get("google") if isinstance(value, dict) else None
    raw = google.get("thought_signature") if isinstance(google, dict) else None
    if not isinstance(google, dict) or not isinstance(raw, str) or not raw:
        return None, value
    left = {key: item for key, item in google.items() if key != "thought_signature"}
    others = {key: item for key, item in value.items() if key != "google"}
    rest: JsonObject = {**others, "google": left} if left else others
    opened = open_seal(raw)
    return (opened[0] if opened else Signature(issuer or GOOGLE, raw)), rest


def encode_call(call: ToolCall, call_id: str, signature: str | None) -> JsonObject:
    """Encode one item of ``tool_calls``; ``signature`` as it goes on the wire."""
    if call.kind == "custom":
        body: JsonObject = {
            "id": call_id,
            "type": "custom",
            "custom": {"name": call.name, "input": call.arguments},
        }
    else:
        arguments = call.arguments or "{}"
        function: JsonObject = {"name": call.name, "arguments": arguments}
        body = {"id": call_id, "type": "function", "function": function}
    if signature is not None:
        body["extra_content"] = {"google": {"thought_signature": signature}}
    return add_native(body, call.native)


def call_signature(signature: Signature | None) -> str | None:
    """Return a call's signature for a client: Google's raw, any other sealed."""
    if signature is None:
        return None
    return signature.value if signature.issuer == GOOGLE else seal(signature)
