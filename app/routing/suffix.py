"""How much to think, written behind a model's name: ``gpt-5(high)``, ``claude-opus-4-5(16384)``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias, cast

from app.canonical.parts import Json
from app.canonical.profile import Target
from app.canonical.reasoning import EFFORTS
from app.canonical.request import ChatRequest, Effort, ReasoningConfig
from app.dialects.base import DELETE, Delete, Dialect

__all__ = [
    "Level",
    "has_suffix",
    "parse_level",
    "reasoning_edits",
    "render_level",
    "split_suffix",
    "with_reasoning",
]

Level: TypeAlias = str | int
"""An effort (``high``), ``none``, ``auto``, or a number of tokens."""

_SUFFIX = re.compile(r"(?s)(.+)\(([^()]*)\)")
_MOST_TOKENS = 1_000_000


def parse_level(text: str) -> Level | None:
    """Read a level; None when it is none."""
    word = text.strip().lower()
    if word in EFFORTS or word == "auto":
        return word
    if re.fullmatch(r"[0-9]{1,7}", word) and int(word) <= _MOST_TOKENS:
        return int(word)
    return None


def has_suffix(name: str) -> bool:
    """Say whether a name ends in parentheses, whatever is in them."""
    return _SUFFIX.fullmatch(name) is not None


def split_suffix(name: str, known: Callable[[str], bool] | None = None) -> tuple[str, Level | None]:
    """Take the suffix off a model's name.

    Args:
        name: as asked for.
        known: whether a service has a model of just that name; its parentheses are then its own.

    Returns:
        The name and the level; None for a name without one, or with other words in parentheses.
    """
    if not name.endswith(")"):
        return name, None
    match = _SUFFIX.fullmatch(name)
    level = None if match is None else parse_level(match[2])
    if match is None or level is None or (known is not None and known(name)):
        return name, None
    return match[1], level


def render_level(level: Level) -> str:
    """Return a level in words for people."""
    return f"{level} tokens of thought" if isinstance(level, int) else f"reasoning {level}"


def with_reasoning(request: ChatRequest, level: Level) -> ChatRequest:
    """Return a request that asks for this much thought, shown as the client wants it shown."""
    visible = None if request.reasoning is None else request.reasoning.visible
    if level in ("none", 0):
        config = ReasoningConfig(mode="off")
    elif level == "auto":
        config = ReasoningConfig(mode="adaptive", budget_tokens=-1, visible=visible)
    elif isinstance(level, int):
        config = ReasoningConfig(budget_tokens=level, visible=visible)
    else:
        config = ReasoningConfig(effort=cast(Effort, level), visible=visible)
    return replace(request, reasoning=config)


def reasoning_edits(
    dialect: Dialect, request: ChatRequest, level: Level, target: Target
) -> dict[str, Json | Delete]:
    """Return what to change in a body of the upstream's own dialect to ask for this much thought.

    The dialect itself is asked: what it writes for the request with the level and without is
    compared, so that a body can be patched and all else in it stays as the client wrote it.

    Args:
        dialect: of the body and of the upstream.
        request: the decoded body.
        level: how much to think.
        target: the model that is asked.

    Returns:
        For ``dialects.base.patch_object``: top-level key to its new value, or ``DELETE``.

    Raises:
        TranslationError: the request cannot be written in this dialect.
    """
    before = dialect.encode_request(request, target).body
    after = dialect.encode_request(with_reasoning(request, level), target).body
    edits: dict[str, Json | Delete] = {
        key: value for key, value in after.items() if key not in before or before[key] != value
    }
    edits.update((key, DELETE) for key in before if key not in after)
    return edits
