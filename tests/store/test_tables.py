"""Both ways to the newest schema: all at once for an empty database, or script by script."""

import pytest
import sqlalchemy

from app.store.database import Database
from app.store.tables import metadata, revision


@pytest.fixture
def open_database(tmp_path):
    opened = []

    def make():
        opened.append(Database(None, tmp_path / "data"))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


def test_scripts_lead_to_the_same_schema_as_the_tables(open_database):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = open_database()
    with database.write() as connection:
        revision.create(connection)
    database.migrate()
    with database.read() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        unique = sqlalchemy.inspect(connection).get_unique_constraints("keys")
        assert [constraint["column_names"] for constraint in unique] == [["sha256"]]


def test_scripts_make_the_same_indexes_and_the_same_kinds_of_tables(open_database, tmp_path):
    def statements(database):
        with database.read() as connection:
            query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
            found = dict(connection.exec_driver_sql(query).all())
        return {name: " ".join(sorted((sql or "").split())) for name, sql in found.items()}

    fresh, stale = open_database(), Database(None, tmp_path / "stale")
    fresh.migrate()
    with stale.write() as connection:
        revision.create(connection)
    stale.migrate()
    assert statements(stale).keys() == statements(fresh).keys()
    kinds = [
        {name: "WITHOUT ROWID" in sql or "ROWID WITHOUT" in sql for name, sql in made.items()}
        for made in (statements(stale), statements(fresh))
    ]
    assert kinds[0] == kinds[1]
    stale.close()
