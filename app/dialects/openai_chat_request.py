"""Chat Completions requests: wire to canon.

Source: https://platform.openai.com/docs/api-reference/chat/create and the types of the official
SDK; ``reasoning``, ``cache_control``, ``top_k`` and ``reasoning_details`` as OpenRouter defines
them. ``functions``, ``function_call`` and messages of role ``function`` are the form before tools;
they are read as tools, and such a client is answered in its own form.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from app.canonical.parts import (
    Json,
    JsonObject,
    Native,
    Opaque,
    Part,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.reasoning import EFFORTS
from app.canonical.request import ChatRequest, Effort, Message, OutputFormat, ReasoningConfig, Role
from app.dialects.base import dump
from app.dialects.openai_chat_parts import decode_cache, decode_call, decode_part
from app.dialects.openai_chat_thought import consumed, decode_thought
from app.dialects.openai_chat_tools import decode_choice, decode_tools
from app.dialects.openai_chat_values import (
    ISSUER,
    NAME,
    get_flag,
    get_int,
    native_of,
    required_text,
    rest_of,
)
from app.dialects.values import need_list, need_object, opt_number, opt_text, wrong
from app.errors import RequestError

__all__ = ["decode_chat_request", "stand_in_id"]

_KNOWN = frozenset(
    (
        "model",
        "messages",
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "parallel_tool_calls",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "logprobs",
        "top_logprobs",
        "n",
        "reasoning_effort",
        "reasoning",
        "response_format",
        "verbosity",
        "stream",
        "stream_options",
        "prompt_cache_key",
        "user",
        "service_tier",
        "metadata",
        "store",
        "web_search_options",
    )
)


def decode_chat_request(body: JsonObject) -> ChatRequest:
    """Decode a request body.

    Raises:
        RequestError: the body does not follow the dialect; ``param`` says where.
    """
    fields = rest_of(body, _KNOWN)
    form: JsonObject = {}
    max_tokens = get_int(body, "max_completion_tokens")
    if max_tokens is None:
        max_tokens = get_int(body, "max_tokens")
    tools = decode_tools(body, form)
    return ChatRequest(
        model=required_text(body, "model", ""),
        messages=_decode_messages(body),
        tools=tools,
        tool_choice=decode_choice(body, form),
        parallel_tools=False if "functions" in form else get_flag(body, "parallel_tool_calls"),
        max_tokens=max_tokens,
        stop=_decode_stop(body, form),
        temperature=opt_number(body, "temperature"),
        top_p=opt_number(body, "top_p"),
        # Stays in native, too: only servers whose clients send it know it.
        top_k=get_int(body, "top_k"),
        frequency_penalty=opt_number(body, "frequency_penalty"),
        presence_penalty=opt_number(body, "presence_penalty"),
        seed=get_int(body, "seed"),
        logprobs=get_flag(body, "logprobs"),
        top_logprobs=get_int(body, "top_logprobs"),
        choices=_decode_count(body),
        reasoning=_decode_reasoning(body, fields),
        output=_decode_output(body, fields),
        verbosity=opt_text(body, "verbosity"),
        stream=get_flag(body, "stream") is True,
        include_usage=_decode_stream_options(body, fields),
        cache_key=opt_text(body, "prompt_cache_key"),
        user=_decode_user(body, fields, form),
        service_tier=opt_text(body, "service_tier"),
        metadata=_decode_metadata(body, fields),
        store=get_flag(body, "store"),
        # Never None: encoders tell by it that the request came from this dialect.
        native=native_of(fields, form or None) or Native(NAME, {}),
    )


# Settings


def _decode_count(body: JsonObject) -> int:
    count = get_int(body, "n")
    if count is None:
        return 1
    if count < 1:
        raise RequestError("n must be at least 1.", param="n")
    return count


def _decode_stop(body: JsonObject, form: JsonObject) -> tuple[str, ...]:
    value = body.get("stop")
    if value is None:
        return ()
    if isinstance(value, str):
        form["stop"] = "text"
        return (value,)
    stops = need_list(value, "stop")
    for index, stop in enumerate(stops):
        if not isinstance(stop, str):
            raise wrong(f"stop[{index}]", "a string", stop)
    return tuple(str(stop) for stop in stops)


def _decode_user(body: JsonObject, fields: JsonObject, form: JsonObject) -> str | None:
    user = opt_text(body, "user")
    if user is None:
        user = opt_text(body, "safety_identifier")
        if user is not None:
            del fields["safety_identifier"]
            form["user"] = "safety_identifier"
    return user


def _decode_metadata(body: JsonObject, fields: JsonObject) -> dict[str, str] | None:
    value = body.get("metadata")
    if value is None:
        return None
    metadata = need_object(value, "metadata")
    texts = {key: item for key, item in metadata.items() if isinstance(item, str)}
    if len(texts) < len(metadata):
        fields["metadata"] = metadata
        return None
    return texts


def _decode_stream_options(body: JsonObject, fields: JsonObject) -> bool:
    value = body.get("stream_options")
    if value is None:
        return False
    options = need_object(value, "stream_options")
    others = rest_of(options, frozenset(("include_usage",)))
    if others:
        fields["stream_options"] = others
    return get_flag(options, "include_usage", "stream_options") is True


def _decode_output(body: JsonObject, fields: JsonObject) -> OutputFormat | None:
    value = body.get("response_format")
    if value is None:
        return None
    output = need_object(value, "response_format")
    kind = required_text(output, "type", "response_format")
    if kind == "text":
        return OutputFormat("text")
    if kind == "json_object":
        others = rest_of(output, frozenset(("type",)))
        if not others:
            return OutputFormat("json_object")
        # Together's and llama.cpp's way to give a schema.
        fields["response_format"] = others
        schema = output.get("schema")
        return OutputFormat("json_object", schema if isinstance(schema, dict) else None)
    if kind != "json_schema":
        fields["response_format"] = output
        return None
    place = "response_format.json_schema"
    inner = need_object(output.get("json_schema"), place)
    schema = inner.get("schema")
    others = rest_of(inner, frozenset(("name", "schema", "strict", "description")))
    outer = rest_of(output, frozenset(("type", "json_schema")))
    if others:
        outer["json_schema"] = others
    if outer:
        fields["response_format"] = outer
    return OutputFormat(
        "json_schema",
        None if schema is None else need_object(schema, f"{place}.schema"),
        opt_text(inner, "name", place),
        get_flag(inner, "strict", place),
        opt_text(inner, "description", place),
    )


def _effort(value: str | None) -> Effort | None:
    return next((effort for effort in EFFORTS if effort == value), None)


def _decode_reasoning(body: JsonObject, fields: JsonObject) -> ReasoningConfig | None:
    word = opt_text(body, "reasoning_effort")
    effort = _effort(word)
    if word is not None and effort is None:
        fields["reasoning_effort"] = word
    value = body.get("reasoning")
    if value is None:
        if effort is None:
            return None
        return ReasoningConfig("off" if effort == "none" else "on", effort)
    wish = need_object(value, "reasoning")
    inner = _effort(opt_text(wish, "effort", "reasoning")) or effort
    enabled = get_flag(wish, "enabled", "reasoning")
    excluded = get_flag(wish, "exclude", "reasoning")
    off = enabled is False or inner == "none"
    native: JsonObject = {"reasoning": wish}
    if effort is not None:
        native["reasoning_effort"] = effort
    return ReasoningConfig(
        "off" if off else "on",
        inner,
        get_int(wish, "max_tokens", "reasoning"),
        None if excluded is None else not excluded,
        native_of(native),
    )


# Messages


def stand_in_id(*place: object) -> str:
    """Return a call id made of where the call stands; the same place gives the same id."""
    text = "\0".join(map(str, place))
    return f"call_{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:24]}"


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    kind: str


class _Links:
    """Joins calls and results.

    Some servers number their calls anew in each turn or give parallel calls one id: here every
    call of the conversation gets an id of its own, and results find theirs in order.
    """

    __slots__ = ("_by_id", "_counts", "_last", "_open", "_taken")

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}
        self._by_id: dict[str, deque[_Call]] = {}
        self._last: dict[str, _Call] = {}
        self._open: dict[str, _Call] = {}

    def start_turn(self) -> None:
        self._by_id.clear()
        self._open.clear()

    def add(self, call: ToolCall, *place: object) -> ToolCall:
        wire_id = call.id or stand_in_id(*place, call.name)
        own_id = wire_id
        while own_id in self._taken:
            self._counts[wire_id] = self._counts.get(wire_id, 1) + 1
            own_id = f"{wire_id}_{self._counts[wire_id]}"
        self._taken.add(own_id)
        link = _Call(own_id, call.name, call.kind)
        self._by_id.setdefault(wire_id, deque()).append(link)
        self._last[wire_id] = link
        self._open[own_id] = link
        return call if call.id == own_id else replace(call, id=own_id)

    def answer(self, wire_id: str | None, name: str | None) -> _Call | None:
        if wire_id:
            waiting = self._by_id.get(wire_id)
            link = waiting.popleft() if waiting else self._last.get(wire_id)
            link = link or _Call(wire_id, name or "", "function")
        else:
            link = next((c for c in self._open.values() if name is None or c.name == name), None)
            if link is None:
                return None
        self._open.pop(link.id, None)
        return link


def _decode_messages(body: JsonObject) -> tuple[Message, ...]:
    if "messages" not in body:
        raise RequestError("messages is missing.", param="messages")
    values = need_list(body["messages"], "messages")
    if not values:
        raise RequestError("messages must hold at least one message.", param="messages")
    links = _Links()
    messages: list[Message] = []
    for index, value in enumerate(values):
        place = f"messages[{index}]"
        message = need_object(value, place)
        role = message.get("role")
        match role:
            case "user" | "system" | "developer":
                messages.append(_decode_plain(message, role, place))
            case "assistant":
                messages.append(_decode_assistant(message, index, place, links))
            case "tool" | "function":
                result = _decode_result(message, role, place, links)
                if messages and messages[-1].role == "tool":
                    before = messages[-1]
                    messages[-1] = replace(before, parts=(*before.parts, result))
                else:
                    messages.append(Message("tool", (result,)))
            case _:
                raise RequestError(
                    f"{place}.role must be system, developer, user, assistant or tool.",
                    param=f"{place}.role",
                )
    return tuple(messages)


def _decode_content(message: JsonObject, place: str) -> tuple[tuple[Part, ...], Json]:
    """Return the parts of ``content`` and the form to remember."""
    content = message.get("content")
    match content:
        case None:
            return (), None
        case str():
            return ((Text(content),) if content else ()), None
        case list():
            where = f"{place}.content"
            parts = tuple(decode_part(v, f"{where}[{i}]") for i, v in enumerate(content))
            texts = all(isinstance(part, Text | Refusal) for part in parts)
            return parts, "list" if texts else None
        case _:
            raise wrong(f"{place}.content", "a string or a list of parts", content)


def _mark_last(parts: tuple[Part, ...], message: JsonObject) -> tuple[Part, ...]:
    # LiteLLM takes a cache mark beside a string content.
    cache = decode_cache(message)
    if cache is not None and parts and isinstance(parts[-1], Text):
        return (*parts[:-1], replace(parts[-1], cache=cache))
    return parts


_PLAIN_KEYS = frozenset(("role", "content", "name"))


def _decode_plain(message: JsonObject, role: Role, place: str) -> Message:
    parts, form = _decode_content(message, place)
    native = native_of(rest_of(message, _PLAIN_KEYS), form)
    return Message(role, _mark_last(parts, message), opt_text(message, "name", place), native)


_ASSISTANT_KEYS = frozenset(
    ("role", "content", "name", "refusal", "tool_calls", "function_call", "audio")
)


def _decode_assistant(message: JsonObject, index: int, place: str, links: _Links) -> Message:
    content, form = _decode_content(message, place)
    if form is None and not content:
        form = "empty" if message.get("content") == "" else None
        if "content" not in message:
            form = "absent"
    thought, text_signature = decode_thought(message, ISSUER)
    if text_signature is not None:
        content = tuple(
            replace(p, signature=text_signature) if isinstance(p, Text) and i == 0 else p
            for i, p in enumerate(content)
        )
    parts: list[Part] = [*thought, *_mark_last(content, message)]
    refusal = opt_text(message, "refusal", place)
    if refusal:
        parts.append(Refusal(refusal))
    audio = message.get("audio")
    if audio is not None:
        parts.append(Opaque(NAME, {"audio": need_object(audio, f"{place}.audio")}))
    links.start_turn()
    parts.extend(_decode_calls(message, index, place, links))
    fields = rest_of(message, _ASSISTANT_KEYS | consumed(message))
    return Message(
        "assistant", tuple(parts), opt_text(message, "name", place), native_of(fields, form)
    )


def _decode_calls(message: JsonObject, index: int, place: str, links: _Links) -> Iterable[Part]:
    calls = message.get("tool_calls")
    if calls is not None:
        for number, value in enumerate(need_list(calls, f"{place}.tool_calls")):
            call = decode_call(value, f"{place}.tool_calls[{number}]", None)
            yield links.add(call, index, number)
    legacy = message.get("function_call")
    if legacy is not None:
        function: Any = {"function": need_object(legacy, f"{place}.function_call")}
        yield links.add(decode_call(function, f"{place}.function_call", None), index, "function")


_RESULT_KEYS = frozenset(("role", "content", "tool_call_id"))


def _decode_result(message: JsonObject, role: str, place: str, links: _Links) -> ToolResult:
    name = opt_text(message, "name", place)
    call_id = opt_text(message, "tool_call_id", place)
    link = links.answer(call_id, name)
    if link is None:
        key = "tool_call_id" if role == "tool" else "name"
        raise RequestError(f"{place}.{key} names no call before it.", param=f"{place}.{key}")
    content = message.get("content")
    if isinstance(content, dict):
        # Not allowed, but met; the model is to see it as it is.
        message = {**message, "content": dump(content).decode()}
    parts, form = _decode_content(message, place)
    if form is None and isinstance(content, list):
        form = "parts"
    return ToolResult(
        link.id,
        parts,
        name=name,
        kind="custom" if link.kind == "custom" else "function",
        cache=decode_cache(message),
        native=native_of(rest_of(message, _RESULT_KEYS), form),
    )
