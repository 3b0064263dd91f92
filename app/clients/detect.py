"""Whether an agent is on this machine, and in which version.

Looking costs a few file names. A version is read from the package's own manifest where the program
lies in one; only else the program is asked, and only when somebody wants to know.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, TypeAlias

import msgspec

from app.clients.agent import Agent, Machine
from app.paths import Paths

__all__ = ["Found", "Run", "ask", "detect", "find_program", "machine_here", "version_of"]

Run: TypeAlias = Callable[[Sequence[str]], str]
"""Runs a program and returns what it prints; empty where it fails."""

_PATIENCE_S: Final = 8.0
_VERSION = re.compile(r"\d+(?:\.\d+)+(?:[-+.][0-9A-Za-z.]+)?")
_LIKELY: Final = (
    (".local", "bin"),
    (".npm-global", "bin"),
    (".bun", "bin"),
    (".volta", "bin"),
    (".cargo", "bin"),
    (".opencode", "bin"),
    (".claude", "local"),
)
"""Folders below home where installers put programs; a program from a menu has a shorter PATH."""
_LIKELY_MACOS: Final = ("/opt/homebrew/bin", "/usr/local/bin")


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the machine found."""

    program: Path | None
    """Where its program is; None where there is none, or it has none."""
    traces: tuple[PurePath, ...]
    """Places of its that are there."""

    @property
    def installed(self) -> bool:
        """Whether there is anything of it."""
        return self.program is not None or bool(self.traces)


def machine_here(paths: Paths, env: Mapping[str, str] | None = None) -> Machine:
    """Return this machine as agents see it."""
    env = os.environ if env is None else env
    home = env.get("USERPROFILE" if sys.platform == "win32" else "HOME")
    return Machine(
        system={"win32": "windows", "darwin": "macos"}.get(sys.platform, "linux"),  # type: ignore[arg-type]
        home=Path(home) if home else Path.home(),
        env=env,
        data=paths.data / "agents",
    )


def find_program(names: Sequence[str], machine: Machine) -> Path | None:
    """Return the first of several programs that is there: on PATH, else in likely folders."""
    folders = [str(machine.home.joinpath(*parts)) for parts in _LIKELY]
    folders += _LIKELY_MACOS if machine.system == "macos" else ()
    for path in (machine.env.get("PATH", ""), os.pathsep.join(folders)):
        for name in names:
            if path and (found := shutil.which(name, path=path)):
                return Path(found)
    return None


def detect(agent: Agent, machine: Machine) -> Found:
    """Look for an agent; nothing is started."""
    program = find_program(agent.programs, machine)
    traces = tuple(place for place in agent.traces(machine) if Path(place).exists())
    return Found(program, traces)


def version_of(program: Path, run: Run | None = None) -> str:
    """Return a program's version, empty where it cannot be told.

    Args:
        program: its path.
        run: starts it with ``--version``; ``ask`` by default.
    """
    packaged = _packaged_version(program)
    if packaged:
        return packaged
    match = _VERSION.search((run or ask)([str(program), "--version"]))
    return match[0] if match else ""


def _packaged_version(program: Path) -> str:
    """Return the version in the npm package that a program belongs to; empty where there is none."""
    try:
        place = program.resolve()
    except (OSError, RuntimeError):
        return ""
    if "node_modules" not in place.parts:
        return ""
    for folder in place.parents:
        if folder.name == "node_modules":
            break
        try:
            facts = msgspec.json.decode((folder / "package.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            continue
        version = facts.get("version") if isinstance(facts, dict) else None
        if isinstance(version, str):
            return version
    return ""


def ask(command: Sequence[str]) -> str:
    """Run a program without a terminal and return what it prints; empty where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - a program that the user has on PATH
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
