"""One window, as a process of its own: ``dragoman window``, or this file under another Python.

The process reads lines of JSON from standard input, which is also its life line: when the parent
closes it or dies, the window closes and the process ends. The first line says what to show::

    {"url": "http://…#ticket", "title": "…", "width": 1000, "height": 720,
     "storage": "/folder or null", "gui": "gtk, qt or null", "host_in_title": false,
     "menu": [["Open in my browser", "browser"]], "menu_title": "ChatGPT", "shift": 0,
     "cookie": {"name": "…", "host": "…", "mark": "…", "mark_host": "…", "at": "…"} or null,
     "keep": false, "watch": false}

The address comes this way since it may carry a ticket, and arguments can be seen by others. Later
lines: ``{"do": "show"}``, ``{"do": "title", "text": "…"}``, ``{"do": "go", "url": "…"}``,
``{"do": "hide"}``, ``{"do": "close"}``. Standard output tells what happens, one JSON object a line: ``{"event":
"opened"}``, ``{"event": "loaded", "url": "… without query and fragment", "status": 200, "refused":
false}``, ``{"event": "popup", "host": "…"}``, ``{"event": "unreachable", "host": "…"}``, ``{"event": "menu", "name": "…"}``, ``{"event":
"cookie", "value": "…"}``, ``{"event": "closed"}``, and before the process gives up ``{"event":
"failed", "why": "no_library" or "broken", "text": "…"}``. ``packages`` of the first line names
folders to find libraries in. A ``status`` is the HTTP status of the page, 0 where it is not known;
``refused`` says that the service names the embedded view as its reason; ``popup`` is a second
window that the page wanted, and did not get.

A page of somebody else says where it is: in the window's title, and on Linux in its menu as well.
What has to be said about it is never put into it, and neither is a script or an object of ours.

``shift`` moves the window that many pixels to the right of the middle, where the system lets it.

With ``cookie``, the window looks each second for the cookie ``mark`` on pages of ``mark_host``,
which tells that somebody has signed in there; then it goes to ``at``, a page of ``host``, and says
the cookie ``name`` that is kept for that.

With ``keep``, a window that its user closes is hidden, says ``{"event": "hidden"}``, and works on.
With ``watch``, each change of its address is told, as ``{"event": "at", "url": "…"}``: pages that
change without being loaded anew tell nothing.

Nothing of ours is imported, nor any library but pywebview: on Linux this runs under the
distribution's Python, which has GTK's bindings but none of our packages.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, NoReturn
from urllib.parse import urlsplit

__all__ = ["main", "run"]

_LINGER_S = 3.0
"""A web view that does not close within this time is ended with the process."""
_LOOK_S = 1.0
"""How often a page is looked at for the cookie that tells of a sign-in: pages that change without
being loaded anew tell nothing."""
_REFUSAL = "disallowed_useragent"
"""Google's word in an address for a view that it does not let sign in (RFC 8252, section 8.12)."""
_SIGNED_OUT = ("", "0")
_LEFT = (("WebKitNetworkError", 302), ("WebKitPolicyError", 102))
"""GTK's errors for a page that was left while it loaded, and for an answer that is not shown."""


