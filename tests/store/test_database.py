import stat
import sys

import pytest
import sqlalchemy

from app.errors import AppError
from app.store.database import Database
from app.store.tables import HEAD, metadata, revision


@pytest.fixture
def open_database(tmp_path):
    opened = []

    def make(url=None):
        opened.append(Database(url, tmp_path / "data"))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


def table_names(database):
    with database.read() as connection:
        return set(sqlalchemy.inspect(connection).get_table_names())


def stored_revision(database):
    with database.read() as connection:
        return connection.execute(sqlalchemy.select(revision.c.version_num)).scalars().all()


def test_empty_database_gets_all_tables_and_the_newest_revision(open_database):
    database = open_database()
    database.migrate()
    assert table_names(database) == {*metadata.tables, "alembic_version"}
    assert stored_revision(database) == [HEAD]


def test_migrating_again_changes_nothing(open_database):
    database = open_database()
    database.migrate()
    database.migrate()
    assert stored_revision(database) == [HEAD]


def test_stale_revision_is_brought_to_the_newest_by_the_scripts(open_database):
    database = open_database()
    with database.write() as connection:
        revision.create(connection)  # a database from before the first revision
    database.migrate()
    assert stored_revision(database) == [HEAD]
    assert "keys" in table_names(database)


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


def test_failed_migration_leaves_nothing_behind(open_database):
    database = open_database()
    with database.write() as connection:
        revision.create(connection)
        connection.exec_driver_sql("CREATE TABLE keys (id TEXT)")  # the script will stumble on it
    with pytest.raises(AppError) as caught:
        database.migrate()
    assert caught.value.code == "store_unavailable"
    assert stored_revision(database) == []


def test_database_of_a_newer_program_is_refused_with_a_hint(open_database):
    database = open_database()
    database.migrate()
    with database.write() as connection:
        connection.execute(revision.update().values(version_num="9999"))
    with pytest.raises(AppError) as caught:
        database.migrate()
    assert caught.value.code == "store_too_new"
    assert "newer version" in caught.value.text


def test_alembic_is_not_imported_for_a_new_or_current_database(tmp_path):
    import subprocess

    script = (
        "import sys; from pathlib import Path; from app.store.database import Database\n"
        f"for _ in range(2):\n d = Database(None, Path({str(tmp_path)!r})); d.migrate(); d.close()\n"
        "print('alembic' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_database_files_are_private(open_database, tmp_path):
    database = open_database()
    database.migrate()
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE extra (x)")
        files = sorted(path.name for path in (tmp_path / "data").iterdir())
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert files == ["dragoman.db", "dragoman.db-shm", "dragoman.db-wal"]
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_sqlite_is_in_write_ahead_mode_with_foreign_keys_and_busy_timeout(open_database):
    with open_database().read() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    assert pragma == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000}


def test_readers_see_the_old_state_while_a_writer_is_at_work(open_database):
    database = open_database()
    database.migrate()
    with database.write() as writer:
        writer.execute(revision.update().values(version_num="new"))
        assert stored_revision(database) == [HEAD]
    assert stored_revision(database) == ["new"]


def test_failed_write_is_rolled_back(open_database):
    database = open_database()
    database.migrate()

    def fail(connection):
        connection.execute(revision.update().values(version_num="new"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), database.write() as connection:
        fail(connection)
    assert stored_revision(database) == [HEAD]


def test_file_that_is_no_database_is_our_error(tmp_path, open_database):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dragoman.db").write_bytes(b"not a database, but long enough" * 100)
    with pytest.raises(AppError) as caught:
        open_database().migrate()
    assert caught.value.code == "store_damaged"
    assert "not a database" in caught.value.message


def test_folder_that_cannot_be_made_is_our_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AppError) as caught:
        Database(None, tmp_path / "file" / "data")
    assert caught.value.code == "store_unavailable"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://user:hunter2-secret@host/db", "neither postgresql nor sqlite"),
        ("::hunter2-secret", "Cannot open the database"),
        ("postgresql+nodriver://user:hunter2-secret@host/db", "nodriver"),
    ],
)
def test_unusable_url_is_our_error_and_shows_no_password(tmp_path, url, words):
    import traceback

    with pytest.raises(AppError) as caught:
        Database(url, tmp_path)
    assert words in caught.value.message
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
