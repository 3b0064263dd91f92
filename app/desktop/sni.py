"""The tray icon of Linux desktops: a StatusNotifierItem as a backend of pystray.

Theory of operation. The icon's loop is an asyncio loop on the thread that calls ``run``, with one
connection to the session bus. The item is exported there and made known to the watcher, which the
panel owns; when a watcher comes (at sign-in the panel may start after us, and panels crash), the
item is made known again. States: made → connected → ready → stopped. Every method of pystray may
be called from any thread: what it changes is handed to the loop, and dropped once that has ended.

Neither GTK nor a display is needed. Source: freedesktop.org, StatusNotifierItem; KDE's and xfce's
watchers.
"""

# No postponed annotations here: dbus-fast reads the signatures out of them, and takes a postponed
# None for a wrong one.

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from dbus_fast import BusType, DBusError, Message, MessageType, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import (
    DBusBool,
    DBusInt32,
    DBusObjectPath,
    DBusSignature,
    DBusStr,
)
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal
from PIL import Image

from app.desktop import toolkit
from app.desktop.dbusmenu import DbusMenu, Row
from app.desktop.sessionbus import WATCHER, disconnected

__all__ = ["SniIcon", "rows_of", "to_pixmap"]

_log = logging.getLogger("dragoman.desktop")

_ITEM_PATH = "/StatusNotifierItem"
_MENU_PATH = "/MenuBar"
_SIZES = (16, 22, 24, 32, 44, 48, 64)
"""Heights of panels, and twice the usual ones for dense screens."""
_DBUS = "org.freedesktop.DBus"

_Pixmaps: TypeAlias = Annotated[list[Any], DBusSignature("a(iiay)")]
_ToolTip: TypeAlias = Annotated[list[Any], DBusSignature("(sa(iiay)ss)")]

_pystray = toolkit.load()
_Base: Any = _pystray.Icon


class _Item(ServiceInterface):
    """The exported item; holds what panels ask for."""

    def __init__(self, name: str, activate: Callable[[], None]) -> None:
        super().__init__("org.kde.StatusNotifierItem")
        self._id = name
        self.title = ""
        self.status = "Passive"
        self.pixmaps: list[Any] = []
        self.only_menu = True
        self._activate = activate

    @dbus_method()
    def Activate(self, x: DBusInt32, y: DBusInt32) -> None:
        """Take a click on the icon."""
        self._activate()

    @dbus_method()
    def SecondaryActivate(self, x: DBusInt32, y: DBusInt32) -> None:
        """Take a click with the middle button."""
        self._activate()

    @dbus_method()
    def ContextMenu(self, x: DBusInt32, y: DBusInt32) -> None:
        """Take the wish for a menu; panels draw the exported one themselves."""

    @dbus_method()
    def Scroll(self, delta: DBusInt32, orientation: DBusStr) -> None:
        """Take a turn of the wheel, which means nothing here."""

    @dbus_property(access=PropertyAccess.READ)
    def Category(self) -> DBusStr:
        """Return what kind of program this is."""
        return "ApplicationStatus"

    @dbus_property(access=PropertyAccess.READ)
    def Id(self) -> DBusStr:
        """Return the name under which panels keep the icon's place."""
        return self._id

    @dbus_property(access=PropertyAccess.READ)
    def Title(self) -> DBusStr:
        """Return the text that panels show or read out for the icon."""
        return self.title

    @dbus_property(access=PropertyAccess.READ)
    def Status(self) -> DBusStr:
        """Return ``Active`` while the icon is to be seen."""
        return self.status

    @dbus_property(access=PropertyAccess.READ)
    def WindowId(self) -> DBusInt32:
        """Return the window that belongs to the icon: none."""
        return 0

    @dbus_property(access=PropertyAccess.READ)
    def IconName(self) -> DBusStr:
        """Return the icon's name in the theme; empty, since it is drawn."""
        return ""

    @dbus_property(access=PropertyAccess.READ)
    def IconPixmap(self) -> _Pixmaps:
        """Return the icon in several sizes."""
        return self.pixmaps

    @dbus_property(access=PropertyAccess.READ)
    def ToolTip(self) -> _ToolTip:
        """Return icon name, pictures, title and text of the tooltip."""
        return ["", [], self.title, ""]

    @dbus_property(access=PropertyAccess.READ)
    def ItemIsMenu(self) -> DBusBool:
        """Return whether a click should open the menu: where it has no other meaning."""
        return self.only_menu

    @dbus_property(access=PropertyAccess.READ)
    def Menu(self) -> DBusObjectPath:
        """Return where the menu is."""
        return _MENU_PATH

    @dbus_signal()
    def NewIcon(self) -> None:
        """Tell panels that the icon changed."""

    @dbus_signal()
    def NewTitle(self) -> None:
        """Tell panels that the title changed."""

    @dbus_signal()
    def NewToolTip(self) -> None:
        """Tell panels that the tooltip changed."""

    @dbus_signal()
    def NewStatus(self) -> DBusStr:
        """Tell panels whether the icon is to be seen."""
        return self.status


