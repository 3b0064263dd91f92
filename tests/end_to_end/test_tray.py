"""The whole program on a desktop: its own process, a session bus, a panel that reads and clicks."""

import json
import signal
import time
from unittest.mock import ANY

import pytest

from app import __version__
from tests.desktop.conftest import bus, screen  # noqa: F401 - fixtures
from tests.end_to_end.tray import Desk, Stream, menu_with, until, windows_of

pytestmark = pytest.mark.gui

STREAMS = 200
PATIENCE_S = 5.0
"""For an answer of the menu on a machine that does other things, too; ``tests/bench/desktop.py``
measures it on a quiet one, where the limit is 200 ms."""
LONG = " ".join(["word"] * 200)
"""The demo repeats it, a word a second."""


@pytest.fixture
def desk(bus, tmp_path):  # noqa: F811
    found = Desk(tmp_path, bus)
    found.welcome()
    yield found
    found.close()


@pytest.fixture
def bare(tmp_path):
    """What makes a session that lacks something; ends it, too."""
    made = []

    def make(*arguments, **options):
        made.append(Desk(tmp_path, *arguments, **options))
        made[-1].welcome()
        return made[-1]

    yield make
    for found in made:
        found.close()


@pytest.fixture
def program(desk):
    process = desk.start()
    process.record = desk.ready(process)
    assert desk.panel.visible.wait(20)
    return process


@pytest.fixture
def client(desk, program):
    found = desk.client()
    yield found
    found.close()


def ended(process, code=0):
    """Wait for the end; return what was said on the way."""
    out, err = process.communicate(timeout=40)
    assert process.returncode == code, (out, err)
    assert "Traceback" not in err, err
    return out + err


def test_menu_shows_the_real_program(desk, program, client):
    menu = menu_with(client, desk.panel, "Ready")
    assert menu.texts()[0] == f"Ready at localhost:{program.record.port}"
    assert menu.find("Accounts", "No account yet: the demo models answer").enabled is False
    assert menu.find("Models", "Demo", "demo-chat").text.startswith("demo-chat → ")
    assert menu.find("About").texts()[0] == f"Dragoman {__version__} (source)"
    client.click(menu.find("Models", "Default model", "demo-chat"))
    menu_with(client, desk.panel, "Ready")
    until(
        lambda: (
            client.menu()
            .find("Models", "Default model", "demo-chat")
            .properties.get("toggle-state")
        ),
        "the default model is not marked",
    )
    assert "demo-chat" in (desk.paths.config / "config.yaml").read_text()
    client.click(menu.find("Pause"), grouped=True)
    assert menu_with(client, desk.panel, "Paused").find("Resume").enabled
    client.click(client.menu().find("Start at sign-in"))
    entry = desk.home / ".config" / "autostart" / "dragoman.desktop"
    until(entry.exists, "no desktop entry was written")
    client.click(client.menu().find("Quit"))
    ended(program)


def test_menu_answers_while_two_hundred_streams_run(desk, program, client):
    menu_with(client, desk.panel, "Ready")
    streams = []
    try:
        streams += [Stream(program.record.port, "demo-slow", LONG) for _ in range(STREAMS)]
        for stream in streams:
            stream.begun()
        menu_with(client, desk.panel, f"{STREAMS} answers running")
        slowest = 0.0
        for _ in range(50):
            begun = time.perf_counter()
            client.menu()
            slowest = max(slowest, time.perf_counter() - begun)
        assert slowest < PATIENCE_S
        client.click(client.menu().find("Pause"))
        menu = menu_with(client, desk.panel, "Paused")
        assert menu.texts()[-1] == f"Quit (waits 10 s at most for {STREAMS} answers)"
    finally:
        for stream in streams:
            stream.close()


def test_quit_waits_for_an_answer_and_says_so(desk, program, client):
    stream = Stream(program.record.port, "demo-slow", LONG)
    try:
        stream.begun()
        client.click(menu_with(client, desk.panel, "1 answer running").find("Quit"))
        desk.panel.notice("It ends after 1 answer, in 10 s at most.")
    finally:
        stream.close()
    ended(program)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_ends_it_cleanly(program, number):
    program.send_signal(number)
    ended(program)


def test_end_of_the_desktop_session_ends_it_cleanly(desk, program, bus):  # noqa: F811
    bus.close()
    ended(program)


