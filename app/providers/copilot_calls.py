"""What a call to Copilot looks like: path, body rules, and who began the turn.

``x-initiator`` decides what GitHub bills: ``user`` for a turn of a person, ``agent`` for what
follows from it in a tool loop. It is derived from the last message alone and from nothing that
a caller says, so that no turn of a person ever goes unbilled. Copilot's own form of each rule, and
where other programs differ, is in the protocol notes (2026-08).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from app.canonical.parts import DialectName, Json
from app.dialects.base import DELETE, Delete, Head, patch_object, read_head
from app.http import Headers
from app.providers.shaping import Asked, Shaped

__all__ = ["Initiator", "has_image", "initiator", "shape_call"]

Initiator: TypeAlias = Literal["user", "agent"]

_PATHS: dict[DialectName, str] = {
    "openai_chat": "/chat/completions",
    "openai_responses": "/responses",
    "anthropic": "/v1/messages",
}
"""Only Messages keeps its version."""

_BETAS = frozenset(
    {
        "interleaved-thinking-2025-05-14",
        "advanced-tool-use-2025-11-20",
        "context-management-2025-06-27",
    }
)
"""``anthropic-beta`` values that are accepted; others are refused (caozhiyuan/copilot-api, pi)."""

_LISTS: dict[DialectName, str] = {
    "openai_chat": "messages",
    "openai_responses": "input",
    "anthropic": "messages",
}
_IMAGE_MARKS: dict[DialectName, bytes] = {
    "openai_chat": b'"image_url"',
    "openai_responses": b'"input_image"',
    "anthropic": b'"image"',
}
"""The word that every body with an image holds; most bodies are told apart by it alone."""
_IMAGE_TYPES: dict[DialectName, str] = {
    "openai_chat": "image_url",
    "openai_responses": "input_image",
    "anthropic": "image",
}
_OPENAI_MODEL = re.compile(r"gpt-|o\d")

_Edits: TypeAlias = dict[str, Json | Delete]


def shape_call(asked: Asked, headers: Headers, base_url: str) -> Shaped:
    """Return the call as Copilot wants it.

    Args:
        asked: the call as the dialects made it.
        headers: the header fields of the account's family of sign-in.
        base_url: where the account's calls go.
    """
    if asked.operation == "embeddings":
        return Shaped(asked.body, "/embeddings", headers, base_url)
    head = read_head(asked.body)
    edits = _EDITS[asked.dialect](head, asked)
    if "service_tier" in head:  # there are no tiers; Responses refuses the field
        edits["service_tier"] = DELETE
    fields = [*headers, ("X-Initiator", initiator(asked.dialect, head))]
    if has_image(asked.dialect, asked.body, head):
        fields.append(("Copilot-Vision-Request", "true"))
    if asked.dialect == "anthropic" and (betas := _accepted_betas(asked.client_headers)):
        fields.append(("anthropic-beta", betas))
    return Shaped(
        patch_object(head, edits) if edits else asked.body,
        _PATHS[asked.dialect],
        tuple(fields),
        base_url,
    )


def initiator(dialect: DialectName, head: Head) -> Initiator:
    """Say who began the turn, by its last message.

    Args:
        dialect: of the body.
        head: the body's top level.
    """
    last = _last(head.get(_LISTS[dialect]))
    if last is None:
        return "user"
    role = last.get("role")
    if dialect == "anthropic" and role == "user":
        content = last.get("content")
        blocks = content if isinstance(content, list) else []
        results = bool(blocks) and all(
            isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks
        )
        return "agent" if results else "user"
    # An item of Responses without a role is the output of a tool, or a thought.
    return "user" if role == "user" else "agent"


def _last(items: msgspec.Raw | None) -> dict[str, Any] | None:
    """Return the last message; None for an empty list, or a prompt that is one text."""
    if items is None or not bytes(items).lstrip().startswith(b"["):
        return None
    rows = msgspec.json.decode(items, type=list[msgspec.Raw])
    if not rows:
        return None
    last = msgspec.json.decode(rows[-1])
    return last if isinstance(last, dict) else None


def has_image(dialect: DialectName, body: bytes, head: Head) -> bool:
    """Say whether any message holds an image, be it within the result of a tool."""
    items = head.get(_LISTS[dialect])
    if items is None or _IMAGE_MARKS[dialect] not in body:
        return False
    return _holds(msgspec.json.decode(items), _IMAGE_TYPES[dialect], 0)


def _holds(value: Json, kind: str, depth: int) -> bool:
    # Message, content, tool result, its content: no form of any dialect nests images deeper.
    if isinstance(value, list):
        return any(_holds(item, kind, depth) for item in value)
    if not isinstance(value, dict) or depth > 4:
        return False
    if value.get("type") == kind:
        return True
    return any(_holds(value.get(key), kind, depth + 1) for key in ("content", "output"))


def _accepted_betas(client_headers: Headers) -> str:
    """Return those of the caller's betas that Copilot takes, in their order."""
    values = (value for key, value in client_headers if key.lower() == "anthropic-beta")
    words = (word.strip() for value in values for word in value.split(","))
    return ",".join(dict.fromkeys(word for word in words if word in _BETAS))


def _edit_chat(head: Head, asked: Asked) -> _Edits:
    edits: _Edits = {key: DELETE for key in ("store", "reasoning_effort") if key in head}
    if asked.stream:
        # Without it a stream tells no usage (kleis).
        options = msgspec.json.decode(head["stream_options"]) if "stream_options" in head else {}
        options = options if isinstance(options, dict) else {}
        if options.get("include_usage") is not True:
            edits["stream_options"] = {**options, "include_usage": True}
    # OpenAI's models want the newer name of the limit, and the others know only the older.
    wanted, other = "max_completion_tokens", "max_tokens"
    if not _OPENAI_MODEL.match(asked.model):
        wanted, other = other, wanted
    if other in head:
        edits[other] = DELETE
        if wanted not in head:
            edits[wanted] = msgspec.json.decode(head[other])
    if "messages" in head and b'"developer"' in bytes(head["messages"]):
        messages = msgspec.json.decode(head["messages"])
        if isinstance(messages, list) and any(map(_is_developer, messages)):
            edits["messages"] = [
                {**message, "role": "system"} if _is_developer(message) else message
                for message in messages
            ]
    return edits


def _is_developer(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "developer"


def _edit_responses(_head: Head, _asked: Asked) -> _Edits:
    return {}


def _edit_messages(head: Head, _asked: Asked) -> _Edits:
    if "tools" not in head or b'"eager_input_streaming"' not in bytes(head["tools"]):
        return {}
    tools = msgspec.json.decode(head["tools"])
    if not isinstance(tools, list):
        return {}
    return {
        "tools": [
            {key: value for key, value in tool.items() if key != "eager_input_streaming"}
            if isinstance(tool, dict)
            else tool
            for tool in tools
        ]
    }


_EDITS: Mapping[DialectName, Callable[[Head, Asked], _Edits]] = {
    "openai_chat": _edit_chat,
    "openai_responses": _edit_responses,
    "anthropic": _edit_messages,
}
