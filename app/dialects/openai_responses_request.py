"""Requests of the Responses dialect: wire to canon, and canon to wire.

Reading, consecutive items of the assistant (thoughts, words, calls, hosted tools) become one
message, and consecutive tool outputs another. Writing, each part gives its item again.

A foreign signature of a call or a text has no slot of its own here: it travels in a ``reasoning``
item with an empty summary, whose sealed content says which call (``{"call": id}``) or that it is
the neighbouring text (``{"text": true}``, with ``"after": true`` when it follows) it belongs to.

Source: https://platform.openai.com/docs/api-reference/responses/create and openai-python 3.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

from app.canonical.ids import RESPONSES_CALL, fit_id
from app.canonical.parts import (
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
from app.canonical.reasoning import resolve
from app.canonical.request import (
    ChatRequest,
    Effort,
    Message,
    OutputFormat,
    ReasoningConfig,
    Role,
)
from app.dialects.base import Encoded, LossList
from app.dialects.carrier import open_seal
from app.dialects.identity import pseudonym
from app.dialects.openai_responses_items import (
    CALL_TYPES,
    EASY,
    ITEM,
    NAME,
    OUTPUT_TYPES,
    STRING,
    UniqueIds,
    decode_call,
    decode_content,
    decode_image_call,
    decode_reasoning,
    decode_result,
    decode_spoken,
    encode_content,
    encode_image_call,
    encode_result_output,
    encode_spoken,
    fields_of,
    fit_item_id,
    made_call_id,
    native_of,
    optional_text,
    reasoning_body,
    want_list,
    want_object,
    want_text,
    wire_fields,
    wrong,
)
from app.dialects.openai_responses_tools import (
    decode_tool_choice,
    decode_tools,
    encode_tool_choice,
    encode_tools,
)
from app.errors import RequestError, TranslationError

__all__ = ["decode_request", "encode_items", "encode_output", "encode_request"]

ISSUER = "openai"

_INPUT = "@input"
"""Message note: the whole ``input`` was a string."""
_ITEMS = "@items"
"""Message note: its opaque parts are items, not content parts."""
_UNSIGNED = "@unsigned"
"""Reasoning note: the thought came from a service that signs nothing; no one takes it back."""

_CLIENT_ITEMS = (
    "mcp_approval_response",
    "compaction_trigger",
    "additional_tools",
    "configuration_update",
)
"""Items that the client makes and that do not end in ``_output``."""

_KNOWN = (
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "reasoning",
    "text",
    "stream",
    "prompt_cache_key",
    "service_tier",
    "metadata",
    "store",
)
_STORED = ("prompt", "conversation", "previous_response_id")
"""Fields that may stand in place of ``input``."""
_TIERS = ("auto", "default", "flex", "scale", "priority")
_LOGPROBS = "message.output_text.logprobs"
_ENCRYPTED = "reasoning.encrypted_content"
_VENDOR_FIELDS = ("client_metadata", "internal_chat_message_metadata_passthrough")
"""What Codex says about its user and device; only for OpenAI."""


# Decoding ----------------------------------------------------------------------------------------


def decode_request(body: JsonObject) -> ChatRequest:
    """Decode a body of ``POST /v1/responses``.

    Raises:
        RequestError: it does not follow the dialect; ``param`` says where.
    """
    native = {key: value for key, value in body.items() if key not in _KNOWN}
    include = native.get("include")
    instructions = optional_text(body, "instructions", "body")
    return ChatRequest(
        model=want_text(body.get("model"), "model"),
        messages=_decode_input(body),
        system=(Text(instructions),) if instructions else (),
        tools=decode_tools(body.get("tools")),
        tool_choice=decode_tool_choice(body.get("tool_choice")),
        parallel_tools=_optional_flag(body, "parallel_tool_calls"),
        max_tokens=_optional_count(body, "max_output_tokens"),
        temperature=_optional_number(body, "temperature"),
        top_p=_optional_number(body, "top_p"),
        logprobs=True if isinstance(include, list) and _LOGPROBS in include else None,
        top_logprobs=_optional_count(body, "top_logprobs"),
        reasoning=_decode_reasoning_config(body.get("reasoning")),
        output=_decode_output(body, native),
        verbosity=_decode_verbosity(body),
        stream=bool(_optional_flag(body, "stream")),
        cache_key=optional_text(body, "prompt_cache_key", "body"),
        user=_decode_user(native),
        service_tier=optional_text(body, "service_tier", "body"),
        metadata=_decode_metadata(body.get("metadata")),
        store=_optional_flag(body, "store"),
        native=Native(NAME, native),
    )


def _optional_flag(body: JsonObject, key: str) -> bool | None:
    value = body.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise wrong(key, "a boolean", value)


def _optional_count(body: JsonObject, key: str) -> int | None:
    value = body.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        if isinstance(value, int) and value < 0:
            raise RequestError(f"{key} must not be negative.", param=key)
        return value
    raise wrong(key, "a whole number", value)


def _optional_number(body: JsonObject, key: str) -> float | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(key, "a number", value)
    try:
        return float(value)
    except OverflowError as error:
        raise RequestError(f"{key} is too large.", param=key) from error


def _decode_user(native: JsonObject) -> str | None:
    # safety_identifier replaced user; where only one of them came it is named by its key's
    # presence among the native fields, so that it goes back under the same name.
    user = optional_text(native, "user", "body")
    safety = optional_text(native, "safety_identifier", "body")
    if safety is not None and user is None:
        del native["safety_identifier"]
    return safety if safety is not None else user


def _decode_metadata(value: Json) -> Mapping[str, str] | None:
    if value is None:
        return None
    pairs = want_object(value, "metadata")
    return {key: want_text(text, f"metadata.{key}") for key, text in pairs.items()}


def _decode_reasoning_config(value: Json) -> ReasoningConfig | None:
    if value is None:
        return None
    config = want_object(value, "reasoning")
    fields = {key: v for key, v in config.items() if key != "effort"}
    word = optional_text(config, "effort", "reasoning")
    effort = next((e for e in get_args(Effort) if e == word), None)
    if effort is None and word is not None:
        fields["effort"] = word
    asked = config.get("summary") or config.get("generate_summary")
    return ReasoningConfig(
        mode="off" if effort == "none" else "on",
        effort=effort,
        visible=True if asked else None,
        native=Native(NAME, fields),
    )


def _decode_output(body: JsonObject, native: JsonObject) -> OutputFormat | None:
    if body.get("text") is None:
        return None
    text = want_object(body["text"], "text")
    extras = {k: v for k, v in text.items() if k not in ("format", "verbosity")}
    if extras:
        native["text"] = extras
    if text.get("format") is None:
        return None
    form = want_object(text["format"], "text.format")
    kind = want_text(form.get("type"), "text.format.type")
    if kind in ("text", "json_object"):
        return OutputFormat("text" if kind == "text" else "json_object")
    if kind != "json_schema":
        native["text"] = {**extras, "format": form}
        return None
    strict = form.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise wrong("text.format.strict", "a boolean", strict)
    return OutputFormat(
        "json_schema",
        want_object(form.get("schema"), "text.format.schema"),
        optional_text(form, "name", "text.format"),
        strict,
        optional_text(form, "description", "text.format"),
    )


def _decode_verbosity(body: JsonObject) -> str | None:
    text = body.get("text")
    return optional_text(text, "verbosity", "text") if isinstance(text, dict) else None


def _decode_input(body: JsonObject) -> tuple[Message, ...]:
    value = body.get("input")
    if value is None:
        if any(body.get(key) is not None for key in _STORED):
            return ()
        raise RequestError("input is missing.", param="input")
    if isinstance(value, str):
        return (Message("user", (Text(value),), native=Native(NAME, {_INPUT: True})),)
    if not isinstance(value, list):
        raise wrong("input", "a string or a list of items", value)
    reader = _Reader()
    for number, item in enumerate(value):
        path = f"input[{number}]"
        reader.take(want_object(item, path), path)
    return reader.done()


@dataclass(slots=True)
class _Carried:
    """A text's signature that came in an item of its own."""

    signature: Signature
    place: int
    """Number of parts before it."""
    after: bool
    """It belongs to the text before it, not to the one that follows."""


