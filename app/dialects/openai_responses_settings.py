"""What a response object repeats of the request that it answers."""

from __future__ import annotations

from app.canonical.parts import Json, JsonObject, Text
from app.canonical.request import ChatRequest
from app.dialects.base import LossList
from app.dialects.openai_responses_tools import encode_tool_choice, encode_tools
from app.dialects.openai_responses_upstream import encode_output
from app.dialects.openai_responses_values import NAME, USER, fields_of

__all__ = ["default_settings", "own_settings"]


def default_settings(request: ChatRequest | None) -> JsonObject:
    """Return the settings that a response states, as the service has them unless told."""
    store = True if request is None or request.store is None else request.store
    return {
        "background": False,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "store": store,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }


_ECHOED = (
    "background",
    "conversation",
    "max_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_retention",
    "safety_identifier",
    "truncation",
    "user",
)


def own_settings(request: ChatRequest) -> JsonObject:
    """Return the settings that the client made, as a response states them."""
    own = request.native is not None and request.native.dialect == NAME
    losses = LossList()
    tools, hosted = encode_tools(request.tools, losses, own=own)
    out: JsonObject = {
        "instructions": "\n\n".join(p.text for p in request.system if isinstance(p, Text)) or None,
        "tools": tools,
        "tool_choice": encode_tool_choice(request, hosted, losses, own=True) or "auto",
    }
    plain: tuple[tuple[str, Json], ...] = (
        ("max_output_tokens", request.max_tokens),
        ("parallel_tool_calls", request.parallel_tools),
        ("prompt_cache_key", request.cache_key),
        ("service_tier", request.service_tier),
        ("store", request.store),
        ("temperature", request.temperature),
        ("top_logprobs", request.top_logprobs),
        ("top_p", request.top_p),
    )
    out.update((key, value) for key, value in plain if value is not None)
    fields = fields_of(request.native)
    out.update((key, fields[key]) for key in _ECHOED if fields.get(key) is not None)
    conversation = out.get("conversation")
    if isinstance(conversation, str):
        out["conversation"] = {"id": conversation}
    if request.user is not None and out.get("safety_identifier") is None:
        out["user" if USER in fields else "safety_identifier"] = request.user
    if request.metadata is not None:
        out["metadata"] = dict(request.metadata)
    if request.reasoning is not None:
        kept = fields_of(request.reasoning.native)
        out["reasoning"] = {"effort": request.reasoning.effort, "summary": None, **kept}
    if request.output is not None or request.verbosity is not None:
        text: JsonObject = {"format": {"type": "text"}}
        if request.output is not None:
            text["format"] = encode_output(request.output, own=own)
        if request.verbosity is not None:
            text["verbosity"] = request.verbosity
        out["text"] = text
    return out
