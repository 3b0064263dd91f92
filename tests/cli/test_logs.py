import signal
import subprocess
import sys
import threading

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
        seen = threading.Event()
        got = []
        reader = threading.Thread(
            target=lambda: (got.append(process.stdout.readline()), seen.set())
        )
        reader.start()
        for n in range(400):  # it need not have looked at the file's end yet: write until seen
            with log_file.open("a") as file:
                file.write(f"new {n}\n")
            if seen.wait(0.05):
                break
        process.send_signal(signal.SIGINT)
        reader.join()
    assert got[0].startswith("new ")
    assert process.returncode == 0
