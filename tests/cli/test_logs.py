import signal
import subprocess
import sys

import pytest

from app.cli.launch import own_command, own_environment


@pytest.fixture
def log_file(home):
    home.log_file.parent.mkdir(parents=True)
    home.log_file.write_text("".join(f"line {n}\n" for n in range(100)))
    return home.log_file


def test_no_log_yet_says_what_writes_it(dragoman, home):
    code, _, err = dragoman("logs")
    assert code == 1
    assert str(home.log_file) in err


def test_last_lines_are_shown(dragoman, log_file):
    assert dragoman("logs", "-n", "2") == (0, "line 98\nline 99\n", "")
    assert dragoman("logs").out.count("\n") == 50
    assert dragoman("logs", "-n", "0").out == ""


def test_negative_count_is_a_wrong_call(dragoman, log_file):
    assert dragoman("logs", "-n", "-1").code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C goes to a whole console there")
def test_following_shows_new_lines_until_interrupted(log_file):
    command = [*own_command(), "logs", "-f", "-n", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=own_environment(), text=True
    ) as process:
        assert process.stdout.readline() == "line 99\n"
        with log_file.open("a") as file:
            # It may have been looking at the file's end already, or not yet: write until seen.
            for n in range(1_000):
                file.write(f"new {n}\n")
                file.flush()
                if n % 100 == 0 and process.poll() is not None:
                    break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert rest == "" or rest.startswith("new ")