class SniIcon(_Base):  # type: ignore[misc] # pystray has no types
    """A pystray icon on the session bus.

    Args:
        name: stable, lower case; panels keep the icon's place by it.
        host_changed: called on the loop with whether some panel shows icons: once at the start,
            then at each change.
        kwargs: ``icon``, ``title`` and ``menu``, as pystray has them.
    """

    HAS_DEFAULT_ACTION = True
    HAS_NOTIFICATION = False  # ``notify`` sends them, with buttons

    def __init__(
        self,
        name: str,
        *,
        host_changed: Callable[[bool], None] = lambda present: None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        self._host_changed = host_changed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._bus: MessageBus | None = None
        self._own_name = f"org.kde.StatusNotifierItem-{os.getpid()}-1"
        self._registering: asyncio.Task[None] | None = None
        self._setup: Callable[[Any], None] | None = None
        self._item = _Item(name, lambda: _off_loop(self))
        self._dbusmenu = DbusMenu(_off_loop)

    # --- the loop --------------------------------------------------------------------------------

    def _start_setup(self, setup: Callable[[Any], None] | None) -> None:
        # pystray would start a thread here that waits for a loop which may never come, and would
        # keep the process alive for it.
        self._setup = setup

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        bus = self._bus = await MessageBus(bus_type=BusType.SESSION).connect()
        self._loop = asyncio.get_running_loop()
        gone = asyncio.ensure_future(disconnected(bus))
        try:
            bus.export(_ITEM_PATH, self._item)
            bus.export(_MENU_PATH, self._dbusmenu)
            await bus.request_name(self._own_name)
            bus.add_message_handler(self._heard)
            await self._follow(WATCHER)
            await self._register()
            self._running = True
            self._start_up()
            await self._until_end(gone)
        except (OSError, EOFError) as error:  # it went while something was asked of it
            _log.info("the session bus has gone: %s", str(error) or "it closed the connection")
        finally:
            self._loop = None
            if self._registering is not None:
                self._registering.cancel()
            bus.disconnect()
            await gone

    def _start_up(self) -> None:
        """Do what pystray does once a loop runs, on a thread that nobody has to wait for."""
        setup = self._setup

        def start() -> None:
            self.update_menu()
            if setup is not None:
                setup(self)
            else:
                self.visible = True

        self._setup_thread = threading.Thread(target=start, name="tray setup", daemon=True)
        self._setup_thread.start()

    async def _until_end(self, gone: asyncio.Future[None]) -> None:
        assert self._end is not None  # noqa: S101 - made by ``_serve``
        ended = asyncio.ensure_future(self._end.wait())
        await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            _log.info("the session bus has gone, and with it the desktop session")
            ended.cancel()

    def _stop(self) -> None:
        self._hand(self._set_end)

    def _set_end(self) -> None:
        if self._end is not None:
            self._end.set()

    def _hand(self, call: Callable[[], None]) -> None:
        """Have the loop make a call; it is dropped when there is no loop any more."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it was closed just now
                loop.call_soon_threadsafe(call)

    # --- the watcher -----------------------------------------------------------------------------

    async def _follow(self, name: str) -> None:
        rule = (
            f"type='signal',sender='{_DBUS}',interface='{_DBUS}',"
            f"member='NameOwnerChanged',arg0='{name}'"
        )
        await self._ask(_DBUS, "/org/freedesktop/DBus", _DBUS, "AddMatch", rule)

    def _heard(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL or message.member != "NameOwnerChanged":
            return
        if message.sender != _DBUS or message.body[0] != WATCHER:
            return
        if message.body[2]:
            self._registering = asyncio.ensure_future(self._register())
        else:
            self._host_changed(False)

    async def _register(self) -> None:
        try:
            await self._ask(
                WATCHER,
                "/StatusNotifierWatcher",
                WATCHER,
                "RegisterStatusNotifierItem",
                self._own_name,
            )
        except DBusError as error:
            _log.debug("no panel shows tray icons: %s", error)
            self._host_changed(False)
        else:
            self._host_changed(True)

    async def _ask(self, name: str, path: str, interface: str, member: str, word: str) -> None:
        assert self._bus is not None  # noqa: S101 - made by ``_serve``
        reply = await self._bus.call(
            Message(
                destination=name,
                path=path,
                interface=interface,
                member=member,
                signature="s",
                body=[word],
            )
        )
        if reply.message_type is MessageType.ERROR:
            raise DBusError(reply.error_name or "", f"{member} at {name} failed")

    # --- what pystray asks of a backend ----------------------------------------------------------

    def _show(self) -> None:
        self._update_title()  # pystray keeps what was set before
        self._hand(lambda: self._set_status("Active"))

    def _hide(self) -> None:
        self._hand(lambda: self._set_status("Passive"))

    def _set_status(self, status: str) -> None:
        self._item.status = status
        self._item.NewStatus()

    def _update_icon(self) -> None:
        pixmaps = [to_pixmap(self.icon, size) for size in _SIZES]
        self._icon_valid = True
        self._hand(lambda: self._set_pixmaps(pixmaps))

    def _set_pixmaps(self, pixmaps: list[Any]) -> None:
        self._item.pixmaps = pixmaps
        self._item.NewIcon()

    def _update_title(self) -> None:
        title = self.title
        self._hand(lambda: self._set_title(title))

    def _set_title(self, title: str) -> None:
        self._item.title = title
        self._item.NewTitle()
        self._item.NewToolTip()

    def _update_menu(self) -> None:
        if self._menu is None:
            return
        rows = rows_of(self._menu, self)
        only_menu = not any(item.default for item in self._menu.items)
        self._hand(lambda: self._set_menu(rows, only_menu))

    def _set_menu(self, rows: tuple[Row, ...], only_menu: bool) -> None:
        self._item.only_menu = only_menu
        self._dbusmenu.replace(rows)

    def _notify(self, message: str, title: str | None = None) -> None:
        raise NotImplementedError("notify.Notifier sends notifications")

    def _remove_notification(self) -> None:
        raise NotImplementedError("notify.Notifier sends notifications")


def rows_of(menu: Any, icon: Any) -> tuple[Row, ...]:
    """Return the rows of a pystray menu; what it computes is computed here and now."""
    rows: list[Row] = []
    for item in menu.items:
        if item is _pystray.Menu.SEPARATOR:
            rows.append(Row(None))
        elif item.submenu is not None:
            rows.append(Row(item.text, children=rows_of(item.submenu, icon)))
        else:
            click = _clicked(item, icon) if item.enabled else None
            rows.append(Row(item.text, click, checked=item.checked, radio=bool(item.radio)))
    return tuple(rows)


def _clicked(item: Any, icon: Any) -> Callable[[], None]:
    return lambda: item(icon)


def _off_loop(call: Callable[[], None]) -> None:
    """Make a call on a thread of its own: the bus's loop has to go on answering."""
    threading.Thread(target=call, name="tray click", daemon=True).start()


def to_pixmap(image: Image.Image, size: int) -> list[Any]:
    """Return an image as the protocol has it: width, height, ARGB in network byte order."""
    scaled = image.convert("RGBA")
    if scaled.size != (size, size):
        scaled = scaled.resize((size, size), Image.Resampling.LANCZOS)
    red, green, blue, alpha = scaled.split()
    return [size, size, Image.merge("RGBA", (alpha, red, green, blue)).tobytes()]
