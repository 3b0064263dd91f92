import os
import subprocess
import sys
import time

import pytest

from app import instance
from app.cli.launch import end, launch, own_command, own_environment
from app.cli.running import client_of
from app.errors import AppError

STAND_IN = (sys.executable, "-P", "-m", "tests.cli.fake_instance")


@pytest.fixture
def started(home):
    launched = launch(["--port", "0"], home, command=STAND_IN)
    yield launched
    if launched.process.poll() is None:
        launched.process.kill()
    launched.process.wait()


def test_launch_returns_a_healthy_instance_with_its_options(started, home):
    assert instance.read(home.data, home.runtime).record == started.record
    healthy = client_of(started.record).get("/healthz")
    assert healthy["words"] == ["serve", "--background", "--port", "0"]


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX's")
def test_launched_instance_outlives_the_terminal(started):
    assert os.getsid(started.record.pid) != os.getsid(0)


def test_end_asks_and_returns_once_the_folder_is_free(started, home):
    end(started.record, home)
    assert instance.read(home.data, home.runtime).state == "none"
    assert started.process.wait(10) == 0


def test_error_of_the_child_is_raised_as_it_was_said(home):
    with pytest.raises(AppError) as caught:
        launch(["--fail"], home, command=STAND_IN)
    error = caught.value
    assert (error.code, error.message, error.hint) == (
        "start_failed",
        "The port is taken.",
        "Take another.",
    )


def test_code_of_the_childs_error_is_taken_over(home):
    with pytest.raises(AppError) as caught:
        launch(["--taken"], home, command=STAND_IN)
    error = caught.value
    assert (error.code, error.message, error.hint) == ("port_in_use", "It is taken.", "Stop it.")


def test_crash_of_the_child_is_told_by_its_last_lines(home):
    with pytest.raises(AppError, match=r"exit code 1\.\nsomething broke") as caught:
        launch(["--crash"], home, command=STAND_IN)
    assert caught.value.code == "start_failed"


def test_slow_start_is_told_and_left_alone(home):
    with pytest.raises(AppError) as caught:
        launch(["--hang"], home, timeout_s=0.2, command=STAND_IN)
    assert caught.value.code == "start_slow"
    deadline = time.monotonic() + 10
    while (found := instance.read(home.data, home.runtime)).state != "live":
        assert time.monotonic() < deadline
    assert f"process {found.record.pid}" in caught.value.message
    end(found.record, home)


def test_end_gives_up_on_an_instance_that_goes_on(home, fake):
    fake.answers["POST /admin/stop"] = (200, {"stopping": True})
    fake._instance.release = lambda: None  # it answers, and keeps its folder
    try:
        with pytest.raises(AppError) as caught:
            end(fake.record, home, timeout_s=0.1)
    finally:
        del fake._instance.release
    assert caught.value.code == "stop_slow"
    assert instance.read(home.data, home.runtime).state == "live"


def test_own_command_finds_the_program_and_nothing_of_the_current_folder(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("print('somebody else')")
    done = subprocess.run(
        [*own_command(), "--version"],
        cwd=tmp_path,
        env=own_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("dragoman ")


def test_environment_is_handed_on_and_a_python_path_kept(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("SOME_KEY", "value")
    environment = own_environment()
    assert environment["PYTHONPATH"].split(os.pathsep)[-1] == "elsewhere"
    assert environment["SOME_KEY"] == "value"
