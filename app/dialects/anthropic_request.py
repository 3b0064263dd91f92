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
    "BILLING_KEY",
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
    "parse_arguments",
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
    place: Literal["user", "assistant", "system"] = (
        "user" if role == "user" else "assistant" if role == "assistant" else "system"
    )
    native = _native(rest_of(body, _MESSAGE_KEYS))
    content = body.get("content")
    if isinstance(content, str):
        return [Message(place, (Text(content),) if content else (), native=native)]
    if not isinstance(content, list):
        raise _wrong(f"{path}.content", "a string or a list of content blocks", content)
    parts = _note_list(tuple(decode_blocks(content, f"{path}.content", str(role))))
    if role == "system" and not all(isinstance(part, Text) for part in parts):
        raise RequestError(f"{path}.content of a system message must be text.", param=path)
    if role != "user":
        return [Message(place, parts, native=native)]
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


# --- requests, canon to wire ---------------------------------------------------------------------


def call_fields(call: ToolCall) -> JsonObject:
    """Return the unknown wire fields of a call (``caller``, ``toolset_name``)."""
    return rest_of(own_fields(call.native), frozenset({"cache_control"}))


def unique_id(wanted: str, taken: set[str]) -> str:
    """Return an id that is not among ``taken``, and add it there: a suffix tells twins apart."""
    made, number = wanted, 1
    while made in taken:
        number += 1
        made = f"{wanted[:58]}_{number}"
    taken.add(made)
    return made


def encode_request(request: ChatRequest, target: Target) -> Encoded:
    """Return a request as the service takes it; see ``Dialect.encode_request``."""
    try:
        return _Encoder(request, target).encode()
    except RecursionError as error:
        raise TranslationError("The request nests too deeply.", "messages") from error


@dataclass(slots=True)
class _Turn:
    """One wire message in the making."""

    role: str
    blocks: list[JsonObject]
    extras: JsonObject
    listed: bool
    """The client wrote the content as a list, though a string would do."""


@dataclass(slots=True)
class _Think:
    """What is said about thought."""

    thinking: JsonObject | None = None
    effort: str | None = None

    @property
    def on(self) -> bool:
        return self.thinking is not None and self.thinking.get("type") != "disabled"

    @property
    def by_budget(self) -> bool:
        return self.thinking is not None and self.thinking.get("type") == "enabled"


