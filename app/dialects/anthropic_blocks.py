"""Anthropic's content blocks, wire to canon: in requests and in answers.

Source: ``anthropic.types`` of the official Python SDK 2.12 (read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

from app.canonical.parts import (
    CacheMark,
    Json,
    JsonObject,
    Media,
    Native,
    Opaque,
    Part,
    Reasoning,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.dialects.anthropic_values import ISSUER, LIST, NAME, native_of
from app.dialects.base import dump
from app.dialects.carrier import open_seal
from app.dialects.values import (
    need_list,
    need_object,
    need_text,
    opt_flag,
    opt_object,
    opt_text,
    rest_of,
    wrong,
)
from app.errors import RequestError

__all__ = [
    "cache_of",
    "decode_blocks",
    "decode_text",
    "note_list",
]


_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^,]*)?),(.*)", re.DOTALL)


_TEXT_KEYS = frozenset({"type", "text", "cache_control", "citations"})


_MEDIA_KEYS = frozenset({"type", "source", "cache_control", "title"})


_THINKING_KEYS = frozenset({"type", "thinking", "signature"})


_REDACTED_KEYS = frozenset({"type", "data"})


_CALL_KEYS = frozenset({"type", "id", "name", "input", "cache_control"})


_RESULT_KEYS = frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"})


_SOURCE_KEYS: dict[str, frozenset[str]] = {
    "base64": frozenset({"type", "media_type", "data"}),
    "url": frozenset({"type", "url"}),
    "file": frozenset({"type", "file_id"}),
    "text": frozenset({"type", "media_type", "data"}),
}


def cache_of(block: JsonObject, path: str, extras: JsonObject) -> CacheMark | None:
    """Return the block's cache mark; one with more than a ttl is kept whole in ``extras``."""
    raw = opt_object(block, "cache_control", path)
    if raw is None:
        return None
    ttl = opt_text(raw, "ttl", f"{path}.cache_control")
    plain: JsonObject = {"type": "ephemeral"}
    if ttl is not None:
        plain["ttl"] = ttl
    if raw != plain:
        extras["cache_control"] = raw
    return CacheMark(ttl)


def decode_text(block: JsonObject, path: str) -> Text:
    """Return a text block as a part.

    Raises:
        RequestError: it does not follow the dialect.
    """
    extras = rest_of(block, _TEXT_KEYS)
    if block.get("citations"):  # null and [] both mean none, and streams begin with either
        extras["citations"] = block["citations"]
    cache = cache_of(block, path, extras)
    return Text(need_text(block.get("text"), f"{path}.text"), cache=cache, native=native_of(extras))


def _decode_media(block: JsonObject, path: str) -> Part:
    kind: Literal["image", "document"] = "image" if block["type"] == "image" else "document"
    source = need_object(block.get("source"), f"{path}.source")
    form = source.get("type")
    extras = rest_of(block, _MEDIA_KEYS)
    cache = cache_of(block, path, extras)
    title = opt_text(block, "title", path)
    if isinstance(form, str) and rest_of(source, _SOURCE_KEYS.get(form, frozenset(source))):
        extras["source"] = source

    def field(key: str) -> str:
        return need_text(source.get(key), f"{path}.source.{key}")

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    text: str | None = None
    match form:
        case "base64":
            media_type, data = field("media_type"), field("data")
        case "url":
            url = field("url")
            if url.startswith("data:"):
                media_type, data = _split_data_url(url, f"{path}.source.url")
                url = None
        case "file":
            file_id = field("file_id")
        case "text" if kind == "document":
            media_type, text = "text/plain", field("data")
        case "content" if kind == "document":
            text = _text_of_content(source.get("content"), f"{path}.source.content")
            if text is None:
                return Opaque(NAME, block)
            media_type = "text/plain"
            extras["source"] = source
        case _:
            return Opaque(NAME, block)
    return Media(
        kind,
        media_type=media_type,
        data=data,
        url=url,
        file_id=file_id,
        text=text,
        name=title,
        cache=cache,
        native=native_of(extras),
    )


def _text_of_content(content: Json, path: str) -> str | None:
    """Return a content source as text, or None when it holds images."""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for index, item in enumerate(need_list(content, path)):
        block = need_object(item, f"{path}[{index}]")
        if block.get("type") != "text":
            return None
        texts.append(need_text(block.get("text"), f"{path}[{index}].text"))
    return "\n".join(texts)


def _split_data_url(url: str, path: str) -> tuple[str, str]:
    match = _DATA_URL.fullmatch(url)
    if match is None or ";base64" not in match[2]:
        raise RequestError(f"{path} is no base64 data URL.", param=path)
    return match[1] or "application/octet-stream", match[3]


def _decode_call(block: JsonObject, path: str) -> ToolCall:
    call_id = need_text(block.get("id"), f"{path}.id")
    if not call_id:
        raise RequestError(f"{path}.id must not be empty.", param=f"{path}.id")
    extras = rest_of(block, _CALL_KEYS)
    cache = cache_of(block, path, extras)
    arguments = opt_object(block, "input", path) or {}
    return ToolCall(
        call_id,
        need_text(block.get("name"), f"{path}.name"),
        dump(arguments).decode(),
        cache=cache,
        native=native_of(extras),
    )


