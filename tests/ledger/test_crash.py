"""The ledger on real files that lock, fill up, break, and whose writer is killed."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy

from app.keys import KeyIndex
from app.ledger.writer import Writer
from app.store.database import Database
from app.store.keys import Keys
from app.store.ledger import LedgerStore
from app.store.tables import attempts, requests, usage_days
from tests.ledger.entries import entry

ROOT = Path(__file__).parents[2]


@pytest.fixture
def database(tmp_path):
    opened = Database(None, tmp_path, busy_timeout_s=0.01)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def writer(database):
    made = Writer(lambda: LedgerStore(database), every_s=0.01, pause_s=0.001)
    made.start()
    yield made
    made.close()


def counts(database):
    """How many requests there are by the rows, by the attempts and by the sums."""
    queries = (
        sqlalchemy.select(sqlalchemy.func.count()).select_from(requests),
        sqlalchemy.select(sqlalchemy.func.count(attempts.c.request.distinct())),
        sqlalchemy.select(sqlalchemy.func.coalesce(sqlalchemy.func.sum(usage_days.c.requests), 0)),
    )
    with database.read() as connection:
        return {connection.execute(query).scalar_one() for query in queries}


def until(true, *, tries=1_000):
    pause = threading.Event()
    for _ in range(tries):
        if true():
            return
        pause.wait(0.005)
    raise AssertionError("it never came to that")


def run_child(script, *words):
    return subprocess.Popen(
        [sys.executable, "-c", script, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_a_locked_database_delays_the_rows_and_loses_none(database, writer, tmp_path):
    other = sqlite3.connect(tmp_path / "dragoman.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for i in range(50):
        writer.add(entry(f"req_{i}"))
    until(lambda: writer.state.name == "trouble")
    assert "locked" in writer.state.sentence
    assert counts(database) == {0}
    other.execute("COMMIT")
    other.close()
    assert writer.flush()
    assert counts(database) == {50}
    assert (writer.state.name, writer.state.dropped) == ("ok", 0)


def test_a_locked_database_at_the_stop_leaves_the_rows_to_the_next_start(database, tmp_path):
    spill = tmp_path / "waiting.jsonl"
    other = sqlite3.connect(tmp_path / "dragoman.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for name, grace_s in (("a", 0.0), ("b", 5.0)):
        writer = Writer(lambda: LedgerStore(database), spill=spill, every_s=0.01, pause_s=0.001)
        writer.start()
        writer.add(entry(name))
        if name == "b":
            other.execute("COMMIT")
        writer.close(grace_s)
    other.close()
    assert counts(database) == {2}
    assert not spill.exists()


def test_a_damaged_page_costs_the_ledger_but_neither_the_keys_nor_the_file(
    database, writer, tmp_path
):
    keys = Keys(database, KeyIndex())
    record, _ = keys.create("client", "work")
    writer.add(entry("before"))
    assert writer.flush()
    database.close()
    path = tmp_path / "dragoman.db"
    with sqlite3.connect(path) as direct:
        size = direct.execute("PRAGMA page_size").fetchone()[0]
        named = "SELECT rootpage FROM sqlite_master WHERE name IN ('requests', 'uq_requests_id')"
        pages = [row[0] for row in direct.execute(named)]
        direct.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    direct.close()
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)
    writer.add(entry("after"))
    assert writer.flush()
    (aside,) = tmp_path.glob("dragoman.db.damaged-*")
    assert aside.stat().st_size >= size * max(pages)
    assert aside.name in writer.state.sentence
    assert counts(database) == {1}
    assert LedgerStore(database).usage.request("after") is not None
    assert [kept.sha256 for kept in keys.list()] == [record.sha256]


def test_a_file_of_garbage_is_put_aside_at_the_start(tmp_path):
    path = tmp_path / "dragoman.db"
    path.write_bytes(b"this was a database once" * 1_000)
    database = Database(None, tmp_path)
    aside = database.migrate_or_begin_anew(0.0)
    assert aside is not None
    assert aside.name == "dragoman.db.damaged-19700101-000000"
    assert aside.read_bytes().startswith(b"this was")
    assert LedgerStore(database).add([], []) == 0
    assert database.migrate_or_begin_anew(1.0) is None
    database.close()


KILLED = """
import sys, threading, time
from pathlib import Path
from app.ledger.writer import Writer
from app.store.database import Database
from app.store.ledger import LedgerStore
from tests.ledger.entries import entry
database = Database(None, Path(sys.argv[1]))
database.migrate()
writer = Writer(lambda: LedgerStore(database))
writer.start()
pause = threading.Event()
for i in range(100_000):
    writer.add(entry(f"req_{i}"))
    print(i, time.monotonic(), flush=True)
    pause.wait(0.001)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
