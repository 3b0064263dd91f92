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