class _Reader:
    """Groups items into messages."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._said: list[Part] = []
        self._results: list[Part] = []
        self._calls: dict[str, Signature] = {}
        self._texts: list[_Carried] = []

    def done(self) -> tuple[Message, ...]:
        """Return the messages."""
        self._flush()
        return tuple(self._messages)

    def take(self, item: JsonObject, path: str) -> None:
        """Take one item."""
        kind = item.get("type")
        if kind is None and "role" in item:
            kind = "message"
        elif kind is None and "id" in item:
            kind = "item_reference"
        kind = want_text(kind, f"{path}.type")
        if kind == "message":
            self._take_message(item, path)
        elif kind == "reasoning":
            self._take_reasoning(item, path)
        elif kind in CALL_TYPES:
            self._say(decode_call(item, path, exact=True))
        elif kind in OUTPUT_TYPES and isinstance(item.get("call_id"), str):
            if self._said:
                self._flush()
            self._results.append(decode_result(item, path))
        elif kind == "image_generation_call":
            self._say(decode_image_call(item) or Opaque(NAME, item))
        elif kind.endswith("_output") or kind in _CLIENT_ITEMS:
            self._flush()
            native = Native(NAME, {_ITEMS: True})
            self._messages.append(Message("user", (Opaque(NAME, item),), native=native))
        else:
            self._say(Opaque(NAME, item))

    def _say(self, part: Part) -> None:
        if self._results:
            self._flush()
        self._said.append(part)

    def _flush(self) -> None:
        if self._results:
            self._messages.append(Message("tool", tuple(self._results)))
            self._results.clear()
        for carried in self._texts:
            self._sign_text(carried)
        if self._said:
            parts = tuple(self._sign_call(part) for part in self._said)
            self._messages.append(Message("assistant", parts))
        self._said.clear()
        self._texts.clear()
        self._calls.clear()

    def _sign_call(self, part: Part) -> Part:
        if isinstance(part, ToolCall) and part.id in self._calls:
            return replace(part, signature=self._calls[part.id])
        return part

    def _sign_text(self, carried: _Carried) -> None:
        places = range(carried.place, len(self._said))
        if carried.after:
            places = range(carried.place - 1, -1, -1)
        for place in places:
            part = self._said[place]
            if isinstance(part, Text):
                self._said[place] = replace(part, signature=carried.signature)
                return

    def _take_message(self, item: JsonObject, path: str) -> None:
        role = want_text(item.get("role"), f"{path}.role")
        fields = {k: v for k, v in item.items() if k not in ("type", "role", "content")}
        if "type" not in item:
            fields[EASY] = True
        if role == "assistant":
            self._take_spoken(item, fields, path)
            return
        known: dict[str, Role] = {"user": "user", "system": "system", "developer": "developer"}
        if role not in known:
            raise RequestError(
                f"{path}.role must be user, assistant, system or developer, not {role!r}.",
                param=f"{path}.role",
            )
        parts, string = decode_content(item.get("content"), f"{path}.content")
        if string:
            fields[STRING] = True
        self._flush()
        self._messages.append(Message(known[role], parts, native=native_of(fields)))

    def _take_spoken(self, item: JsonObject, fields: JsonObject, path: str) -> None:
        content = item.get("content")
        parts: list[Part] = []
        if isinstance(content, str):
            fields[STRING] = True
            parts.append(Text(content))
        else:
            for number, value in enumerate(want_list(content, f"{path}.content")):
                spoken = decode_spoken(value, f"{path}.content[{number}]", exact=True)
                if spoken is None:
                    self._say(Opaque(NAME, item))
                    return
                parts.append(spoken)
        if not parts:
            self._flush()
            self._messages.append(Message("assistant", (), native=Native(NAME, {ITEM: fields})))
            return
        first = parts[0]
        if isinstance(first, Text | Refusal):
            parts[0] = replace(
                first, native=Native(NAME, {ITEM: fields, **fields_of(first.native)})
            )
        for part in parts:
            self._say(part)

    def _take_reasoning(self, item: JsonObject, path: str) -> None:
        part = decode_reasoning(item, path, ISSUER, exact=True)
        opened = open_seal(part.signature.value) if part.signature is not None else None
        if opened is None:
            self._say(part)
            return
        signature, extra = opened
        if self._results:
            self._flush()
        call = extra.get("call")
        if isinstance(call, str):
            self._calls[call] = signature
            return
        if extra.get("text"):
            self._texts.append(_Carried(signature, len(self._said), bool(extra.get("after"))))
            return
        fields = dict(fields_of(part.native))
        if not signature.issuer:
            fields[_UNSIGNED] = True
        self._say(
            replace(
                part,
                signature=signature if signature.issuer else None,
                redacted=bool(extra.get("redacted")),
                summary=part.summary and not extra.get("full"),
                native=native_of(fields),
            )
        )


# Encoding ----------------------------------------------------------------------------------------


def encode_request(request: ChatRequest, target: Target) -> Encoded:
    """Encode a body for an upstream's ``POST /v1/responses``.

    Raises:
        TranslationError: content that Responses cannot express.
    """
    losses = LossList()
    own = request.native is not None and request.native.dialect == NAME
    fields = fields_of(request.native)
    out: JsonObject = {"model": request.model}
    system = _encode_system(request)
    if system is not None:
        out["instructions"] = system
    _encode_input(request, target, out, losses, own)
    tools, hosted = encode_tools(request.tools, losses, own=own)
    if tools or (own and request.tools):
        out["tools"] = tools
    choice = encode_tool_choice(request, hosted, losses, own=own)
    if choice is not None:
        out["tool_choice"] = choice
    if request.parallel_tools is not None and (tools or own):
        out["parallel_tool_calls"] = request.parallel_tools
    _encode_sampling(request, target, out, losses)
    _encode_limits(request, target, out, losses)
    _encode_thinking(request, target, out, losses, own)
    _encode_text(request, target, out, losses, own)
    _encode_identity(request, target, out, losses, own)
    _encode_storage(request, target, out, losses, own)
    for key, value in fields.items():
        if key in _VENDOR_FIELDS and target.issuer != ISSUER:
            losses.add(f"native.{key}", "names a user or device to its own vendor only")
        elif key != "text" and key not in out:
            out[key] = value
    if not own and request.native is not None:
        _report_foreign(request.native, losses)
    if request.stream:
        out["stream"] = True
    return Encoded(out, losses.done())


def _report_foreign(native: Native, losses: LossList) -> None:
    said = {loss.path for loss in losses.items}
    for key in native.fields:
        # Keys with a mark in front are notes on the form of the request, not wishes.
        if key[:1].isalnum() and key not in said:
            losses.add(f"native.{key}", "not known to this dialect")


def _encode_system(request: ChatRequest) -> str | None:
    texts: list[str] = []
    for number, part in enumerate(request.system):
        if not isinstance(part, Text):
            path = f"system[{number}]"
            raise TranslationError(f"{path}: instructions can hold text only.", path)
        texts.append(part.text)
    return "\n\n".join(text for text in texts if text) or None


def _encode_input(
    request: ChatRequest, target: Target, out: JsonObject, losses: LossList, own: bool
) -> None:
    messages = request.messages
    if own and len(messages) == 1 and fields_of(messages[0].native).get(_INPUT):
        part = messages[0].parts[0] if messages[0].parts else None
        if isinstance(part, Text) and not fields_of(part.native):
            out["input"] = part.text
            return
    fields = fields_of(request.native)
    if own and not messages and any(fields.get(key) is not None for key in _STORED):
        return
    out["input"] = encode_items(messages, target, losses)


def _encode_sampling(
    request: ChatRequest, target: Target, out: JsonObject, losses: LossList
) -> None:
    profile = target.profile
    refused = "refused by this model"
    if request.temperature is not None:
        if profile.sampling:
            out["temperature"] = request.temperature
        else:
            losses.add("temperature", refused)
    if request.top_p is not None:
        if profile.sampling and not (profile.temperature_or_top_p and "temperature" in out):
            out["top_p"] = request.top_p
        else:
            losses.add("top_p", refused)
    unknown: tuple[tuple[str, object], ...] = (
        ("top_k", request.top_k),
        ("frequency_penalty", request.frequency_penalty),
        ("presence_penalty", request.presence_penalty),
        ("seed", request.seed),
        ("stop", request.stop or None),
    )
    for name, value in unknown:
        if value is not None:
            losses.add(name, "not known to this dialect")
    if request.top_logprobs is not None:
        out["top_logprobs"] = request.top_logprobs


def _encode_limits(request: ChatRequest, target: Target, out: JsonObject, losses: LossList) -> None:
    if request.choices > 1:
        raise TranslationError("Several alternative answers cannot be asked of Responses.", "n")
    limit = request.max_tokens
    if limit is None:
        return
    if limit < 16 and target.official:
        losses.add("max_tokens", "raised to 16, the least that the service takes")
        limit = 16
    out["max_output_tokens"] = limit


def _encode_thinking(
    request: ChatRequest, target: Target, out: JsonObject, losses: LossList, own: bool
) -> None:
    config = request.reasoning
    if config is None:
        return
    thinking = resolve(config, target.profile, request.max_tokens)
    if thinking is None:
        if config.mode != "off":
            losses.add("reasoning", "this model does not think")
        return
    kept = fields_of(config.native)
    wish: JsonObject = dict(kept)
    if thinking.effort is not None:
        wish["effort"] = thinking.effort
        if config.effort is not None and config.effort != thinking.effort:
            losses.add("reasoning.effort", f"the nearest that this model takes: {thinking.effort}")
    shown = thinking.visible and not thinking.off and (config.visible is True or not own)
    if shown and not (kept.get("summary") or kept.get("generate_summary")):
        wish["summary"] = "auto"
    out["reasoning"] = wish


def _encode_text(
    request: ChatRequest, target: Target, out: JsonObject, losses: LossList, own: bool
) -> None:
    extras = fields_of(request.native).get("text")
    text: JsonObject = dict(extras) if isinstance(extras, dict) else {}
    if request.output is not None:
        text["format"] = encode_output(request.output, own=own)
        if request.output.kind == "json_schema" and not target.profile.json_schema:
            losses.add("output", "not enforced by this service")
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity
    if text:
        out["text"] = text


_SCHEMA_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def encode_output(output: OutputFormat, *, own: bool) -> JsonObject:
    """Return ``text.format``."""
    if output.kind != "json_schema":
        return {"type": output.kind}
    name = output.name or "answer"
    if not own and not _SCHEMA_NAME.fullmatch(name):
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        name = f"{re.sub(r'[^a-zA-Z0-9_-]', '_', name)[:48]}_{digest}"
    form: JsonObject = {"type": "json_schema", "name": name, "schema": output.schema or {}}
    strict = output.strict
    if strict is None and not own and _can_be_strict(output.schema):
        strict = True  # the other dialects enforce every schema; here only strict ones are
    if strict is not None:
        form["strict"] = strict
    if output.description is not None:
        form["description"] = output.description
    return form


def _can_be_strict(schema: Json) -> bool:
    """Say whether every object closes its properties and requires each, as strict mode demands."""
    stack: list[Json] = [schema]
    objects = 0
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        if not isinstance(node, dict):
            continue
        properties = node.get("properties")
        if node.get("type") == "object" or isinstance(properties, dict):
            objects += 1
            required = node.get("required")
            names = set(properties) if isinstance(properties, dict) else set()
            given = (
                {n for n in required if isinstance(n, str)} if isinstance(required, list) else ()
            )
            if node.get("additionalProperties") is not False or names != set(given):
                return False
        stack.extend(node.values())
    return objects > 0


def _encode_identity(
    request: ChatRequest, target: Target, out: JsonObject, losses: LossList, own: bool
) -> None:
    fields = fields_of(request.native)
    if request.user is not None and "user" not in fields:
        vendor = request.native is not None and request.native.dialect == "openai_chat"
        user = request.user if own or vendor else pseudonym(request.user)
        out["safety_identifier" if own or target.official else "user"] = user
    if request.metadata is not None:
        out["metadata"] = dict(request.metadata)
    if request.service_tier is not None:
        if own or request.service_tier in _TIERS:
            out["service_tier"] = request.service_tier
        else:
            losses.add("service_tier", "not known to this service")


def _encode_storage(
    request: ChatRequest, target: Target, out: JsonObject, losses: LossList, own: bool
) -> None:
    if request.cache_key is not None:
        out["prompt_cache_key"] = request.cache_key
    if own:
        if request.store is not None:
            out["store"] = request.store
        return
    out["store"] = False
    if request.store:
        losses.add("store", "the translated conversation is not kept by the service")
    include: list[Json] = []
    style = target.profile.reasoning
    # A model that is known not to think, or may not, refuses this: "Encrypted content is not
    # supported with this model."
    if style not in ("none", "unknown") or "reasoning" in out:
        include.append(_ENCRYPTED)
    if request.logprobs:
        include.append(_LOGPROBS)
    if include:
        out["include"] = include


# Items -------------------------------------------------------------------------------------------


def encode_items(messages: tuple[Message, ...], target: Target, losses: LossList) -> list[Json]:
    """Return a conversation as input items.

    Raises:
        TranslationError: content that Responses cannot express.
    """
    writer = _Writer(target, losses)
    for number, message in enumerate(messages):
        writer.write(number, message)
    return writer.items


class _Writer:
    """Turns messages into items."""

    def __init__(self, target: Target, losses: LossList) -> None:
        self.items: list[Json] = []
        self._target = target
        self._losses = losses
        self._unique = UniqueIds()
        self._waiting: dict[str, deque[str]] = {}
        self._spoken: JsonObject | None = None
        self._made = False
        """The open message is ours, not one that the client wrote as an item."""
        self._content: list[Json] = []

    def write(self, number: int, message: Message) -> None:
        """Append the items of one message."""
        path = f"messages[{number}]"
        if message.name is not None:
            self._losses.add(f"{path}.name", "not known to this dialect")
        if message.role == "assistant":
            self._write_assistant(number, message, path)
        else:
            self._write_other(message, path)

    def _write_other(self, message: Message, path: str) -> None:
        fields = fields_of(message.native)
        role = "user" if message.role == "tool" else message.role
        content: list[Json] = []
        for number, part in enumerate(message.parts):
            place = f"{path}.content[{number}]"
            if isinstance(part, ToolResult):
                self._close_message(role, content, {})
                content = []
                self._write_result(part, place)
            elif isinstance(part, Opaque) and part.dialect == NAME and fields.get(_ITEMS):
                self._put_opaque(part)
            else:
                content.append(encode_content(part, place))
        keep_empty = not message.parts and message.native is not None and ITEM not in fields
        if content or (keep_empty and fields):
            self._close_message(role, content, fields, keep_empty=True)

    def _close_message(
        self,
        role: str,
        content: list[Json],
        fields: Mapping[str, Json],
        *,
        keep_empty: bool = False,
    ) -> None:
        if not content and not keep_empty:
            return
        item: JsonObject = {} if fields.get(EASY) else {"type": "message"}
        item["role"] = role
        item["content"] = _shorten(content) if fields.get(STRING) else content
        self._add_fields(item, "message", fields)
        self.items.append(item)

    def _add_fields(self, item: JsonObject, kind: str, fields: Mapping[str, Json]) -> None:
        """Add an item's own fields; nulls that the service refuses when sent back are left out."""
        for key, value in wire_fields(fields).items():
            if key == "id" and isinstance(value, str):
                item["id"] = fit_item_id(kind, value)
            elif key in _VENDOR_FIELDS and self._target.issuer != ISSUER:
                continue
            elif value is not None or (kind == "reasoning" and key in ("content",)):
                item[key] = value

    def _put_opaque(self, part: Opaque) -> None:
        item = {
            key: value
            for key, value in part.body.items()
            if not (key in ("id", "status") and value is None)
            and not (key in _VENDOR_FIELDS and self._target.issuer != ISSUER)
        }
        self.items.append(item)

    def _write_assistant(self, number: int, message: Message, path: str) -> None:
        if not message.parts:
            item = fields_of(message.native).get(ITEM)
            if isinstance(item, dict):
                self._spoken = item
                self._end_spoken()
            return
        for place, part in enumerate(message.parts):
            where = f"{path}.content[{place}]"
            if isinstance(part, Text | Refusal):
                self._speak(part, where)
                continue
            self._end_spoken()
            match part:
                case ToolCall():
                    self._write_call(number, place, part, where)
                case Reasoning():
                    self._write_reasoning(part, where)
                case Opaque(dialect=dialect) if dialect == NAME:
                    self._put_opaque(part)
                case ToolResult():
                    self._write_result(part, where)
                case Media():
                    picture = encode_image_call(part)
                    if picture is None:
                        raise TranslationError(f"{where}: the assistant cannot say this.", where)
                    picture.setdefault("id", "ig_" + _digest(part.data or ""))
                    self.items.append(picture)
                case _:
                    raise TranslationError(
                        f"{where} holds a block that only its own service understands.", where
                    )
        self._end_spoken()

    def _speak(self, part: Text | Refusal, where: str) -> None:
        start = fields_of(part.native).get(ITEM)
        if isinstance(start, dict):
            self._end_spoken()
            self._spoken = start
            self._made = False
        elif self._spoken is None:
            self._made = True
            # The service's types want id and status of what the assistant said.
            self._spoken = {"id": "msg_" + _digest(f"{where}.{part.text}"), "status": "completed"}
        content = encode_spoken(part)
        if isinstance(part, Text):
            if part.signature is not None:
                self._losses.add(f"{where}.signature", "belongs to another service")
            if self._made:
                content.setdefault("annotations", [])
        self._content.append(content)

    def _end_spoken(self) -> None:
        if self._spoken is None:
            return
        fields, content = self._spoken, self._content
        self._spoken, self._content = None, []
        self._close_message("assistant", content, fields, keep_empty=True)

    def _write_call(self, message: int, place: int, part: ToolCall, where: str) -> None:
        if part.signature is not None:
            self._losses.add(f"{where}.signature", "belongs to another service")
        raw = part.id or made_call_id(message, place, part.name)
        call_id = self._unique.take(fit_id(raw, RESPONSES_CALL))
        self._waiting.setdefault(part.id, deque()).append(call_id)
        if part.kind == "custom":
            item: JsonObject = {"type": "custom_tool_call", "input": part.arguments}
        else:
            item = {"type": "function_call", "arguments": part.arguments or "{}"}
        item["call_id"] = call_id
        item["name"] = part.name
        if part.namespace is not None:
            item["namespace"] = part.namespace
        self._add_fields(item, str(item["type"]), fields_of(part.native))
        self.items.append(item)

    def _write_result(self, part: ToolResult, where: str) -> None:
        if part.is_error:
            self._losses.add(f"{where}.is_error", "not known to this dialect")
        waiting = self._waiting.get(part.call_id)
        if waiting:
            call_id = waiting.popleft() if len(waiting) > 1 else waiting[0]
        else:
            call_id = fit_id(part.call_id, RESPONSES_CALL)
        custom = part.kind == "custom"
        item: JsonObject = {
            "type": "custom_tool_call_output" if custom else "function_call_output",
            "call_id": call_id,
            "output": encode_result_output(part, where),
        }
        fields = dict(fields_of(part.native))
        if "name" in fields:
            fields["name"] = part.name
        self._add_fields(item, str(item["type"]), fields)
        self.items.append(item)

    def _write_reasoning(self, part: Reasoning, where: str) -> None:
        fields = fields_of(part.native)
        signature = part.signature
        own = part.native is not None and part.native.dialect == NAME
        if signature is None and own and not fields.get(_UNSIGNED):
            value = None  # a stored thought, named by its id
        elif signature is not None and signature.issuer == self._target.issuer:
            value = signature.value
        else:
            self._losses.add(where, "a thought of another service, which alone can read it")
            return
        item: JsonObject = {"type": "reasoning"}
        if part.id is not None:
            item["id"] = fit_item_id("reasoning", part.id)
        elif value is not None and not own:
            item["id"] = "rs_" + _digest(value)
        body = reasoning_body(part)
        item["summary"] = body.pop("summary")
        if value is not None:
            item["encrypted_content"] = value
        self._add_fields(item, "reasoning", body)
        self.items.append(item)


def _shorten(content: list[Json]) -> Json:
    """Return a single plain text as a string, as the client wrote it."""
    if len(content) == 1 and isinstance(content[0], dict):
        text = content[0].get("text")
        if isinstance(text, str):
            return text
    return content


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
