"""The shape of rules: what is taken, and what is refused with which words, all at once."""

import pytest
from pydantic import ValidationError

from app.configrules import Action, Condition, Retry, Rule, Tokens
from app.configtext import load
from app.errors import ConfigError


def test_a_rule_reads_short_forms():
    rule = Rule.model_validate(
        {"when": {"model": "claude-*", "tokens": 60_000, "header": {"x-team": "a"}}, "then": None}
    )
    assert rule.when.model == ("claude-*",)
    assert rule.when.tokens == Tokens(over=60_000)
    assert rule.when.header == {"x-team": ("a",)}
    assert rule.then == Action()
    assert Rule.model_validate({"when": None, "then": {"reject": "no"}}).then.reject.status == 403


@pytest.mark.parametrize(
    ("level", "read"), [("HIGH", "high"), (0, 0), ("16384", 16_384), (16_384, 16_384)]
)
def test_reasoning_is_a_level_or_a_number_of_tokens(level, read):
    assert Action.model_validate({"reasoning": level}).reasoning == read


@pytest.mark.parametrize(
    "level", ["hihg", "", -1, True, 1_000_001, "1" * 5_000, "٣", None, [], 1.5]
)
def test_other_levels_are_refused(level):
    if level is None:
        assert Action.model_validate({"reasoning": None}).reasoning is None
        return
    with pytest.raises(ValidationError, match=r"expected none, minimal"):
        Action.model_validate({"reasoning": level})


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ("{}", "models.rules[0].then", "is required"),
        ("{whne: {}, then: {}}", "models.rules[0].whne", "unknown key; did you mean when?"),
        ("{when: {modle: a}, then: {}}", "models.rules[0].when.modle", "did you mean model?"),
        ("{when: {not: {modle: a}}, then: {}}", "models.rules[0].when.not.modle", "model?"),
        ("{when: {any: [{tol: a}]}, then: {}}", "models.rules[0].when.any[0].tol", "tool?"),
        ("{when: {any: []}, then: {}}", "models.rules[0].when", "at least one condition"),
        ("{when: {model: []}, then: {}}", "models.rules[0].when.model", "at least one entry"),
        ("{when: {model: '/(/'}, then: {}}", "models.rules[0].when.model[0]", "between slashes"),
        ("{when: {params: 1}, then: {}}", "models.rules[0].when", "none is named"),
        ("{when: {tokens: {}}, then: {}}", "models.rules[0].when.tokens", "over, under"),
        ("{when: {tokens: a}, then: {}}", "models.rules[0].when.tokens", "keys and values"),
        ("{when: {tokens: -1}, then: {}}", "models.rules[0].when.tokens.over", "greater"),
        (
            "{when: {tokens: {over: 5, under: 6}}, then: {}}",
            "models.rules[0].when.tokens",
            "no number is over and under",
        ),
        ("{when: {stream: 3}, then: {}}", "models.rules[0].when.stream", "true or false"),
        ("{then: {model: a, chain: b}}", "models.rules[0].then", "one of model and chain"),
        ("{then: {account: a/b, provider: a}}", "models.rules[0].then", "one of the two"),
        ("{then: {reject: a, remove: [b]}}", "models.rules[0].then", "no other action"),
        ("{then: {chain: a, provider: b}}", "models.rules[0].then", "write the provider before"),
        ("{then: {split: {a: 0}}}", "models.rules[0].then", "must be above 0"),
        ("{then: {split: {a: .inf}}}", "models.rules[0].then.split.a", "number"),
        ("{then: {split: {}}}", "models.rules[0].then.split", "at least one entry"),
        ("{then: {override: {model: a}}}", "models.rules[0].then.override.model", "is chosen with"),
        ("{then: {remove: [stream]}}", "models.rules[0].then.remove[0]", "the caller's choice"),
        ("{then: {remove: [a..b]}}", "models.rules[0].then.remove[0]", "joined by dots"),
        ("{then: {set: {a: 1}, remove: [a]}}", "models.rules[0].then", "both set and removed"),
        (
            "{then: {reject: {message: a, status: 200}}}",
            "models.rules[0].then.reject.status",
            "400",
        ),
        ("{then: {strategy: randm}}", "models.rules[0].then.strategy", "'round_robin'"),
    ],
)
def test_faults_are_named_with_their_place(value, key, message):
    with pytest.raises(ConfigError) as caught:
        load(f"models:\n  rules:\n    - {value}\n", "f", {})
    assert [p.key for p in caught.value.problems] == [key]
    assert message in caught.value.problems[0].message
    assert caught.value.problems[0].line == 3


def test_faults_of_several_rules_come_together():
    with pytest.raises(ConfigError) as caught:
        load("models:\n  rules:\n    - {}\n    - {then: 1}\n  moves: {a: {b: [qota]}}\n", "f", {})
    assert [(p.line, p.key) for p in caught.value.problems] == [
        (3, "models.rules[0].then"),
        (4, "models.rules[1].then"),
        (5, "models.moves.a.b[0]"),
    ]


def test_patterns_are_bounded():
    with pytest.raises(ValidationError, match="at most 1000"):
        Condition.model_validate({"model": "a" * 1_001})


def test_deep_nesting_is_refused_by_the_reader():
    deep = "{not: " * 40 + "{}" + "}" * 40
    with pytest.raises(ConfigError, match="nested too deeply"):
        load(f"models: {{rules: [{{when: {deep}, then: {{}}}}]}}", "f", {})


def test_retry_takes_no_endless_waits():
    with pytest.raises(ValidationError):
        Retry.model_validate({"budget_s": float("inf")})
    with pytest.raises(ValidationError):
        Retry.model_validate({"attempts": 0})
