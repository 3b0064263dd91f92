"""Anthropic Messages requests, wire to canon and back.

Sources: https://platform.claude.com/docs/en/api/messages and the types of the official Python SDK
2.12 (``anthropic.types``, read 2026-11). Rules that the service enforces without saying so in the
types carry their own note.

``Native.fields`` of this dialect hold unknown wire fields under their own names. Names that begin
with ``@`` are ours and never written: ``@list`` on the only text of a content means that it stood
in a list, not as a string; ``@join`` on a message that it continues the wire message before it
(a user message is split where tool results end, since the canon keeps those apart); ``@thinking``
and ``@effort_only`` on a reasoning configuration keep forms of ``thinking`` without a counterpart.
``decode_request`` always sets ``ChatRequest.native``, if only to an empty one: that is how
``encode_request`` knows that a request comes from this dialect.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from app.canonical.ids import ANTHROPIC_CALL, fit_id
from app.canonical.parts import (
    CacheMark,
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
from app.canonical.profile import Target
from app.canonical.reasoning import EFFORTS, Thinking, budget_of, nearest_effort, resolve
from app.canonical.request import (
    ChatRequest,
    Effort,
    Message,
    OutputFormat,
    ReasoningConfig,
    ServerTool,
    Tool,
    ToolChoice,
)
from app.dialects.base import Encoded, LossList, Peek, dump
from app.dialects.carrier import open_seal
from app.errors import RequestError, TranslationError

__all__ = [
    "ISSUER",
    "NAME",
    "call_fields",
    "decode_blocks",
    "decode_request",
    "encode_request",
    "need_list",
    "need_object",
    "need_text",
    "opt_count",
    "opt_object",
    "opt_text",
    "own_fields",
    "rest_of",
    "unique_id",
]

NAME: DialectName = "anthropic"
ISSUER = "anthropic"
"""Issuer of the signatures that a client of this dialect sends back unsealed."""
BILLING = "x-anthropic-billing-header:"
"""Begins the system block by which Claude Code names itself; meant for its vendor only."""
BILLING_KEY = "billing_blocks"
DEFAULT_MAX_TOKENS = 8192
"""``max_tokens`` is required. This much every model since Claude 3.5 can write; the older ones
are known to the catalog by their ``max_output``."""
MIN_BUDGET = 1024
"""Smallest ``thinking.budget_tokens`` that the service accepts."""
MAX_CACHE_MARKS = 4
MIN_TOP_P_THINKING = 0.95

_LIST, _JOIN, _THINKING, _EFFORT_ONLY = "@list", "@join", "@thinking", "@effort_only"
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_WIRE_EFFORTS: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^,]*)?),(.*)", re.DOTALL)


# --- typed access to wire values -----------------------------------------------------------------


def _word(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _wrong(path: str, wanted: str, value: Any) -> RequestError:
    return RequestError(f"{path} must be {wanted}, not {_word(value)}.", param=path)


def need_object(value: Any, path: str) -> JsonObject:
    """Return an object.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(value, dict):
        raise _wrong(path, "an object", value)
    return value


def need_list(value: Any, path: str) -> list[Json]:
    """Return a list.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(value, list):
        raise _wrong(path, "a list", value)
    return value


def need_text(value: Any, path: str) -> str:
    """Return a string.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(value, str):
        raise _wrong(path, "a string", value)
    return value


def opt_text(body: Mapping[str, Any], key: str, path: str) -> str | None:
    """Return an optional string; null counts as absent."""
    value = body.get(key)
    return None if value is None else need_text(value, path)


def opt_object(body: Mapping[str, Any], key: str, path: str) -> JsonObject | None:
    """Return an optional object; null counts as absent."""
    value = body.get(key)
    return None if value is None else need_object(value, path)


