"""Requests of the Responses dialect: canon to wire, for an upstream.

Source: https://platform.openai.com/docs/api-reference/responses/create and openai-python 3.
"""

from __future__ import annotations

import hashlib
import re

from app.canonical.parts import Json, JsonObject, Native, Text
from app.canonical.profile import Target
from app.canonical.reasoning import resolve
from app.canonical.request import ChatRequest, OutputFormat
from app.dialects.base import Encoded, LossList
from app.dialects.identity import pseudonym
from app.dialects.openai_responses_tools import encode_tool_choice, encode_tools
from app.dialects.openai_responses_values import (
    INPUT,
    ISSUER,
    LOGPROBS,
    NAME,
    STORED,
    USER,
    VENDOR_FIELDS,
    fields_of,
)
from app.dialects.openai_responses_writer import encode_items
from app.errors import TranslationError

__all__ = ["encode_output", "encode_request"]

_TIERS = ("auto", "default", "flex", "scale", "priority")
_ENCRYPTED = "reasoning.encrypted_content"


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
        if key in VENDOR_FIELDS and target.issuer != ISSUER:
            losses.add(f"native.{key}", "names a user or device to its own vendor only")
        elif key not in ("text", USER) and key not in out:
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
    if own and len(messages) == 1 and fields_of(messages[0].native).get(INPUT):
        part = messages[0].parts[0] if messages[0].parts else None
        if isinstance(part, Text) and not fields_of(part.native):
            out["input"] = part.text
            return
    fields = fields_of(request.native)
    if own and not messages and any(fields.get(key) is not None for key in STORED):
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
    if request.user is not None:
        old_name = USER in fields if own else not target.official
        out["user" if old_name else "safety_identifier"] = _user_for(request, target, request.user)
    if own and isinstance(user := fields.get("user"), str):
        out["user"] = _user_for(request, target, user)
    if request.metadata is not None:
        out["metadata"] = dict(request.metadata)
    if request.service_tier is not None:
        if own or request.service_tier in _TIERS:
            out["service_tier"] = request.service_tier
        else:
            losses.add("service_tier", "not known to this service")


def _user_for(request: ChatRequest, target: Target, user: str) -> str:
    """Return the name of an end user: a client of OpenAI's may tell it to OpenAI only."""
    source = None if request.native is None else request.native.dialect
    known = source in (NAME, "openai_chat") and target.issuer == ISSUER
    return user if known else pseudonym(user)


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
        include.append(LOGPROBS)
    if include:
        out["include"] = include
