"""The user documentation: every command in it runs, every setting is valid, every link leads somewhere."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from app.configfile import load_file, locate

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "assets" / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
PLACE = "localhost:8317"
ELSEWHERE = {
    # Set-up, which these tests ran in already; asking for its help shows that the words are right.
    "python3 packaging/bootstrap.py run": "python3 packaging/bootstrap.py --help",
    "python3 packaging/bootstrap.py test": "python3 packaging/bootstrap.py --help",
}
NO_COMMANDS = {"dragoman", "dragoman.db"}


def name(page):
    return str(page.relative_to(ROOT))


def blocks(kind):
    return [
        pytest.param(text, id=f"{name(page)}-{number}")
        for page in PAGES
        for number, (found, text) in enumerate(BLOCK.findall(page.read_text("utf-8")))
        if found == kind
    ]


def commands(text):
    """The commands of a shell block, continued lines joined and comments taken off."""
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.join(shlex.split(line, comments=True)):
            yield words


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """A running Dragoman in an empty home; gives its environment and its port."""
    home = tmp_path_factory.mktemp("home")
    shim = home / "bin" / "dragoman"
    shim.parent.mkdir()
    shim.write_text(f"#!/bin/sh\nexec {sys.executable!r} -P -m app \"$@\"\n")
    shim.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith("DRAGOMAN_")}
    env |= {
        "DRAGOMAN_HOME": str(home / "data"),
        "EDITOR": "true",
        "PATH": f"{shim.parent}{os.pathsep}{env['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [str(shim), "serve", "--port", str(port)],
        env=env,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz", process)
        yield env, port
    finally:
        process.terminate()
        process.communicate(timeout=30)


def wait_for(url, process):
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - loopback
                return
        except OSError:
            time.sleep(0.02)
    pytest.fail(f"it does not answer: {process.stderr.read().decode()}")


@pytest.mark.skipif(os.name != "posix", reason="the blocks are written for a POSIX shell")
@pytest.mark.parametrize("text", blocks("sh"))
def test_commands_of_the_documentation_run(installation, text):
    env, port = installation
    for command in commands(text):
        line = ELSEWHERE.get(command, command).replace(PLACE, f"localhost:{port}")
        done = subprocess.run(
            ["sh", "-c", line],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        if command.startswith("curl"):
            answer = json.loads(done.stdout)
            assert not answer.get("error"), answer
        assert done.stdout, command


@pytest.mark.parametrize("text", blocks("yaml"))
def test_settings_of_the_documentation_are_valid(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text, "utf-8")
    file.chmod(0o600)
    env = {"DRAGOMAN_HOME": str(tmp_path), "DRAGOMAN_CONFIG": str(file)}
    load_file(locate(None, env), env)


def spoken():
    """Every ``dragoman …`` that a page mentions in its text, with its options left out."""
    found = {}
    for page in PAGES:
        for text in INLINE.findall(BLOCK.sub("", page.read_text("utf-8"))):
            words = [w for w in text.split() if re.fullmatch(r"[a-z-]+", w)]
            if text.startswith("dragoman ") and text not in NO_COMMANDS:
                found.setdefault(" ".join(words[1:3]), name(page))
    return sorted(found)


@pytest.mark.parametrize("words", spoken())
def test_commands_that_are_mentioned_exist(words):
    found = subprocess.run(
        [sys.executable, "-m", "app", *words.split(), "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    last = words.split()[-1]
    assert re.search(rf"^Usage: dragoman( [a-z]+)* {last}\b", found.stdout, re.MULTILINE), words


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_begin_with_their_title_and_keep_to_the_width(page):
    text = page.read_text("utf-8")
    assert text.startswith("# ")
    for line in BLOCK.sub("", text).splitlines():
        if not line.startswith("|"):
            assert len(line) <= 120, line
