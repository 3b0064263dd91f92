"""How much to think, translated among efforts, budgets, levels and adaptive thinking.

The effort to budget table is the one used by this field's proxies (none 0, minimal 512, low 1024,
medium 8192, high 24576, xhigh 32768, max 128000, then clamped to the model).
"""

from __future__ import annotations

from dataclasses import dataclass

from app.canonical.profile import ModelProfile
from app.canonical.request import Effort, ReasoningConfig

__all__ = ["BUDGETS", "EFFORTS", "Thinking", "budget_of", "effort_of", "nearest_effort", "resolve"]

EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every effort in rising order."""

BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 512,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 32768,
    "max": 128000,
}
"""Tokens of thought that an effort stands for."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """What to ask of a model, in each dialect's terms; the encoder takes the one it needs."""

    off: bool
    """Thinking is to be switched off."""
    effort: Effort | None
    """Effort or level, fitted to the model; None: say nothing."""
    budget_tokens: int | None
    """Budget fitted to the model; None: say nothing; -1: the service decides."""
    adaptive: bool
    """The client wants the model to decide how much to think."""
    visible: bool
    """Thought text or a summary is wanted back."""


def effort_of(budget_tokens: int) -> Effort:
    """Return the effort whose budget is nearest below or equal to a token budget."""
    if budget_tokens < 0:
        return "medium"
    best: Effort = "none"
    for effort in EFFORTS:
        if BUDGETS[effort] <= budget_tokens:
            best = effort
    if best == "none" and budget_tokens > 0:
        return "minimal"
    return best


def budget_of(effort: Effort) -> int:
    """Return the token budget that an effort stands for."""
    return BUDGETS[effort]


def nearest_effort(effort: Effort, accepted: tuple[Effort, ...]) -> Effort:
    """Return the accepted effort nearest to the wanted one (the higher of two equally near).

    ``none`` only ever maps to ``none`` when accepted, else to the lowest accepted.
    """
    if not accepted or effort in accepted:
        return effort
    rank = EFFORTS.index(effort)
    thinking: tuple[Effort, ...] = tuple(e for e in accepted if e != "none") or accepted
    return min(thinking, key=lambda e: (abs(EFFORTS.index(e) - rank), -EFFORTS.index(e)))


def resolve(
    config: ReasoningConfig | None, profile: ModelProfile, max_tokens: int | None
) -> Thinking | None:
    """Fit a client's wish to a model.

    Args:
        config: what the client asked for; None when it said nothing.
        profile: facts about the model.
        max_tokens: limit of the answer; a budget is kept below it.

    Returns:
        None when nothing is to be said about thinking (no wish, or the model cannot think).
    """
    if config is None or profile.reasoning == "none":
        return None
    visible = config.visible is not False
    wants_off = config.mode == "off" or config.effort == "none" or config.budget_tokens == 0
    if wants_off and profile.can_disable_reasoning:
        off_effort = nearest_effort("none", profile.efforts)
        return Thinking(True, off_effort, 0, False, visible=False)
    if wants_off:
        lowest = nearest_effort("minimal", profile.efforts)
        return Thinking(False, lowest, profile.budget_min or BUDGETS["minimal"], False, False)
    effort = config.effort
    budget = config.budget_tokens
    adaptive = config.mode == "adaptive" or budget == -1
    if effort is None and budget is not None and budget >= 0:
        effort = effort_of(budget)
    if budget is None and effort is not None:
        budget = budget_of(effort)
    if effort is not None:
        effort = nearest_effort(effort, profile.efforts)
    if budget is not None and budget >= 0:
        budget = _clamp(budget, profile, max_tokens)
    return Thinking(False, effort, budget, adaptive, visible)


def _clamp(budget: int, profile: ModelProfile, max_tokens: int | None) -> int:
    if profile.budget_max is not None:
        budget = min(budget, profile.budget_max)
    if max_tokens is not None:
        budget = min(budget, max_tokens - 1)
    if profile.budget_min is not None:
        budget = max(budget, profile.budget_min)
    return max(budget, 0)
