"""The rule types of ccproxy under their names, with its traps closed (pure).

Source: starbased-co/ccproxy 1.2.0, ``rules.py`` and ``config.py``, read 2026-08. What differs here:
``ThinkingRule`` looks at the value, so that a disabled thinking does not match; ``TokenCountRule``
counts system text, tools, calls and results, too; a rule that cannot be made is reported instead of
left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from app.configrules import Condition, Tokens
from app.routing.patterns import containing

__all__ = ["CALLS", "bind", "ccproxy_condition", "ccproxy_type"]

CallForm: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]

_PACKAGE = "ccproxy.rules."


def ccproxy_type(name: str) -> str | None:
    """Return which of ccproxy's rule types a name means, or None when it means another rule."""
    short = name.removeprefix(_PACKAGE)
    return short if short in CALLS else None


def bind(params: Any) -> CallForm:
    """Return how ccproxy calls a rule with these params: positional and named arguments."""
    match params:
        case None:
            return (), {}
        case Mapping():
            return (), dict(params)
        case list() | tuple():
            if params and all(isinstance(item, Mapping) for item in params):
                return (), {key: value for item in params for key, value in item.items()}
            return tuple(params), {}
        case _:
            return (params,), {}


def ccproxy_condition(name: str, params: Any) -> Condition:
    """Return a rule of ccproxy as conditions of ours.

    Args:
        name: one of ``CALLS``.
        params: as in ccproxy's file, in any of its five forms.

    Raises:
        ValueError: the params are not what the rule takes; the sentence says what is.
    """
    make = CALLS[name]
    args, named = bind(params)
    try:
        inspect.signature(make).bind(*args, **named)
    except TypeError:
        words = ", ".join(inspect.signature(make).parameters) or "no params"
        raise ValueError(f"{name} takes {words}") from None
    return make(*args, **named)


def _thinking() -> Condition:
    return Condition(thinking=True)


def _model(model_name: Any) -> Condition:
    return Condition(model=(containing(_text("MatchModelRule", "model_name", model_name)),))


def _tool(tool_name: Any) -> Condition:
    return Condition(tool=(containing(_text("MatchToolRule", "tool_name", tool_name)),))


def _tokens(threshold: Any) -> Condition:
    if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 0:
        raise ValueError("TokenCountRule takes a threshold that is a whole number, 0 or more")
    return Condition(tokens=Tokens(over=threshold))


def _text(rule: str, name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        # An empty text would match everything, which nobody means.
        raise ValueError(f"{rule} takes a {name} that is a text, and not an empty one")
    return value


CALLS: Mapping[str, Callable[..., Condition]] = {
    "ThinkingRule": _thinking,
    "MatchModelRule": _model,
    "MatchToolRule": _tool,
    "TokenCountRule": _tokens,
}
"""ccproxy's rule types."""
