import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canonical.usage import Usage
from app.ledger.price import PriceList, Rates, Tier, cost_of, rates_of
from app.paths import asset
from app.routing.snapshot import Prices, SnapshotRow, parse_snapshot

SONNET = rates_of(Prices(input=3.0, cache_read=0.3, cache_write=3.75, output=15.0))


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(1_000_000), 3_000_000),
        (Usage(output=1_000_000), 15_000_000),
        (Usage(cache_read=1_000_000), 300_000),
        (Usage(cache_write=1_000_000), 3_750_000),
        (Usage(cache_write=1_000_000, cache_write_1h=1_000_000), 6_000_000),
        (Usage(cache_write=1_000_000, cache_write_1h=400_000), 2_250_000 + 2_400_000),
        (Usage(100, 20_000, 1_000, 500, reasoning=400), 300 + 6_000 + 3_750 + 7_500),
        (Usage(), 0),
    ],
)
def test_each_kind_of_token_has_its_price(usage, cost):
    assert cost_of(usage, SONNET) == cost


def test_reasoning_is_part_of_output_and_not_paid_twice():
    assert cost_of(Usage(output=10, reasoning=10), SONNET) == cost_of(Usage(output=10), SONNET)


def test_a_missing_cache_price_is_that_of_input():
    plain = Rates(input=2.0, output=8.0)
    assert cost_of(Usage(cache_read=10, cache_write=10, cache_write_1h=5), plain) == 40
    short = Rates(input=2.0, output=8.0, cache_write=3.0)
    assert cost_of(Usage(cache_write=10, cache_write_1h=10), short) == 30


def test_without_a_needed_price_the_cost_is_not_known():
    assert cost_of(Usage(1, output=1), Rates(input=1.0)) is None
    assert cost_of(Usage(1), Rates(input=1.0)) == 1
    assert cost_of(Usage(1), Rates()) is None
    assert cost_of(Usage(), Rates()) == 0


def test_free_models_cost_nothing_rather_than_something_unknown():
    assert cost_of(Usage(10, output=10), Rates(input=0.0, output=0.0)) == 0


def test_a_long_prompt_is_paid_by_its_tier_as_a_whole():
    rates = Rates(
        input=1.0,
        output=2.0,
        tiers=(Tier(200, Rates(input=4.0, output=8.0)), Tier(100, Rates(input=2.0, output=4.0))),
    )
    assert cost_of(Usage(100, output=1), rates) == 102
    assert cost_of(Usage(50, cache_read=51, output=1), rates) == 206
    assert cost_of(Usage(201, output=1), rates) == 812


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**6))
def test_more_tokens_never_cost_less(input_, read, write, more):
    usage = Usage(input_, read, write, 10)
    longer = Usage(input_ + more, read, write + more, 10)
    assert cost_of(longer, SONNET) >= cost_of(usage, SONNET)


def test_names_are_found_as_services_write_them_and_own_prices_win():
    snapshot = {"m-1": SnapshotRow("s", prices=Prices(input=1.0, output=1.0))}
    prices = PriceList(snapshot, {"mine": Rates(input=5.0, output=5.0)})
    assert prices.cost("m-1", Usage(10)) == 10
    assert prices.cost("vendor/m-1:free", Usage(10)) == 10
    assert prices.cost("mine", Usage(10)) == 50
    assert prices.cost("unheard-of", Usage(10)) is None


def test_names_that_clients_make_up_do_not_fill_memory():
    prices = PriceList()
    for i in range(5_000):
        assert prices.cost(f"made-up-{i}", Usage(1)) is None
    assert len(prices._known) <= 1_024


def test_the_shipped_data_prices_well_known_models():
    prices = PriceList(parse_snapshot(asset("models.json").read_bytes()))
    for model in ("claude-sonnet-4-5-20250929", "gpt-5", "gemini-2.5-pro"):
        cost = prices.cost(model, Usage(1_000_000, 1_000_000, 0, 1_000_000))
        assert 1_000_000 < cost < 100_000_000


def test_long_prompts_cost_what_the_shipped_data_says_of_them():
    prices = PriceList(parse_snapshot(asset("models.json").read_bytes()))
    short, long = Usage(input=200_000, output=1_000), Usage(input=200_001, output=1_000)
    assert prices.cost("gemini-2.5-pro", short) == 200_000 * 1.25 + 10_000
    assert prices.cost("gemini-2.5-pro", long) == round(200_001 * 2.5 + 15_000)
    cached = Usage(cache_read=300_000)
    assert prices.cost("gemini-2.5-pro", cached) == 75_000  # of the long prompt's price
