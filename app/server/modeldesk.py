"""Keeps what is known of models fresh, and lists them.

Two sources change without us: each account's own list, and the public registry. Both are asked once
an hour at most and at once when somebody asks for a model that nobody here knows, since it may have
come out a minute ago. Neither needs a release of this program.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from app.accounts.account import Account
from app.accounts.discovery import Discovery
from app.accounts.roster import Roster
from app.canonical.failure import Failure
from app.ledger.price import Rates
from app.routing.catalog import Catalog
from app.server.guard import Grant
from app.server.models import Facts, ModelRow, list_models
from app.server.pages import Page
from app.tasks import spawn
from app.upstream.publicmodels import PublicModels

__all__ = ["ModelDesk", "model_routes"]

_EVERY_S: Final = 3_600.0
"""Model lists change a few times a month; local servers load models more often."""
_FIRST_S: Final = 20.0
"""Until the registry is asked: a start has better things to do, and the cache will do."""
_COOL_S: Final = 60.0
"""How old an account's list has to be before a person's wish asks for it again."""
_UNKNOWN_COOL_S: Final = 300.0
"""The same where a program asks for what there is not."""
_PATIENCE_S: Final = 3.0
"""How long such a program waits for lists that are being read: services take less than one."""


class ModelDesk:
    """See the module.

    Args:
        discovery: the accounts' own lists.
        public: the registry.
        roster: all accounts.
        catalog: returns the one in force.
        rates: a model's list prices.
        changed: called when a list was read.
        now: epoch seconds.
    """

    def __init__(
        self,
        discovery: Discovery,
        public: PublicModels,
        roster: Roster,
        catalog: Callable[[], Catalog],
        rates: Callable[[str], Rates],
        *,
        changed: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._discovery = discovery
        self.public = public
        self._roster = roster
        self._catalog = catalog
        self._rates = rates
        self._changed = changed
        self._now = now

    async def keep_fresh(self) -> None:
        """Ask again and again, until cancelled."""
        await self.public.load()
        spawn(self._keep_registry(), "model registry")
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.discover()

    async def _keep_registry(self) -> None:
        await asyncio.sleep(_FIRST_S)
        while True:
            await self.public.refresh()
            await asyncio.sleep(_EVERY_S)

    async def discover(self, *, unless_within_s: float = 0.0) -> None:
        """Read the accounts' lists, those left out that were read so many seconds ago or less."""
        await self._discovery.read(self._roster.accounts(), unless_within_s=unless_within_s)
        self._changed()

    async def refresh(self) -> None:
        """Ask everybody, because a person wants to know; what was asked a moment ago is not."""
        await asyncio.gather(
            self.discover(unless_within_s=_COOL_S), self.public.refresh(asked=True)
        )

    async def look_again(self) -> bool:
        """Look for a model that nobody knows: it may be new, or its server was started just now.

        Returns:
            Whether a list was read meanwhile; False when all are known and fresh.
        """
        if not self._discovery.due(self._roster.accounts(), _UNKNOWN_COOL_S):
            return False
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.discover(unless_within_s=_UNKNOWN_COOL_S)
        except TimeoutError:
            self._changed()  # some may have answered
        return True

    def noticed(self, failure: Failure | None) -> None:
        """Look at how a request failed: a model that nobody knows may be new."""
        if failure is not None and failure.code == "model_not_found":
            spawn(self.discover(unless_within_s=_UNKNOWN_COOL_S), "model lists")

    def list(self, grant: Grant, *, demo: bool) -> list[ModelRow]:
        """Return the models in the caller's scope that can be used now."""
        now = self._now()

        def state(account: Account, model: str) -> Any:
            return self._roster.state(account, model, now)

        return list_models(
            self._roster.accounts(),
            self._catalog(),
            grant,
            demo=demo,
            facts=Facts(state, self.public.registry, self._rates),
        )

    def sources(self) -> dict[str, Any]:
        """Return where the facts come from: ``registry``, ``fetched_at``, ``models``, ``trouble``."""
        return {
            "registry": "shipped" if self.public.fetched_at is None else "models.dev",
            "fetched_at": self.public.fetched_at,
            "models": len(self.public.snapshot),
            "trouble": self.public.trouble,
        }


class _Refresh(Page):
    kind = "control"

    def initialize(self, control: Any, desk: ModelDesk) -> None:  # type: ignore[override]
        super().initialize(control)
        self.desk = desk

    async def post(self) -> None:
        await self.desk.refresh()
        self.send_json({"sources": self.desk.sources()})


def model_routes(control: Any, desk: ModelDesk) -> list[Any]:
    """Return the routes."""
    return [(r"/admin/models/refresh", _Refresh, {"control": control, "desk": desk})]
