"""The database, opened after the port listens: what is asked of it before waits a little."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.errors import AppError
from app.keys import KeyIndex

if TYPE_CHECKING:
    from app.store.database import Database
    from app.store.keys import Keys
    from app.store.ledger import LedgerStore
    from app.store.usage import UsageStore

__all__ = ["Opening"]

_log = logging.getLogger("dragoman.store")

_WAIT_S: Final = 5.0


class Opening:
    """The database on its way. States: closed → opening → open, or failed with ``trouble``.

    The libraries are imported here, too, in a thread: they take longer than all the rest of the
    start.

    Args:
        url: of the database; None for the file in ``folder``.
        folder: the data folder.
    """

    def __init__(self, url: str | None, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._database: Database | None = None
        self._keys: Keys | None = None
        self.index = KeyIndex()
        """The keys by their hash, for checking calls; empty until it is open."""
        self.read_use: Callable[[UsageStore], None] | None = None
        """Given what was used so far, in the thread, before the first key can be used."""
        self.trouble = ""
        """Why it could not be opened."""
        self.done = asyncio.Event()
        """Set once it is open, or cannot be opened."""

    async def open(self) -> None:
        """Open it; what fails is told by ``trouble`` and in the log."""
        try:
            self._keys = await asyncio.to_thread(self._open)
        except AppError as error:
            self.trouble = error.text
            _log.error("keys cannot be used: %s", error.text)
        finally:
            self.done.set()

    def _open(self) -> Keys:
        from app.store.database import Database
        from app.store.keys import Keys

        self._database = database = Database(self._url, self._folder)
        aside = database.migrate_or_begin_anew(time.time())
        if aside is not None:
            _log.error("the database was damaged; it lies at %s now, and a new one begins", aside)
        keys = Keys(database, self.index)
        keys.load_all()
        self._read_use(database)
        return keys

    def _read_use(self, database: Database) -> None:
        from app.store.usage import UsageStore

        if self.read_use is None:
            return
        try:
            self.read_use(UsageStore(database))
        except AppError as error:  # the ledger tries again
            _log.error("what keys have used is not known yet: %s", error.text)

    def ledger_store(self) -> LedgerStore:
        """Return where the ledger is kept; called in a thread, again and again until it works.

        Raises:
            AppError: the database cannot be used.
        """
        from app.store.database import Database
        from app.store.ledger import LedgerStore

        if self._database is None or self._keys is None:
            database = Database(self._url, self._folder)
            database.migrate_or_begin_anew(time.time())
            self._database = database
        return LedgerStore(self._database)

    async def keys(self) -> Keys:
        """Return the key store, once it is open.

        Raises:
            AppError: it cannot be opened, or takes too long (503 ``store_unavailable``).
        """
        await self._ready()
        if self._keys is None:
            raise self._unavailable()
        return self._keys

    async def database(self) -> Database:
        """Return the database, once it is open.

        Raises:
            AppError: as ``keys``.
        """
        await self._ready()
        if self._database is None or self._keys is None:
            raise self._unavailable()
        return self._database

    async def close(self) -> None:
        """Close it."""
        if self._database is not None:
            await asyncio.to_thread(self._database.close)

    async def _ready(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.done.wait(), _WAIT_S)

    def _unavailable(self) -> AppError:
        return AppError(
            self.trouble or "The key store is still opening.",
            status=503,
            code="store_unavailable",
        )
