"""Budgets, prices and the ledger's size: from the settings into force."""

import asyncio

import pytest

from app.accounts.roster import Roster
from app.configtext import load
from app.keys import KeyRecord
from app.ledger.ledger import Retention
from app.server.spending import Spending
from app.store.opening import Opening
from tests.gateway.scripted import CHAT_START, chat_chunk, chat_whole
from tests.ledger.entries import entry
from tests.server.running import (
    CHAT,
    SAY,
    STREAM_HEAD,
    Upstream,
    answering,
    chunk,
    running,
    whole,
)

HELLO = answering(whole(chat_whole()))
ASK = SAY | {"model": "m"}
PRICES = "models: {prices: {m: {input: 1000, output: 1000}}}\n"
"""A dollar for a thousand tokens."""


def key(name, label, **changes):
    values = {"kind": "client", "sha256": name, "created_at": 1.0, **changes}
    return KeyRecord(name, label, **values)


def spending_of(tmp_path, text, *keys):
    opening = Opening(None, tmp_path)
    opening.index.replace(keys)
    return Spending(opening, lambda: load(text, "config.yaml", {}), Roster())


def scopes(spending):
    return [(one.budget.name, one.budget.scope) for one in spending.meter.standings()]


async def test_budgets_are_of_everything_a_key_or_a_provider(tmp_path):
    text = (
        "ledger:\n  budgets:\n    - {usd: 5}\n    - {name: ci, tokens: 9, key: build, per: day}\n"
        "    - {name: o, usd: 0.5, provider: openai, warn_percent: null, count_plans: true}\n"
    )
    spending = spending_of(tmp_path, text, key("k1", "build"))
    assert scopes(spending) == [
        ("budget 1", ("whole", "")),
        ("ci", ("key", "k1")),
        ("o", ("provider", "openai")),
    ]
    whole_, ci, openai = (one.budget for one in spending.meter.standings())
    assert (whole_.limit, whole_.unit, whole_.period, whole_.warn) == (
        5_000_000,
        "usd",
        "month",
        0.8,
    )
    assert (ci.limit, ci.unit, ci.period, ci.stop) == (9, "tokens", "day", 1.0)
    assert (openai.limit, openai.warn, openai.count_worth) == (500_000, None, True)


async def test_key_of_a_budget_may_be_named_by_id_or_label(tmp_path):
    text = "ledger: {budgets: [{name: a, usd: 1, key: k1}, {name: b, usd: 1, key: same}]}"
    keys = (
        key("k1", "one"),
        key("k2", "same", created_at=2.0),
        key("k3", "same", created_at=3.0, revoked_at=4.0),
    )
    assert scopes(spending_of(tmp_path, text, *keys)) == [
        ("a", ("key", "k1")),
        ("b", ("key", "k2")),
    ]


async def test_budget_of_a_key_that_is_not_there_is_doubted_until_it_is(tmp_path):
    spending = spending_of(tmp_path, "ledger: {budgets: [{name: a, usd: 1, key: ci}]}")
    assert spending.warnings == ("The budget a is for the key 'ci', and there is none.",)
    spending._keys.replace([key("k1", "ci")])
    spending.configure()
    assert spending.warnings == ()
    assert scopes(spending) == [("a", ("key", "k1"))]


async def test_budget_of_a_mistyped_provider_is_doubted(tmp_path):
    text = "ledger: {budgets: [{name: a, usd: 1, provider: opnai}, {usd: 1, provider: demo}]}"
    async with running(tmp_path, text) as server:
        warnings = (await server.get("/v1/health")).json["config"]["warnings"]
        assert "The budget a counts nothing: there is no provider 'opnai'" in str(warnings)


async def test_own_prices_are_over_the_public_ones(tmp_path):
    spending = spending_of(
        tmp_path, "models: {prices: {m: {input: 2, output: 8, cache_read: 0.2}}}"
    )
    spending.price({})
    rates = spending.prices.rates("m")
    assert (rates.input, rates.output, rates.cache_read, rates.cache_write) == (2, 8, 0.2, None)
    assert spending.prices.rates("other").input is None


async def test_ledger_keeps_what_the_settings_say(tmp_path):
    spending = spending_of(tmp_path, "ledger: {retention_days: 7, max_mb: 100}")
    assert spending.retention() == Retention(days=7, max_bytes=100 * 1024 * 1024)


async def test_statuses_are_for_people(tmp_path):
    text = "ledger: {budgets: [{name: c, usd: 1, provider: claude}]}"
    spending = spending_of(tmp_path, text)
    spending.meter._now = lambda: entry().at
    spending.meter.note(entry(cost=899_000))
    (status,) = spending.statuses()
    assert status.text == "Budget c: $0.90 of $1.00 used this month (90%)."
    assert (status.name, status.level, status.used_percent) == ("c", "warn", 89)
    assert status.provider == "claude"


# The whole program


