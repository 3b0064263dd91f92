"""Tools and tool choice of the Responses dialect.

Function tools are flat here, custom tools take free text, namespaces hold further tools, and
every other type is run by the service. ``strict`` is on when it is not said, unlike anywhere
else, so that translated tools always say it.

Source: https://platform.openai.com/docs/api-reference/responses/create (tools, tool_choice).
"""

from __future__ import annotations

from collections.abc import Mapping

from app.canonical.parts import Json, JsonObject, Native
from app.canonical.request import ChatRequest, ServerTool, Tool, ToolChoice
from app.dialects.base import LossList
from app.dialects.openai_responses_values import NAME, fields_of, wire_fields
from app.dialects.values import need_list, need_object, need_text, opt_text, wrong
from app.errors import RequestError, TranslationError

__all__ = ["decode_tool_choice", "decode_tools", "encode_tool_choice", "encode_tools"]

_SPACE = "@namespace"
"""Native key of a namespace's first tool: the namespace's own fields."""
_CHOICE = "choice"
"""Native key of a tool choice that the canon cannot say: the whole wire value."""


def _purpose(kind: str) -> str | None:
    if kind.startswith("web_search"):
        return "web_search"
    return "code_execution" if kind == "code_interpreter" else None


# Decoding ----------------------------------------------------------------------------------------


def decode_tools(value: Json) -> tuple[Tool | ServerTool, ...]:
    """Decode ``tools``; a namespace gives one Tool for each tool that it holds.

    Raises:
        RequestError: a tool without type or name, or of a wrong shape.
    """
    if value is None:
        return ()
    tools: list[Tool | ServerTool] = []
    for number, entry in enumerate(need_list(value, "tools")):
        path = f"tools[{number}]"
        tool = need_object(entry, path)
        kind = need_text(tool.get("type"), f"{path}.type")
        if kind in ("function", "custom"):
            tools.append(_decode_tool(tool, kind, path, None))
        elif kind == "namespace":
            tools.extend(_decode_namespace(tool, path))
        else:
            tools.append(_server_tool(tool, kind))
    return tuple(tools)


def _server_tool(tool: JsonObject, kind: str) -> ServerTool:
    if kind.startswith("web_search"):
        return ServerTool(NAME, tool, "web_search")
    return ServerTool(NAME, tool, "code_execution" if kind == "code_interpreter" else None)


def _decode_namespace(space: JsonObject, path: str) -> list[Tool | ServerTool]:
    name = need_text(space.get("name"), f"{path}.name")
    entries = need_list(space.get("tools"), f"{path}.tools")
    tools: list[Tool | ServerTool] = []
    for number, entry in enumerate(entries):
        where = f"{path}.tools[{number}]"
        tool = need_object(entry, where)
        kind = need_text(tool.get("type"), f"{where}.type")
        if kind not in ("function", "custom"):
            return [ServerTool(NAME, space)]
        extra: JsonObject | None = None
        if not tools:
            extra = {k: v for k, v in space.items() if k not in ("type", "name", "tools")}
        tools.append(_decode_tool(tool, kind, where, name, extra))
    return tools or [ServerTool(NAME, space)]


def _decode_tool(
    tool: JsonObject, kind: str, path: str, space: str | None, extra: JsonObject | None = None
) -> Tool:
    if kind == "function" and "name" not in tool and isinstance(tool.get("function"), dict):
        raise RequestError(
            f"{path}.name is missing: Responses takes name and parameters beside type, "
            "not inside function.",
            param=f"{path}.name",
        )
    known = {"type", "name", "description", "format" if kind == "custom" else "parameters"}
    strict = tool.get("strict") if kind == "function" else None
    if strict is not None:
        if not isinstance(strict, bool):
            raise wrong(f"{path}.strict", "a boolean", strict)
        known.add("strict")
    fields: JsonObject = {k: v for k, v in tool.items() if k not in known}
    schema: JsonObject | None = None
    if kind == "function":
        if tool.get("parameters") is not None:
            schema = need_object(tool["parameters"], f"{path}.parameters")
        elif "parameters" in tool:
            fields["parameters"] = None
    if extra is not None:
        fields[_SPACE] = extra
    return Tool(
        need_text(tool.get("name"), f"{path}.name"),
        opt_text(tool, "description", path),
        schema,
        kind="custom" if kind == "custom" else "function",
        grammar=tool.get("format") if kind == "custom" else None,
        strict=strict if isinstance(strict, bool) else None,
        namespace=space,
        native=Native(NAME, fields),
    )


