"""Names that stand for several models, and why a call moves from one to the next (pure).

A chain's entry may be a model, an alias, or another chain, each with a reasoning suffix; an entry
with the chain's own name means the model of that name. ``expand`` writes all of it out. It ends for
every input: a chain or alias that is being written out already is taken for a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.canonical.failure import Failure, FailureKind
from app.configrules import MoveReason
from app.routing.failover import may_try_next
from app.routing.suffix import Level, split_suffix

__all__ = ["MOST_STEPS", "Names", "Step", "expand", "may_ask"]

MOST_STEPS = 32
"""Models of one chain when all is written out; nobody waits for more."""

_DEEPEST = 32
"""Names that stand for names that stand for names."""

_MOST_LOOK_UPS = 512

_KINDS: Mapping[MoveReason, frozenset[FailureKind]] = {
    "quota": frozenset(("quota", "rate_limit", "payment")),
    "rate_limit": frozenset(("rate_limit",)),
    "overloaded": frozenset(("overloaded", "unavailable")),
    "server": frozenset(("server", "unavailable")),
    "timeout": frozenset(("timeout",)),
    "unavailable": frozenset(("unavailable",)),
    "authentication": frozenset(("authentication", "permission")),
    "not_found": frozenset(("not_found",)),
    "too_long": frozenset(("context_full", "too_large")),
    "refused": frozenset(("content_policy",)),
    "invalid": frozenset(("invalid_request", "conflict")),
}
"""Which failures each reason of the settings means; ``any`` is all but a caller that left."""


@dataclass(frozen=True, slots=True)
class Step:
    """One model to try."""

    model: str
    """The name to plan for, without a suffix."""
    reasoning: Level | None = None
    """How much to think; None: as the client says."""
    moves: frozenset[MoveReason] = frozenset()
    """Why a call may come here from the steps before; empty: whenever another account may help."""
    via: str = ""
    """What led here, in words for people."""


@dataclass(frozen=True, slots=True)
class Names:
    """What names of the settings stand for."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    chains: Mapping[str, Sequence[str]] = field(default_factory=dict)
    moves: Mapping[str, Mapping[str, Sequence[MoveReason]]] = field(default_factory=dict)
    default: str | None = None


def expand(name: str, names: Names, known: Callable[[str], bool] | None = None) -> tuple[Step, ...]:
    """Return the models that a name stands for, in the order of trying; at least one.

    Args:
        name: a model, alias or chain, with or without a reasoning suffix.
        names: of the settings.
        known: see ``split_suffix``.
    """
    if not name.endswith(")") and name not in names.aliases and name not in names.chains:
        return (Step(name),)  # most names mean themselves
    writing = _Writing(names, known)
    writing.add(name, Step(""), frozenset())
    return tuple(writing.steps.values()) or (Step(name),)


@dataclass(slots=True)
class _Writing:
    """Writes names out; the bounds keep a maze of names from costing more than a few."""

    names: Names
    known: Callable[[str], bool] | None
    steps: dict[tuple[str, Level | None], Step] = field(default_factory=dict)
    looked_up: int = 0

    def add(self, name: str, so_far: Step, opened: frozenset[str]) -> None:
        """Add what a name stands for; ``opened`` are the names that led here."""
        self.looked_up += 1
        if len(self.steps) >= MOST_STEPS or self.looked_up > _MOST_LOOK_UPS:
            return
        names, may_open = self.names, name not in opened and len(opened) < _DEEPEST
        if name in names.chains and may_open:
            via = _joined(so_far.via, f"chain {name}")
            for number, entry in enumerate(names.chains[name]):
                # To its first model the call comes for the reasons that led to the chain itself.
                moves = so_far.moves if number == 0 else self._moves(name, entry)
                self.add(entry, replace(so_far, via=via, moves=moves), opened | {name})
        elif name in names.aliases and may_open:
            via = _joined(so_far.via, f"alias {name}")
            self.add(names.aliases[name], replace(so_far, via=via), opened | {name})
        else:
            base, level = split_suffix(name, self.known)
            if level is not None and len(opened) < _DEEPEST:
                # What is said first holds: alias(high) over what the alias itself says.
                said = level if so_far.reasoning is None else so_far.reasoning
                # The name with its suffix counts as a look, so that suffixes upon suffixes end.
                self.add(base, replace(so_far, reasoning=said), opened | {name})
            else:
                self.steps.setdefault((name, so_far.reasoning), replace(so_far, model=name))

    def _moves(self, chain: str, entry: str) -> frozenset[MoveReason]:
        return frozenset(self.names.moves.get(chain, {}).get(entry, ()))


def _joined(via: str, more: str) -> str:
    return f"{via}, {more}" if via else more


def may_ask(steps: Sequence[Step], last: int, following: int, failure: Failure) -> bool:
    """Say whether a candidate may be asked after another one failed.

    Args:
        steps: of the decision.
        last: which step the candidate that failed serves.
        following: which step the next candidate serves; not before ``last``.
        failure: what happened.
    """
    moves = steps[following].moves
    if following == last or not moves:
        return may_try_next(failure)
    if failure.final or failure.kind == "cancelled":
        return False
    return "any" in moves or any(
        failure.kind in _KINDS[reason] for reason in moves if reason != "any"
    )