def assert_commands_work(desk, process):
    """Whatever this session has: the running program is asked, shown and ended."""
    record = desk.ready(process)
    said = desk.run("status", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["state"] == "running"
    opened = desk.run("open", "--print")
    assert opened.returncode == 0, opened.stderr
    assert f":{record.port}/admin#ticket=" in opened.stdout
    stopped = desk.run("stop")
    assert stopped.returncode == 0, stopped.stderr
    return ended(process)


def test_commands_work_with_a_tray(desk):
    process = desk.start()
    assert desk.panel.visible.wait(20)
    assert_commands_work(desk, process)


def test_without_a_panel_it_says_so_once_and_opens_the_dashboard(bare, bus):  # noqa: F811
    desk = bare(bus, icons=False)
    process = desk.start()
    until(lambda: desk.opened.exists() and desk.opened.read_text(), "no dashboard was opened")
    assert "/admin#ticket=" in desk.opened.read_text()
    said = assert_commands_work(desk, process)
    assert said.count("This desktop shows no tray icons") == 1
    assert [notice[1:3] for notice in desk.panel.notices] == [("Dragoman", ANY)]
    assert "shows no tray icons" in desk.panel.notices[0][2]


def test_without_a_session_bus_it_runs_headless(bare):
    desk = bare()
    assert "There is no session bus. Dragoman runs without a tray icon." in assert_commands_work(
        desk, desk.start()
    )


def test_without_a_display_it_runs_headless(bare, bus):  # noqa: F811
    desk = bare(bus, display=None)
    assert "There is no display. Dragoman runs without a tray icon." in assert_commands_work(
        desk, desk.start()
    )


def test_second_start_shows_the_first(desk, program):
    second = desk.run()
    assert second.returncode == 0
    assert f"runs already at http://localhost:{program.record.port}" in second.stdout
    until(lambda: desk.opened.exists() and desk.opened.read_text(), "no dashboard was opened")
    assert len(desk.panel.items) == 1


def test_program_without_a_tray_is_taken_over_from(desk):
    first = desk.start("serve")
    old = desk.ready(first)
    second = desk.start()
    assert desk.panel.visible.wait(20)
    until(lambda: desk.opened.exists() and desk.opened.read_text(), "no dashboard was opened")
    client = desk.client()
    desk.panel.visible.clear()
    try:
        menu = menu_with(client, desk.panel, "Runs without a tray icon")
        assert desk.panel.notice("started without a tray icon")[3][-1] == "Take over"
        client.click(menu.find("Take over"))
        ended(first)
        assert "runs already" in second.stdout.readline()
        new = desk.ready(second)
        assert (new.pid, old.pid) == (second.pid, first.pid)
        assert desk.panel.visible.wait(20)
    finally:
        client.close()
    again = desk.client(-1)
    try:
        assert menu_with(again, desk.panel, "Ready").find("Quit").enabled
        again.click(again.menu().find("Quit"))
    finally:
        again.close()
    ended(second)


def test_offer_to_take_over_may_be_left(desk):
    first = desk.start("serve")
    desk.ready(first)
    second = desk.start()
    assert desk.panel.visible.wait(20)
    client = desk.client()
    try:
        client.click(menu_with(client, desk.panel, "Runs without").find("Quit"))
        ended(second)
    finally:
        client.close()
    assert first.poll() is None


def test_first_run_opens_the_first_steps_in_a_window_and_later_ones_do_not(
    bus,  # noqa: F811
    screen,  # noqa: F811
    tmp_path,
):
    desk = Desk(tmp_path, bus, display=screen)
    try:
        process = desk.start()
        desk.ready(process)
        until(
            lambda: "Welcome to Dragoman" in windows_of(screen),
            lambda: (windows_of(screen), desk.paths.log_file.read_text()[-2000:]),
        )
        process.terminate()
        ended(process)
        until(lambda: "Welcome to Dragoman" not in windows_of(screen), "it is still open")
        desk.panel.visible.clear()
        process = desk.start()
        desk.ready(process)
        assert desk.panel.visible.wait(20)
        client = desk.client(-1)
        try:
            client.click(menu_with(client, desk.panel, "Ready").find("Open dashboard"))
        finally:
            client.close()
        until(lambda: "Dragoman" in windows_of(screen), "no dashboard was opened")
        assert "Welcome to Dragoman" not in windows_of(screen)
    finally:
        desk.close()
