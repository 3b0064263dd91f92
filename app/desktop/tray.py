"""The tray icon, whatever draws it: chosen once at the start, shown from any thread.

Which backend it is follows from what is there (``choose``): on Linux the StatusNotifierItem
backend, also where no panel shows icons yet, since one may come; appindicator only where an old
XEmbed tray is all there is. pystray's xorg backend is never used: it has no menu. Without a display
or a session bus there is no tray, and the program runs headless.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from app.desktop.menu import Action, Entry, Item

__all__ = [
    "Choice",
    "Face",
    "Surroundings",
    "Tray",
    "choose",
    "host_timer",
    "look_around",
    "pystray_menu",
    "signals",
]

_log = logging.getLogger("dragoman.desktop")

Choice: TypeAlias = Literal["sni", "appindicator", "win32", "darwin", "headless"]

_PROBE_S = 2.0
_HOST_S = 5.0
"""At sign-in the panel may start after us."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What this session has."""

    platform: str
    """As ``sys.platform``."""
    display: bool = True
    bus: bool = False
    """A session bus answers (Linux)."""
    watcher: bool = False
    """Something on it collects tray icons."""
    xembed: bool = False
    """An XEmbed tray is on the display."""


def choose(there: Surroundings) -> tuple[Choice, str]:
    """Return the backend, and for ``headless`` why."""
    if there.platform == "win32":
        return "win32", ""
    if there.platform == "darwin":
        return ("darwin", "") if there.display else ("headless", "This session has no screen.")
    if not there.display:
        return "headless", "There is no display."
    if not there.bus:
        return "headless", "There is no session bus."
    if not there.watcher and there.xembed:
        return "appindicator", ""
    return "sni", ""


def look_around(env: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Surroundings:
    """Look at this session; takes at most two seconds, and only where a bus does not answer."""
    if platform == "win32":
        return Surroundings(platform)
    if platform == "darwin":
        return Surroundings(platform, display=_has_screen())
    display = bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))
    if not display:
        return Surroundings(platform, display=False)
    bus, watcher = asyncio.run(_ask_bus(bus_address(env)))
    xembed = bus and not watcher and bool(env.get("DISPLAY")) and _has_xembed()
    return Surroundings(platform, True, bus, watcher, xembed)


def bus_address(env: Mapping[str, str]) -> str | None:
    """Return the address of the session bus, or None; systemd's place needs no variable."""
    if address := env.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    runtime = env.get("XDG_RUNTIME_DIR")
    place = Path(runtime, "bus") if runtime else None
    return f"unix:path={place}" if place is not None and place.is_socket() else None


async def _ask_bus(address: str | None) -> tuple[bool, bool]:
    if address is None:
        return False, False
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

    from app.desktop.sessionbus import WATCHER, close_bus

    try:
        bus = await asyncio.wait_for(MessageBus(bus_address=address).connect(), _PROBE_S)
    except Exception as error:  # addresses of other people's programs fail in many ways
        _log.info("the session bus does not answer: %s", error)
        return False, False
    try:
        question = Message(
            destination="org.freedesktop.DBus",
            path="/org/freedesktop/DBus",
            interface="org.freedesktop.DBus",
            member="NameHasOwner",
            signature="s",
            body=[WATCHER],
        )
        reply = await asyncio.wait_for(bus.call(question), _PROBE_S)
        return True, bool(reply.body and reply.body[0] is True)
    except TimeoutError:
        return False, False
    finally:
        await close_bus(bus)


def _has_xembed() -> bool:
    """Say whether somebody owns the tray of the X screen, by the selection that marks it."""
    try:
        from Xlib.display import Display

        display = Display()
        try:
            name = f"_NET_SYSTEM_TRAY_S{display.get_default_screen()}"
            return bool(display.get_selection_owner(display.intern_atom(name)))
        finally:
            display.close()
    except Exception as error:  # a display that refuses, or no library for it
        _log.debug("no XEmbed tray: %s", error)
        return False


