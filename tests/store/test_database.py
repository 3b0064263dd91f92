import stat
import sys
from pathlib import Path

import pytest
import sqlalchemy

from app.errors import AppError
from app.store.database import Database
from app.store.tables import HEAD, keys, metadata, revision, total_days


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


def test_a_lock_is_told_from_other_troubles(tmp_path):
    import sqlite3

    database = Database(None, tmp_path, busy_timeout_s=0.01)
    database.migrate()
    other = sqlite3.connect(tmp_path / "dragoman.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(AppError) as caught, database.write():
        pass
    assert caught.value.code == "store_locked"
    other.close()
    database.close()


def test_a_full_disk_is_told_from_other_troubles(open_database):
    database = open_database()
    database.migrate()

    def fill(connection):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        connection.exec_driver_sql("CREATE TABLE big (x)")
        for _ in range(100):
            connection.exec_driver_sql("INSERT INTO big VALUES (zeroblob(4096))")

    with pytest.raises(AppError) as caught, database.write() as connection:
        fill(connection)
    assert (caught.value.code, caught.value.hint) == ("store_full", "Make room on the disk.")
    assert "big" not in table_names(database)


def test_setting_aside_keeps_the_old_file_and_copies_the_keys(open_database, tmp_path):
    database = open_database()
    database.migrate()
    values = {"id": "abc", "label": "l", "kind": "client", "sha256": "1" * 64, "created_at": 1.0}
    with database.write() as connection:
        connection.execute(keys.insert().values(**values, scopes="{}"))
        connection.execute(total_days.insert().values(**dict.fromkeys(total_days.c.keys(), 1)))
    aside = database.set_aside(0.0)
    assert aside == tmp_path / "data" / "dragoman.db.damaged-19700101-000000"
    assert aside.read_bytes().startswith(b"SQLite format 3")
    with database.read() as connection:
        assert len(connection.execute(sqlalchemy.select(keys)).all()) == 1
        assert connection.execute(sqlalchemy.select(total_days)).all() == []


def test_keys_of_an_earlier_revision_are_saved_from_a_damaged_file(open_database):
    database = open_database()
    with database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE keys (id TEXT, label TEXT, kind TEXT, sha256 TEXT, created_at REAL,"
            " expires_at REAL, revoked_at REAL, scopes TEXT)"
        )
        connection.exec_driver_sql(
            "INSERT INTO keys VALUES ('abc', 'l', 'client', '1', 1.0, NULL, NULL, '{}')"
        )
    database.set_aside(0.0)
    with database.read() as connection:
        (kept,) = connection.execute(sqlalchemy.select(keys)).mappings().all()
    assert (kept["id"], kept["limits"]) == ("abc", "[]")


def test_another_damaged_file_of_the_same_second_replaces_none(open_database, tmp_path):
    database = open_database()
    database.migrate()
    first = database.set_aside(0.0)
    second = database.set_aside(0.0)
    assert first != second
    assert first.exists()
    assert second.exists()


def test_a_file_that_cannot_be_renamed_is_our_error(open_database, monkeypatch):
    database = open_database()
    database.migrate()

    def refuse(self, target):
        raise PermissionError(13, "in use")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(AppError) as caught:
        database.set_aside(0.0)
    assert caught.value.code == "store_unavailable"
    assert "in use" in caught.value.message
