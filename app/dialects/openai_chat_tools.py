"""Tools of Chat requests, wire to canon: what may be called, and what must be.

``functions`` and ``function_call`` are the form before tools; they are read as tools.
"""

from __future__ import annotations

from app.canonical.parts import Json, JsonObject
from app.canonical.request import ServerTool, Tool, ToolChoice
from app.dialects.openai_chat_parts import decode_cache
from app.dialects.openai_chat_values import NAME, get_flag, native_of, required_text, rest_of
from app.dialects.values import join, need_list, need_object, opt_text
from app.errors import RequestError

__all__ = ["decode_choice", "decode_tools", "object_schema"]


def object_schema(schema: JsonObject | None) -> JsonObject:
    """Return a schema that every service takes as that of an object."""
    if not schema:
        return {"type": "object", "properties": {}}
    if schema.keys() & {"type", "anyOf", "oneOf", "allOf", "$ref"}:
        return schema
    return {"type": "object", **schema}


def decode_tools(body: JsonObject, form: JsonObject) -> tuple[Tool | ServerTool, ...]:
    """Return the tools of a request; ``form`` notes that they came as ``functions``.

    Raises:
        RequestError: one of them does not follow the dialect.
    """
    tools: list[Tool | ServerTool] = []
    if body.get("tools") is not None:
        for index, value in enumerate(need_list(body["tools"], "tools")):
            tools.append(_decode_tool(value, f"tools[{index}]"))
    functions = body.get("functions")
    if functions is not None:
        for index, value in enumerate(need_list(functions, "functions")):
            place = f"functions[{index}]"
            tools.append(_decode_function(need_object(value, place), {}, place, place))
        if body.get("tools") is None:
            form["functions"] = True
    options = body.get("web_search_options")
    if options is not None:
        need_object(options, "web_search_options")
        tools.append(ServerTool(NAME, {"web_search_options": options}, "web_search"))
    return tuple(tools)


def _decode_tool(value: Json, place: str) -> Tool | ServerTool:
    tool = need_object(value, place)
    kind = tool.get("type")
    if kind == "custom":
        return _decode_custom(tool, place)
    if kind == "function" or (kind is None and "function" in tool):
        outer = rest_of(tool, frozenset(("type", "function")))
        if "function" not in tool and "name" in tool:
            # Responses' flat form, which some editors send here.
            return _decode_function(outer, {}, place, place)
        inner = need_object(tool.get("function"), f"{place}.function")
        return _decode_function(inner, outer, f"{place}.function", place)
    if not isinstance(kind, str):
        raise RequestError(f"{place}.type must be function or custom.", param=f"{place}.type")
    return ServerTool(NAME, tool, "web_search" if kind in _WEB_SEARCH_TYPES else None)


def _decode_function(inner: JsonObject, outer: JsonObject, place: str, tool_place: str) -> Tool:
    schema = inner.get("parameters")
    if schema is not None:
        schema = need_object(schema, f"{place}.parameters")
    extras = rest_of(inner, _FUNCTION_KEYS)
    fields = dict(outer)
    if extras:
        fields["function"] = extras
    return Tool(
        required_text(inner, "name", place),
        opt_text(inner, "description", place),
        object_schema(schema),
        strict=get_flag(inner, "strict", place),
        cache=decode_cache(outer) or decode_cache(inner),
        native=native_of(fields),
    )


def _decode_custom(tool: JsonObject, place: str) -> Tool:
    inner = need_object(tool.get("custom"), f"{place}.custom")
    fields = rest_of(tool, frozenset(("type", "custom")))
    extras = rest_of(inner, frozenset(("name", "description", "format")))
    if extras:
        fields["custom"] = extras
    return Tool(
        required_text(inner, "name", f"{place}.custom"),
        opt_text(inner, "description", f"{place}.custom"),
        kind="custom",
        grammar=inner.get("format"),
        cache=decode_cache(tool),
        native=native_of(fields),
    )


_MODES = {
    "auto": ToolChoice("auto"),
    "none": ToolChoice("none"),
    "required": ToolChoice("required"),
    "any": ToolChoice("required"),
}


def decode_choice(body: JsonObject, form: JsonObject) -> ToolChoice | None:
    """Return which tools may or must be called; ``form`` notes the older spelling.

    Raises:
        RequestError: it does not follow the dialect.
    """
    key = "function_call" if "functions" in form else "tool_choice"
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        if value not in _MODES:
            raise RequestError(
                f"{key} must be none, auto, required or an object, not {value!r}.", param=key
            )
        return _MODES[value]
    choice = need_object(value, key)
    if "functions" in form:
        return ToolChoice("required", (required_text(choice, "name", key),))
    kind = choice.get("type")
    if isinstance(kind, str) and kind in _MODES:
        return _MODES[kind]
    if kind == "allowed_tools":
        return _decode_allowed(choice)
    inner = choice.get("custom" if kind == "custom" else "function", choice)
    place = join(key, "custom" if kind == "custom" else "function")
    return ToolChoice("required", (required_text(need_object(inner, place), "name", place),))


def _decode_allowed(choice: JsonObject) -> ToolChoice:
    place = "tool_choice.allowed_tools"
    allowed = need_object(choice.get("allowed_tools", choice), place)
    names: list[str] = []
    for index, value in enumerate(need_list(allowed.get("tools"), f"{place}.tools")):
        where = f"{place}.tools[{index}]"
        tool = need_object(value, where)
        kind = "custom" if tool.get("type") == "custom" else "function"
        inner = need_object(tool.get(kind, tool), f"{where}.{kind}")
        names.append(required_text(inner, "name", f"{where}.{kind}"))
    mode = opt_text(allowed, "mode", place) or "auto"
    if mode not in ("auto", "required"):
        raise RequestError(f"{place}.mode must be auto or required.", param=f"{place}.mode")
    return ToolChoice(
        "required" if mode == "required" else "auto",
        tuple(names),
        native_of({}, "allowed_tools"),
    )


_WEB_SEARCH_TYPES = frozenset(
    ("web_search", "web_search_preview", "openrouter:web_search", "browser_search")
)

_FUNCTION_KEYS = frozenset(("name", "description", "parameters", "strict"))