class Window:
    """The window of this process. States: waiting for its first line → open → closed."""

    def __init__(self, webview: Any, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._said = threading.Lock()
        self._closing = threading.Event()
        self._looking = threading.Lock()
        self._cookie = ""
        self._address = ""
        self._marked = False
        self._status = 0
        webview.settings["OPEN_EXTERNAL_LINKS_IN_BROWSER"] = True
        webview.settings["ALLOW_DOWNLOADS"] = False
        self._window = webview.create_window(
            spec["title"],
            spec["url"],
            width=spec.get("width") or 1000,
            height=spec.get("height") or 720,
            min_size=(360, 400),
            text_select=True,
        )
        self.menu = _menu(spec, self._say)
        """For ``webview.start``: GTK has no menus of single windows, and there is only one."""
        # pywebview would put a script of its own into every page; pages of others stay untouched.
        self._window.run_js = lambda _script: None
        self._window.events.before_show += self._prepare
        self._window.events.loaded += self._loaded
        self._window.events.shown += self._shown
        self._window.events.closed += self._closed
        if spec.get("keep"):
            self._window.events.closing += self._keep

    def follow(self, lines: Any) -> None:
        """Do what the parent says until it is gone; runs on a thread of its own."""
        try:
            for line in lines:
                self._do(json.loads(line))
        finally:
            self.close()

    def _do(self, order: dict[str, Any]) -> None:
        match order.get("do"):
            case "show":
                self._window.restore()
                self._window.show()
            case "hide":
                self._window.hide()
            case "title":
                self._spec["title"] = order["text"]
                self._window.set_title(order["text"])
            case "go":
                self._window.load_url(order["url"])
            case "close":
                self.close()

    def close(self) -> None:
        """Close the window, and end the process if that does not."""
        if self._closing.is_set():
            return
        self._closing.set()
        timer = threading.Timer(_LINGER_S, os._exit, (0,))
        timer.daemon = True
        timer.start()
        self._window.destroy()

    def _shown(self) -> None:
        if shift := self._spec.get("shift"):
            self._window.move(max(0, self._window.x + shift), self._window.y)
        self._say({"event": "opened"})

    def _keep(self) -> bool:
        """Hide in place of closing; returns whether to close after all."""
        if self._closing.is_set():
            return True
        self._window.hide()
        self._say({"event": "hidden"})
        return False

    def _closed(self) -> None:
        self._closing.set()
        self._say({"event": "closed"})

    def _prepare(self) -> None:
        """Take what pywebview hangs into GTK's pages out, and hear what it does not tell."""
        gtk = sys.modules.get("webview.platforms.gtk")
        if gtk is None:
            return
        view = gtk.BrowserView.instances[self._window.uid]
        host = urlsplit(self._spec["url"]).hostname or ""
        _rename_menu(_menu_title(self._spec, host if self._spec.get("host_in_title") else ""))
        # Its name alone would tell a page that it is embedded, and some turn those away.
        view.manager.unregister_script_message_handler("jsBridge")
        view.webview.connect("load-changed", self._load_changed)
        view.webview.connect("create", self._popup)
        view.webview.connect("load-failed", self._load_failed)

    def _load_changed(self, view: Any, event: Any) -> None:
        if event.value_nick != "committed":
            return
        resource = view.get_main_resource()
        response = None if resource is None else resource.get_response()
        self._status = 0 if response is None else response.get_status_code()

    def _popup(self, _view: Any, action: Any) -> None:
        """Give no second window, which is what GTK does anyway, but say so."""
        url = action.get_request().get_uri() or ""
        self._say({"event": "popup", "host": urlsplit(url).hostname or ""})

    def _load_failed(self, _view: Any, _event: Any, url: str, error: Any) -> bool:
        """Say that a page cannot be reached; one that was left for another is no failure."""
        if (error.domain, error.code) not in _LEFT:
            self._say({"event": "unreachable", "host": urlsplit(url).hostname or ""})
        return False  # GTK shows its own page about it

    def _loaded(self) -> None:
        url = self._window.get_current_url() or ""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if self._spec.get("host_in_title") and host:
            self._window.set_title(f"{self._spec['title']} ({host})")
            _rename_menu(_menu_title(self._spec, host))
        # Query and fragment may hold codes and tickets.
        self._say(
            {
                "event": "loaded",
                "url": f"{parts.scheme}://{parts.netloc}{parts.path}",
                "status": self._status,
                "refused": _REFUSAL in url,
            }
        )
        self._look()

    def watch(self) -> None:
        """Look for the cookie until the window closes; runs on a thread of its own."""
        while not self._closing.wait(_LOOK_S):
            self._look()
            self._tell_address()

    def _tell_address(self) -> None:
        """Say where the window is when that has changed; query and fragment are kept back."""
        if not self._spec.get("watch"):
            return
        url = self._window.get_current_url() or ""
        parts = urlsplit(url)
        shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
        if url and shown != self._address:
            self._address = shown
            self._say({"event": "at", "url": shown, "refused": _REFUSAL in url})

    def _look(self) -> None:
        wanted = self._spec.get("cookie")
        if not wanted:
            return
        with self._looking:  # one look at a time, or a cookie is told twice
            host = urlsplit(self._window.get_current_url() or "").hostname or ""
            if _within(host, wanted["host"]) and (self._marked or not wanted["mark"]):
                value = self._read(wanted["name"])
                if value not in ("", self._cookie):
                    self._cookie = value
                    self._say({"event": "cookie", "value": value})
            elif not self._marked and _within(host, wanted["mark_host"]):
                self._marked = self._read(wanted["mark"]) not in _SIGNED_OUT
                if self._marked:
                    self._window.load_url(wanted["at"])

    def _read(self, name: str) -> str:
        """Return a cookie of the page that is shown; empty when it has none of that name."""
        # The window's own method waits for a page that is loaded, and an answer that GTK does not
        # show, like JSON, never is.
        window = self._window
        for cookie in window.gui.get_cookies(window.uid) or ():
            if name in cookie:
                return str(cookie[name].value)
        return ""

    def _say(self, event: dict[str, Any]) -> None:
        with self._said:
            _say(event)


def _within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _menu(spec: dict[str, Any], say: Any) -> list[Any]:
    """Return the window's own menu: what has to be said about a page is never put into it."""
    entries = spec.get("menu") or []
    if not entries:
        return []
    from webview.menu import Menu, MenuAction

    def action(text: str, name: str) -> Any:
        return MenuAction(text, lambda: say({"event": "menu", "name": name}))

    # pywebview makes GTK's names of actions of this one, and some characters end the process there;
    # ``_rename_menu`` puts things right.
    name = "Dragoman" if spec.get("gui") == "gtk" else _menu_title(spec, "")
    return [Menu(name, [action(text, name) for text, name in entries])]


def _menu_title(spec: dict[str, Any], host: str) -> str:
    """Return what the menu is called: whose page it is, and where that is.

    Only GTK's menus are renamed when the page goes elsewhere, so only they name the host.
    """
    name = spec.get("menu_title") or "Dragoman"
    return f"{name}: {host}" if host else name


def _rename_menu(title: str) -> None:
    """Give GTK's menu another name; its model is a live one, and pywebview has no call for it."""
    gtk: Any = sys.modules.get("webview.platforms.gtk")
    bar = None if gtk is None or gtk._app is None else gtk._app.get_menubar()
    if bar is None:
        return

    def rename() -> bool:
        entries = bar.get_item_link(0, "submenu")
        bar.remove(0)
        bar.insert_submenu(0, title, entries)
        return False  # once

    gtk.glib.idle_add(rename)


def _say(event: dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        # The parent is gone; the end of standard input says so, too, and closes the window.
        return


def main() -> int:
    """Show the window that the first line of standard input describes, until it is closed."""
    line = sys.stdin.readline()
    if not line:
        return 0
    spec = json.loads(line)
    for folder in spec.get("packages") or []:
        sys.path.append(folder)
    try:
        import webview
        from webview.errors import WebViewException
    except ImportError as error:
        return _give_up("no_library", error)
    window = Window(webview, spec)
    threading.Thread(target=window.follow, args=(sys.stdin,), daemon=True).start()
    if spec.get("cookie") or spec.get("watch"):
        threading.Thread(target=window.watch, daemon=True).start()
    storage = spec.get("storage")
    try:
        webview.start(
            gui=spec.get("gui"),
            private_mode=storage is None,
            storage_path=storage,
            menu=window.menu,
        )
    except WebViewException as error:  # it found no toolkit
        return _give_up("no_library", error)
    except Exception as error:  # each toolkit fails in its own way, a display that refuses, too
        return _give_up("broken", error)
    return 0


def _give_up(why: str, error: Exception) -> int:
    _say({"event": "failed", "why": why, "text": f"{type(error).__name__}: {error}"})
    return 3


def run() -> NoReturn:
    """Show the window and end the process.

    The web view's libraries start threads that would keep it; nobody needs them any more.
    """
    code = main()
    os._exit(code)


if __name__ == "__main__":
    run()
