"""What may be spent: the settings' budgets, prices and size of the ledger, in force.

A budget names a key by its id or its name, so ``configure`` is called again when keys change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator

import msgspec

from app.accounts.roster import Roster
from app.canonical.usage import Usage
from app.config import Config
from app.configledger import Budget as BudgetSetting
from app.configtext import nearest
from app.gateway.resources import local_time
from app.gateway.status import BudgetStatus
from app.ledger.budget import Budget, Standing
from app.ledger.entry import Entry
from app.ledger.ledger import Retention
from app.ledger.meter import Meter, UsageSource
from app.ledger.price import PriceList, Rates
from app.ledger.tally import EVERYTHING, Scope
from app.routing.snapshot import Snapshot
from app.store.opening import Opening

__all__ = ["Spending"]

_MB = 1024 * 1024
_BYTES_ASKED = 4
"""English text, JSON and code have about four bytes for each token."""
_BYTES_SENT = 200
"""Chat, whose services do not tell unless they are asked to, sends about a token in each event."""


class Spending:
    """Follows the settings; the use itself is the meter's.

    Args:
        opening: where the keys are, and what was used before.
        settings: returns the settings in force.
        roster: its accounts are left alone while their provider's budget is used up.
        providers: by id; may change.
        now: the clock, epoch seconds.
    """

    def __init__(
        self,
        opening: Opening,
        settings: Callable[[], Config],
        roster: Roster,
        providers: Collection[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = opening.index
        self._settings = settings
        self._roster = roster
        self._providers = providers
        self.meter = Meter(opening.index, now=now, clock=local_time)
        """Asked before each call."""
        opening.read_use = self._read
        roster.barred = self.meter.barred
        self.prices = PriceList({})
        """What models cost: the settings' own prices over the public ones."""
        self.warnings: tuple[str, ...] = ()
        """What of the budgets is not as it was meant, one sentence each."""
        self.configure()

    def _read(self, source: UsageSource) -> None:
        """Begin with the keys that were read and what they have used; in the store's thread."""
        self._budget()
        self.meter.prime(source)

    def configure(self) -> None:
        """Put the settings in force, with budgets for the keys that there are now."""
        self.price(self.prices.snapshot)
        self._budget()

    def _budget(self) -> None:
        written = self._settings().ledger.budgets
        missing: list[str] = []
        self.meter.set_budgets(self._budgets(written, missing))
        self.warnings = tuple(missing)

    def _budgets(self, written: tuple[BudgetSetting, ...], missing: list[str]) -> Iterator[Budget]:
        for number, one in enumerate(written, 1):
            name = one.name or f"budget {number}"
            scopes: list[Scope] = [EVERYTHING]
            if one.provider is not None:
                scopes = [("provider", one.provider)]
                if doubt := self.doubt(one.provider):
                    missing.append(f"The budget {name} counts nothing: {doubt}")
            elif one.key is not None:
                scopes = [("key", key_id) for key_id in self._ids(one.key)]
                if not scopes:
                    missing.append(
                        f"The budget {name} is for the key {one.key!r}, and there is none."
                    )
            for scope in scopes:
                yield Budget(
                    name,
                    _limit(one),
                    "usd" if one.tokens is None else "tokens",
                    one.per,
                    scope,
                    None if one.warn_percent is None else one.warn_percent / 100,
                    None if one.stop_percent is None else one.stop_percent / 100,
                    one.count_plans,
                )

    def _ids(self, key: str) -> list[str]:
        """Return the id of the key that goes by a name; of several, the one that is used last."""
        if self._keys.get(key) is not None:
            return [key]
        named = [record for record in self._keys.records() if record.label == key]
        usable = [record for record in named if record.revoked_at is None] or named
        last = max(usable, key=lambda record: record.created_at, default=None)
        return [] if last is None else [last.id]

    def doubt(self, provider: str) -> str:
        """Return what is wrong with the name of a provider; empty for a good one."""
        known = {*self._providers, *(one.provider.id for one in self._roster.accounts())}
        if not known or provider in known or "*" in provider or "?" in provider:
            return ""
        return f"there is no provider {provider[:60]!r}; {nearest(provider, sorted(known))}"

    def statuses(self) -> tuple[BudgetStatus, ...]:
        """Return how the budgets stand, for people."""
        return tuple(_status(standing) for standing in self.meter.standings())

    def watch(self, sizes: Callable[[str], tuple[int, int]]) -> None:
        """Estimate from now on the tokens of streams whose services do not tell.

        Args:
            sizes: returns the bytes that a request (id) came with and was answered with.
        """

        def guess(entry: Entry) -> Entry:
            asked, sent = sizes(entry.id)
            if not sent:  # it failed before anything came
                return entry
            usage = Usage(input=asked // _BYTES_ASKED, output=max(1, sent // _BYTES_SENT))
            cost = self.prices.cost(entry.model, usage)
            return msgspec.structs.replace(entry, tokens=usage, cost=cost)

        self.meter.guess = guess

    def price(self, snapshot: Snapshot) -> None:
        """Take other public prices; the settings' own stay over them."""
        own = {
            name: Rates(price.input, price.output, price.cache_read, price.cache_write)
            for name, price in self._settings().models.prices.items()
        }
        self.prices = PriceList(snapshot, own)

    def retention(self) -> Retention:
        """Return what the ledger keeps."""
        ledger = self._settings().ledger
        return Retention(days=ledger.retention_days, max_bytes=ledger.max_mb * _MB)


def _limit(one: BudgetSetting) -> int:
    if one.tokens is not None:
        return one.tokens
    assert one.usd is not None  # noqa: S101 - the settings have one of the two
    return max(1, round(one.usd * 1e6))


def _status(standing: Standing) -> BudgetStatus:
    kind, name = standing.budget.scope
    return BudgetStatus(
        standing.budget.name,
        standing.sentence,
        standing.level,
        int(standing.part * 100),
        standing.resets_at,
        name if kind == "provider" else "",
    )
