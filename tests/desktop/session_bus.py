"""A private session bus with a stub panel, and a client that reads and clicks like a panel."""

import asyncio
import subprocess
import threading
from concurrent.futures import Future
from typing import Annotated

from dbus_fast import MessageType, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusInt32, DBusSignature, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal
from jeepney import DBusAddress, new_method_call
from jeepney import MessageType as JeepneyType
from jeepney.io.blocking import open_dbus_connection

from app.desktop.sessionbus import close_bus

WATCHER = "org.kde.StatusNotifierWatcher"
Names = Annotated[list, DBusSignature("as")]
Hints = Annotated[dict, DBusSignature("a{sv}")]
FourTexts = Annotated[list, DBusSignature("ssss")]
NumberAndText = Annotated[list, DBusSignature("us")]
TwoNumbers = Annotated[list, DBusSignature("uu")]

NOTIFICATIONS = "org.freedesktop.Notifications"


class PrivateBus:
    """A ``dbus-daemon`` of our own; ``address`` is where it listens."""

    def __init__(self):
        self._process = subprocess.Popen(
            ["dbus-daemon", "--session", "--nofork", "--print-address"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.address = self._process.stdout.readline().decode().strip()

    def close(self):
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()


class _WatcherInterface(ServiceInterface):
    def __init__(self, registered):
        super().__init__(WATCHER)
        self.items = []
        self.registered = registered

    @dbus_method()
    def RegisterStatusNotifierItem(self, service: DBusStr):
        self.items.append(service)
        self.registered(service)

    @dbus_property(access=PropertyAccess.READ)
    def RegisteredStatusNotifierItems(self) -> Names:
        return self.items

    @dbus_property(access=PropertyAccess.READ)
    def IsStatusNotifierHostRegistered(self) -> DBusBool:
        return True

    @dbus_signal()
    def StatusNotifierItemRegistered(self, item) -> DBusStr:
        return item


class _NotificationsInterface(ServiceInterface):
    def __init__(self, notified):
        super().__init__(NOTIFICATIONS)
        self._notified = notified
        self._last = 0

    @dbus_method()
    def Notify(
        self,
        app_name: DBusStr,
        replaces: DBusUInt32,
        icon: DBusStr,
        title: DBusStr,
        text: DBusStr,
        actions: Names,
        hints: Hints,
        timeout: DBusInt32,
    ) -> DBusUInt32:
        self._last += 1
        self._notified(self._last, title, text, actions)
        return self._last

    @dbus_method()
    def CloseNotification(self, number: DBusUInt32):
        pass

    @dbus_method()
    def GetCapabilities(self) -> Names:
        return ["body", "actions"]

    @dbus_method()
    def GetServerInformation(self) -> FourTexts:
        return ["stub", "test", "1", "1.2"]

    @dbus_signal()
    def ActionInvoked(self, number, key) -> NumberAndText:
        return [number, key]

    @dbus_signal()
    def NotificationClosed(self, number, reason) -> TwoNumbers:
        return [number, reason]


class Panel:
    """What a desktop brings: collects tray icons, shows notifications. Runs on its own thread.

    ``registered``, ``updated`` and ``visible`` are set by each registration, changed menu and icon
    that shows or hides.
    """

    def __init__(self, address, *, icons=True):
        self.registered = threading.Event()
        self.updated = threading.Event()
        self.visible = threading.Event()
        self.items = []
        self.notices = []
        self.noticed = threading.Condition()
        self._icons = icons
        self._loop = asyncio.new_event_loop()
        started = Future()
        self._thread = threading.Thread(target=self._run, args=(address, started))
        self._thread.start()
        started.result(10)

    def _run(self, address, started):
        try:
            self._loop.run_until_complete(self._serve(address, started))
        finally:
            self._loop.close()

    async def _serve(self, address, started):
        self._end = asyncio.Event()
        bus = await MessageBus(bus_address=address).connect()
        bus.add_message_handler(self._heard)
        self.notifications = _NotificationsInterface(self._notified)
        bus.export("/org/freedesktop/Notifications", self.notifications)
        await bus.request_name(NOTIFICATIONS)
        if self._icons:
            bus.export("/StatusNotifierWatcher", _WatcherInterface(self._register))
            await bus.request_name(WATCHER)
            await bus.call(_match("type='signal',interface='com.canonical.dbusmenu'"))
            await bus.call(_match("type='signal',interface='org.kde.StatusNotifierItem'"))
        started.set_result(None)
        await self._end.wait()
        await close_bus(bus)

    def _heard(self, message):
        if message.message_type is MessageType.SIGNAL and message.member == "LayoutUpdated":
            self.updated.set()
        if message.message_type is MessageType.SIGNAL and message.member == "NewStatus":
            self.visible.set()

    def _register(self, item):
        self.items.append(item)
        self.registered.set()

    def _notified(self, number, title, text, actions):
        with self.noticed:
            self.notices.append((number, title, text, actions))
            self.noticed.notify_all()

    def notice(self, word):
        """Wait for a notification whose title or text has a word, and return it."""
        with self.noticed:
            found = self.noticed.wait_for(
                lambda: next((n for n in self.notices if word in n[1] + n[2]), None), 10
            )
        assert found, (word, self.notices)
        return found

    def press(self, notice):
        """Press the first button of a notification."""
        number, _, _, actions = notice
        keys = [key for key in actions[::2] if key != "default"]
        self._loop.call_soon_threadsafe(self.notifications.ActionInvoked, number, keys[0])

    def close(self):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


def _match(rule):
    from dbus_fast import Message

    return Message(
        destination="org.freedesktop.DBus",
        path="/org/freedesktop/DBus",
        interface="org.freedesktop.DBus",
        member="AddMatch",
        signature="s",
        body=[rule],
    )


class Entry:
    """One entry of a menu as a panel sees it."""

    def __init__(self, layout):
        self.id, properties, children = layout
        self.properties = {name: value[1] for name, value in properties.items()}
        self.children = [Entry(child[1]) for child in children]

    @property
    def text(self):
        return self.properties.get("label", "-").replace("__", "_")

    @property
    def enabled(self):
        return self.properties.get("enabled", True)

    def find(self, *path):
        """Return the entry below this one whose texts, or beginnings of them, are given."""
        if not path:
            return self
        for child in self.children:
            if child.text.startswith(path[0]):
                return child.find(*path[1:])
        raise AssertionError(f"no {path[0]!r} among {[child.text for child in self.children]}")

    def texts(self):
        return [child.text for child in self.children]


class Client:
    """Reads and clicks the menu of an item over the bus."""

    def __init__(self, address, item):
        self._connection = open_dbus_connection(address)
        self._item = DBusAddress("/StatusNotifierItem", item, "org.kde.StatusNotifierItem")
        self._menu = DBusAddress(self.get("Menu"), item, "com.canonical.dbusmenu")

    def close(self):
        self._connection.close()

    def _call(self, address, method, signature=None, body=()):
        message = new_method_call(address, method, signature, body)
        reply = self._connection.send_and_get_reply(message, timeout=5)
        if reply.header.message_type is JeepneyType.error:
            raise RuntimeError(reply.body)
        return reply.body

    def get(self, name):
        properties = DBusAddress(
            self._item.object_path, self._item.bus_name, "org.freedesktop.DBus.Properties"
        )
        return self._call(properties, "Get", "ss", (self._item.interface, name))[0][1]

    def menu(self):
        self._call(self._menu, "AboutToShow", "i", (0,))
        _, layout = self._call(self._menu, "GetLayout", "iias", (0, -1, []))
        return Entry(layout)

    def click(self, entry, *, grouped=False):
        event = (entry.id, "clicked", ("i", 0), 0)
        if grouped:
            return self._call(self._menu, "EventGroup", "a(isvu)", ([event],))
        return self._call(self._menu, "Event", "isvu", event)

    def call(self, method, signature, body):
        return self._call(self._menu, method, signature, body)

    def activate(self):
        self._call(self._item, "Activate", "ii", (0, 0))
