import csv
import io

import pytest

from app.ledger.latency import BUCKETS, bucket_of
from app.ledger.report import Line, build_report, render_csv, report_json


def row(**changes):
    fields = dict.fromkeys(
        (
            *("requests", "failed", "cached", "input", "cache_read", "cache_write", "output"),
            *("reasoning", "cost", "worth", "unpriced"),
        ),
        0,
    )
    return fields | {"requests": 1} | changes


def times(*all_ms):
    counts = [0] * BUCKETS
    for ms in all_ms:
        counts[bucket_of(ms)] += 1
    return counts


def report(by, rows, latencies=(), first=20261129, last=20261202, **more):
    return build_report(by, rows, latencies, first=first, last=last, since=1.0, until=2.0, **more)


def test_days_come_in_their_order_with_empty_ones_between():
    found = report("day", [row(day=20261201, cost=5), row(day=20261129, requests=2)])
    assert [(line.name, line.requests) for line in found.lines] == [
        ("2026-11-29", 2),
        ("2026-11-30", 0),
        ("2026-12-01", 1),
        ("2026-12-02", 0),
    ]
    assert (found.total.requests, found.total.cost) == (3, 5)


def test_hours_are_named_in_utc():
    found = report("hour", [row(hour=495_351)], first=495_350, last=495_351)
    assert [line.name for line in found.lines] == ["2026-07-05T14:00Z", "2026-07-05T15:00Z"]


def test_names_come_by_what_was_spent_then_by_tokens():
    rows = [
        row(model="cheap", cost=1),
        row(model="free", input=10),
        row(model="plan", worth=50),
        row(model="", requests=4),
        row(model="paid", cost=40),
    ]
    found = report("model", rows)
    assert [line.name for line in found.lines] == ["plan", "paid", "cheap", "free", ""]


def test_agents_and_keys_are_columns_of_the_store():
    assert report("agent", [row(client="codex")]).lines[0].name == "codex"
    assert report("key", [row(key_id="abc")]).lines[0].name == "abc"


def test_latencies_join_their_group_and_add_up():
    rows = [row(model="a"), row(model="b"), row(model="c")]
    latencies = [
        {"model": "a", "first": times(100), "whole": times(1_000)},
        {"model": "b", "first": times(100), "whole": times(9_000)},
    ]
    found = report("model", rows, latencies)
    lines = {line.name: line for line in found.lines}
    assert lines["a"].whole == tuple(times(1_000))
    assert lines["c"].first == ()
    assert sum(found.total.whole) == 2
    body = report_json(found)
    assert body["rows"][2]["first_ms"] is None
    assert 700 < body["rows"][0]["duration_ms"]["p50"] < 1_500
    assert body["total"]["duration_ms"]["p99"] > 7_000


def test_rates_and_money_are_told_in_parts_and_dollars():
    line = Line("x", 1, input=50, cache_read=150, output=10, cost=1_500_000)
    assert (line.prompt, line.tokens, line.hit_rate) == (200, 210, 0.75)
    assert Line("x").hit_rate is None
    found = report("model", [row(model="m", input=50, cache_read=150, cost=1_500_000, worth=1)])
    body = report_json(found)["rows"][0]
    assert (body["cost_usd"], body["worth_usd"], body["cache_hit_rate"]) == (1.5, 1e-6, 0.75)


def test_labels_stand_beside_the_names_that_have_one():
    body = report_json(report("key", [row(key_id="abc"), row(key_id="")]), {"abc": "work"})
    assert {one["name"]: one.get("label") for one in body["rows"]} == {"abc": "work", "": None}


def test_csv_has_a_line_per_group_and_can_be_read_back():
    found = report(
        "model",
        [row(model='odd,"name"', cost=1_234_567), row(model="=1+1")],
        [{"model": "=1+1", "first": times(), "whole": times(500)}],
    )
    text = render_csv(report_json(found)["rows"], "model")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["model"] for line in lines] == ['odd,"name"', "'=1+1"]
    assert lines[0]["cost_usd"] == "1.234567"
    assert lines[0]["duration_ms_p50"] == ""
    assert int(lines[1]["duration_ms_p50"]) > 0


def test_csv_of_nothing_is_its_header():
    (header,) = render_csv([], "model").splitlines()
    assert header.startswith("model,requests,failed,")


@pytest.mark.parametrize("by", ["model", "provider", "key"])
def test_nothing_at_all_is_an_empty_report(by):
    found = report(by, [])
    assert found.lines == ()
    assert found.total == Line("")
