import msgspec
import pytest

from app.paths import asset
from app.routing.snapshot import Prices, SnapshotRow, find, parse_snapshot


@pytest.fixture(scope="module")
def shipped():
    return parse_snapshot(asset("models.json").read_bytes())


def test_a_row_is_read_with_all_that_is_known():
    raw = b"""{"about": {"date": "2026-11-21"}, "models": {"m-1": {"service": "acme",
        "context": 200000, "max_output": 64000, "input": ["text", "image"], "output": ["text"],
        "reasoning": true, "tools": false, "unheard": 1,
        "prices": {"input": 3, "cache_read": 0.3, "cache_write": 3.75, "output": 15.0}}}}"""
    assert parse_snapshot(raw) == {
        "m-1": SnapshotRow(
            service="acme",
            context=200_000,
            max_output=64_000,
            input=frozenset({"text", "image"}),
            output=frozenset({"text"}),
            reasoning=True,
            tools=False,
            prices=Prices(input=3.0, cache_read=0.3, cache_write=3.75, output=15.0),
        )
    }


def test_what_a_row_does_not_say_is_not_known():
    row = parse_snapshot(b'{"models": {"m": {"service": "acme", "prices": {"input": 0}}}}')["m"]
    assert row == SnapshotRow(service="acme", prices=Prices(input=0.0))
    assert row.context is None
    assert row.prices.output is None
    assert row.tools is None


@pytest.mark.parametrize(
    "row",
    [
        "null",
        "[]",
        "{}",
        '{"service": 1}',
        '{"service": "s", "context": 0}',
        '{"service": "s", "context": "many"}',
        '{"service": "s", "prices": {"input": -1}}',
        '{"service": "s", "input": "text"}',
    ],
)
def test_a_bad_row_is_left_out_and_the_others_stay(row):
    raw = '{"models": {"bad": %s, "good": {"service": "s"}}}' % row  # noqa: UP031 - braces
    assert parse_snapshot(raw.encode()) == {"good": SnapshotRow("s")}


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b'{"models": 1}'])
def test_a_file_that_is_no_snapshot_is_refused(raw):
    with pytest.raises(msgspec.MsgspecError):
        parse_snapshot(raw)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("alpha-4-5", "alpha-4-5"),
        ("alpha-4-5-20250929", "alpha-4-5"),
        ("alpha-4-5@20250929", "alpha-4-5"),
        ("alpha-4-5-2025-08-07", "alpha-4-5"),
        ("alpha-4-5-latest", "alpha-4-5"),
        ("alpha-4.5", "alpha-4-5"),
        ("Alpha-4-5", "alpha-4-5"),
        ("acme/alpha-4.5", "alpha-4-5"),
        ("acme/alpha-4.5:free", "alpha-4-5"),
        ("openrouter/acme/alpha-4-5", "alpha-4-5"),
        ("openrouter/acme/hosted", "acme/hosted"),
        ("acme/hosted:free", "acme/hosted"),
        ("hosted", None),
        ("beta", "beta-latest"),
        ("beta-2508", "beta-2508"),
        ("beta-2411", "beta-latest"),
        ("gamma-preview-05-06", "gamma"),
        ("gamma-001", "gamma"),
        ("gamma-08-2024", "gamma"),
        ("delta", None),
        ("alpha-4", None),
        ("", None),
    ],
)
def test_a_model_is_found_under_the_names_that_people_use(asked, found):
    names = ("alpha-4-5", "acme/hosted", "beta-latest", "beta-2508", "gamma")
    snapshot = {name: SnapshotRow(service=name) for name in names}
    row = find(snapshot, asked)
    assert (row.service if row else None) == found


def test_the_name_as_written_wins_over_every_shorter_one():
    snapshot = {"m-20250101": SnapshotRow("dated"), "m": SnapshotRow("short")}
    assert find(snapshot, "m-20250101").service == "dated"
    assert find(snapshot, "m-20250202").service == "short"


def test_the_shipped_file_has_only_good_rows(shipped):
    names = msgspec.json.decode(asset("models.json").read_bytes())["models"]
    assert len(shipped) == len(names) > 1_000


def test_the_shipped_file_says_where_it_comes_from():
    about = msgspec.json.decode(asset("models.json").read_bytes())["about"]
    assert about["date"] >= "2026-11-21"
    for source in about["sources"]:
        assert source["version"]
        assert source["date"]
        assert "Permission is hereby granted, free of charge" in source["licence"]


@pytest.mark.parametrize(
    ("model", "service", "context", "prices"),
    [
        ("claude-sonnet-4-5-20250929", "anthropic", 200_000, Prices(3.0, 0.3, 3.75, 15.0)),
        ("gpt-4o", "openai", 128_000, Prices(2.5, 1.25, None, 10.0)),
        ("gpt-5", "openai", 400_000, Prices(1.25, 0.125, None, 10.0)),
        ("models/gemini-2.5-pro", "google", 1_048_576, Prices(1.25, 0.125, None, 10.0)),
    ],
)
def test_well_known_models_are_in_the_shipped_file(shipped, model, service, context, prices):
    row = find(shipped, model)
    assert row.service == service
    assert row.context == context
    assert row.prices == prices
    assert row.tools
    assert "image" in row.input
