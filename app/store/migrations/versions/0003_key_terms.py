"""What keys are limited to and where their requests go; the secret before a rotation."""

import sqlalchemy as sa
from alembic import op  # noqa: TID253 - only Alembic loads this file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; keys that are there are not limited."""
    op.add_column("keys", sa.Column("limits", sa.Text, nullable=False, server_default="[]"))
    op.add_column("keys", sa.Column("routes", sa.Text, nullable=False, server_default="{}"))
    op.add_column("keys", sa.Column("old_sha256", sa.String(64), nullable=True))
    op.add_column("keys", sa.Column("old_until", sa.Double, nullable=True))


def downgrade() -> None:
    """Remove the columns."""
    for name in ("limits", "routes", "old_sha256", "old_until"):
        op.drop_column("keys", name)
