"""Copying a text: by the small programs that each system or desktop has for it.

The text goes by standard input, never as an argument, which others could see.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from app.errors import AppError

__all__ = ["Copier", "find_command", "find_copier"]

Copier: TypeAlias = Callable[[str], None]
"""Puts a text on the clipboard; raises ``AppError`` ``copy_failed``."""

_LIMIT_S = 5.0

_PYTHON = "/usr/bin/python3"

_GTK = """
import os
import sys
import gi
gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, Gtk
text = sys.stdin.read()
clipboard = Gtk.Clipboard.get(Gdk.SELECTION_CLIPBOARD)
clipboard.set_text(text, -1)
clipboard.store()
clipboard.connect("owner-change", lambda *_: clipboard.wait_for_text() != text and Gtk.main_quit())
os.close(1)
Gtk.main()
"""
"""Holds the text until something else is copied: on X11 it is gone with the program that has it.
Under Wayland this goes through XWayland, since a program without a window may not copy there.
Closing its output says that the text is there."""

_GTK_PLACES = ("usr/lib/*", "usr/lib64", "usr/lib")


def find_command(
    platform: str, env: Mapping[str, str], which: Callable[[str], str | None]
) -> tuple[list[str], str] | None:
    """Return the command that copies its standard input and the encoding that it wants, or None.

    Args:
        platform: as ``sys.platform``.
        env: the environment.
        which: finds a program on the path.
    """
    if platform == "win32":
        return ["clip.exe"], "utf-16-le"
    if platform == "darwin":
        return ["/usr/bin/pbcopy"], "utf-8"
    candidates: list[list[str]] = []
    if env.get("WAYLAND_DISPLAY"):
        candidates.append(["wl-copy"])
    if env.get("DISPLAY"):
        candidates.append(["xclip", "-selection", "clipboard"])
        candidates.append(["xsel", "--clipboard", "--input"])
    for command in candidates:
        if which(command[0]) is not None:
            return command, "utf-8"
    return None


def _has_gtk() -> bool:
    """Say whether the distribution's Python has GTK, by its files alone."""
    root = Path("/")
    name = "girepository-1.0/Gtk-3.0.typelib"
    typelib = any(any(root.glob(f"{place}/{name}")) for place in _GTK_PLACES)
    return typelib and Path(_PYTHON).exists()


def find_copier(
    platform: str = sys.platform,
    env: Mapping[str, str] = os.environ,
    which: Callable[[str], str | None] = shutil.which,
    has_gtk: Callable[[], bool] = _has_gtk,
) -> Copier | None:
    """Return what copies here, or None when nothing does.

    Args:
        platform: as ``sys.platform``.
        env: the environment.
        which: finds a program on the path.
        has_gtk: whether the distribution's Python has GTK; it is asked when nothing else is there.
    """
    found = find_command(platform, env, which)
    if found is not None:
        command, encoding = found
        return lambda text: _copy(command, text.encode(encoding), env)
    if not platform.startswith("linux") or not env.get("DISPLAY") or not has_gtk():
        return None
    x11 = {**env, "GDK_BACKEND": "x11"}
    return lambda text: _copy([_PYTHON, "-I", "-c", _GTK], text.encode(), x11, holds=True)


def _copy(
    command: list[str], content: bytes, env: Mapping[str, str], *, holds: bool = False
) -> None:
    """Give a command the text, and wait until it has taken it.

    With ``holds`` that is when it closes its output, and it goes on; else when it ends.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - from the tables above
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if holds else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(env),
            start_new_session=sys.platform != "win32",
        )
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        with process.stdin:
            process.stdin.write(content)
    except OSError as error:
        raise _failed(f"{command[0]}: {error.strerror or error}") from error
    if process.stdout is not None:
        with process.stdout:
            process.stdout.read()
        threading.Thread(target=process.wait, name="clipboard", daemon=True).start()
        if process.poll():
            raise _failed(f"{command[0]} ended with exit code {process.returncode}")
        return
    try:
        if code := process.wait(_LIMIT_S):
            raise _failed(f"{command[0]} ended with exit code {code}")
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise _failed(f"{command[0]} did not end in {_LIMIT_S:g} s") from None


def _failed(why: str) -> AppError:
    return AppError(f"It could not be copied ({why}).", code="copy_failed")
