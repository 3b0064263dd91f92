"""The page about use lists every metric of ``/metrics`` with its labels, and no other."""

import re
from pathlib import Path
from typing import get_args

from prometheus_client.parser import text_string_to_metric_families

from app.accounts.roster import AccountState, Health
from app.ledger.metrics import Metrics
from app.ledger.writer import WriterState
from app.server.metrics import AccountLevel, gauges
from tests.ledger.entries import attempt, entry

PAGE = (Path(__file__).parents[2] / "assets" / "docs" / "usage.md").read_text("utf-8")
ROW = re.compile(r"^\| `(dragoman_\w+)` \|(.*?)\| (.+) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


def told():
    return {name: set(CODE.findall(labels)) for name, labels, _ in ROW.findall(PAGE)}


def words(name):
    return set(CODE.findall(next(row[2] for row in ROW.findall(PAGE) if row[0] == name)))


def families():
    """Every family that ``/metrics`` has once there is something to count."""
    metrics = Metrics()
    metrics.note(entry())
    metrics.note(entry("req_2", cached=True))
    metrics.note(entry("req_3", status=499))
    failed = attempt(error="upstream_timeout", status=504)
    metrics.note(entry("req_4", status=504, error="upstream_timeout", attempts=(failed,)))
    levels = gauges(
        version="1",
        running=0,
        uptime_s=1.0,
        ledger=WriterState("ok", "", 0, 0, 0, 0),
        accounts=[AccountLevel("claude/one", AccountState("ready"), 50.0, {"5h": 50.0})],
        now=0.0,
    )
    return list(text_string_to_metric_families(metrics.render(levels).decode()))


def test_every_metric_is_listed_with_its_labels_and_no_other():
    found = {}
    for family in families():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels}
        assert family.samples, name
        found[name] = labels - {"le"}
    assert told() == found


def test_values_of_labels_are_listed():
    seen = {}
    for family in families():
        for sample in family.samples:
            for label, value in sample.labels.items():
                seen.setdefault((family.name, label), set()).add(value)
    assert seen["dragoman_tokens", "kind"] <= words("dragoman_tokens_total")
    assert seen["dragoman_attempts", "result"] <= words("dragoman_attempts_total")
    assert seen["dragoman_requests", "status"] <= words("dragoman_requests_total")
    assert seen["dragoman_cost_usd", "billing"] <= words("dragoman_cost_usd_total")
    assert set(get_args(Health)) == words("dragoman_account_state")
