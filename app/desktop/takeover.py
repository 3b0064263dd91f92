"""A tray icon beside a program that runs without one: it offers to take over.

``dragoman`` that is started while ``serve`` runs opens the dashboard of that one and stays with this
icon. Its menu, and a notification's button, take over: then ``hold`` returns True, and whoever called
it ends the other program and starts anew with a tray. The icon goes by itself when the user wants it
to, when the other program has ended, and when no panel shows it. States: made → ``hold`` → ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable

from app.desktop.icons import Look, Theme
from app.desktop.menu import SEPARATOR, Action, Item
from app.desktop.notify import Notice, Notifier
from app.desktop.tray import Face, Tray
from app.errors import AppError

__all__ = ["Takeover"]

_log = logging.getLogger("dragoman.desktop")

_LOOK_S = 60.0
"""How often it looks whether the other program still runs."""
_NO_PANEL = (
    "This desktop shows no tray icons. `dragoman stop` ends the program that runs, and `dragoman` "
    "then starts it with all that this desktop has."
)


class Takeover:
    """The offer, and what came of it.

    Args:
        address: of the program that runs.
        open_dashboard: shows its dashboard; may raise ``AppError``.
        is_gone: whether that program has ended.
        theme: of the panel.
        say: takes a sentence for the terminal.
        make_notifier: makes what sends the notification.
        look_s: seconds between two looks at that program.
    """

    def __init__(
        self,
        address: str,
        *,
        open_dashboard: Callable[[], None],
        is_gone: Callable[[], bool],
        theme: Theme,
        say: Callable[[str], None],
        make_notifier: Callable[[Callable[[Action], None]], Notifier] = Notifier,
        look_s: float = _LOOK_S,
    ) -> None:
        self._where = address.partition("://")[2]
        self._open_dashboard = open_dashboard
        self._is_gone = is_gone
        self._theme = theme
        self._say = say
        self._make_notifier = make_notifier
        self._look_s = look_s
        self._wanted = False
        self._tray: Tray | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._ready = threading.Event()

    def hold(self, make_tray: Callable[[Takeover], Tray | None]) -> bool:
        """Show the icon on this, the main thread, until its end; return whether to take over."""
        try:
            tray = self._tray = make_tray(self)
            if tray is not None:
                tray.show(self.face())
                self._run(tray)
        except Exception:  # a desktop's libraries fail in many ways; the other program runs on
            _log.exception("the tray icon cannot be shown")
        return self._wanted

    def _run(self, tray: Tray) -> None:
        beside = threading.Thread(
            target=lambda: asyncio.run(self._accompany()), name="takeover", daemon=True
        )
        beside.start()
        self._ready.wait()
        try:
            tray.run(self._stop)
        finally:
            self._end()
            beside.join()

    def face(self) -> Face:
        """Return what the icon shows."""
        title = f"Dragoman runs without a tray icon at {self._where}"
        menu = (
            Item(f"Runs without a tray icon at {self._where}"),
            SEPARATOR,
            Item("Open dashboard", Action("dashboard"), default=True),
            Item("Take over (restarts it with this icon)", Action("take_over")),
            SEPARATOR,
            Item("Quit (the other one runs on)", Action("quit")),
        )
        return Face(Look.of("running", self._theme, None), title, menu)

    def perform(self, action: Action) -> None:
        """Carry an action out; from any thread, and returns at once."""
        match action.name:
            case "dashboard":
                threading.Thread(target=self._show, name="takeover click", daemon=True).start()
            case "take_over":
                self._wanted = True
                self._stop()
            case _:
                self._stop()

    def _show(self) -> None:
        try:
            self._open_dashboard()
        except AppError as error:
            self._say(error.text)

    def alone(self) -> None:
        """End the offer where no panel shows it."""
        self._say(_NO_PANEL)
        self._stop()

    def _stop(self) -> None:
        if self._tray is not None:
            self._tray.stop()

    # --- beside the icon -------------------------------------------------------------------------

    async def _accompany(self) -> None:
        """Say what the icon is for, then look now and then whether there is still a reason for it.

        The loop goes on for as long as the icon is there: the notification's button needs it.
        """
        self._loop, ended = asyncio.get_running_loop(), asyncio.Event()
        self._ended = ended
        self._ready.set()
        notifier = self._make_notifier(self.perform)
        await notifier.send(
            Notice(
                "answer",
                "",
                "Dragoman runs already",
                f"It was started without a tray icon, at {self._where}.",
                Action("take_over"),
                "Take over",
            )
        )
        try:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), self._look_s)
                if not ended.is_set() and await asyncio.to_thread(self._is_gone):
                    _log.info("the program that ran without a tray has ended")
                    self._stop()
                    await ended.wait()
        finally:
            await notifier.close()

    def _end(self) -> None:
        loop, ended = self._loop, self._ended
        if loop is not None and ended is not None:
            with contextlib.suppress(RuntimeError):  # it failed, and its loop is closed
                loop.call_soon_threadsafe(ended.set)
