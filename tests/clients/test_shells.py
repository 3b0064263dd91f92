from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from app.clients.agent import Machine
from app.clients.shell_scripts import SHELLS
from app.clients.shells import integration, plan_install, plan_remove, shell_of
from app.clients.writer import read_file, write_edits
from app.errors import ConfigError


def machine(home, env=None, system="linux"):
    return Machine(system, home, env or {}, home / "data")


def contents(place):
    return {path: read_file(path) for path in (place.script, place.start_up) if path is not None}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("before", [None, b"", b"alias l=ls\n", b"alias l=ls", b"a\r\nb\r\n"])
def test_installing_and_removing_leave_every_byte(tmp_path, shell, before):
    place = integration(shell, machine(tmp_path))
    if place.start_up is not None and before is not None:
        place.start_up.parent.mkdir(parents=True, exist_ok=True)
        place.start_up.write_bytes(before)
    write_edits(plan_install(place, "script\n", contents(place)))
    assert place.script.read_bytes() == b"script\n"
    if place.start_up is not None:
        assert str(place.script).encode() in place.start_up.read_bytes()
    assert not any(edit.changes for edit in plan_install(place, "script\n", contents(place)))
    write_edits(plan_remove(place, contents(place)))
    assert not place.script.exists()
    if place.start_up is not None:
        assert read_file(place.start_up) == before
    assert not any(edit.changes for edit in plan_remove(place, contents(place)))


def test_lines_that_were_added_to_a_file_of_ours_stay(tmp_path):
    place = integration("bash", machine(tmp_path))
    write_edits(plan_install(place, "s", contents(place)))
    place.start_up.write_text("alias l=ls\n" + place.start_up.read_text())
    write_edits(plan_remove(place, contents(place)))
    assert place.start_up.read_text() == "alias l=ls\n"


def test_broken_marks_are_left_alone_with_the_place(tmp_path):
    place = integration("zsh", machine(tmp_path))
    place.start_up.write_bytes(b"x\n# >>> dragoman >>>\n")
    for plan in (lambda f: plan_install(place, "s", f), lambda f: plan_remove(place, f)):
        with pytest.raises(ConfigError) as caught:
            plan(contents(place))
        assert caught.value.problems[0].line == 2


@pytest.mark.parametrize(
    ("shell", "system", "env", "start_up"),
    [
        ("bash", "linux", {}, "/home/u/.bashrc"),
        ("bash", "macos", {}, "/home/u/.bash_profile"),
        ("zsh", "linux", {}, "/home/u/.zshrc"),
        ("zsh", "macos", {"ZDOTDIR": "/z"}, "/z/.zshrc"),
        ("fish", "linux", {}, None),
        ("powershell", "linux", {}, "/home/u/.config/powershell/Microsoft.PowerShell_profile.ps1"),
    ],
)
def test_each_shell_has_its_file_on_each_system(shell, system, env, start_up):
    place = integration(shell, machine(PurePosixPath("/home/u"), env, system))
    assert place.start_up == (None if start_up is None else PurePosixPath(start_up))


@pytest.mark.parametrize(
    ("env", "folder"),
    [({}, "C:/Users/u/Documents"), ({"OneDrive": "C:/One"}, "C:/One/Documents")],
)
def test_powershells_profile_on_windows_follows_onedrive(env, folder):
    place = integration("powershell", machine(PureWindowsPath("C:/Users/u"), env, "windows"))
    name = "Microsoft.PowerShell_profile.ps1"
    assert place.start_up == PureWindowsPath(folder) / "PowerShell" / name


@pytest.mark.parametrize(
    ("system", "env", "shell"),
    [
        ("linux", {"SHELL": "/usr/bin/zsh"}, "zsh"),
        ("macos", {"SHELL": "/opt/homebrew/bin/fish"}, "fish"),
        ("linux", {"SHELL": "/bin/ksh"}, None),
        ("linux", {}, None),
        ("windows", {}, "powershell"),
    ],
)
def test_the_users_shell_is_known_from_the_environment(system, env, shell):
    assert shell_of(machine(Path("/home/u"), env, system)) == shell
