"""The running service as the desktop sees it: its status, and what can be done with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from app import __version__
from app.accounts.account import Account
from app.accounts.desk import AccountView
from app.desktop.bridge import Command
from app.gateway.status import (
    AccountStatus,
    ModelRoutes,
    PendingSignIn,
    ServiceStatus,
    Status,
    describe_account,
    describe_state,
)
from app.service import Service

__all__ = ["Proxy"]

_PAUSED = "Paused by you."


class Proxy:
    """Implements ``bridge.Program`` with a service; lives on its loop.

    Args:
        service: started, and not stopped before the desktop has let go of it.
        subscribe: calls a function after each change of the service; returns what ends that.
        more: commands of rooms that the service does not have (windows, settings).
    """

    def __init__(
        self,
        service: Service,
        subscribe: Callable[[Callable[[], None]], Callable[[], None]],
        more: Mapping[str, Command] | None = None,
    ) -> None:
        self._service = service
        self._subscribe = subscribe
        self._routes = ModelRoutes()
        self._changed: Callable[[], None] | None = None
        self.show: Callable[[], None] | None = None
        """Shows the dashboard, for ``POST /admin/show``; None while there is no desktop."""
        self._commands: dict[str, Command] = {
            "pause": self._pause,
            "resume": self._resume,
            "new_key": self._new_key,
            "primary": self._primary,
            "pause_account": self._pause_account,
            "resume_account": self._resume_account,
            "refresh": self._refresh,
            "sign_out": self._sign_out,
            **(more or {}),
        }

    @property
    def commands(self) -> Mapping[str, Command]:
        """Return what can be done."""
        return self._commands

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` after each change of the status."""
        self._changed = changed
        return self._subscribe(changed)

    def on_show(self, show: Callable[[], None]) -> None:
        """Take what shows the dashboard."""
        self.show = show

    def stop(self) -> None:
        """Begin to shut down."""
        self._service.stop()

    # --- the status ------------------------------------------------------------------------------

    def status(self) -> Status:
        """Return what to show now."""
        service = self._service
        now = time.time()
        everyone = service.roster.accounts()
        views = {view.id: view for view in service.desk.views()}
        accounts = tuple(
            self._account(account, views.get(account.id), now)
            for account in everyone
            if not account.provider.demo
        )
        state, reason = describe_state(
            listening=service.port > 0,
            paused=service.gateway.paused,
            running=service.inference.active,
            problems=service.problems,
            accounts=accounts,
        )
        catalog = service.gateway.catalog
        healths = tuple((account.id, account.health, account.spent) for account in accounts)
        models = self._routes.read(
            (id(catalog), healths),
            everyone,
            catalog,
            lambda account, model: service.roster.state(account, model, now),
            service.gateway.ranking(""),
        )
        return Status(
            state,
            __version__,
            f"http://localhost:{service.port}",
            reason,
            service.inference.active,
            accounts,
            models,
            service.config.models.default,
            tuple(
                ServiceStatus(provider.id, provider.title)
                for provider in service.providers.values()
                if provider.sign_ins
            ),
            self._sign_ins(),
            service.problems,
            demo=not accounts and any(account.provider.demo for account in everyone),
        )

    def _account(self, account: Account, view: AccountView | None, now: float) -> AccountStatus:
        state = self._service.roster.overall(account, now)
        quota = self._service.quotas.view(account.id, now)
        if view is None or view.configured:
            return describe_account(account, state, quota)
        locked = bool(self._service.desk.book.vault_trouble(account.id))
        return describe_account(
            account,
            state,
            quota,
            identity=view.name,
            plan=view.plan,
            primary=view.primary,
            signed_in=True,
            needs_sign_in=state.health == "unusable" and not locked,
            warning=view.warning,
        )

    def _sign_ins(self) -> tuple[PendingSignIn, ...]:
        providers = self._service.providers
        return tuple(
            PendingSignIn(
                flow.id,
                flow.provider,
                providers[flow.provider].title,
                flow.user_code,
                flow.url if flow.user_code else "",
            )
            for flow in self._service.desk.logins.flows()
            if flow.state == "waiting" and flow.provider in providers
        )

    # --- what can be done ------------------------------------------------------------------------

    async def _pause(self, _target: str) -> str:
        self._service.gateway.paused = _PAUSED
        self._tell()
        return ""

    async def _resume(self, _target: str) -> str:
        if self._service.gateway.paused == _PAUSED:  # not when it is stopping
            self._service.gateway.paused = ""
        self._tell()
        return ""

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()

    async def _new_key(self, _target: str) -> str:
        _, plain = await self._service.create_key(msgspec.json.encode({"label": "from the tray"}))
        return plain

    async def _primary(self, target: str) -> str:
        await self._service.desk.book.make_primary(target)
        return ""

    async def _pause_account(self, target: str) -> str:
        await self._service.desk.book.pause(target, paused=True)
        return ""

    async def _resume_account(self, target: str) -> str:
        await self._service.desk.book.pause(target, paused=False)
        return ""

    async def _refresh(self, target: str) -> str:
        view = await self._service.desk.refresh(target)
        return f"The sign-in of {view.name or view.label} was renewed."

    async def _sign_out(self, target: str) -> str:
        return await self._service.desk.logout(target)
