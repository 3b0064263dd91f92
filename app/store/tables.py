"""The tables, and the revision that they are at.

A change here comes with a script in ``migrations/versions`` and a new ``HEAD``; a test compares
both ways of getting to the same schema. Times are epoch seconds, UTC.
"""

from __future__ import annotations

from sqlalchemy import Column, Double, MetaData, String, Table, Text

__all__ = ["HEAD", "keys", "metadata", "revision"]

HEAD = "0001"
"""The newest revision; a database that says so is used as it is."""

metadata = MetaData(
    naming_convention={  # SQLite and PostgreSQL name constraints differently by themselves
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("label", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=True),
    Column("revoked_at", Double, nullable=True),
    # JSON object: providers, models, accounts, each a list of names; absent: not limited.
    Column("scopes", Text, nullable=False),
)

revision = Table(
    "alembic_version",
    MetaData(),  # Alembic's own table: not among ours when the two schemas are compared
    Column("version_num", String(32), primary_key=True),
)
