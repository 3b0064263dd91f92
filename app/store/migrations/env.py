"""Run by Alembic: applies the scripts on the connection and in the transaction that we give it."""

from alembic import context  # noqa: TID253 - only Alembic loads this file

from app.store.tables import metadata

# SQLite cannot alter a table in place; batch mode copies it.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