@pytest.mark.parametrize("unit", ["usd: 0.001", "tokens: 1"])
async def test_spent_budget_refuses_all_with_the_same_words_everywhere(tmp_path, unit, caplog):
    more = PRICES + f"ledger: {{budgets: [{{name: all, {unit}, per: day}}]}}\n"
    async with Upstream(HELLO) as up, running(tmp_path, up.settings(more=more)) as server:
        assert (await server.post(CHAT, ASK)).status == 200
        refused = await server.post(CHAT, ASK)
        assert refused.status == 429
        assert refused.json["error"]["code"] == "budget_exceeded"
        (budget,) = server.service.overview.status().budgets
        assert budget.level == "stop"
        assert refused.json["error"]["message"].startswith(budget.text)
        assert 0 < int(refused.header("retry-after")) <= 90_000
        assert any(budget.text in record.getMessage() for record in caplog.records)
        token = {"Authorization": f"Bearer {server.service.instance.token}"}
        (shown,) = (await server.get("/admin/budgets", token)).json["budgets"]
        assert (shown["level"], shown["text"]) == ("stop", budget.text)
        assert len(up.requests) == 1


async def test_spent_budget_of_a_provider_lets_another_one_serve(tmp_path):
    async with Upstream(HELLO) as first, Upstream(HELLO) as second:
        text = first.settings(more="").replace("  fake:", "  one:") + second.settings(
            more=PRICES + "ledger: {budgets: [{name: first, usd: 0.001, provider: one}]}\n"
        ).replace("providers:\n  fake:", "  two:")
        async with running(tmp_path, text) as server:
            for _ in range(3):
                assert (await server.post(CHAT, ASK)).status == 200
            assert [len(first.requests), len(second.requests)] == [1, 2]
            only = await server.post(CHAT, SAY | {"model": "one/m"})
            assert only.status == 429
            assert "Budget first: " in only.json["error"]["message"]
            assert int(only.header("retry-after")) > 0
            states = {one.provider: one for one in server.service.overview.status().accounts}
            assert (states["one"].health, states["two"].health) == ("cooling", "ready")
            assert states["one"].reason.startswith("Budget first: ")


async def test_raised_budget_holds_as_soon_as_the_settings_are_read(tmp_path):
    more = PRICES + "ledger: {budgets: [{name: all, usd: 0.001}]}\n"
    async with Upstream(HELLO) as up, running(tmp_path, up.settings(more=more)) as server:
        server.service._watcher.close()
        assert (await server.post(CHAT, ASK)).status == 200
        assert (await server.post(CHAT, ASK)).status == 429
        path = server.service.located.path
        path.write_text(path.read_text().replace("0.001", "1000"))
        await server.service.reload()
        assert (await server.post(CHAT, ASK)).status == 200
        (budget,) = server.service.overview.status().budgets
        assert budget.level == "ok"


async def test_budget_of_a_key_follows_it_and_holds_over_a_restart(tmp_path):
    more = PRICES + "ledger: {budgets: [{name: ci, usd: 0.001, key: ci}]}\n"
    async with Upstream(HELLO) as up:
        async with running(tmp_path, up.settings(more=more)) as server:
            assert "there is none" in str(
                (await server.get("/v1/health")).json["config"]["warnings"]
            )
            _, plain = await server.key(label="ci")
            headers = {"x-api-key": plain}
            assert "there is none" not in str((await server.get("/v1/health")).json["config"])
            assert (await server.post(CHAT, ASK, headers)).status == 200
            assert (await server.post(CHAT, ASK, headers)).status == 429
            assert (await server.post(CHAT, ASK)).status == 200
        async with running(tmp_path, up.settings(more=more)) as server:
            assert (await server.post(CHAT, ASK, headers)).status == 429
            assert (await server.post(CHAT, ASK)).status == 200


async def test_stream_without_counts_is_held_to_limits_by_its_size(tmp_path):
    events = CHAT_START + chat_chunk({"content": "x" * 1_000}) + chat_chunk({}, "stop")
    said = answering(STREAM_HEAD + chunk(events + b"data: [DONE]\n\n") + b"0\r\n\r\n")
    async with Upstream(said) as up, running(tmp_path, up.settings(more=PRICES)) as server:
        record, plain = await server.key(label="k", limits=["1 token/day", "$100/day"])
        headers = {"x-api-key": plain}
        reply = await server.post(CHAT, ASK | {"stream": True}, headers)
        assert reply.status == 200
        assert b'"usage"' not in reply.body
        tokens, money = server.service.spending.meter.uses(record)
        assert tokens.used > len(reply.body) // 200
        assert money.used == tokens.used * 1_000
        assert (await server.post(CHAT, ASK | {"stream": True}, headers)).status == 429


async def test_many_at_once_do_not_pass_a_limit(tmp_path):
    async with Upstream(HELLO) as up, running(tmp_path, up.settings()) as server:
        _, plain = await server.key(label="ci", limits=["5 requests/day"])
        asked = (server.post(CHAT, ASK, {"x-api-key": plain}) for _ in range(20))
        statuses = [reply.status for reply in await asyncio.gather(*asked)]
        assert sorted(statuses) == [200] * 5 + [429] * 15
        assert len(up.requests) == 5
