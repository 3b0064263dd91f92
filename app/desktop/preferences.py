"""The few things that the desktop itself remembers: ``desktop.json`` in the data folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import msgspec

from app.paths import write_private

__all__ = ["Preferences", "load", "save"]

_log = logging.getLogger("dragoman.desktop")


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """What the user chose in the menu."""

    muted: frozenset[str] = frozenset()
    """Kinds of notification that are switched off; see ``notify.KINDS``."""
    welcomed: bool = False
    """The first steps were shown."""
    places: dict[str, Literal["window", "browser", "here", "ours"]] = {}
    """Where the user had a service's page during the last sign-in, by the service's id."""


def load(file: Path) -> Preferences:
    """Return what is remembered; the defaults when there is nothing, or it cannot be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Preferences)
    except FileNotFoundError:
        return Preferences()
    except (OSError, msgspec.DecodeError) as error:
        _log.warning("%s cannot be read, so the defaults hold: %s", file, error)
        return Preferences()


def save(file: Path, preferences: Preferences) -> None:
    """Remember the choices; a folder that cannot be written is logged, and they hold until the end.

    They are a comfort: nothing must stop because of them.
    """
    try:
        write_private(file, msgspec.json.encode(preferences))
    except OSError as error:
        _log.warning("%s cannot be written: %s", file, error)
