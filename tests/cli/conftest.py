import os
import sys
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from app.__main__ import main
from app.paths import Paths
from tests.cli.fake_instance import FakeInstance

ORIGINAL = '{\n  "mine":   1,\n  "theme": "dark"\n}\n'
"""Settings of Claude Code as a user has them."""
MOVED = ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "LLM_USER_PATH", "COPILOT_HOME")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty installation, whatever the environment of the tests says."""
    for name in list(os.environ):
        if name.startswith("DRAGOMAN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DRAGOMAN_HOME", str(tmp_path / "home"))
    return Paths.find(os.environ)


@pytest.fixture
def dragoman(home, capsys):
    """Runs a command in this process and returns its exit code and output."""

    def call(*words):
        capsys.readouterr()
        code = main(words)
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def fake(home):
    instance = FakeInstance(home)
    yield instance
    instance.close()


@pytest.fixture
def user(tmp_path, monkeypatch, home):
    """A user's home folder with the settings of Claude Code and nothing on PATH."""
    folder = tmp_path / "user"
    (folder / ".claude").mkdir(parents=True)
    settings = folder / ".claude" / "settings.json"
    settings.write_text(ORIGINAL)
    for name in MOVED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USERPROFILE" if sys.platform == "win32" else "HOME", str(folder))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return SimpleNamespace(folder=folder, settings=settings, home=home)
