import random
from itertools import product

import pytest

from app.ledger.days import day_after, day_of, hour_of
from app.ledger.row import attempt_rows, row_of
from app.store.database import Database
from app.store.ledger import LedgerStore
from app.store.tables import usage_days, usage_months
from app.store.usage import _spans
from tests.ledger.entries import NOON, attempt, entry

DAY_S = 86_400.0
TODAY = day_of(NOON)


@pytest.fixture(scope="module")
def entries():
    rng = random.Random(11)  # noqa: S311 - not for secrets
    made = []
    for i in range(600):
        provider = rng.choice(("claude", "openai"))
        failed = rng.random() < 0.2
        made.append(
            entry(
                f"r{i}",
                at=NOON - rng.randrange(150) * DAY_S - rng.randrange(40_000),
                provider=provider,
                account=f"{provider}/{rng.choice('ab')}",
                model=rng.choice(("m1", "m2", "m3")),
                key_id=rng.choice(("", "k1", "k2")),
                client=rng.choice(("codex", "claude")),
                session=f"s{i % 7}",
                status=429 if failed else 200,
                error="rate_limit" if failed else "",
                cost=rng.randrange(1_000),
                worth=provider == "claude",
                attempts=(),
            )
        )
    return made


@pytest.fixture(scope="module")
def usage(entries, tmp_path_factory):
    database = Database(None, tmp_path_factory.mktemp("usage"))
    database.migrate()
    store = LedgerStore(database)
    one = entry("with-tries", at=NOON - 1, session="own", attempts=(attempt(status=529), attempt()))
    for start in range(0, len(entries), 50):
        store.add([row_of(one) for one in entries[start : start + 50]], [])
    store.add([row_of(one)], attempt_rows(one))
    yield store.usage
    database.close()


@pytest.fixture(scope="module")
def rows(entries):
    one = entry("with-tries", at=NOON - 1, session="own")
    return [
        {**row_of(each)._asdict(), "paid": 0 if each.worth else each.cost}
        for each in (*entries, one)
    ]


RANGES = [
    (TODAY, TODAY),
    (day_after(TODAY, -29), TODAY),
    (day_after(TODAY, -100), day_after(TODAY, -3)),
    (20260801, 20261031),
    (20260815, 20261130),
    (20260101, 20261231),
    (20200101, 20200102),
]


@pytest.mark.parametrize(
    ("span", "by", "only"),
    list(
        product(
            RANGES,
            [(), ("day",), ("model",), ("account",), ("client",), ("day", "key_id", "provider")],
            [{}, {"provider": "claude"}, {"key_id": "", "model": "m2"}],
        )
    ),
)
def test_sums_agree_with_the_requests(usage, rows, span, by, only):
    expected = {}
    for row in rows:
        if not span[0] <= row["day"] <= span[1] or any(row[k] != v for k, v in only.items()):
            continue
        total = expected.setdefault(tuple(row[name] for name in by), [0, 0, 0, 0])
        amounts = (1, row["error"] != "", row["input"], row["paid"])
        for i, amount in enumerate(amounts):
            total[i] += amount
    found = usage.sums("day", *span, by, only)
    assert {
        tuple(row[name] for name in by): [
            row[name] for name in ("requests", "failed", "input", "cost")
        ]
        for row in found
    } == expected


@pytest.mark.parametrize(
    ("span", "by"), list(product(RANGES, [("day",), ("model",), ("provider",)]))
)
def test_latencies_agree_with_the_requests(usage, rows, span, by):
    expected = {}
    for row in rows:
        if span[0] <= row["day"] <= span[1] and row["whole_bucket"] is not None:
            key = row[by[0]]
            expected[key] = expected.get(key, 0) + 1
    found = usage.latencies(*span, by, {})
    assert {row[by[0]]: sum(row["whole"]) for row in found if sum(row["whole"])} == expected
    assert all(sum(row["first"]) == sum(row["whole"]) for row in found)


def test_hours_are_summed_apart(usage, rows):
    last = hour_of(NOON)
    expected = sum(row["hour"] >= last - 48 for row in rows)
    found = usage.sums("hour", last - 48, last, ("hour",), {})
    assert sum(row["requests"] for row in found) == expected > 0


def test_ranges_are_covered_once_by_months_and_days():
    for first, last in (*RANGES, (20261031, 20261201), (20261130, 20270131), (20251201, 20270101)):
        spans = _spans(usage_days, usage_months, first, last, whole=True)
        day, days = first, []
        while day <= last:
            days.append(day)
            day = day_after(day)
        hits = [
            sum(
                span.first <= (each // 100 if span.table is usage_months else each) <= span.last
                for span in spans
            )
            for each in days
        ]
        assert set(hits) == {1}
        for span in spans:
            if span.table is usage_months:
                assert span.first * 100 + 1 >= first
                assert span.last * 100 + 31 <= last


def pages(usage, only=None, limit=37, failed=False, since=0.0, until=NOON + 1):
    """Walk through all pages."""
    found, before = [], None
    while True:
        some = usage.page(since, until, only or {}, limit=limit, before=before, failed=failed)
        found += some
        if len(some) < limit:
            return found
        before = (some[-1]["at"], some[-1]["seq"])


@pytest.mark.parametrize(
    ("only", "failed"),
    [
        ({}, False),
        ({"model": "m1"}, False),
        ({"account": "openai/a", "key_id": "k1"}, False),
        ({"session": "s3"}, False),
        ({}, True),
        ({"client": "codex"}, True),
        ({"status": 429, "provider": "claude"}, False),
        ({"error": "rate_limit"}, False),
        ({"error": "other"}, False),
    ],
)
def test_pages_hold_every_match_once_the_newest_first(usage, rows, only, failed):
    wanted = [
        row["id"]
        for row in sorted(rows, key=lambda row: -row["at"])
        if all(row[k] == v for k, v in only.items()) and (not failed or row["error"])
    ]
    found = pages(usage, only, failed=failed)
    assert sorted(row["id"] for row in found) == sorted(wanted)
    assert [row["at"] for row in found] == sorted((row["at"] for row in found), reverse=True)


def test_requests_of_the_same_moment_do_not_get_lost_between_pages(tmp_path):
    database = Database(None, tmp_path)
    database.migrate()
    store = LedgerStore(database)
    store.add([row_of(entry(f"r{i}")) for i in range(10)], [])
    assert [row["id"] for row in pages(store.usage, limit=3)] == [f"r{i}" for i in range(9, -1, -1)]
    database.close()


def test_a_page_keeps_to_its_range_and_has_no_traces(usage):
    since, until = NOON - 20 * DAY_S, NOON - 10 * DAY_S
    found = pages(usage, since=since, until=until)
    assert found
    assert all(since <= row["at"] < until for row in found)
    assert "trace" not in found[0]


def test_days_with_matches_are_told_the_last_first(usage, rows):
    only = {"model": "m1", "key_id": "k2"}
    expected = {}
    for row in rows:
        if all(row[k] == v for k, v in only.items()) and row["error"]:
            expected[row["day"]] = expected.get(row["day"], 0) + 1
    found = usage.days_with(20200101, TODAY, only, failed=True)
    assert found == sorted(expected.items(), reverse=True)


def test_a_request_is_found_with_its_attempts(usage):
    row, tries = usage.request("with-tries")
    assert row["session"] == "own"
    assert [(one["number"], one["status"]) for one in tries] == [(1, 529), (2, 200)]
    assert usage.request("unheard-of") is None
