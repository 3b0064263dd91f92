"""The page of all commands against the command line."""

import functools
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from app.cli.launch import START_S, STOP_S
from app.cli.program import build, run
from tests import test_docs
from tests.packaging_.scripts import load

DOCS = Path(__file__).parents[2] / "assets" / "docs"
PAGE = DOCS / "commands.md"
notes = load("command_notes")
generator = load("docs_commands")

installation = test_docs.installation
"""A running Dragoman in an empty home."""

NOT_HERE = {
    # They would start a process, or serve in this one.
    *("dragoman", "dragoman serve", "dragoman start", "dragoman restart", "dragoman doctor"),
}
WORDS = {
    "dragoman accounts order": ["a", "0"],
    "dragoman accounts rename": ["a", "b"],
    "dragoman config import ccproxy": ["nothing.yaml"],
    "dragoman disconnect": ["--all", "--dry-run"],
    "dragoman keys edit": ["a", "--expires", "none"],
    "dragoman keys rename": ["a", "b"],
    "dragoman login": ["openai"],
    "dragoman run": ["codex"],
    "dragoman shell-integration": ["bash"],
    "dragoman test": ["codex"],
}
"""What a command is called with here, where one word is not enough or not right."""


@functools.cache
def program():
    import typer

    return typer.main.get_command(build())


def commands(command, at=("dragoman",)):
    """Every command that can be typed: its name, and typer's object."""
    children = getattr(command, "commands", {})
    if not children or (command.invoke_without_command and len(at) > 1):
        yield " ".join(at), command
    for name, child in children.items():
        if not child.hidden:
            yield from commands(child, (*at, name))


COMMANDS = dict(commands(program()))


