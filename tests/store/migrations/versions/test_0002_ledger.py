from pathlib import Path

import pytest
import sqlalchemy
from alembic import command  # noqa: TID253 - the test is about its scripts
from alembic.config import Config  # noqa: TID253

import app.store.database as module
from app.ledger.row import attempt_rows, row_of
from app.store.database import Database
from app.store.ledger import LedgerStore
from app.store.tables import HEAD, LEDGER_TABLES, keys, revision
from tests.ledger.entries import entry


@pytest.fixture
def released(tmp_path):
    """A database as the first release left it, with a key."""
    database = Database(None, tmp_path)
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    values = {"id": "abc", "label": "work", "kind": "client", "sha256": "0" * 64}
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql("SELECT id, label, kind, sha256, scopes FROM keys")
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO keys (id, label, kind, sha256, created_at, scopes)"
                " VALUES (:id, :label, :kind, :sha256, 1.5, :scopes)"
            ),
            values | {"scopes": '{"models": ["m"]}'},
        )
    yield database, config
    database.close()


def test_keys_stay_and_the_ledger_can_be_written(released):
    database, _ = released
    database.migrate()
    with database.read() as connection:
        assert connection.execute(sqlalchemy.select(revision.c.version_num)).scalars().all() == [
            HEAD
        ]
        (kept,) = connection.execute(sqlalchemy.select(keys)).mappings().all()
    assert (kept["id"], kept["created_at"], kept["scopes"]) == ("abc", 1.5, '{"models": ["m"]}')
    store = LedgerStore(database)
    assert store.add([row_of(entry())], attempt_rows(entry())) == 1
    assert store.usage.request("req_1") is not None


def test_going_back_leaves_what_was_there_before(released):
    database, config = released
    database.migrate()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    with database.read() as connection:
        names = set(sqlalchemy.inspect(connection).get_table_names())
        assert connection.exec_driver_sql("SELECT count(*) FROM keys").scalar_one() == 1
    assert names.isdisjoint(table.name for table in LEDGER_TABLES)
