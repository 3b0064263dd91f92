import os
import queue
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.launch import own_command, own_environment
from app.desktop.windows import Cookie, Page, Runner, Windows, find_runner, here_line, install_line
from tests.desktop.conftest import has_web_view
from tests.desktop.page_server import PageServer

LINUX = {"system": "linux", "env": {"DISPLAY": ":0"}, "version": (3, 11), "frozen": False}
OWN = ["dragoman"]


def runner(**changes):
    known = {"has_own": lambda: False, "holds": lambda *_: False, "system_python": None}
    return find_runner(OWN, **(LINUX | known | changes))


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_other_systems_bring_their_web_view(system):
    assert runner(system=system, env={}) == Runner(("dragoman", "window"))


def test_no_display_means_no_window():
    assert runner(env={}) is None


def test_own_bindings_are_used_first():
    assert runner(has_own=lambda: True) == Runner(("dragoman", "window"), gui="gtk")


def test_bindings_of_the_same_python_are_taken_in():
    def holds(folder, pattern):
        return (folder, pattern) == ("/usr/lib/python3/dist-packages", "gi/_gi.cpython-311-*.so")

    found = runner(holds=holds)
    assert found == Runner(("dragoman", "window"), ("/usr/lib/python3/dist-packages",), "gtk")
    assert runner(holds=holds, frozen=True) is None


def test_other_version_runs_under_the_distributions_python(tmp_path):
    python = tmp_path / "python3"
    python.touch()
    found = runner(
        version=(3, 14),
        holds=lambda folder, pattern: "cpython-*" in pattern,
        system_python=python,
    )
    assert found.command[:2] == (str(python), "-I")
    assert Path(found.command[2]).name == "window.py"
    assert Path(found.packages[0], "webview").is_dir()


def test_qt_only_on_request():
    found = runner(env={"WAYLAND_DISPLAY": "w", "PYWEBVIEW_GUI": "qt"})
    assert found == Runner(("dragoman", "window"), gui="qt")


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ({"ID": "debian"}, "apt install python3-gi"),
        ({"ID": "mint", "ID_LIKE": "ubuntu debian"}, "apt install"),
        ({"ID": "fedora"}, "dnf install"),
        ({"ID": "opensuse-tumbleweed", "ID_LIKE": "opensuse suse"}, "zypper install"),
        ({"ID": "arch"}, "pacman -S"),
        ({}, "from your distribution"),
    ],
)
def test_line_that_installs_windows(release, words):
    assert words in install_line(release)


def test_line_is_only_for_linux():
    assert (here_line() is None) == (sys.platform != "linux")


class Heard:
    """Events of a window, and what else it led to."""

    def __init__(self):
        self.events = queue.Queue()
        self.browsed = []
        self.told = []
        self.can_browse = True

    def __call__(self, event):
        self.events.put(event)

    def browse(self, url):
        self.browsed.append(url)
        return self.can_browse

    def wait(self, name):
        """Return the next event of that name; others are skipped."""
        while True:
            event = self.events.get(timeout=8)
            if event["event"] == name:
                return event


def stand_in(tmp_path, script):
    """A runner whose windows are a script of ours."""
    file = tmp_path / "stand_in.py"
    file.write_text(script)
    return Runner((sys.executable, "-I", str(file)))


@pytest.fixture
def make():
    """Makes windows, and closes them in the end."""
    made = []

    def windows(found, heard, line="sudo install it", environment=os.environ):
        made.append(
            Windows(found, environment, browse=heard.browse, tell=heard.told.append, line=line)
        )
        return made[-1]

    yield windows
    for each in made:
        each.close_all()


OBEDIENT = """
import json, sys
spec = json.loads(sys.stdin.readline())
print(json.dumps({"event": "opened", "spec": spec}), flush=True)
print("noise of a toolkit", flush=True)
for line in sys.stdin:
    print(json.dumps({"event": "order", **json.loads(line)}), flush=True)
print(json.dumps({"event": "closed"}), flush=True)
"""