def _decode_result(block: JsonObject, path: str) -> ToolResult:
    extras = rest_of(block, _RESULT_KEYS)
    cache = cache_of(block, path, extras)
    raw = block.get("content")
    content: tuple[Part, ...] = ()
    if isinstance(raw, str):
        content = (Text(raw),) if raw else ()
    elif raw is not None:
        content = tuple(_decode_result_item(i, item, path) for i, item in _items(raw, path))
        content = note_list(content)
    if not content and "content" in block:
        extras["content"] = raw  # "", [] and null are not the same as absent to a reader of bytes
    is_error = opt_flag(block, "is_error", path)
    if is_error is False:
        extras["is_error"] = False
    return ToolResult(
        need_text(block.get("tool_use_id"), f"{path}.tool_use_id"),
        content,
        is_error=is_error is True,
        cache=cache,
        native=native_of(extras),
    )


def _items(raw: Json, path: str) -> Iterable[tuple[int, Json]]:
    if not isinstance(raw, list):
        raise wrong(f"{path}.content", "a string or a list of content blocks", raw)
    return enumerate(raw)


def _decode_result_item(index: int, item: Json, path: str) -> Part:
    where = f"{path}.content[{index}]"
    block = need_object(item, where)
    match need_text(block.get("type"), f"{where}.type"):
        case "text":
            return decode_text(block, where)
        case "image" | "document":
            return _decode_media(block, where)
        case _:
            return Opaque(NAME, block)


_PLAIN_BLOCKS: dict[str, Callable[[JsonObject, str], Part]] = {
    "text": decode_text,
    "image": _decode_media,
    "document": _decode_media,
    "tool_use": _decode_call,
    "tool_result": _decode_result,
}


_ONLY_IN = {
    "tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
    "tool_result": "user",
}


def note_list(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Return the parts of a list content; a lone text notes that it stood in a list."""
    # Only a lone plain text can also be written as a string, so only there the form is noted.
    if len(parts) == 1:
        part = parts[0]
        if isinstance(part, Text) and part.cache is None and part.native is None:
            return (replace(part, native=Native(NAME, {LIST: True})),)
    return parts


def decode_blocks(
    blocks: list[Json], path: str, role: str, issuer: str = ISSUER, *, sealed: bool = True
) -> list[Part]:
    """Return a message's or an answer's content blocks as parts.

    Args:
        blocks: the wire list.
        path: where it stands, for errors.
        role: ``user`` or ``assistant``.
        issuer: who signed the thinking blocks.
        sealed: whether signatures may be our envelopes (true for what clients send).

    Raises:
        RequestError: a block does not follow the dialect.
    """
    parts: list[Part] = []
    carried: dict[str, Signature] = {}
    for index, raw in enumerate(blocks):
        where = f"{path}[{index}]"
        block = need_object(raw, where)
        kind = need_text(block.get("type"), f"{where}.type")
        if _ONLY_IN.get(kind, role) != role:
            raise RequestError(
                f"{where}: {kind} blocks may not stand in {role} messages.", param=where
            )
        decode = _PLAIN_BLOCKS.get(kind)
        if decode is not None:
            parts.append(decode(block, where))
        elif kind in ("thinking", "redacted_thinking"):
            thought, call = _decode_thought(block, where, issuer, sealed)
            if call is None:
                parts.append(thought)
            elif thought.signature is not None:
                carried[call] = thought.signature
        else:
            parts.append(Opaque(NAME, block))
    if carried:
        parts = [
            replace(p, signature=carried[p.id])
            if isinstance(p, ToolCall) and p.id in carried
            else p
            for p in parts
        ]
    return parts


def _decode_thought(
    block: JsonObject, path: str, issuer: str, sealed: bool
) -> tuple[Reasoning, str | None]:
    """Return the thought, and the id of the call whose signature the block only carries."""
    if block["type"] == "redacted_thinking":
        data = need_text(block.get("data"), f"{path}.data")
        extras = rest_of(block, _REDACTED_KEYS)
        signature = Signature(issuer, data)
        return Reasoning(signature=signature, redacted=True, native=native_of(extras)), None
    text = need_text(block.get("thinking"), f"{path}.thinking")
    value = opt_text(block, "signature", path)
    native = native_of(rest_of(block, _THINKING_KEYS))
    if not value:
        return Reasoning(text, native=native), None
    opened = open_seal(value) if sealed else None
    if opened is None:
        return Reasoning(text, signature=Signature(issuer, value), native=native), None
    foreign, carried = opened
    item, call = carried.get("id"), carried.get("call")
    thought = Reasoning(
        text,
        summary=carried.get("summary") is True,
        signature=foreign if foreign.value else None,
        redacted=carried.get("redacted") is True,
        id=item if isinstance(item, str) else None,
        native=native,
    )
    return thought, call if isinstance(call, str) else None
