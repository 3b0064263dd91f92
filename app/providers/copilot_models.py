"""Copilot's own list of models: what this account may use, where, and how large.

The list is the one authority on which of the three endpoints serves a model
(``supported_endpoints``); guesses by name are kept for lines without it. Its limits are preferred
to public data, which is known to be off for Copilot.

Source: ``GET /models`` as public clients read it (opencode, pi, copilot-api; 2026-08).
"""

from __future__ import annotations

import re
from typing import Any

from app.canonical.parts import DialectName
from app.errors import UpstreamError
from app.http import HttpReply
from app.providers.base import ModelFacts
from app.providers.replies import number_in, object_in, read_object, text_in

__all__ = ["RULES", "parse_models"]

_ENDPOINTS: dict[str, DialectName] = {
    "/chat/completions": "openai_chat",
    "/responses": "openai_responses",
    "/v1/messages": "anthropic",
}
"""``ws:/responses`` is left out: the same endpoint is there over HTTP."""

RULES: tuple[tuple[re.Pattern[str], tuple[DialectName, ...]], ...] = (
    # gpt-5-mini is the one of its family that stayed on Chat (opencode).
    (re.compile(r"^gpt-5-mini"), ("openai_chat",)),
    (re.compile(r"^(gpt-([5-9]|\d\d)|oswe)"), ("openai_responses",)),
    # Newer Claude models are refused on Chat (opencode issue 36305, 2026-07).
    (re.compile(r"^claude-(haiku|sonnet|opus)-([4-9]|\d\d)"), ("anthropic",)),
    (re.compile(r""), ("openai_chat",)),
)
"""Which endpoint serves a model whose line does not say, by its name."""


def parse_models(reply: HttpReply) -> tuple[ModelFacts, ...]:
    """Read the list; models that the account cannot use are left out.

    Raises:
        UpstreamError: the answer is no such list.
    """
    rows = read_object(reply, "GitHub Copilot").get("data")
    if not isinstance(rows, list):
        raise UpstreamError("GitHub Copilot answered no model list.", code="upstream_protocol")
    found = (_facts(row) for row in rows if isinstance(row, dict))
    return tuple(facts for facts in found if facts is not None)


def _facts(row: dict[str, Any]) -> ModelFacts | None:
    model = text_in(row, "id")
    capabilities = object_in(row, "capabilities")
    embeds = capabilities.get("type") == "embeddings"
    # Embeddings are never offered for choosing, yet they are there to be called.
    if not model or (row.get("model_picker_enabled") is False and not embeds):
        return None
    if object_in(row, "policy").get("state") == "disabled":
        return None
    endpoints = row.get("supported_endpoints")
    dialects: tuple[DialectName, ...] = ()
    if isinstance(endpoints, list) and not embeds:
        dialects = _ordered(model, endpoints)
        if endpoints and not dialects:
            return None  # served only where we do not call
    limits, supports = object_in(capabilities, "limits"), object_in(capabilities, "supports")
    return ModelFacts(
        model,
        text_in(row, "name") or None,
        _tokens(limits, "max_context_window_tokens", "max_prompt_tokens"),
        _tokens(limits, "max_output_tokens"),
        dialects,
        _flag(supports, "tool_calls"),
        _flag(supports, "vision"),
    )


def _ordered(model: str, endpoints: list[Any]) -> tuple[DialectName, ...]:
    """Return the dialects of a model: its maker's own first, then Chat."""
    served = {
        _ENDPOINTS[name] for name in endpoints if isinstance(name, str) and name in _ENDPOINTS
    }
    first: DialectName = "openai_chat"
    if model.startswith("claude-"):
        first = "anthropic"
    elif re.match(r"gpt-([5-9]|\d\d)", model):
        first = "openai_responses"
    order: tuple[DialectName, ...] = (first, "openai_chat", "openai_responses", "anthropic")
    return tuple(dict.fromkeys(name for name in order if name in served))


def _tokens(limits: dict[str, Any], *names: str) -> int | None:
    number = number_in(limits, *names)
    return int(number) if number is not None and number >= 1 else None


def _flag(supports: dict[str, Any], name: str) -> bool | None:
    value = supports.get(name)
    return value if isinstance(value, bool) else None
