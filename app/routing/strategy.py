"""Which of several accounts comes first, as pure functions of what is known of them.

A strategy orders the accounts that could all serve a model. Those that have nothing left come last
under every strategy. Sign-ins of one person are used one after the other: strategies that spread
calls over them would look like several people sharing a plan, and are not applied to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.accounts.account import Account
from app.configrules import Strategy
from app.routing.plan import Rank, RankOf

__all__ = [
    "DEFAULT_STRATEGY",
    "SPREADING",
    "Standing",
    "combined",
    "fitting",
    "order_accounts",
    "strategic",
    "strategy_of",
]

DEFAULT_STRATEGY: Strategy = "primary_first"

SPREADING: frozenset[Strategy] = frozenset(("round_robin", "weighted", "least_used"))
"""Only for accounts with keys."""

_GOLDEN = 0.6180339887498949
"""Multiples of it, taken modulo 1, fill the interval evenly however many there are."""

_STRIDE = 1_000
"""More accounts than this share no model; leaves room between two ranks of another order."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a strategy knows of an account."""

    account_id: str
    order: int = 0
    """Place in the settings."""
    primary: bool = False
    left_percent: float | None = None
    """What is left of its quota for the model; None when unknown."""
    running: int = 0
    """Calls that run now."""
    used: float = 0.0
    """Calls (or tokens) of the time that the caller looks back at."""
    weight: float = 1.0


def strategy_of(
    provider: str, strategies: Mapping[str, Strategy], wanted: Strategy | None = None
) -> Strategy:
    """Return the strategy for a provider's accounts: the rule's, the provider's, the general one."""
    return wanted or strategies.get(provider) or strategies.get("*") or DEFAULT_STRATEGY


def fitting(strategy: Strategy, *, subscription: bool) -> Strategy:
    """Return the strategy, or the default one where a person's plan must not be spread over."""
    return DEFAULT_STRATEGY if subscription and strategy in SPREADING else strategy


def order_accounts(
    strategy: Strategy, standings: Sequence[Standing], turn: int = 0
) -> tuple[tuple[Standing, str], ...]:
    """Return the accounts in the order of trying, each with the reason in words for people.

    Args:
        strategy: the order wanted.
        standings: what is known of each account.
        turn: counts the calls of these accounts; only ``round_robin`` and ``weighted`` look at it.
    """
    usable = sorted((s for s in standings if not _is_spent(s)), key=lambda s: s.order)
    spent = sorted((s for s in standings if _is_spent(s)), key=lambda s: s.order)
    rows = [(s, reason) for s, reason in _ORDERS[strategy](usable, turn)]
    return (*rows, *((s, "its quota is used up") for s in spent))


def _is_spent(standing: Standing) -> bool:
    return standing.left_percent is not None and standing.left_percent <= 0.0


_Rows = list[tuple[Standing, str]]


def _primary_first(usable: list[Standing], _turn: int) -> _Rows:
    ordered = sorted(usable, key=lambda s: not s.primary)
    return [(s, "primary account" if s.primary else "") for s in ordered]


def _fill_first(usable: list[Standing], _turn: int) -> _Rows:
    """Use up what is begun before beginning another."""
    ordered = sorted(usable, key=lambda s: 100.0 if s.left_percent is None else s.left_percent)
    return [(s, f"filled first, {_left(s)}") for s in ordered]


def _round_robin(usable: list[Standing], turn: int) -> _Rows:
    if not usable:
        return []
    start = turn % len(usable)
    return [(s, f"turn {turn}") for s in usable[start:] + usable[:start]]


def _weighted(usable: list[Standing], turn: int) -> _Rows:
    weighed = [s for s in usable if s.weight > 0]
    unweighed = [(s, "weight 0") for s in usable if s.weight <= 0]
    total = sum(s.weight for s in weighed)
    point = (turn * _GOLDEN) % 1.0 * total
    first = None
    for standing in weighed:
        first = standing
        if point < standing.weight:
            break
        point -= standing.weight
    others = sorted((s for s in weighed if s is not first), key=lambda s: -s.weight)
    rows = [first, *others] if first is not None else []
    return [*((s, f"weight {s.weight:g} of {total:g}") for s in rows), *unweighed]


def _least_used(usable: list[Standing], _turn: int) -> _Rows:
    ordered = sorted(usable, key=lambda s: (s.running, s.used))
    return [(s, f"{s.running} running, {s.used:g} used") for s in ordered]


def _most_left(usable: list[Standing], _turn: int) -> _Rows:
    """An account of which nothing is known counts as a full one: asking it is how one learns."""
    ordered = sorted(usable, key=lambda s: -(100.0 if s.left_percent is None else s.left_percent))
    return [(s, _left(s)) for s in ordered]


def _left(standing: Standing) -> str:
    left = standing.left_percent
    return "nothing known of its quota" if left is None else f"{left:.0f} % of its quota left"


_ORDERS: Mapping[Strategy, Callable[[list[Standing], int], _Rows]] = {
    "primary_first": _primary_first,
    "fill_first": _fill_first,
    "round_robin": _round_robin,
    "weighted": _weighted,
    "least_used": _least_used,
    "most_left": _most_left,
}


def combined(base: RankOf, ordered: Sequence[tuple[Standing, str]]) -> RankOf:
    """Return an order that keeps to ``base`` and settles its equals by a strategy.

    Args:
        base: what comes before any strategy: the account of the conversation, those with room.
        ordered: of ``order_accounts``, for all accounts that may come up.
    """
    places = {standing.account_id: (i, why) for i, (standing, why) in enumerate(ordered)}

    def rank_of(account: Account, model: str) -> Rank:
        rank, why = base(account, model)
        place, reason = places.get(account.id, (_STRIDE - 1, ""))
        return rank * _STRIDE + min(place, _STRIDE - 1), why or reason

    return rank_of


def strategic(
    base: RankOf,
    accounts: Sequence[Account],
    strategies: Mapping[str, Strategy],
    wanted: Strategy | None,
    standing_of: Callable[[Account, str], Standing],
    turn_of: Callable[[str], int],
) -> RankOf:
    """Return the order among accounts with each provider's strategy applied, for ``make_plan``.

    Args:
        base: see ``combined``.
        accounts: all accounts.
        strategies: of the settings.
        wanted: of the rule that matched; wins over those of the settings.
        standing_of: what is known of an account for an upstream model, now.
        turn_of: counts the calls of a provider's accounts.
    """
    if wanted is None and not strategies:
        return base
    orders: dict[tuple[str, str], RankOf] = {}

    def order_of(account: Account, model: str) -> RankOf:
        provider = account.provider
        strategy = fitting(
            strategy_of(provider.id, strategies, wanted), subscription=provider.subscription
        )
        rows = [standing_of(a, model) for a in accounts if a.provider.id == provider.id]
        return combined(base, order_accounts(strategy, rows, turn_of(provider.id)))

    def rank_of(account: Account, model: str) -> Rank:
        key = (account.provider.id, model)
        order = orders.get(key)
        if order is None:
            order = orders[key] = order_of(account, model)
        return order(account, model)

    return rank_of
