"""The desktop half of the program: tray on the main thread, proxy in its own, windows as children.

Theory of operation. ``run`` starts the proxy's thread first, which listens while the libraries of
the tray are still loading; then the tray takes the main thread until it ends. They end together:
"Quit", a signal or the end of the desktop session ask the proxy to stop, which lets running
answers finish for a while; when its thread has ended, in whatever way, the icon goes. A tray that
cannot start, or breaks, does not end the proxy. States: starting → running → finishing → ended.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from app.desktop import autostart
from app.desktop.bridge import Program
from app.desktop.clipboard import find_copier
from app.desktop.desktop import Desktop, Parts
from app.desktop.menu import Action
from app.desktop.theme import find_theme
from app.desktop.tray import Choice, Face, Tray, host_timer, signals
from app.desktop.windows import Windows, find_runner, here_line
from app.errors import AppError
from app.paths import Paths

__all__ = ["Attach", "Behind", "Serve", "run", "system_parts", "system_tray"]

_log = logging.getLogger("dragoman.desktop")

Attach: TypeAlias = Callable[[Program], None]
Serve: TypeAlias = Callable[[Attach], int]
"""Runs the proxy until it is stopped and returns the exit code; calls its argument once, on the
proxy's loop, when it listens. Runs on a thread that is not the main one."""

_END_S = 60.0
"""The proxy ends by itself in less; a thread that does not is left behind."""


def run(
    serve: Serve,
    parts: Parts,
    make_tray: Callable[[Desktop], Tray | None],
) -> int:
    """Run proxy and tray on this, the main thread, until both have ended.

    Args:
        serve: see ``Serve``.
        parts: ``system_parts``.
        make_tray: ``system_tray``; where it returns None or fails, the proxy runs without a tray.

    Returns:
        The proxy's exit code.

    Raises:
        BaseException: whatever ``serve`` raised.
    """
    return _Run(serve, parts).hold(make_tray)


class _Run:
    """One life of the program; see the module."""

    def __init__(self, serve: Serve, parts: Parts) -> None:
        self._serve = serve
        self._tray: Tray | None = None
        self._asked = threading.Event()
        """Somebody wants it to end."""
        self._ended = threading.Event()
        """The proxy has ended."""
        self._code = 0
        self._error: BaseException | None = None
        self._desktop = Desktop(parts, self._show, self._finish)

    def hold(self, make_tray: Callable[[Desktop], Tray | None]) -> int:
        self._desktop.start()
        threading.Thread(target=self._hold_proxy, name="proxy", daemon=True).start()
        try:
            self._hold_tray(make_tray)
            self._wait()
            if isinstance(self._error, AppError):
                self._desktop.tell(self._error.text)  # a start by a click has no terminal
        finally:
            self._desktop.close()
        if self._error is not None:
            raise self._error
        return self._code

    def _hold_proxy(self) -> None:
        try:
            self._code = self._serve(self._attach)
        except BaseException as error:  # raised again on the main thread
            self._error = error
        finally:
            self._desktop.bridge.detach()
            self._ended.set()
            if self._tray is not None:
                self._tray.stop()

    def _attach(self, program: Program) -> None:
        self._desktop.bridge.attach(program)
        program.on_show(lambda: self._desktop.perform(Action("dashboard")))
        program.on_sign_in(self._desktop.sign_ins)
        program.on_windows(self._desktop.studios)
        if self._asked.is_set():  # it was told to end before it listened
            program.stop()

    def _hold_tray(self, make_tray: Callable[[Desktop], Tray | None]) -> None:
        try:
            tray = make_tray(self._desktop)
        except Exception:  # a desktop's libraries fail in many ways, and the proxy needs none
            _log.exception("the tray icon cannot be shown")
            return
        if tray is None:
            return
        self._tray = tray
        self._desktop.refresh()
        if self._ended.is_set():
            return
        try:
            tray.run(self._finish)
        except Exception:  # as above
            _log.exception("the tray icon broke; Dragoman runs on without it")
        else:
            self._finish()  # the session has ended, or the proxy has

    def _show(self, face: Face) -> None:
        if self._tray is not None:
            self._tray.show(face)

    def _finish(self) -> None:
        if not self._asked.is_set():
            self._asked.set()
            self._desktop.finishing()
        self._desktop.bridge.stop()

    def _wait(self) -> None:
        """Wait for the proxy's end: as long as it may take to stop, or without a tray for ever."""
        with signals(self._finish):
            while not self._ended.wait(_END_S):
                if self._asked.is_set():
                    _log.error("the proxy did not end in %g s and is left behind", _END_S)
                    return


def system_parts(
    paths: Paths,
    choice: Choice,
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    say: Callable[[str], None],
) -> Parts:
    """Return what this system offers.

    Args:
        paths: the folders of this installation.
        choice: the tray's backend, from ``tray.choose``.
        command: starts this program.
        environment: of children.
        say: takes a sentence for the terminal.
    """
    return Parts(
        windows=Windows(find_runner(command), environment, tell=say, line=here_line()),
        switch=autostart.find(),
        copy=find_copier(),
        command=command,
        preferences_file=paths.data / "desktop.json",
        storage=paths.data / "windows",
        theme="template" if choice == "darwin" else find_theme(),
        say=say,
    )


class Behind(Protocol):
    """What an icon asks of what is behind it."""

    def perform(self, action: Action) -> None:
        """Carry an action out; from any thread, and returns at once."""
        ...

    def alone(self) -> None:
        """Follow that no panel shows the icon."""
        ...


def system_tray(choice: Choice, desktop: Behind) -> Tray | None:
    """Return the tray of a backend; its libraries are loaded here and not before."""
    from app.desktop.icons import draw

    if choice == "headless":
        return None
    if choice == "sni":
        from app.desktop.sni import SniIcon

        icon = SniIcon("dragoman", host_changed=host_timer(desktop.alone))
        return Tray(icon, draw, desktop.perform)
    if choice == "darwin":
        from app.desktop.macicon import hand_over, make_class

        return Tray(
            make_class()("dragoman"),
            lambda look: lambda side: draw(look, side),
            desktop.perform,
            hand_over,
        )
    from app.desktop.toolkit import icon_class

    size = 32 if sys.platform == "win32" else 64
    return Tray(icon_class(choice)("dragoman"), lambda look: draw(look, size), desktop.perform)
