"""Batches, faults and ends; the crash tests with real files are in ``test_crash.py``."""

import sys
import threading
from pathlib import Path

import pytest

from app.ledger.writer import Writer
from tests.ledger.entries import Shelf, attempt, entry, fault


@pytest.fixture
def writing():
    writers = []

    def begin(shelf, **options):
        options = {"every_s": 0.01, "pause_s": 0.001} | options
        writer = Writer(lambda: shelf, **options)
        writers.append(writer)
        writer.start()
        return writer

    yield begin
    for writer in writers:
        writer.close(0.0)


def ids(shelf):
    return [row.id for row in shelf.rows]


def test_entries_are_written_in_their_order_with_their_attempts(writing):
    shelf = Shelf()
    writer = writing(shelf)
    for i in range(5):
        writer.add(entry(f"req_{i}", attempts=(attempt(status=529), attempt())))
    assert writer.flush()
    assert ids(shelf) == [f"req_{i}" for i in range(5)]
    assert [(t.request, t.number, t.status) for t in shelf.tries[:3]] == [
        ("req_0", 1, 529),
        ("req_0", 2, 200),
        ("req_1", 1, 529),
    ]
    assert writer.state.written == 5
    assert (writer.state.name, writer.state.sentence) == ("ok", "")


def test_a_burst_is_one_batch_and_a_full_batch_does_not_wait(writing):
    shelf = Shelf()
    writer = writing(shelf, every_s=3_600, batch=10)
    for i in range(20):
        writer.add(entry(f"req_{i}"))
    with writer._changed:
        assert writer._changed.wait_for(lambda: writer._written == 20, 5)
    assert shelf.batches == [(10, False), (10, False)]


def test_what_comes_before_the_start_is_kept():
    shelf = Shelf()
    writer = Writer(lambda: shelf, every_s=0.01)
    writer.add(entry())
    assert (writer.state.name, writer.state.waiting) == ("new", 1)
    writer.start()
    assert writer.flush()
    writer.close()
    assert ids(shelf) == ["req_1"]


def test_close_writes_all_that_waits_at_once():
    shelf = Shelf()
    writer = Writer(lambda: shelf, every_s=3_600, batch=7)
    writer.start()
    for i in range(100):
        writer.add(entry(f"req_{i}"))
    writer.close()
    assert len(shelf.rows) == 100
    assert writer.state.name == "closed"
    writer.add(entry("late"))
    assert writer.state.dropped == 1


def test_a_database_that_cannot_be_used_is_tried_again_and_said(writing):
    shelf = Shelf(*[fault()] * 3)
    seen = []
    writer = writing(shelf)
    shelf.called = lambda: seen.append(writer.state)
    writer.add(entry())
    assert writer.flush()
    assert ids(shelf) == ["req_1"]
    assert [again for _, again in shelf.batches] == [False, True, True, True]
    assert [state.name for state in seen] == ["ok", "trouble", "trouble", "trouble"]
    assert seen[-1].sentence == (
        "Requests are served, but the ledger cannot be written: database is locked. "
        "1 entries wait in memory."
    )
    assert writer.state.sentence == ""


def test_a_store_that_cannot_be_opened_is_opened_later():
    shelf, tries = Shelf(), []

    def open_store():
        tries.append(1)
        if len(tries) < 3:
            raise fault("store_unavailable", "no server.")
        return shelf

    writer = Writer(open_store, every_s=0.01, pause_s=0.001)
    writer.start()
    writer.add(entry())
    assert writer.flush()
    writer.close()
    assert (len(tries), ids(shelf)) == (3, ["req_1"])


def test_more_than_memory_should_hold_is_dropped_and_counted(writing):
    hold, reached = threading.Event(), threading.Event()
    shelf = Shelf()

    def wait():
        reached.set()
        assert hold.wait(5)

    shelf.called = wait
    writer = writing(shelf, max_waiting=3)
    writer.add(entry("req_0"))
    assert reached.wait(5)
    for i in range(1, 6):
        writer.add(entry(f"req_{i}"))
    assert writer.state.dropped == 3
    assert writer.state.sentence == "3 entries were dropped."
    hold.set()
    assert writer.flush()
    assert ids(shelf) == ["req_0", "req_1", "req_2"]


def test_one_entry_that_is_not_taken_costs_no_other(writing, caplog):
    shelf = Shelf()
    writer = writing(shelf, every_s=3_600, batch=4)
    for name in ("a", "poison", "b", "c"):
        writer.add(entry(name))
    assert writer.flush()
    assert ids(shelf) == ["a", "b", "c"]
    assert (writer.state.written, writer.state.refused) == (3, 1)
    assert "'poison' is not taken: too large" in caplog.text