def _has_screen() -> bool:
    """Say whether a session of macOS has a screen; one over SSH has none."""
    try:
        said = subprocess.run(
            ["/bin/launchctl", "managername"], capture_output=True, timeout=_PROBE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.stdout.strip() == b"Aqua"


@dataclass(frozen=True, slots=True)
class Face:
    """All that a tray shows. Equal faces look the same."""

    picture: Any
    """Compared; ``draw`` of the tray turns it into an image."""
    title: str
    menu: tuple[Entry, ...]


class Tray:
    """One icon. States: made → running (``run``) → ended. ``run`` holds the main thread.

    The icon is to be seen once it has its first face.

    Args:
        icon: a pystray icon without picture and menu yet.
        draw: makes an image of ``Face.picture``.
        perform: called with the action of a clicked item, on a thread of the backend's.
        hand_over: calls a function where the backend wants its icon to be changed.
    """

    def __init__(
        self,
        icon: Any,
        draw: Callable[[Any], Any],
        perform: Callable[[Action], None],
        hand_over: Callable[[Callable[[], None]], None] = lambda call: call(),
    ) -> None:
        self._icon = icon
        self._draw = draw
        self._perform = perform
        self._hand_over = hand_over
        self._lock = threading.Lock()
        self._applying = threading.Lock()
        self._ready = False
        self._stopping = False
        self._ended = False
        self._wanted: Face | None = None
        self._shown: Face | None = None

    def show(self, face: Face) -> None:
        """Show something else; from any thread. Only what differs is touched."""
        with self._lock:
            self._wanted = face
            if not self._ready or self._ended:
                return
        self._hand_over(self._apply)

    def _apply(self) -> None:
        with self._applying:  # else an older face could overtake a newer one
            with self._lock:
                face, old = self._wanted, self._shown
                self._shown = face
            if face is None or face == old:
                return
            if old is None or face.picture != old.picture:
                self._icon.icon = self._draw(face.picture)
            if old is None or face.title != old.title:
                self._icon.title = face.title
            if old is None or face.menu != old.menu:
                self._icon.menu = pystray_menu(face.menu, self._perform)
            if old is None:
                self._icon.visible = True

    def run(self, on_signal: Callable[[], None]) -> None:
        """Show the icon until ``stop``; ``on_signal`` is called when the session or a user ends it.

        Raises:
            Exception: what the backend raises; its threads are let go of first.
        """
        with signals(on_signal):
            try:
                self._icon.run(setup=self._set_up)
            finally:
                with self._lock:
                    self._ended = True
                self._let_go()

    def _set_up(self, _icon: Any) -> None:
        with self._lock:
            self._ready = True
            if self._ended:
                return
            stopping = self._stopping
        if stopping:
            self._icon.stop()
        else:
            self._hand_over(self._apply)

    def _let_go(self) -> None:
        """Free the thread in which pystray waits for a loop that failed before it ran."""
        thread = getattr(self._icon, "_setup_thread", None)
        if thread is not None and thread.is_alive() and not self._ready:
            with contextlib.suppress(Exception):  # the loop it would tell is not there
                self._icon._mark_ready()

    def stop(self) -> None:
        """End ``run``; from any thread."""
        with self._lock:
            self._stopping = True
            running = self._ready and not self._ended
        if running:
            self._icon.stop()


@contextlib.contextmanager
def signals(on_signal: Callable[[], None]) -> Iterator[None]:
    """Take the signals that ask a program to end, for as long as the block runs."""
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: on_signal()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def pystray_menu(menu: Sequence[Entry], perform: Callable[[Action], None]) -> Any:
    """Return a menu as pystray has it; what is no item's action becomes a line to read."""
    from app.desktop import toolkit

    pystray = toolkit.load()

    def entry(item: Entry) -> Any:
        if not isinstance(item, Item):
            return pystray.Menu.SEPARATOR
        text = item.text.replace("&", "&&") if sys.platform == "win32" else item.text
        if item.children:
            return pystray.MenuItem(text, pystray.Menu(*map(entry, item.children)))
        action, checked = item.action, item.checked
        return pystray.MenuItem(
            text,
            None if action is None else (lambda: perform(action)),
            checked=None if checked is None else (lambda _: checked),
            radio=item.radio,
            default=item.default,
            enabled=action is not None,
        )

    return pystray.Menu(*map(entry, menu))


def host_timer(missing: Callable[[], None], wait_s: float = _HOST_S) -> Callable[[bool], None]:
    """Return a listener for ``SniIcon``: calls ``missing`` once when no panel comes in time."""
    timer = threading.Timer(wait_s, missing)
    timer.daemon = True

    def changed(present: bool) -> None:
        if present:
            timer.cancel()
        elif timer.ident is None and not timer.finished.is_set():
            timer.start()

    return changed
