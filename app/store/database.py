"""Opening the database, bringing it to the newest revision, and the border for its errors.

SQLite is the default: one file in write-ahead mode, so that readers do not wait for the writer.
PostgreSQL serves several machines. Nothing outside this room may depend on either.

Calls block; run them on an executor's thread.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from app.errors import AppError
from app.paths import private_dir
from app.store.tables import HEAD, LEDGER_TABLES, metadata, revision

__all__ = ["Database"]

_log = logging.getLogger("dragoman.store")

_BUSY_TIMEOUT_S = 5
"""A writer holds the lock for milliseconds; five seconds is a disk that has gone to sleep."""

_MIGRATION_LOCK = 8317_0001
"""PostgreSQL advisory lock: of several programs that start at once, one migrates."""


class Database:
    """A pool of connections to the one database. States: open → closed (``close``)."""

    def __init__(
        self, url: str | None, data_dir: Path, *, busy_timeout_s: float = _BUSY_TIMEOUT_S
    ) -> None:
        """Open the database; its schema is untouched until ``migrate``.

        Args:
            url: SQLAlchemy URL of PostgreSQL or SQLite; None for ``dragoman.db`` in ``data_dir``.
            data_dir: created, private, when the file is in it.
            busy_timeout_s: how long SQLite waits for another program's write to end.

        Raises:
            AppError: ``store_unavailable``: the URL is wrong, its driver is not installed, or the
                file cannot be made.
        """
        self._place = "the database"
        try:
            target = _file_url(data_dir) if url is None else make_url(url)
            self._place = f"the database {target.render_as_string(hide_password=True)}"
            if target.get_backend_name() == "sqlite" and target.database:
                _touch_private(Path(target.database))
            self._target, self._busy_timeout_s = target, busy_timeout_s
            self._engine = _engine(target, busy_timeout_s)
        except (SQLAlchemyError, ImportError, ValueError, OSError) as error:
            raise AppError(
                f"Cannot open {self._place}: {_reason(error)}.",
                code="store_unavailable",
                status=503,
                hint="Check database.url and the data folder.",
            ) from _without_secrets(error)

    def migrate(self) -> None:
        """Bring the schema to the newest revision; an empty database gets it in one step.

        Alembic is imported only when there is an older revision to move from.

        Raises:
            AppError: ``store_unavailable``; ``store_too_new`` when a newer program has been here.
        """
        with self.write() as connection:
            if connection.dialect.name == "postgresql":
                lock = text("SELECT pg_advisory_xact_lock(:number)")
                connection.execute(lock, {"number": _MIGRATION_LOCK})
            names = sqlalchemy.inspect(connection).get_table_names()
            stored = None
            if revision.name in names:
                stored = connection.execute(sqlalchemy.select(revision.c.version_num)).scalar()
            if stored == HEAD:
                return
            if not names:
                metadata.create_all(connection)
                revision.create(connection)
                connection.execute(revision.insert().values(version_num=HEAD))
                return
            _upgrade(connection)

    def migrate_or_begin_anew(self, now: float) -> Path | None:
        """Bring the schema to the newest revision; a damaged file is set aside first.

        Args:
            now: epoch seconds, for the name of the old file.

        Returns:
            Where the damaged file is; None when there was none.

        Raises:
            AppError: as ``migrate`` and ``set_aside``.
        """
        try:
            self.migrate()
        except AppError as error:
            if error.code != "store_damaged":
                raise
            aside = self.set_aside(now)
            if aside is None:
                raise
            _log.error("the database was damaged; it is kept as %s, and a new one begun", aside)
            return aside
        return None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading: one consistent view until the block ends.

        Raises:
            AppError: see ``write``.
        """
        with self._border(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection for writing; commits at the end of the block, rolls back on an error.

        Raises:
            AppError: ``store_locked`` while another program writes, ``store_full``,
                ``store_damaged``, ``store_unavailable`` for all else that keeps the database from
                being used; ``store_conflict`` for a value that must be unique.
        """
        with (
            self._border(),
            self._engine.connect() as connection,
            connection.execution_options(writes=True).begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @property
    def is_file(self) -> bool:
        """Whether it is an SQLite file of our own."""
        return self._target.get_backend_name() == "sqlite" and bool(self._target.database)

    def set_aside(self, now: float) -> Path | None:
        """Put a damaged SQLite file beside, and begin a new one in its place.

        The old file keeps its content under a name with the time (``dragoman.db.damaged-…``). What
        can still be read of its small tables (the keys) goes into the new one; the ledger does not.

        Args:
            now: epoch seconds, for the name.

        Returns:
            Where the old file is; None for a database that is no file.

        Raises:
            AppError: ``store_unavailable``: it cannot be renamed (on Windows, while somebody has
                it open), or no new one can be made.
        """
        if not self.is_file:
            return None
        path = Path(str(self._target.database))
        moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        aside = path.with_name(f"{path.name}.damaged-{moment}")
        number = 1
        while aside.exists():  # a rename would replace it on POSIX
            number += 1
            aside = path.with_name(f"{path.name}.damaged-{moment}-{number}")
        self._engine.dispose()
        try:
            for ending in ("-wal", "-shm", ""):
                old = path.with_name(path.name + ending)
                if old.exists():
                    old.rename(aside.with_name(aside.name + ending))
            _touch_private(path)
        except OSError as error:
            raise AppError(
                f"The damaged {self._place} cannot be put aside: {error.strerror or error}.",
                code="store_unavailable",
                status=503,
                hint="Close other programs that have it open.",
            ) from error
        self._engine = _engine(self._target, self._busy_timeout_s)
        self.migrate()
        self._save_from(aside)
        return aside

    def _save_from(self, aside: Path) -> None:
        """Copy what can be read of the small tables of a damaged file."""
        old = sqlalchemy.create_engine(URL.create("sqlite", database=str(aside)))
        try:
            for table in metadata.sorted_tables:
                if table in LEDGER_TABLES:
                    continue
                try:
                    with old.connect() as connection:
                        # The file may be from before the newest revision.
                        names = {
                            c["name"]
                            for c in sqlalchemy.inspect(connection).get_columns(table.name)
                        }
                        columns = [column for column in table.columns if column.name in names]
                        rows = connection.execute(sqlalchemy.select(*columns)).mappings().all()
                except SQLAlchemyError as error:
                    _log.warning("%s: the table %s is lost: %s", aside, table, _reason(error))
                    continue
                if rows:
                    with self.write() as connection:
                        connection.execute(table.insert(), [dict(row) for row in rows])
        finally:
            old.dispose()

    @contextmanager
    def _border(self) -> Iterator[None]:
        """Turn the library's errors into ours."""
        try:
            yield
        except IntegrityError as error:
            raise AppError(
                f"A value that must be there once only is in {self._place} already.",
                code="store_conflict",
                status=409,
            ) from error
        except SQLAlchemyError as error:
            code, hint = _trouble(error)
            raise AppError(
                f"Cannot use {self._place}: {_reason(error)}.", code=code, status=503, hint=hint
            ) from error


def _file_url(data_dir: Path) -> URL:
    return URL.create("sqlite", database=str(data_dir / "dragoman.db"))


def _touch_private(path: Path) -> None:
    """Make the file with mode 0600 before SQLite does; its -wal and -shm files take the mode."""
    private_dir(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _engine(url: URL, busy_timeout_s: float) -> Engine:
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError(f"{url.get_backend_name()} is neither postgresql nor sqlite")
    # Errors must not repeat what was being written.
    engine = sqlalchemy.create_engine(url, hide_parameters=True, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":

        def prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
            _prepare_sqlite(connection, busy_timeout_s)

        event.listen(engine, "connect", prepare)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, busy_timeout_s: float) -> None:
    # Python's driver opens transactions by itself, and not before CREATE TABLE; ours begin in
    # _begin_sqlite, so that a migration is undone whole.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(busy_timeout_s * 1000)}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")  # safe in WAL; a power cut may lose the last rows
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at the start: taken later it fails at once, without the busy timeout,
    # when another has written meanwhile.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade(connection: Connection) -> None:
    """Run the scripts between the stored revision and the newest, inside the open transaction."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise AppError(
            "The database was made by a newer version of Dragoman.",
            code="store_too_new",
            status=503,
            hint="Install that version again, or set database.url to another database.",
        ) from error


def _trouble(error: SQLAlchemyError) -> tuple[str, str]:
    """Return our code for what a driver says, and what a person can do."""
    number = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    # The lower byte is the kind; https://sqlite.org/rescode.html, read 2026-11-21.
    kind = None if number is None else number & 0xFF
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "store_locked", "Another program writes to it; this is tried again."
    if kind == sqlite3.SQLITE_FULL:
        return "store_full", "Make room on the disk."
    if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "store_damaged", "A copy of the file from before may be put in its place."
    return (
        "store_unavailable",
        "Check that the disk is not full, and that the database runs and is readable.",
    )


def _reason(error: BaseException) -> str:
    """Return the driver's own words on one line; they hold no parameters."""
    if isinstance(error, ImportError):
        return f"the driver {error.name} is not installed"
    original = getattr(error, "orig", None) or error
    return " ".join(str(original).split()).rstrip(".")


def _without_secrets(error: BaseException) -> BaseException | None:
    """Leave out a cause whose text may repeat the URL."""
    return error if isinstance(error, OSError | ImportError) else None
