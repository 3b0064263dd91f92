"""The status of the running program, put together from its rooms: for tray and dashboard."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from app import __version__
from app.accounts.account import Account
from app.accounts.desk import AccountView, Desk
from app.accounts.quota import Quotas
from app.accounts.roster import Roster
from app.build import RELEASES, find_build
from app.gateway.exchange import Gateway
from app.gateway.status import (
    AccountStatus,
    ModelRoutes,
    PendingSignIn,
    ServiceStatus,
    State,
    describe_account,
    describe_state,
)
from app.providers.base import Provider
from app.server.aistudio import Studio
from app.server.dashboard import model_table
from app.server.services import ServiceDesk
from app.server.spending import Spending
from app.server.vitals import (
    AccountTrouble,
    StudioLine,
    Vital,
    WholeStatus,
    count_processes,
    find_trouble,
    of_page,
    of_router,
    of_service,
    of_window,
    render_vital,
)
from app.services.memory import MemoryGauge
from app.upstream.relay import Relay

__all__ = ["Overview", "Rooms"]


class Rooms(Protocol):
    """What the status is made of; ``service.Service`` is one."""

    roster: Roster
    desk: Desk
    quotas: Quotas
    gateway: Gateway
    port: int
    problems: tuple[str, ...]
    relay: Relay
    helpers: ServiceDesk
    started_at: float
    studio: Studio
    spending: Spending

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Return the services that can be signed in to."""
        ...

    @property
    def running(self) -> int:
        """Return how many requests are being served."""
        ...

    @property
    def default_model(self) -> str | None:
        """Return the model for requests that name none."""
        ...


class Overview:
    """Looks at the rooms of a program; what it worked out of the models is kept."""

    def __init__(self, rooms: Rooms, now: Callable[[], float] = time.time) -> None:
        self._rooms = rooms
        self._now = now
        self._routes = ModelRoutes()
        self._gauge = MemoryGauge()
        self._troubles: dict[str, str] = {}

    def status(self) -> WholeStatus:
        """Return what to show now."""
        rooms, now = self._rooms, self._now()
        everyone = rooms.roster.accounts()
        accounts = self._accounts(everyone, now)
        state, reason = describe_state(
            listening=rooms.port > 0,
            paused=rooms.gateway.paused,
            running=rooms.running,
            problems=rooms.problems,
            accounts=accounts,
        )
        if state in ("running", "working"):
            state, reason = self._unread(state, accounts)
        vitals, studios = self.vitals(), self._studios()
        if state in ("running", "working") and (trouble := find_trouble(vitals, studios)):
            state, reason = "attention", trouble
        return WholeStatus(
            state,
            __version__,
            f"http://localhost:{rooms.port}",
            reason,
            rooms.running,
            accounts,
            self._models(everyone, accounts, now),
            rooms.default_model,
            tuple(
                ServiceStatus(provider.id, provider.title)
                for provider in rooms.providers.values()
                if provider.sign_ins
            ),
            self._sign_ins(),
            rooms.problems,
            demo=not accounts and any(account.provider.demo for account in everyone),
            budgets=rooms.spending.statuses(),
            vitals=vitals,
            studios=studios,
            troubles=self._lasting_troubles(),
            build=find_build(),
            releases=RELEASES,
        )

    def trouble(self, account_id: str, text: str) -> None:
        """Note what is wrong with the sign-in of an account; it is shown until it is right again.

        Args:
            account_id: its id.
            text: a sentence for people.
        """
        self._troubles[account_id] = text

    def _lasting_troubles(self) -> tuple[AccountTrouble, ...]:
        desk = self._rooms.desk
        self._troubles = {
            current: text
            for account_id, text in self._troubles.items()
            if desk.warning(current := desk.book.current_id(account_id))
        }
        return tuple(AccountTrouble(*one) for one in self._troubles.items())

    def _studios(self) -> tuple[StudioLine, ...]:
        return tuple(
            StudioLine(one["label"], one["step"], one["text"], one["window"]["state"])
            for one in self._rooms.studio.views()
        )

    def vitals(self) -> tuple[Vital, ...]:
        """Return how the router, the pages, the helper programs and the windows are."""
        rooms = self._rooms
        here = os.getpid()
        paused = rooms.gateway.paused
        return (
            of_router(
                "paused" if paused else "ready",
                paused,
                rooms.started_at,
                self._gauge.of(here),
                here,
            ),
            *(of_page(page) for page in rooms.relay.pages()),
            *(of_service(view) for view in rooms.helpers.services.views()),
            *(
                of_window(name, state, since, self._gauge.of(pid), pid)
                for name, pid, since, state in rooms.studio.windows()
            ),
        )

    def health(self, *, in_full: bool) -> dict[str, Any]:
        """Return build and parts as ``GET /v1/health`` has them.

        Args:
            in_full: whether the caller may see more than what its key is for.
        """
        now = self._now()
        vitals = self.vitals()
        shown = vitals if in_full else vitals[:1]
        build = find_build()
        return {
            "commit": build.commit,
            "build": build.kind,
            "parts": [render_vital(one, now) for one in shown],
            "processes": count_processes(vitals),
            "budgets": [asdict(one) for one in self._rooms.spending.statuses() if in_full],
        }

    def models(self) -> list[dict[str, Any]]:
        """Return the rows of the dashboard's table of models."""
        now = self._now()
        everyone = self._rooms.roster.accounts()
        routes = self._models(everyone, self._accounts(everyone, now), now)
        return model_table(everyone, self._rooms.gateway.catalog, routes)

    def _accounts(self, everyone: tuple[Account, ...], now: float) -> tuple[AccountStatus, ...]:
        views = {view.id: view for view in self._rooms.desk.views()}
        return tuple(
            self._account(account, views.get(account.id), now)
            for account in everyone
            if not account.provider.demo
        )

    def _unread(self, state: State, accounts: tuple[AccountStatus, ...]) -> tuple[State, str]:
        """Return that somebody has to act where terms have to be agreed to, else the state."""
        for account in accounts:
            if account.health == "unusable" and self._rooms.desk.book.need(account.id) == "consent":
                return "attention", f"{account.title}, {account.label}: {account.reason}"
        return state, ""

    def _models(
        self, everyone: tuple[Account, ...], accounts: tuple[AccountStatus, ...], now: float
    ) -> Any:
        gateway, roster = self._rooms.gateway, self._rooms.roster
        healths = tuple((account.id, account.health, account.spent) for account in accounts)
        return self._routes.read(
            (id(gateway.catalog), healths),
            everyone,
            gateway.catalog,
            lambda account, model: roster.state(account, model, now),
            gateway.ranking(""),
        )

    def _account(self, account: Account, view: AccountView | None, now: float) -> AccountStatus:
        state = self._rooms.roster.overall(account, now)
        quota = self._rooms.quotas.view(account.id, now)
        if view is None or view.configured:
            return describe_account(account, state, quota)
        return describe_account(
            account,
            state,
            quota,
            identity=view.name,
            plan=view.plan,
            primary=view.primary,
            signed_in=True,
            needs_sign_in=view.need == "sign_in",
            warning=view.warning,
        )

    def _sign_ins(self) -> tuple[PendingSignIn, ...]:
        providers = self._rooms.providers
        return tuple(
            PendingSignIn(
                flow.id,
                flow.provider,
                providers[flow.provider].title,
                flow.user_code,
                flow.url if flow.user_code else "",
            )
            for flow in self._rooms.desk.logins.flows()
            if flow.state == "waiting" and flow.provider in providers
        )
