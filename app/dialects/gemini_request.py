"""A Gemini client's request to canon.

What the canon does not name stays in ``native``: top-level fields as they are, what is left of
``generationConfig``, ``toolConfig`` and ``systemInstruction`` under those names, the fields of a
content in its message. Every message that came from this dialect has a ``native``, be it empty,
so that the encoder can tell turns that stood apart from turns that it may merge. Two keys there
are not the wire's: ``role`` None says that the client named none, and ``_continues`` that the
message is the rest of the content before it (a content may hold results and words; the canon
keeps them apart).

Calls without an id get ``call_g1``, ``call_g2`` … by their position in the conversation; a
result without one belongs to the first open call of its name.

Source: https://ai.google.dev/api/generate-content (read November 2026) and the types of
google-genai 3.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from app.canonical.parts import (
    Json,
    JsonObject,
    Native,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.request import (
    ChatRequest,
    Effort,
    Message,
    OutputFormat,
    ReasoningConfig,
    Role,
    ServerTool,
    Tool,
    ToolChoice,
)
from app.dialects.base import Peek
from app.dialects.gemini_parts import (
    DIALECT,
    ISSUER,
    decode_part,
    fields,
    integer,
    native_of,
    number,
    own_fields,
    unseal,
)
from app.dialects.gemini_schema import from_openapi
from app.dialects.values import need_flag, need_list, need_text, wrong
from app.errors import RequestError

__all__ = ["MADE_UP_ID", "decode_request"]

MADE_UP_ID = re.compile(r"call_g\d+(?:_\d+)?")
"""Ids that ``decode_request`` gave to calls which had none."""

_ROLES: dict[str, Role] = {
    "user": "user",
    "model": "assistant",
    "assistant": "assistant",  # not the dialect's word, but unambiguous
    "function": "tool",
    "system": "system",
}
_USUAL_ROLE: dict[Role, str] = {
    "user": "user",
    "assistant": "model",
    "tool": "user",
    "system": "system",
    "developer": "system",
}
_PRIVATE = ("model", "session_id", "sessionId")
"""The path names the model; the session ids of some clients are routing hints that Google refuses."""


def decode_request(body: JsonObject, peek: Peek) -> ChatRequest:
    """Wire to canon; the bodies of ``countTokens`` in either form, too.

    Raises:
        RequestError: the body does not follow the dialect.
    """
    top = fields(body, "body")
    if peek.operation == "count_tokens" and "generateContentRequest" in top:
        top = fields(top["generateContentRequest"], "generateContentRequest")
    for key in _PRIVATE:
        top.pop(key, None)
    native: JsonObject = {}
    system = _decode_system(top.pop("systemInstruction", None), native)
    messages = _Conversation().decode(top.pop("contents", []))
    tools = _decode_tools(top.pop("tools", []))
    choice = _decode_choice(top.pop("toolConfig", None), native)
    tier = top.pop("serviceTier", None)
    request = ChatRequest(
        model=peek.model,
        messages=messages,
        system=system,
        tools=tools,
        tool_choice=choice,
        service_tier=None if tier is None else need_text(tier, "serviceTier"),
        stream=peek.stream,
    )
    if "generationConfig" in top:
        config = fields(top.pop("generationConfig"), "generationConfig")
        request = _decode_config(request, config)
        if config:
            native["generationConfig"] = config
    native.update(top)
    return replace(request, native=Native(DIALECT, native))


def _decode_system(value: Json, native: JsonObject) -> tuple[Part, ...]:
    path = "systemInstruction"
    if value is None:
        return ()
    if isinstance(value, dict) and "parts" in value:
        content = fields(value, path)
        items = need_list(content.pop("parts", []), f"{path}.parts")
        if content:
            native[path] = content
        path = f"{path}.parts"
    elif isinstance(value, list):
        items = value
    elif isinstance(value, str | dict):
        items = [value] if value else []
    else:
        raise wrong(path, "a content, a string or a list of parts", value)
    parts: list[Part] = []
    for number_, item in enumerate(items):
        if isinstance(item, str):
            parts.append(Text(item))
        else:
            parts.extend(decode_part(item, f"{path}[{number_}]", unseal))
    return tuple(parts)


class _Conversation:
    """Turns contents into messages and links results to calls."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._taken: set[str] = set()
        self._calls = 0
        self._open: list[tuple[str, str]] = []
        """Name and id of the calls that have no result yet."""
        self._answered = False
        self._sealed = False

    def decode(self, value: Json) -> tuple[Message, ...]:
        contents = [
            self._read(item, f"contents[{number_}]")
            for number_, item in enumerate(need_list(value, "contents"))
        ]
        for _, parts, _ in contents:
            for part in parts:
                if isinstance(part, ToolCall):
                    self._taken.add(part.id)
        for role, parts, native in contents:
            self._split(role, parts, native)
        if self._sealed:
            _join_thoughts(self._messages)
        return tuple(self._messages)

    def _read(self, value: Json, path: str) -> tuple[Role, list[Part], JsonObject]:
        content = fields(value, path)
        native: JsonObject = {}
        if "role" in content:
            name = need_text(content.pop("role"), f"{path}.role")
            role = _ROLES.get(name)
            if role is None:
                raise RequestError(
                    f"{path}.role must be user or model, not {name!r}.", param=f"{path}.role"
                )
            native["role"] = name
        else:
            role = "user"
            native["role"] = None
        parts: list[Part] = []
        for number_, item in enumerate(need_list(content.pop("parts", []), f"{path}.parts")):
            parts.extend(decode_part(item, f"{path}.parts[{number_}]", unseal))
        native.update(content)
        self._sealed = self._sealed or any(
            isinstance(p, Reasoning) and p.signature and p.signature.issuer != ISSUER for p in parts
        )
        return role, parts, native

    def _split(self, role: Role, parts: list[Part], native: JsonObject) -> None:
        # A content holds results and other parts; a message of the canon one or the other.
        first = True
        for kind, run in _runs(role, parts):
            kept = dict(native) if first else {"_continues": True}
            if kept.get("role") == _USUAL_ROLE[kind]:
                del kept["role"]
            self._messages.append(
                Message(kind, tuple(self._link(part) for part in run), native=Native(DIALECT, kept))
            )
            first = False

    def _link(self, part: Part) -> Part:
        if isinstance(part, ToolCall):
            if self._answered:
                self._open.clear()
                self._answered = False
            self._calls += 1
            if not part.id:
                part = replace(part, id=self._make_id())
            self._open.append((part.name, part.id))
        elif isinstance(part, ToolResult):
            self._answered = True
            part = replace(part, call_id=self._find(part))
        return part

    def _make_id(self) -> str:
        base = f"call_g{self._calls}"
        made, again = base, 1
        while made in self._taken:
            again += 1
            made = f"{base}_{again}"
        self._taken.add(made)
        return made

    def _find(self, result: ToolResult) -> str:
        for number_, (name, call_id) in enumerate(self._open):
            if call_id == result.call_id or (not result.call_id and name == result.name):
                del self._open[number_]
                return call_id
        if result.call_id:
            return result.call_id
        self._calls += 1
        return self._make_id()