def decode_tool_choice(value: Json) -> ToolChoice | None:
    """Decode ``tool_choice``; a choice of hosted tools keeps its wire form in ``native``.

    Raises:
        RequestError: an unknown word, or an object without type.
    """
    match value:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case str():
            raise RequestError(
                f"tool_choice must be auto, none, required or an object, not {value!r}.",
                param="tool_choice",
            )
    choice = need_object(value, "tool_choice")
    kind = need_text(choice.get("type"), "tool_choice.type")
    native = Native(NAME, {_CHOICE: choice})
    if kind in ("function", "custom"):
        name = need_text(choice.get("name"), "tool_choice.name")
        plain = set(choice) == {"type", "name"} and kind == "function"
        return ToolChoice("required", (name,), None if plain else native)
    if kind == "allowed_tools":
        mode = choice.get("mode", "auto")
        if mode not in ("auto", "required"):
            raise RequestError(
                "tool_choice.mode must be auto or required.", param="tool_choice.mode"
            )
        entries = need_list(choice.get("tools"), "tool_choice.tools")
        names = tuple(_choice_name(e, f"tool_choice.tools[{i}]") for i, e in enumerate(entries))
        return ToolChoice("required" if mode == "required" else "auto", names, native)
    return ToolChoice("required", (_choice_name(choice, "tool_choice"),), native)


def _choice_name(value: Json, path: str) -> str:
    entry = need_object(value, path)
    name = opt_text(entry, "name", path)
    if name is not None:
        return name
    kind = need_text(entry.get("type"), f"{path}.type")
    return _purpose(kind) or kind


# Encoding ----------------------------------------------------------------------------------------


def encode_tools(
    tools: tuple[Tool | ServerTool, ...], losses: LossList, *, own: bool
) -> tuple[list[Json], dict[str, str | None]]:
    """Encode ``tools``.

    Args:
        tools: in order; the tools of one namespace are gathered where its first one stands.
        losses: gets one entry for each hosted tool that has no equal here.
        own: the request came from a client of this dialect.

    Returns:
        The wire list, and for each foreign hosted tool, by its name: the type it became, or None
        when it was dropped.
    """
    out: list[Json] = []
    hosted: dict[str, str | None] = {}
    spaces: dict[str, list[Json]] = {}
    for number, tool in enumerate(tools):
        path = f"tools[{number}]"
        if isinstance(tool, ServerTool):
            _encode_server_tool(tool, path, out, hosted, losses)
            continue
        entry = _encode_tool(tool, own=own)
        if tool.namespace is None:
            out.append(entry)
        elif tool.namespace in spaces:
            spaces[tool.namespace].append(entry)
        else:
            inner: list[Json] = [entry]
            spaces[tool.namespace] = inner
            extra = fields_of(tool.native).get(_SPACE)
            space: JsonObject = {"type": "namespace", "name": tool.namespace}
            space.update(extra if isinstance(extra, dict) else {"description": ""})
            space["tools"] = inner
            out.append(space)
    return out, hosted


