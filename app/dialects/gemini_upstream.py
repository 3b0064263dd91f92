"""A canonical request to Gemini's wire.

A request that came from a Gemini client goes out as it was read: same turns, same schemas, same
fields. Anything else is fitted to Gemini's rules:

- contents alternate between ``user`` and ``model``, the first is ``user``; results of tools stand
  in ``user`` contents, right after the calls;
- a result is an object: JSON objects as they are, other text as ``{"output": …}``, errors as
  ``{"error": …}``; images of a result follow as parts of the same content;
- the first call of a step needs a signature where the model thinks by level (Gemini 3): where
  none is known, Google's documented stand-in is sent;
- schemas lose the keywords that Gemini refuses (see ``gemini_schema``).

Sources: https://ai.google.dev/gemini-api/docs/function-calling, /thinking and
/thought-signatures (read November 2026).
"""

from __future__ import annotations

from app.canonical.parts import (
    Json,
    JsonObject,
    Media,
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
from app.canonical.request import ChatRequest, Message, ServerTool, Tool
from app.dialects.base import Encoded, LossList
from app.dialects.gemini_parts import (
    DIALECT,
    ISSUER,
    PLACEHOLDER,
    arguments_object,
    call_body,
    media_body,
    own_fields,
)
from app.dialects.gemini_request import MADE_UP_ID, continues, named_by_client
from app.dialects.gemini_schema import clean, to_openapi
from app.dialects.gemini_settings import encode_settings, fitted_profile
from app.errors import TranslationError

__all__ = ["encode_count_request", "encode_request"]

_UNKNOWN = "not known to this dialect"
_NESTED = ("generationConfig", "toolConfig", "systemInstruction")


def encode_request(request: ChatRequest, target: Target) -> Encoded:
    """Canon to wire, for an upstream.

    Raises:
        TranslationError: content that Gemini cannot take.
    """
    encoder = _Encoder(request, target)
    return Encoded(encoder.body(), encoder.losses.done())


def encode_count_request(request: ChatRequest, target: Target) -> Encoded:
    """Return the body of ``countTokens``.

    Google counts bare contents, or a whole ``generateContentRequest`` when there is more to count;
    others (Vertex) take the same fields side by side.

    Raises:
        TranslationError: content that Gemini cannot take.
    """
    encoded = encode_request(request, target)
    names = ("contents", "systemInstruction", "tools", "toolConfig", "cachedContent")
    body: JsonObject = {name: encoded.body[name] for name in names if name in encoded.body}
    if len(body) > 1 and target.official:
        model = request.model
        if not model.startswith(("models/", "tunedModels/")):
            model = f"models/{model}"
        body = {"generateContentRequest": {"model": model, **body}}
    return Encoded(body, encoded.losses)


class _Encoder:
    def __init__(self, request: ChatRequest, target: Target) -> None:
        self.request = request
        self.target = target
        self.losses = LossList()
        self._own = request.native is not None and request.native.dialect == DIALECT
        self._native = own_fields(request.native)
        self._profile = fitted_profile(target.profile, request.model)
        self._cache_noted = False
        self._calls: dict[str, tuple[int, str]] = {}
        for message in request.messages:
            for part in message.parts:
                if isinstance(part, ToolCall):
                    self._calls.setdefault(part.id, (len(self._calls), part.name))

    def body(self) -> JsonObject:
        body: JsonObject = {}
        system = self._system()
        if system is not None:
            body["systemInstruction"] = system
        body["contents"] = self._contents()
        tools = self._tools()
        if tools:
            body["tools"] = tools
        tool_config = self._tool_config(bool(tools))
        if tool_config:
            body["toolConfig"] = tool_config
        config = encode_settings(
            self.request, self.target, self._profile, self.losses, self._nested("generationConfig")
        )
        if config:
            body["generationConfig"] = config
        tier = self._tier()
        if tier is not None:
            body["serviceTier"] = tier
        for key, value in self._native.items():
            if key not in _NESTED:
                body[key] = value
        self._note_unknown()
        return body

    def _nested(self, key: str) -> JsonObject:
        value = self._native.get(key)
        return dict(value) if isinstance(value, dict) else {}

    # Contents

    def _system(self) -> JsonObject | None:
        places: list[tuple[str, Part]] = [
            (f"system[{number}]", part) for number, part in enumerate(self.request.system)
        ]
        seen_turn = False
        for index, message in enumerate(self.request.messages):
            if message.role not in ("system", "developer"):
                seen_turn = True
                continue
            if seen_turn:
                self.losses.add(f"messages[{index}]", "system text moved to the front")
            places.extend(
                (f"messages[{index}].content[{number}]", part)
                for number, part in enumerate(message.parts)
            )
        parts: list[Json] = []
        for path, part in places:
            if isinstance(part, Text):
                self._note_cache(part, path)
                text = self._text(part, path, self._own)
                if text is not None:
                    parts.append(text)
            elif self._own and isinstance(part, Media):
                parts.append(media_body(part, path))
            elif isinstance(part, Opaque) and part.dialect == DIALECT:
                parts.append(dict(part.body))
            else:
                raise TranslationError("Gemini's system instruction holds text only.", path)
        kept = self._nested("systemInstruction")
        return {**kept, "parts": parts} if parts or kept else None

    def _contents(self) -> list[Json]:
        contents: list[tuple[JsonObject, list[JsonObject]]] = []
        for index, message in enumerate(self.request.messages):
            if message.role in ("system", "developer"):
                continue
            own = named_by_client(message)
            parts = self._parts(index, message)
            role: Json = "model" if message.role == "assistant" else "user"
            if message.name is not None:
                self.losses.add(f"messages[{index}].name", _UNKNOWN)
            kept = dict(own_fields(message.native))
            kept.pop("_continues", None)
            joins = continues(message) if own else bool(parts)
            if contents and joins and (own or contents[-1][0].get("role", "user") == role):
                contents[-1][1].extend(parts)
            elif parts or own:
                head: JsonObject = {"role": role, **kept}
                if head["role"] is None:
                    del head["role"]
                if not contents and not own and role == "model":
                    self.losses.add(f"messages[{index}]", "an empty user turn was put before it")
                    contents.append(({"role": "user"}, [{"text": " "}]))
                contents.append((head, parts))
        if not contents and not self._own:
            self.losses.add("messages", "an empty user turn was added")
            contents.append(({"role": "user"}, [{"text": " "}]))
        if self._profile.reasoning == "level":
            for _, parts in contents:
                _sign_first_call(parts)
        result: list[Json] = []
        for head, parts in contents:
            listed: list[Json] = [*parts]
            result.append({**head, "parts": listed})
        return result

    def _parts(self, index: int, message: Message) -> list[JsonObject]:
        own = named_by_client(message)
        parts: list[JsonObject] = []
        after: list[JsonObject] = []
        for number, part in self._in_order(message, own):
            path = f"messages[{index}].content[{number}]"
            self._note_cache(part, path)
            body: JsonObject | None
            match part:
                case Text():
                    body = self._text(part, path, own)
                case Refusal(text=text):
                    body = {"text": text} if text else None
                case Reasoning():
                    body = self._thought(part, path, own)
                case Media():
                    body = self._media(part, path)
                case ToolCall():
                    body = self._call(part, path, own)
                case ToolResult():
                    body = self._result(part, path, own, after)
                case Opaque(dialect=dialect, body=raw):
                    if dialect != DIALECT:
                        raise TranslationError("Gemini has no such block.", path)
                    body = dict(raw)
            if body is not None:
                parts.append(body)
        return parts + after

    def _in_order(self, message: Message, own: bool) -> list[tuple[int, Part]]:
        numbered = list(enumerate(message.parts))
        if message.role == "tool" and not own and not self.target.official:
            # Without ids, results are told apart by their order only.
            numbered.sort(key=lambda item: self._place(item[1]))
        return numbered

    def _place(self, part: Part) -> int:
        known = self._calls.get(part.call_id) if isinstance(part, ToolResult) else None
        return known[0] if known is not None else len(self._calls)

    def _note_cache(self, part: Part, path: str) -> None:
        marked = isinstance(part, Text | Media | ToolCall | ToolResult) and part.cache is not None
        if marked and not self._cache_noted:
            self._cache_noted = True
            self.losses.add(f"{path}.cache", "Gemini caches by itself")

    def _signed(self, body: JsonObject, signature: Signature | None, path: str) -> JsonObject:
        if signature is not None:
            if signature.issuer == self.target.issuer:
                body["thoughtSignature"] = signature.value
            else:
                self.losses.add(f"{path}.signature", "signed by another service")
        return body

    def _text(self, part: Text, path: str, own: bool) -> JsonObject | None:
        if not part.text and part.signature is None and not own:
            return None  # Gemini refuses empty parts
        return self._signed({"text": part.text, **own_fields(part.native)}, part.signature, path)

    def _thought(self, part: Reasoning, path: str, own: bool) -> JsonObject | None:
        signature = part.signature
        ours = own if signature is None else signature.issuer == self.target.issuer
        if not ours:
            self.losses.add(path, "thought of another service")
            return None
        body: JsonObject = {"text": part.text, "thought": True, **own_fields(part.native)}
        return self._signed(body, signature, path)

    def _media(self, part: Media, path: str) -> JsonObject:
        body = media_body(part, path)
        if self.target.issuer != ISSUER:
            body.pop("thoughtSignature", None)
        if part.detail not in (None, "auto"):
            self.losses.add(f"{path}.detail", _UNKNOWN)
        return body

    def _wire_id(self, call_id: str, own: bool) -> str:
        wanted = own or self.target.official
        return call_id if wanted and not MADE_UP_ID.fullmatch(call_id) else ""

    def _call(self, call: ToolCall, path: str, own: bool) -> JsonObject:
        if call.kind == "custom" or call.namespace is not None:
            raise TranslationError("Gemini has neither free-text tools nor namespaces.", path)
        body, sound = call_body(call, self._wire_id(call.id, own))
        if not sound:
            self.losses.add(f"{path}.arguments", "not a JSON object: sent under _raw")
        return self._signed(body, call.signature, path)

    def _result(
        self, result: ToolResult, path: str, own: bool, after: list[JsonObject]
    ) -> JsonObject:
        kept = dict(own_fields(result.native))
        verbatim = kept.pop("functionResponse", None)
        if own and isinstance(verbatim, dict):
            again = dict(verbatim)
            if result.name is not None:
                again["name"] = result.name
            return {"functionResponse": again, **kept}
        known = self._calls.get(result.call_id)
        name = known[1] if known is not None else result.name
        if name is None:
            raise TranslationError("This result belongs to no call of the conversation.", path)
        body: JsonObject = {}
        call_id = self._wire_id(result.call_id, own)
        if call_id:
            body["id"] = call_id
        body["name"] = name
        body["response"] = self._response(result, path, after)
        return {"functionResponse": body}

    def _response(self, result: ToolResult, path: str, after: list[JsonObject]) -> JsonObject:
        texts: list[str] = []
        for number, part in enumerate(result.content):
            where = f"{path}.content[{number}]"
            self._note_cache(part, where)
            if isinstance(part, Text | Refusal):
                texts.append(part.text)
            elif isinstance(part, Media):
                # Where the model knows no parts inside a result, parts beside it work.
                after.append(self._media(part, where))
                self.losses.add(where, "moved behind the tool result")
            else:
                raise TranslationError("Gemini has no such block in a tool result.", where)
        text = "\n".join(texts)
        if result.is_error:
            return {"error": text}
        if text.lstrip().startswith("{"):
            value, sound = arguments_object(text)
            if sound:
                return value
        return {"output": text}

    # Tools

    def _tools(self) -> list[Json]:
        tools: list[Json] = []
        functions: list[Json] = []
        plain = any(isinstance(tool, Tool) for tool in self.request.tools)
        for index, tool in enumerate(self.request.tools):
            if isinstance(tool, ServerTool):
                body = self._server_tool(index, tool, beside_functions=plain)
                if body is not None:
                    tools.append(body)
                    functions = []
                continue
            if not functions:
                functions = []
                tools.append({"functionDeclarations": functions})
            functions.append(self._function(index, tool))
        return tools

    def _function(self, index: int, tool: Tool) -> JsonObject:
        path = f"tools[{index}]"
        if tool.kind == "custom" or tool.namespace is not None:
            raise TranslationError("Gemini has neither free-text tools nor namespaces.", path)
        body: JsonObject = {"name": tool.name}
        if tool.description is not None:
            body["description"] = tool.description
        if tool.strict:
            self.losses.add(f"{path}.strict", _UNKNOWN)
        if tool.cache is not None and not self._cache_noted:
            self._cache_noted = True
            self.losses.add(f"{path}.cache", "Gemini caches by itself")
        kept = own_fields(tool.native)
        if self._own:
            if tool.schema is not None and "parameters" not in kept:
                body["parametersJsonSchema"] = tool.schema
        elif tool.schema is not None:
            self._declare(body, tool.schema, path)
        return {**body, **kept}

    def _declare(self, body: JsonObject, schema: JsonObject, path: str) -> None:
        if self.target.official:
            body["parametersJsonSchema"], dropped = clean(schema)
        else:
            parameters, dropped = to_openapi(schema)
            if parameters.get("properties") or parameters.get("type") != "OBJECT":
                body["parameters"] = parameters  # an object without properties is refused
        for keyword in dropped:
            self.losses.add(f"{path}.schema.{keyword}", _UNKNOWN)

    def _server_tool(
        self, index: int, tool: ServerTool, *, beside_functions: bool
    ) -> JsonObject | None:
        if tool.dialect == DIALECT:
            return dict(tool.body)
        path = f"tools[{index}]"
        choice = self.request.tool_choice
        called = (tool.body.get("name"), tool.body.get("type"))
        if choice is not None and any(name in called for name in choice.names):
            raise TranslationError("Gemini has no such tool, and the request demands it.", path)
        key = _SERVER_TOOLS.get(tool.purpose or "")
        if key is None:
            self.losses.add(path, _UNKNOWN)
            return None
        if beside_functions:
            self.losses.add(path, "Gemini does not combine it with functions")
            return None
        if tool.body.keys() - {"type", "name"}:
            self.losses.add(f"{path}.options", _UNKNOWN)
        return {key: {}}

    def _tool_config(self, declared: bool) -> JsonObject:
        config = self._nested("toolConfig")
        if self.request.parallel_tools is False:
            self.losses.add("parallel_tools", _UNKNOWN)
        choice = self.request.tool_choice
        if choice is None:
            return config
        if not declared and not self._own:
            if choice.mode != "none":
                self.losses.add("tool_choice", "there are no tools")
            return config
        mode: Json = {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]
        if choice.mode == "auto" and choice.names:
            mode = "VALIDATED"  # the one mode that limits the names without forcing a call
        calling: JsonObject = {"mode": mode}
        if choice.names and choice.mode != "none":
            calling["allowedFunctionNames"] = list(choice.names)
        if self._own:
            calling.update(own_fields(choice.native))
            if calling["mode"] is None:
                del calling["mode"]
        return {"functionCallingConfig": calling, **config}

    def _tier(self) -> str | None:
        tier = self.request.service_tier
        if tier is None or self._own:
            return tier
        known = _TIERS.get(tier)
        if known is None and tier != "auto":
            self.losses.add("service_tier", _UNKNOWN)
        return known

    def _note_unknown(self) -> None:
        request = self.request
        knobs: list[tuple[str, object]] = [
            ("verbosity", request.verbosity),
            ("cache_key", request.cache_key),
            ("user", request.user),
            ("metadata", request.metadata),
            ("store", request.store or None),
        ]
        for path, value in knobs:
            if value is not None:
                self.losses.add(path, _UNKNOWN)
        if request.native is not None and not self._own:
            for name in request.native.fields:
                if name[:1] not in ("@", "$"):  # notes on the form of the request, no wishes
                    self.losses.add(f"native.{name}", _UNKNOWN)


_SERVER_TOOLS = {
    "web_search": "googleSearch",
    "code_execution": "codeExecution",
    "url_context": "urlContext",
}
_TIERS = {"flex": "flex", "priority": "priority", "default": "standard", "standard": "standard"}


def _sign_first_call(parts: list[JsonObject]) -> None:
    for body in parts:
        if "functionCall" in body:
            body.setdefault("thoughtSignature", PLACEHOLDER)
            return
