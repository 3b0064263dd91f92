"""``GET /v1/quota``: what is left of each account, in the caller's scope."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.accounts.account import Account
from app.accounts.quota import Quotas, QuotaView, WindowView
from app.accounts.quota_reader import QuotaReader
from app.accounts.roster import Roster
from app.server.guard import Grant
from app.server.pages import Page

__all__ = ["QuotaDesk", "quota_routes", "render_quota", "render_tightest"]


_EVERY_S = 300.0
"""How often services are asked; what their answers tell in between is read, too."""


@dataclass(frozen=True, slots=True)
class QuotaDesk:
    """What is left of the accounts: kept fresh, and shown to whoever may see it.

    Args:
        quotas: what is known.
        reader: asks the services.
        roster: the accounts.
        asks: whether the settings let services be asked.
    """

    quotas: Quotas
    reader: QuotaReader
    roster: Roster
    asks: Callable[[], bool]

    async def keep_fresh(self) -> None:
        """Ask the services now and then, for ever."""
        while True:
            await asyncio.sleep(_EVERY_S)
            if self.asks():
                await self.reader.read(self.roster.accounts())

    async def quota(self, grant: Grant, *, refresh: bool) -> list[dict[str, Any]]:
        """Return the accounts in scope; ``refresh`` asks the services first where they allow."""
        accounts = [
            account
            for account in self.roster.accounts()
            if not account.provider.demo and grant.allows(account.provider.id, None, account.id)
        ]
        if refresh:
            await self.reader.read(accounts, for_people=True)
        now = time.time()
        return [
            render_quota(a, self.quotas.view(a.id, now), self.reader.trouble(a.id), now)
            for a in accounts
        ]


class _Quota(Page):
    def initialize(self, control: Any, quota: QuotaDesk) -> None:  # type: ignore[override]
        super().initialize(control)
        self.quota = quota

    async def get(self) -> None:
        refresh = self.get_query_argument("refresh", "") not in ("", "0")
        self.send_json({"accounts": await self.quota.quota(self.grant, refresh=refresh)})


def quota_routes(control: Any, quota: QuotaDesk) -> list[Any]:
    """Return the route."""
    return [(r"/v1/quota", _Quota, {"control": control, "quota": quota})]


def render_quota(
    account: Account, view: QuotaView | None, trouble: str, now: float
) -> dict[str, Any]:
    """Return one account's row.

    Args:
        account: whose it is.
        view: what is known; None when nothing is.
        trouble: why the last usage call failed.
        now: epoch seconds UTC.
    """
    return {
        "id": account.id,
        "provider": account.provider.id,
        "label": account.label,
        "plan": "" if view is None else view.plan,
        "note": "" if view is None else view.note,
        "trouble": trouble,
        "windows": [] if view is None else [_window(window, now) for window in view.windows],
    }


def render_tightest(view: WindowView | None) -> dict[str, Any] | None:
    """Return the window of which least is left, in short; None when nothing is known."""
    if view is None:
        return None
    return {
        "window": view.window.name,
        "left_percent": _rounded(view.left_percent),
        "resets_at": view.window.resets_at,
    }


def _window(view: WindowView, now: float) -> dict[str, Any]:
    window = view.window
    return {
        "name": window.name,
        "used_percent": _rounded(window.used_percent),
        "left_percent": _rounded(view.left_percent),
        "exhausted": window.exhausted,
        "resets_at": window.resets_at,
        "resets_in_s": None if window.resets_at is None else max(0, round(window.resets_at - now)),
        "length_s": window.length_s,
        "left": window.left,
        "limit": window.limit,
        "models": list(window.models),
        "runs_out_at": view.runs_out_at,
        "read_at": view.read_at,
        "age_s": max(0, round(now - view.read_at)),
        "source": view.source,
    }


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 1)
