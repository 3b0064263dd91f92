"""The running service as the desktop sees it: its status, and what can be done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app.configfile import edit_keys
from app.desktop.bridge import Command
from app.desktop.flows import Flows
from app.gateway.status import Status
from app.server.aistudio import StudioShower
from app.server.places import Shower
from app.service import Service
from app.tasks import spawn

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
        self._changed: Callable[[], None] | None = None
        self._commands: dict[str, Command] = {
            "aistudio_heard": self._heard,
            "aistudio_open": self._studio,
            "aistudio_browser": self._studio_browser,
            "aistudio_hide": self._studio_hide,
            "aistudio_close": self._studio_close,
            "aistudio_out": self._studio_out,
            "pause": self._pause,
            "resume": self._resume,
            "new_key": self._new_key,
            "primary": self._primary,
            "pause_account": self._pause_account,
            "resume_account": self._resume_account,
            "refresh": self._refresh,
            "sign_out": self._sign_out,
            "dashboard": self._dashboard,
            "logs": self._logs,
            "help": self._help,
            "welcome": self._welcome,
            "default_model": self._default_model,
            **Flows(service).commands,
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
        """Take what shows the dashboard, for a second start of the program."""
        self._service.show = show

    def on_sign_in(self, shower: Shower) -> None:
        """Take what shows the pages of services, for sign-ins that the dashboard begins."""
        self._service.places.attach(shower)

    def on_windows(self, shower: StudioShower) -> None:
        """Take what shows windows on AI Studio."""
        self._service.studio.attach(shower)

    @property
    def grace_s(self) -> float:
        """How long a stop waits for running answers, in seconds."""
        return self._service.grace_s

    def woke(self) -> None:
        """Follow a sleep of the computer: sign-ins, connections and quota are of before it."""
        service = self._service
        service.client.drop_idle()
        service.desk.refresher.woke()
        if service.config.quota.ask:
            spawn(service.quota_reader.read(service.roster.accounts()), "quotas after a sleep")

    def stop(self) -> None:
        """Begin to shut down."""
        self._service.stop()

    # --- the status ------------------------------------------------------------------------------

    def status(self) -> Status:
        """Return what to show now."""
        return self._service.overview.status()

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

    async def _dashboard(self, section: str) -> str:
        return self._service.dashboard_address(section)

    async def _logs(self, _target: str) -> str:
        return self._service.dashboard_address("logs")

    async def _help(self, _target: str) -> str:
        return self._service.dashboard_address("help")

    async def _welcome(self, _target: str) -> str:
        return self._service.dashboard_address("welcome")

    async def _heard(self, told: str) -> str:
        said = msgspec.json.decode(told, type=dict[str, Any])
        self._service.studio.heard(said["label"], said["event"])
        return ""

    async def _studio(self, label: str) -> str:
        self._service.studio.open(label)
        return ""

    async def _studio_browser(self, label: str) -> str:
        self._service.studio.open(label, "browser")
        return ""

    async def _studio_hide(self, label: str) -> str:
        self._service.studio.hide(label)
        return ""

    async def _studio_close(self, label: str) -> str:
        self._service.studio.shut(label)
        return ""

    async def _studio_out(self, label: str) -> str:
        return self._service.studio.sign_out(label)

    async def _default_model(self, name: str) -> str:
        await asyncio.to_thread(
            edit_keys, self._service.located.path, {("models", "default"): name or None}
        )
        await self._service.reload()
        return ""