class _Encoder:
    """Encodes one request; see the service's rules at each step."""

    __slots__ = (
        "_answered",
        "_ids",
        "_losses",
        "_official",
        "_own",
        "_pending",
        "_profile",
        "_request",
        "_target",
    )

    def __init__(self, request: ChatRequest, target: Target) -> None:
        self._request = request
        self._target = target
        self._profile = target.profile
        self._official = target.official
        self._own = request.native is not None and request.native.dialect == NAME
        self._losses = LossList()
        self._ids: set[str] = set()
        self._pending: dict[str, deque[tuple[str, str]]] = {}
        self._answered: dict[str, str] = {}

    def encode(self) -> Encoded:
        request = self._request
        if request.tools and not self._profile.tools:
            raise TranslationError(f"{request.model} knows no tools.", "tools")
        system, kept = self._place_system()
        turns = self._turns(kept)
        tools = self._tools()
        choice = self._choice(tools)
        form, order = self._output()
        max_tokens, think = self._think(turns, choice)
        body: JsonObject = {"model": request.model, "max_tokens": max_tokens}
        text = self._system(system, order)
        if text:
            body["system"] = text
        body["messages"] = [_render_turn(turn) for turn in turns]
        if tools:
            body["tools"] = list(tools)
        if choice is not None:
            body["tool_choice"] = choice
        if think.thinking is not None:
            body["thinking"] = think.thinking
        self._sampling(body, think)
        self._config(body, form, think)
        self._natives(body)
        self._foreign_knobs()
        if request.stream:
            body["stream"] = True
        self._limit_marks(body)
        return Encoded(body, self._losses.done())

    # system text

    def _place_system(self) -> tuple[list[tuple[str, Part]], list[tuple[int, Message]]]:
        """Return the system parts with their paths, and the messages that stay in place."""
        system = [(f"system[{j}]", part) for j, part in enumerate(self._request.system)]
        kept: list[tuple[int, Message]] = []
        for index, message in enumerate(self._request.messages):
            if message.role not in ("system", "developer"):
                kept.append((index, message))
                continue
            if self._profile.mid_system and (self._own or kept):
                kept.append((index, message))
                continue
            if kept:
                self._losses.add(f"messages[{index}]", "moved to the front: no system messages")
            system.extend(
                (f"messages[{index}].content[{j}]", part) for j, part in enumerate(message.parts)
            )
        return system, kept

    def _system(self, parts: list[tuple[str, Part]], order: str | None) -> Json:
        native = own_fields(self._request.native)
        billing = native.get(BILLING_KEY)
        blocks: list[Json] = list(billing) if isinstance(billing, list) else []
        listed = bool(blocks)
        for path, part in parts:
            if not isinstance(part, Text):
                raise TranslationError("System text may hold nothing but text here.", path)
            listed = listed or (len(parts) == 1 and _has_mark(part.native, _LIST))
            block = self._text(part, path)
            if block is not None:
                blocks.append(block)
        if order is not None:
            blocks.append({"type": "text", "text": order})
        if len(blocks) == 1 and not listed and (text := _plain_text(blocks[0])) is not None:
            return text
        return blocks

    # messages

    def _turns(self, kept: list[tuple[int, Message]]) -> list[_Turn]:
        turns: list[_Turn] = []
        for index, message in kept:
            self._add_turn(turns, index, message)
        self._begin_with_user(turns)
        self._trim_prefill(turns)
        return turns

    def _add_turn(self, turns: list[_Turn], index: int, message: Message) -> None:
        role = {"tool": "user", "developer": "system"}.get(message.role, message.role)
        if message.name is not None:
            self._losses.add(f"messages[{index}].name", "not known to this dialect")
        blocks: list[JsonObject] = []
        for j, part in enumerate(message.parts):
            block = self._part(part, f"messages[{index}].content[{j}]", role)
            if block is not None:
                blocks.append(block)
        extras = own_fields(message.native)
        listed = any(_has_mark(p.native, _LIST) for p in message.parts if isinstance(p, Text))
        same = bool(turns) and turns[-1].role == role
        if same and (not self._own or _has_mark(message.native, _JOIN)):
            _join(turns[-1], blocks, results_first=not self._own)
        elif blocks or (self._own and not message.parts):
            turns.append(_Turn(role, blocks, extras, listed or not blocks))

    def _begin_with_user(self, turns: list[_Turn]) -> None:
        first = next((i for i, turn in enumerate(turns) if turn.role != "system"), len(turns))
        if first == len(turns) or turns[first].role == "assistant":
            # The service wants a user message first; a full stop says least.
            turns.insert(first, _Turn("user", [{"type": "text", "text": "."}], {}, False))
            self._losses.add("messages[0]", "a user message was put first, as the service demands")

    def _trim_prefill(self, turns: list[_Turn]) -> None:
        # "final assistant content cannot end with trailing whitespace"
        last = turns[-1]
        if last.role != "assistant" or not last.blocks:
            return
        text = last.blocks[-1].get("text")
        if last.blocks[-1].get("type") == "text" and isinstance(text, str):
            trimmed = text.rstrip()
            if trimmed != text:
                last.blocks[-1]["text"] = trimmed
                self._losses.add("messages[-1]", "white space at the end of a prefill is refused")

    def _part(self, part: Part, path: str, role: str) -> JsonObject | None:
        match part:
            case Text():
                return self._text(part, path)
            case Refusal(text=text):
                return {"type": "text", "text": text} if text.strip() else None
            case Reasoning():
                return self._reasoning(part, path)
            case ToolCall():
                return self._call(part, path)
            case ToolResult():
                return self._result(part, path)
            case Media():
                if role != "user" and not self._own:
                    raise TranslationError(f"{part.kind} in {role} messages is refused.", path)
                return self._media(part, path)
            case Opaque(dialect=dialect, body=body):
                if dialect != NAME:
                    raise TranslationError(_foreign_block(dialect, body), path)
                return dict(body)

    def _text(self, part: Text, path: str) -> JsonObject | None:
        if part.signature is not None:
            self._losses.add(f"{path}.signature", "no place for it in this dialect")
        if not part.text.strip():
            # "text content blocks must be non-empty", "must contain non-whitespace text"
            if part.text:
                self._losses.add(path, "blank text is refused")
            return None
        block: JsonObject = {"type": "text", "text": part.text}
        block.update(own_fields(part.native))
        return self._marked(block, part.cache)

    @staticmethod
    def _marked(block: JsonObject, cache: CacheMark | None) -> JsonObject:
        own = block.pop("cache_control", None)
        if cache is not None:
            mark: JsonObject = {"type": "ephemeral"}
            if cache.ttl in ("5m", "1h"):
                mark["ttl"] = cache.ttl
            block["cache_control"] = own if own is not None else mark
        return block

    def _reasoning(self, part: Reasoning, path: str) -> JsonObject | None:
        signature = part.signature
        if signature is None or signature.issuer != self._target.issuer:
            self._losses.add(path, "thought that this service did not sign is refused")
            return None
        if part.redacted:
            block: JsonObject = {"type": "redacted_thinking", "data": signature.value}
        else:
            block = {"type": "thinking", "thinking": part.text, "signature": signature.value}
        block.update(own_fields(part.native))
        return block

    def _call(self, part: ToolCall, path: str) -> JsonObject:
        if part.kind == "custom" or part.namespace is not None:
            raise TranslationError("Free-text and namespaced tools are not known here.", path)
        if not _TOOL_NAME.fullmatch(part.name):
            raise TranslationError(f"{part.name!r} is no tool name that is accepted here.", path)
        if part.signature is not None:
            self._losses.add(f"{path}.signature", "no place for it in this dialect")
        block: JsonObject = {
            "type": "tool_use",
            "id": self._call_id(part, path),
            "name": part.name,
            "input": self._input(part.arguments, path),
        }
        block.update(own_fields(part.native))
        return self._marked(block, part.cache)

    def _input(self, arguments: str, path: str) -> JsonObject:
        value = parse_arguments(arguments)
        if value is None:
            self._losses.add(f"{path}.arguments", "no JSON object; carried as text under _raw")
            return {"_raw": arguments}
        return value

    def _call_id(self, part: ToolCall, path: str) -> str:
        wanted = part.id or f"{path} {part.name}"
        made = unique_id(fit_id(wanted, ANTHROPIC_CALL), self._ids)
        self._pending.setdefault(part.id, deque()).append((made, part.name))
        return made

    def _result_id(self, part: ToolResult, path: str) -> str:
        """Return the id of the call that a result answers; results of equal ids go in order."""
        queue = self._pending.get(part.call_id)
        if not queue:
            last = self._answered.get(part.call_id)
            return last or fit_id(part.call_id or path, ANTHROPIC_CALL)
        named = next((entry for entry in queue if entry[1] == part.name), queue[0])
        queue.remove(named)
        self._answered[part.call_id] = named[0]
        return named[0]

    def _result(self, part: ToolResult, path: str) -> JsonObject:
        block: JsonObject = {"type": "tool_result", "tool_use_id": self._result_id(part, path)}
        block.update(own_fields(part.native))
        content = self._result_content(part, path)
        if part.is_error:
            block["is_error"] = True
            if not content:
                # "content cannot be empty if `is_error` is true"
                content = "The tool failed."
                self._losses.add(path, "an error without a text is refused; a text was added")
        if content:
            block["content"] = content
        return self._marked(block, part.cache)

    def _result_content(self, part: ToolResult, path: str) -> Json:
        parts = part.content
        if len(parts) == 1 and isinstance(lone := parts[0], Text):
            simple = lone.cache is None and not own_fields(lone.native)
            if simple and not _has_mark(lone.native, _LIST):
                return lone.text
        blocks: list[Json] = []
        for j, item in enumerate(parts):
            where = f"{path}.content[{j}]"
            match item:
                case Text():
                    block = self._text(item, where)
                case Media():
                    block = self._media(item, where)
                case Opaque(dialect=dialect, body=body) if dialect == NAME:
                    block = dict(body)
                case Opaque(dialect=dialect, body=body):
                    raise TranslationError(_foreign_block(dialect, body), where)
                case _:
                    raise TranslationError("A tool result may hold text and media only.", where)
            if block is not None:
                blocks.append(block)
        return blocks

    def _media(self, part: Media, path: str) -> JsonObject:
        allowed = {"image": self._profile.images, "document": self._profile.documents}
        if part.kind not in allowed:
            raise TranslationError(f"{part.kind} is not taken by Anthropic's API.", path)
        if not allowed[part.kind]:
            raise TranslationError(f"{self._request.model} takes no {part.kind}s.", path)
        if part.detail not in (None, "auto"):
            self._losses.add(f"{path}.detail", "not known to this dialect")
        fields = own_fields(part.native)
        source = fields.pop("source", None) or self._source(part, path)
        block: JsonObject = {"type": part.kind, "source": source}
        if part.kind == "document" and part.name is not None:
            block["title"] = part.name
        block.update(fields)
        return self._marked(block, part.cache)

    def _source(self, part: Media, path: str) -> JsonObject:
        if part.text is not None:
            return {"type": "text", "media_type": "text/plain", "data": part.text}
        if part.url is not None:
            if not part.url.startswith(("https://", "http://")):
                raise TranslationError("Only http and https addresses can be read here.", path)
            return {"type": "url", "url": part.url}
        if part.file_id is not None:
            if not self._own:
                raise TranslationError("A file stored at another service cannot be read.", path)
            return {"type": "file", "file_id": part.file_id}
        data = part.data or ""
        media_type = (part.media_type or _sniff(data)).partition(";")[0].strip().lower()
        if media_type == "image/jpg":
            media_type = "image/jpeg"
        if part.kind == "image" and media_type in _IMAGE_TYPES:
            return {"type": "base64", "media_type": media_type, "data": data}
        if part.kind == "document" and media_type == "application/pdf":
            return {"type": "base64", "media_type": media_type, "data": data}
        if part.kind == "document" and _is_textual(media_type):
            return {"type": "text", "media_type": "text/plain", "data": _decode_base64(data, path)}
        raise TranslationError(
            f"{media_type or 'Data of unknown type'} is not taken as {part.kind}.",
            path,
            hint="Images may be JPEG, PNG, GIF or WebP, documents PDF or text.",
        )

    # tools

    def _tools(self) -> list[JsonObject]:
        choice = self._request.tool_choice
        only: tuple[str, ...] = ()
        if choice is not None and (choice.mode == "auto" or len(choice.names) > 1):
            only = choice.names  # several names cannot be said: leave the other tools out instead
        tools: list[JsonObject] = []
        taken: set[str] = set()
        for index, tool in enumerate(self._request.tools):
            path = f"tools[{index}]"
            if isinstance(tool, ServerTool):
                server = self._server_tool(tool, path)
                twin = server is not None and tool.dialect != NAME and _words(server) & taken
                if server is not None and not twin and (not only or _words(tool.body) & {*only}):
                    taken |= _words(server)
                    tools.append(server)
            elif not only or tool.name in only:
                tools.append(self._tool(tool, path))
        return tools

    def _tool(self, tool: Tool, path: str) -> JsonObject:
        if tool.kind == "custom" or tool.namespace is not None:
            raise TranslationError("Free-text and namespaced tools are not known here.", path)
        if not _TOOL_NAME.fullmatch(tool.name):
            raise TranslationError(
                f"{tool.name!r} is no tool name that is accepted here.",
                f"{path}.name",
                hint="Names have 1 to 128 letters, digits, _ and -.",
            )
        body: JsonObject = {"name": tool.name}
        if tool.description is not None:
            body["description"] = tool.description
        body["input_schema"] = object_schema(tool.schema)
        if tool.strict is not None and self._own:
            body["strict"] = tool.strict
        elif tool.strict:
            # Its grammar knows fewer keywords than OpenAI's, so a foreign schema may be refused.
            self._losses.add(f"{path}.strict", "not enforced for schemas of other dialects")
        body.update(own_fields(tool.native))
        return self._marked(body, tool.cache)

    def _server_tool(self, tool: ServerTool, path: str) -> JsonObject | None:
        if tool.dialect == NAME:
            body = dict(tool.body)
            for key in ("allowed_domains", "blocked_domains"):
                if body.get(key) == []:  # an empty list is refused (observed 2026-08)
                    del body[key]
            return body
        if tool.purpose == "web_search":
            return _web_search(tool.body)
        if tool.purpose == "code_execution":
            return {"type": "code_execution_20250825", "name": "code_execution"}
        if tool.purpose == "url_context":
            return {"type": "web_fetch_20250910", "name": "web_fetch"}
        choice = self._request.tool_choice
        named = choice is not None and _words(tool.body) & {*choice.names}
        if named:
            raise TranslationError("The tool that tool_choice names is not known here.", path)
        self._losses.add(path, "a tool of another service, without a counterpart here")
        return None

    def _choice(self, tools: list[JsonObject]) -> JsonObject | None:
        choice = self._request.tool_choice
        parallel = self._request.parallel_tools
        if not tools:
            if choice is not None and choice.mode == "required":
                self._losses.add("tool_choice", "there are no tools")
            return None
        body: JsonObject = {"type": "auto"}
        if choice is None:
            if parallel is not False:
                return None
        elif choice.mode == "none":
            return {"type": "none", **own_fields(choice.native)}
        elif choice.mode == "required":
            one = len(choice.names) == 1
            body = {"type": "tool", "name": choice.names[0]} if one else {"type": "any"}
        if parallel is False or (parallel is True and self._own):
            body["disable_parallel_tool_use"] = not parallel
        if choice is not None:
            body.update(own_fields(choice.native))
        return body

    # structured output

    def _output(self) -> tuple[JsonObject | None, str | None]:
        """Return the output format, or the words that ask for it where none can be enforced."""
        output = self._request.output
        if output is None or output.kind == "text":
            return None, None
        if output.kind == "json_schema" and output.schema is not None:
            if self._profile.json_schema:
                schema = output.schema if self._own else self._plain_schema(output.schema)
                return {"type": "json_schema", "schema": schema}, None
            self._losses.add("output", "asked for in the system text; the model enforces no schema")
            shown = dump(output.schema).decode()
            return None, f"Answer with one JSON value that matches this JSON Schema: {shown}"
        self._losses.add("output", "asked for in the system text; JSON needs a schema here")
        return None, "Answer with one JSON object and nothing else."

    def _plain_schema(self, schema: JsonObject) -> JsonObject:
        told: list[str] = []
        plain = plain_schema(schema, told)
        if told:
            words = ", ".join(sorted(set(told)))
            self._losses.add("output.schema", f"told in descriptions, not enforced: {words}")
        return plain

    # thought

    def _think(self, turns: list[_Turn], choice: JsonObject | None) -> tuple[int, _Think]:
        """Return ``max_tokens`` and what is said about thought."""
        limit = self._request.max_tokens
        most = self._profile.max_output
        if limit is not None and most is not None and limit > most:
            self._losses.add("max_tokens", f"lowered to {most}, the model's maximum")
            limit = most
        think = self._wanted_thought(most if limit is None else limit)
        if limit is None:
            limit = most or DEFAULT_MAX_TOKENS
            budget = (think.thinking or {}).get("budget_tokens")
            if most is None and isinstance(budget, int):
                limit += budget
        reason = self._obstacle(think, turns, choice)
        if reason is not None:
            self._losses.add("reasoning", reason)
            think = _Think()
        return limit, think

    @staticmethod
    def _obstacle(think: _Think, turns: list[_Turn], choice: JsonObject | None) -> str | None:
        if not think.on:
            return None
        if choice is not None and choice.get("type") in ("any", "tool"):
            return "thought is refused while a tool call is forced"
        if think.by_budget and _lacks_thought(turns):
            return "the history of this turn lacks its thought, which the service demands"
        if think.by_budget and turns[-1].role == "assistant":
            return "thought is refused with a prefilled answer"
        return None

    def _wanted_thought(self, limit: int | None) -> _Think:
        config = self._request.reasoning
        if config is None:
            return _Think()
        style = self._profile.reasoning
        if style == "none":
            if config.mode != "off" and not _has_mark(config.native, _EFFORT_ONLY):
                self._losses.add("reasoning", "the model does not think")
            return _Think()
        unsized = config.effort is None and config.budget_tokens in (None, -1)
        if unsized and (style == "budget" or (config.mode == "on" and not self._official)):
            # "high" is what the service takes adaptive thinking without an effort to mean.
            config = replace(config, effort="high", budget_tokens=None)
        wish = resolve(config, self._profile, limit)
        if wish is None:
            return _Think()
        if wish.off:
            effort = config.effort if self._own and config.effort != "none" else None
            return _Think({"type": "disabled"}, effort)
        if config.mode == "off" or config.effort == "none" or config.budget_tokens == 0:
            self._losses.add("reasoning", "the model cannot be kept from thinking")
        return self._form(config, wish, limit)

    def _form(self, config: ReasoningConfig, wish: Thinking, limit: int | None) -> _Think:
        effort = self._effort(wish.effort)
        if config.native is not None and config.native.dialect == NAME:
            raw = config.native.fields.get(_THINKING)
            if isinstance(raw, dict):
                return _Think(dict(raw), effort)
        style = self._profile.reasoning
        if _has_mark(config.native, _EFFORT_ONLY) and (style != "budget" or self._profile.efforts):
            return _Think(None, effort)
        sized = config.budget_tokens is not None and config.budget_tokens >= 0
        if style == "adaptive":
            adaptive = True
        elif style == "budget":
            adaptive = False
        else:
            adaptive = config.mode == "adaptive" or not (sized or not self._official)
        if adaptive:
            said = config.effort is not None or style == "adaptive"
            return _Think(self._shown({"type": "adaptive"}, config), effort if said else None)
        budget = self._budget(config, wish, limit, sized)
        if budget is None:
            return _Think()
        explicit = self._own and config.effort is not None and sized
        if explicit and style == "budget" and not self._profile.efforts:
            self._losses.add("reasoning.effort", "the model takes a budget only")
            explicit = False
        thinking: JsonObject = {"type": "enabled", "budget_tokens": budget}
        return _Think(self._shown(thinking, config), effort if explicit else None)

    def _effort(self, effort: Effort | None) -> str | None:
        if effort is None:
            return None
        return nearest_effort(effort, self._profile.efforts or _WIRE_EFFORTS)

    def _budget(
        self, config: ReasoningConfig, wish: Thinking, limit: int | None, sized: bool
    ) -> int | None:
        budget = wish.budget_tokens
        if budget is None or budget < 0:
            budget = budget_of("high")
        if limit is not None:
            # A budget that an effort stands for leaves a quarter to the answer itself.
            budget = min(budget, limit - 1 if sized else limit - max(limit // 4, 1))
        if self._profile.budget_max is not None:
            budget = min(budget, self._profile.budget_max)
        budget = max(budget, self._profile.budget_min or 0, MIN_BUDGET)
        if limit is not None and budget >= limit:
            self._losses.add("reasoning", "max_tokens leaves no room for thought")
            return None
        return budget

    def _shown(self, thinking: JsonObject, config: ReasoningConfig) -> JsonObject:
        if config.native is not None and config.native.dialect == NAME:
            thinking.update(own_fields(config.native))
        elif config.visible is not None and self._official:
            thinking["display"] = "summarized" if config.visible else "omitted"
        return thinking

    # the rest of the top level

    def _sampling(self, body: JsonObject, think: _Think) -> None:
        request, profile, losses = self._request, self._profile, self._losses
        values = {"temperature": request.temperature, "top_p": request.top_p}
        temperature = request.temperature
        if temperature is not None and temperature > 1:
            values["temperature"] = 1
            losses.add("temperature", "lowered to 1, the highest here")
        refused: dict[str, str] = {}
        if not profile.sampling:
            refused = dict.fromkeys(("temperature", "top_p", "top_k"), "refused by this model")
        elif think.on:
            reason = "refused while the model thinks"
            refused["top_k"] = reason
            if values["temperature"] != 1:
                refused["temperature"] = reason
            if request.top_p is not None and request.top_p < MIN_TOP_P_THINKING:
                refused["top_p"] = reason
        for key, value in (*values.items(), ("top_k", request.top_k)):
            if value is None:
                continue
            if key in refused:
                losses.add(key, refused[key])
            elif key == "top_p" and profile.temperature_or_top_p and "temperature" in body:
                losses.add("top_p", "not taken together with temperature")
            else:
                body[key] = value
        self._stop(body)

    def _stop(self, body: JsonObject) -> None:
        stop = self._request.stop
        if stop and not self._profile.stop:
            self._losses.add("stop", "refused by this model")
            return
        kept = [word for word in stop if word.strip()]
        if len(kept) < len(stop):
            self._losses.add("stop", "blank stop sequences are refused")
        if kept:
            body["stop_sequences"] = list(kept)

    def _config(self, body: JsonObject, form: JsonObject | None, think: _Think) -> None:
        native = own_fields(self._request.native).get("output_config")
        config = dict(native) if isinstance(native, dict) else {}
        if think.effort is not None:
            config["effort"] = think.effort
        if form is not None:
            config.setdefault("format", form)
        if config:
            body["output_config"] = config
        tier = self._request.service_tier
        if self._own or tier == "auto":
            if tier is not None:
                body["service_tier"] = tier
        elif tier == "default":  # OpenAI's word for the standard tier
            body["service_tier"] = "standard_only"
        elif tier is not None:
            self._losses.add("service_tier", "not known to this dialect")

    def _natives(self, body: JsonObject) -> None:
        request = self._request
        if not self._own:
            if request.user is not None:
                self._losses.add("user", "an identity that is not for this vendor")
            fields = {} if request.native is None else request.native.fields
            for key in fields:
                if key[:1] not in ("@", "$"):
                    self._losses.add(f"native.{key}", "not known to this dialect")
            return
        for key, value in own_fields(request.native).items():
            if key not in (BILLING_KEY, "output_config", "metadata"):
                body[key] = value
        native = own_fields(request.native)
        metadata = native.get("metadata")
        if request.user is not None:
            body["metadata"] = {
                "user_id": request.user,
                **(metadata if isinstance(metadata, dict) else {}),
            }
        elif "metadata" in native:
            body["metadata"] = metadata

    def _foreign_knobs(self) -> None:
        request = self._request
        asked: dict[str, object] = {
            "frequency_penalty": request.frequency_penalty,
            "presence_penalty": request.presence_penalty,
            "seed": request.seed,
            "logprobs": request.logprobs or None,
            "top_logprobs": request.top_logprobs,
            "choices": request.choices if request.choices != 1 else None,
            "verbosity": request.verbosity,
            "cache_key": request.cache_key,
            "metadata": request.metadata,
            "store": request.store or None,
        }
        for key, value in asked.items():
            if value is not None:
                self._losses.add(key, "not known to this dialect")

    def _limit_marks(self, body: JsonObject) -> None:
        """Leave at most four cache marks: the first, which is stablest, and the last ones."""
        marked = list(_marked_blocks(body))
        allowed = MAX_CACHE_MARKS - ("cache_control" in body)
        for block in marked[1 : len(marked) - allowed + 1] if len(marked) > allowed else ():
            del block["cache_control"]
            self._losses.add("cache", "more than four cache marks are refused")


# --- small pieces of the encoder -----------------------------------------------------------------


def parse_arguments(arguments: str) -> JsonObject | None:
    """Return a call's arguments as an object, or None when they are no JSON object."""
    if not arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return value if isinstance(value, dict) else None


def _render_turn(turn: _Turn) -> Json:
    content: Json = list(turn.blocks)
    if len(turn.blocks) == 1 and not turn.listed:
        text = _plain_text(turn.blocks[0])
        content = content if text is None else text
    return {"role": turn.role, "content": content, **turn.extras}


def _plain_text(block: Json) -> str | None:
    """Return the text of a block that says nothing more."""
    if isinstance(block, dict) and len(block) == 2 and block.get("type") == "text":
        text = block.get("text")
        return text if isinstance(text, str) else None
    return None


def _join(turn: _Turn, blocks: list[JsonObject], *, results_first: bool) -> None:
    """Add blocks to a turn; tool results must come before anything else in theirs."""
    if not results_first:
        turn.blocks.extend(blocks)
        return
    mixed = turn.blocks + blocks
    turn.blocks = [b for b in mixed if b.get("type") == "tool_result"]
    turn.blocks += [b for b in mixed if b.get("type") != "tool_result"]


def _lacks_thought(turns: list[_Turn]) -> bool:
    """Say whether the tool turn in progress began without thought.

    The service wants the assistant's part of the current turn (everything since the last user
    message that holds no tool results) to begin with a thinking block while thinking is enabled.
    """
    first: _Turn | None = None
    for turn in reversed(turns):
        if turn.role == "assistant":
            first = turn
        elif turn.role == "user" and not any(b.get("type") == "tool_result" for b in turn.blocks):
            break
    if first is None or not any(b.get("type") == "tool_use" for b in first.blocks):
        return False
    return first.blocks[0].get("type") not in ("thinking", "redacted_thinking")


def _words(tool: Mapping[str, Json]) -> set[str]:
    """Return the words by which a choice may name a server tool: its name and its type."""
    return {word for key in ("name", "type") if isinstance(word := tool.get(key), str)}


def _web_search(body: Mapping[str, Json]) -> JsonObject:
    """Return the search tool with the place and domains that the client set, where it did."""
    tool: JsonObject = {"type": "web_search_20250305", "name": "web_search"}
    place = body.get("user_location")
    if isinstance(place, dict):
        known = ("city", "region", "country", "timezone")
        spot: JsonObject = {key: place[key] for key in known if isinstance(place.get(key), str)}
        if spot:
            tool["user_location"] = {"type": "approximate", **spot}
    filters = body.get("filters")
    if isinstance(filters, dict):
        domains = filters.get("allowed_domains")
        if domains and isinstance(domains, list):
            tool["allowed_domains"] = domains
    return tool


def _foreign_block(dialect: str, body: Mapping[str, Json]) -> str:
    kind = body.get("type")
    name = f"A {kind!r} block" if isinstance(kind, str) else "A block"
    return f"{name} of the {dialect} dialect has no counterpart here."


_MAGIC = {
    "/9j/": "image/jpeg",
    "iVBORw0KGgo": "image/png",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi0": "application/pdf",
}


def _sniff(data: str) -> str:
    return next((kind for start, kind in _MAGIC.items() if data.startswith(start)), "")


def _is_textual(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in ("application/json", "application/xml")


def _decode_base64(data: str, path: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise TranslationError("The document is not base64 of UTF-8 text.", path) from error


def object_schema(schema: JsonObject | None) -> JsonObject:
    """Return a tool's schema as the service takes it: ``type`` must be ``object``."""
    if not schema:
        return {"type": "object", "properties": {}}
    if isinstance(schema.get("type"), str) and schema["type"] != str(schema["type"]).lower():
        lowered = _lower_types(schema)
        schema = lowered if isinstance(lowered, dict) else schema
    if schema.get("type") == "object" and schema.get("properties", {}) is not None:
        return schema
    fixed: JsonObject = {**schema, "type": "object"}
    if fixed.get("properties") is None:
        fixed["properties"] = {}
    return fixed


def _lower_types(value: Json) -> Json:
    if isinstance(value, list):
        return [_lower_types(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item.lower() if key == "type" and isinstance(item, str) else _lower_types(item)
        for key, item in value.items()
    }


_FORMATS = (
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
)
_SCHEMA_KEYS = frozenset(("type", "enum", "const", "$ref", "title", "description", "required"))


def plain_schema(schema: JsonObject, told: list[str]) -> JsonObject:
    """Return an output schema within what the service enforces.

    Objects are closed, ``oneOf`` becomes ``anyOf``, and constraints outside its grammar move into
    the description, where the model still reads them. Source: the official SDK's
    ``transform_schema`` (2.12).

    Args:
        schema: the client's schema.
        told: collects the names of the moved constraints.
    """
    plain: JsonObject = {}
    moved: JsonObject = {}
    for key, value in schema.items():
        if key in _SCHEMA_KEYS:
            plain[key] = value
        elif key in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            name = "anyOf" if key == "oneOf" else key
            plain[name] = [_plain_item(item, told) for item in value]
        elif key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            plain[key] = {name: _plain_item(item, told) for name, item in value.items()}
        elif key == "items":
            plain[key] = _plain_item(value, told)
        elif (key == "format" and value in _FORMATS) or (key == "minItems" and value in (0, 1)):
            plain[key] = value
        elif key not in ("additionalProperties", "$schema", "$id"):
            moved[key] = value
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in plain:
        plain["additionalProperties"] = False
    if moved:
        told.extend(moved)
        note = dump(moved).decode()
        before = plain.get("description")
        plain["description"] = f"{before}\n\n{note}" if isinstance(before, str) else note
    return plain


def _plain_item(item: Json, told: list[str]) -> Json:
    return plain_schema(item, told) if isinstance(item, dict) else item


def _marked_blocks(body: JsonObject) -> Iterable[JsonObject]:
    """Yield the blocks with a cache mark in prompt order: tools, system, messages."""
    for key in ("tools", "system", "messages"):
        items = body.get(key)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                yield from _marked_in(item)


def _marked_in(item: JsonObject) -> Iterable[JsonObject]:
    content = item.get("content")
    for inner in content if isinstance(content, list) else ():
        if isinstance(inner, dict):
            yield from _marked_in(inner)
    if item.get("cache_control") is not None:
        yield item
