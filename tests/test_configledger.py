import pytest

from app.config import Config
from app.configfile import init_text
from app.configledger import Budget
from app.configtext import load
from app.errors import ConfigError


def budgets(text):
    return load(f"ledger: {{budgets: [{text}]}}", "config.yaml", {}).ledger.budgets


def test_a_budget_needs_a_limit_and_no_more():
    assert budgets("{usd: 5}") == (Budget(usd=5.0),)
    (budget,) = budgets("{name: ci, tokens: 1000, per: day, key: ci, stop_percent: null}")
    assert (budget.tokens, budget.per, budget.key, budget.warn_percent) == (1000, "day", "ci", 80.0)
    assert budget.stop_percent is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "either usd or tokens"),
        ("{usd: 1, tokens: 1}", "either usd or tokens"),
        ("{usd: 0}", "greater than 0"),
        ("{usd: .inf}", "expected a number"),
        ("{tokens: 1.5}", "whole number"),
        ("{usd: 1, per: year}", "'day' or 'month'"),
        ("{usd: 1, key: a, provider: b}", "not both"),
        ("{usd: 1, warn_percent: null, stop_percent: null}", "does nothing"),
        ("{usd: 1, warn: 1}", "unknown key"),
        ("{usd: 1, name: a}, {usd: 2, name: a}", "two budgets are called a"),
        ("{usd: 1, name: budget 2}, {usd: 2}", "two budgets are called budget 2"),
    ],
)
def test_what_is_wrong_with_a_budget_is_told(text, words):
    with pytest.raises(ConfigError) as caught:
        budgets(text)
    assert words in caught.value.message


def test_prices_are_by_model():
    text = "models: {prices: {m: {input: 0.5, output: 2}, free: {input: 0, output: 0}}}"
    prices = load(text, "config.yaml", {}).models.prices
    assert (prices["m"].input, prices["m"].output, prices["m"].cache_read) == (0.5, 2.0, None)
    assert prices["free"].input == 0


@pytest.mark.parametrize("text", ["{input: -1}", "{input: .nan}", "{inputs: 1}", "5"])
def test_wrong_prices_are_told(text):
    with pytest.raises(ConfigError) as caught:
        load(f"models: {{prices: {{m: {text}}}}}", "config.yaml", {})
    assert "models.prices.m" in caught.value.message


def test_size_of_the_ledger_is_bounded():
    assert Config().ledger.max_mb == 2_048
    with pytest.raises(ConfigError):
        load("ledger: {max_mb: 1}", "config.yaml", {})


def test_first_file_shows_budgets_and_prices_as_examples():
    text = init_text()
    assert load(text, "config.yaml", {}) == Config()
    for words in ("max_mb: 2048", "budgets: []", "warn_percent: 80", "prices: {}"):
        assert words in text
    lines = [
        line.partition("#")[2][3:]
        for line in text.partition("  budgets: []\n")[2].partition("\n\n")[0].splitlines()[1:]
    ]
    read = load("ledger:\n  budgets:\n    " + "\n    ".join(lines), "config.yaml", {})
    assert [budget.name for budget in read.ledger.budgets] == ["all", "nightly"]
