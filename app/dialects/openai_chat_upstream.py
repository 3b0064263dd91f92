"""Chat Completions requests: canon to wire, for an upstream.

OpenAI itself (``target.official``) refuses fields that it does not know; compatible servers know
fewer of OpenAI's fields and more of their own. So a setting that only OpenAI has goes to a
compatible server only when the client wrote it in this dialect, and the compatible servers' own
fields never go to OpenAI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from app.canonical.ids import CHAT_CALL, fit_id
from app.canonical.parts import (
    Json,
    JsonObject,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.profile import Target
from app.canonical.reasoning import resolve
from app.canonical.request import ChatRequest, Message, ServerTool, Tool
from app.dialects.base import Encoded, LossList
from app.dialects.identity import pseudonym
from app.dialects.openai_chat_parts import CACHE_KEYS, encode_call, encode_part
from app.dialects.openai_chat_request import stand_in_id
from app.dialects.openai_chat_thought import REASONING_KEYS, TEXT_KEYS, parse_details
from app.dialects.openai_chat_tools import object_schema
from app.dialects.openai_chat_values import NAME, VENDOR, add_native, form_of, own_fields
from app.errors import TranslationError

__all__ = ["encode_chat_request"]

_MAX_STOPS = 4
_TIERS = frozenset(("auto", "default", "flex", "scale", "priority", "fast"))
_UNOFFICIAL_KEYS = frozenset(("cache_control", "top_k", "reasoning"))
"""Top-level fields of compatible servers."""


def encode_chat_request(request: ChatRequest, target: Target) -> Encoded:
    """Encode a request body.

    Raises:
        TranslationError: content that Chat cannot express; the path is the canon's.
    """
    return _Encoder(request, target).encode()


@dataclass(slots=True)
class _Turn:
    """What one assistant message holds, by its place on the wire."""

    form: Json
    content: list[Part] = field(default_factory=list)
    calls: list[tuple[ToolCall, str]] = field(default_factory=list)
    thought: list[tuple[Reasoning, str]] = field(default_factory=list)
    refusal: str = ""
    body: JsonObject = field(default_factory=dict)
    """Fields beside the content (``audio``)."""


class _Encoder:
    """Encodes one request."""

    __slots__ = (
        "_body",
        "_form",
        "_held",
        "_losses",
        "_own",
        "_request",
        "_target",
        "_thought_key",
    )

    def __init__(self, request: ChatRequest, target: Target) -> None:
        self._request = request
        self._target = target
        self._losses = LossList()
        self._body: JsonObject = {"model": request.model}
        self._own = request.native is not None and request.native.dialect == NAME
        form = form_of(request.native)
        self._form: Mapping[str, Json] = form if isinstance(form, dict) else {}
        self._thought_key = ""
        """Field of the thoughts in the conversation that the service itself wrote."""
        self._held: list[Json] = []
        """Images of tool results, which go into the next user message."""

    def encode(self) -> Encoded:
        """Return body and losses."""
        self._body["messages"] = self._messages()
        self._tools()
        self._limits()
        self._sampling()
        self._reasoning()
        self._output()
        self._owner_settings()
        self._stream()
        native = self._request.native
        if self._own:
            add_native(
                self._body, native, _UNOFFICIAL_KEYS if self._target.official else frozenset()
            )
            if self._target.official:
                for key in own_fields(native).keys() & _UNOFFICIAL_KEYS:
                    self._losses.add(key, "not known to this service")
        elif native is not None:
            for key in native.fields:
                if key[:1] not in ("@", "$"):  # notes on the form of the request, no wishes
                    self._losses.add(f"native.{key}", "not known to this dialect")
        return Encoded(self._body, self._losses.done())

    # Settings

    def _limits(self) -> None:
        request, profile = self._request, self._target.profile
        limit = request.max_tokens
        if limit is not None:
            if profile.max_output is not None and limit > profile.max_output:
                limit = profile.max_output
                self._losses.add("max_tokens", f"the model gives at most {limit}")
            name = "max_tokens" if profile.legacy_max_tokens else "max_completion_tokens"
            self._body[name] = limit
        stop = request.stop
        if stop and not profile.stop:
            self._losses.add("stop", "refused by this model")
        elif stop:
            if len(stop) > _MAX_STOPS:
                self._losses.add(f"stop[{_MAX_STOPS}]", f"at most {_MAX_STOPS} are accepted")
            kept: list[Json] = list(stop[:_MAX_STOPS])
            single = self._form.get("stop") == "text" and len(kept) == 1
            self._body["stop"] = kept[0] if single else kept
        if request.choices > 1:
            self._body["n"] = request.choices

    def _sampling(self) -> None:
        request, profile = self._request, self._target.profile
        knobs: dict[str, float | None] = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "frequency_penalty": request.frequency_penalty,
            "presence_penalty": request.presence_penalty,
        }
        for name, value in knobs.items():
            if value is None:
                continue
            if not profile.sampling:
                self._losses.add(name, "refused by reasoning models")
            elif name == "top_p" and profile.temperature_or_top_p and "temperature" in self._body:
                self._losses.add(name, "refused beside temperature")
            else:
                self._body[name] = value
        if request.seed is not None:
            self._body["seed"] = request.seed
        if request.top_k is not None and not self._own:
            self._losses.add("top_k", "not known to this dialect")
        self._put_own("logprobs", request.logprobs, "cannot be carried back")
        self._put_own("top_logprobs", request.top_logprobs, "cannot be carried back")

    def _put_own(self, name: str, value: Json, reason: str) -> None:
        """Write a field that makes sense only for a client of this dialect."""
        if value is None:
            return
        if self._own:
            self._body[name] = value
        else:
            self._losses.add(name, reason)

    def _owner_settings(self) -> None:
        """Write what only OpenAI itself knows."""
        request, official = self._request, self._target.official
        if request.verbosity is not None:
            self._put_known("verbosity", request.verbosity, official)
        if request.cache_key is not None:
            self._put_known("prompt_cache_key", request.cache_key, official, "cache_key")
        if request.store is not None:
            self._put_known("store", request.store, official)
        if request.service_tier is not None:
            known = official and request.service_tier in _TIERS
            self._put_known("service_tier", request.service_tier, known)
        if request.metadata is not None:
            # OpenAI takes metadata only for answers that it stores.
            known = official and request.store is True
            self._put_known("metadata", dict(request.metadata), known)
        if request.user is not None:
            self._name_user(request.user)

    def _name_user(self, user: str) -> None:
        """Name the end user; a client of OpenAI's may tell it to OpenAI only."""
        native, vendor = self._request.native, self._target.issuer == VENDOR
        if self._own:
            name = "safety_identifier" if "user" in self._form else "user"
            self._body[name] = user if vendor else pseudonym(user)
            other = own_fields(native).get("safety_identifier")
            if isinstance(other, str):
                self._body["safety_identifier"] = other if vendor else pseudonym(other)
        elif vendor and native is not None and native.dialect == "openai_responses":
            self._body["safety_identifier"] = user
        else:
            self._losses.add("user", "an identity that is not for this vendor")

    def _put_known(self, name: str, value: Json, known: bool, path: str = "") -> None:
        if self._own or known:
            self._body[name] = value
        else:
            self._losses.add(path or name, "not known to this service")

    def _stream(self) -> None:
        if self._request.stream:
            self._body["stream"] = True
            # What the client is shown of it is decided where its answer is written.
            if self._target.tells_usage:
                self._body["stream_options"] = {"include_usage": True}

    def _output(self) -> None:
        output = self._request.output
        if output is None:
            return
        body: JsonObject = {"type": output.kind}
        if output.kind == "json_schema":
            schema: JsonObject = {"name": output.name or "response"}
            if output.description is not None:
                schema["description"] = output.description
            if output.schema is not None:
                schema["schema"] = output.schema
            if output.strict is not None:
                schema["strict"] = output.strict
            body["json_schema"] = schema
        self._body["response_format"] = body

    def _reasoning(self) -> None:
        request, profile = self._request, self._target.profile
        config = request.reasoning
        if config is None:
            return
        thinking = resolve(config, profile, request.max_tokens)
        if thinking is None:
            self._losses.add("reasoning", "this model does not reason")
            return
        own = own_fields(config.native)
        if profile.reasoning == "unknown" and not self._target.official and "reasoning" in own:
            self._body["reasoning"] = own["reasoning"]
            if "reasoning_effort" in own:
                self._body["reasoning_effort"] = own["reasoning_effort"]
            return
        if thinking.off and profile.reasoning == "unknown" and config.effort != "none":
            # Models that cannot reason refuse the field, and most others do without it.
            self._losses.add("reasoning", "cannot be switched off for an unknown model")
            return
        if thinking.effort is not None:
            self._body["reasoning_effort"] = thinking.effort
        if config.budget_tokens is not None and config.budget_tokens > 0:
            self._losses.add("reasoning.budget_tokens", "sent as the nearest effort")
        if config.visible and self._target.official:
            self._losses.add("reasoning.visible", "this dialect gives no thought back")

    # Tools

    def _tools(self) -> None:
        request = self._request
        tools: list[Json] = []
        kinds: dict[str, str] = {}
        dropped: set[str] = set()
        for index, tool in enumerate(request.tools):
            if isinstance(tool, Tool):
                tools.append(self._tool(tool, f"tools[{index}]"))
                kinds[tool.name] = tool.kind
            elif not self._server_tool(tool, tools):
                dropped |= {str(tool.body.get(key)) for key in ("name", "type")}
                dropped.add(tool.purpose or "")
                self._losses.add(f"tools[{index}]", "this service has no such tool")
        choice = request.tool_choice
        if choice is not None and any(n in dropped and n not in kinds for n in choice.names):
            raise TranslationError(
                "tool_choice names a tool that runs at another service.", "tool_choice"
            )
        allowed = choice.names if choice is not None else ()
        if allowed and not self._target.official and self._is_list(allowed):
            # Compatible servers do not know allowed_tools: declaring only these is the same.
            tools = [tool for tool in tools if _name_of(tool) in allowed]
        if tools:
            self._body["tools"] = tools
            if request.parallel_tools is not None:
                self._body["parallel_tool_calls"] = request.parallel_tools
        elif request.parallel_tools is not None:
            self._losses.add("parallel_tools", "no tools are declared")
        if choice is not None and tools:
            self._body["tool_choice"] = self._choice(kinds)
        elif choice is not None:
            self._losses.add("tool_choice", "no tools are declared")

    def _is_list(self, names: tuple[str, ...]) -> bool:
        choice = self._request.tool_choice
        if choice is None:
            return False
        return choice.mode == "auto" or len(names) > 1 or form_of(choice.native) == "allowed_tools"

    def _choice(self, kinds: Mapping[str, str]) -> Json:
        choice = self._request.tool_choice
        if choice is None or not choice.names or choice.mode == "none":
            return "auto" if choice is None else choice.mode
        named: list[Json] = []
        for name in choice.names:
            kind = kinds.get(name, "function")
            named.append({"type": kind, kind: {"name": name}})
        if not self._is_list(choice.names):
            return named[0]
        if not self._target.official:
            return choice.mode
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}

    def _tool(self, tool: Tool, path: str) -> JsonObject:
        if tool.namespace is not None:
            raise TranslationError(f"{path}: Chat knows no namespaces of tools.", path)
        inner: JsonObject = {"name": tool.name}
        if tool.description is not None:
            inner["description"] = tool.description
        if tool.kind == "custom":
            if tool.grammar is not None:
                inner["format"] = _nest_grammar(tool.grammar)
            body: JsonObject = {"type": "custom", "custom": inner}
        else:
            inner["parameters"] = object_schema(tool.schema)
            if tool.strict is not None:
                inner["strict"] = tool.strict
            body = {"type": "function", "function": inner}
        add_native(body, tool.native, CACHE_KEYS if self._target.official else frozenset())
        if tool.cache is not None and "cache_control" not in body:
            self._losses.add(f"{path}.cache", "cache marks of this form are not known here")
        return body

    def _server_tool(self, tool: ServerTool, tools: list[Json]) -> bool:
        """Write a service's tool; False when this service has none like it."""
        if tool.dialect == NAME:
            if "web_search_options" in tool.body:
                self._body["web_search_options"] = tool.body["web_search_options"]
            else:
                tools.append(dict(tool.body))
            return True
        # OpenAI's search models take the options, and every other model refuses them.
        if tool.purpose == "web_search" and self._target.official:
            if "search" not in self._request.model:
                return False
            self._body["web_search_options"] = {}
            return True
        return False

    # Messages

    def _messages(self) -> list[Json]:
        out: list[Json] = []
        request = self._request
        if request.system:
            role = "developer" if self._target.profile.developer_role else "system"
            content = self._content(request.system, "system", None, "\n\n")
            out.append({"role": role, "content": content})
        for index, message in enumerate(request.messages):
            if message.role != "tool":
                self._release(out)
            self._message(message, index, out)
        self._release(out)
        self._fill_thoughts(out)
        return out

    def _fill_thoughts(self, messages: list[Json]) -> None:
        """Give every tool call a thought where the service wants its own ones back.

        Moonshot misses it on calls that another model made, too, and takes a blank, but no empty
        text (https://github.com/charmbracelet/crush/issues/2696, read 2026-11); that DeepSeek
        takes a blank is unverified.
        """
        key = self._thought_key
        for body in messages if key else ():
            if isinstance(body, dict) and body.get("tool_calls") and not body.get(key):
                body[key] = " "

    def _release(self, out: list[Json]) -> None:
        if self._held:
            out.append({"role": "user", "content": self._held})
            self._held = []

    def _message(self, message: Message, index: int, out: list[Json]) -> None:
        match message.role:
            case "tool":
                for number, part in enumerate(message.parts):
                    path = f"messages[{index}].content[{number}]"
                    if not isinstance(part, ToolResult):
                        raise TranslationError(f"{path} is no tool result.", path)
                    out.append(self._result(part, path))
            case "assistant":
                out.append(self._assistant(message, index))
            case "system" | "developer" | "user":
                out.append(self._plain(message, index))
            case _:
                assert_never(message.role)

    def _plain(self, message: Message, index: int) -> JsonObject:
        role: str = message.role
        if role == "developer" and not (
            self._target.official or self._target.profile.developer_role
        ):
            role = "system"
        place = f"messages[{index}].content"
        content = self._content(message.parts, place, form_of(message.native), "\n\n")
        body: JsonObject = {"role": role, "content": content}
        if message.name is not None:
            body["name"] = message.name
        return add_native(body, message.native, self._skip())

    def _skip(self) -> frozenset[str]:
        return REASONING_KEYS | CACHE_KEYS if self._target.official else frozenset()

    def _content(self, parts: tuple[Part, ...], place: str, form: Json, glue: str) -> Json:
        """Return parts as a string where that is the usual form, else as a list."""
        encoded = [
            encode_part(part, f"{place}[{index}]", self._target, self._losses)
            for index, part in enumerate(parts)
        ]
        for index, part in enumerate(parts):
            if isinstance(part, Text) and part.signature is not None:
                self._losses.add(f"{place}[{index}].signature", "this dialect has no place for it")
        if form == "list":
            return list(encoded)
        plain = [str(body["text"]) for body in encoded if body.keys() == {"type", "text"}]
        if len(plain) == len(encoded) and (len(plain) < 2 or not self._target.official):
            return glue.join(plain)
        return list(encoded)

    def _result(self, part: ToolResult, path: str) -> JsonObject:
        if part.is_error:
            self._losses.add(f"{path}.is_error", "this dialect has no mark for failed calls")
        form = form_of(part.native)
        keeps_images = form == "parts" and not self._target.official
        kept: list[Part] = []
        for number, item in enumerate(part.content):
            where = f"{path}.content[{number}]"
            if isinstance(item, Media) and not keeps_images:
                self._held.append(encode_part(item, where, self._target, self._losses))
                self._losses.add(where, "moved into a user message after the results")
            else:
                kept.append(item)
        body: JsonObject = {
            "role": "tool",
            "tool_call_id": fit_id(part.call_id, CHAT_CALL),
            "content": self._content(tuple(kept), f"{path}.content", form, "\n\n"),
        }
        add_native(body, part.native, self._skip())
        if part.cache is not None and "cache_control" not in body:
            self._losses.add(f"{path}.cache", "cache marks of this form are not known here")
        return body

    def _assistant(self, message: Message, index: int) -> JsonObject:
        turn = _Turn(form_of(message.native))
        for number, part in enumerate(message.parts):
            self._sort(part, f"messages[{index}].content[{number}]", turn)
        body: JsonObject = {"role": "assistant", **turn.body}
        optional = bool(turn.calls or turn.body or turn.refusal)
        if turn.form != "absent" or turn.content:
            body["content"] = self._assistant_content(turn, index, optional)
        if turn.refusal:
            body["refusal"] = turn.refusal
        if message.name is not None:
            body["name"] = message.name
        self._thought(turn.thought, body)
        if turn.calls:
            body["tool_calls"] = [
                self._call(call, path, index, number)
                for number, (call, path) in enumerate(turn.calls)
            ]
        return add_native(body, message.native, self._skip())

    def _sort(self, part: Part, path: str, turn: _Turn) -> None:
        """Put a part of an assistant message where Chat holds its kind."""
        match part:
            case Reasoning():
                turn.thought.append((part, path))
            case ToolCall():
                turn.calls.append((part, path))
            case Opaque(dialect=dialect, body=opaque) if dialect == NAME and "type" not in opaque:
                turn.body.update(opaque)
            case Refusal() if turn.form != "list":
                turn.refusal += part.text
            case Media():
                raise TranslationError(f"{path}: Chat takes no media from the assistant.", path)
            case ToolResult():
                raise TranslationError(f"{path}: tool results must follow the answer.", path)
            case _:
                if turn.calls:
                    self._losses.add(path, "text after a tool call is moved before it")
                turn.content.append(part)

    def _assistant_content(self, turn: _Turn, index: int, optional: bool) -> Json:
        if not turn.content and turn.form != "list":
            return None if optional and turn.form != "empty" else ""
        return self._content(tuple(turn.content), f"messages[{index}].content", turn.form, "")

    def _call(self, call: ToolCall, path: str, index: int, number: int) -> JsonObject:
        if call.namespace is not None:
            raise TranslationError(f"{path}: Chat knows no namespaces of tools.", path)
        if call.cache is not None:
            self._losses.add(f"{path}.cache", "cache marks of this form are not known here")
        signature = call.signature
        if signature is not None and (
            signature.issuer != self._target.issuer or self._target.official
        ):
            self._losses.add(f"{path}.signature", "only its issuer can read it")
            signature = None
        call_id = fit_id(call.id, CHAT_CALL) if call.id else stand_in_id(index, number, call.name)
        return encode_call(call, call_id, signature.value if signature else None)

    def _thought(self, thought: list[tuple[Reasoning, str]], body: JsonObject) -> None:
        details: list[Json] = []
        for part, path in thought:
            own = part.native is not None and part.native.dialect == NAME
            signature = part.signature
            items = None
            key = ""
            if signature is not None and signature.issuer == self._target.issuer:
                if signature.value in TEXT_KEYS:
                    key = signature.value
                else:
                    items = parse_details(signature.value)
            if self._target.official or not (own or items or key):
                self._losses.add(path, "this service takes no thought back")
                continue
            self._thought_key = key or self._thought_key
            if items is not None:
                details.extend(items)
            elif signature is not None and not key:
                self._losses.add(f"{path}.signature", "only its issuer can read it")
            form = form_of(part.native)
            if form is None and not own:
                form = [key or "reasoning"]
            for name in form if isinstance(form, list) else ():
                if part.text and isinstance(name, str):
                    body[name] = str(body.get(name, "")) + part.text
            add_native(body, part.native)
        if details:
            body["reasoning_details"] = details


def _name_of(tool: Json) -> str | None:
    if not isinstance(tool, dict):
        return None
    for key in ("function", "custom"):
        inner = tool.get(key)
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            return str(inner["name"])
    return None


def _nest_grammar(grammar: Json) -> Json:
    # Responses writes syntax and definition flat beside the type.
    if isinstance(grammar, dict) and grammar.get("type") == "grammar" and "grammar" not in grammar:
        inner = {key: value for key, value in grammar.items() if key != "type"}
        return {"type": "grammar", "grammar": inner}
    return grammar
