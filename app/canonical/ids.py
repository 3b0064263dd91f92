"""Ids of tool calls and items, rewritten to each dialect's rules without memory.

The rewriting is a pure function of the id, so that a call and its result, which travel in
different requests, meet again; two different ids never become equal (up to a 96-bit hash).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

__all__ = ["ANTHROPIC_CALL", "CHAT_CALL", "RESPONSES_CALL", "IdRule", "fit_id"]


@dataclass(frozen=True, slots=True)
class IdRule:
    """What a dialect accepts as an id."""

    prefix: str
    """Put before ids that must be made anew."""
    pattern: re.Pattern[str]
    """Matches (fully) what may stay as it is."""


CHAT_CALL = IdRule("call_", re.compile(r"[\x21-\x7e]{1,40}"))
"""OpenAI Chat: at most 40 characters."""
RESPONSES_CALL = IdRule("call_", re.compile(r"[\x21-\x7e]{1,64}"))
"""OpenAI Responses ``call_id``: at most 64 characters."""
ANTHROPIC_CALL = IdRule("toolu_", re.compile(r"[a-zA-Z0-9_-]{1,64}"))
"""Anthropic ``tool_use.id``: ``^[a-zA-Z0-9_-]+$``."""


def fit_id(value: str, rule: IdRule) -> str:
    """Return ``value`` when the rule accepts it, else a stable stand-in of 24 hex digits."""
    if rule.pattern.fullmatch(value):
        return value
    return rule.prefix + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:24]