def opt_count(body: Mapping[str, Any], key: str, path: str) -> int | None:
    """Return an optional whole number from 0 upwards; null counts as absent."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(path, "a whole number", value)
    if value < 0:
        raise RequestError(f"{path} must not be negative.", param=path)
    return value


def _opt_number(body: Mapping[str, Any], key: str, path: str) -> float | None:
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(path, "a number", value)
    return value


def _opt_flag(body: Mapping[str, Any], key: str, path: str) -> bool | None:
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, bool):
        raise _wrong(path, "a boolean", value)
    return value


def rest_of(body: Mapping[str, Json], known: frozenset[str]) -> JsonObject:
    """Return the fields that are not among ``known``, in order."""
    return {key: value for key, value in body.items() if key not in known}


def _native(fields: JsonObject) -> Native | None:
    return Native(NAME, fields) if fields else None


def own_fields(native: Native | None) -> JsonObject:
    """Return the wire fields that this dialect left with a value, without our own marks."""
    if native is None or native.dialect != NAME:
        return {}
    return {key: value for key, value in native.fields.items() if not key.startswith("@")}


def _has_mark(native: Native | None, mark: str) -> bool:
    return native is not None and native.dialect == NAME and mark in native.fields


# --- content blocks, wire to canon ---------------------------------------------------------------

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


def _cache_of(block: JsonObject, path: str, extras: JsonObject) -> CacheMark | None:
    """Return the block's cache mark; one with more than a ttl is kept whole in ``extras``."""
    raw = opt_object(block, "cache_control", f"{path}.cache_control")
    if raw is None:
        return None
    ttl = opt_text(raw, "ttl", f"{path}.cache_control.ttl")
    plain: JsonObject = {"type": "ephemeral"}
    if ttl is not None:
        plain["ttl"] = ttl
    if raw != plain:
        extras["cache_control"] = raw
    return CacheMark(ttl)


def _decode_text(block: JsonObject, path: str) -> Text:
    extras = rest_of(block, _TEXT_KEYS)
    if block.get("citations"):  # null and [] both mean none, and streams begin with either
        extras["citations"] = block["citations"]
    cache = _cache_of(block, path, extras)
    return Text(need_text(block.get("text"), f"{path}.text"), cache=cache, native=_native(extras))


def _decode_media(block: JsonObject, path: str) -> Part:
    kind: Literal["image", "document"] = "image" if block["type"] == "image" else "document"
    source = need_object(block.get("source"), f"{path}.source")
    form = source.get("type")
    extras = rest_of(block, _MEDIA_KEYS)
    cache = _cache_of(block, path, extras)
    title = opt_text(block, "title", f"{path}.title")
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
        native=_native(extras),
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
    cache = _cache_of(block, path, extras)
    arguments = opt_object(block, "input", f"{path}.input") or {}
    return ToolCall(
        call_id,
        need_text(block.get("name"), f"{path}.name"),
        dump(arguments).decode(),
        cache=cache,
        native=_native(extras),
    )


def _decode_result(block: JsonObject, path: str) -> ToolResult:
    extras = rest_of(block, _RESULT_KEYS)
    cache = _cache_of(block, path, extras)
    raw = block.get("content")
    content: tuple[Part, ...] = ()
    if isinstance(raw, str):
        content = (Text(raw),) if raw else ()
    elif raw is not None:
        content = tuple(_decode_result_item(i, item, path) for i, item in _items(raw, path))
        content = _note_list(content)
    if not content and "content" in block:
        extras["content"] = raw  # "", [] and null are not the same as absent to a reader of bytes
    is_error = _opt_flag(block, "is_error", f"{path}.is_error")
    if is_error is False:
        extras["is_error"] = False
    return ToolResult(
        need_text(block.get("tool_use_id"), f"{path}.tool_use_id"),
        content,
        is_error=is_error is True,
        cache=cache,
        native=_native(extras),
    )


def _items(raw: Json, path: str) -> Iterable[tuple[int, Json]]:
    if not isinstance(raw, list):
        raise _wrong(f"{path}.content", "a string or a list of content blocks", raw)
    return enumerate(raw)


def _decode_result_item(index: int, item: Json, path: str) -> Part:
    where = f"{path}.content[{index}]"
    block = need_object(item, where)
    match need_text(block.get("type"), f"{where}.type"):
        case "text":
            return _decode_text(block, where)
        case "image" | "document":
            return _decode_media(block, where)
        case _:
            return Opaque(NAME, block)


_PLAIN_BLOCKS: dict[str, Callable[[JsonObject, str], Part]] = {
    "text": _decode_text,
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


def _note_list(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    # Only a lone plain text can also be written as a string, so only there the form is noted.
    if len(parts) == 1:
        part = parts[0]
        if isinstance(part, Text) and part.cache is None and part.native is None:
            return (replace(part, native=Native(NAME, {_LIST: True})),)
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
        return Reasoning(signature=signature, redacted=True, native=_native(extras)), None
    text = need_text(block.get("thinking"), f"{path}.thinking")
    value = opt_text(block, "signature", f"{path}.signature")
    native = _native(rest_of(block, _THINKING_KEYS))
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


# --- requests, wire to canon ---------------------------------------------------------------------

_REQUEST_KEYS = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "stop_sequences",
        "temperature",
        "top_p",
        "top_k",
        "thinking",
        "output_config",
        "output_format",
        "metadata",
        "service_tier",
        "stream",
    }
)
_MESSAGE_KEYS = frozenset({"role", "content"})
_TOOL_KEYS = frozenset({"name", "description", "input_schema", "strict", "cache_control"})
_PURPOSES: dict[str, Literal["web_search", "code_execution", "url_context"]] = {
    "web_search_": "web_search",
    "code_execution_": "code_execution",
    "web_fetch_": "url_context",
}


