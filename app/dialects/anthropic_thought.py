"""How an Anthropic model is told to think, and when it must not be.

Models up to 4.5 take a token budget, newer ones ``adaptive`` with an effort (see
``ModelProfile.reasoning``). Thought is refused beside a forced tool call, a prefilled answer, and
in a tool turn whose history lacks its thinking block.

Source: https://platform.claude.com/docs/en/build-with-claude/extended-thinking (read 2026-11).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.canonical.parts import JsonObject
from app.canonical.reasoning import Thinking, budget_of, nearest_effort, resolve
from app.canonical.request import Effort, ReasoningConfig
from app.dialects.anthropic_turns import Turn, lacks_thought
from app.dialects.anthropic_values import (
    EFFORT_ONLY,
    NAME,
    THINKING,
    Outgoing,
    has_mark,
    own_fields,
)

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "MIN_BUDGET",
    "Think",
    "decide_thought",
]


DEFAULT_MAX_TOKENS = 8192
"""``max_tokens`` is required. This much every model since Claude 3.5 can write; the older ones
are known to the catalog by their ``max_output``."""
MIN_BUDGET = 1024
"""Smallest ``thinking.budget_tokens`` that the service accepts."""
_WIRE_EFFORTS: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")


@dataclass(slots=True)
class Think:
    """What is said about thought."""

    thinking: JsonObject | None = None
    effort: str | None = None

    @property
    def on(self) -> bool:
        """Whether the model is told to think."""
        return self.thinking is not None and self.thinking.get("type") != "disabled"

    @property
    def by_budget(self) -> bool:
        """Whether it is given a budget of tokens for it."""
        return self.thinking is not None and self.thinking.get("type") == "enabled"


def decide_thought(
    out: Outgoing, turns: list[Turn], choice: JsonObject | None
) -> tuple[int, Think]:
    """Return ``max_tokens`` and what is said about thought."""
    limit = out.request.max_tokens
    most = out.profile.max_output
    if limit is not None and most is not None and limit > most:
        out.losses.add("max_tokens", f"lowered to {most}, the model's maximum")
        limit = most
    think = _wanted_thought(out, most if limit is None else limit)
    if limit is None:
        limit = most or DEFAULT_MAX_TOKENS
        budget = (think.thinking or {}).get("budget_tokens")
        if most is None and isinstance(budget, int):
            limit += budget
    reason = _obstacle(think, turns, choice)
    if reason is not None:
        out.losses.add("reasoning", reason)
        think = Think()
    return limit, think


def _obstacle(think: Think, turns: list[Turn], choice: JsonObject | None) -> str | None:
    if not think.on:
        return None
    if choice is not None and choice.get("type") in ("any", "tool"):
        return "thought is refused while a tool call is forced"
    if think.by_budget and lacks_thought(turns):
        return "the history of this turn lacks its thought, which the service demands"
    if think.by_budget and turns[-1].role == "assistant":
        return "thought is refused with a prefilled answer"
    return None


def _wanted_thought(out: Outgoing, limit: int | None) -> Think:
    config = out.request.reasoning
    if config is None:
        return Think()
    style = out.profile.reasoning
    if style == "none":
        if config.mode != "off" and not has_mark(config.native, EFFORT_ONLY):
            out.losses.add("reasoning", "the model does not think")
        return Think()
    unsized = config.effort is None and config.budget_tokens in (None, -1)
    if unsized and (style == "budget" or (config.mode == "on" and not out.target.official)):
        # "high" is what the service takes adaptive thinking without an effort to mean.
        config = replace(config, effort="high", budget_tokens=None)
    wish = resolve(config, out.profile, limit)
    if wish is None:
        return Think()
    if wish.off:
        effort = config.effort if out.own and config.effort != "none" else None
        return Think({"type": "disabled"}, effort)
    if config.mode == "off" or config.effort == "none" or config.budget_tokens == 0:
        out.losses.add("reasoning", "the model cannot be kept from thinking")
    return _form(out, config, wish, limit)


def _form(out: Outgoing, config: ReasoningConfig, wish: Thinking, limit: int | None) -> Think:
    effort = _effort(out, wish.effort)
    if config.native is not None and config.native.dialect == NAME:
        raw = config.native.fields.get(THINKING)
        if isinstance(raw, dict):
            return Think(dict(raw), effort)
    style = out.profile.reasoning
    if has_mark(config.native, EFFORT_ONLY) and (style != "budget" or out.profile.efforts):
        return Think(None, effort)
    sized = config.budget_tokens is not None and config.budget_tokens >= 0
    if style == "adaptive":
        adaptive = True
    elif style == "budget":
        adaptive = False
    else:
        adaptive = config.mode == "adaptive" or not (sized or not out.target.official)
    if adaptive:
        said = config.effort is not None or style == "adaptive"
        return Think(_shown(out, {"type": "adaptive"}, config), effort if said else None)
    budget = _budget(out, config, wish, limit, sized)
    if budget is None:
        return Think()
    explicit = out.own and config.effort is not None and sized
    if explicit and style == "budget" and not out.profile.efforts:
        out.losses.add("reasoning.effort", "the model takes a budget only")
        explicit = False
    thinking: JsonObject = {"type": "enabled", "budget_tokens": budget}
    return Think(_shown(out, thinking, config), effort if explicit else None)


def _effort(out: Outgoing, effort: Effort | None) -> str | None:
    if effort is None:
        return None
    return nearest_effort(effort, out.profile.efforts or _WIRE_EFFORTS)


def _budget(
    out: Outgoing, config: ReasoningConfig, wish: Thinking, limit: int | None, sized: bool
) -> int | None:
    budget = wish.budget_tokens
    if budget is None or budget < 0:
        budget = budget_of("high")
    if limit is not None:
        # A budget that an effort stands for leaves a quarter to the answer itself.
        budget = min(budget, limit - 1 if sized else limit - max(limit // 4, 1))
    if out.profile.budget_max is not None:
        budget = min(budget, out.profile.budget_max)
    budget = max(budget, out.profile.budget_min or 0, MIN_BUDGET)
    if limit is not None and budget >= limit:
        out.losses.add("reasoning", "max_tokens leaves no room for thought")
        return None
    return budget


def _shown(out: Outgoing, thinking: JsonObject, config: ReasoningConfig) -> JsonObject:
    if config.native is not None and config.native.dialect == NAME:
        thinking.update(own_fields(config.native))
    elif config.visible is not None and out.target.official:
        thinking["display"] = "summarized" if config.visible else "omitted"
    return thinking
