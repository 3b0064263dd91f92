import functools
import os
import select
import shutil
import subprocess
import sys

import pytest

collect_ignore = (
    []
    if sys.platform == "linux"
    else [
        "test_dbusmenu.py",
        "test_program.py",
        "test_sni.py",
    ]  # these need a session bus's library
)


LOOK = """
import sys
sys.path.extend(sys.argv[1:])
import gi
gi.require_version("WebKit2", "4.1")
"""


@functools.cache
def has_web_view(runner):
    """Say whether windows can open here: the bindings may be there without what they bind."""
    if runner is None:
        return False
    python = [sys.executable] if runner.command[0] == sys.executable else [*runner.command[:2]]
    done = subprocess.run([*python, "-c", LOOK, *runner.packages], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def bus(monkeypatch):
    """A private session bus, which is the one of this process for the time of the test."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not installed")
    from tests.desktop.session_bus import PrivateBus

    private = PrivateBus()
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", private.address)
    yield private
    private.close()


@pytest.fixture(scope="session")
def screen():
    """The name of an X display of our own."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    readable, writable = os.pipe()
    process = subprocess.Popen(
        [
            "Xvfb",
            "-displayfd",
            str(writable),
            "-screen",
            "0",
            "1280x900x24",
            "-nolisten",
            "tcp",
            "-noreset",
        ],
        pass_fds=(writable,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writable)
    with open(readable) as pipe:
        ready, _, _ = select.select([pipe], [], [], 20)
        assert ready, "Xvfb did not start"
        number = pipe.readline().strip()  # the whole line: Xvfb ends when it cannot write it
    yield f":{number}"
    process.terminate()
    process.wait()
