"""Anthropic Messages requests, wire to canon.

Sources: https://platform.claude.com/docs/en/api/messages and the types of the official Python SDK
2.12 (``anthropic.types``, read 2026-11).
"""

from __future__ import annotations

from typing import Literal

from app.canonical.parts import Json, JsonObject, Native, Part, Text, ToolResult
from app.canonical.reasoning import EFFORTS
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
from app.dialects.anthropic_blocks import cache_of, decode_blocks, decode_text, note_list
from app.dialects.anthropic_values import (
    BILLING,
    BILLING_KEY,
    EFFORT_ONLY,
    JOIN,
    NAME,
    THINKING,
    native_of,
)
from app.dialects.base import Peek
from app.dialects.values import (
    kind_of,
    need_list,
    need_object,
    need_text,
    opt_count,
    opt_flag,
    opt_number,
    opt_object,
    opt_text,
    rest_of,
    wrong,
)
from app.errors import RequestError

__all__ = [
    "decode_request",
]


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
    stream = opt_flag(body, "stream")
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
        max_tokens=opt_count(body, "max_tokens"),
        stop=_decode_stop(body.get("stop_sequences")),
        temperature=opt_number(body, "temperature"),
        top_p=opt_number(body, "top_p"),
        top_k=opt_count(body, "top_k"),
        reasoning=reasoning,
        output=output,
        stream=bool(stream) and peek.operation == "generate",
        user=_decode_user(body, fields),
        service_tier=opt_text(body, "service_tier"),
        native=Native(NAME, fields),
    )


def _decode_stop(raw: Json) -> tuple[str, ...]:
    items = [] if raw is None else need_list(raw, "stop_sequences")
    return tuple(need_text(item, f"stop_sequences[{i}]") for i, item in enumerate(items))


def _decode_user(body: JsonObject, fields: JsonObject) -> str | None:
    metadata = opt_object(body, "metadata")
    if metadata is None:
        return None
    user = opt_text(metadata, "user_id", "metadata")
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
        raise wrong("system", "a string or a list of text blocks", raw)
    parts: list[Part] = []
    billing: list[Json] = []
    for index, item in enumerate(raw):
        path = f"system[{index}]"
        block = need_object(item, path)
        if block.get("type") != "text":
            raise RequestError(f"{path} must be a text block.", param=path)
        text = decode_text(block, path)
        if text.text.startswith(BILLING):
            billing.append(block)
        else:
            parts.append(text)
    if billing:
        fields[BILLING_KEY] = billing
        return tuple(parts)
    return note_list(tuple(parts))


def _decode_message(raw: Json, path: str) -> list[Message]:
    body = need_object(raw, path)
    role = body.get("role")
    if role not in ("user", "assistant", "system"):
        shown = f"{role!r}" if isinstance(role, str) else kind_of(role)
        raise RequestError(
            f"{path}.role must be 'user', 'assistant' or 'system', not {shown}.",
            param=f"{path}.role",
        )
    place: Literal["user", "assistant", "system"] = (
        "user" if role == "user" else "assistant" if role == "assistant" else "system"
    )
    native = native_of(rest_of(body, _MESSAGE_KEYS))
    content = body.get("content")
    if isinstance(content, str):
        return [Message(place, (Text(content),) if content else (), native=native)]
    if not isinstance(content, list):
        raise wrong(f"{path}.content", "a string or a list of content blocks", content)
    parts = note_list(tuple(decode_blocks(content, f"{path}.content", str(role))))
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
        native = Native(NAME, {JOIN: True})
        start = index
    return messages or [Message("user", (), native=native)]


def _decode_tool(raw: Json, path: str) -> Tool | ServerTool:
    body = need_object(raw, path)
    kind = opt_text(body, "type", path)
    if kind is not None and kind != "custom":
        purpose = next((word for start, word in _PURPOSES.items() if kind.startswith(start)), None)
        return ServerTool(NAME, body, purpose)
    extras = rest_of(body, _TOOL_KEYS)
    cache = cache_of(body, path, extras)
    return Tool(
        need_text(body.get("name"), f"{path}.name"),
        description=opt_text(body, "description", path),
        schema=opt_object(body, "input_schema", path),
        strict=opt_flag(body, "strict", path),
        cache=cache,
        native=native_of(extras),
    )


_CHOICES: dict[Json, Literal["auto", "none", "required"]] = {
    "auto": "auto",
    "none": "none",
    "any": "required",
    "tool": "required",
}


def _decode_choice(body: JsonObject) -> tuple[ToolChoice | None, bool | None]:
    raw = opt_object(body, "tool_choice")
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
    disabled = opt_flag(raw, "disable_parallel_tool_use", "tool_choice")
    native = native_of(rest_of(raw, frozenset(known)))
    return ToolChoice(mode, names, native), None if disabled is None else not disabled


def _decode_config(
    body: JsonObject, fields: JsonObject
) -> tuple[ReasoningConfig | None, OutputFormat | None]:
    config = opt_object(body, "output_config") or {}
    rest = rest_of(config, frozenset({"effort", "format"}))
    word = opt_text(config, "effort", "output_config")
    effort: Effort | None = next((known for known in EFFORTS if known == word), None)
    if word is not None and effort is None:
        rest["effort"] = word
    place = "output_config.format"
    form = opt_object(config, "format", "output_config")
    if form is None:  # the beta's older spelling, still sent by LiteLLM (observed 2026-11)
        place = "output_format"
        form = opt_object(body, "output_format")
    output: OutputFormat | None = None
    if form is not None:
        if form.get("type") == "json_schema":
            output = OutputFormat("json_schema", opt_object(form, "schema", place))
        if output is None or form.keys() - {"type", "schema"}:
            rest["format"] = form
    if rest:
        fields["output_config"] = rest
    return _decode_thinking(body, effort), output


def _decode_thinking(body: JsonObject, effort: Effort | None) -> ReasoningConfig | None:
    raw = opt_object(body, "thinking")
    if raw is None:
        if effort is None:
            return None
        return ReasoningConfig("on", effort, native=Native(NAME, {EFFORT_ONLY: True}))
    kind = need_text(raw.get("type"), "thinking.type")
    if kind == "disabled":
        return ReasoningConfig("off", effort)
    if kind not in ("enabled", "adaptive"):
        return ReasoningConfig("adaptive", effort, native=Native(NAME, {THINKING: raw}))
    budget = opt_count(raw, "budget_tokens", "thinking")
    extras = rest_of(raw, frozenset({"type", "budget_tokens"}))
    display = opt_text(raw, "display", "thinking")
    return ReasoningConfig(
        "on" if kind == "enabled" else "adaptive",
        effort,
        budget,
        None if display is None else display != "omitted",
        native_of(extras),
    )
