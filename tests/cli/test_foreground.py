import os
import subprocess
import sys

import pytest

from app import __version__
from app.cli.launch import end, own_command, own_environment
from app.cli.running import find_running


@pytest.fixture
def run(home, monkeypatch):
    """Starts the program with these words on any free port; it is ended after the test."""
    monkeypatch.setenv("DRAGOMAN_SERVER__PORT", "0")
    started = []

    def call(*words):
        process = subprocess.Popen(
            [*own_command(), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=own_environment(),
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_bare_command_says_where_it_is_and_what_to_try(run, home):
    process = run()
    lines = [process.stdout.readline().rstrip("\n") for _ in range(5)]
    record = find_running(home)
    assert lines == [
        f"Dragoman {__version__} listens at http://localhost:{record.port} (Ctrl+C ends it).",
        "No account yet: the demo models answer.",
        "",
        "Try it:",
        f"  curl localhost:{record.port}/v1/chat/completions -d "
        '\'{"model":"demo-chat","messages":[{"role":"user","content":"Hello"}]}\'',
    ]
    end(record, home)
    assert process.wait(10) == 0


def test_bare_command_beside_an_instance_names_it(dragoman, fake):
    text = f"Dragoman runs already at http://localhost:{fake.port} (process {os.getpid()}).\n"
    assert dragoman() == (0, text, "")
    assert [(method, path) for method, path, *_ in fake.asked] == [("POST", "/admin/show")]


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C goes to a whole console there")
def test_serve_says_one_line_and_ends_at_a_signal(run):
    process = run("serve")
    assert "listens at http://localhost:" in process.stdout.readline()
    process.terminate()
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "")


def test_serve_beside_an_instance_fails(dragoman, fake):
    code, out, err = dragoman("serve", "--port", "0")
    assert (code, out) == (1, "")
    assert err.startswith("error: Dragoman already runs")


def test_wrong_settings_are_told_without_traceback(dragoman, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_SERVER__PROT", "1")
    code, _, err = dragoman("serve")
    assert code == 1
    assert err.startswith("error: environment (DRAGOMAN_SERVER__PROT): server.prot: unknown key")


def test_background_lets_go_of_its_output_once_it_listens(run, home):
    process = run("serve", "--background")
    assert process.stdout.read() == ""  # its end comes while the process goes on
    process.stderr.read()
    assert process.poll() is None
    end(find_running(home), home)
    assert process.wait(10) == 0
