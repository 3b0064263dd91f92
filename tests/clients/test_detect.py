import json
import os
import sys
from pathlib import Path

import pytest

from app.clients import AGENTS
from app.clients.agent import Machine
from app.clients.detect import ask, detect, find_program, machine_here, version_of
from app.paths import Paths


def program(path, text="#!/bin/sh\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def machine(home, path=""):
    return Machine("linux", home, {"PATH": str(path)}, home / "data")


def test_nothing_is_found_on_an_empty_machine(tmp_path):
    for agent in AGENTS.values():
        assert not detect(agent, machine(tmp_path)).installed


def test_a_program_is_found_on_path_before_likely_folders(tmp_path):
    likely = program(tmp_path / ".local" / "bin" / "codex")
    here = machine(tmp_path, tmp_path / "bin")
    assert find_program(["codex"], here) == likely
    first = program(tmp_path / "bin" / "codex")
    assert find_program(["codex"], here) == first
    assert detect(AGENTS["codex"], here).installed


def test_settings_without_a_program_are_a_trace(tmp_path):
    (tmp_path / ".claude").mkdir()
    found = detect(AGENTS["claude"], machine(tmp_path))
    assert (found.program, found.traces, found.installed) == (None, (tmp_path / ".claude",), True)


def test_a_version_is_read_from_the_package_and_nothing_is_started(tmp_path):
    package = tmp_path / "lib" / "node_modules" / "@openai" / "codex"
    real = program(package / "bin" / "codex.js")
    (package / "package.json").write_text(
        json.dumps({"name": "@openai/codex", "version": "0.169.0"})
    )
    link = tmp_path / "bin" / "codex"
    link.parent.mkdir()
    link.symlink_to(real)

    def run(command):
        raise AssertionError(command)

    assert version_of(link, run) == "0.169.0"


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("2.1.330 (Claude Code)\n", "2.1.330"),
        ("aider 0.86.2\n", "0.86.2"),
        ("llm, version 0.36\n", "0.36"),
        ("goose 1.2.3-beta.1\n", "1.2.3-beta.1"),
        ("nothing", ""),
        ("", ""),
    ],
)
def test_a_version_is_asked_for_where_there_is_no_package(tmp_path, printed, version):
    asked = []
    assert version_of(tmp_path / "agent", lambda c: asked.append(c) or printed) == version
    assert asked == [[str(tmp_path / "agent"), "--version"]]


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts as programs")
def test_asking_a_program_returns_what_it_prints_or_nothing(tmp_path):
    assert ask([str(program(tmp_path / "good", "#!/bin/sh\necho 1.2.3\n"))]) == "1.2.3\n"
    assert ask([str(program(tmp_path / "bad", "#!/bin/sh\necho 1.2.3\nexit 3\n"))]) == ""
    assert ask([str(tmp_path / "missing")]) == ""


def test_this_machine_is_described_from_the_environment_that_is_given(tmp_path):
    variable = "USERPROFILE" if os.name == "nt" else "HOME"
    env = {variable: str(tmp_path), "DRAGOMAN_HOME": str(tmp_path / "d")}
    here = machine_here(Paths.find(env), env)
    assert here.home == tmp_path
    assert here.data == tmp_path / "d" / "data" / "agents"
    assert isinstance(here.home, Path)
