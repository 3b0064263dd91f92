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
