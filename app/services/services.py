"""All helper programs of a running Dragoman: their switches, their life, what is seen of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import AppError, RequestError, UpstreamError
from app.paths import Paths
from app.services.definition import Entry, Place, ServiceState, ServiceView
from app.services.install import Installer, own_environment
from app.services.journal import Journal, log_file
from app.services.lookout import Fetch
from app.services.memory import MemoryGauge
from app.services.outside import Outside
from app.services.supervisor import Supervisor
from app.services.switch import Switch
from app.services.table import judge_models, models_request
from app.tasks import spawn

__all__ = ["Services", "Setting"]

_log = logging.getLogger("dragoman.services")


@dataclass(frozen=True, slots=True, repr=False)
class Setting:
    """What the settings say of one program."""

    enabled: bool = False
    port: int = 8406
    url: str = ""
    """Where the user runs it; empty for one that is started here."""
    key: str = ""
    """That it wants, where the user runs it."""


class _Managed:
    """One program. ``on`` is what is wanted; the supervisor's state is what there is."""

    def __init__(
        self, entry: Entry, setting: Setting, paths: Paths, env: Mapping[str, str]
    ) -> None:
        self.entry = entry
        self.setting = setting
        self.folder = paths.data / "services" / entry.name
        self.journal = Journal(log_file(paths, entry.name))
        self.switch = Switch(self.folder / "switch.json")
        self.installer = Installer(self.folder, entry.packages, self.journal, env)
        self.installing: asyncio.Task[None] | None = None
        self.install_trouble = ""
        self.runner: Supervisor | Outside | None = None
        self.answered: Counter[str] = Counter()
        self.busy = asyncio.Lock()
        """Held while it is turned on or off."""

    @property
    def agreed(self) -> bool:
        return self.switch.state.consent == self.entry.consent.version

    @property
    def wanted(self) -> bool:
        on = self.switch.state.on
        return self.agreed and (self.setting.enabled if on is None else on)

    @property
    def in_work(self) -> bool:
        return self.installing is not None and not self.installing.done()

    def seen(self) -> tuple[ServiceState, str]:
        """Return the state and the reason for it."""
        if self.in_work:
            return "installing", self.journal.last or "It is being installed."
        runner = self.runner
        if runner is not None and (runner.running or runner.state != "off"):
            return runner.state, runner.reason
        if not self.setting.url and not self.installer.installed:
            name = self.entry.name
            advice = f"`dragoman services install {name}` installs it."
            return "not_installed", self.install_trouble or f"It is not installed. {advice}"
        if self.setting.enabled and not self.agreed:
            name = self.entry.name
            return "off", f"Its terms must be agreed to: `dragoman services start {name}`."
        return "off", "It is turned off."


