import pytest

from app.build import find_build
from app.cli import program

COMMANDS = (
    "serve",
    "start",
    "stop",
    "restart",
    "status",
    "logs",
    "login",
    "logout",
    "models",
    "quota",
    "open",
    "usage",
    "replay",
    "route",
    "doctor",
    "help",
    "connect",
    "disconnect",
    "run",
    "test",
    "shell-integration",
)
GROUPS = {
    "accounts": ("pause", "resume", "order", "agree", "primary", "refresh", "rename"),
    "config": ("init", "check", "path", "edit", "reload", "schema", "import"),
    "keys": ("create", "list", "edit", "rename", "rotate", "revoke"),
    "services": ("install", "start", "stop", "status", "logs"),
}
EVERY = (
    (),
    *((name,) for name in COMMANDS),
    *((group, name) for group, names in GROUPS.items() for name in names),
)


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_everything_explains_itself_in_plain_text(dragoman, words, option):
    code, out, err = dragoman(*words, option)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: dragoman")
    assert "\x1b" not in out


def test_every_command_is_listed_with_a_help_that_fits_its_line(dragoman):
    for words, names in (((), (*COMMANDS, *GROUPS)), *(((g,), n) for g, n in GROUPS.items())):
        lines = dragoman(*words, "--help").out.partition("Commands:\n")[2].splitlines()
        assert {line.split()[0] for line in lines} == set(names)
        assert not [line for line in lines if line.endswith("...") or len(line.split()) < 2]


@pytest.mark.parametrize("words", [("nonsense",), ("status", "--nonsense"), ("config", "nonsense")])
def test_wrong_calls_are_exit_code_two_on_standard_error(dragoman, words):
    code, out, err = dragoman(*words)
    assert (code, out) == (2, "")
    assert "onsense" in err


def test_version_is_known_to_the_full_command_line_too(capsys):
    assert program.run(["--version"]) == 0
    assert capsys.readouterr().out == f"dragoman {find_build().line}\n"


def test_errors_carry_no_traceback(dragoman, home):
    home.data.parent.mkdir(parents=True)
    home.config.write_text("a file where a folder belongs")
    code, _, err = dragoman("config", "init")
    assert code == 1
    assert err.startswith("error: ")
    assert "Traceback" not in err
