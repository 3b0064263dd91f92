"""Levels on the metrics page, and the page of the whole program."""

import json
import random

import prometheus_client.core
from prometheus_client.parser import text_string_to_metric_families

from app.accounts.roster import AccountState
from app.ledger.metrics import Metrics
from app.ledger.writer import WriterState
from app.paths import asset
from app.server.metrics import AccountLevel, CacheLevel, gauges
from tests.server.running import CHAT, SAY, running

STATE = WriterState("ok", "", 3, 20, 1, 2)


def read(text):
    """Every sample by name and labels, read by the library's own parser."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def levels(*accounts, **more):
    options = {"version": "1.2", "running": 2, "uptime_s": 61.5, "ledger": STATE, "now": 100.0}
    return read(Metrics().render(gauges(accounts=accounts, **options | more)).decode())


def test_levels_of_the_program_are_read_by_prometheus_own_parser():
    found = levels(cache=CacheLevel(4, 500, 7, 9), bodies_waiting=5)
    assert found["dragoman_build_info", ("version", "1.2")] == 1
    single = {
        "requests_running": 2,
        "uptime_seconds": 61.5,
        "ledger_waiting": 3,
        "ledger_written": 20,
        "ledger_dropped": 1,
        "ledger_refused": 2,
        "ledger_ok": 1,
        "bodies_waiting": 5,
        "answer_cache_answers": 4,
        "answer_cache_bytes": 500,
        "answer_cache_hits": 7,
        "answer_cache_misses": 9,
    }
    assert {name: found[f"dragoman_{name}",] for name in single} == single


def test_each_account_has_its_state_its_cooldown_and_what_is_left():
    found = levels(
        AccountLevel("claude/one", AccountState("ready"), 40.0, {"5h": 40.0, "7d": 90.0}),
        AccountLevel("codex/two", AccountState("cooling", "slow", 160.0)),
        AccountLevel("x/three", AccountState("refused", "banned")),
    )

    def of(name, account, **more):
        return found[f"dragoman_{name}", *sorted({"account": account, **more}.items())]

    assert [of("account_ready", a) for a in ("claude/one", "codex/two", "x/three")] == [1, 0, 0]
    assert of("account_state", "codex/two", state="cooling") == 1
    assert of("account_state", "codex/two", state="ready") == 0
    assert of("account_state", "x/three", state="refused") == 1
    assert [of("account_cooldown_seconds", a) for a in ("claude/one", "codex/two", "x/three")] == [
        0,
        60,
        0,
    ]
    assert of("account_left_percent", "claude/one") == 40
    assert ("dragoman_account_left_percent", ("account", "codex/two")) not in found
    assert of("quota_left_percent", "claude/one", window="7d") == 90


def test_a_state_changes_values_and_no_labels():
    ready = levels(AccountLevel("a/b", AccountState("ready")))
    cooling = levels(AccountLevel("a/b", AccountState("cooling", "x", 500.0)))
    assert ready.keys() == cooling.keys()
    assert ready != cooling


def test_labels_of_accounts_are_bounded():
    windows = {f"w{i}" * 50: 1.0 for i in range(30)}
    many = [AccountLevel(f"p/{i}", AccountState("ready"), 1.0, windows) for i in range(500)]
    found = levels(*many)
    assert sum(name == "dragoman_account_ready" for name, *_ in found) == 100
    assert sum(name == "dragoman_quota_left_percent" for name, *_ in found) == 800
    names = [
        dict(labels)["window"]
        for name, *labels in found
        if name.endswith("left_percent") and len(labels) == 2
    ]
    assert max(map(len, names)) <= 60


async def test_the_page_of_a_running_program_is_complete_and_odd_requests_change_no_labels(
    tmp_path,
):
    async with running(tmp_path) as server:

        async def page():
            reply = await server.get("/metrics")
            assert reply.header("content-type").startswith("text/plain; version=0.0.4")
            return read(reply.body.decode())

        await server.post(CHAT, SAY)
        await server.post(CHAT, SAY | {"model": "demo-error-500"})
        await server.post(CHAT, SAY | {"model": "no-such-model"})
        before = await page()
        names = {name for name, *_ in before}
        assert names >= {
            "dragoman_requests_total",
            "dragoman_request_errors_total",
            "dragoman_attempts_total",
            "dragoman_tokens_total",
            "dragoman_request_seconds_bucket",
            "dragoman_first_content_seconds_bucket",
            "dragoman_requests_running",
            "dragoman_account_state",
            "dragoman_account_cooldown_seconds",
            "dragoman_ledger_waiting",
            "dragoman_answer_cache_hits",
            "dragoman_build_info",
        }
        rng = random.Random(5)  # noqa: S311 - not for secrets
        for _ in range(50):
            odd = "".join(chr(rng.randrange(33, 1_000)) for _ in range(rng.randrange(1, 200)))
            raw = json.dumps(SAY | {"model": odd, "user": odd}).encode()
            reply = await server.post(CHAT, raw, {"User-Agent": "x" * rng.randrange(1, 50)})
            assert reply.status == 404
        after = await page()
        assert after.keys() == before.keys()
        labels = (("account", "none"), ("dialect", "openai_chat"), ("model", "none"))
        labels += (("provider", "none"), ("status", "4xx"))
        refused = next(v for k, v in after.items() if k == ("dragoman_requests_total", *labels))
        assert refused >= 51


async def test_a_key_sees_the_measures_of_its_scope_alone(tmp_path):
    async with running(tmp_path) as server:
        await server.post(CHAT, SAY)
        await server.post(CHAT, SAY | {"model": "demo-think"})
        _, all_of_demo = await server.key(label="a", providers=["demo"])
        _, one_model = await server.key(label="b", models=["demo-think"])
        _, nothing = await server.key(label="c", providers=["claude"])

        async def seen(plain):
            reply = await server.get("/metrics", {"Authorization": f"Bearer {plain}"})
            found = read(reply.body.decode())
            assert found["dragoman_requests_running",] == 0
            return {v for _, *labels in found for k, v in labels if k in ("model", "account")}

        assert await seen(all_of_demo) == {"demo-chat", "demo-think", "demo/demo"}
        assert await seen(one_model) == {"demo-think", "demo/demo"}
        assert await seen(nothing) == set()


def test_every_metric_is_in_the_documentation():
    told = asset("docs/usage.md").read_text("utf-8")
    own = {gauge.name for gauge in gauges(version="1", running=0, uptime_s=0, ledger=STATE,
                                          accounts=(), now=0)}  # fmt: skip
    counted = {family.name for family in Metrics()._families(prometheus_client.core)}
    for name in own | {name.removeprefix("dragoman_") for name in counted}:
        short = name.replace("ledger", "").replace("answer_cache", "")
        assert f"dragoman_{name}" in told or f"`{short}`" in told, name
