"""What tokens cost. Dollars per million tokens are micro-dollars per token, so sums stay whole.

Pure. Where a price is missing, the nearest that cannot be too low stands for it: reading from and
writing to a cache cost what input costs. Without a price for input or output, a request that has
such tokens has no known cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.canonical.usage import Usage
from app.routing.snapshot import LongPrices, Prices, Snapshot, find

__all__ = ["PriceList", "Rates", "Tier", "cost_of", "rates_of"]

_HOUR_TO_FIVE_MINUTES = 1.6
"""What writing to a cache for an hour costs, of writing for five minutes. Anthropic, the only one
with both, asks for 2 and 1.25 times its input price (price list read 2026-11-21)."""
_MAX_KNOWN = 1_024


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per million tokens; None where not known."""

    input: float | None = None
    """Uncached input."""
    output: float | None = None
    """Output, reasoning included."""
    cache_read: float | None = None
    cache_write: float | None = None
    """Writing for the shortest lifetime."""
    cache_write_1h: float | None = None
    tiers: tuple[Tier, ...] = ()
    """Other rates for long prompts, in any order."""

    def at(self, prompt: int) -> Rates:
        """Return the rates for a prompt of this many tokens."""
        reached = [tier for tier in self.tiers if prompt > tier.above]
        return max(reached, key=lambda tier: tier.above).rates if reached else self


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates of the whole request once its prompt has more than ``above`` tokens."""

    above: int
    rates: Rates


def rates_of(prices: Prices, long: Iterable[LongPrices] = ()) -> Rates:
    """Return the rates that public model data tells, those for long prompts among them."""
    write = prices.cache_write
    return Rates(
        input=prices.input,
        output=prices.output,
        cache_read=prices.cache_read,
        cache_write=write,
        cache_write_1h=None if write is None else write * _HOUR_TO_FIVE_MINUTES,
        tiers=tuple(Tier(one.above, rates_of(one.prices)) for one in long),
    )


def cost_of(usage: Usage, rates: Rates) -> int | None:
    """Return what tokens cost in micro-dollars, or None where a price that it needs is not known.

    Args:
        usage: disjoint counts; the prompt's length chooses among the tiers.
        rates: of the model.
    """
    rates = rates.at(usage.prompt)
    write = _first(rates.cache_write, rates.input)
    hour = usage.cache_write_1h or 0
    total = 0.0
    for tokens, rate in (
        (usage.input, rates.input),
        (usage.output, rates.output),
        (usage.cache_read, _first(rates.cache_read, rates.input)),
        (usage.cache_write - hour, write),
        (hour, _first(rates.cache_write_1h, write)),
    ):
        if tokens <= 0:
            continue
        if rate is None:
            return None
        total += tokens * rate
    return round(total)


def _first(*rates: float | None) -> float | None:
    return next((rate for rate in rates if rate is not None), None)


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices by model: an immutable value that is swapped when the data or the settings change."""

    snapshot: Snapshot = field(default_factory=dict)
    own: Mapping[str, Rates] = field(default_factory=dict)
    """The user's own prices by model name; they win."""
    _known: dict[str, Rates] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was looked up; names come from services' lists and from clients, so it is bounded."""

    def rates(self, model: str) -> Rates:
        """Return the rates of a model under the service's name for it; empty when not known."""
        known = self._known.get(model)
        if known is None:
            known = self.own.get(model)
            if known is None:
                row = find(self.snapshot, model)
                known = Rates() if row is None else rates_of(row.prices, row.long_prices)
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[model] = known
        return known

    def cost(self, model: str, usage: Usage) -> int | None:
        """Return the cost of a request in micro-dollars, or None when it is not known."""
        return cost_of(usage, self.rates(model))
