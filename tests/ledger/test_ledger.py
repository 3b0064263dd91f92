import sqlite3
import threading

import pytest

from app.errors import AppError
from app.ledger.budget import Budget
from app.ledger.ledger import Ledger, Retention
from app.ledger.meter import Meter
from app.ledger.query import list_query, usage_query
from app.store.database import Database
from app.store.ledger import LedgerStore
from tests.ledger.entries import NOON, attempt, entry, fault

DAY_S = 86_400.0


@pytest.fixture
def database(tmp_path):
    opened = Database(None, tmp_path, busy_timeout_s=0.01)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def opened(database):
    made = []

    def begin(**options):
        options = {"spill": None, "now": lambda: NOON + 60, "every_s": 0.01} | options
        ledger = Ledger(**options)
        made.append(ledger)
        ledger.start(lambda: LedgerStore(database))
        assert ledger.opened.wait(5)
        return ledger

    yield begin
    for ledger in made:
        ledger.close(0.0)


def noted(ledger, *entries):
    for one in entries:
        ledger.note(one)
    assert ledger.flush()


def page(ledger, **fields):
    return ledger.page(list_query(fields, NOON + 60))


def test_what_is_noted_is_in_the_next_report(opened):
    ledger = opened()
    noted(ledger, entry("a"), entry("b", client="claude", error="x", status=500))
    report = ledger.usage(usage_query({"by": "agent", "since": "7d"}, NOON))
    assert {line.name: (line.requests, line.failed) for line in report.lines} == {
        "codex": (1, 0),
        "claude": (1, 1),
    }
    assert report.total.cost == 2_000
    assert b'dragoman_requests_total{account="claude/one"' in ledger.metrics.render()


def test_times_are_told_where_they_are_kept(opened):
    ledger = opened()
    noted(ledger, entry())

    def whole(**fields):
        return ledger.usage(usage_query(fields, NOON)).total.whole

    assert sum(whole(by="day")) == sum(whole(by="model", account="claude/one")) == 1
    assert whole(by="agent") == whole(by="model", key="") == whole(by="hour") == ()


def test_a_page_shows_requests_and_leads_to_the_next(opened):
    ledger = opened()
    noted(ledger, *(entry(f"r{i}", at=NOON + i) for i in range(5)))
    first = page(ledger, limit="3")
    assert [row["id"] for row in first["requests"]] == ["r4", "r3", "r2"]
    second = page(ledger, limit="3", cursor=first["next"])
    assert [row["id"] for row in second["requests"]] == ["r1", "r0"]
    assert second["next"] is None
    row = second["requests"][0]
    assert (row["cost_usd"], row["losses"], row["attempts"]) == (0.001, [], 1)
    assert {"seq", "trace", "cost"}.isdisjoint(row)


def test_several_filters_find_matches_far_apart_and_each_once(opened):
    ledger = opened()
    entries = [
        entry(f"r{i}", at=NOON - i * DAY_S / 3, key_id=f"k{i % 2}", client=f"c{i % 31}",
              error="x" if i % 2 else "")
        for i in range(200)
    ]  # fmt: skip
    noted(ledger, *entries)
    wanted = [one.id for one in entries if (one.key_id, one.client) == ("k1", "c4")]
    found, cursor = [], ""
    while cursor is not None:
        answer = page(ledger, key="k1", agent="c4", limit="2", cursor=cursor)
        found += [row["id"] for row in answer["requests"]]
        cursor = answer["next"]
    assert found == wanted
    assert len(wanted) > 2
    failed = page(ledger, agent="c4", failed="1", limit="500")["requests"]
    assert [row["id"] for row in failed] == wanted
    assert page(ledger, key="k7", agent="c4") == {"requests": [], "next": None}
    assert page(ledger, key="k0", failed="1") == {"requests": [], "next": None}


