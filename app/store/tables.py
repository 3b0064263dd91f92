"""The tables, and the revision that they are at.

A change here comes with a script in ``migrations/versions`` and a new ``HEAD``; a test compares
both ways of getting to the same schema. Times are epoch seconds, UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

__all__ = [
    "FAILED",
    "HEAD",
    "LATENCY_BUCKETS",
    "LEDGER_TABLES",
    "attempts",
    "keys",
    "latency_days",
    "latency_months",
    "metadata",
    "requests",
    "revision",
    "total_days",
    "usage_days",
    "usage_hours",
    "usage_months",
]

HEAD = "0003"
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
    # JSON list of [amount, unit, period]: requests, tokens or micro-USD in a minute, day or month.
    Column("limits", Text, nullable=False, server_default="[]"),
    # JSON object: default, a model; aliases, a list of [name, model].
    Column("routes", Text, nullable=False, server_default="{}"),
    # Of the secret before the last rotation.
    Column("old_sha256", String(64), nullable=True),
    Column("old_until", Double, nullable=True),
)

FAILED = text("error != ''")
"""Tells failed requests; as text, because only the very same words find the index."""

_NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only

requests = Table(
    "requests",
    metadata,
    Column("seq", _NUMBER, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("at", Double, nullable=False),
    Column("client", Text, nullable=False),  # program
    Column("session", Text, nullable=False),  # hash
    Column("key_id", Text, nullable=False),
    Column("dialect", Text, nullable=False),  # the caller's
    Column("asked", Text, nullable=False),  # model
    Column("model", Text, nullable=False),  # served
    Column("provider", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("upstream", Text, nullable=False),  # dialect
    Column("grade", Text, nullable=False),
    Column("losses", Text, nullable=False),  # JSON: list of [path, reason]
    Column("rule", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("stop", Text, nullable=False),
    Column("error", Text, nullable=False),
    # Tokens; null where the service did not say.
    Column("input", BigInteger, nullable=True),
    Column("cache_read", BigInteger, nullable=True),
    Column("cache_write", BigInteger, nullable=True),
    Column("cache_write_1h", BigInteger, nullable=True),  # of cache_write
    Column("output", BigInteger, nullable=True),
    Column("reasoning", BigInteger, nullable=True),  # of output
    Column("cost", BigInteger, nullable=True),  # micro-USD; null where the price is not known
    Column("worth", Boolean, nullable=False),  # the cost is what a plan's call was worth
    Column("first_ms", BigInteger, nullable=True),
    Column("duration_ms", BigInteger, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("trace", Text, nullable=False),  # JSON of how the route was chosen, or empty
    Index(None, "at"),
    Index(None, "model", "at"),
    Index(None, "account", "at"),
    Index(None, "provider", "at"),
    Index(None, "key_id", "at"),
    Index(None, "client", "at"),
    Index(None, "session", "at"),
    Index("ix_requests_failed", "at", sqlite_where=FAILED, postgresql_where=FAILED),
)
"""One row per request. SQLite appends ``seq`` to each index, which is the order of pages."""

attempts = Table(
    "attempts",
    metadata,
    Column("request", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("provider", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("grade", Text, nullable=False),
    Column("losses", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("first_ms", BigInteger, nullable=True),
    Column("duration_ms", BigInteger, nullable=False),
    Index(None, "at"),
    sqlite_with_rowid=False,
)
"""One row per attempt, numbered from 1 within its request."""


LATENCY_BUCKETS = 36
"""Bucket 0 is below 16 ms; each further one begins at the square root of two times the last."""


def _counts() -> list[Column[int]]:
    names = (
        *("requests", "failed", "cached", "input", "cache_read", "cache_write", "output"),
        *("reasoning", "cost", "worth", "unpriced"),
    )
    return [Column(name, BigInteger, nullable=False) for name in names]


def _latencies() -> list[Column[int]]:
    return [
        Column(f"{kind}_{i}", BigInteger, nullable=False)
        for kind in ("first", "whole")
        for i in range(LATENCY_BUCKETS)
    ]


def _usage(name: str, bucket: str) -> Table:
    """Return a table of sums over requests, by a time bucket and all that reports group by."""
    return Table(
        name,
        metadata,
        Column(bucket, Integer, primary_key=True, autoincrement=False),
        Column("provider", Text, primary_key=True),
        Column("account", Text, primary_key=True),
        Column("model", Text, primary_key=True),
        Column("key_id", Text, primary_key=True),
        Column("client", Text, primary_key=True),
        *_counts(),
        sqlite_with_rowid=False,
    )


def _latency(name: str, bucket: str) -> Table:
    """Return a table of how many answers took how long, to first content and whole."""
    return Table(
        name,
        metadata,
        Column(bucket, Integer, primary_key=True, autoincrement=False),
        Column("provider", Text, primary_key=True),
        Column("account", Text, primary_key=True),
        Column("model", Text, primary_key=True),
        *_latencies(),
        sqlite_with_rowid=False,
    )


# Days are those of the machine's clock on the wall when the request began: 20261121; months are
# 202611. Hours count from the epoch, in UTC, and are kept for some weeks only.
usage_hours = _usage("usage_hours", "hour")
usage_days = _usage("usage_days", "day")
usage_months = _usage("usage_months", "month")
latency_days = _latency("latency_days", "day")
latency_months = _latency("latency_months", "month")
total_days = Table(
    "total_days",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    *_counts(),
    *_latencies(),
)
"""Everything of a day in one row: what is looked at most."""

LEDGER_TABLES = (
    *(requests, attempts),
    *(usage_hours, usage_days, usage_months, latency_days, latency_months, total_days),
)
"""What may be begun anew when a file is damaged; everything else is worth saving from it."""

revision = Table(
    "alembic_version",
    MetaData(),  # Alembic's own table: not among ours when the two schemas are compared
    Column("version_num", String(32), primary_key=True),
)
