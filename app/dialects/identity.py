"""Fields by which a vendor's own client names its user or device, kept from other vendors.

They travel only to that vendor's hosts (decisions §2). Elsewhere they are dropped, or replaced by
a stable hash where an upstream may use them for cache affinity.

Sources: what Claude Code and Codex send (observed 2026-11): ``metadata.user_id`` and the
``x-anthropic-billing-header`` system block; ``client_metadata`` and each input item's
``internal_chat_message_metadata_passthrough``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from app.canonical.parts import DialectName, Json
from app.dialects.base import DELETE, Delete

__all__ = ["identity_edits", "pseudonym"]

_BILLING = "x-anthropic-billing-header"
_PASSTHROUGH = "internal_chat_message_metadata_passthrough"


def pseudonym(value: str) -> str:
    """Return a stable stand-in for an identity: ``u_`` + 32 hex digits."""
    return "u_" + hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:32]


def identity_edits(
    dialect: DialectName, head: Mapping[str, msgspec.Raw]
) -> dict[str, Json | Delete]:
    """Return the top-level edits that take vendor identity out of a same-dialect body.

    Empty for most requests; only the keys concerned are decoded.
    """
    edits: dict[str, Json | Delete] = {}
    if dialect == "anthropic":
        _edit_anthropic(head, edits)
    elif dialect == "openai_responses":
        _edit_responses(head, edits)
    for key in ("safety_identifier", "user"):
        if key in head and isinstance(value := msgspec.json.decode(head[key]), str):
            edits[key] = pseudonym(value)
    return edits


def _edit_anthropic(head: Mapping[str, msgspec.Raw], edits: dict[str, Json | Delete]) -> None:
    if "metadata" in head:
        metadata = msgspec.json.decode(head["metadata"])
        if isinstance(metadata, dict) and isinstance(metadata.get("user_id"), str):
            edits["metadata"] = {**metadata, "user_id": pseudonym(metadata["user_id"])}
    if "system" in head and _BILLING.encode() in bytes(head["system"]):
        system = msgspec.json.decode(head["system"])
        if isinstance(system, list):
            kept = [block for block in system if not _is_billing(block)]
            if len(kept) < len(system):
                edits["system"] = kept or DELETE


def _edit_responses(head: Mapping[str, msgspec.Raw], edits: dict[str, Json | Delete]) -> None:
    if "client_metadata" in head:
        edits["client_metadata"] = DELETE
    if "input" in head and _PASSTHROUGH.encode() in bytes(head["input"]):
        items = msgspec.json.decode(head["input"])
        if isinstance(items, list):
            edits["input"] = [_without_passthrough(item) for item in items]


def _without_passthrough(item: Json) -> Json:
    if not isinstance(item, dict):
        return item
    return {key: value for key, value in item.items() if key != _PASSTHROUGH}


def _is_billing(block: object) -> bool:
    return (
        isinstance(block, dict)
        and isinstance(block.get("text"), str)
        and block["text"].startswith(_BILLING)
    )
