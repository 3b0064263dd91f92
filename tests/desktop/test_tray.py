import signal
import sys
import threading

import pytest

from app.desktop import toolkit
from app.desktop.menu import SEPARATOR, Action, Item
from app.desktop.tray import (
    Face,
    Surroundings,
    Tray,
    bus_address,
    choose,
    host_timer,
    look_around,
    pystray_menu,
    signals,
)


@pytest.mark.parametrize(
    ("there", "choice"),
    [
        (Surroundings("win32"), "win32"),
        (Surroundings("darwin"), "darwin"),
        (Surroundings("darwin", display=False), "headless"),
        (Surroundings("linux", display=False, bus=True, watcher=True), "headless"),
        (Surroundings("linux", bus=False), "headless"),
        (Surroundings("linux", bus=True, watcher=True), "sni"),
        (Surroundings("linux", bus=True, watcher=True, xembed=True), "sni"),
        (Surroundings("linux", bus=True, xembed=True), "appindicator"),
        (Surroundings("linux", bus=True), "sni"),
    ],
)
def test_backend_follows_from_what_is_there(there, choice):
    found, why = choose(there)
    assert found == choice
    assert bool(why) == (choice == "headless")


def test_no_display_is_seen_without_asking_a_bus():
    env = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}
    assert look_around(env, "linux") == Surroundings("linux", display=False)


@pytest.mark.skipif(sys.platform != "linux", reason="no session bus")
def test_bus_that_does_not_answer_is_none():
    env = {"DISPLAY": ":99", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}
    assert look_around(env, "linux") == Surroundings("linux")
    assert not look_around({"WAYLAND_DISPLAY": "w"}, "linux").bus


@pytest.mark.gui
def test_panel_on_the_bus_is_seen(bus):
    env = {"WAYLAND_DISPLAY": "w", "DBUS_SESSION_BUS_ADDRESS": bus.address}
    assert look_around(env, "linux") == Surroundings("linux", bus=True)
    from tests.desktop.session_bus import Panel

    panel = Panel(bus.address)
    try:
        assert look_around(env, "linux") == Surroundings("linux", bus=True, watcher=True)
    finally:
        panel.close()


@pytest.mark.gui
def test_display_without_a_tray_has_no_xembed(bus, screen):
    env = {"DISPLAY": screen, "DBUS_SESSION_BUS_ADDRESS": bus.address}
    assert not look_around(env, "linux").xembed


@pytest.mark.skipif(sys.platform != "linux", reason="no session bus")
def test_bus_at_systemds_place_needs_no_variable(tmp_path):
    import socket

    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert bus_address(env) is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "bus"))
        assert bus_address(env) == f"unix:path={tmp_path}/bus"
    assert bus_address({"DBUS_SESSION_BUS_ADDRESS": "unix:x"}) == "unix:x"
    assert bus_address({}) is None


class FakeIcon:
    """A pystray icon that notes what is set, and runs until it is stopped."""

    def __init__(self, *, broken=False):
        object.__setattr__(self, "set", [])
        self.broken = broken
        self.end = threading.Event()
        self.seen = threading.Event()
        self.set.clear()

    def __setattr__(self, name, value):
        self.set.append(name)
        object.__setattr__(self, name, value)
        if name == "visible":
            self.seen.set()

    def run(self, setup):
        if self.broken:
            raise OSError("no bus")
        setup(self)
        assert self.end.wait(10)

    def stop(self):
        self.end.set()


MENU = (Item("Quit", Action("quit")),)


@pytest.fixture
def running():
    """A tray on a thread, shown with a first face."""
    icon = FakeIcon()
    tray = Tray(icon, lambda picture: f"drawn {picture}", lambda action: None)
    tray.show(Face("one", "title", MENU))
    thread = threading.Thread(target=tray.run, args=(lambda: None,))
    thread.start()
    assert icon.seen.wait(10)
    yield tray, icon
    tray.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_first_face_is_shown_whole(running):
    _, icon = running
    assert icon.set == ["icon", "title", "menu", "visible"]
    assert icon.icon == "drawn one"


def test_only_what_differs_is_touched(running):
    tray, icon = running
    icon.set.clear()
    tray.show(Face("one", "title", MENU))
    assert icon.set == []
    tray.show(Face("two", "title", MENU))
    tray.show(Face("two", "other", MENU))
    tray.show(Face("two", "other", (*MENU, *MENU)))
    assert icon.set == ["icon", "title", "menu"]


def test_icon_is_not_seen_before_it_has_a_face():
    icon = FakeIcon()
    tray = Tray(icon, str, lambda action: None)
    thread = threading.Thread(target=tray.run, args=(lambda: None,))
    thread.start()
    try:
        tray.show(Face("late", "title", MENU))
        assert icon.seen.wait(10)
        assert icon.set == ["icon", "title", "menu", "visible"]
    finally:
        icon.end.set()
        thread.join(10)


def test_older_face_never_overtakes_a_newer_one(running):
    tray, icon = running
    holding, go_on = threading.Event(), threading.Event()

    def draw_slowly(picture):
        if picture == "slow":
            holding.set()
            assert go_on.wait(10)
        return f"drawn {picture}"

    tray._draw = draw_slowly
    first = threading.Thread(target=tray.show, args=(Face("slow", "title", MENU),))
    first.start()
    assert holding.wait(10)
    second = threading.Thread(target=tray.show, args=(Face("new", "title", MENU),))
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert icon.icon == "drawn new"


def test_tray_that_was_stopped_before_it_ran_ends_at_once():
    icon = FakeIcon()
    tray = Tray(icon, str, lambda action: None)
    tray.stop()
    tray.run(lambda: None)
    assert icon.set == []


def test_error_of_the_backend_comes_out_and_later_calls_do_nothing():
    tray = Tray(FakeIcon(broken=True), str, lambda action: None)
    with pytest.raises(OSError, match="no bus"):
        tray.run(lambda: None)
    tray.show(Face("one", "title", MENU))
    tray.stop()


def test_menu_becomes_pystrays():
    done = []
    menu = pystray_menu(
        (
            Item("Line"),
            SEPARATOR,
            Item("Do", Action("quit"), default=True),
            Item("On", Action("autostart", "off"), checked=True),
            Item("Of", children=(Item("One", Action("pause"), checked=False, radio=True),)),
        ),
        done.append,
    )
    line, separator, do, on, more = menu.items
    assert (line.text, line.enabled) == ("Line", False)
    assert separator is toolkit.load().Menu.SEPARATOR
    assert (do.default, do.enabled, do.checked) == (True, True, None)
    assert (on.checked, on.radio) == (True, False)
    (one,) = more.submenu.items
    assert (one.checked, one.radio) == (False, True)
    do(None)
    one(None)
    assert done == [Action("quit"), Action("pause")]


def test_signals_that_end_a_program_are_taken_for_a_while():
    seen = []
    before = signal.getsignal(signal.SIGTERM)
    with signals(lambda: seen.append(1)):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert seen == [1, 1]
    assert signal.getsignal(signal.SIGTERM) is before


def test_missing_panel_is_said_once_and_only_if_none_comes():
    said = threading.Event()
    changed = host_timer(said.set, wait_s=0.01)
    changed(False)
    assert said.wait(10)
    changed(False)
    never = threading.Event()
    changed = host_timer(never.set, wait_s=60.0)
    changed(False)
    changed(True)
    changed(False)
    assert not never.is_set()
