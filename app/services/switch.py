"""Whether a helper program is turned on, and what its user agreed to; kept in a small file."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from app.paths import write_private

__all__ = ["Switch", "SwitchState"]

_log = logging.getLogger("dragoman.services")


class SwitchState(msgspec.Struct, frozen=True):
    """What the file holds."""

    on: bool | None = None
    """None: nobody has turned it on or off, so that the settings decide."""
    consent: str = ""
    """Version of the text that was agreed to."""
    consented_at: float | None = None
    """Epoch seconds UTC."""


class Switch:
    """The switch of one program. A file that cannot be read counts as one never touched."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.state = self._read()

    def _read(self) -> SwitchState:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=SwitchState)
        except FileNotFoundError:
            return SwitchState()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("%s cannot be read: %s", self._file, error)
            return SwitchState()

    def turn(self, on: bool | None) -> None:
        """Turn it on or off, or leave that to the settings.

        Raises:
            OSError: the file cannot be written; nothing has changed then.
        """
        self._keep(msgspec.structs.replace(self.state, on=on))

    def agree(self, version: str, now: float) -> None:
        """Note what the user agreed to, and when.

        Raises:
            OSError: as ``turn``.
        """
        if self.state.consent != version:
            self._keep(msgspec.structs.replace(self.state, consent=version, consented_at=now))

    def _keep(self, state: SwitchState) -> None:
        if state != self.state:
            write_private(self._file, msgspec.json.encode(state))
            self.state = state
