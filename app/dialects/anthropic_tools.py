"""Tools and the choice among them, as Anthropic takes them."""

from __future__ import annotations

from collections.abc import Mapping

from app.canonical.parts import Json, JsonObject
from app.canonical.request import ServerTool, Tool
from app.dialects.anthropic_turns import marked
from app.dialects.anthropic_values import NAME, TOOL_NAME, Outgoing, own_fields
from app.errors import TranslationError

__all__ = [
    "encode_choice",
    "encode_tools",
    "object_schema",
]


def encode_tools(out: Outgoing) -> list[JsonObject]:
    """Return the declarations.

    Raises:
        TranslationError: a tool that cannot be declared, and may not be left out.
    """
    choice = out.request.tool_choice
    only: tuple[str, ...] = ()
    if choice is not None and (choice.mode == "auto" or len(choice.names) > 1):
        only = choice.names  # several names cannot be said: leave the other tools out instead
    tools: list[JsonObject] = []
    taken: set[str] = set()
    for index, tool in enumerate(out.request.tools):
        path = f"tools[{index}]"
        if isinstance(tool, ServerTool):
            server = _server_tool(out, tool, path)
            twin = server is not None and tool.dialect != NAME and _words(server) & taken
            if server is not None and not twin and (not only or _words(tool.body) & {*only}):
                taken |= _words(server)
                tools.append(server)
        elif not only or tool.name in only:
            tools.append(_tool(out, tool, path))
    return tools


def _tool(out: Outgoing, tool: Tool, path: str) -> JsonObject:
    if tool.kind == "custom" or tool.namespace is not None:
        raise TranslationError("Free-text and namespaced tools are not known here.", path)
    if not TOOL_NAME.fullmatch(tool.name):
        raise TranslationError(
            f"{tool.name!r} is no tool name that is accepted here.",
            f"{path}.name",
            hint="Names have 1 to 128 letters, digits, _ and -.",
        )
    body: JsonObject = {"name": tool.name}
    if tool.description is not None:
        body["description"] = tool.description
    body["input_schema"] = object_schema(tool.schema)
    if tool.strict is not None and out.own:
        body["strict"] = tool.strict
    elif tool.strict:
        # Its grammar knows fewer keywords than OpenAI's, so a foreign schema may be refused.
        out.losses.add(f"{path}.strict", "not enforced for schemas of other dialects")
    body.update(own_fields(tool.native))
    return marked(body, tool.cache)


def _server_tool(out: Outgoing, tool: ServerTool, path: str) -> JsonObject | None:
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
    choice = out.request.tool_choice
    named = choice is not None and _words(tool.body) & {*choice.names}
    if named:
        raise TranslationError("The tool that tool_choice names is not known here.", path)
    out.losses.add(path, "a tool of another service, without a counterpart here")
    return None


def encode_choice(out: Outgoing, tools: list[JsonObject]) -> JsonObject | None:
    """Return ``tool_choice`` for the declared tools, or None when there is nothing to say."""
    choice = out.request.tool_choice
    parallel = out.request.parallel_tools
    if not tools:
        if choice is not None and choice.mode == "required":
            out.losses.add("tool_choice", "there are no tools")
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
    if parallel is False or (parallel is True and out.own):
        body["disable_parallel_tool_use"] = not parallel
    if choice is not None:
        body.update(own_fields(choice.native))
    return body


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
