"""Names of the Responses dialect, and what travels in ``native``.

Keys of native fields that start with ``@`` are notes of this dialect about the form that the
client used; they are never written to the wire.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.canonical.ids import IdRule, fit_id
from app.canonical.parts import DialectName, Json, JsonObject, Native

__all__ = [
    "CALL_TYPES",
    "CONTENT",
    "EASY",
    "IMAGE_CALL",
    "INPUT",
    "ISSUER",
    "ITEM",
    "ITEMS",
    "LIST",
    "LOGPROBS",
    "NAME",
    "OUTPUT_TYPES",
    "RAW",
    "STORED",
    "STRING",
    "TYPE",
    "UNSIGNED",
    "USER",
    "VENDOR_FIELDS",
    "fields_of",
    "fit_item_id",
    "native_of",
    "wire_fields",
]

NAME: DialectName = "openai_responses"

ISSUER = "openai"
"""Who signed what a client of this dialect sends back unsealed."""
VENDOR_FIELDS = ("client_metadata", "internal_chat_message_metadata_passthrough")
"""What Codex says about its user and device; only for OpenAI."""
STORED = ("prompt", "conversation", "previous_response_id")
"""Fields of a request that may stand in place of ``input``."""
LOGPROBS = "message.output_text.logprobs"
"""What ``include`` says to get log probabilities."""

ITEM = "@item"
"""Native key of the first part of an assistant message: the item's own fields."""
EASY = "@easy"
"""The client wrote the message without ``type``."""
STRING = "@string"
"""The client wrote the content as a string."""
TYPE = "@type"
"""The client's content type where it is not the usual one of the role."""
LIST = "@list"
"""A tool's output came as a list where a string would do."""
CONTENT = "@content"
"""The thought stands in ``content`` (open models), not in ``summary``."""
RAW = "@raw"
"""``file_data`` came as bare base64, not as a data URL."""
USER = "$user"
"""Request note: the end user came under the older name ``user``."""
INPUT = "@input"
"""Message note: the whole ``input`` was a string."""
ITEMS = "@items"
"""Message note: its opaque parts are items, not content parts."""
UNSIGNED = "@unsigned"
"""Reasoning note: the thought came from a service that signs nothing; no one takes it back."""
IMAGE_CALL = "@image_call"
"""The image is the result of an ``image_generation_call``."""

CALL_TYPES = ("function_call", "custom_tool_call")
OUTPUT_TYPES = ("function_call_output", "custom_tool_call_output")

_ID_RULES: dict[str, IdRule] = {
    "message": IdRule("msg_", re.compile(r"msg[\x21-\x7e]{1,61}")),
    "function_call": IdRule("fc_", re.compile(r"fc[\x21-\x7e]{1,62}")),
    "custom_tool_call": IdRule("ctc_", re.compile(r"ctc[\x21-\x7e]{1,61}")),
    "reasoning": IdRule("rs_", re.compile(r"rs[\x21-\x7e]{1,62}")),
}
_ANY_ID = IdRule("item_", re.compile(r"[\x21-\x7e]{1,64}"))


def fit_item_id(item_type: str, value: str) -> str:
    """Return an item id in the form that OpenAI accepts for its type, at most 64 characters."""
    return fit_id(value, _ID_RULES.get(item_type, _ANY_ID))


def fields_of(native: Native | None) -> Mapping[str, Json]:
    """Return the fields kept for this dialect; empty when there are none or they are foreign."""
    return native.fields if native is not None and native.dialect == NAME else {}


def wire_fields(fields: Mapping[str, Json]) -> JsonObject:
    """Return native fields without this dialect's own notes."""
    return {key: value for key, value in fields.items() if not key.startswith("@")}


def native_of(fields: JsonObject) -> Native | None:
    """Return native fields, or None when there is nothing to keep."""
    return Native(NAME, fields) if fields else None
