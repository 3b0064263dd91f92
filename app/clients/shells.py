"""Where a shell takes its start-up lines from, and putting ours there.

The script lies in a file of Dragoman's own and the start-up file only reads it, if it is there: a
new shell starts no program of ours, and an uninstalled Dragoman leaves nothing that fails. fish has
a folder for such files and needs no line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from app.clients.agent import Machine
from app.clients.change import SyntaxFault
from app.clients.marked import block_of, with_block, without_block
from app.clients.plan import FileEdit, Files
from app.clients.shell_scripts import ShellName, quoted
from app.clients.textfile import TextFile, decode
from app.errors import ConfigError, ConfigProblem

__all__ = ["Integration", "integration", "plan_install", "plan_remove", "shell_of"]

_MADE: Final = "# This file was made for these lines and goes with them."


@dataclass(frozen=True, slots=True)
class Integration:
    """The files of one shell."""

    shell: ShellName
    script: PurePath
    """The file with the script, ours alone."""
    start_up: PurePath | None
    """The file that is to read it; None where the shell does by itself."""


def integration(shell: ShellName, machine: Machine) -> Integration:
    """Return the files of a shell on a machine."""
    folder = machine.data / "shell"
    match shell:
        case "bash":
            # a terminal of macOS opens login shells, which do not read .bashrc
            name = ".bash_profile" if machine.system == "macos" else ".bashrc"
            return Integration(shell, folder / "dragoman.bash", machine.home / name)
        case "zsh":
            return Integration(shell, folder / "dragoman.zsh", machine.at("ZDOTDIR") / ".zshrc")
        case "fish":
            script = machine.config() / "fish" / "conf.d" / "dragoman.fish"
            return Integration(shell, script, None)
        case "powershell":
            profile = _profiles(machine) / "Microsoft.PowerShell_profile.ps1"
            return Integration(shell, folder / "dragoman.ps1", profile)


def _profiles(machine: Machine) -> PurePath:
    """Return PowerShell's folder of profiles; OneDrive, where it keeps the documents, moves it."""
    if machine.system == "windows":
        documents = machine.at("OneDrive") / "Documents"
        return documents / "PowerShell"
    return machine.config() / "powershell"


def shell_of(machine: Machine) -> ShellName | None:
    """Return the shell that a user has set, or None where it is none that is known."""
    name = PurePath(machine.env.get("SHELL", "")).name
    match name:
        case "bash" | "zsh" | "fish":
            return name
        case _:
            return "powershell" if machine.system == "windows" else None


def plan_install(place: Integration, script: str, files: Files) -> tuple[FileEdit, ...]:
    """Return the edits that give a shell the script.

    Args:
        place: its files.
        script: what ``render_script`` returned.
        files: contents of both files.

    Raises:
        ConfigError: the start-up file is no text, or our marks in it are broken.
    """
    edits = [FileEdit(place.script, files.get(place.script), script.encode())]
    if place.start_up is not None:
        before = files.get(place.start_up)
        file = _read(place.start_up, before)
        lines = [_reading(place)]
        if before is None or _MADE in (block_of(file.text) or ()):
            lines.insert(0, _MADE)
        after = file.encode(with_block(file.text, lines))
        edits.append(FileEdit(place.start_up, before, after))
    return tuple(edits)


def plan_remove(place: Integration, files: Files) -> tuple[FileEdit, ...]:
    """Return the edits that take the script away again.

    Raises:
        ConfigError: as ``plan_install``.
    """
    edits = []
    if place.start_up is not None and (before := files.get(place.start_up)) is not None:
        file = _read(place.start_up, before)
        made = _MADE in (block_of(file.text) or ())
        text = without_block(file.text)
        after = None if made and not text.strip() else file.encode(text)
        edits.append(FileEdit(place.start_up, before, after))
    edits.append(FileEdit(place.script, files.get(place.script), None))
    return tuple(edits)


def _read(path: PurePath, content: bytes | None) -> TextFile:
    try:
        file = decode(content or b"")
        block_of(file.text)
    except SyntaxFault as fault:
        raise ConfigError([ConfigProblem(str(path), fault.line, "", fault.message)]) from fault
    return file


def _reading(place: Integration) -> str:
    path = quoted(place.shell, str(place.script))
    if place.shell == "powershell":
        return f"if (Test-Path -LiteralPath {path}) {{ . {path} }}"
    return f"if [ -r {path} ]; then . {path}; fi"
