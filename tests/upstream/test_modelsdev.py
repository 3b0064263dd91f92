"""The public registry: read with patience, joined with what is shipped."""

import json

import msgspec
import pytest

from app.routing.snapshot import LongPrices, Prices, SnapshotRow, find
from app.upstream.modelsdev import (
    Registry,
    entries_of,
    overlay,
    parse_registry,
    with_provider,
)
from tests.upstream.registry import MODEL, model, provider, registry


def test_a_model_has_limits_modalities_prices_and_the_day_of_its_release():
    read = parse_registry(registry())
    row = read.rows["claude-sonnet-4-5"]
    assert (row.service, row.context, row.max_output) == ("anthropic", 200_000, 64_000)
    assert (row.reasoning, row.tools) == (True, True)
    assert (row.input, row.output) == ({"text", "image", "pdf"}, {"text"})
    assert row.prices == Prices(3, 0.3, 3.75, 15)
    assert read.released_at("claude-sonnet-4-5") == 1_759_104_000
    assert read.title("anthropic/claude-sonnet-4.5:free") == "Claude Sonnet 4.5"
    assert (read.released_at("nobody"), read.title("nobody")) == (0, "")


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2025-09", 1_756_684_800), ("soon", 0), ("2025-13-01", 0), ("0000-01-01", 0), ("", 0)],
)
def test_days_of_release_are_read_in_both_forms_and_nothing_else_is(text, moment):
    assert parse_registry(registry(model("m", release_date=text))).released_at("m") == moment


def test_prices_of_long_prompts_are_read_in_both_forms():
    tier = {"input": 6, "output": 22.5, "cache_read": 0.6}
    tiers = {"input": 3, "output": 15, "tiers": [{"tier": {"size": 272_000}, **tier}]}
    older = {"input": 3, "output": 15, "context_over_200k": tier}
    both = tiers | {"context_over_200k": {"input": 9, "output": 9}}
    rows = parse_registry(
        registry(model("a", cost=tiers), model("b", cost=older), model("c", cost=both))
    ).rows
    prices = Prices(6, 0.6, None, 22.5)
    assert rows["a"].long_prices == rows["c"].long_prices == (LongPrices(272_000, prices),)
    assert rows["b"].long_prices == (LongPrices(200_000, prices),)
    assert rows["b"].prices == Prices(3, None, None, 15)
    merged = overlay({"a": SnapshotRow("x", long_prices=(LongPrices(1, prices),))}, rows)
    assert merged["a"].long_prices == rows["a"].long_prices


def test_an_odd_row_costs_nobody_but_itself():
    odd = [
        model("limits-as-text", limit={"context": "many"}),
        model("negative", cost={"input": -1, "output": 1}),
        model("no-cost", cost=None),
        model("unheard-of", surprise={"new": ["field"]}, limit={"context": 7, "output": 0, "x": 1}),
    ]
    read = parse_registry(registry(*odd, openai="not an object", xai={"models": []}))
    assert "limits-as-text" not in read.rows
    assert "negative" not in read.rows
    assert read.rows["no-cost"].prices == Prices()
    assert (read.rows["unheard-of"].context, read.rows["unheard-of"].max_output) == (7, None)


def test_a_models_maker_is_believed_before_those_who_host_it():
    hosted = model("claude-sonnet-4-5", cost={"input": 9, "output": 9})
    read = parse_registry(registry(openrouter=provider("openrouter", [hosted])))
    assert read.rows["claude-sonnet-4-5"].prices.input == 3


def test_the_zeros_of_a_plan_are_no_list_prices():
    free = model("gpt-of-the-plan", cost={"input": 0, "output": 0})
    read = parse_registry(registry(**{"github-copilot": provider("github-copilot", [free])}))
    assert read.rows["gpt-of-the-plan"].prices == Prices()


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"{}", b'{"anthropic":{"models":{}}}'])
def test_another_document_is_refused(raw):
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the library's or ours
        parse_registry(raw)


def test_newer_facts_lie_over_the_shipped_ones_field_by_field():
    shipped = {
        "a": SnapshotRow("anthropic", 1_000, 100, frozenset({"text"}), prices=Prices(1, output=2)),
        "only-shipped": SnapshotRow("openai", 5),
    }
    fetched = {
        "a": SnapshotRow("groq", 2_000, None, reasoning=True, prices=Prices(7)),
        "new": SnapshotRow("openai", 9),
    }
    rows = overlay(shipped, fetched)
    assert rows["a"] == SnapshotRow(
        "anthropic",
        2_000,
        100,
        frozenset({"text"}),
        reasoning=True,
        prices=Prices(1, output=2),  # a price alone is no price list
    )
    assert (rows["only-shipped"].context, rows["new"].context) == (5, 9)
    priced = overlay(shipped, {"a": SnapshotRow("x", prices=Prices(3, output=4))})["a"]
    assert (priced.service, priced.prices) == ("x", Prices(3, output=4))
    assert overlay(shipped, {}) is shipped


def test_entries_are_found_under_the_names_that_services_use():
    found = entries_of(registry(), ["claude-sonnet-4-5-20250929", "nobody", "filler-3"])
    assert found["claude-sonnet-4-5-20250929"] == MODEL
    assert set(found) == {"claude-sonnet-4-5-20250929", "filler-3"}


def test_one_provider_more_leaves_the_others_as_they_were():
    raw = registry()
    joined = json.loads(with_provider(raw, "dragoman", {"id": "dragoman"}))
    assert joined.pop("dragoman") == {"id": "dragoman"}
    assert joined == json.loads(raw)
    assert msgspec.json.decode(with_provider(None, "d", {})) == {"d": {}}


def test_a_registry_that_was_never_fetched_knows_nothing():
    assert Registry().released_at("m") == 0
    assert find(Registry().rows, "m") is None
