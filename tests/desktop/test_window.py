"""The child's side with a stand-in for pywebview; ``test_windows`` opens real ones."""

import io
import json
import types

import pytest

from app.desktop import window

SPEC = {"url": "http://x/#t", "title": "Sign in", "menu": [["Open in my browser", "browser"]]}


class Event(list):
    def __iadd__(self, handler):
        self.append(handler)
        return self

    def fire(self):
        for handler in self:
            handler()


class FakeWindow:
    def __init__(self, title, url, **options):
        self.title, self.url, self.options = title, url, options
        self.did = []
        self.cookies = []
        self.uid = "master"
        self.x, self.y = 360, 130
        self.gui = types.SimpleNamespace(get_cookies=lambda uid: self.cookies)
        self.events = types.SimpleNamespace(
            loaded=Event(), shown=Event(), closed=Event(), before_show=Event()
        )

    def get_current_url(self):
        return self.url

    def __getattr__(self, name):
        return lambda *arguments: self.did.append((name, *arguments))


class FakeWebview:
    def __init__(self):
        self.settings = {}
        self.window = None

    def create_window(self, title, url, **options):
        self.window = FakeWindow(title, url, **options)
        return self.window


@pytest.fixture
def webview():
    return FakeWebview()


def said(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_happens_is_said(webview, capsys):
    window.Window(webview, dict(SPEC))
    webview.window.url = "https://claude.ai/login?code=secret#more"
    webview.window.events.shown.fire()
    webview.window.events.loaded.fire()
    webview.window.events.closed.fire()
    assert said(capsys) == [
        {"event": "opened"},
        {"event": "loaded", "url": "https://claude.ai/login", "status": 0, "refused": False},
        {"event": "closed"},
    ]


def test_nothing_is_put_into_pages(webview):
    window.Window(webview, dict(SPEC))
    assert webview.window.run_js("alert()") is None
    assert webview.window.did == []


def test_title_says_whose_page_it_is(webview):
    window.Window(webview, dict(SPEC, host_in_title=True))
    webview.window.url = "https://claude.ai/login"
    webview.window.events.loaded.fire()
    assert webview.window.did == [("set_title", "Sign in (claude.ai)")]


@pytest.mark.parametrize(
    ("gui", "title"), [("gtk", "Dragoman"), ("qt", "ChatGPT (Codex)"), (None, "ChatGPT (Codex)")]
)
def test_own_menu_names_the_service(webview, gui, title):
    """GTK's is renamed later: pywebview cannot begin with any name there."""
    (menu,) = window.Window(webview, dict(SPEC, menu_title="ChatGPT (Codex)", gui=gui)).menu
    assert menu.title == title


def test_window_without_entries_has_no_menu(webview):
    assert window.Window(webview, dict(SPEC, menu=[])).menu == []


@pytest.mark.parametrize(("shift", "x"), [(100, 460), (-500, 0)])
def test_window_stands_aside(webview, capsys, shift, x):
    window.Window(webview, dict(SPEC, shift=shift))
    webview.window.events.shown.fire()
    assert webview.window.did == [("move", x, 130)]
    assert said(capsys) == [{"event": "opened"}]


def test_own_menu_is_heard(webview, capsys):
    (menu,) = window.Window(webview, dict(SPEC)).menu
    (entry,) = menu.items
    assert entry.title == "Open in my browser"
    entry.function()
    assert said(capsys) == [{"event": "menu", "name": "browser"}]


def test_orders_are_followed_until_the_parent_is_gone(webview, monkeypatch):
    monkeypatch.setattr(window, "_LINGER_S", 3_600.0)
    shown = window.Window(webview, dict(SPEC))
    lines = [{"do": "show"}, {"do": "title", "text": "U"}, {"do": "go", "url": "http://y/"}]
    shown.follow(json.dumps(line) for line in lines)
    assert webview.window.did == [
        ("restore",),
        ("show",),
        ("set_title", "U"),
        ("load_url", "http://y/"),
        ("destroy",),
    ]
    shown.close()
    assert webview.window.did[-1] == ("destroy",)
    assert len(webview.window.did) == 5


def test_close_is_an_order(webview, monkeypatch):
    monkeypatch.setattr(window, "_LINGER_S", 3_600.0)
    window.Window(webview, dict(SPEC)).follow(['{"do": "close"}'])
    assert webview.window.did == [("destroy",)]


NO_MARK = {"mark": "", "mark_host": "", "at": ""}


class Morsel:
    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize(
    ("host", "heard"),
    [("clerk.example.org", 1), ("example.org", 1), ("evil-example.org", 0), ("example.com", 0)],
)
def test_cookie_is_told_once_and_only_of_its_host(webview, capsys, host, heard):
    spec = dict(SPEC, cookie={"name": "__client", "host": "example.org", **NO_MARK})
    window.Window(webview, spec)
    webview.window.url = f"https://{host}/"
    webview.window.cookies = [{"other": Morsel("x")}, {"__client": Morsel("value")}]
    webview.window.events.loaded.fire()
    webview.window.events.loaded.fire()
    told = [event for event in said(capsys) if event["event"] == "cookie"]
    assert told == [{"event": "cookie", "value": "value"}] * heard


MARKED = {
    "name": "__client",
    "host": "clerk.cto.new",
    "mark": "__client_uat",
    "mark_host": "cto.new",
    "at": "https://clerk.cto.new/",
}


def test_cookie_is_read_where_it_belongs_once_somebody_has_signed_in(webview, capsys):
    shown = window.Window(webview, dict(SPEC, cookie=MARKED))
    webview.window.url = "https://cto.new/"
    for nobody in ([], [{"__client_uat": Morsel("")}], [{"__client_uat": Morsel("0")}]):
        webview.window.cookies = nobody
        shown._look()
    assert webview.window.did == []
    webview.window.cookies = [{"__client_uat": Morsel("1795000000")}]
    shown._look()
    shown._look()
    assert webview.window.did == [("load_url", "https://clerk.cto.new/")]
    webview.window.url = "https://clerk.cto.new/"
    webview.window.cookies = [{"__client": Morsel("the-cookie")}]
    shown._look()
    shown._look()
    assert said(capsys) == [{"event": "cookie", "value": "the-cookie"}]


def test_cookie_of_somebody_who_has_not_signed_in_is_left_alone(webview, capsys):
    shown = window.Window(webview, dict(SPEC, cookie=MARKED))
    webview.window.url = "https://clerk.cto.new/"
    webview.window.cookies = [{"__client": Morsel("nobody")}]
    shown._look()
    assert said(capsys) == []


def test_cookie_is_looked_for_until_the_window_closes(webview, monkeypatch):
    monkeypatch.setattr(window, "_LOOK_S", 0.0)
    monkeypatch.setattr(window, "_LINGER_S", 3_600.0)
    shown = window.Window(webview, dict(SPEC, cookie=MARKED))
    looks = []

    def look():
        looks.append(1)
        if len(looks) == 3:
            shown._closing.set()

    shown._look = look
    shown.watch()
    assert len(looks) == 3


def test_refusal_of_embedded_views_is_told_without_the_address(webview, capsys):
    window.Window(webview, dict(SPEC))
    webview.window.url = "https://accounts.google.com/o?error=disallowed_useragent&code=secret"
    webview.window.events.loaded.fire()
    (event,) = said(capsys)
    assert event["refused"]
    assert "secret" not in json.dumps(event)


class Signals:
    """A GTK object; remembers who listens."""

    def __init__(self):
        self.heard = {}

    def connect(self, name, handler):
        self.heard[name] = handler


class Bar:
    """A live menu model with one menu in it."""

    def __init__(self):
        self.title = "Dragoman"

    def get_item_link(self, number, name):
        return f"entries of {self.title}"

    def remove(self, number):
        self.title = None

    def insert_submenu(self, number, title, entries):
        self.title, self.entries = title, entries


@pytest.fixture
def gtk(monkeypatch):
    view, unregistered = Signals(), []
    manager = types.SimpleNamespace(unregister_script_message_handler=unregistered.append)
    bar = Bar()
    fake = types.SimpleNamespace(
        BrowserView=types.SimpleNamespace(
            instances={"master": types.SimpleNamespace(webview=view, manager=manager)}
        ),
        _app=types.SimpleNamespace(get_menubar=lambda: bar),
        glib=types.SimpleNamespace(idle_add=lambda call: call()),
        view=view,
        bar=bar,
        unregistered=unregistered,
    )
    monkeypatch.setitem(__import__("sys").modules, "webview.platforms.gtk", fake)
    return fake


def test_gtk_shows_pages_no_hook_and_names_the_host_in_the_menu(webview, gtk, capsys):
    spec = dict(SPEC, gui="gtk", host_in_title=True, menu_title="Claude", url="https://claude.ai/")
    window.Window(webview, spec)
    webview.window.events.before_show.fire()
    assert gtk.unregistered == ["jsBridge"]
    assert (gtk.bar.title, gtk.bar.entries) == ("Claude: claude.ai", "entries of Dragoman")
    webview.window.url = "https://accounts.google.com/"
    webview.window.events.loaded.fire()
    assert gtk.bar.title == "Claude: accounts.google.com"


def test_gtk_tells_what_becomes_of_a_page(webview, gtk, capsys):
    window.Window(webview, dict(SPEC))
    webview.window.events.before_show.fire()
    response = types.SimpleNamespace(get_status_code=lambda: 403)
    resource = types.SimpleNamespace(get_response=lambda: response)
    page = types.SimpleNamespace(get_main_resource=lambda: resource)
    changed = gtk.view.heard["load-changed"]
    changed(page, types.SimpleNamespace(value_nick="started"))
    changed(page, types.SimpleNamespace(value_nick="committed"))
    webview.window.events.loaded.fire()
    request = types.SimpleNamespace(get_uri=lambda: "https://accounts.google.com/gsi?code=x")
    gtk.view.heard["create"](page, types.SimpleNamespace(get_request=lambda: request))
    failed = gtk.view.heard["load-failed"]
    left = types.SimpleNamespace(domain="WebKitNetworkError", code=302)
    assert failed(page, None, "https://claude.ai/", left) is False
    unresolved = types.SimpleNamespace(domain="g-resolver-error-quark", code=0)
    assert failed(page, None, "https://claude.ai/?code=x", unresolved) is False
    loaded, popup, unreachable = said(capsys)
    assert unreachable == {"event": "unreachable", "host": "claude.ai"}
    assert loaded["status"] == 403
    assert popup == {"event": "popup", "host": "accounts.google.com"}


def test_no_page_means_no_window(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert window.main() == 0


def test_missing_library_is_said(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(SPEC) + "\n"))
    monkeypatch.setitem(__import__("sys").modules, "webview", None)
    assert window.main() == 3
    (event,) = said(capsys)
    assert (event["event"], event["why"]) == ("failed", "no_library")


def test_parent_that_is_gone_is_no_error(webview, monkeypatch):
    window.Window(webview, dict(SPEC))
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stdout", closed)
    webview.window.events.shown.fire()


def test_window_that_is_kept_hides_when_its_user_closes_it(webview, capsys, monkeypatch):
    monkeypatch.setattr(window, "_LINGER_S", 3_600.0)
    webview.create_window = kept(webview.create_window)
    shown = window.Window(webview, dict(SPEC, keep=True))
    (closing,) = webview.window.events.closing
    assert closing() is False
    assert webview.window.did == [("hide",)]
    assert said(capsys) == [{"event": "hidden"}]
    shown.follow(['{"do": "hide"}', '{"do": "close"}'])
    assert webview.window.did[1:] == [("hide",), ("destroy",)]
    assert closing() is True  # the program wants it closed


def kept(create):
    def made(*arguments, **options):
        found = create(*arguments, **options)
        found.events.closing = Event()
        return found

    return made


def test_address_is_told_when_it_changes_and_is_watched(webview, capsys):
    watched = window.Window(webview, dict(SPEC, watch=True))
    for url in ("https://ai.studio/a?code=x#y", "https://ai.studio/a?z", "https://ai.studio/b", ""):
        webview.window.url = url
        watched._tell_address()
    webview.window.url = "https://accounts.google.com/e?reason=disallowed_useragent"
    watched._tell_address()
    assert [(event["url"], event["refused"]) for event in said(capsys)] == [
        ("https://ai.studio/a", False),
        ("https://ai.studio/b", False),
        ("https://accounts.google.com/e", True),
    ]
    window.Window(webview, dict(SPEC))._tell_address()
    assert said(capsys) == []
