import random
import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from app.canonical.usage import Usage
from app.ledger.metrics import MAX_VALUES, Gauge, Metrics
from tests.ledger.entries import attempt, entry


def samples(metrics, gauges=()):
    """Every sample by name and labels, read by the library's own parser."""
    text = metrics.render(gauges).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def value(found, name, **labels):
    return found[name, tuple(sorted(labels.items()))]


PLACE = {"provider": "claude", "account": "claude/one", "model": "claude-sonnet-4-5"}


def test_requests_tokens_and_costs_are_counted_by_what_served_them():
    metrics = Metrics()
    metrics.note(entry("a"))
    metrics.note(entry("b", worth=True, status=200))
    metrics.note(entry("c", status=529, error="overloaded", tokens=None, cost=None))
    found = samples(metrics)
    served = PLACE | {"dialect": "openai_chat"}
    assert value(found, "dragoman_requests_total", **served, status="2xx") == 2
    assert value(found, "dragoman_requests_total", **served, status="5xx") == 1
    assert value(found, "dragoman_tokens_total", **PLACE, kind="cache_read") == 100
    assert value(found, "dragoman_tokens_total", **PLACE, kind="reasoning") == 10
    assert value(found, "dragoman_cost_usd_total", **PLACE, billing="paid") == 0.001
    assert value(found, "dragoman_cost_usd_total", **PLACE, billing="worth") == 0.001
    errors = value(found, "dragoman_request_errors_total", provider="claude", code="overloaded")
    assert errors == 1


def test_attempts_are_counted_each():
    metrics = Metrics()
    metrics.note(entry(attempts=(attempt(error="overloaded"), attempt(account="claude/two"))))
    found = samples(metrics)
    name = "dragoman_attempts_total"
    assert value(found, name, provider="claude", account="claude/one", result="failed") == 1
    assert value(found, name, provider="claude", account="claude/two", result="served") == 1


def test_latencies_are_histograms_of_served_requests_in_seconds():
    metrics = Metrics()
    metrics.note(entry("a", first_ms=300, duration_ms=3_000))
    metrics.note(entry("b", first_ms=None, duration_ms=10_000_000))
    metrics.note(entry("c", duration_ms=100, error="x"))
    found = samples(metrics)
    labels = {"provider": "claude", "model": "claude-sonnet-4-5"}
    assert value(found, "dragoman_first_content_seconds_bucket", **labels, le="0.25") == 0
    assert value(found, "dragoman_first_content_seconds_bucket", **labels, le="0.5") == 1
    assert value(found, "dragoman_first_content_seconds_count", **labels) == 1
    assert value(found, "dragoman_request_seconds_bucket", **labels, le="640.0") == 1
    assert value(found, "dragoman_request_seconds_bucket", **labels, le="+Inf") == 2
    assert value(found, "dragoman_request_seconds_sum", **labels) == 10_003


def test_levels_of_others_are_rendered_beside():
    gauges = [
        Gauge("requests_running", "Requests being served", (), (((), 3.0),)),
        Gauge("account_state", "1 where it is so", ("account", "state"), ((("a", "ready"), 1.0),)),
    ]
    found = samples(Metrics(), gauges)
    assert value(found, "dragoman_requests_running") == 3
    assert value(found, "dragoman_account_state", account="a", state="ready") == 1


def test_odd_requests_make_no_new_labels():
    metrics = Metrics()
    metrics.note(entry("known"))
    metrics.note(entry("refused", model="", account="", provider="", status=404, error="no_model"))
    metrics.note(entry("odd", model="odd", status=404, error="no_model", tokens=None))
    before = set(samples(metrics))
    rng = random.Random(3)  # noqa: S311 - not for secrets
    for i in range(10_000):
        odd = "".join(chr(rng.randrange(32, 1_000)) for _ in range(rng.randrange(1, 300)))
        metrics.note(
            entry(f"o{i}", asked=odd, model=odd, status=404, error="no_model", client=odd,
                  session=odd, key_id=odd, tokens=None)
        )  # fmt: skip
    assert set(samples(metrics)) == before


def test_labels_are_bounded_even_when_odd_models_are_served():
    metrics = Metrics()
    for i in range(2_000):
        name = f"p{i % 40}"
        metrics.note(
            entry(f"r{i}", provider=name, account=f"{name}/a", model=f"m{i}", error="",
                  attempts=(attempt(provider=f"x{i}", account=f"x{i}/y"),))
        )  # fmt: skip
        metrics.note(entry(f"e{i}", error=f"code_{i}"))
    found = samples(metrics)
    models = {dict(labels).get("model") for _, labels in found}
    assert len(models) <= MAX_VALUES + 3
    assert "other" in models
    total = sum(n for (name, _), n in found.items() if name == "dragoman_requests_total")
    assert total == 4_000
    assert len(found) < 60_000


def test_label_values_with_quotes_and_line_ends_are_escaped():
    metrics = Metrics()
    metrics.note(entry(model='a"b\\c\nd', tokens=Usage(1)))
    labels = [dict(labels) for name, labels in samples(metrics) if name == "dragoman_tokens_total"]
    assert labels[0]["model"] == 'a"b\\c\nd'


def test_the_library_is_imported_by_the_first_question_only():
    script = (
        "import sys\nfrom app.ledger.metrics import Metrics\nfrom tests.ledger.entries import entry"
        "\nm = Metrics()\nm.note(entry())\nprint('prometheus_client' in sys.modules)\n"
        "m.render()\nprint('prometheus_client' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
