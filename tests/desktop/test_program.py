"""The desktop half as one: a scripted proxy, a real session bus, a stub panel, real clicks."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from app.cli.launch import own_environment
from app.desktop.desktop import Parts
from app.desktop.notify import Notifier
from app.desktop.program import run, system_parts, system_tray
from app.desktop.windows import Windows
from app.errors import AppError, ConfigError
from app.paths import Paths
from tests.desktop import statuses
from tests.desktop.scripted_program import ScriptedProgram
from tests.desktop.session_bus import Client, Panel


def parts(tmp_path, copied, **changes):
    fields = {
        "windows": Windows(None, {}, browse=lambda url: True, tell=copied.append),
        "switch": None,
        "copy": copied.append,
        "command": ["dragoman"],
        "preferences_file": tmp_path / "desktop.json",
        "storage": tmp_path / "windows",
        "theme": "dark",
        "say": copied.append,
    }
    return Parts(**(fields | changes))


class Life:
    """A program that runs on a thread, and how it ended."""

    def __init__(self, program, its_parts, make_tray=lambda desktop: system_tray("sni", desktop)):
        self.program = program
        self.code = self.error = None
        self._arguments = (program.serve, its_parts, make_tray)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            self.code = run(*self._arguments)
        except BaseException as error:
            self.error = error

    def join(self):
        self.thread.join(15)
        assert not self.thread.is_alive()


@pytest.fixture
def panel(bus):
    found = Panel(bus.address)
    yield found
    found.close()


@pytest.fixture
def copied():
    return []


@pytest.fixture
def life(panel, tmp_path, copied):
    found = Life(ScriptedProgram(), parts(tmp_path, copied))
    assert found.program.listening.wait(10)
    assert panel.visible.wait(10)
    yield found
    if found.thread.is_alive():
        found.program.end()
    found.join()


@pytest.fixture
def client(bus, panel, life):
    found = Client(bus.address, panel.items[0])
    yield found
    found.close()


def menu_with(client, panel, word):
    """Return the menu once it has an entry that begins with a word."""
    for _ in range(100):
        panel.updated.clear()
        menu = client.menu()
        if any(text.startswith(word) for text in menu.texts()):
            return menu
        assert panel.updated.wait(10), menu.texts()
    raise AssertionError(menu.texts())


@pytest.mark.gui
def test_click_in_the_real_menu_reaches_the_proxy(client, panel, life):
    client.click(menu_with(client, panel, "Pause").find("Pause"), grouped=True)
    assert life.program.wait("pause") == ("pause", "")


@pytest.mark.gui
def test_change_of_the_proxy_reaches_menu_and_notifications(client, panel, life):
    menu_with(client, panel, "Ready")
    wrong = statuses.status("attention", reason="line 3: wrong", problems=("line 3: wrong",))
    life.program.become(wrong)
    assert menu_with(client, panel, "Needs attention").find("line 3: wrong").enabled
    notice = panel.notice("The settings are refused")
    # The library knows a notification's number only a moment after the service does, and nobody
    # can see when; a person is never that fast.
    with life.program.changed:
        for _ in range(100):
            panel.press(notice)
            if life.program.changed.wait_for(lambda: life.program.asked, 0.1):
                break
    assert life.program.asked[0] == ("dashboard", "settings")


@pytest.mark.gui
def test_new_key_is_copied_and_said(client, panel, life, copied):
    client.click(menu_with(client, panel, "New key…").find("New key…"))
    panel.notice("The new key is on the clipboard")
    assert copied == ["dg-new"]


@pytest.mark.gui
def test_quit_ends_proxy_and_icon(client, panel, life):
    client.click(menu_with(client, panel, "Quit").find("Quit"))
    life.join()
    assert life.program.stopping.is_set()
    assert (life.code, life.error) == (7, None)


@pytest.mark.gui
def test_proxy_that_ends_takes_the_icon_along(life, client):
    life.program.end()
    life.join()
    assert life.code == 7


@pytest.mark.gui
def test_end_of_the_session_ends_the_proxy(life, bus):
    bus.close()
    life.join()
    assert life.program.stopping.is_set()


@pytest.mark.gui
def test_second_start_is_shown_the_dashboard(life):
    life.program.show()
    assert life.program.wait("dashboard") == ("dashboard", "")


@pytest.mark.gui
def test_menu_answers_while_the_proxy_is_busy(client, life):
    """The icon has a thread of its own; only the interpreter's lock is shared."""
    import time

    busy = threading.Event()

    async def burn():
        while not busy.is_set():
            sum(range(20_000))

    import asyncio

    asyncio.run_coroutine_threadsafe(burn(), life.program.loop)
    try:
        slowest = 0.0
        for _ in range(10):
            begun = time.perf_counter()
            client.menu()
            slowest = max(slowest, time.perf_counter() - begun)
        assert slowest < 0.2
    finally:
        busy.set()


