"""Set-up and quick start: what cannot be run in a test is compared with what it is about."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from platformdirs.macos import MacOS

from app.accounts.passphrase import PASSPHRASE_FILE
from app.build import RELEASES
from app.desktop.windows import install_line
from app.paths import Paths
from tests.end_to_end.running import dragoman, fakes
from tests.fakes.service import KEY
from tests.test_docs import BLOCK, CONTAINER, ELSEWHERE, OWN_MODEL, PAGES, PLACE, commands

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "assets" / "docs"
SETUP = (DOCS / "setup.md").read_text("utf-8")
OWN = """\
providers:
  openai:
    api_key: {key}
    base_url: {url}
    models: {{gpt-5.5: gpt-5-mini}}
"""


def row(text, first):
    """The cells of a table's row that begins with a word."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def builder(name):
    return (ROOT / "packaging" / "builders" / f"{name}.py").read_text("utf-8")


def test_replaced_commands_are_those_of_some_page():
    said = {
        command
        for page in PAGES
        for kind, text in BLOCK.findall(page.read_text("utf-8"))
        if kind == "sh"
        for command in commands(text)
    }
    assert set(ELSEWHERE) <= said


@pytest.mark.skipif(os.name != "posix", reason="the line is written for a POSIX shell")
def test_question_of_the_quick_start_is_answered_by_an_account(tmp_path):
    with fakes() as upstream, dragoman(tmp_path, OWN.format(key=KEY, url=upstream.url)) as running:
        line = OWN_MODEL.replace(PLACE, running.address)
        done = subprocess.run(
            shlex.split(line), capture_output=True, text=True, timeout=60, check=False
        )
        assert "You said: Hello" in done.stdout, (done.stdout, done.stderr)
        assert [call.method for call in upstream.requests if call.method == "POST"] == ["POST"]


def test_packages_go_by_the_names_that_are_built():
    for name, begins, ends in (
        ("debian", "dragoman_", ".deb"),
        ("wheel", "dragoman-", "-py3-none-any.whl"),
        ("windows", "Dragoman-", ".exe"),
        ("macos", "Dragoman-", ".dmg"),
        ("image", "dragoman-", ".tar.gz"),
    ):
        built = re.search(r'DIST / f"([^"]+)"', builder(name))[1]
        assert built.startswith(begins)
        assert built.endswith(ends)
        words = re.sub(r"\{(?:debian_)?version\(.*?\)+\}", "VERSION", built)
        form = re.escape(words).replace(re.escape("{architecture()}"), r"(amd64|AMD64|arm64)")
        assert re.search(form, SETUP), words
    assert RELEASES in SETUP
    assert RELEASES in (DOCS / "quick-start.md").read_text("utf-8")


def test_container_is_the_one_that_is_built():
    file = (ROOT / "packaging" / "Containerfile").read_text("utf-8")
    told = " ".join(CONTAINER)
    assert "VOLUME /data" in file
    assert "--volume dragoman:/data" in told
    assert "EXPOSE 8317" in file
    assert "127.0.0.1:8317:8317" in told
    assert PASSPHRASE_FILE in told
    assert 'ENTRYPOINT ["dragoman"]' in file
    user = re.search(r"^USER (\d+)", file, re.MULTILINE)[1]
    assert f"the user {user}" in SETUP


def test_unit_is_the_one_of_the_package():
    (told,) = re.findall(r"^```ini\n(.*?)^```", SETUP, re.MULTILINE | re.DOTALL)
    unit = (ROOT / "packaging" / "linux" / "dragoman.service").read_text("utf-8")
    lines = set(told.splitlines()) - {"", "Description=Dragoman"}
    own = {"ExecStart=%h/.local/bin/dragoman serve"}
    assert lines - own <= set(unit.splitlines())
    assert "systemd/user/dragoman.service" in builder("debian")


def test_folders_are_those_of_the_program(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    mac = MacOS("dragoman", appauthor=False)
    home = str(Path("~").expanduser())
    assert row(SETUP, "settings,")[2] == f"`{mac.user_config_dir.replace(home, '~')}`"
    assert row(SETUP, "lists of models")[2] == f"`{mac.user_cache_dir.replace(home, '~')}`"
    if os.uname().sysname != "Linux" or any(name.startswith("XDG_") for name in os.environ):
        pytest.skip("the folders of Linux are elsewhere here")
    paths = Paths.find({})
    named = {"settings,": "config", "accounts": "data", "logs": "state", "lists": "cache"}
    for first, what in named.items():
        assert row(SETUP, first)[1] == f"`{str(getattr(paths, what)).replace(home, '~')}`"


def test_libraries_of_windows_are_those_that_the_program_names():
    for release in ("debian", "fedora", "arch"):
        line = install_line({"ID": release})
        assert f"`{line}`" in " ".join(SETUP.split())


def test_extras_are_those_of_the_wheel():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    part = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    named = re.findall(r"^\| `(\w+)` \|", SETUP, re.MULTILINE)
    assert set(named) == set(re.findall(r"^(\w+) = ", part, re.MULTILINE))


def test_removal_of_data_is_the_line_of_the_package():
    line = "env DRAGOMAN_PURGE_DATA=yes apt-get purge dragoman"
    assert line in SETUP
    assert line in (ROOT / "packaging" / "linux" / "postrm").read_text("utf-8")
    assert "/PURGE" in (ROOT / "packaging" / "windows" / "dragoman.nsi").read_text("utf-8")
