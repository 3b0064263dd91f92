"""Chat's forms of thought, and its token counts.

Reasoning has no place in OpenAI's own API. Compatible servers write ``reasoning_content`` or
``reasoning`` (text) and ``reasoning_details`` (a list whose items carry text, signatures and
encrypted thought; https://openrouter.ai/docs/guides/best-practices/reasoning-tokens). The whole
list is one ``Signature``, whose value is its JSON text: only its issuer can use it, and it wants
it back unmodified. A thought that is only text has a ``Signature``, too, whose value is the name
of its field: DeepSeek and Moonshot refuse a turn with tool calls whose thought does not come back
(https://api-docs.deepseek.com/guides/thinking_mode, read 2026-11), and other services refuse the
field, so that it must be known who wrote it. To clients the text goes as ``reasoning_content``, and each foreign signature
as one item ``{"type": "reasoning.encrypted", "format": "dragoman"}`` holding its seal and the
number of characters of thought that it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import msgspec

from app.canonical.parts import Json, JsonObject, Native, Part, Reasoning, Signature
from app.canonical.usage import Usage
from app.dialects.carrier import facts_of, open_seal, seal
from app.dialects.openai_chat_values import ISSUER, merge, native_of, rest_of

__all__ = [
    "REASONING_KEYS",
    "TEXT_KEYS",
    "Thought",
    "consumed",
    "decode_thought",
    "decode_usage",
    "detail_text",
    "details_signature",
    "encode_usage",
    "field_signature",
    "open_detail",
    "parse_details",
    "sealed_part",
    "text_details",
    "thought_details",
    "usage_extras",
]

SEAL_FORMAT = "dragoman"
TEXT_KEYS = ("reasoning_content", "reasoning")
REASONING_KEYS = frozenset((*TEXT_KEYS, "reasoning_details"))
Thought: TypeAlias = tuple[list[Part], Signature | None]
"""Reasoning parts, and the signature of the text that follows them."""
_decode_json = msgspec.json.Decoder().decode


def decode_thought(message: Mapping[str, Any], issuer: str) -> Thought:
    """Decode the reasoning fields of an assistant message.

    Values of unexpected types are left alone (they stay in the message's native fields).
    """
    texts: dict[str, Json] = {}
    for key in TEXT_KEYS:
        value = message.get(key)
        if isinstance(value, str) and value:
            texts[key] = value
    text = next((value for value in texts.values() if isinstance(value, str)), "")
    details = message.get("reasoning_details")
    items = (
        [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    )
    opened = [(item, open_detail(item)) for item in items]
    sealed = [seal_of for _, seal_of in opened if seal_of is not None]
    raw: list[Json] = [item for item, seal_of in opened if seal_of is None]
    text_signature = next((s for s, extra in sealed if extra.get("part") == "text"), None)
    sealed = [(s, extra) for s, extra in sealed if extra.get("part") != "text"]
    if not text:
        text = "".join(detail_text(item) for item in raw)
    form: list[Json] = list(texts)
    fields: JsonObject = {}
    if len(set(map(str, texts.values()))) > 1:
        fields["reasoning"] = texts["reasoning"]
        form = ["reasoning_content"]
    parts: list[Part] = []
    if sealed:
        parts.extend(_split_sealed(text, sealed, native_of(fields, form)))
        text = ""
    signature = details_signature(raw, issuer)
    if raw and signature is None:
        fields["reasoning_details"] = raw
    if signature is None and text and texts:
        signature = field_signature(next(iter(texts)), issuer)
    if text or signature is not None:
        parts.append(Reasoning(text, signature=signature, native=native_of(fields, form)))
    return parts, text_signature


def consumed(message: Mapping[str, Any]) -> frozenset[str]:
    """Return the reasoning fields that ``decode_thought`` took from a message."""
    return frozenset(
        key
        for key in REASONING_KEYS
        if message.get(key) is None
        or (message[key] and isinstance(message[key], list if key == "reasoning_details" else str))
    )


def open_detail(item: Mapping[str, Any]) -> tuple[Signature, dict[str, Json]] | None:
    """Return what one of our own sealed items carries, or None for any other item."""
    data = item.get("data")
    return open_seal(data) if isinstance(data, str) else None


def detail_text(item: Any) -> str:
    """Return the text of one item of ``reasoning_details``."""
    text = item.get("text") or item.get("summary")
    return text if isinstance(text, str) else ""


def details_signature(items: list[Json], issuer: str) -> Signature | None:
    """Return ``reasoning_details`` as a signature, if anything in it is signed or encrypted."""
    signed = any(isinstance(i, dict) and (i.get("signature") or i.get("data")) for i in items)
    if not signed:
        return None
    # Sorted, since a stream gives the fields of an item in another order than a whole answer.
    return Signature(issuer, msgspec.json.encode(items, order="sorted").decode())


def field_signature(key: str, issuer: str) -> Signature | None:
    """Return the mark of a service on a thought without proof: the field that it wrote it in.

    None for a client's history, where the part's form says as much.
    """
    return None if issuer == ISSUER else Signature(issuer, key)


def _split_sealed(
    text: str, sealed: list[tuple[Signature, dict[str, Json]]], native: Native | None
) -> list[Part]:
    sizes = [size_of(extra) for _, extra in sealed]
    whole = sum(sizes) == len(text)
    parts: list[Part] = []
    start = 0
    if not whole and text:
        # The client changed the text, so that no signature over it holds any more.
        parts.append(Reasoning(text, native=native))
    for (signature, extra), size in zip(sealed, sizes, strict=True):
        if not whole and size:
            continue
        piece = text[start : start + size] if whole else ""
        start += size
        part = sealed_part(signature, extra)
        parts.append(replace(part, text=piece, native=native if piece else None))
    return parts


def size_of(extra: Mapping[str, Json]) -> int:
    """Return how many characters of thought a sealed signature stands for."""
    size = extra.get("chars")
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else 0


def sealed_part(signature: Signature, extra: Mapping[str, Json]) -> Reasoning:
    """Return the part, still without text, of a sealed signature."""
    part_id = extra.get("id")
    return Reasoning(
        summary=extra.get("summary") is True,
        signature=signature,
        redacted=extra.get("redacted") is True,
        id=part_id if isinstance(part_id, str) else None,
    )


def thought_details(part: Reasoning, signature: Signature, chars: int) -> list[Json]:
    """Return the items of ``reasoning_details`` that give a client a signature."""
    if signature.value in TEXT_KEYS:
        return []  # the field itself comes back
    if signature.issuer == ISSUER:
        raw = parse_details(signature.value)
        if raw is not None:
            return raw
    extra = facts_of(part)
    if chars:
        extra["chars"] = chars
    return [_sealed_item(signature, extra, part.id)]


def text_details(signature: Signature) -> list[Json]:
    """Return the items of ``reasoning_details`` for the signature of a text part."""
    return [_sealed_item(signature, {"part": "text"}, None)]


def _sealed_item(signature: Signature, extra: JsonObject, part_id: str | None) -> JsonObject:
    return {
        "type": "reasoning.encrypted",
        "data": seal(signature, extra),
        "id": part_id,
        "format": SEAL_FORMAT,
    }


def parse_details(value: str) -> list[Json] | None:
    """Return the ``reasoning_details`` that a signature of this dialect holds."""
    try:
        items: Json = _decode_json(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return items if isinstance(items, list) else None


_USAGE_KEYS = frozenset(
    (
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    )
)


def _count(body: Any, *keys: str) -> int | None:
    if isinstance(body, dict):
        for key in keys:
            value = body.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                return int(value)
    return None


def decode_usage(body: Any) -> Usage | None:
    """Decode ``usage``; None when it holds no counts.

    Besides OpenAI's fields it reads DeepSeek's and Moonshot's names for cached tokens and those
    of proxies in front of Anthropic.
    """
    prompt = _count(body, "prompt_tokens")
    completion = _count(body, "completion_tokens")
    if prompt is None and completion is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    details = body.get("prompt_tokens_details")
    read = _count(details, "cached_tokens")
    if read is None:
        read = _count(body, "prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
    write = _count(details, "cache_write_tokens", "cache_creation_tokens")
    if write is None:
        write = _count(body, "cache_creation_input_tokens")
    read, write = read or 0, write or 0
    reasoning = _count(body.get("completion_tokens_details"), "reasoning_tokens")
    total = _count(body, "total_tokens")
    if reasoning and total == prompt + completion + reasoning:
        # xAI and Google's compatible endpoint count thought beside the completion.
        completion += reasoning
    # Some servers leave the cached part out of the prompt; the sum cannot be smaller than a part.
    fresh = prompt - read - write if read + write <= prompt else prompt
    return Usage(fresh, read, write, completion, reasoning)


def usage_extras(body: Any) -> JsonObject:
    """Return the fields of ``usage`` that the canon does not name."""
    if not isinstance(body, dict):
        return {}
    extras = rest_of(body, _USAGE_KEYS)
    for key, known in (
        ("prompt_tokens_details", frozenset(("cached_tokens", "cache_write_tokens"))),
        ("completion_tokens_details", frozenset(("reasoning_tokens",))),
    ):
        details = body.get(key)
        if isinstance(details, dict) and (left := rest_of(details, known)):
            extras[key] = left
    return extras


def encode_usage(usage: Usage, extras: Json = None) -> JsonObject:
    """Encode ``usage``; the prompt includes what was read from and written to a cache."""
    prompt_details: JsonObject = {"cached_tokens": usage.cache_read}
    if usage.cache_write:
        prompt_details["cache_write_tokens"] = usage.cache_write
    body: JsonObject = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": prompt_details,
    }
    if usage.reasoning is not None:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    if isinstance(extras, dict):
        merged = merge(body, extras)
        return merged if isinstance(merged, dict) else body
    return body
