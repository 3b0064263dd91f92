from pathlib import Path

import pytest
import sqlalchemy
from alembic import command  # noqa: TID253 - the test is about its scripts
from alembic.config import Config  # noqa: TID253

import app.store.database as module
from app.keys import Limit
from app.store.database import Database
from app.store.keys import Keys
from app.store.tables import HEAD, revision


@pytest.fixture
def script():
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    return config


@pytest.fixture(params=["0001", "0002"])
def earlier(request, tmp_path, script):
    """A database at each earlier revision, with a key."""
    database = Database(None, tmp_path)
    with database.write() as connection:
        script.attributes["connection"] = connection
        command.upgrade(script, request.param)
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO keys (id, label, kind, sha256, created_at, scopes)"
                " VALUES ('abc', 'work', 'client', :sha256, 1.5, :scopes)"
            ),
            {"sha256": "0" * 64, "scopes": '{"models": ["m"]}'},
        )
    yield database
    database.close()


def test_keys_from_before_are_not_limited_and_can_be_changed(earlier):
    earlier.migrate()
    with earlier.read() as connection:
        assert connection.execute(sqlalchemy.select(revision.c.version_num)).scalar() == HEAD
    keys = Keys(earlier)
    (kept,) = keys.list()
    assert (kept.id, kept.models, kept.limits, kept.aliases) == ("abc", ("m",), (), ())
    assert (kept.default_model, kept.old_sha256, kept.old_until) == (None, None, None)
    changed = keys.edit("work", {"limits": ["5 requests/day"]})
    assert changed.limits == (Limit(5, "requests", "day"),)


def test_going_back_keeps_the_keys(earlier, script):
    earlier.migrate()
    with earlier.write() as connection:
        script.attributes["connection"] = connection
        command.downgrade(script, "0002")
        columns = {c["name"] for c in sqlalchemy.inspect(connection).get_columns("keys")}
        assert connection.exec_driver_sql("SELECT id FROM keys").scalar_one() == "abc"
    assert columns.isdisjoint({"limits", "routes", "old_sha256", "old_until"})
    earlier.migrate()
    assert [record.id for record in Keys(earlier).list()] == ["abc"]