def _runs(role: Role, parts: list[Part]) -> Iterator[tuple[Role, list[Part]]]:
    plain: Role = "user" if role == "tool" else role
    run: list[Part] = []
    kind: Role | None = None
    for part in parts:
        this: Role = plain
        if isinstance(part, ToolResult):
            this = "tool"
        elif isinstance(part, ToolCall):
            this = "assistant"
        if kind is not None and this != kind:
            yield kind, run
            run = []
        kind = this
        run.append(part)
    yield kind or plain, run


def _join_thoughts(messages: list[Message]) -> None:
    """Give a sealed signature the thought text that streamed ahead of it.

    A client that keeps the chunks of a stream sends the thought's text in several parts, even in
    several contents, and the signature in a last empty one; its issuer wants them as one block.
    """
    texts: list[tuple[int, int]] = []
    for number_, message in enumerate(messages):
        if message.role != "assistant":
            texts.clear()
            continue
        for place, part in enumerate(message.parts):
            if not isinstance(part, Reasoning):
                texts.clear()
            elif part.signature is None:
                texts.append((number_, place))
            else:
                if part.signature.issuer != ISSUER and texts and not part.redacted:
                    _join(messages, texts, number_, place)
                texts.clear()
    for number_, message in enumerate(messages):
        kept = tuple(part for part in message.parts if part is not _JOINED)
        if len(kept) != len(message.parts):
            messages[number_] = replace(message, parts=kept)
    messages[:] = [m for m in messages if m.parts or m.role != "assistant"]


