"""Prompts and answers in a file of their own."""

import sqlite3

import pytest

from app.errors import AppError
from app.store.bodies import BodyRow, BodyStore
from app.store.database import Database


def row(name, at=1_000.0, size=10):
    return BodyRow(name, at, b"q" * size, b"a" * size)


@pytest.fixture
def store(tmp_path):
    made = BodyStore(tmp_path, 0.0)
    yield made
    made.close()


def test_rows_are_found_by_the_id_of_their_request(store, tmp_path):
    store.add([row("a"), row("b", 2_000.0)])
    assert store.find("b") == row("b", 2_000.0)
    assert store.find("nobody") is None
    assert {path.name for path in tmp_path.iterdir()} >= {"bodies.db"}
    assert (tmp_path / "bodies.db").stat().st_mode & 0o077 == 0
    assert not (tmp_path / "dragoman.db").exists()


def test_a_row_that_is_there_already_is_replaced(store):
    store.add([row("a")])
    store.add([BodyRow("a", 5.0, b"new", b"newer")])
    assert store.find("a") == BodyRow("a", 5.0, b"new", b"newer")


def test_what_is_too_old_goes_first_and_then_the_oldest_until_there_is_room(store):
    store.add([row(str(i), at=float(i), size=50) for i in range(10)])
    assert store.trim(3.0, 500) == 5  # three by age, and two by size
    assert [store.find(str(i)) is not None for i in range(10)] == [False] * 5 + [True] * 5
    assert store.trim(3.0, 500) == 0
    assert store.trim(0.0, 0) == 5
    assert store.trim(0.0, 0) == 0


def test_many_are_trimmed_in_slices(store):
    store.add([row(str(i), at=float(i), size=1) for i in range(450)])
    assert store.trim(0.0, 2) == 449
    assert store.find("449") is not None


def test_what_was_removed_is_no_longer_in_the_file(store, tmp_path):
    store.add([BodyRow("a", 1.0, b"very-private-words", b"x")])
    store.trim(2.0, 10**9)
    store.close()
    with sqlite3.connect(tmp_path / "bodies.db") as direct:
        direct.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    direct.close()
    assert b"very-private-words" not in (tmp_path / "bodies.db").read_bytes()


def test_the_ledgers_tables_are_not_in_it(store, tmp_path):
    with sqlite3.connect(tmp_path / "bodies.db") as direct:
        names = {name for (name,) in direct.execute("SELECT name FROM sqlite_master")}
    direct.close()
    assert "bodies" in names
    assert not names & {"requests", "keys", "alembic_version"}


def test_a_damaged_file_is_put_aside_and_the_ledger_is_untouched(tmp_path):
    ledger = Database(None, tmp_path)
    ledger.migrate()
    (tmp_path / "bodies.db").write_bytes(b"no database at all, but long enough" * 200)
    store = BodyStore(tmp_path, 0.0)
    store.add([row("a")])
    assert store.find("a") == row("a")
    store.close()
    ledger.close()
    assert len(list(tmp_path.glob("bodies.db.damaged-*"))) >= 1
    assert not list(tmp_path.glob("dragoman.db.damaged-*"))


def test_a_folder_that_cannot_be_used_is_told_as_ours(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AppError):
        BodyStore(tmp_path / "file", 0.0)
