import subprocess
import sys

import pytest

from app.cli.launch import own_environment
from app.desktop import start
from app.desktop.autostart import MARK
from app.paths import Paths
from tests.desktop.scripted_program import ScriptedProgram


@pytest.mark.skipif(sys.platform != "linux", reason="others have a display")
def test_reason_is_named_where_there_is_no_tray(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert start.missing() == "There is no display."


def test_start_at_sign_in_is_told_from_a_persons(monkeypatch):
    monkeypatch.delenv(MARK, raising=False)
    assert start.by_hand()
    monkeypatch.setenv(MARK, "1")
    assert not start.by_hand()


@pytest.mark.skipif(sys.platform != "linux", reason="others have a display")
def test_offer_needs_a_tray(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    offered = start.offer(
        "http://localhost:8317", open_dashboard=print, is_gone=lambda: False, say=print
    )
    assert offered is False


@pytest.mark.skipif(sys.platform != "linux", reason="others have a display")
def test_without_a_display_the_proxy_runs_alone(monkeypatch, tmp_path):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    program = ScriptedProgram()

    def serve(attach):
        def and_end(attached):
            attach(attached)
            attached.stop()

        return program.serve(and_end)

    paths = Paths.find({"DRAGOMAN_HOME": str(tmp_path)})
    assert start.start(serve, paths, command=["x"], environment={}, say=print) == 7


def test_looking_around_loads_no_gui_library():
    code = (
        "import sys; from app.desktop import start; start.missing();"
        "print(sorted({'PIL', 'pystray', 'webview', 'desktop_notifier', 'gi'} & set(sys.modules)))"
    )
    environment = own_environment() | {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
