"""What the tray shows and what its clicks do: the desktop's own thread and state.

Snapshots of the proxy come in by ``take``, which only wakes the desktop's thread: pictures are
drawn and notifications sent there, so that the proxy never waits. The thread runs an asyncio loop
of its own. States: made → ``start`` → ``close``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from app import __version__
from app.build import RELEASES, find_build
from app.desktop import autostart, preferences
from app.desktop.agentsmenu import AgentLine, read_agents, with_agents
from app.desktop.aistudio import StudioWindows
from app.desktop.bridge import Bridge
from app.desktop.clipboard import Copier
from app.desktop.folders import Folders
from app.desktop.icons import Look, Theme
from app.desktop.menu import Action, ActionName, Offer, build_menu, count_answers, describe_line
from app.desktop.notify import KINDS, Notice, Notifier, decide
from app.desktop.signins import SignIns
from app.desktop.tray import Face
from app.desktop.windows import Page, Windows
from app.errors import AppError
from app.gateway.status import Status
from app.help import has_entry

__all__ = ["Desktop", "Parts"]

_log = logging.getLogger("dragoman.desktop")

_ACTED_S = 15.0
"""What happens to an account this soon after a click on it is no news."""
_SIGN_IN_S = 900.0
"""A sign-in that the menu began may take this long; its window shows the code to type."""
_SWITCH_S = 60.0
"""The system's own switch for starting at sign-in is looked at this often, when something shows."""
_AGENTS_S = 60.0
"""Agents are connected by other programs, too, and files are changed by anybody."""
_LAST_WORDS_S = 3.0

_IN_WINDOWS: Mapping[ActionName, tuple[str, str]] = {
    "dashboard": ("dashboard", "Dragoman"),
    "logs": ("dashboard", "Dragoman"),
    "help": ("dashboard", "Dragoman"),
    "welcome": ("welcome", "Welcome to Dragoman"),
}
"""Actions whose command returns an address: name of the window and its title."""

_SIZE = (1000, 720)
_SIZES: Mapping[str, tuple[int, int]] = {"welcome": (760, 680)}
"""Width and height of windows that are smaller than others."""