def _encode_tool(tool: Tool, *, own: bool) -> JsonObject:
    native = tool.native is not None and tool.native.dialect == NAME
    entry: JsonObject = {"type": tool.kind, "name": tool.name}
    if tool.description is not None:
        entry["description"] = tool.description
    if tool.kind == "custom":
        if tool.grammar is not None:
            entry["format"] = _flat_format(tool.grammar)
    else:
        if tool.schema is not None:
            entry["parameters"] = tool.schema if native else _object_schema(tool.schema)
        elif not native:
            entry["parameters"] = {"type": "object", "properties": {}}
        if tool.strict is not None:
            entry["strict"] = tool.strict
        elif not native:
            entry["strict"] = False  # here the default is true, everywhere else false
    entry.update(wire_fields(fields_of(tool.native)))
    return entry


def _flat_format(grammar: Json) -> Json:
    # Chat puts syntax and definition one level deeper.
    nested = grammar.get("grammar") if isinstance(grammar, dict) else None
    return {"type": "grammar", **nested} if isinstance(nested, dict) else grammar


def _object_schema(schema: JsonObject) -> JsonObject:
    if schema.get("type") == "object":
        return schema if "properties" in schema else {**schema, "properties": {}}
    if any(key in schema for key in ("type", "anyOf", "oneOf", "allOf", "$ref")):
        return schema
    return {"type": "object", "properties": {}, **schema}


def _encode_server_tool(
    tool: ServerTool,
    path: str,
    out: list[Json],
    hosted: dict[str, str | None],
    losses: LossList,
) -> None:
    if tool.dialect == NAME:
        out.append(dict(tool.body))
        return
    entry: JsonObject | None = None
    if tool.purpose == "web_search":
        entry = {"type": "web_search"}
        domains = tool.body.get("allowed_domains")
        if isinstance(domains, list) and domains:
            entry["filters"] = {"allowed_domains": domains}
        if isinstance(tool.body.get("user_location"), dict):
            entry["user_location"] = tool.body["user_location"]
        for key in ("blocked_domains", "max_uses"):
            if tool.body.get(key):
                losses.add(f"{path}.{key}", "not known to this service's tool")
    elif tool.purpose == "code_execution":
        entry = {"type": "code_interpreter", "container": {"type": "auto"}}
    names = {v for v in (tool.body.get("name"), tool.purpose) if isinstance(v, str)}
    kind = None if entry is None else str(entry["type"])
    for name in names:
        hosted[name] = kind
    if entry is None:
        losses.add(path, "no such tool at this service")
    elif entry not in out:
        out.append(entry)


def encode_tool_choice(
    request: ChatRequest, hosted: Mapping[str, str | None], losses: LossList, *, own: bool
) -> Json:
    """Return ``tool_choice``, or None to say nothing.

    Raises:
        TranslationError: it names a hosted tool that this service does not have.
    """
    choice = request.tool_choice
    if choice is None:
        return None
    raw = fields_of(choice.native).get(_CHOICE)
    if isinstance(raw, dict):
        again = decode_tool_choice(raw)
        if again is not None and again.names == choice.names and again.mode == choice.mode:
            return raw
    if not own and (not request.tools or (hosted and not any(hosted.values()))):
        functions = [tool for tool in request.tools if isinstance(tool, Tool)]
        named = [name for name in choice.names if name in hosted]
        if not functions and not named:
            losses.add("tool_choice", "there are no tools")
            return None
    if choice.mode == "none" or not choice.names:
        return choice.mode
    kinds = {tool.name: tool.kind for tool in request.tools if isinstance(tool, Tool)}
    entries: list[Json] = []
    for name in choice.names:
        if name in kinds:
            entries.append({"type": kinds[name], "name": name})
        elif name in hosted:
            kind = hosted[name]
            if kind is None:
                raise TranslationError(
                    f"tool_choice names {name}, which this service does not have.", "tool_choice"
                )
            entries.append({"type": kind})
        else:
            entries.append({"type": "function", "name": name})
    if choice.mode == "required" and len(entries) == 1:
        return entries[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": entries}
