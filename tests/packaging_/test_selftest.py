"""The self-test of a frozen program: what it reads of systems, and that it notices failures."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.packaging_.scripts import load

selftest = load("selftest")


def test_processes_are_read_from_ps():
    text = "    1     0 /sbin/init splash\n  410     1 /usr/lib/dragoman/dragoman window\n  7 1 \n"
    assert selftest.parse_ps(text) == {
        1: (0, "/sbin/init splash"),
        410: (1, "/usr/lib/dragoman/dragoman window"),
        7: (1, ""),
    }


def test_processes_are_read_from_powershell_also_when_there_is_one():
    row = {"ProcessId": 4, "ParentProcessId": 0, "CommandLine": None, "Name": "System"}
    other = {"ProcessId": 8, "ParentProcessId": 4, "CommandLine": "a.exe serve", "Name": "a.exe"}
    assert selftest.parse_cim(json.dumps(row)) == {4: (0, "System")}
    assert selftest.parse_cim(json.dumps([row, other]))[8] == (4, "a.exe serve")
    assert selftest.parse_cim("") == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_this_process_is_among_all():
    parent, command = selftest.processes()[os.getpid()]
    assert parent == os.getppid()
    assert "pytest" in command or "python" in command


def test_a_family_is_followed_to_grandchildren_and_no_further_than_itself():
    table = {1: (0, ""), 2: (1, ""), 3: (2, ""), 4: (3, ""), 9: (1, "")}
    assert selftest.below(2, table) == {3, 4}
    assert selftest.below(9, table) == set()


def test_windows_are_told_from_the_rest_of_a_family():
    table = {
        1: (0, "/usr/bin/dragoman window"),
        2: (0, "/usr/bin/dragoman"),
        3: (2, "/usr/bin/python3 -I /usr/lib/dragoman/_internal/app/desktop/window.py"),
        4: (3, "WebKitWebProcess 7 20"),
        5: (2, "/usr/bin/dragoman window"),
    }
    assert selftest.windows(2, table) == {3, 5}


def test_a_loop_of_reused_numbers_ends():
    assert selftest.below(1, {1: (2, ""), 2: (1, "")}) == {1, 2}


@pytest.mark.parametrize(
    ("env", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", False),
        ({"DISPLAY": ":0", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}, "linux", True),
        ({"WAYLAND_DISPLAY": "w", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}, "linux", True),
        ({}, "win32", True),
        ({}, "darwin", True),
    ],
)
def test_a_desktop_is_display_and_bus_on_linux_and_always_there_elsewhere(env, platform, expected):
    assert selftest.has_desktop(env, platform) is expected


@pytest.mark.parametrize("name", sorted(selftest.DIALECTS))
def test_a_stream_without_its_end_fails(name):
    end = selftest.DIALECTS[name][2].removeprefix("data: ")
    whole = f'data: {{"a": 1}}\n\ndata: {end}\n\n'
    selftest.check_stream(name, whole)
    with pytest.raises(selftest.Failed, match="no whole stream"):
        selftest.check_stream(name, 'data: {"a": 1}\n\ndata: {"b": 2}\n\n')


def test_the_dialects_are_those_of_the_program():
    from app.dialects import DIALECTS

    assert set(selftest.DIALECTS) == set(DIALECTS)


def test_a_program_gets_nothing_of_the_callers_own(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_HOME", "/home/somebody")
    monkeypatch.setenv("DRAGOMAN_PORT", "1")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    program = selftest.Program(Path(sys.executable), tmp_path)
    assert program.environment["DRAGOMAN_HOME"] == str(tmp_path)
    assert not {"DRAGOMAN_PORT", "PYTHONPATH"} & set(program.environment)
    assert json.loads((tmp_path / "data" / "desktop.json").read_text()) == {"welcomed": True}


def test_a_program_that_fails_is_told_with_what_it_said(tmp_path):
    program = selftest.Program(Path(sys.executable), tmp_path)
    with pytest.raises(selftest.Failed, match=r"ended with 3: oh"):
        program.run("-c", "import sys; print('oh'); sys.exit(3)")


def test_a_program_that_ends_early_is_told(tmp_path):
    program = selftest.Program(Path(sys.executable), tmp_path)
    with program.running("-c", "print('no port')") as process:
        process.wait()
        with pytest.raises(selftest.Failed, match="no port"):
            program.healthy(process)


def test_wrong_words_are_answered_with_the_usage(capsys):
    assert selftest.main([]) == 2
    assert "usage:" in capsys.readouterr().err


def test_a_desktop_that_was_asked_for_and_is_not_there_is_a_failure(monkeypatch, capsys):
    monkeypatch.setattr(selftest, "has_desktop", lambda: False)
    assert selftest.main(["--desktop", "x"]) == 1
    assert "no display" in capsys.readouterr().err