def decode_request(body: JsonObject, peek: Peek) -> ChatRequest:
    """Return a request in the canon; see ``Dialect.decode_request``."""
    try:
        return _decode_request(body, peek)
    except RecursionError as error:
        raise RequestError("The body nests too deeply.", code="invalid_json") from error


def _decode_request(body: JsonObject, peek: Peek) -> ChatRequest:
    fields = rest_of(body, _REQUEST_KEYS)
    messages: list[Message] = []
    for index, raw in enumerate(need_list(body.get("messages"), "messages")):
        messages.extend(_decode_message(raw, f"messages[{index}]"))
    choice, parallel = _decode_choice(body)
    reasoning, output = _decode_config(body, fields)
    stream = _opt_flag(body, "stream", "stream")
    return ChatRequest(
        model=need_text(body.get("model"), "model"),
        messages=tuple(messages),
        system=_decode_system(body.get("system"), fields),
        tools=tuple(
            _decode_tool(raw, f"tools[{index}]")
            for index, raw in enumerate(need_list(body.get("tools") or [], "tools"))
        ),
        tool_choice=choice,
        parallel_tools=parallel,
        max_tokens=opt_count(body, "max_tokens", "max_tokens"),
        stop=_decode_stop(body.get("stop_sequences")),
        temperature=_opt_number(body, "temperature", "temperature"),
        top_p=_opt_number(body, "top_p", "top_p"),
        top_k=opt_count(body, "top_k", "top_k"),
        reasoning=reasoning,
        output=output,
        stream=bool(stream) and peek.operation == "generate",
        user=_decode_user(body, fields),
        service_tier=opt_text(body, "service_tier", "service_tier"),
        native=Native(NAME, fields),
    )


def _decode_stop(raw: Json) -> tuple[str, ...]:
    items = [] if raw is None else need_list(raw, "stop_sequences")
    return tuple(need_text(item, f"stop_sequences[{i}]") for i, item in enumerate(items))


def _decode_user(body: JsonObject, fields: JsonObject) -> str | None:
    metadata = opt_object(body, "metadata", "metadata")
    if metadata is None:
        return None
    user = opt_text(metadata, "user_id", "metadata.user_id")
    rest = metadata if user is None else rest_of(metadata, frozenset({"user_id"}))
    if rest or user is None:
        fields["metadata"] = rest
    return user


def _decode_system(raw: Json, fields: JsonObject) -> tuple[Part, ...]:
    if raw is None:
        return ()
    if isinstance(raw, str):
        return (Text(raw),) if raw else ()
    if not isinstance(raw, list):
        raise _wrong("system", "a string or a list of text blocks", raw)
    parts: list[Part] = []
    billing: list[Json] = []
    for index, item in enumerate(raw):
        path = f"system[{index}]"
        block = need_object(item, path)
        if block.get("type") != "text":
            raise RequestError(f"{path} must be a text block.", param=path)
        text = _decode_text(block, path)
        if text.text.startswith(BILLING):
            billing.append(block)
        else:
            parts.append(text)
    if billing:
        fields[BILLING_KEY] = billing
        return tuple(parts)
    return _note_list(tuple(parts))


def _decode_message(raw: Json, path: str) -> list[Message]:
    body = need_object(raw, path)
    role = body.get("role")
    if role not in ("user", "assistant", "system"):
        shown = f"{role!r}" if isinstance(role, str) else _word(role)
        raise RequestError(
            f"{path}.role must be 'user', 'assistant' or 'system', not {shown}.",
            param=f"{path}.role",
        )
    native = _native(rest_of(body, _MESSAGE_KEYS))
    content = body.get("content")
    if isinstance(content, str):
        return [Message(role, (Text(content),) if content else (), native=native)]
    if not isinstance(content, list):
        raise _wrong(f"{path}.content", "a string or a list of content blocks", content)
    parts = _note_list(tuple(decode_blocks(content, f"{path}.content", str(role))))
    if role == "system" and not all(isinstance(part, Text) for part in parts):
        raise RequestError(f"{path}.content of a system message must be text.", param=path)
    if role != "user":
        return [Message(role, parts, native=native)]
    return _split_results(parts, native)


