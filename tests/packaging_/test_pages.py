"""Manual page and completions, as they come from the command line, and the icon."""

import shutil
import subprocess
import sys

import pytest

from tests.packaging_.scripts import load

commandline = load("commandline")
pages = load("pages")
icons = load("icons")


unix = pytest.mark.skipif(sys.platform == "win32", reason="shells there have other paths")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    pages.main(folder)
    return folder


def complete(shell, script, *words):
    """Return what a shell offers after these words; the last one is the beginning of a word."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [shell, *(["--norc"] if shell == "bash" else ["--no-config"]), "-c", script, shell, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


BASH = """
source "$1"; shift
COMP_WORDS=(dragoman "$@"); COMP_CWORD=$#
_dragoman
printf '%s\\n' "${COMPREPLY[@]}"
"""


@unix
def test_bash_completes_commands_their_commands_and_options(written):
    script = str(written / "dragoman.bash")
    assert complete("bash", BASH, script, "sta") == ["start", "status"]
    assert "create" in complete("bash", BASH, script, "keys", "")
    assert complete("bash", BASH, script, "serve", "--po") == ["--port"]
    assert "codex" in complete("bash", BASH, script, "connect", "--yes", "")


FISH = 'source $argv[1]; complete -C"dragoman $argv[2]"'


@unix
def test_fish_completes_commands_and_their_commands(written):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")

    def offered(line):
        command = ["fish", "--no-config", "-c", FISH, str(written / "dragoman.fish"), line]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout.split()

    assert {"start", "status"} <= set(offered("sta"))
    assert "create" in offered("keys ")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_can_read_its_completion(written):
    assert (written / "_dragoman").read_text("utf-8").startswith("#compdef dragoman\n")
    command = ["zsh", "-f", "-n", str(written / "_dragoman")]
    assert subprocess.run(command, capture_output=True, check=False).stderr == b""


def test_every_command_that_people_type_is_in_the_manual(written):
    manual = (written / "dragoman.1").read_text("utf-8")
    assert manual.startswith(".TH DRAGOMAN 1 ")
    for command in commandline.commands(commandline.program()):
        assert f"\n.B {' '.join(command.at)}".replace("-", "\\-") in manual
    assert "\n.B \\-\\-port PORT\n" in manual


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_the_manual_is_set_without_warnings(written):
    command = ["man", "--warnings", "--local-file", "--encoding=utf8", str(written / "dragoman.1")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "NAME" in done.stdout


@pytest.mark.parametrize(
    "text", ["plain", ".begins like a request", "'so does this", "back\\slash"]
)
def test_text_cannot_become_a_request(text):
    escaped = pages._escape(text)
    assert not escaped.startswith((".", "'"))
    assert "\\s" not in escaped


def test_the_icon_is_drawn_in_every_form(tmp_path):
    from PIL import Image

    icons.main(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    wanted = {f"dragoman-{side}.png" for side in icons.SIZES}
    assert names == wanted | {"dragoman.svg", "dragoman.ico", "dragoman.icns"}
    for side in icons.SIZES:
        with Image.open(tmp_path / f"dragoman-{side}.png") as picture:
            assert picture.size == (side, side)
            assert len(picture.convert("RGB").getcolors(side * side)) > 3
    with Image.open(tmp_path / "dragoman.ico") as picture:
        assert {(16, 16), (256, 256)} <= picture.info["sizes"]
    drawing = (tmp_path / "dragoman.svg").read_text("utf-8")
    assert drawing.count("<polygon") == 3
