"""The icon on a private session bus, read and clicked by a real client."""

import threading

import pytest

from app.desktop.icons import Look, draw
from app.desktop.menu import Action, Offer, build_menu
from app.desktop.sni import SniIcon, to_pixmap
from app.desktop.tray import Face, Tray
from tests.desktop import statuses
from tests.desktop.session_bus import Client, Panel

pytestmark = pytest.mark.gui

OFFER = Offer(statuses.EVERY_ACTION, notifications=(("spent", "Account used up", True),))


def face_of(status, offer=OFFER):
    look = Look.of(status.state, "dark", status.left_percent)
    return Face(look, f"Dragoman: {status.state}", build_menu(status, offer))


class Shown:
    """A tray that runs on a thread; ``performed`` fills with the actions of clicks."""

    def __init__(self, panel, face):
        self.performed = []
        self.clicked = threading.Condition()
        self.hosts = []
        self.icon = SniIcon("dragoman", host_changed=self.hosts.append)
        self.tray = Tray(self.icon, draw, self._perform)
        self.tray.show(face)
        self.thread = threading.Thread(target=self.tray.run, args=(lambda: None,))
        self.thread.start()
        if panel is not None:
            assert panel.registered.wait(10)

    def _perform(self, action):
        with self.clicked:
            self.performed.append(action)
            self.clicked.notify_all()

    def wait(self, count):
        with self.clicked:
            assert self.clicked.wait_for(lambda: len(self.performed) >= count, 10)
        return self.performed

    def close(self):
        self.tray.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def panel(bus):
    found = Panel(bus.address)
    yield found
    found.close()


@pytest.fixture
def shown(panel):
    found = Shown(panel, face_of(statuses.full()))
    assert panel.updated.wait(10)
    assert panel.visible.wait(10)
    yield found
    found.close()


@pytest.fixture
def client(bus, panel, shown):
    found = Client(bus.address, panel.items[0])
    yield found
    found.close()


def test_menu_is_read_as_it_was_built(client):
    menu = client.menu()
    assert menu.texts()[0] == "Ready at localhost:8317"
    assert not menu.children[0].enabled
    assert menu.children[1].properties["type"] == "separator"
    account = menu.find("Accounts", "ada_l@example.org")
    assert account.properties["label"].startswith("ada__l@")
    assert account.properties["children-display"] == "submenu"
    first = account.find("Use first")
    assert first.properties["toggle-type"] == "radio"
    assert first.properties["toggle-state"] == 1
    spent = menu.find("Notifications", "Account used up")
    assert spent.properties["toggle-type"] == "checkmark"


def test_each_kind_of_item_is_clicked(client, shown):
    menu = client.menu()
    paths = {
        ("Open dashboard",): Action("dashboard"),
        ("Copy address",): Action("copy_address"),
        ("New key…",): Action("new_key"),
        ("Pause",): Action("pause"),
        ("Start at sign-in",): Action("autostart", "on"),
        ("Notifications", "Account used up"): Action("notifications", "spent"),
        ("Accounts", "ada_l", "Use first"): Action("primary", "chatgpt/chatgpt-1"),
        ("Accounts", "ada_l", "Sign out", "Yes"): Action("sign_out", "chatgpt/chatgpt-1"),
        ("Accounts", "chatgpt-2", "Resume"): Action("resume_account", "chatgpt/chatgpt-2"),
        ("Accounts", "Add account…", "Claude"): Action("add_account", "claude"),
        ("Models", "Default model", "fast"): Action("default_model", "fast"),
        ("Quit",): Action("quit"),
    }
    for number, path in enumerate(paths):
        client.click(menu.find(*path), grouped=bool(number % 2))
        shown.wait(number + 1)
    assert shown.performed == list(paths.values())


def test_lines_to_read_do_nothing_and_unknown_ids_are_named(client, shown):
    client.click(client.menu().children[0])
    events = [(9_999, "clicked", ("i", 0), 0)]
    assert client.call("EventGroup", "a(isvu)", (events,)) == ([9_999],)
    assert client.call("AboutToShowGroup", "ai", ([0, 9_999],)) == ([], [9_999])
    client.click(client.menu().find("Quit"))
    assert shown.wait(1) == [Action("quit")]


def test_properties_are_given_one_by_one(client):
    entry = client.menu().find("Copy address")
    assert client.call("GetProperty", "is", (entry.id, "label")) == (("s", "Copy address"),)
    (rows,) = client.call("GetGroupProperties", "aias", ([entry.id], ["enabled"]))
    assert rows == [(entry.id, {"enabled": ("b", True)})]
    with pytest.raises(RuntimeError):
        client.call("GetProperty", "is", (entry.id, "toggle-type"))


def test_click_on_the_icon_does_the_default(client, shown):
    assert client.get("ItemIsMenu") is False
    client.activate()
    assert shown.wait(1) == [Action("dashboard")]


def test_icon_has_its_name_title_and_pictures(client, shown):
    assert client.get("Id") == "dragoman"
    assert client.get("Title") == "Dragoman: running"
    assert client.get("Status") == "Active"
    pictures = {width: len(data) for width, _, data in client.get("IconPixmap")}
    assert pictures[22] == 22 * 22 * 4


def test_change_is_told_and_ids_stay(client, panel, shown):
    before = client.menu()
    panel.updated.clear()
    shown.tray.show(face_of(statuses.status("paused", reason="By you.")))
    assert panel.updated.wait(10)
    after = client.menu()
    assert after.texts()[0] == "Paused at localhost:8317"
    assert after.find("Copy address").id == before.find("Copy address").id
    client.click(before.find("Copy address"))
    assert shown.wait(1) == [Action("copy_address")]


def test_equal_menu_is_not_told_again(client, panel, shown):
    panel.updated.clear()
    shown.icon.update_menu()
    shown.tray.show(face_of(statuses.status()))  # this one differs
    assert panel.updated.wait(10)
    revision, _ = client.call("GetLayout", "iias", (0, 0, []))
    assert revision == 3


def test_icon_is_made_known_to_a_panel_that_comes_back(bus, shown, panel):
    again = None
    panel.close()
    try:
        again = Panel(bus.address)
        assert again.registered.wait(10)
        client = Client(bus.address, again.items[0])
        assert "Quit" in client.menu().texts()
        client.close()
        assert shown.hosts == [True, False, True]
    finally:
        if again is not None:
            again.close()
        panel.close = lambda: None


def test_icon_waits_for_a_panel_that_comes_late(bus):
    shown = Shown(None, face_of(statuses.full()))
    panel = None
    try:
        panel = Panel(bus.address)
        assert panel.registered.wait(10)
    finally:
        shown.close()
        if panel is not None:
            panel.close()


def test_end_of_the_session_bus_ends_the_icon(bus, panel):
    shown = Shown(panel, face_of(statuses.full()))
    bus.close()
    shown.thread.join(10)
    assert not shown.thread.is_alive()


def test_no_bus_is_an_error_and_hangs_nowhere(monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    tray = Tray(SniIcon("dragoman"), draw, lambda action: None)
    tray.show(face_of(statuses.full()))
    before = threading.active_count()
    with pytest.raises(OSError, match="o such file"):
        tray.run(lambda: None)
    assert threading.active_count() == before
    tray.stop()


def test_picture_is_argb_in_network_order():
    from PIL import Image

    width, height, data = to_pixmap(Image.new("RGBA", (2, 2), (1, 2, 3, 4)), 2)
    assert (width, height, data[:4]) == (2, 2, bytes((4, 1, 2, 3)))
