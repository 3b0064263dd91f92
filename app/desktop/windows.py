"""Windows as child processes, one each, and the browser where there can be none.

A child lives as long as its standard input is open (``window``), so that no window outlives this
process, however it ends. On Linux the web view is GTK's, whose Python bindings come with the
distribution and not from PyPI: our own Python takes them in when it has the same version, else the
child runs under the distribution's Python. Where nothing fits, the address is opened in the
browser, and the one line that would install a window is said once.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import subprocess
import sys
import threading
import time
import webbrowser
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

__all__ = [
    "Cookie",
    "Heard",
    "Page",
    "Runner",
    "Windows",
    "find_runner",
    "here_line",
    "install_line",
]

_log = logging.getLogger("dragoman.desktop")

_SYSTEM_PYTHON = Path("/usr/bin/python3")
_BINDINGS = (
    "/usr/lib/python3/dist-packages",
    "/usr/lib64/python3.{minor}/site-packages",
    "/usr/lib/python3.{minor}/site-packages",
)
"""Where distributions keep GTK's bindings: Debian, Fedora and openSUSE, Arch."""
_CLOSE_S = 4.0
"""A window that was told to close and does not is killed after this time."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie to hear of once somebody has signed in; see ``window``."""

    name: str
    host: str
    """Whose cookie it is."""
    mark: str = ""
    """Name of the cookie that tells of the sign-in; empty: ``name`` alone does."""
    mark_host: str = ""
    at: str = ""
    """A page of ``host``: cookies are read of the page that is shown."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a window shows."""

    url: str
    """May carry a ticket in its fragment."""
    title: str
    storage: Path | None = None
    """Folder of its cookies and storage. None keeps nothing, and then GTK's pages have no
    ``sessionStorage`` either (observed with pywebview 6.2)."""
    width: int = 1000
    height: int = 720
    host_in_title: bool = False
    """Adds the page's host to title and menu: people must see on whose page they are."""
    menu: tuple[tuple[str, str], ...] = ()
    """Text and name of each entry of the window's own menu; clicks are heard as ``menu``."""
    menu_title: str = ""
    """What the menu is called: whose pages the window shows."""
    cookie: Cookie | None = None
    """Heard of as ``cookie``."""
    keep: bool = False
    """A window that its user closes is hidden, and works on."""
    watch: bool = False
    """Each change of its address is heard, as ``at``."""
    shift: int = 0
    """Pixels to the right of the middle: windows that belong together stand side by side."""


@dataclass(frozen=True, slots=True)
class Runner:
    """How a window's process is started."""

    command: tuple[str, ...]
    packages: tuple[str, ...] = ()
    """Folders that the child adds to its module path."""
    gui: str | None = None


def find_runner(
    own_command: Sequence[str],
    *,
    system: str = sys.platform,
    env: Mapping[str, str] = os.environ,
    version: tuple[int, int] = sys.version_info[:2],
    frozen: bool = bool(getattr(sys, "frozen", False)),
    has_own: Callable[[], bool] = lambda: importlib.util.find_spec("gi") is not None,
    holds: Callable[[str, str], bool] = lambda folder, pattern: any(Path(folder).glob(pattern)),
    system_python: Path | None = _SYSTEM_PYTHON,
) -> Runner | None:
    """Return how to start a window here, or None when there can be none.

    Args:
        own_command: starts this program.
        system: as ``sys.platform``.
        env: the environment.
        version: of this Python.
        frozen: whether this is a frozen build, which must not load the distribution's libraries.
        has_own: whether this Python has GTK's bindings itself.
        holds: whether a folder holds a file.
        system_python: the distribution's Python; None where there is none.
    """
    own = (*own_command, "window")
    if not system.startswith("linux"):
        return Runner(own)
    if not (env.get("DISPLAY") or env.get("WAYLAND_DISPLAY")):
        return None
    if env.get("PYWEBVIEW_GUI", "").lower() == "qt":
        return Runner(own, gui="qt")
    if not frozen and has_own():
        return Runner(own, gui="gtk")
    built = f"gi/_gi.cpython-{version[0]}{version[1]}-*.so"
    for place in _BINDINGS:
        folder = place.format(minor=version[1])
        if not frozen and holds(folder, built):
            return Runner(own, (folder,), "gtk")
    if system_python is not None and system_python.exists() and _may_have_bindings(holds):
        script = str(Path(__file__).with_name("window.py"))
        return Runner((str(system_python), "-I", script), (_pywebview_folder(),), "gtk")
    return None


