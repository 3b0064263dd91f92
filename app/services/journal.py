"""What a helper program prints, kept in a file of its own."""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime
from pathlib import Path

from app.log import scrub
from app.paths import Paths, private_dir

__all__ = ["Journal", "log_file"]

_MOST_BYTES = 1024 * 1024
_LONGEST = 4_000
_REMEMBERED = 20


def log_file(paths: Paths, name: str) -> Path:
    """Return the file that keeps what a program prints."""
    return paths.state / "services" / f"{name}.log"


class Journal:
    """A log file of at most a megabyte, with one older one beside it as ``.1``.

    Lines come from any thread, and secrets are cut out of them as in the program's own log. The
    file is open only while something is written, so that nothing has to be closed.
    """

    def __init__(self, file: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self.file = file
        self._most_bytes = most_bytes
        self._guard = threading.Lock()
        self._last: deque[str] = deque(maxlen=_REMEMBERED)

    @property
    def last(self) -> str:
        """Return the last line that was written and is not empty."""
        return next((line for line in reversed(self._last) if line.strip()), "")

    def forget(self) -> None:
        """Forget the last lines: they are another run's."""
        self._last.clear()

    def write(self, text: str) -> None:
        """Write a line."""
        line = scrub(text.rstrip())[:_LONGEST]
        moment = datetime.now().astimezone().isoformat(timespec="milliseconds")
        with self._guard:
            self._last.append(line)
            private_dir(self.file.parent)
            if self.file.exists() and self.file.stat().st_size > self._most_bytes:
                self.file.replace(self.file.with_name(f"{self.file.name}.1"))
            with self.file.open("a", encoding="utf-8", errors="replace") as out:
                out.write(f"{moment} {line}\n")
            self.file.chmod(0o600)