_OF_ACCOUNTS = ("pause_account", "resume_account", "refresh", "sign_in", "sign_out", "primary")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the desktop works with; tests give it their own."""

    windows: Windows
    switch: autostart.Autostart | None
    """Starting at sign-in."""
    copy: Copier | None
    command: Sequence[str]
    """Starts this program."""
    preferences_file: Path
    storage: Path
    """Folder in which each window has one of its own for what its pages keep."""
    theme: Theme
    say: Callable[[str], None] = _log.warning
    """Takes a sentence for the terminal, where there is one."""
    make_notifier: Callable[[Callable[[Action], None]], Notifier] = Notifier
    now: Callable[[], float] = time.time
    moment: Callable[[float], str] | None = None


class Desktop:
    """Turns snapshots into what the tray shows, and clicks into what is done.

    Args:
        parts: see there.
        show: takes each new face of the tray; called on the desktop's thread.
        finish: called once the user or the session wants the program to end.
    """

    def __init__(
        self, parts: Parts, show: Callable[[Face], None], finish: Callable[[], None]
    ) -> None:
        self._parts = parts
        self._show = show
        self._finish = finish
        self._status = Status("stopped", __version__)
        self._preferences = preferences.load(parts.preferences_file)
        self._agents: tuple[AgentLine, ...] = ()
        self._agents_timer: asyncio.TimerHandle | None = None
        self._switch: autostart.State = "off"
        self._switch_at: float | None = None
        self._told: frozenset[str] = frozenset()
        self._first = True
        self._acted: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        """When the user last began to sign in to a service."""
        self._greeting = False
        """The first steps are shown for the first time."""
        self._ending = ""
        """Why the program is about to end; empty while it is not."""
        self._build = find_build()
        self._notifier = parts.make_notifier(self.perform)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._hold, name="desktop", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = threading.Event()
        self.bridge = Bridge(self.take)
        """Connects this with the proxy."""
        self.sign_ins = SignIns(
            parts.windows,
            Folders(parts.storage),
            self.bridge.call,
            self._begin,
            self._preferences.places,
            lambda places: self._prefer(places=dict(places)),
            changed=self.bridge.refresh,
        )

        self.studios = StudioWindows(
            parts.windows, parts.storage / "aistudio", self.bridge.call, self._begin
        )

    # --- the thread ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the desktop's thread; returns when it takes calls."""
        self._thread.start()
        self._opened.wait()

    def _hold(self) -> None:
        loop = asyncio.new_event_loop()
        self._loop = loop
        loop.call_soon(self._opened.set)
        try:
            loop.run_forever()
            loop.run_until_complete(self._last_words())
        finally:
            self._loop = None
            loop.close()

    async def _last_words(self) -> None:
        """Let what was begun end for a moment: the last notification may say why it all ends."""
        await self.sign_ins.close()
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=_LAST_WORDS_S)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        await self._notifier.close()
        await asyncio.get_running_loop().shutdown_default_executor()

    def close(self) -> None:
        """End the thread and close the windows; the proxy has ended, or will by itself."""
        loop = self._loop
        if loop is not None and not self._closing:
            self._closing = True
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
        self._parts.windows.close_all()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine on the desktop's loop; from any thread. It is dropped after the end."""
        loop = self._loop
        if loop is None:
            work.close()
            return
        try:
            loop.call_soon_threadsafe(self._keep, work)
        except RuntimeError:  # the loop was closed just now
            work.close()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None  # noqa: S101 - this runs on it
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the desktop failed at something", exc_info=error)

    # --- out -------------------------------------------------------------------------------------

    def take(self, status: Status) -> None:
        """Take a snapshot; called on the proxy's loop, and returns at once."""
        self._begin(self._take(status))

    async def _take(self, status: Status) -> None:
        before = None if self._first else self._status
        self._first = False
        self._status = status
        now = self._parts.now()
        acted = {name for name, at in self._acted.items() if now - at < _ACTED_S}
        acted |= {name for name, at in self._begun.items() if now - at < _SIGN_IN_S}
        notices, self._told = decide(before, status, self._told, acted, now, self._moment(now))
        await self._look_at_switch(now)
        if self._agents_timer is None:
            await self._look_at_agents()
        self._show(self.face())
        self._greet(status)
        await self.sign_ins.follow(before, status)
        for notice in notices:
            if notice.kind not in self._preferences.muted:
                await self._notifier.send(self._possible(notice))

    def _possible(self, notice: Notice) -> Notice:
        """Return a notice without the button that nothing here can follow."""
        if notice.action is None or notice.action.name in self._actions():
            return notice
        return replace(notice, action=None, button="")

    def _greet(self, status: Status) -> None:
        """Show the first steps, once in the life of an installation.

        Who has an account has found the way; who has just signed in to the computer did not ask.
        """
        if self._preferences.welcomed or "welcome" not in self.bridge.actions:
            return
        if not status.address or os.environ.get(autostart.MARK):
            return
        self._prefer(welcomed=True)
        if not status.accounts:
            self._greeting = True
            self.perform(Action("welcome"))

    def _prefer(self, **changes: Any) -> None:
        self._preferences = msgspec.structs.replace(self._preferences, **changes)
        preferences.save(self._parts.preferences_file, self._preferences)

    def tell(self, text: str, title: str = "Dragoman") -> None:
        """Answer something that the user did, or say why it all ends; from any thread."""
        _log.info("%s", text)
        self._begin(self._tell(Notice("answer", "", title, text)))

    async def _tell(self, notice: Notice) -> None:
        await self._notifier.send(notice)

    def refresh(self) -> None:
        """Show the present face again, to a tray that is new; from any thread."""
        self._begin(self._refresh())

    async def _refresh(self) -> None:
        self._show(self.face())

    def face(self) -> Face:
        """Return what the tray shows now."""
        status = self._status
        if self._ending and status.state != "stopped":
            status = replace(status, state="paused", reason=self._ending)
        look = Look.of(status.state, self._parts.theme, status.left_percent)
        offer = self._offer()
        menu = build_menu(status, offer)
        if "agents" in self.bridge.actions:
            menu = with_agents(menu, self._agents, status, offer)
        return Face(look, f"Dragoman: {describe_line(status)}", menu)

    def _moment(self, now: float) -> Callable[[float], str]:
        return self._parts.moment or (lambda at: _local(at, now))

    def _actions(self) -> frozenset[Any]:
        actions: set[Any] = {*self.bridge.actions, "quit", "notifications", "updates"}
        if self._parts.copy is not None:
            actions |= {"copy_address", "copy_code"}
        elif "dashboard" not in actions:
            actions.discard("new_key")  # it is shown once only, so there must be a place for it
        if self._parts.switch is not None:
            actions.add("autostart")
        return frozenset(actions)

    def _offer(self) -> Offer:
        switch, muted = self._parts.switch, self._preferences.muted
        blocked = switch is not None and self._switch == "blocked"
        return Offer(
            actions=self._actions(),
            autostart=self._switch == "on",
            autostart_blocked=f"off in {switch.where}" if switch is not None and blocked else "",
            notifications=tuple((kind, text, kind not in muted) for kind, text in KINDS.items()),
            commit=self._build.commit,
            build=self._build.kind,
            grace_s=self.bridge.grace_s,
            moment=self._moment(self._parts.now()),
        )

    async def _look_at_switch(self, now: float) -> None:
        """Read the switch for starting at sign-in, now and then: it may take a process."""
        switch = self._parts.switch
        if switch is None or (self._switch_at is not None and now - self._switch_at < _SWITCH_S):
            return
        self._switch_at = now
        self._switch = await asyncio.to_thread(switch.state)

    async def _look_at_agents(self) -> None:
        """See how agents stand, now and from time to time."""
        if "agents" not in self.bridge.actions or self._loop is None:
            return
        if self._agents_timer is not None:
            self._agents_timer.cancel()
        self._agents_timer = self._loop.call_later(_AGENTS_S, self._begin_looking)
        try:
            self._agents = read_agents(await asyncio.wrap_future(self.bridge.call("agents")))
        except AppError as error:
            _log.warning("the agents cannot be looked at: %s", error.text)

    def _begin_looking(self) -> None:
        self._begin(self._look_again())

    async def _look_again(self) -> None:
        before = self._agents
        await self._look_at_agents()
        if self._agents != before:
            self._show(self.face())

    # --- in --------------------------------------------------------------------------------------

    def perform(self, action: Action) -> None:
        """Carry an action out; from any thread, and returns at once."""
        self._begin(self._perform(action))

    async def _perform(self, action: Action) -> None:
        try:
            match action.name:
                case "quit":
                    if action.target:
                        await self._command(Action("agent_disconnect", action.target))
                    self._finish()
                case "agent_disconnect" | "agent_test":
                    await self._command(action)
                    await self._look_again()
                case "updates":
                    await asyncio.to_thread(self._parts.windows.browse, RELEASES)
                case "copy_address" | "copy_code":
                    await self._copy(action.target or self._status.address)
                case "new_key" if self._parts.copy is None:
                    await self._command(Action("dashboard", "keys"))
                case "autostart":
                    await self._set_switch(action.target)
                case "notifications":
                    self._prefer(muted=self._preferences.muted ^ {action.target})
                    self._show(self.face())
                case "add_account" | "sign_in":
                    await self._sign_in(action)
                case _:
                    await self._command(action)
        except AppError as error:
            # The help is on the dashboard, which needs the proxy.
            helps = error.code != "not_running" and has_entry(error.code)
            entry = Action("dashboard", f"help/{error.code}") if helps else None
            await self._tell(Notice("answer", "", "Dragoman", error.text, entry, "Help"))
        except Exception:  # the root of what a click does
            _log.exception("%s failed", action.name)
            text = "That did not work; the log says why."
            await self._tell(Notice("answer", "", "Dragoman", text))

    async def _sign_in(self, action: Action) -> None:
        provider, _, label = action.target.partition("/")
        titles = {service.id: service.title for service in self._status.services}
        self._begun[provider] = self._parts.now()
        if label:
            self._note_act(action.target)
        account = action.target if label else ""
        await self.sign_ins.begin(provider, titles.get(provider, provider), account)

    def _note_act(self, account: str) -> None:
        now = self._parts.now()
        self._acted = {n: at for n, at in self._acted.items() if now - at < _ACTED_S}
        self._acted[account] = now

    async def _command(self, action: Action) -> None:
        if action.name in _OF_ACCOUNTS:
            self._note_act(action.target)
        try:
            result = await asyncio.wrap_future(self.bridge.call(action.name, action.target))
        finally:
            self.bridge.refresh()
        if action.name in _IN_WINDOWS and result:
            name, title = _IN_WINDOWS[action.name]
            width, height = _SIZES.get(name, _SIZE)
            page = Page(result, title, self._parts.storage / name, width, height)
            await asyncio.to_thread(self._parts.windows.open, name, page)
        elif action.name == "new_key":
            await self._copy(result)
            text = "The new key is on the clipboard. It is not shown again."
            await self._tell(Notice("answer", "", "New key", text))
        elif result:
            await self._tell(Notice("answer", "", "Dragoman", result))

    async def _copy(self, text: str) -> None:
        if self._parts.copy is not None and text:
            await asyncio.to_thread(self._parts.copy, text)

    async def _set_switch(self, target: str) -> None:
        switch = self._parts.switch
        if switch is None:
            return
        try:
            if target == "on":
                await asyncio.to_thread(switch.switch_on, self._parts.command)
            else:
                await asyncio.to_thread(switch.switch_off)
        finally:
            self._switch_at = None
            await self._look_at_switch(self._parts.now())
            self._show(self.face())

    # --- the end ---------------------------------------------------------------------------------

    def finishing(self) -> None:
        """Show that the program is about to end; from any thread."""
        self._begin(self._finishing())

    async def _finishing(self) -> None:
        running = self._status.running
        wait_s = self.bridge.grace_s
        self._ending = "Dragoman ends."
        if running:
            self._ending = f"It ends after {count_answers(running)}, in {wait_s:.0f} s at most."
        self._show(self.face())
        if running:
            await self._notifier.send(Notice("answer", "", "Dragoman", self._ending))

    def alone(self) -> None:
        """Say that no panel shows the icon, and open the dashboard in its place.

        A start by a click has no terminal to say it in, so it is a notification as well.
        """
        where = self._status.address
        text = f"This desktop shows no tray icons; Dragoman runs without, at {where}."
        self._parts.say(text)
        self._begin(self._tell(Notice("answer", "", "Dragoman", text)))
        unasked = self._greeting or os.environ.get(autostart.MARK)
        if "dashboard" in self.bridge.actions and not unasked:
            self.perform(Action("dashboard"))


def _local(at: float, now: float) -> str:
    """Return a time as people here write it: the hour today, with the day in the days after."""
    there, here = time.localtime(at), time.localtime(now)
    same_day = there[:3] == here[:3]
    form = "%H:%M" if same_day else "%a %H:%M" if at - now < 6 * 86_400 else "%d %b %H:%M"
    return time.strftime(form, there)