def test_page_goes_by_the_life_line_and_never_by_arguments(make, tmp_path):
    heard = Heard()
    windows = make(stand_in(tmp_path, OBEDIENT), heard)
    page = Page(
        "http://x/#ticket", "T", tmp_path / "kept", cookie=Cookie("c", "h"), menu=(("A", "a"),)
    )
    windows.open("w", page, heard)
    spec = heard.wait("opened")["spec"]
    assert spec["url"] == "http://x/#ticket"
    assert spec["storage"] == str(tmp_path / "kept")
    assert spec["cookie"] == {"name": "c", "host": "h", "mark": "", "mark_host": "", "at": ""}
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700


def test_second_open_raises_the_window_and_goes_on(make, tmp_path):
    heard = Heard()
    windows = make(stand_in(tmp_path, OBEDIENT), heard)
    windows.open("w", Page("http://x/#one", "T"), heard)
    heard.wait("opened")
    windows.open("w", Page("http://x/#two", "T"), heard)
    assert heard.wait("order")["do"] == "show"
    windows.open("w", Page("http://x/other#3", "U"), heard)
    assert heard.wait("order") == {"event": "order", "do": "title", "text": "U"}
    assert heard.wait("order") == {"event": "order", "do": "go", "url": "http://x/other#3"}
    assert heard.wait("order")["do"] == "show"
    assert windows.names() == ("w",)
    assert windows.order("w", do="show")
    assert not windows.order("none", do="show")


def test_closed_window_can_be_opened_again(make, tmp_path):
    heard = Heard()
    windows = make(stand_in(tmp_path, OBEDIENT), heard)
    windows.open("w", Page("http://x/", "T"), heard)
    heard.wait("opened")
    windows.close("w")
    heard.wait("closed")
    heard.wait("ended")
    windows.open("w", Page("http://x/", "T"), heard)
    heard.wait("opened")
    assert heard.browsed == []


@pytest.mark.parametrize(
    "script",
    [
        "import sys; sys.exit(1)",
        'import sys; sys.stdin.readline(); print(\'{"event": "failed", "why": "no_library"}\')',
    ],
)
def test_window_that_cannot_open_becomes_a_page_of_the_browser(make, tmp_path, script):
    heard = Heard()
    windows = make(stand_in(tmp_path, script), heard)
    for _ in range(2):
        windows.open("w", Page("http://x/#ticket", "T"), heard)
        heard.wait("browser")
    assert heard.browsed == ["http://x/#ticket"] * 2
    assert heard.told == ["For windows of its own, Dragoman needs this: sudo install it"]


def test_without_a_runner_everything_opens_in_the_browser(make):
    heard = Heard()
    make(None, heard, line=None).open("w", Page("http://x/", "T"), heard)
    assert (heard.browsed, heard.told) == (["http://x/"], [])


def test_whether_windows_are_possible_is_learned(make, tmp_path):
    heard = Heard()
    assert not make(None, heard).possible
    windows = make(stand_in(tmp_path, "import sys; sys.exit(1)"), heard)
    assert windows.possible
    windows.open("w", Page("http://x/", "T"), heard)
    heard.wait("browser")
    assert (windows.possible, windows.line) == (False, "sudo install it")
    windows._runner = stand_in(tmp_path, OBEDIENT)
    windows.open("w", Page("http://x/", "T"), heard)
    heard.wait("opened")
    assert windows.possible


def test_address_is_opened_in_the_browser(make):
    heard = Heard()
    assert make(None, heard).browse("http://x/")
    assert heard.browsed == ["http://x/"]


def test_program_that_is_missing_falls_back(make, tmp_path):
    heard = Heard()
    make(Runner((str(tmp_path / "none"),)), heard).open("w", Page("http://x/", "T"), heard)
    assert heard.browsed == ["http://x/"]


def test_without_a_browser_the_address_is_told_without_its_ticket(make):
    heard = Heard()
    heard.can_browse = False
    make(None, heard, line=None).open("w", Page("http://x/#ticket", "T"), heard)
    heard.wait("failed")
    assert heard.told == ["Open this in a browser: http://x/"]


# Real windows


@pytest.fixture
def site():
    server = PageServer()
    yield server
    server.close()


