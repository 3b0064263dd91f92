"""Prompts and answers at rest: one table in a file of its own, ``bodies.db``.

Apart from the ledger, so that neither the size nor a fault of one is the other's, and so that they
can be had or got rid of by one file. Always on this machine, also where the ledger is on a server.
The table is never migrated: what an older version has written is read as it is, or dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from sqlalchemy import Column, Double, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.engine import URL

from app.store.database import Database

__all__ = ["BodyRow", "BodyStore"]

_SLICE = 200
"""Rows removed at a time."""

_metadata = MetaData()
_bodies = Table(
    "bodies",
    _metadata,
    Column("id", Text, primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("size", Integer, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class BodyRow:
    """One request and its answer, packed."""

    id: str
    """Of the request in the ledger."""
    at: float
    """When it came, epoch seconds."""
    request: bytes
    answer: bytes


class _File(Database):
    """The file; a damaged one is put aside as the ledger's is."""

    def __init__(self, folder: Path) -> None:
        path = folder / "bodies.db"
        super().__init__(
            URL.create("sqlite", database=str(path)).render_as_string(hide_password=False), folder
        )

    def migrate(self) -> None:
        """Make the table where there is none."""
        with self.write() as connection:
            _metadata.create_all(connection)

    def _save_from(self, aside: Path) -> None:
        """Leave the damaged file's rows where they are: they were to be dropped in days."""


class BodyStore:
    """Writes and reads; calls block and raise ``AppError`` when the file cannot be used."""

    def __init__(self, folder: Path, now: float) -> None:
        """Open the file in a folder, or make it.

        Args:
            folder: the data folder.
            now: epoch seconds, for the name of a damaged file.
        """
        self._file = _File(folder)
        self._file.migrate_or_begin_anew(now)

    def add(self, rows: Sequence[BodyRow]) -> None:
        """Write rows; one that is there already is replaced."""
        with self._file.write() as connection:
            connection.execute(_bodies.delete().where(_bodies.c.id.in_([row.id for row in rows])))
            connection.execute(
                _bodies.insert(),
                [
                    {
                        "id": row.id,
                        "at": row.at,
                        "size": len(row.request) + len(row.answer),
                        "request": row.request,
                        "answer": row.answer,
                    }
                    for row in rows
                ],
            )

    def find(self, name: str) -> BodyRow | None:
        """Return a request by its id in the ledger, or None."""
        query = sqlalchemy.select(_bodies).where(_bodies.c.id == name)
        with self._file.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        return BodyRow(row["id"], row["at"], row["request"], row["answer"])

    def trim(self, before: float, limit_bytes: int) -> int:
        """Remove what came earlier, then the oldest until the rest is no larger than this.

        Returns:
            How many rows were removed. Their room is overwritten, and used again.
        """
        with self._file.write() as connection:
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
            removed = connection.execute(_bodies.delete().where(_bodies.c.at < before)).rowcount
            size = connection.execute(
                sqlalchemy.select(sqlalchemy.func.coalesce(sqlalchemy.func.sum(_bodies.c.size), 0))
            ).scalar_one()
            oldest = sqlalchemy.select(_bodies.c.id, _bodies.c.size).order_by(_bodies.c.at)
            while size > limit_bytes:
                rows = connection.execute(oldest.limit(_SLICE)).all()
                if not rows:
                    break
                gone = []
                for name, row_size in rows:
                    if size <= limit_bytes:
                        break
                    gone.append(name)
                    size -= row_size
                connection.execute(_bodies.delete().where(_bodies.c.id.in_(gone)))
                removed += len(gone)
        return removed

    def close(self) -> None:
        """Close the file."""
        self._file.close()
