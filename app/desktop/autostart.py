"""Starting at sign-in: one switch, kept where each system keeps it, off until the user sets it.

The system has a switch of its own (GNOME's and KDE's settings, Login Items of macOS, the Task
Manager of Windows). It wins: what it has switched off is shown as ``blocked`` and is not switched
on again behind the user's back.
"""

from __future__ import annotations

import importlib
import os
import plistlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from app.errors import AppError

__all__ = [
    "MARK",
    "Autostart",
    "LaunchAgent",
    "Registry",
    "State",
    "WindowsRun",
    "XdgAutostart",
    "find",
]

State: TypeAlias = Literal["on", "off", "blocked"]
"""``blocked``: switched on here, and off by the system's own switch."""

MARK = "DRAGOMAN_AT_SIGN_IN"
"""Set in the environment of a program that was started so: it then opens no window by itself."""

_ID = "dragoman"
_LABEL = "io.github.dragoman"


class Autostart(Protocol):
    """The switch of one system."""

    where: str
    """Where the system's own switch is, for people."""

    def state(self) -> State:
        """Return how it stands."""
        ...

    def switch_on(self, command: Sequence[str]) -> None:
        """Have the system run a command at sign-in; ``AppError`` when that cannot be stored."""
        ...

    def switch_off(self) -> None:
        """End that; ``AppError`` when it cannot be stored."""
        ...


def find(platform: str = sys.platform, env: Mapping[str, str] = os.environ) -> Autostart | None:
    """Return this system's switch, or None where there is none we know."""
    home = Path(env.get("HOME") or Path.home())
    if platform == "win32":
        return WindowsRun(WinRegistry())
    if platform == "darwin":
        return LaunchAgent(home / "Library" / "LaunchAgents", _said)
    if platform.startswith("linux"):
        config = env.get("XDG_CONFIG_HOME")
        return XdgAutostart(Path(config) if config else home / ".config")
    return None


def _failed(what: str, error: OSError) -> AppError:
    return AppError(
        f"{what} cannot be changed: {error.strerror or error}.", code="autostart_failed"
    )


class XdgAutostart:
    """A desktop entry in ``autostart/``; desktops switch it off by keys inside of it.

    Source: freedesktop.org, Desktop Application Autostart 0.5; GNOME's key is its own.
    """

    where = "the startup applications of your desktop"

    def __init__(self, config: Path) -> None:
        self._file = config / "autostart" / f"{_ID}.desktop"

    def state(self) -> State:
        """Return how it stands; a file that cannot be read is none."""
        try:
            lines = self._file.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return "off"
        keys = dict(line.replace(" ", "").partition("=")[::2] for line in lines if "=" in line)
        hidden = keys.get("Hidden", "").lower() == "true"
        gnome = keys.get("X-GNOME-Autostart-enabled", "true").lower() == "false"
        return "blocked" if hidden or gnome else "on"

    def switch_on(self, command: Sequence[str]) -> None:
        """Write the entry, unless the desktop has switched it off."""
        if self.state() == "blocked":
            raise AppError(
                f"It is switched off in {self.where}.",
                code="autostart_blocked",
                hint="Switch it on there.",
            )
        words = " ".join(_exec_word(word) for word in ("env", f"{MARK}=1", *command))
        text = (
            "[Desktop Entry]\nType=Application\nName=Dragoman\n"
            "Comment=One local address for every model account\n"
            f"Exec={words}\nTerminal=false\nX-GNOME-Autostart-enabled=true\n"
        )
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(text, "utf-8")
        except OSError as error:
            raise _failed(str(self._file), error) from error

    def switch_off(self) -> None:
        """Remove the entry."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            raise _failed(str(self._file), error) from error


def _exec_word(word: str) -> str:
    """Quote a word for ``Exec``: field codes, then the characters that the format reserves."""
    word = word.replace("%", "%%")
    if word and not set(word) & set(" \t\n\"'\\><~|&;$*?#()`"):
        return word
    for character in '\\"`$':
        word = word.replace(character, f"\\{character}")
    # The value as a whole is a string of the file, in which a backslash is escaped once more.
    return f'"{word}"'.replace("\\", "\\\\")


def _said(command: Sequence[str]) -> str:
    """Return what a command prints; nothing when it cannot be run."""
    try:
        done = subprocess.run(  # noqa: S603 - the system's own program
            list(command), capture_output=True, text=True, timeout=5.0, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


class LaunchAgent:
    """A property list in ``~/Library/LaunchAgents``; macOS keeps what it disabled for itself.

    Source: ``launchd.plist(5)``, ``launchctl print-disabled`` (unverified on macOS 26).

    Args:
        folder: where the lists of this user are.
        said: returns what a command prints.
    """

    where = "Login Items in the System Settings"

    def __init__(self, folder: Path, said: Callable[[Sequence[str]], str]) -> None:
        self._file = folder / f"{_LABEL}.plist"
        self._said = said

    def state(self) -> State:
        """Return how it stands."""
        if not self._file.exists():
            return "off"
        uid = os.getuid() if hasattr(os, "getuid") else 0
        listing = self._said(["/bin/launchctl", "print-disabled", f"gui/{uid}"])
        for line in listing.splitlines():
            name, _, value = line.partition("=>")
            if name.strip().strip('"') == _LABEL:
                return "blocked" if value.strip() in ("disabled", "true") else "on"
        return "on"

    def switch_on(self, command: Sequence[str]) -> None:
        """Write the list; it holds from the next sign-in."""
        if self.state() == "blocked":
            raise AppError(
                f"It is switched off in {self.where}.",
                code="autostart_blocked",
                hint="Switch it on there.",
            )
        content = plistlib.dumps(
            {
                "Label": _LABEL,
                "ProgramArguments": list(command),
                "EnvironmentVariables": {MARK: "1"},
                "RunAtLoad": True,
                "KeepAlive": False,
                "LimitLoadToSessionType": "Aqua",
                "ProcessType": "Interactive",
            }
        )
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_bytes(content)
        except OSError as error:
            raise _failed(str(self._file), error) from error

    def switch_off(self) -> None:
        """Remove the list."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            raise _failed(str(self._file), error) from error


