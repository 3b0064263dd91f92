import os
from typing import NamedTuple

import pytest

from app.__main__ import main
from app.paths import Paths
from tests.cli.fake_instance import FakeInstance


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
