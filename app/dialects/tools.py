"""Tools on the way to a dialect that knows fewer kinds, or other names, and back.

Before a request is encoded, custom (free text) tools become functions with one string argument
``input``, namespaced tools become flat ones, and names are fitted to the target's rules. The same
table turns the calls in the answer back, so that a client sees the tools it declared.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from app.canonical.events import ArgumentsDelta, Event, PartEnded, PartStarted
from app.canonical.parts import DialectName, JsonObject, Part, ToolCall, ToolResult
from app.canonical.profile import Target
from app.canonical.request import ChatRequest, Message, ServerTool, Tool, ToolChoice

__all__ = ["Restorer", "ToolNames", "fit_tools"]

_NAME_RULES: dict[DialectName, re.Pattern[str]] = {
    "anthropic": re.compile(r"[a-zA-Z0-9_-]{1,128}"),
    "openai_chat": re.compile(r"[a-zA-Z0-9_-]{1,64}"),
    "openai_responses": re.compile(r"[a-zA-Z0-9_-]{1,64}"),
    "gemini": re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}"),
}
"""What each service accepts as a function name (their references, read 2026-11)."""

_CUSTOM_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The tool's input, as free text."}},
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class _Origin:
    name: str
    namespace: str | None
    custom: bool


@dataclass(frozen=True, slots=True)
class ToolNames:
    """How the tools of one request were renamed; empty when nothing changed."""

    back: dict[str, _Origin] = field(default_factory=dict)
    """Name at the upstream to the tool that the client declared."""

    def restore_call(self, call: ToolCall) -> ToolCall:
        """Return a call under its client's name and kind."""
        origin = self.back.get(call.name)
        if origin is None:
            return call
        if origin.custom and call.kind == "function":
            call = replace(call, kind="custom", arguments=_free_text(call.arguments))
        return replace(call, name=origin.name, namespace=origin.namespace)

    def through(self, sent: Mapping[str, str]) -> ToolNames:
        """Return the way back for calls whose names were changed once more on their way out.

        Args:
            sent: name at the service to the name that it stands for here.
        """
        if not sent:
            return self
        back = dict(self.back)
        for name, meant in sent.items():
            back[name] = self.back.get(meant) or _Origin(meant, None, custom=False)
        return ToolNames(back)

    def restore_parts(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """Return an answer's parts with every call restored."""
        if not self.back:
            return parts
        return tuple(self.restore_call(p) if isinstance(p, ToolCall) else p for p in parts)


class Restorer:
    """Restores the calls of a stream.

    The arguments of custom tools are held until complete, because they arrive as JSON and leave
    as plain text.
    """

    __slots__ = ("_held", "_index", "_names")

    def __init__(self, names: ToolNames) -> None:
        self._names = names
        self._index = -1
        self._held: list[str] = []

    def apply(self, events: list[Event]) -> list[Event]:
        """Return the events as the client should see them."""
        if not self._names.back:
            return events
        out: list[Event] = []
        for event in events:
            match event:
                case PartStarted(index=index, part=ToolCall() as call):
                    origin = self._names.back.get(call.name)
                    held = call.arguments
                    if origin is None:
                        out.append(event)
                        continue
                    if origin.custom and call.kind == "function":
                        self._index = index
                        self._held = [held]
                        call = replace(call, kind="custom", arguments="")
                    out.append(
                        PartStarted(
                            index, replace(call, name=origin.name, namespace=origin.namespace)
                        )
                    )
                case ArgumentsDelta(index=index, text=text) if index == self._index:
                    self._held.append(text)
                case PartEnded(index=index) if index == self._index:
                    text = _free_text("".join(self._held))
                    self._index = -1
                    if text:
                        out.append(ArgumentsDelta(index, text))
                    out.append(event)
                case _:
                    out.append(event)
        return out


def _free_text(arguments: str) -> str:
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return arguments
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def fit_tools(
    request: ChatRequest, dialect: DialectName, target: Target
) -> tuple[ChatRequest, ToolNames]:
    """Return the request with tools that ``dialect`` can declare, and the way back.

    Calls and results in the history are renamed alike. Nothing is lost: a grammar is kept in the
    description, since the target cannot enforce it.
    """
    keeps_custom = dialect in ("openai_responses", "openai_chat") and target.profile.custom_tools
    keeps_namespaces = dialect == "openai_responses" and target.official
    rule = _NAME_RULES[dialect]
    forward: dict[tuple[str, str | None], str] = {}
    back: dict[str, _Origin] = {}
    taken: set[str] = set()

    def rename(name: str, namespace: str | None, custom: bool) -> str:
        key = (name, namespace)
        if key in forward:
            return forward[key]
        flat = name if namespace is None or keeps_namespaces else f"{namespace}__{name}"
        fitted = _fit_name(flat, rule, taken)
        taken.add(fitted)
        forward[key] = fitted
        flattened = namespace is not None and not keeps_namespaces
        if fitted != name or flattened or (custom and not keeps_custom):
            back[fitted] = _Origin(name, namespace, custom and not keeps_custom)
        return fitted

    tools: list[Tool | ServerTool] = []
    for tool in request.tools:
        if isinstance(tool, ServerTool):
            tools.append(tool)
            continue
        custom = tool.kind == "custom"
        name = rename(tool.name, tool.namespace, custom)
        changed = replace(tool, name=name)
        if tool.namespace is not None and not keeps_namespaces:
            changed = replace(changed, namespace=None)
        if custom and not keeps_custom:
            changed = _as_function(changed)
        tools.append(changed)
    customs = {t.name for t in request.tools if isinstance(t, Tool) and t.kind == "custom"}
    messages = tuple(
        _fit_message(m, rename, keeps_custom, keeps_namespaces, customs) for m in request.messages
    )
    if not back and messages == request.messages:
        return request, ToolNames()
    choice = request.tool_choice
    if choice is not None and choice.names:
        spaces: dict[str, str | None] = {}
        for tool in request.tools:
            # A choice says no namespace: it means the tool without one, else the first declared.
            if isinstance(tool, Tool) and (tool.namespace is None or tool.name not in spaces):
                spaces[tool.name] = tool.namespace
        names = tuple(rename(n, spaces.get(n), n in customs) for n in choice.names)
        choice = ToolChoice(choice.mode, names, choice.native)
    return (
        replace(request, tools=tuple(tools), messages=messages, tool_choice=choice),
        ToolNames(back),
    )


def _as_function(tool: Tool) -> Tool:
    description = tool.description or ""
    if tool.grammar is not None:
        grammar = msgspec.json.encode(tool.grammar).decode()
        description = f"{description}\n\nFormat of the input: {grammar}".strip()
    return replace(
        tool,
        kind="function",
        grammar=None,
        description=description or None,
        schema=dict(_CUSTOM_SCHEMA),
        native=None,
    )


def _fit_message(
    message: Message,
    rename: Callable[[str, str | None, bool], str],
    keeps_custom: bool,
    keeps_namespaces: bool,
    customs: set[str],
) -> Message:
    if message.role not in ("assistant", "tool"):
        return message
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolCall):
            custom = part.kind == "custom"
            name = rename(part.name, part.namespace, custom)
            namespace = part.namespace if keeps_namespaces else None
            if name != part.name or namespace != part.namespace or (custom and not keeps_custom):
                part = replace(part, name=name, namespace=namespace)
                if custom and not keeps_custom:
                    arguments = msgspec.json.encode({"input": part.arguments}).decode()
                    part = replace(part, kind="function", arguments=arguments, native=None)
        elif isinstance(part, ToolResult):
            if part.name is not None:
                part = replace(part, name=rename(part.name, None, part.name in customs))
            if part.kind == "custom" and not keeps_custom:
                part = replace(part, kind="function", native=None)
        parts.append(part)
    kept = tuple(parts)
    return message if kept == message.parts else replace(message, parts=kept)


def _fit_name(name: str, rule: re.Pattern[str], taken: Container[str]) -> str:
    if rule.fullmatch(name) and name not in taken:
        return name
    base = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:48] or "tool"
    if not re.match(r"[a-zA-Z_]", base):
        base = f"t_{base}"[:48]
    if rule.fullmatch(base) and len(name) <= 48 and base not in taken:
        return base
    seed = name
    while True:
        fitted = f"{base[:48]}_{hashlib.sha256(seed.encode('utf-8', 'replace')).hexdigest()[:8]}"
        if fitted not in taken:
            return fitted
        seed += "'"  # one flat name of several tools, for instance of nested namespaces
