"""Anthropic Messages requests, canon to wire.

Messages, tools and thought have files of their own; here they are put together with system text,
sampling, structured output and the rest of the top level.

Sources: https://platform.claude.com/docs/en/api/messages and the types of the official Python SDK
2.12 (``anthropic.types``, read 2026-11). Rules that the service enforces without saying so in the
types carry their own note.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.canonical.parts import Json, JsonObject, Part, Text
from app.canonical.profile import Target
from app.canonical.request import ChatRequest, Message
from app.dialects.anthropic_thought import Think, decide_thought
from app.dialects.anthropic_tools import encode_choice, encode_tools
from app.dialects.anthropic_turns import TurnWriter, plain_text, render_turn
from app.dialects.anthropic_values import BILLING_KEY, ISSUER, LIST, Outgoing, has_mark, own_fields
from app.dialects.base import Encoded, dump
from app.dialects.identity import pseudonym
from app.errors import TranslationError

__all__ = [
    "MAX_CACHE_MARKS",
    "MIN_TOP_P_THINKING",
    "encode_request",
    "plain_schema",
]


MAX_CACHE_MARKS = 4
MIN_TOP_P_THINKING = 0.95


def encode_request(request: ChatRequest, target: Target) -> Encoded:
    """Return a request as the service takes it; see ``Dialect.encode_request``."""
    try:
        return _encode(Outgoing(request, target))
    except RecursionError as error:
        raise TranslationError("The request nests too deeply.", "messages") from error


def _encode(out: Outgoing) -> Encoded:
    request = out.request
    if request.tools and not out.profile.tools:
        raise TranslationError(f"{request.model} knows no tools.", "tools")
    system, kept = _place_system(out)
    writer = TurnWriter(out)
    turns = writer.write(kept)
    tools = encode_tools(out)
    choice = encode_choice(out, tools)
    form, order = _output(out)
    max_tokens, think = decide_thought(out, turns, choice)
    body: JsonObject = {"model": request.model, "max_tokens": max_tokens}
    text = _system(out, writer, system, order)
    if text:
        body["system"] = text
    body["messages"] = [render_turn(turn) for turn in turns]
    if tools:
        body["tools"] = list(tools)
    if choice is not None:
        body["tool_choice"] = choice
    if think.thinking is not None:
        body["thinking"] = think.thinking
    _sampling(out, body, think)
    _config(out, body, form, think)
    _natives(out, body)
    _foreign_knobs(out)
    if request.stream:
        body["stream"] = True
    _limit_marks(out, body)
    return Encoded(body, out.losses.done())


def _place_system(out: Outgoing) -> tuple[list[tuple[str, Part]], list[tuple[int, Message]]]:
    """Return the system parts with their paths, and the messages that stay in place."""
    system = [(f"system[{j}]", part) for j, part in enumerate(out.request.system)]
    kept: list[tuple[int, Message]] = []
    for index, message in enumerate(out.request.messages):
        if message.role not in ("system", "developer"):
            kept.append((index, message))
            continue
        if out.profile.mid_system and (out.own or kept):
            kept.append((index, message))
            continue
        if kept:
            out.losses.add(f"messages[{index}]", "moved to the front: no system messages")
        system.extend(
            (f"messages[{index}].content[{j}]", part) for j, part in enumerate(message.parts)
        )
    return system, kept


def _system(
    out: Outgoing, writer: TurnWriter, parts: list[tuple[str, Part]], order: str | None
) -> Json:
    native = own_fields(out.request.native)
    billing = native.get(BILLING_KEY)
    blocks: list[Json] = []
    if isinstance(billing, list):
        if out.target.issuer == ISSUER:
            blocks.extend(billing)
        else:
            out.losses.add(f"native.{BILLING_KEY}", "an identity that is not for this vendor")
    listed = bool(blocks)
    for path, part in parts:
        if not isinstance(part, Text):
            raise TranslationError("System text may hold nothing but text here.", path)
        listed = listed or (len(parts) == 1 and has_mark(part.native, LIST))
        block = writer.text(part, path)
        if block is not None:
            blocks.append(block)
    if order is not None:
        blocks.append({"type": "text", "text": order})
    if len(blocks) == 1 and not listed and (text := plain_text(blocks[0])) is not None:
        return text
    return blocks


def _output(out: Outgoing) -> tuple[JsonObject | None, str | None]:
    """Return the output format, or the words that ask for it where none can be enforced."""
    output = out.request.output
    if output is None or output.kind == "text":
        return None, None
    if output.kind == "json_schema" and output.schema is not None:
        if out.profile.json_schema:
            schema = output.schema if out.own else _plain_schema(out, output.schema)
            return {"type": "json_schema", "schema": schema}, None
        out.losses.add("output", "asked for in the system text; the model enforces no schema")
        shown = dump(output.schema).decode()
        return None, f"Answer with one JSON value that matches this JSON Schema: {shown}"
    out.losses.add("output", "asked for in the system text; JSON needs a schema here")
    return None, "Answer with one JSON object and nothing else."


def _plain_schema(out: Outgoing, schema: JsonObject) -> JsonObject:
    told: list[str] = []
    plain = plain_schema(schema, told)
    if told:
        words = ", ".join(sorted(set(told)))
        out.losses.add("output.schema", f"told in descriptions, not enforced: {words}")
    return plain


def _sampling(out: Outgoing, body: JsonObject, think: Think) -> None:
    request, profile, losses = out.request, out.profile, out.losses
    values = {"temperature": request.temperature, "top_p": request.top_p}
    temperature = request.temperature
    if temperature is not None and temperature > 1:
        values["temperature"] = 1
        losses.add("temperature", "lowered to 1, the highest here")
    refused: dict[str, str] = {}
    if not profile.sampling:
        refused = dict.fromkeys(("temperature", "top_p", "top_k"), "refused by this model")
    elif think.on:
        reason = "refused while the model thinks"
        refused["top_k"] = reason
        if values["temperature"] != 1:
            refused["temperature"] = reason
        if request.top_p is not None and request.top_p < MIN_TOP_P_THINKING:
            refused["top_p"] = reason
    for key, value in (*values.items(), ("top_k", request.top_k)):
        if value is None:
            continue
        if key in refused:
            losses.add(key, refused[key])
        elif key == "top_p" and profile.temperature_or_top_p and "temperature" in body:
            losses.add("top_p", "not taken together with temperature")
        else:
            body[key] = value
    _stop(out, body)


def _stop(out: Outgoing, body: JsonObject) -> None:
    stop = out.request.stop
    if stop and not out.profile.stop:
        out.losses.add("stop", "refused by this model")
        return
    kept = [word for word in stop if word.strip()]
    if len(kept) < len(stop):
        out.losses.add("stop", "blank stop sequences are refused")
    if kept:
        body["stop_sequences"] = list(kept)


def _config(out: Outgoing, body: JsonObject, form: JsonObject | None, think: Think) -> None:
    native = own_fields(out.request.native).get("output_config")
    config = dict(native) if isinstance(native, dict) else {}
    if think.effort is not None:
        config["effort"] = think.effort
    if form is not None:
        config.setdefault("format", form)
    if config:
        body["output_config"] = config
    tier = out.request.service_tier
    if out.own or tier == "auto":
        if tier is not None:
            body["service_tier"] = tier
    elif tier == "default":  # OpenAI's word for the standard tier
        body["service_tier"] = "standard_only"
    elif tier is not None:
        out.losses.add("service_tier", "not known to this dialect")


def _natives(out: Outgoing, body: JsonObject) -> None:
    request = out.request
    if not out.own:
        if request.user is not None:
            out.losses.add("user", "an identity that is not for this vendor")
        fields = {} if request.native is None else request.native.fields
        for key in fields:
            if key[:1] not in ("@", "$"):
                out.losses.add(f"native.{key}", "not known to this dialect")
        return
    for key, value in own_fields(request.native).items():
        if key not in (BILLING_KEY, "output_config", "metadata"):
            body[key] = value
    native = own_fields(request.native)
    metadata = native.get("metadata")
    if request.user is not None:
        body["metadata"] = {
            "user_id": request.user if out.target.issuer == ISSUER else pseudonym(request.user),
            **(metadata if isinstance(metadata, dict) else {}),
        }
    elif "metadata" in native:
        body["metadata"] = metadata


def _foreign_knobs(out: Outgoing) -> None:
    request = out.request
    asked: dict[str, object] = {
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "seed": request.seed,
        "logprobs": request.logprobs or None,
        "top_logprobs": request.top_logprobs,
        "choices": request.choices if request.choices != 1 else None,
        "verbosity": request.verbosity,
        "cache_key": request.cache_key,
        "metadata": request.metadata,
        "store": request.store or None,
    }
    for key, value in asked.items():
        if value is not None:
            out.losses.add(key, "not known to this dialect")


def _limit_marks(out: Outgoing, body: JsonObject) -> None:
    """Leave at most four cache marks: the first, which is stablest, and the last ones."""
    marked = list(_marked_blocks(body))
    allowed = MAX_CACHE_MARKS - ("cache_control" in body)
    for block in marked[1 : len(marked) - allowed + 1] if len(marked) > allowed else ():
        del block["cache_control"]
        out.losses.add("cache", "more than four cache marks are refused")


_FORMATS = (
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
)


_SCHEMA_KEYS = frozenset(("type", "enum", "const", "$ref", "title", "description", "required"))


def plain_schema(schema: JsonObject, told: list[str]) -> JsonObject:
    """Return an output schema within what the service enforces.

    Objects are closed, ``oneOf`` becomes ``anyOf``, and constraints outside its grammar move into
    the description, where the model still reads them. Source: the official SDK's
    ``transform_schema`` (2.12).

    Args:
        schema: the client's schema.
        told: collects the names of the moved constraints.
    """
    plain: JsonObject = {}
    moved: JsonObject = {}
    for key, value in schema.items():
        if key in _SCHEMA_KEYS:
            plain[key] = value
        elif key in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            name = "anyOf" if key == "oneOf" else key
            plain[name] = [_plain_item(item, told) for item in value]
        elif key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            plain[key] = {name: _plain_item(item, told) for name, item in value.items()}
        elif key == "items":
            plain[key] = _plain_item(value, told)
        elif (key == "format" and value in _FORMATS) or (key == "minItems" and value in (0, 1)):
            plain[key] = value
        elif key not in ("additionalProperties", "$schema", "$id"):
            moved[key] = value
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in plain:
        plain["additionalProperties"] = False
    if moved:
        told.extend(moved)
        note = dump(moved).decode()
        before = plain.get("description")
        plain["description"] = f"{before}\n\n{note}" if isinstance(before, str) else note
    return plain


def _plain_item(item: Json, told: list[str]) -> Json:
    return plain_schema(item, told) if isinstance(item, dict) else item


def _marked_blocks(body: JsonObject) -> Iterable[JsonObject]:
    """Yield the blocks with a cache mark in prompt order: tools, system, messages."""
    for key in ("tools", "system", "messages"):
        items = body.get(key)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                yield from _marked_in(item)


def _marked_in(item: JsonObject) -> Iterable[JsonObject]:
    content = item.get("content")
    for inner in content if isinstance(content, list) else ():
        if isinstance(inner, dict):
            yield from _marked_in(inner)
    if item.get("cache_control") is not None:
        yield item
