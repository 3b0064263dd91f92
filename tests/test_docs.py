"""The user documentation: every command in it runs, every setting is valid, every link leads somewhere."""

import functools
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from app.accounts.pace import SUBSCRIPTION
from app.accounts.roster import Health
from app.accounts.vaultstate import VaultStateName
from app.cli.program import build
from app.configfile import load_file, locate
from app.providers import PROVIDERS
from tests.docs.program import environment, serving

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "assets" / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
PLACE = "localhost:8317"
OWN_MODEL = (
    "curl localhost:8317/v1/chat/completions -d "
    """'{"model": "gpt-5.5", "messages": [{"role": "user", "content": "Hello"}]}'"""
)
CONTAINER = (
    "podman load --input dragoman-VERSION-image-amd64.tar.gz",
    "podman run --rm --volume dragoman:/data dragoman:VERSION keys create --label first",
    "podman run --detach --name dragoman --read-only --tmpfs /tmp --publish 127.0.0.1:8317:8317 "
    "--volume dragoman:/data --volume ./passphrase:/run/secrets/passphrase:ro "
    "--env DRAGOMAN_PASSPHRASE_FILE=/run/secrets/passphrase dragoman:VERSION",
    "podman exec --interactive --tty dragoman dragoman login codex --way device",
)
ELSEWHERE = {
    # Set-up, which these tests ran in already; asking for its help shows that the words are right.
    "python3 packaging/bootstrap.py run": "python3 packaging/bootstrap.py --help",
    "python3 packaging/bootstrap.py test": "python3 packaging/bootstrap.py --help",
    # A build takes minutes, and has tests of its own.
    "python3 packaging/build.py deb": "python3 packaging/build.py --help",
    # Packages are installed by tests/packaging_ under the marker package; see tests/docs/test_setup.py.
    "sudo apt install './dragoman_*_amd64.deb'": "python3 packaging/build.py --help",
    "pipx install './dragoman-*.whl'": "python3 packaging/build.py --help",
    # One runs for these tests already.
    "dragoman": "dragoman status",
    "dragoman start": "dragoman status",
    # There is no account here; tests/docs/test_setup.py asks one.
    OWN_MODEL: OWN_MODEL.replace("gpt-5.5", "demo-chat"),
    # No container engine and no session of systemd's; tests/docs/test_setup.py compares the words.
    **dict.fromkeys(CONTAINER, "python3 packaging/build.py --help"),
    "systemctl --user enable --now dragoman": "cat packaging/linux/dragoman.service",
    "loginctl enable-linger": "cat packaging/linux/dragoman.service",
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
    env = environment(tmp_path_factory.mktemp("home")) | {"EDITOR": "true"}
    with serving(env) as port:
        yield env, port


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
    """Every ``dragoman …`` that a page mentions in its text."""
    found = set()
    for page in PAGES:
        for text in INLINE.findall(BLOCK.sub("", page.read_text("utf-8"))):
            if text.startswith("dragoman ") and text not in NO_COMMANDS:
                found.add(text)
    return sorted(found)


@functools.cache
def all_commands():
    import typer

    return typer.main.get_command(build())


def meant(text):
    """The command that a text means, with the words that follow its name."""
    command, words = all_commands(), shlex.split(text)[1:]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, text
        command = command.commands[words.pop(0)]
    return command, words


@pytest.mark.parametrize("text", spoken())
def test_commands_that_are_mentioned_exist_with_their_options(text):
    command, words = meant(text)
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    named = {word.partition("=")[0] for word in words if word.startswith("-")} - {"-h", "--help"}
    assert named <= options
    takes = any(one.param_type_name == "argument" or not one.is_flag for one in command.params)
    assert takes or named or not words, "it takes no words"


def test_services_to_sign_in_to_are_those_that_the_pages_name():
    named = {
        words[0] for text in spoken() for c, words in [meant(text)] if words and c.name == "login"
    }
    services = {name for name, one in PROVIDERS.items() if one.sign_ins}
    assert services <= named <= services | {"PROVIDER", "--import", "--memory-only"}


def test_ways_and_states_are_those_that_there_are():
    page = (ROOT / "assets" / "docs" / "accounts.md").read_text("utf-8")
    words = set(INLINE.findall(BLOCK.sub("", page)))
    ways = {way for one in PROVIDERS.values() for way in one.sign_ins}
    assert ways <= words
    assert {*get_args(Health), *get_args(VaultStateName)} <= words
    for number in (SUBSCRIPTION.at_once, SUBSCRIPTION.per_minute):
        assert re.search(rf"\b{number}\b", page)


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
