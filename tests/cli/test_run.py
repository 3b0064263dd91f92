import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import run as command
from tests.cli.conftest import ORIGINAL

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts as programs")


@pytest.fixture
def become(monkeypatch):
    """Take down what the process would become."""
    taken = []
    monkeypatch.setattr(command, "_become", lambda words, env: taken.append((words, env)))
    return taken


@pytest.fixture
def programs(tmp_path, user):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("claude", "codex", "zed", "tool"):
        (folder / name).write_text('#!/bin/sh\necho "$ANTHROPIC_BASE_URL $@"\nexit 7\n')
        (folder / name).chmod(0o755)
    return folder


@posix
def test_an_agent_gets_the_address_in_its_environment_and_nothing_is_written(
    programs, user, fake, dragoman, become
):
    assert dragoman("run", "claude", "-m", "big", "--", "-p", "hi", "--model", "x").code == 0
    ((words, env),) = become
    assert words == [str(programs / "claude"), "-p", "hi", "--model", "x"]
    assert env["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{fake.port}"
    assert env["ANTHROPIC_MODEL"] == "big"
    assert "ANTHROPIC_BASE_URL" not in os.environ
    assert user.settings.read_text() == ORIGINAL
    assert not (user.home.data / "agents").exists()


@posix
def test_settings_that_take_words_come_before_the_users_own(programs, fake, dragoman, become):
    dragoman("run", "codex", "--model", "big", "--", "exec", "hi")
    ((words, _),) = become
    assert words[1::2][:3] == ["-c"] * 3
    assert words[-2:] == ["exec", "hi"]
    assert 'model="big"' in words


@posix
def test_any_program_gets_the_variables_of_the_sdks(programs, fake, dragoman, become):
    dragoman("run", "tool", "--", "a")
    dragoman("run", "sdk", "--", "tool", "a")
    first, second = become
    assert first[0] == second[0] == [str(programs / "tool"), "a"]
    assert first[1]["OPENAI_BASE_URL"] == f"http://127.0.0.1:{fake.port}/v1"


def test_nothing_runs_without_an_instance(user, dragoman, become):
    code, _, err = dragoman("run", "claude")
    assert code == 3
    assert "does not run" in err
    assert become == []


@posix
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("zed",), "connect zed"),
        (("cursor",), "says what to do by hand"),
        (("nonsense",), "The program nonsense is not"),
        (("copilot",), "must be told a model"),
        (("llm", "-m", "x"), "The program llm is not"),
    ],
)
def test_what_cannot_be_run_says_why(programs, fake, dragoman, become, words, said):
    code, _, err = dragoman("run", *words)
    assert code == 1
    assert said in err
    assert become == []


def test_a_program_must_be_named(user, fake, dragoman, become):
    assert dragoman("run", "sdk").code == 2


@posix
def test_the_process_becomes_the_program_with_its_exit_code(programs, fake):
    done = subprocess.run(
        [sys.executable, "-m", "app", "run", "claude", "--", "two words"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7
    assert done.stdout == f"http://127.0.0.1:{fake.port} two words\n"