def test_a_killed_writer_loses_the_last_second_at_most_and_the_sums_agree(tmp_path):
    child = run_child(KILLED, str(tmp_path))
    lines = []
    begun = None
    for line in child.stdout:
        lines.append(line)
        begun = begun or time.monotonic()
        if time.monotonic() - begun > 1.5:
            break
    child.kill()
    killed_at = time.monotonic()
    lines += child.stdout.readlines()
    child.stdout.close()
    child.wait(10)
    added = [line.split() for line in lines if line.endswith("\n")]
    due = {f"req_{i}" for i, at in added if float(at) < killed_at - 1.0}
    assert len(due) > 20
    database = Database(None, tmp_path)
    database.migrate()
    with database.read() as connection:
        there = set(connection.execute(sqlalchemy.select(requests.c.id)).scalars())
    assert due <= there
    assert counts(database) == {len(there)}
    store = LedgerStore(database)
    writer = Writer(lambda: store, every_s=0.01)
    writer.start()
    writer.add(entry("next"))
    writer.close()
    assert counts(database) == {len(there) + 1}
    database.close()


STOPPED = """
import os, signal, sys
from pathlib import Path
from app.ledger.writer import Writer
from app.store.database import Database
from app.store.ledger import LedgerStore
from tests.ledger.entries import entry
stopping = []
told, tell = os.pipe()
signal.signal(signal.SIGTERM, lambda *_: stopping.append(os.write(tell, b"x")))
database = Database(None, Path(sys.argv[1]))
database.migrate()
writer = Writer(lambda: LedgerStore(database), batch=50)
writer.start()
i = 0
while not stopping:
    writer.add(entry(f"req_{i}"))
    i += 1
    if i in (1, 500):
        print(i, flush=True)
    if i == 5_000:
        os.read(told, 1)
writer.close()
database.close()
print(i)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_program_that_is_told_to_stop_loses_nothing(tmp_path):
    child = run_child(STOPPED, str(tmp_path))
    assert child.stdout.readline() == "1\n"
    assert child.stdout.readline() == "500\n"
    child.terminate()
    out, _ = child.communicate(timeout=60)
    database = Database(None, tmp_path)
    assert counts(database) == {int(out)}
    database.close()


FULL = """
import resource, sys, threading
from pathlib import Path
from app.ledger.writer import Writer
from app.store.database import Database
from app.store.ledger import LedgerStore
from tests.ledger.entries import entry
database = Database(None, Path(sys.argv[1]))
database.migrate()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
largest = max(path.stat().st_size for path in Path(sys.argv[1]).iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 65_536, hard))
writer = Writer(lambda: LedgerStore(database), every_s=0.01, pause_s=0.01)
writer.start()
for i in range(3_000):
    writer.add(entry(f"req_{i}"))
pause = threading.Event()
while writer.state.name != "trouble":
    pause.wait(0.005)
print(writer.state.sentence)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
writer.close()
print(writer.state.written, writer.state.dropped + writer.state.refused)
database.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits file sizes as POSIX does")
def test_a_full_disk_delays_the_rows_and_loses_none(tmp_path):
    child = run_child(FULL, str(tmp_path))
    out, _ = child.communicate(timeout=60)
    sentence, numbers = out.splitlines()
    assert sentence.startswith("Requests are served, but the ledger cannot be written: ")
    assert "dragoman.db" in sentence
    assert numbers == "3000 0"
    database = Database(None, tmp_path)
    assert counts(database) == {3_000}
    database.close()