def test_a_conflict_is_found_entry_by_entry(writing):
    shelf = Shelf(fault("store_conflict", "there already."))
    writer = writing(shelf, every_s=3_600, batch=2)
    writer.add(entry("a"))
    writer.add(entry("b"))
    assert writer.flush()
    assert ids(shelf) == ["a", "b"]
    assert shelf.batches == [(2, False), (1, True), (1, True)]


def test_a_damaged_file_is_put_aside_when_a_second_look_finds_it_damaged(writing, caplog):
    shelf = Shelf(fault("store_damaged"), fault("store_damaged"))
    shelf.set_aside = lambda now: shelf.set_aside_at.append(now) or Path("dragoman.db.damaged-1")
    writer = writing(shelf, now=lambda: 42.0)
    writer.add(entry())
    assert writer.flush()
    assert shelf.set_aside_at == [42.0]
    assert ids(shelf) == ["req_1"]
    assert writer.state.sentence == (
        "The database was damaged; it is kept as dragoman.db.damaged-1, and a new one was begun."
    )


def test_damage_once_is_only_tried_again(writing):
    shelf = Shelf(fault("store_damaged"), fault(), fault("store_damaged"))
    writer = writing(shelf)
    writer.add(entry())
    assert writer.flush()
    assert shelf.set_aside_at == []


def test_what_cannot_be_written_at_the_end_is_kept_for_the_next_start(tmp_path, caplog):
    spill = tmp_path / "ledger-waiting.jsonl"
    bad = Shelf(*[fault()] * 1_000)
    writer = Writer(lambda: bad, spill=spill, every_s=0.01, pause_s=0.001, batch=2)
    writer.start()
    odd = entry(
        "req_0", client="\ud800\0x", losses=(("a", "\udfff"),), attempts=(attempt(reason="\ud800"),)
    )
    writer.add(odd)
    for i in range(1, 5):
        writer.add(entry(f"req_{i}"))
    writer.close(grace_s=0.01)
    assert bad.rows == []
    assert len(spill.read_bytes().splitlines()) == 5
    if sys.platform != "win32":
        assert spill.stat().st_mode & 0o077 == 0

    good = Shelf()
    again = Writer(lambda: good, spill=spill, every_s=0.01, batch=2)
    again.add(entry("new"))
    again.start()
    assert again.flush()
    again.close()
    assert sorted(ids(good)) == ["new", *(f"req_{i}" for i in range(5))]
    assert good.rows[0].client == "?x"
    assert not spill.exists()


def test_a_file_of_waiting_entries_survives_a_database_that_stays_away(tmp_path):
    spill = tmp_path / "waiting.jsonl"
    bad = Shelf(*[fault()] * 1_000)
    for name in ("a", "b"):
        writer = Writer(lambda: bad, spill=spill, every_s=0.01, pause_s=0.001)
        writer.start()
        writer.add(entry(name))
        writer.close(grace_s=0.01)
    assert len(spill.read_bytes().splitlines()) == 2
    spill.write_bytes(spill.read_bytes() + b'{"id": "torn')
    good = Shelf()
    writer = Writer(lambda: good, spill=spill, every_s=0.01)
    writer.start()
    writer.close()
    assert ids(good) == ["a", "b"]


def test_without_a_file_the_rest_is_lost_and_that_is_logged(caplog):
    writer = Writer(lambda: Shelf(), every_s=0.01)
    writer.add(entry())
    writer.close()
    assert "1 entries of the ledger are lost" in caplog.text


def test_old_entries_are_removed_after_the_start_and_a_failure_stops_nothing(caplog):
    tidied, shelf = [], Shelf()

    def tidy(store):
        tidied.append(store)
        raise ZeroDivisionError

    writer = Writer(lambda: shelf, tidy=tidy, every_s=0.01)
    writer.start()
    writer.add(entry("a"))
    assert writer.flush()
    writer.add(entry("b"))
    assert writer.flush()
    writer.close()
    assert tidied == [shelf]
    assert ids(shelf) == ["a", "b"]
    assert "old entries of the ledger are not removed" in caplog.text


def test_many_threads_may_add(writing):
    shelf = Shelf()
    writer = writing(shelf, batch=16)
    threads = [
        threading.Thread(target=lambda t=t: [writer.add(entry(f"{t}-{i}")) for i in range(50)])
        for t in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.flush()
    assert len(set(ids(shelf))) == 200