@pytest.mark.gui
def test_proxy_that_cannot_start_ends_all_and_says_why(panel, tmp_path, copied):
    program = ScriptedProgram()
    program.error = ConfigError([])
    program.error = AppError("Port 8317 is taken.", code="port_taken")
    life = Life(program, parts(tmp_path, copied))
    life.join()
    assert life.error is program.error
    panel.notice("Port 8317 is taken.")


class Quiet(Notifier):
    async def send(self, notice):
        return True


def test_without_a_tray_the_proxy_runs_on(tmp_path, copied):
    life = Life(
        ScriptedProgram(), parts(tmp_path, copied, make_notifier=Quiet), lambda desktop: None
    )
    assert life.program.listening.wait(10)
    assert life.thread.is_alive()
    life.program.end()
    life.join()
    assert life.code == 7


class BrokenTray:
    """Fails at what it is told to."""

    def __init__(self, program):
        self.program = program

    def show(self, face):
        pass

    def stop(self):
        pass

    def run(self, on_signal):
        assert self.program.listening.wait(10)
        raise OSError("the panel is gone")


def until(holds):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("early", [True, False])
def test_tray_that_breaks_leaves_the_proxy_alone(tmp_path, copied, caplog, early):
    program = ScriptedProgram()

    def make(desktop):
        if early:
            raise ImportError("no library")
        return BrokenTray(program)

    life = Life(program, parts(tmp_path, copied, make_notifier=Quiet), make)
    assert program.listening.wait(10)
    until(lambda: "tray icon" in caplog.text)
    assert not program.stopping.is_set()
    program.end()
    life.join()
    assert life.code == 7


def test_no_bus_hangs_nowhere(tmp_path, copied, monkeypatch, caplog):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    life = Life(ScriptedProgram(), parts(tmp_path, copied, make_notifier=Quiet))
    assert life.program.listening.wait(10)
    life.program.end()
    life.join()
    assert life.code == 7
    assert "the tray icon broke" in caplog.text


def test_headless_has_no_tray():
    assert system_tray("headless", None) is None


def test_parts_of_this_system_keep_their_things_in_the_data_folder(tmp_path):
    paths = Paths.find({"DRAGOMAN_HOME": str(tmp_path)})
    found = system_parts(paths, "darwin", command=["x"], environment={}, say=print)
    assert found.preferences_file.parent == found.storage.parent == paths.data
    assert found.theme == "template"


PROGRAM = """
import sys
from app.desktop.program import run, system_tray
from tests.desktop.scripted_program import ScriptedProgram
from tests.desktop.test_program import parts
from pathlib import Path
program = ScriptedProgram()
code = run(program.serve, parts(Path(sys.argv[1]), []), lambda d: system_tray("sni", d))
print("ended", program.stopping.is_set(), flush=True)
sys.exit(code)
"""


@pytest.mark.gui
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_ends_the_program_cleanly(bus, panel, tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env=own_environment() | {"DBUS_SESSION_BUS_ADDRESS": bus.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert panel.visible.wait(15)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=15)
    assert (process.returncode, out, err) == (7, "ended True\n", "")
