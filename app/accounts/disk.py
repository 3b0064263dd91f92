"""The few file operations that the vault is built of, each of them whole or not done."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

__all__ = ["Disk"]

_WAITS_S = (0.02, 0.1, 0.5)
"""Pauses before a replacement is tried again on Windows, where a virus scanner or a backup may
have the file open for a moment."""


class Disk:
    """Files on a real disk; a test puts its own in this place to fail between any two steps."""

    def write(self, path: Path, content: bytes) -> None:
        """Write a file of mode 0600 and wait until the disk has its content.

        What had the name before is removed, never followed or written into.

        Raises:
            OSError: it could not be written; part of it may be there.
        """
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())

    def keep(self, path: Path, other: Path) -> None:
        """Give a file a second name; where the disk has no links, move it there.

        Raises:
            OSError: neither could be done.
        """
        try:
            os.link(path, other)
        except FileExistsError:
            raise
        except OSError:
            self.replace(path, other)

    def replace(self, path: Path, other: Path) -> None:
        """Give a file another name in one step, in place of what had it.

        Raises:
            OSError: it could not be done; both are as they were.
        """
        for wait_s in _WAITS_S if os.name == "nt" else ():
            try:
                os.replace(path, other)
            except PermissionError:
                time.sleep(wait_s)
            else:
                return
        os.replace(path, other)

    def remove(self, path: Path) -> None:
        """Remove a file; a missing one is no error.

        Raises:
            OSError: it is there and could not be removed.
        """
        path.unlink(missing_ok=True)

    def settle(self, folder: Path) -> None:
        """Wait until the disk has the names in a folder; Windows does this by itself.

        Raises:
            OSError: the disk failed.
        """
        if os.name == "nt":
            return
        handle = os.open(folder, os.O_RDONLY)
        try:
            _sync(handle)
        finally:
            os.close(handle)


def _sync(handle: int) -> None:
    if sys.platform == "darwin":
        # There, fsync leaves the data in the drive's own cache (fsync(2) of macOS); network disks
        # do not know the stronger call.
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)