def entries():
    parts = re.split(r"^### `(.+)`$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


ENTRIES = entries()


def options(command):
    return {
        name
        for one in command.params
        if one.param_type_name == "option" and not one.hidden
        for name in (*one.opts, *one.secondary_opts)
    }


def test_every_command_is_on_the_page_and_every_command_of_the_page_exists():
    assert set(ENTRIES) == {"dragoman", *COMMANDS}


def test_each_command_is_linked_from_the_top():
    text = PAGE.read_text("utf-8")
    for name in ENTRIES:
        assert f"\n| [`{name}`](#{name.replace(' ', '-')}) |" in text


def test_every_option_is_told_and_every_told_option_exists():
    for name, command in COMMANDS.items():
        rows = re.findall(r"^\| (`-.*?) \| .+ \|$", ENTRIES[name], re.MULTILINE)
        told = {option for row in rows for option in re.findall(r"`(-[\w-]+)`", row)}
        assert told == options(command), name


def test_options_in_the_text_of_a_command_are_its_own():
    for name, command in COMMANDS.items():
        text = re.sub(r"^```.*?^```$|^\|[^\n]*$", "", ENTRIES[name], flags=re.MULTILINE | re.DOTALL)
        said = set(re.findall(r"`(--[a-z-]+)`", re.sub(r"`dragoman [^`]+`", "", text)))
        assert said <= options(command), name


def test_every_word_that_a_command_takes_is_in_its_usage():
    for name, command in COMMANDS.items():
        usage = re.search(rf"^```text\n({re.escape(name)}.*)\n```$", ENTRIES[name], re.MULTILINE)
        assert usage, f"{name}: a line of usage"
        words = usage[1].removeprefix(name).replace("[-- ARGS]...", "[ARGS]").split()
        taken = [one for one in command.params if one.param_type_name == "argument"]
        assert len(words) == len(taken) + bool(options(command)), name
        needed = [word for word in words if not word.startswith("[")]
        assert len(needed) == len([one for one in taken if one.required]), name


def test_json_is_described_where_it_can_be_printed():
    described = {name for name, text in ENTRIES.items() if "**With `--json`**: " in text}
    assert described == {name for name, one in COMMANDS.items() if "--json" in options(one)}


def test_what_is_printed_and_exit_codes_are_told():
    for name, text in ENTRIES.items():
        assert name in notes.NOTES, f"describe it in packaging/command_notes.py: {name}"
        assert "\n**Prints** " in text, name
        assert "\n**Exit codes** `0`: " in text, name


@pytest.fixture
def empty_home(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("DRAGOMAN_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DRAGOMAN_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("EDITOR", "no-such-editor")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in NOT_HERE])
def test_exit_code_for_nothing_running_is_as_told(name, empty_home):
    needed = [one for one in COMMANDS[name].params if one.param_type_name == "argument"]
    words = WORDS.get(
        name, ["webai" if "services" in name else "a" for one in needed if one.required]
    )
    code = run([*name.split()[1:], *words])
    told = "`3`: Dragoman does not run" in " ".join(ENTRIES[name].split())
    assert code != 2, "the words of this test are wrong"
    assert (code == 3) is told


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("config check --config wrong.yaml", 1),
        ("config edit", 1),
        ("config import ccproxy nothing.yaml", 1),
        ("config init --config there.yaml", 1),
        ("help no-such-page", 1),
        ("keys create", 0),
        ("keys create --admin --relay a", 2),
        ("keys revoke nothing", 1),
        ("logs", 1),
        ("no-such-command", 2),
        ("services logs webai", 1),
        ("status --json", 3),
        ("status --no-such-option", 2),
        ("stop", 0),
        ("usage --json", 0),
        ("usage --json --csv", 2),
    ],
)
def test_exit_codes_are_as_told(words, code, empty_home):
    Path("wrong.yaml").write_text("server: {port: many}\n")
    Path("there.yaml").write_text("")
    assert run(words.split()) == code


def test_times_are_those_of_the_program():
    assert f"within {START_S:g} seconds" in " ".join(ENTRIES["dragoman start"].split())
    assert f"after {STOP_S:g} seconds" in " ".join(ENTRIES["dragoman stop"].split())


JSON_WORDS = {
    "dragoman accounts": "",
    "dragoman config check": "",
    "dragoman config path": "",
    "dragoman connect": "codex --dry-run",
    "dragoman disconnect": "--all --dry-run",
    "dragoman doctor": "",
    "dragoman keys create": "--label told",
    "dragoman keys rotate": "told",
    "dragoman models": "",
    "dragoman quota": "",
    "dragoman route": "--model demo-chat",
    "dragoman status": "",
    "dragoman usage": "",
}
"""Commands whose JSON has names of its own, and can be had here; a later one may need an earlier."""


@pytest.mark.skipif(os.name != "posix", reason="the installation is made for a POSIX shell")
def test_json_has_the_names_that_are_told(installation):
    env, _ = installation
    for name, words in JSON_WORDS.items():
        done = subprocess.run(
            [*name.split(), *words.split(), "--json"],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (name, done.stderr)
        (sentence,) = re.findall(r"With `--json`\*\*: (.+?)\n\n", ENTRIES[name], re.DOTALL)
        # What holds for another call, or for entries that there are none of here, is not looked for.
        here = re.split(r"; with|\. With|\. When|, each|\(", sentence)[0]
        told = re.findall(r"`(\w+)`", here)
        assert told, name
        assert set(told) <= set(json.loads(done.stdout)), name


def test_notes_on_a_command_that_is_gone_stop_the_generator(monkeypatch):
    monkeypatch.setattr(generator, "NOTES", {"dragoman gone": notes.Note()})
    with pytest.raises(ValueError, match="dragoman gone"):
        generator.render()


def test_every_first_word_is_in_one_group_that_exists():
    words = [word for group in notes.GROUPS.values() for word in group]
    assert len(words) == len(set(words))
    assert set(words) == {"", *(name.split()[1] for name in COMMANDS)}


def test_help_texts_have_their_options_as_code():
    assert generator._code("Undo --install, not `--all`.") == "Undo `--install`, not `--all`."
    assert generator._in_table("A name.  [default: kind | day]") == "A name. Default: kind \\| day."
