"""A window with somebody in front of it, for ``desktop_program``: the program's own window process.

Started as a file, also under the distribution's Python. ``DRAGOMAN_TEST_PERSON`` names a folder:
``deeds.json`` says what is done on pages of ours, by the window's title: a list of scripts, each
tried until it returns true, and ``menu:…`` for entries of the window's own menu. ``seen.jsonl``
gets a line for each new thing that can be seen: title and menu of the window, and of our own pages
the text. Pages of others are left alone.
"""

import importlib.util
import json
import os
import sys
import threading
from pathlib import Path

FOLDER = Path(os.environ["DRAGOMAN_TEST_PERSON"])
FILE = Path(__file__).parents[2] / "app" / "desktop" / "window.py"
STEP_S = 0.1

spec = importlib.util.spec_from_file_location("dragoman_window", FILE)
window = importlib.util.module_from_spec(spec)
spec.loader.exec_module(window)


class Watched(window.Window):
    def __init__(self, webview, wanted):
        super().__init__(webview, wanted)
        self.done = {}
        self.seen = None
        self._window.events.shown += self.begin

    def begin(self):
        threading.Thread(target=self.sit, daemon=True).start()

    def sit(self):
        while not self._closing.wait(STEP_S):
            gtk = sys.modules["webview.platforms.gtk"]
            view = gtk.BrowserView.instances.get("master")
            if view is None:
                return
            self.look(gtk, view)

    def look(self, gtk, view):
        url = self._window.get_current_url() or ""
        ours = "/admin" in url
        text = (
            view.evaluate_js("document.body ? document.body.innerText : ''", False) if ours else ""
        )
        bar = gtk._app.get_menubar()
        menu = bar.get_item_attribute_value(0, "label", None).unpack() if bar else ""
        seen = {
            "url": url,
            "title": view.window.get_title(),
            "menu": menu,
            "text": text,
            "pid": os.getpid(),
        }
        if seen != self.seen:
            self.seen = seen
            with open(FOLDER / "seen.jsonl", "a") as file:
                file.write(json.dumps(seen) + "\n")
        deeds = json.loads((FOLDER / "deeds.json").read_text()).get(self._spec["title"], [])
        number = self.done.get(self._spec["title"], 0)
        if number < len(deeds) and self.do(gtk, view, deeds[number], ours):
            self.done[self._spec["title"]] = number + 1

    def do(self, gtk, view, deed, ours):
        if deed.startswith("menu:"):
            found = [name for name in gtk._app_actions if deed.removeprefix("menu:") in name]
            gtk.glib.idle_add(gtk._app.activate_action, found[0], None)
            return True
        return ours and view.evaluate_js(deed, False) is True


window.Window = Watched
window.run()