@pytest.fixture
def environment(screen, tmp_path):
    found = own_environment() | {"DISPLAY": screen, "HOME": str(tmp_path), "NO_AT_BRIDGE": "1"}
    found["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nonexistent"
    for name in ("WAYLAND_DISPLAY", "PYWEBVIEW_GUI"):
        found.pop(name, None)
    return found


@pytest.fixture
def real(screen):
    found = find_runner(own_command(), env={"DISPLAY": screen})
    if not has_web_view(found):
        pytest.skip(f"there is no web view; {here_line()}")
    return found


@pytest.mark.gui
def test_window_shows_its_page_and_keeps_its_storage(real, environment, site, make, tmp_path):
    heard = Heard()
    windows = make(real, heard, environment=environment)
    page = Page(f"{site.address}/#ticket-1", "Dragoman", tmp_path / "kept")
    windows.open("w", page, heard)
    heard.wait("opened")
    assert site.wait("/saw") == "/saw?hash=ticket-1&stored=nothing"
    assert heard.wait("loaded")["url"] == f"{site.address}/"
    windows.close("w")
    heard.wait("ended")
    site.asked.clear()
    windows.open("w", page, heard)
    assert site.wait("/saw") == "/saw?hash=ticket-1&stored=yes"
    assert heard.browsed == []


@pytest.mark.gui
def test_nothing_is_put_into_a_page(real, environment, site, make, tmp_path):
    heard = Heard()
    page = Page(f"{site.address}/", "T", tmp_path / "kept")
    make(real, heard, environment=environment).open("w", page, heard)
    heard.wait("loaded")
    assert site.wait("/later") == "/later?injected=undefined"


@pytest.mark.gui
def test_page_that_cannot_be_reached_is_told(real, environment, site, make):
    heard = Heard()
    address = site.address
    windows = make(real, heard, environment=environment)
    windows.open("w", Page(f"{address}/", "T"), heard)
    heard.wait("loaded")
    site.close()
    windows.order("w", do="go", url=f"{address}/gone")
    assert heard.wait("unreachable")["host"] == "127.0.0.1"


@pytest.mark.gui
def test_cookie_that_is_waited_for_is_told(real, environment, site, make):
    heard = Heard()
    page = Page(f"{site.address}/cookie", "T", cookie=Cookie("__client", "127.0.0.1"))
    make(real, heard, environment=environment).open("w", page, heard)
    assert heard.wait("cookie")["value"] == "secret-value"


@pytest.mark.gui
def test_window_runs_under_the_distributions_python(screen, environment, site, make, tmp_path):
    found = find_runner(
        own_command(), env={"DISPLAY": screen}, version=(3, 99), has_own=lambda: False
    )
    if not has_web_view(found):
        pytest.skip("the distribution has no web view for its Python")
    assert "-I" in found.command
    heard = Heard()
    windows = make(found, heard, environment=environment)
    windows.open("w", Page(f"{site.address}/#t", "T", tmp_path / "kept"), heard)
    assert site.wait("/saw") == "/saw?hash=t&stored=nothing"


@pytest.mark.gui
def test_killed_window_is_heard_of(real, environment, site, make):
    heard = Heard()
    windows = make(real, heard, environment=environment)
    windows.open("w", Page(f"{site.address}/", "T"), heard)
    heard.wait("loaded")
    windows._children["w"].process.kill()
    heard.wait("ended")
    assert (windows.names(), heard.browsed) == ((), [])


PARENT = """
import os, sys
from app.desktop.windows import *
windows = Windows(find_runner(sys.argv[2:]), os.environ, tell=print)
windows.open("w", Page(sys.argv[1], "T"), lambda event: print(event["event"], flush=True))
print(windows._children["w"].process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.gui
def test_no_window_outlives_a_parent_that_was_killed(real, environment, site):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, f"{site.address}/", *own_command()],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    child = os.pidfd_open(int(parent.stdout.readline()))
    try:
        assert parent.stdout.readline() == "opened\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
        ready, _, _ = select.select([child], [], [], 10)  # readable once it has ended
        assert ready, "the window is still there"
    finally:
        os.close(child)
        parent.stdin.close()
        parent.stdout.close()
