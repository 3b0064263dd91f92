"""The programs of the examples run as they stand, and their page shows them as they are."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.clients.agent import PROVIDER, Address, Machine, Models, Offered
from app.clients.agent_continue import CONTINUE
from app.clients.agent_opencode import OPENCODE
from app.yamltree import parse_yaml
from tests.docs.program import admin_key, environment, free_port, serving
from tests.packaging_.scripts import load

FOLDER = Path(__file__).parent.parent.parent / "assets" / "docs" / "examples"
PAGE = FOLDER.parent / "examples.md"
HELLO = "Dragoman's demo understood"
SAYS = {
    "chat.sh": (HELLO, "data: [DONE]"),
    "chat_httpx.py": (HELLO, "served by provider=demo", "Say it again."),
    "chat_openai.py": (HELLO, "Say it again.", "What is my name?"),
    "chat_anthropic.py": (HELLO, "tokens asked"),
    "chat_gemini.py": (HELLO, "Say it again.", "tokens asked"),
    "tools.py": ("called weather", "21"),
    "usage.py": ("requests", "all"),
    "chat.mjs": (HELLO, "served by provider=demo"),
    "stream.mjs": (HELLO,),
}


def shown():
    return [one for _, files in load("docs_examples").SECTIONS for one in files]


def command(name):
    file = FOLDER / name
    return {
        ".sh": ["sh", str(file)],
        ".py": [sys.executable, "-W", "error", str(file)],
        ".mjs": ["node", str(file)],
    }[file.suffix]


def test_every_file_is_on_the_page_and_as_it_is():
    assert {one.file for one in shown()} == {file.name for file in FOLDER.iterdir()}
    page = PAGE.read_text("utf-8")
    for one in shown():
        text = (FOLDER / one.file).read_text("utf-8")
        assert f"### {one.file}\n" in page
        assert re.search(rf"```\w+\n{re.escape(text)}```\n", page), one.file


def test_every_program_is_run_here():
    programs = {one.file for one in shown() if one.run}
    assert programs == {*SAYS, "echo_server.py"}


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """A running Dragoman; gives the environment in which the programs find it, and an admin key."""
    env = environment(tmp_path_factory.mktemp("home"))
    with serving(env) as port:
        yield env | {"DRAGOMAN_URL": f"http://localhost:{port}"}, admin_key(env)


@pytest.mark.parametrize("name", sorted(SAYS))
def test_a_program_runs_and_says_what_it_should(installation, name):
    words = command(name)
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not on this machine")
    env, key = installation
    if name == "usage.py":
        env = env | {"DRAGOMAN_KEY": key}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    for text in SAYS[name]:
        assert text in done.stdout, (text, done.stdout)
    assert done.stderr == ""


@pytest.mark.parametrize("name", sorted(SAYS))
def test_a_program_says_what_is_wrong(installation, name):
    """With a model that there is not, or a key that may not look, the message is shown."""
    words = command(name)
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not on this machine")
    env = installation[0] | {"DRAGOMAN_MODEL": "no-such-model"}
    if name == "usage.py":
        env["DRAGOMAN_KEY"] = "not-a-key"
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    told = "needs the local token" if name == "usage.py" else "no-such-model"
    assert told in done.stderr + done.stdout, (done.stdout, done.stderr)


def test_the_model_server_becomes_a_provider_by_its_settings(tmp_path):
    own = free_port()
    file = tmp_path / "config.yaml"
    settings = (FOLDER / "provider.yaml").read_text("utf-8")
    file.write_text(settings.replace(":9100", f":{own}"), "utf-8")
    file.chmod(0o600)
    env = environment(tmp_path) | {"DRAGOMAN_CONFIG": str(file), "PORT": str(own)}
    server = subprocess.Popen(
        command("echo_server.py"),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout.readline().startswith("listening at")
        with serving(env) as port:
            refreshed = subprocess.run(  # returns when the server was asked for its models
                ["dragoman", "models", "--refresh"],
                env=env,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert "echo-1" in refreshed.stdout, (refreshed.stdout, refreshed.stderr)
            asking = env | {"DRAGOMAN_URL": f"http://localhost:{port}", "DRAGOMAN_MODEL": "fast"}
            for name in ("chat_httpx.py", "chat_anthropic.py"):
                said = subprocess.run(
                    command(name),
                    env=asking,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                assert said.returncode == 0, (name, said.stdout, said.stderr)
                assert "Say hello." in said.stdout
    finally:
        server.terminate()
        server.communicate(timeout=30)


def test_settings_of_other_programs_are_what_connecting_writes(tmp_path):
    machine = Machine("linux", tmp_path, {}, tmp_path)
    address = Address("http://localhost:8317")
    models = Models({"main": "demo-chat"}, (Offered("demo-chat", None, None),))
    (target,) = OPENCODE.targets(machine, address, models)
    wanted = json.loads((FOLDER / "opencode.json").read_text("utf-8"))
    for change in target.changes:
        found = wanted
        for step in change.path:
            found = found[step]
        assert found == change.value, change.path
    assert set(wanted) == {change.path[0] for change in target.changes}
    assert PROVIDER in wanted["provider"]
    (target,) = CONTINUE.targets(machine, address, models)
    wanted = parse_yaml((FOLDER / "continue.yaml").read_text("utf-8")).value
    assert wanted["models"] == [
        change.value for change in target.changes if change.path[0] == "models"
    ]
