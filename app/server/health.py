"""The answer of ``GET /v1/health``, as far as its caller may see."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from app import __version__
from app.accounts.account import Account
from app.accounts.desk import Desk
from app.accounts.discovery import Discovery
from app.accounts.quota import Quotas, WindowView
from app.accounts.roster import AccountState, Roster
from app.config import Config, warnings
from app.configfile import Located
from app.gateway.exchange import Gateway
from app.server.guard import Grant
from app.server.inference import Inference
from app.server.overview import Overview
from app.server.quota import render_tightest
from app.server.records import Records
from app.server.rules import RuleDesk
from app.server.spending import Spending
from app.store.opening import Opening

__all__ = ["Checkup", "Rooms", "render_account", "render_providers"]


class Rooms(Protocol):
    """What is looked at; ``service.Service`` is one."""

    config: Config
    located: Located
    env: Mapping[str, str]
    roster: Roster
    gateway: Gateway
    inference: Inference
    discovery: Discovery
    rules: RuleDesk
    store: Opening
    overview: Overview
    spending: Spending
    records: Records
    desk: Desk
    quotas: Quotas
    port: int
    started_at: float
    problems: tuple[str, ...]
    served: int
    failed: int


class Checkup:
    """Looks at the rooms of a program.

    Args:
        rooms: the program's.
        now: epoch seconds.
    """

    def __init__(self, rooms: Rooms, now: Callable[[], float] = time.time) -> None:
        self._rooms = rooms
        self._now = now

    def read(self, grant: Grant) -> dict[str, Any]:
        """Return version, uptime and the state of each provider and account in scope.

        Args:
            grant: the caller's; a client's key sees nothing of the settings and their rules.
        """
        rooms = self._rooms
        scope = [a for a in rooms.roster.accounts() if grant.allows(a.provider.id, None, a.id)]
        return {
            "status": "paused" if rooms.gateway.paused else "ok",
            "state": rooms.gateway.paused or "running",
            "version": __version__,
            "uptime_s": round(self._now() - rooms.started_at, 1),
            "address": f"http://localhost:{rooms.port}",
            "pid": os.getpid(),
            "requests": {
                "running": rooms.inference.active,
                "served": rooms.served,
                "failed": rooms.failed,
            },
            "providers": render_providers(scope, self._account),
            "keys": rooms.store.trouble or "ready",
            "rules": rooms.rules.health() if grant.who != "key" else {},
            **rooms.overview.health(in_full=grant.who != "key"),
            # Problems and warnings name accounts beyond the scope of a client's key.
            "config": self._config() if grant.who != "key" else {},
        }

    def _account(self, account: Account) -> dict[str, Any]:
        rooms, now = self._rooms, self._now()
        return render_account(
            account,
            rooms.roster.overall(account, now),
            trouble=rooms.discovery.trouble(account.id),
            window=rooms.quotas.tightest(account.id, now),
            warning=rooms.desk.warning(account.id),
            configured=rooms.desk.book.is_configured(account.id),
            models=len(rooms.gateway.catalog.names(account)),
        )

    def _config(self) -> dict[str, Any]:
        rooms = self._rooms
        doubts = (*rooms.rules.doubts, *rooms.spending.warnings, *rooms.records.warnings)
        return {
            "path": str(rooms.located.path),
            "why": rooms.located.why,
            "problems": list(rooms.problems),
            "warnings": [*warnings(rooms.config, rooms.env), *doubts],
        }


def render_providers(
    accounts: Iterable[Account], render: Callable[[Account], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the providers of some accounts, each with its accounts' rows, in order.

    Args:
        accounts: those in the caller's scope.
        render: gives an account's row.
    """
    providers: dict[str, dict[str, Any]] = {}
    for account in accounts:
        provider = account.provider
        entry = providers.setdefault(
            provider.id, {"id": provider.id, "title": provider.title, "accounts": []}
        )
        entry["accounts"].append(render(account))
    return list(providers.values())


def render_account(
    account: Account,
    state: AccountState,
    *,
    trouble: str,
    window: WindowView | None,
    warning: str,
    configured: bool,
    models: int,
) -> dict[str, Any]:
    """Return one account's row; times in epoch seconds, and no word of whose account it is.

    Args:
        account: whose row it is.
        state: how it is as a whole.
        trouble: why its models could not be listed, told where nothing else is wrong.
        window: the quota window of which least is left.
        warning: what is wrong although it serves.
        configured: whether it is written in the settings; else it was signed in to.
        models: how many models it lists.
    """
    return {
        "id": account.id,
        "label": account.label,
        "state": state.health,
        "reason": state.reason or trouble,
        "since": state.since,
        "until": state.until,
        "quota": render_tightest(window),
        "warning": warning,
        "configured": configured,
        "models": models,
    }