_JOINED = Reasoning("joined to its successor")


def _join(messages: list[Message], texts: list[tuple[int, int]], number_: int, place: int) -> None:
    pieces: list[str] = []
    for at, index in texts:
        part = messages[at].parts[index]
        pieces.append(part.text if isinstance(part, Reasoning) else "")
        _put(messages, at, index, _JOINED)
    signed = messages[number_].parts[place]
    if isinstance(signed, Reasoning):
        _put(messages, number_, place, replace(signed, text="".join(pieces) + signed.text))


def _put(messages: list[Message], at: int, index: int, part: Part) -> None:
    parts = list(messages[at].parts)
    parts[index] = part
    messages[at] = replace(messages[at], parts=tuple(parts))


_PURPOSES = {
    "googleSearch": "web_search",
    "googleSearchRetrieval": "web_search",
    "enterpriseWebSearch": "web_search",
    "codeExecution": "code_execution",
    "urlContext": "url_context",
}


def _decode_tools(value: Json) -> tuple[Tool | ServerTool, ...]:
    tools: list[Tool | ServerTool] = []
    for number_, item in enumerate(need_list(value, "tools")):
        path = f"tools[{number_}]"
        for key, body in fields(item, path).items():
            if key == "functionDeclarations":
                where = f"{path}.{key}"
                tools.extend(
                    _decode_function(entry, f"{where}[{place}]")
                    for place, entry in enumerate(need_list(body, where))
                )
            else:
                purpose = _PURPOSES.get(key)
                tools.append(ServerTool(DIALECT, {key: body}, purpose))  # type: ignore[arg-type]
    return tuple(tools)


def _decode_function(value: Json, path: str) -> Tool:
    entry = fields(value, path)
    if "name" not in entry:
        raise RequestError(f"{path}.name is missing.", param=f"{path}.name")
    name = need_text(entry.pop("name"), f"{path}.name")
    description = entry.pop("description", None)
    schema: JsonObject | None = None
    if "parametersJsonSchema" in entry:
        declared = entry.pop("parametersJsonSchema")
        if not isinstance(declared, dict):
            raise wrong(f"{path}.parametersJsonSchema", "an object", declared)
        schema = declared
    elif "parameters" in entry:
        # Kept beside the converted form, so that Gemini gets back what the client wrote.
        declared = entry["parameters"]
        if not isinstance(declared, dict):
            raise wrong(f"{path}.parameters", "an object", declared)
        schema = from_openapi(declared)
    return Tool(
        name,
        None if description is None else need_text(description, f"{path}.description"),
        schema,
        native=native_of(entry),
    )


_MODES = {"AUTO": "auto", "ANY": "required", "NONE": "none"}


def _decode_choice(value: Json, native: JsonObject) -> ToolChoice | None:
    if value is None:
        return None
    config = fields(value, "toolConfig")
    calling = config.pop("functionCallingConfig", None)
    if config:
        native["toolConfig"] = config
    if calling is None:
        return None
    path = "toolConfig.functionCallingConfig"
    rest = fields(calling, path)
    names = tuple(
        need_text(name, f"{path}.allowedFunctionNames[{number_}]")
        for number_, name in enumerate(
            need_list(rest.pop("allowedFunctionNames", []), f"{path}.allowedFunctionNames")
        )
    )
    word = need_text(rest["mode"], f"{path}.mode") if "mode" in rest else None
    mode = _MODES.get((word or "").upper())
    if mode is None:
        rest["mode"] = word  # VALIDATED, and whatever comes: automatic for everyone else
    else:
        del rest["mode"]
    return ToolChoice(mode or "auto", names, native_of(rest))  # type: ignore[arg-type]