def _may_have_bindings(holds: Callable[[str, str], bool]) -> bool:
    folders = (place.format(minor="*").lstrip("/") for place in _BINDINGS)
    return any(holds("/", f"{folder}/gi/_gi.cpython-*.so") for folder in folders)


def _pywebview_folder() -> str:
    found = importlib.util.find_spec("webview")
    if found is None or found.origin is None:
        return ""
    return str(Path(found.origin).parent.parent)


def install_line(os_release: Mapping[str, str]) -> str:
    """Return the one line that gives this distribution windows."""
    family = {os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()}
    if family & {"debian", "ubuntu"}:
        return "sudo apt install python3-gi gir1.2-webkit2-4.1"
    if family & {"fedora", "rhel"}:
        return "sudo dnf install python3-gobject webkit2gtk4.1"
    if family & {"suse", "opensuse"}:
        return "sudo zypper install python3-gobject typelib-1_0-WebKit2-4_1"
    if "arch" in family:
        return "sudo pacman -S --needed python-gobject webkit2gtk-4.1"
    return "install PyGObject and WebKitGTK 4.1 from your distribution"


Heard = Callable[[Mapping[str, Any]], None]
"""Takes the events of a window; see ``window``. Called on a thread of the window's own."""


def _ignore(_event: Mapping[str, Any]) -> None:
    return None


