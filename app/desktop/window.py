"""One window, as a process of its own: ``dragoman window``, or this file under another Python.

The process reads lines of JSON from standard input, which is also its life line: when the parent
closes it or dies, the window closes and the process ends. The first line says what to show::

    {"url": "http://…#ticket", "title": "…", "width": 1000, "height": 720,
     "storage": "/folder or null", "gui": "gtk, qt or null", "host_in_title": false,
     "menu": [["Open in my browser", "browser"]], "cookie": {"name": "…", "host": "…"} or null}

The address comes this way since it may carry a ticket, and arguments can be seen by others. Later
lines: ``{"do": "show"}``, ``{"do": "title", "text": "…"}``, ``{"do": "go", "url": "…"}``,
``{"do": "close"}``. Standard output tells what happens, one JSON object a line: ``{"event":
"opened"}``, ``{"event": "loaded", "url": "… without query and fragment"}``, ``{"event": "menu",
"name": "…"}``, ``{"event": "cookie", "value": "…"}``, ``{"event": "closed"}``, and before the
process gives up ``{"event": "failed", "why": "no_library" or "broken", "text": "…"}``. ``packages`` of the first line
names folders to find libraries in.

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


class Window:
    """The window of this process. States: waiting for its first line → open → closed."""

    def __init__(self, webview: Any, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._said = threading.Lock()
        self._closing = threading.Event()
        self._cookie = ""
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
        self._window.events.loaded += self._loaded
        self._window.events.shown += lambda: self._say({"event": "opened"})
        self._window.events.closed += self._closed

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

    def _closed(self) -> None:
        self._closing.set()
        self._say({"event": "closed"})

    def _loaded(self) -> None:
        url = self._window.get_current_url() or ""
        parts = urlsplit(url)
        if self._spec.get("host_in_title") and parts.hostname:
            self._window.set_title(f"{self._spec['title']} ({parts.hostname})")
        # Query and fragment may hold codes and tickets.
        self._say({"event": "loaded", "url": f"{parts.scheme}://{parts.netloc}{parts.path}"})
        wanted = self._spec.get("cookie")
        if wanted and _within(parts.hostname or "", wanted["host"]):
            self._look_for(wanted["name"])

    def _look_for(self, name: str) -> None:
        for cookie in self._window.get_cookies():
            if name in cookie and cookie[name].value not in ("", self._cookie):
                self._cookie = cookie[name].value
                self._say({"event": "cookie", "value": self._cookie})

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

    return [Menu("Dragoman", [action(text, name) for text, name in entries])]


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
