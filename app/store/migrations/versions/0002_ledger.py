"""The ledger: requests, attempts, and sums over them."""

import sqlalchemy as sa
from alembic import op  # noqa: TID253 - only Alembic loads this file

revision = "0002"
down_revision = "0001"

_BUCKETS = 36


def upgrade() -> None:
    """Make the tables."""
    _requests()
    _attempts()
    for bucket in ("hour", "day", "month"):
        _usage(f"usage_{bucket}s", bucket)
    for bucket in ("day", "month"):
        _latency(f"latency_{bucket}s", bucket)
    _total()


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _counts(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=nullable) for name in names]


def _requests() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "requests",
        sa.Column("seq", number, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        *_texts("client", "session", "key_id", "dialect", "asked", "model", "provider", "account"),
        *_texts("upstream", "grade", "losses", "rule", "reason"),
        sa.Column("status", sa.Integer, nullable=False),
        *_texts("stop", "error"),
        *_counts("input", "cache_read", "cache_write", "cache_write_1h", nullable=True),
        *_counts("output", "reasoning", "cost", nullable=True),
        sa.Column("worth", sa.Boolean, nullable=False),
        *_counts("first_ms", nullable=True),
        *_counts("duration_ms"),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("cached", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        *_texts("trace"),
        sa.PrimaryKeyConstraint("seq", name="pk_requests"),
        sa.UniqueConstraint("id", name="uq_requests_id"),
    )
    op.create_index("ix_requests_at", "requests", ["at"])
    for name in ("model", "account", "provider", "key_id", "client", "session"):
        op.create_index(f"ix_requests_{name}", "requests", [name, "at"])
    failed = sa.text("error != ''")
    op.create_index(
        "ix_requests_failed", "requests", ["at"], sqlite_where=failed, postgresql_where=failed
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        *_texts("request"),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        *_texts("provider", "account", "model", "dialect", "grade", "losses", "reason"),
        sa.Column("status", sa.Integer, nullable=False),
        *_texts("error"),
        *_counts("first_ms", nullable=True),
        *_counts("duration_ms"),
        sa.PrimaryKeyConstraint("request", "number", name="pk_attempts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_attempts_at", "attempts", ["at"])


def _sums() -> list[sa.Column[int]]:
    return [
        *_counts("requests", "failed", "cached", "input", "cache_read", "cache_write", "output"),
        *_counts("reasoning", "cost", "worth", "unpriced"),
    ]


def _latencies() -> list[sa.Column[int]]:
    return _counts(*(f"{kind}_{i}" for kind in ("first", "whole") for i in range(_BUCKETS)))


def _usage(name: str, bucket: str) -> None:
    dimensions = ("provider", "account", "model", "key_id", "client")
    op.create_table(
        name,
        sa.Column(bucket, sa.Integer, nullable=False),
        *_texts(*dimensions),
        *_sums(),
        sa.PrimaryKeyConstraint(bucket, *dimensions, name=f"pk_{name}"),
        sqlite_with_rowid=False,
    )


def _latency(name: str, bucket: str) -> None:
    dimensions = ("provider", "account", "model")
    op.create_table(
        name,
        sa.Column(bucket, sa.Integer, nullable=False),
        *_texts(*dimensions),
        *_latencies(),
        sa.PrimaryKeyConstraint(bucket, *dimensions, name=f"pk_{name}"),
        sqlite_with_rowid=False,
    )


def _total() -> None:
    op.create_table(
        "total_days",
        sa.Column("day", sa.Integer, autoincrement=False, nullable=False),
        *_sums(),
        *_latencies(),
        sa.PrimaryKeyConstraint("day", name="pk_total_days"),
    )


def downgrade() -> None:
    """Remove the tables."""
    op.drop_table("total_days")
    for bucket in ("hours", "days", "months"):
        op.drop_table(f"usage_{bucket}")
    for bucket in ("days", "months"):
        op.drop_table(f"latency_{bucket}")
    op.drop_table("attempts")
    op.drop_table("requests")