@dataclass(slots=True, eq=False)
class _Child:
    process: subprocess.Popen[bytes]
    page: Page
    heard: Heard
    opened: bool = False
    since: float = field(default_factory=time.time)
    """Epoch seconds."""
    dismissed: bool = False
    """Closed by us."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def order(self, **order: str) -> bool:
        """Tell the window something; returns whether it is still there to hear it."""
        pipe = self.process.stdin
        with self.lock:
            if pipe is None or pipe.closed:
                return False
            try:
                pipe.write(msgspec.json.encode(order) + b"\n")
                pipe.flush()
            except OSError:
                return False
        return True

    def let_go(self) -> None:
        """Close the life line; the window then closes itself."""
        self.dismissed = True
        pipe = self.process.stdin
        with self.lock:
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except OSError as error:  # it died with something unread
                    _log.debug("a window was gone already: %s", error)


class Windows:
    """The windows of this process by name. Every method may be called from any thread.

    Args:
        runner: how to start one; None opens everything in the browser.
        environment: of the children.
        browse: opens an address in the browser; returns whether it could.
        tell: takes a sentence for the user.
        line: what installs windows here.
    """

    def __init__(
        self,
        runner: Runner | None,
        environment: Mapping[str, str],
        *,
        browse: Callable[[str], bool] = webbrowser.open,
        tell: Callable[[str], None],
        line: str | None = None,
    ) -> None:
        self._runner = runner
        self._environment = dict(environment)
        self._browse = browse
        self._tell = tell
        self.line = line
        """What installs windows here; None where nothing would."""
        self._lacking = False
        self._told = False
        self._lock = threading.Lock()
        self._children: dict[str, _Child] = {}

    @property
    def possible(self) -> bool:
        """Whether there can be windows here, as far as the last one has shown."""
        return self._runner is not None and not self._lacking

    def browse(self, url: str) -> bool:
        """Open an address in the browser; returns whether it could."""
        return self._browse(url)

    def open(self, name: str, page: Page, heard: Heard = _ignore) -> None:
        """Show a page in the window of that name: a new one, or the one that is there.

        A window that is there is raised, and goes to the page if that is another one.
        """
        with self._lock:
            child = self._children.get(name)
        if child is not None and self._reuse(child, page, heard):
            return
        if self._runner is None or not self._start(self._runner, name, page, heard):
            self._fall_back(page, heard)

    def _reuse(self, child: _Child, page: Page, heard: Heard) -> bool:
        if child.dismissed or child.process.poll() is not None:
            return False
        child.heard = heard
        if page.url.partition("#")[0] != child.page.url.partition("#")[0]:
            child.page = page
            child.order(do="title", text=page.title)
            child.order(do="go", url=page.url)
        return child.order(do="show")

    def _start(self, runner: Runner, name: str, page: Page, heard: Heard) -> bool:
        if page.storage is not None:
            page.storage.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            process = subprocess.Popen(  # noqa: S603 - this program itself
                runner.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,  # toolkits complain there; see the end of ``_attend``
                env=self._environment,
                **_apart(),
            )
        except OSError as error:
            _log.warning("no window can be started: %s", error)
            return False
        child = _Child(process, page, heard)
        with self._lock:
            self._children[name] = child
        first = {
            "url": page.url,
            "title": page.title,
            "width": page.width,
            "height": page.height,
            "storage": None if page.storage is None else str(page.storage),
            "gui": runner.gui,
            "host_in_title": page.host_in_title,
            "menu": page.menu,
            "menu_title": page.menu_title,
            "shift": page.shift,
            "cookie": None if page.cookie is None else asdict(page.cookie),
            "packages": runner.packages,
            "keep": page.keep,
            "watch": page.watch,
        }
        threading.Thread(
            target=self._attend, args=(name, child, first), name=f"window {name}", daemon=True
        ).start()
        return True

    def _attend(self, name: str, child: _Child, first: Mapping[str, Any]) -> None:
        """Give a window its page, pass on what it says, and see to its end."""
        stdin, stdout = child.process.stdin, child.process.stdout
        assert stdin is not None  # noqa: S101 - pipes were asked for
        assert stdout is not None  # noqa: S101
        with child.lock:
            try:
                stdin.write(msgspec.json.encode(first) + b"\n")
                stdin.flush()
            except OSError as error:
                _log.warning("a window ended before it opened: %s", error)
        failure = ""
        noise: deque[str] = deque(maxlen=5)
        with stdout:
            for line in stdout:
                try:
                    event = msgspec.json.decode(line, type=dict[str, Any])
                except msgspec.DecodeError:
                    noise.append(line.decode("utf-8", "replace").strip())
                    continue
                if event.get("event") == "opened":
                    child.opened, self._lacking = True, False
                if event.get("event") == "failed":
                    failure = f"{event.get('why')}: {event.get('text')}"
                    continue
                child.heard(event)
        code = child.process.wait()
        dismissed = child.dismissed
        child.let_go()
        with self._lock:
            if self._children.get(name) is child:
                del self._children[name]
        if not child.opened and not dismissed:
            reason = failure or " ".join((f"exit code {code}.", *noise))
            _log.warning("a window could not open: %s", reason)
            self._fall_back(child.page, child.heard)
        else:
            child.heard({"event": "ended"})

    def _fall_back(self, page: Page, heard: Heard) -> None:
        """Use the browser; what would install windows is said once."""
        self._lacking = True
        if self.line is not None and not self._told:
            self._told = True
            self._tell(f"For windows of its own, Dragoman needs this: {self.line}")
        if self._browse(page.url):
            heard({"event": "browser"})
        else:
            # The fragment may be a ticket; whoever has to type the address signs in there.
            self._tell(f"Open this in a browser: {page.url.partition('#')[0]}")
            heard({"event": "failed"})

    def names(self) -> tuple[str, ...]:
        """Return the names of the windows that are open."""
        with self._lock:
            return tuple(self._children)

    def processes(self) -> tuple[tuple[str, int, float, str], ...]:
        """Return name, process, opening time (epoch seconds) and state of every open window."""
        with self._lock:
            return tuple(
                (name, child.process.pid, child.since, "ready")
                for name, child in self._children.items()
            )

    def order(self, name: str, **order: str) -> bool:
        """Tell a window something (see ``window``); returns whether it is there."""
        with self._lock:
            child = self._children.get(name)
        return child is not None and child.order(**order)

    def close(self, name: str) -> None:
        """Close a window, if it is open."""
        with self._lock:
            child = self._children.get(name)
        if child is not None:
            child.let_go()

    def close_all(self) -> None:
        """Close all windows and wait until they are gone, four seconds at most."""
        with self._lock:
            children = list(self._children.values())
        for child in children:
            child.let_go()
        for child in children:
            try:
                child.process.wait(_CLOSE_S)
            except subprocess.TimeoutExpired:
                child.process.kill()


def _apart() -> dict[str, Any]:
    """Return the arguments that keep Ctrl+C in a terminal, and a console, from the child."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def here_line() -> str | None:
    """Return what installs windows on this machine; None off Linux, where they come with us."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return install_line(platform.freedesktop_os_release())
    except OSError:
        return install_line({})