class Services:
    """See the module. Made once; ``start`` → ``close``.

    Args:
        entries: the rows of the table.
        settings: returns what the settings say of a program.
        paths: the folders of this installation.
        env: ours; little of it reaches the programs.
        fetch: sends health calls, through no proxy.
        changed: called with a name after each change of what is seen.
        now: epoch seconds UTC.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        settings: Callable[[str], Setting],
        paths: Paths,
        env: Mapping[str, str],
        fetch: Fetch,
        changed: Callable[[str], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._env = env
        self._fetch = fetch
        self._changed = changed
        self._now = now
        self._gauge = MemoryGauge()
        self._closed = False
        self._all = {
            entry.name: _Managed(entry, settings(entry.name), paths, env) for entry in entries
        }

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start what is turned on, in the order of the table."""
        for name, one in self._all.items():
            async with one.busy:
                self._begin(name)

    async def close(self) -> None:
        """Stop what runs, last started first; returns when all of it is gone."""
        self._closed = True
        for one in reversed(self._all.values()):
            if one.installing is not None and one.in_work:
                one.installing.cancel()
                await asyncio.wait({one.installing})
            async with one.busy:
                await self._end(one)

    async def configure(self) -> None:
        """Follow a change of the settings; what they say last holds over an earlier switch."""
        for name, one in self._all.items():
            new, old = self._settings(name), one.setting
            if new == old:
                continue
            async with one.busy:
                one.setting = new
                if new.enabled != old.enabled:
                    one.switch.turn(None)
                await self._end(one)
                self._begin(name)
            self._changed(name)

    def _begin(self, name: str) -> None:
        one = self._all[name]
        if self._closed or not one.wanted:
            return
        if one.setting.url:
            setting = one.setting
            one.runner = Outside(
                lambda: models_request(setting.url, setting.key),
                judge_models,
                self._fetch,
                lambda: self._changed(name),
                self._now,
            )
        elif one.installer.installed:
            place = Place(
                one.folder / "home",
                one.installer.python,
                one.setting.port,
                own_environment(self._env, one.folder / "home"),
            )
            one.runner = Supervisor(
                lambda: one.entry.define(place),
                self._fetch,
                one.journal,
                lambda: self._changed(name),
                self._now,
            )
        else:
            return
        one.runner.start()

    async def _end(self, one: _Managed) -> None:
        if one.runner is not None:
            await one.runner.stop()
            one.runner = None

    # --- what people do ----------------------------------------------------------------------------

    async def turn_on(self, name: str, consent: str = "") -> ServiceView:
        """Turn a program on, and leave it on over restarts.

        Args:
            name: of the program.
            consent: version of the text that the user has agreed to just now.

        Raises:
            RequestError: 404 ``unknown_service``; 409 ``consent_required`` or
                ``service_not_installed``.
        """
        one = self._one(name)
        async with one.busy:
            if consent == one.entry.consent.version:
                one.switch.agree(consent, self._now())
            if not one.agreed:
                text = one.entry.consent
                raise RequestError(
                    f"The terms must be agreed to first: {text.text} {text.instead}",
                    hint=f'Send "consent": "{text.version}" once the user has agreed.',
                    status=409,
                    code="consent_required",
                )
            if not one.setting.url and not one.installer.installed:
                raise RequestError(
                    f"{one.entry.title} is not installed.",
                    hint=f"`dragoman services install {name}` installs it.",
                    status=409,
                    code="service_not_installed",
                )
            one.switch.turn(True)
            if one.runner is None or not one.runner.running:
                await self._end(one)
                self._begin(name)
        self._changed(name)
        return self.view(name)

    async def turn_off(self, name: str) -> ServiceView:
        """Turn a program off, and leave it off; returns when it is gone.

        Raises:
            RequestError: 404 ``unknown_service``.
        """
        one = self._one(name)
        async with one.busy:
            one.switch.turn(False)
            await self._end(one)
        self._changed(name)
        return self.view(name)

    async def restart(self, name: str) -> None:
        """Start a program anew, if it is turned on: what it is given at its start has changed."""
        one = self._one(name)
        async with one.busy:
            if isinstance(one.runner, Supervisor):
                await self._end(one)
                self._begin(name)

    def install(self, name: str) -> ServiceView:
        """Begin to install a program; how it goes is seen in its view.

        Raises:
            RequestError: 404 ``unknown_service``; 409 ``service_elsewhere`` for one that the
                user runs.
        """
        one = self._one(name)
        if one.setting.url:
            raise RequestError(
                f"{one.entry.title} is not run by Dragoman: `services.{name}.url` is set.",
                status=409,
                code="service_elsewhere",
            )
        if not one.in_work:
            one.install_trouble = ""
            one.installing = spawn(self._install(name, one), f"install {name}")
            self._changed(name)
        return self.view(name)

    async def _install(self, name: str, one: _Managed) -> None:
        async with one.busy:
            await self._end(one)
            try:
                await one.installer.install()
            except (AppError, OSError) as error:
                said = error.message if isinstance(error, AppError) else str(error)
                one.install_trouble = said
                one.journal.write(said)
                _log.error("%s could not be installed: %s", name, said)
            else:
                _log.info("%s is installed", name)
                self._begin(name)
        # The task still counts as running until it has returned.
        asyncio.get_running_loop().call_soon(self._changed, name)

    def _one(self, name: str) -> _Managed:
        one = self._all.get(name)
        if one is None:
            raise RequestError(
                f"There is no service {name[:60]!r}.",
                hint=f"There are: {', '.join(self._all)}.",
                status=404,
                code="unknown_service",
            )
        return one

    # --- what is seen ------------------------------------------------------------------------------

    def entry(self, name: str) -> Entry:
        """Return a program's row.

        Raises:
            RequestError: 404 ``unknown_service``.
        """
        return self._one(name).entry

    def views(self) -> tuple[ServiceView, ...]:
        """Return all programs in the order of the table."""
        return tuple(self.view(name) for name in self._all)

    def view(self, name: str) -> ServiceView:
        """Return one program.

        Raises:
            RequestError: 404 ``unknown_service``.
        """
        one = self._one(name)
        state, reason = one.seen()
        runner = one.runner
        pid = None if runner is None else runner.pid
        return ServiceView(
            name=name,
            title=one.entry.title,
            state=state,
            reason=reason,
            address=one.setting.url or f"http://127.0.0.1:{one.setting.port}",
            outside=bool(one.setting.url),
            on=one.wanted,
            installed="" if one.setting.url else one.installer.installed,
            pid=pid,
            since=None if runner is None else runner.since,
            until=None if runner is None else runner.until,
            restarts=0 if runner is None else max(0, runner.starts - 1),
            memory_bytes=self._gauge.of(pid),
            answered=dict(one.answered.most_common(20)),
            agreed=one.agreed,
            consented_at=one.switch.state.consented_at,
        )

    def log_of(self, name: str) -> Path:
        """Return the file that keeps what a program prints.

        Raises:
            RequestError: 404 ``unknown_service``.
        """
        return self._one(name).journal.file

    def is_on(self, name: str) -> bool:
        """Say whether a program is turned on."""
        return self._one(name).wanted

    def trouble(self, name: str) -> str:
        """Return why a program cannot be called now; empty when it can."""
        one = self._one(name)
        state, reason = one.seen()
        return "" if state in ("ready", "unhealthy") else f"{one.entry.title}: {reason}"

    def address(self, name: str, key: str) -> tuple[str, str]:
        """Return where a program is called, and the key that it wants.

        Args:
            name: of the program.
            key: of one that is started here.

        Raises:
            UpstreamError: 503 ``service_not_ready``.
        """
        one = self._one(name)
        trouble = self.trouble(name)
        if trouble:
            raise UpstreamError(
                trouble,
                hint=f"`dragoman services status {name}` says more.",
                status=503,
                code="service_not_ready",
            )
        if one.setting.url:
            return one.setting.url, one.setting.key
        return f"http://127.0.0.1:{one.setting.port}", key

    def note_answer(self, name: str, who: str) -> None:
        """Count an answer of one of those behind a program."""
        self._one(name).answered[who] += 1