def test_one_request_has_its_attempts_and_its_trace(opened):
    ledger = opened()
    tries = (attempt(error="overloaded", losses=(("top_k", "gone"),)), attempt())
    noted(ledger, entry("a", attempts=tries, trace='{"rule":"x"}', losses=(("a", "b"),)))
    found = ledger.request("a")
    assert found["trace"] == {"rule": "x"}
    assert found["losses"] == [["a", "b"]]
    assert [(one["error"], one["losses"]) for one in found["tries"]] == [
        ("overloaded", [["top_k", "gone"]]),
        ("", []),
    ]
    assert ledger.request("b") is None


def test_questions_before_the_database_is_open_are_our_error():
    ledger = Ledger(spill=None)
    ledger.note(entry())
    with pytest.raises(AppError) as caught:
        page(ledger)
    assert (caught.value.code, caught.value.status) == ("store_unavailable", 503)
    ledger.close(0.0)


def test_a_database_that_opens_later_gets_what_came_before(database):
    ready, tried = threading.Event(), threading.Event()

    def open_store():
        tried.set()
        if not ready.is_set():
            raise fault("store_unavailable", "no server.")
        return LedgerStore(database)

    ledger = Ledger(spill=None, every_s=0.01)
    ledger.note(entry("early"))
    ledger.start(open_store)
    assert tried.wait(5)
    ready.set()
    assert ledger.flush()
    assert ledger.request("early") is not None
    ledger.close()


def test_what_is_too_old_is_removed_at_the_start(database):
    from app.ledger.row import row_of

    store = LedgerStore(database)
    store.add([row_of(entry(f"r{i}", at=NOON - i * DAY_S)) for i in range(20)], [])
    tidied = threading.Event()

    def retention():
        tidied.set()
        return Retention(days=5)

    ledger = Ledger(spill=None, retention=retention, now=lambda: NOON, every_s=0.01)
    ledger.start(lambda: store)
    assert tidied.wait(5)
    ledger.close()
    rows = store.usage.page(0.0, NOON + 1, {}, limit=100)
    # The day on which it ends is kept whole.
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(6)]


def test_budgets_count_what_the_database_has_of_this_month(database, opened):
    first = opened()
    noted(first, entry("a", cost=400_000), entry("b", at=NOON - 40 * DAY_S, cost=9_000_000))
    first.close()
    meter = Meter(now=lambda: NOON + 60)
    meter.set_budgets([Budget("month", 1_000_000)])
    ledger = opened(meter=meter)
    assert [one.used for one in ledger.standings()] == [400_000]
    noted(ledger, entry("c", cost=100_000), entry("d", cost=5, worth=True))
    assert [one.used for one in ledger.standings()] == [500_000]
    meter.set_budgets([Budget("today", 1_000, unit="tokens", period="day"), Budget("m", 10**6)])
    assert [one.used for one in ledger.standings()] == [3 * 180, 500_000]


def test_what_an_earlier_program_could_not_write_counts(database, opened, tmp_path):
    spill = tmp_path / "waiting.jsonl"
    first = Ledger(spill=spill, now=lambda: NOON + 60)
    first.note(entry("a", cost=300_000))
    first.close(0.0)
    meter = Meter(now=lambda: NOON + 60)
    meter.set_budgets([Budget("month", 1_000_000)])
    ledger = opened(meter=meter, spill=spill)
    noted(ledger, entry("b", cost=1))  # written after what waited in the file
    assert ledger.request("a") is not None
    assert [one.used for one in ledger.standings()] == [300_001]


def test_a_locked_database_is_said_while_reports_go_on(opened, tmp_path):
    ledger = opened()
    noted(ledger, entry("a"))
    other = sqlite3.connect(tmp_path / "dragoman.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.note(entry("b"))
    assert not ledger.flush(0.3)
    assert ledger.state.name == "trouble"
    assert [row["id"] for row in page(ledger)["requests"]] == ["a"]
    other.execute("COMMIT")
    other.close()
    assert ledger.flush()
    assert len(page(ledger)["requests"]) == 2