def _decode_config(request: ChatRequest, config: JsonObject) -> ChatRequest:
    """Take what the canon names out of ``generationConfig``; the rest stays in it."""

    def whole(key: str) -> int | None:
        return integer(config.pop(key), f"generationConfig.{key}") if key in config else None

    def real(key: str) -> float | None:
        return number(config.pop(key), f"generationConfig.{key}") if key in config else None

    stop = need_list(config.pop("stopSequences", []), "generationConfig.stopSequences")
    logprobs = config.pop("responseLogprobs", None)
    choices = whole("candidateCount")
    return replace(
        request,
        max_tokens=whole("maxOutputTokens"),
        stop=tuple(
            need_text(item, f"generationConfig.stopSequences[{number_}]")
            for number_, item in enumerate(stop)
        ),
        temperature=real("temperature"),
        top_p=real("topP"),
        top_k=whole("topK"),
        frequency_penalty=real("frequencyPenalty"),
        presence_penalty=real("presencePenalty"),
        seed=whole("seed"),
        logprobs=None
        if logprobs is None
        else need_flag(logprobs, "generationConfig.responseLogprobs"),
        top_logprobs=whole("logprobs"),
        choices=1 if choices is None else max(choices, 1),
        reasoning=_decode_thinking(config.pop("thinkingConfig", None)),
        output=_decode_output(config),
    )


_EFFORTS: dict[str, Effort] = {
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
}


def _decode_thinking(value: Json) -> ReasoningConfig | None:
    if value is None:
        return None
    path = "generationConfig.thinkingConfig"
    config = fields(value, path)
    if not config:
        return None
    budget = None
    if "thinkingBudget" in config:
        budget = integer(config.pop("thinkingBudget"), f"{path}.thinkingBudget")
        budget = max(budget, -1)
    effort = None
    if "thinkingLevel" in config:
        level = need_text(config["thinkingLevel"], f"{path}.thinkingLevel").lower()
        effort = _EFFORTS.get(level)
        if effort is not None:
            del config["thinkingLevel"]
    visible = None
    if "includeThoughts" in config:
        visible = need_flag(config.pop("includeThoughts"), f"{path}.includeThoughts")
    return ReasoningConfig(
        "off" if budget == 0 else "on",
        effort,
        budget,
        # Not asked for means not shown, in this dialect; the encoder here tells the two apart.
        visible=visible is True,
        native=native_of({**config, "includeThoughts": visible} if visible is False else config),
    )


def _decode_output(config: JsonObject) -> OutputFormat | None:
    if "responseMimeType" in config:
        mime = need_text(config["responseMimeType"], "generationConfig.responseMimeType")
        if mime not in ("application/json", "text/plain"):
            return None  # text/x.enum: stays native with its schema
        del config["responseMimeType"]
        if mime == "text/plain":
            return OutputFormat("text")
    elif "responseSchema" not in config and "responseJsonSchema" not in config:
        return None
    if "responseJsonSchema" in config:
        schema = config.pop("responseJsonSchema")
        if not isinstance(schema, dict):
            raise wrong("generationConfig.responseJsonSchema", "an object", schema)
        return OutputFormat("json_schema", schema)
    if "responseSchema" in config:
        declared = config["responseSchema"]  # stays native, as tool parameters do
        if not isinstance(declared, dict):
            raise wrong("generationConfig.responseSchema", "an object", declared)
        return OutputFormat("json_schema", from_openapi(declared))
    return OutputFormat("json_object")


def named_by_client(message: Message) -> bool:
    """Say whether a message came from this dialect."""
    return message.native is not None and message.native.dialect == DIALECT


def continues(message: Message) -> bool:
    """Say whether a message is the rest of the content before it."""
    return own_fields(message.native).get("_continues") is True
