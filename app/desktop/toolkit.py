"""pystray and its backends, loaded without pystray's own guess at what this desktop has."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any, Literal, TypeAlias

__all__ = ["Backend", "icon_class", "load"]

Backend: TypeAlias = Literal["appindicator", "win32", "darwin"]
"""pystray's own backends that have menus; its xorg one has none."""

_VARIABLE = "PYSTRAY_BACKEND"


def load() -> ModuleType:
    """Import pystray with its dummy backend, which needs nothing.

    Left alone on Linux it may choose its xorg backend, and it fails to import where there is no
    display. The variable that it reads is put back: children must not inherit it.
    """
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "dummy"
    try:
        return importlib.import_module("pystray")
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def icon_class(backend: Backend) -> Any:
    """Return the icon class of one of pystray's own backends.

    Raises:
        ImportError: what it needs is not there; a display that refuses is reported so, too.
    """
    load()
    try:
        return importlib.import_module(f"pystray._{backend}").Icon
    except ImportError:
        raise
    except Exception as error:  # GTK's errors about versions and displays have many types
        raise ImportError(f"the {backend} tray cannot be used: {error}") from error
