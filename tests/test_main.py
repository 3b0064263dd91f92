import subprocess
import sys

import msgspec
import pytest

from app.__main__ import _parse_serve, _Serve, main
from app.build import find_build
from app.cli.launch import own_command, own_environment


@pytest.fixture
def program(tmp_path):
    """Runs the program as a process of its own in an empty home."""
    environment = {n: v for n, v in own_environment().items() if not n.startswith("DRAGOMAN_")}
    environment["DRAGOMAN_HOME"] = str(tmp_path / "home")

    def call(*words):
        return subprocess.run(
            [*own_command(), *words], env=environment, capture_output=True, text=True, timeout=60
        )

    yield call
    call("stop")


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dragoman {find_build().line}\n"


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], _Serve()),
        (["--config", "a.yaml", "--port", "0"], _Serve("a.yaml", 0)),
        (["--config=a=b.yaml", "--port=9000"], _Serve("a=b.yaml", 9000)),
        (["--background"], _Serve(background=True)),
    ],
)
def test_right_calls_of_serve_are_read_by_hand(words, options):
    assert _parse_serve(words) == options


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--port"],
        ["--port", "70000"],
        ["--port", "-1"],
        ["--port", "\u0663"],
        ["--background=1"],
        ["extra"],
    ],
)
def test_other_calls_of_serve_are_left_to_the_full_command_line(words):
    assert _parse_serve(words) is None


@pytest.mark.parametrize("words", [["serve", "--port", "70000"], ["serve", "extra"]])
def test_wrong_call_of_serve_is_explained(words, capsys):
    assert main(words) == 2
    assert "Usage: dragoman serve" in capsys.readouterr().err


def test_serve_imports_neither_typer_nor_rich(tmp_path):
    """Everything that serving needs is imported before the missing file is noticed."""
    missing = str(tmp_path / "missing.yaml")
    done = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "app", "serve", "--config", missing],
        env=own_environment() | {"DRAGOMAN_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    imported = {
        line.rpartition("|")[2].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert done.returncode == 1
    assert "missing.yaml: does not exist" in done.stderr
    assert "tornado" in imported
    assert not {"typer", "rich", "click", "alembic", "keyring"} & imported


def test_the_way_from_start_to_stop(program):
    started = program("start", "--port", "0")
    assert (started.returncode, started.stderr) == (0, "")
    again = program("start")
    assert (again.returncode, again.stdout.startswith("Dragoman runs already at")) == (0, True)

    status = msgspec.json.decode(program("status", "--json").stdout)
    assert (status["running"], status["state"]) == (True, "running")
    assert f"http://localhost:{status['port']}" in started.stdout
    assert "demo-chat" in program("models").stdout

    key = msgspec.json.decode(program("keys", "create", "--label", "way", "--json").stdout)
    assert key["record"]["id"] in program("keys", "list").stdout
    assert program("keys", "revoke", key["record"]["id"]).returncode == 0
    assert "revoked" in program("keys", "list").stdout

    doctor = program("doctor")
    assert (doctor.returncode, "failed" in doctor.stdout) == (0, False), doctor.stdout
    assert "The demo model answered" in doctor.stdout
    assert program("config", "reload").returncode == 0
    assert "listening on" in program("logs").stdout
    assert key["key"] not in program("logs").stdout

    stopped = program("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert program("status").returncode == 3
    assert program("stop").returncode == 0