def _split_results(parts: tuple[Part, ...], native: Native | None) -> list[Message]:
    """Cut a user message where tool results begin or end."""
    messages: list[Message] = []
    start = 0
    for index in range(1, len(parts) + 1):
        results = isinstance(parts[start], ToolResult)
        if index < len(parts) and isinstance(parts[index], ToolResult) == results:
            continue
        messages.append(Message("tool" if results else "user", parts[start:index], native=native))
        native = Native(NAME, {_JOIN: True})
        start = index
    return messages or [Message("user", (), native=native)]


def _decode_tool(raw: Json, path: str) -> Tool | ServerTool:
    body = need_object(raw, path)
    kind = opt_text(body, "type", f"{path}.type")
    if kind is not None and kind != "custom":
        purpose = next((word for start, word in _PURPOSES.items() if kind.startswith(start)), None)
        return ServerTool(NAME, body, purpose)
    extras = rest_of(body, _TOOL_KEYS)
    cache = _cache_of(body, path, extras)
    return Tool(
        need_text(body.get("name"), f"{path}.name"),
        description=opt_text(body, "description", f"{path}.description"),
        schema=opt_object(body, "input_schema", f"{path}.input_schema"),
        strict=_opt_flag(body, "strict", f"{path}.strict"),
        cache=cache,
        native=_native(extras),
    )


_CHOICES: dict[Json, Literal["auto", "none", "required"]] = {
    "auto": "auto",
    "none": "none",
    "any": "required",
    "tool": "required",
}


def _decode_choice(body: JsonObject) -> tuple[ToolChoice | None, bool | None]:
    raw = opt_object(body, "tool_choice", "tool_choice")
    if raw is None:
        return None, None
    kind = need_text(raw.get("type"), "tool_choice.type")
    mode = _CHOICES.get(kind)
    if mode is None:
        raise RequestError(
            f"tool_choice.type must be 'auto', 'any', 'tool' or 'none', not {kind!r}.",
            param="tool_choice.type",
        )
    known = {"type", "disable_parallel_tool_use"}
    names: tuple[str, ...] = ()
    if kind == "tool":
        known.add("name")
        names = (need_text(raw.get("name"), "tool_choice.name"),)
    disabled = _opt_flag(raw, "disable_parallel_tool_use", "tool_choice.disable_parallel_tool_use")
    native = _native(rest_of(raw, frozenset(known)))
    return ToolChoice(mode, names, native), None if disabled is None else not disabled


def _decode_config(
    body: JsonObject, fields: JsonObject
) -> tuple[ReasoningConfig | None, OutputFormat | None]:
    config = opt_object(body, "output_config", "output_config") or {}
    rest = rest_of(config, frozenset({"effort", "format"}))
    word = opt_text(config, "effort", "output_config.effort")
    effort: Effort | None = next((known for known in EFFORTS if known == word), None)
    if word is not None and effort is None:
        rest["effort"] = word
    place = "output_config.format"
    form = opt_object(config, "format", place)
    if form is None:  # the beta's older spelling, still sent by LiteLLM (observed 2026-11)
        place = "output_format"
        form = opt_object(body, "output_format", place)
    output: OutputFormat | None = None
    if form is not None:
        if form.get("type") == "json_schema":
            output = OutputFormat("json_schema", opt_object(form, "schema", f"{place}.schema"))
        if output is None or form.keys() - {"type", "schema"}:
            rest["format"] = form
    if rest:
        fields["output_config"] = rest
    return _decode_thinking(body, effort), output


def _decode_thinking(body: JsonObject, effort: Effort | None) -> ReasoningConfig | None:
    raw = opt_object(body, "thinking", "thinking")
    if raw is None:
        if effort is None:
            return None
        return ReasoningConfig("on", effort, native=Native(NAME, {_EFFORT_ONLY: True}))
    kind = need_text(raw.get("type"), "thinking.type")
    if kind == "disabled":
        return ReasoningConfig("off", effort)
    if kind not in ("enabled", "adaptive"):
        return ReasoningConfig("adaptive", effort, native=Native(NAME, {_THINKING: raw}))
    budget = opt_count(raw, "budget_tokens", "thinking.budget_tokens")
    extras = rest_of(raw, frozenset({"type", "budget_tokens"}))
    display = opt_text(raw, "display", "thinking.display")
    return ReasoningConfig(
        "on" if kind == "enabled" else "adaptive",
        effort,
        budget,
        None if display is None else display != "omitted",
        _native(extras),
    )
