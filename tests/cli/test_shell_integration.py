import os
import shutil
import subprocess

import pytest

from app.cli import program, shell_integration
from app.cli.shell_integration import command_words
from app.clients import AGENTS
from app.clients.shell_scripts import SHELLS


@pytest.fixture(autouse=True)
def _shell(monkeypatch, user):
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.delenv("ZDOTDIR", raising=False)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed_and_nothing_written(user, dragoman, shell):
    code, out, err = dragoman("shell-integration", shell)
    assert (code, err) == (0, "")
    assert str(user.home.runtime / "instance.json") in out
    assert "shell-integration" in out  # completion knows the commands
    assert not user.home.data.exists()


def test_the_users_own_shell_is_taken_where_none_is_named(dragoman, monkeypatch):
    assert "PROMPT_COMMAND" in dragoman("shell-integration").out
    monkeypatch.setenv("SHELL", "/bin/ksh")
    code, _, err = dragoman("shell-integration")
    assert code == 1
    assert "bash, zsh, fish, powershell" in err


def test_installing_shows_the_line_and_removing_takes_it_away(user, dragoman):
    rc = user.folder / ".bashrc"
    rc.write_text("alias l=ls\n")
    code, out, _ = dragoman("shell-integration", "bash", "--install", "--yes")
    assert code == 0
    assert "+# >>> dragoman >>>" in out
    script = user.home.data / "agents" / "shell" / "dragoman.bash"
    assert script.exists()
    assert str(script) in rc.read_text()
    again = dragoman("shell-integration", "bash", "--install", "--yes")
    assert again.out == "It is as it should be.\n"
    assert dragoman("shell-integration", "bash", "--remove").code == 0
    assert rc.read_text() == "alias l=ls\n"
    assert not script.exists()


def test_a_dry_run_and_a_missing_yes_write_nothing(user, dragoman):
    assert dragoman("shell-integration", "zsh", "--install", "--dry-run").code == 0
    code, _, err = dragoman("shell-integration", "zsh", "--install")
    assert code == 1
    assert "--yes" in err
    assert not (user.folder / ".zshrc").exists()


def test_a_person_is_asked(user, dragoman, monkeypatch):
    monkeypatch.setattr(shell_integration, "is_terminal", lambda stream: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert dragoman("shell-integration", "zsh", "--install").code == 1
    assert not (user.folder / ".zshrc").exists()


def test_install_and_remove_are_not_said_together(dragoman):
    assert dragoman("shell-integration", "bash", "--install", "--remove").code == 2


def test_completion_knows_every_command_option_and_name():
    tree = program.typer.main.get_command(program.build())
    words = command_words(tree)
    assert set(tree.commands) <= set(words[()])
    assert {(name,) for name in tree.commands} <= set(words)
    assert "--dry-run" in words["connect",]
    editable = {name for name, agent in AGENTS.items() if agent.editable}
    assert editable <= set(words["connect",])
    assert "cursor" not in words["run",]
    assert set(SHELLS) <= set(words["shell-integration",])
    assert all("--help" in following for following in words.values())


REAL = {"bash": ["-i"], "zsh": ["-i"], "fish": ["-i"]}
STARTED = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}


def environment_of(shell, user):
    """Start a real interactive shell of the user and return the variables that it has."""
    done = subprocess.run(
        [shutil.which(shell, path=os.defpath), *REAL[shell], "-c", "env"],
        env={"PATH": os.defpath, "HOME": str(user.folder), "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        start_new_session=True,  # job control of an interactive shell takes no terminal of ours
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@pytest.mark.parametrize("shell", REAL)
def test_a_real_shell_has_the_variables_while_dragoman_answers_and_as_long_as_it_is_installed(
    user, fake, dragoman, monkeypatch, shell
):
    if shutil.which(shell, path=os.defpath) is None:
        pytest.skip(f"{shell} is not installed")
    rc = user.folder / STARTED[shell]
    rc.parent.mkdir(parents=True, exist_ok=True)
    rc.write_text("# mine\n")
    assert "OPENAI_BASE_URL" not in environment_of(shell, user)
    assert dragoman("shell-integration", shell, "--install", "--yes").code == 0
    assert dragoman("connect", "copilot", "--model", "demo-chat", "--yes").code == 0
    shown = environment_of(shell, user)
    assert shown["OPENAI_BASE_URL"] == f"http://127.0.0.1:{fake.port}/v1"
    assert shown["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{fake.port}"
    assert shown["COPILOT_MODEL"] == "demo-chat"
    assert fake.record.token not in str(shown)
    fake.close()
    assert "OPENAI_BASE_URL" not in environment_of(shell, user)
    assert dragoman("shell-integration", shell, "--remove").code == 0
    assert rc.read_text() == "# mine\n"
    assert dragoman("disconnect", "copilot", "--yes").code == 0
    left = [p for p in (user.home.data / "agents").rglob("*") if p.is_file()]
    assert {p.name for p in left} <= {"manifest.json", "lock"}
