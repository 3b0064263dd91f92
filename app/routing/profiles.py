"""Facts about models by their names, for what no catalog entry says.

One table per vendor. Sources: the vendors' model pages and the protocol notes, read 2026-11-21.
Rows are tried in order; the first match wins. A name that matches nothing gets the defaults of
``ModelProfile``, which send only what the client asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from app.canonical.profile import ModelProfile
from app.canonical.request import Effort

__all__ = ["profile_for"]

_LOW_HIGH: tuple[Effort, ...] = ("low", "high")
_LOW_MED_HIGH: tuple[Effort, ...] = ("low", "medium", "high")
_MIN_HIGH: tuple[Effort, ...] = ("minimal", "low", "medium", "high")
_TO_MAX: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")
_LOW_XHIGH: tuple[Effort, ...] = ("low", "medium", "high", "xhigh")
_TO_XHIGH: tuple[Effort, ...] = ("none", "low", "medium", "high", "xhigh")

_VERSION_DOT = re.compile(r"(?<=\d)\.(?=\d)")

_REASONING_OPENAI: dict[str, Any] = {
    "reasoning": "effort",
    "sampling": False,
    "stop": False,
    "custom_tools": True,
    "developer_role": True,
}

_ROWS: tuple[tuple[re.Pattern[str], dict[str, Any]], ...] = tuple(
    (re.compile(pattern), facts)
    for pattern, facts in (
        # Anthropic: budgets up to 4.5, adaptive with efforts from 4.6; system turns from 4.8 and 5.
        (
            r"claude-3-5-",
            {"reasoning": "none", "max_output": 8192, "context": 200_000},
        ),
        (
            r"claude-(3-(opus|sonnet|haiku)|2|instant)",
            {"reasoning": "none", "max_output": 4096, "context": 200_000},
        ),
        (
            r"claude-(3-7-sonnet|sonnet-4-0|sonnet-4[@-]2|sonnet-4(-latest)?$|(sonnet|haiku|opus)-4-5)",
            {"reasoning": "budget", "budget_min": 1024, "budget_max": 63_999,
             "max_output": 64_000, "context": 200_000, "temperature_or_top_p": True},
        ),
        (
            r"claude-opus-4(-[01])?([@-](20\d{6}|latest))?$",
            {"reasoning": "budget", "budget_min": 1024, "budget_max": 31_999,
             "max_output": 32_000, "context": 200_000, "temperature_or_top_p": True},
        ),
        (
            r"claude-sonnet-4-6",
            {"reasoning": "adaptive", "efforts": _TO_MAX, "budget_min": 1024,
             "max_output": 64_000, "context": 1_000_000, "temperature_or_top_p": True},
        ),
        (
            r"claude-opus-4-[67]",
            {"reasoning": "adaptive", "efforts": _TO_MAX, "budget_min": 1024,
             "max_output": 128_000, "context": 1_000_000, "temperature_or_top_p": True},
        ),
        (
            r"claude-",
            {"reasoning": "adaptive", "efforts": _TO_MAX, "budget_min": 1024,
             "max_output": 128_000, "context": 1_000_000, "temperature_or_top_p": True,
             "mid_system": True},
        ),
        # OpenAI: reasoning models refuse sampling; efforts by generation.
        (r"gpt-5.*-chat|chatgpt-", {"reasoning": "none", "custom_tools": False}),
        # Only one effort, or only the upper ones, for -pro; codex does not know the lowest two;
        # xhigh came with gpt-5.1-codex-max.
        (
            r"gpt-5-pro",
            {**_REASONING_OPENAI, "efforts": ("high",), "context": 400_000,
             "can_disable_reasoning": False},
        ),
        (
            r"gpt-5\.\d+-pro",
            {**_REASONING_OPENAI, "efforts": ("medium", "high", "xhigh"), "context": 400_000,
             "can_disable_reasoning": False},
        ),
        (
            r"gpt-5\.1-codex-max|gpt-5\.[2-9]\d*.*-codex(?!-mini)",
            {**_REASONING_OPENAI, "efforts": _LOW_XHIGH, "context": 400_000,
             "max_output": 128_000, "can_disable_reasoning": False},
        ),
        (
            r"gpt-5(\.\d+)?-codex",
            {**_REASONING_OPENAI, "efforts": _LOW_MED_HIGH, "context": 400_000,
             "max_output": 128_000, "can_disable_reasoning": False},
        ),
        (
            r"gpt-5\.1(-|$)",
            {**_REASONING_OPENAI, "efforts": ("none", *_LOW_MED_HIGH), "context": 400_000,
             "max_output": 128_000},
        ),
        (
            r"gpt-5\.[1-9]\d*",
            {**_REASONING_OPENAI, "efforts": _TO_XHIGH, "context": 400_000, "max_output": 128_000},
        ),
        (
            r"gpt-5",
            {**_REASONING_OPENAI, "efforts": _MIN_HIGH, "context": 400_000, "max_output": 128_000,
             "can_disable_reasoning": False},
        ),
        (r"gpt-([6-9]|\d\d)", {**_REASONING_OPENAI, "efforts": (*_TO_XHIGH, "max")}),
        (
            r"o[1-9](-|$)",
            {**_REASONING_OPENAI, "efforts": _LOW_MED_HIGH, "custom_tools": False,
             "can_disable_reasoning": False, "context": 200_000, "max_output": 100_000},
        ),
        (r"gpt-4\.1", {"reasoning": "none", "context": 1_047_576, "max_output": 32_768}),
        (r"gpt-4o", {"reasoning": "none", "context": 128_000, "max_output": 16_384}),
        (r"gpt-(4|3\.5)", {"reasoning": "none"}),
        (r"gpt-oss", {"reasoning": "effort", "efforts": _LOW_MED_HIGH}),
        # Gemini: budgets at 2.5, levels from 3.
        (r"gemini-2\.5-flash-image|gemini-.*tts", {"reasoning": "none"}),
        (
            r"gemini-2\.5-pro",
            {"reasoning": "budget", "budget_min": 128, "budget_max": 32_768, "audio": True,
             "can_disable_reasoning": False, "context": 1_048_576, "max_output": 65_536},
        ),
        (
            r"gemini-2\.5-flash-lite",
            {"reasoning": "budget", "budget_min": 512, "budget_max": 24_576, "audio": True,
             "context": 1_048_576, "max_output": 65_536},
        ),
        (
            r"gemini-2\.5-flash",
            {"reasoning": "budget", "budget_min": 0, "budget_max": 24_576, "audio": True,
             "context": 1_048_576, "max_output": 65_536},
        ),
        (
            r"gemini-3-pro",
            {"reasoning": "level", "efforts": _LOW_HIGH, "audio": True,
             "can_disable_reasoning": False, "context": 1_048_576, "max_output": 65_536},
        ),
        (
            r"gemini-3(\.\d+)?-pro",
            {"reasoning": "level", "efforts": _LOW_MED_HIGH, "audio": True,
             "can_disable_reasoning": False, "context": 1_048_576, "max_output": 65_536},
        ),
        (
            r"gemini-[3-9]",
            {"reasoning": "level", "efforts": _MIN_HIGH, "audio": True,
             "can_disable_reasoning": False, "context": 1_048_576, "max_output": 65_536},
        ),
        (r"gemini-(1|2\.0)", {"reasoning": "none", "audio": True, "context": 1_048_576}),
        (r"gemma-([1-3]|\db)", {"reasoning": "none", "json_schema": False}),
        (r"gemma-", {"json_schema": False}),
        # Open models behind compatible servers.
        (r"deepseek-(r\d|reasoner)|qwq|glm-4\.[5-9]|glm-[5-9]|kimi-k\d.*think",
         {"reasoning": "unknown"}),
    )
)  # fmt: skip


@lru_cache(maxsize=1024)
def profile_for(model: str, *, official: bool = True) -> ModelProfile:
    """Return what the name of a model tells.

    Args:
        model: the upstream's name; a leading ``vendor/`` and a variant after a colon
            (OpenRouter's ``:free``) are ignored, and Anthropic's versions may have dots
            (``claude-sonnet-4.5``).
        official: False for compatible servers, which take the older Chat fields and no free-text
            tools.
    """
    name = model.rpartition("/")[2].partition(":")[0].lower()
    if name.startswith("claude-"):
        name = _VERSION_DOT.sub("-", name)
    facts: Mapping[str, Any] = next((f for p, f in _ROWS if p.match(name)), {})
    profile = ModelProfile(name=model, **facts)
    if not official:
        profile = replace(
            profile,
            # OpenAI's reasoning models, the only ones that refuse sampling, refuse max_tokens
            # whoever passes the call on to them (Azure among others).
            legacy_max_tokens=profile.sampling,
            custom_tools=False,
            developer_role=False,
        )
    return profile