class Registry(Protocol):
    """The user's part of the registry of Windows."""

    def get(self, key: str, name: str) -> str | bytes | None:
        """Return a value, or None where there is none."""
        ...

    def put(self, key: str, name: str, value: str) -> None:
        """Store a string."""
        ...

    def delete(self, key: str, name: str) -> None:
        """Remove a value, if it is there."""
        ...


class WindowsRun:
    """A value of the ``Run`` key; the Task Manager notes what it switched off beside it.

    Source: observed layout of ``StartupApproved`` (documented nowhere): a first byte that is even
    means on, an odd one off.
    """

    where = "the Task Manager, under Startup apps"

    RUN = r"Software\Microsoft\Windows\CurrentVersion\Run"
    APPROVED = r"Software\Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\Run"
    NAME = "Dragoman"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def state(self) -> State:
        """Return how it stands."""
        if self._registry.get(self.RUN, self.NAME) is None:
            return "off"
        noted = self._registry.get(self.APPROVED, self.NAME)
        return "blocked" if isinstance(noted, bytes) and noted and noted[0] & 1 else "on"

    def switch_on(self, command: Sequence[str]) -> None:
        """Write the value."""
        if self.state() == "blocked":
            raise AppError(
                f"It is switched off in {self.where}.",
                code="autostart_blocked",
                hint="Switch it on there.",
            )
        try:
            self._registry.put(self.RUN, self.NAME, subprocess.list2cmdline(command))
        except OSError as error:
            raise _failed("The registry", error) from error

    def switch_off(self) -> None:
        """Remove the value."""
        try:
            self._registry.delete(self.RUN, self.NAME)
        except OSError as error:
            raise _failed("The registry", error) from error


class WinRegistry:
    """The real registry, below ``HKEY_CURRENT_USER``."""

    def __init__(self) -> None:
        self._winreg: Any = importlib.import_module("winreg")

    def get(self, key: str, name: str) -> str | bytes | None:
        """Return a value, or None where there is none."""
        winreg = self._winreg
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key) as opened:
                value, _ = winreg.QueryValueEx(opened, name)
        except OSError:
            return None
        return value if isinstance(value, str | bytes) else None

    def put(self, key: str, name: str, value: str) -> None:
        """Store a string."""
        winreg = self._winreg
        with winreg.CreateKey(winreg.HKEY_CURRENT_USER, key) as opened:
            winreg.SetValueEx(opened, name, 0, winreg.REG_SZ, value)

    def delete(self, key: str, name: str) -> None:
        """Remove a value, if it is there."""
        winreg = self._winreg
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key, 0, winreg.KEY_SET_VALUE) as opened:
                winreg.DeleteValue(opened, name)
        except FileNotFoundError:
            return
