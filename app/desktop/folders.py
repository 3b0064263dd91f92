"""Folders of sign-in windows: what the pages of services keep, apart for each account.

A new account begins with an empty folder, or its page would still know whoever signed in before;
the folder becomes the account's own once it is known which that is. With it, signing in again is
quick. It goes when the account goes. What a window left behind that never came to its end is
deleted at the next start.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from pathlib import Path
from urllib.parse import quote

__all__ = ["Folders"]

_log = logging.getLogger("dragoman.desktop")


class Folders:
    """Folders below ``root``; the calls block for as long as the disk takes."""

    def __init__(self, root: Path) -> None:
        self._accounts = root / "accounts"
        self._new = root / "new"

    def fresh(self) -> Path:
        """Return a folder that nobody has used; whoever opens a window makes it."""
        return self._new / secrets.token_hex(8)

    def of(self, account_id: str) -> Path:
        """Return an account's folder."""
        provider, _, label = account_id.partition("/")
        return self._accounts / _name(provider) / _name(label)

    def keep(self, folder: Path, account_id: str) -> None:
        """Make a folder an account's own; the one that it had goes."""
        own = self.of(account_id)
        if folder == own or not folder.exists():
            return
        self.drop(own)
        try:
            own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.rename(own)
        except OSError as error:  # then the next sign-in asks for everything again
            _log.warning("what a sign-in page keeps cannot be kept: %s", error)
            self.drop(folder)

    def forget(self, account_id: str) -> None:
        """Delete an account's folder."""
        self.drop(self.of(account_id))

    def drop(self, folder: Path) -> None:
        """Delete a folder, as far as that can be done now; the rest goes at the next start."""
        if not folder.exists():
            return
        try:
            shutil.rmtree(folder)
        except OSError as error:  # a web view's helper may still be writing
            _log.info("%s is left for later: %s", folder, error)

    def sweep(self) -> None:
        """Delete what windows left behind that never came to their end."""
        self.drop(self._new)


def _name(text: str) -> str:
    """Return a name for the disk: labels may hold anything, and dots alone mean other folders."""
    return quote(text, safe="").replace(".", "%2E") or "%"
