"""Whether the panel behind the icon is light or dark."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

__all__ = ["find_theme"]

_PERSONALIZE = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"


def find_theme(
    platform: str = sys.platform,
    env: Mapping[str, str] = os.environ,
    windows_light: Callable[[], bool] | None = None,
) -> Literal["light", "dark"]:
    """Return the theme of the panel, as far as it can be told.

    Windows says it. On Linux nobody does: the panels of GNOME, Cinnamon, Unity, Budgie and xfce are
    dark unless their user changed that, whatever the colours of windows; KDE and MATE ship light
    ones.
    """
    if platform == "win32":
        return "light" if (windows_light or _windows_light)() else "dark"
    desktops = env.get("XDG_CURRENT_DESKTOP", "").upper().split(":")
    return "light" if {"KDE", "MATE", "LXQT"} & set(desktops) else "dark"


def _windows_light() -> bool:
    winreg: Any = importlib.import_module("winreg")
    try:
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, _PERSONALIZE) as key:
            return bool(winreg.QueryValueEx(key, "SystemUsesLightTheme")[0])
    except OSError:
        return False
