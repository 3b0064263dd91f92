"""``dragoman`` as a desktop starts it: a process with a home, a session bus and a panel of its own."""

import socket
import subprocess
import threading

import msgspec

from app import instance
from app.cli.launch import own_command, own_environment
from app.paths import Paths
from tests.desktop.session_bus import Client, Panel

WELCOMED = b'{"welcomed": true}'
BROWSER = "#!/bin/sh\nprintf '%s\\n' \"$1\" >> {file}\n"
"""Stands for the browser: notes what it was to open."""


class Desk:
    """A desktop session: what programs find in their environment, and its panel.

    Args:
        folder: for the user's home.
        bus: a ``PrivateBus``, or None for a session without one.
        icons: whether the panel shows tray icons; None for a session without a panel.
        display: name of the X display; None for a session without one.
    """

    def __init__(self, folder, bus=None, *, icons=True, display=":nowhere"):
        self.home = folder
        self.opened = folder / "opened-in-browser"
        browser = folder / "browser"
        browser.write_text(BROWSER.format(file=self.opened))
        browser.chmod(0o755)
        self.panel = Panel(bus.address, icons=icons) if bus is not None else None
        self._bus = bus
        dropped = ("DRAGOMAN_", "DISPLAY", "WAYLAND_", "XDG_", "DBUS_", "PYTEST_", "PYTHONDONT")
        self.environment = {
            name: value for name, value in own_environment().items() if not name.startswith(dropped)
        }
        self.environment |= {
            "HOME": str(folder),
            "DRAGOMAN_HOME": str(folder / "dragoman"),
            "DRAGOMAN_SERVER__PORT": "0",
            "BROWSER": str(browser),
            "NO_AT_BRIDGE": "1",
            "DBUS_SESSION_BUS_ADDRESS": bus.address
            if bus is not None
            else "unix:path=/nonexistent",
        }
        if display is not None:
            self.environment["DISPLAY"] = display
        self.paths = Paths.find(self.environment)
        self.started = []

    def welcome(self):
        """Let the first run be over."""
        self.paths.data.mkdir(parents=True, exist_ok=True)
        (self.paths.data / "desktop.json").write_bytes(WELCOMED)

    def settle(self, text):
        """Write the settings."""
        self.paths.config.mkdir(parents=True, exist_ok=True)
        file = self.paths.config / "config.yaml"
        file.write_text(text)
        file.chmod(0o600)

    def start(self, *words):
        """Start the program in the foreground, and return its process."""
        process = subprocess.Popen(
            [*own_command(), *words],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def ready(self, process):
        """Wait until the program listens; return how to reach it."""
        line = process.stdout.readline()
        assert "listens at" in line, (line, process.stderr.read() if process.poll() else "")
        found = instance.read(self.paths.data, self.paths.runtime)
        assert found.record is not None, found
        return found.record

    def run(self, *words):
        """Run a command to its end."""
        return subprocess.run(
            [*own_command(), *words],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def client(self, number=0):
        """Return what reads and clicks the menu of the icon that came first, or later."""
        return Client(self._bus.address, self.panel.items[number])

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=30)
        if self.panel is not None:
            self.panel.close()


def menu_with(client, panel, word):
    """Return the menu once it has an entry that begins with a word."""
    for _ in range(200):
        panel.updated.clear()
        menu = client.menu()
        if any(text.startswith(word) for text in menu.texts()):
            return menu
        assert panel.updated.wait(20), menu.texts()
    raise AssertionError(menu.texts())


class Stream:
    """One streamed answer, asked for over a socket of its own and read no further than needed."""

    def __init__(self, port, model, prompt):
        body = msgspec.json.encode(
            {"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}]}
        )
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.sendall(head.encode() + body)

    def begun(self):
        """Wait for the first piece of the answer."""
        seen = b""
        while b'"content":' not in seen:
            piece = self.socket.recv(65_536)
            assert piece, seen
            seen += piece

    def close(self):
        self.socket.close()


def windows_of(display):
    """Return the titles of the windows on a display."""
    from Xlib import X, error
    from Xlib.display import Display

    connection = Display(display)
    found = []

    def look(window):
        try:
            if window.get_attributes().map_state == X.IsViewable and (name := window.get_wm_name()):
                found.append(name)
            for child in window.query_tree().children:
                look(child)
        except error.XError:  # it was closed just now
            return

    try:
        look(connection.screen().root)
    finally:
        connection.close()
    return found


def until(holds, what, times=600, pause=0.05):
    """Wait until something holds that nobody tells of."""
    for _ in range(times):
        if found := holds():
            return found
        threading.Event().wait(pause)
    raise AssertionError(what() if callable(what) else what)
