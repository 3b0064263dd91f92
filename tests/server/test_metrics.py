"""Levels on the metrics page."""

from prometheus_client.parser import text_string_to_metric_families

from app.ledger.metrics import Metrics
from app.server.metrics import gauges


def test_levels_are_read_by_prometheus_own_parser():
    levels = gauges(
        running=2,
        uptime_s=61.5,
        waiting=3,
        ready={"claude/one": True, "codex/two": False},
        left={"claude/one": 40.0, "codex/two": None},
    )
    text = Metrics().render(levels).decode()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["dragoman_requests_running",] == 2
    assert found["dragoman_uptime_seconds",] == 61.5
    assert found["dragoman_ledger_waiting",] == 3
    assert found["dragoman_account_ready", "claude/one"] == 1
    assert found["dragoman_account_ready", "codex/two"] == 0
    assert found["dragoman_account_left_percent", "claude/one"] == 40
    assert ("dragoman_account_left_percent", "codex/two") not in found
