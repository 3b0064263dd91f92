import pytest

from app.configrules import Condition, Tokens
from app.routing.ccproxy import bind, ccproxy_condition, ccproxy_type


@pytest.mark.parametrize(
    ("params", "form"),
    [
        (None, ((), {})),
        ([], ((), {})),
        ([{"a": 1}, {"b": 2}], ((), {"a": 1, "b": 2})),
        (["x", {"a": 1}], (("x", {"a": 1}), {})),
        ({"a": 1}, ((), {"a": 1})),
        ("x", (("x",), {})),
        (5, ((5,), {})),
    ],
)
def test_params_are_read_in_all_forms(params, form):
    assert bind(params) == form


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("ThinkingRule", "ThinkingRule"),
        ("ccproxy.rules.TokenCountRule", "TokenCountRule"),
        ("ccproxy.rules.DefaultRule", None),
        ("my.rules.ThinkingRule", None),
        ("", None),
    ],
)
def test_types_are_known_by_their_names(name, short):
    assert ccproxy_type(name) == short


@pytest.mark.parametrize(
    ("name", "params", "condition"),
    [
        ("ThinkingRule", None, Condition(thinking=True)),
        ("MatchModelRule", "haiku", Condition(model=("*haiku*",))),
        ("MatchModelRule", [{"model_name": "a*b"}], Condition(model=("/a\\*b/",))),
        ("MatchToolRule", {"tool_name": "WebSearch"}, Condition(tool=("*WebSearch*",))),
        ("TokenCountRule", [60_000], Condition(tokens=Tokens(over=60_000))),
    ],
)
def test_rules_become_conditions(name, params, condition):
    assert ccproxy_condition(name, params) == condition


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("ThinkingRule", ["x"], "ThinkingRule takes no params"),
        ("MatchModelRule", None, "MatchModelRule takes model_name"),
        ("MatchModelRule", [{"modelname": "x"}], "takes model_name"),
        ("MatchModelRule", "", "not an empty one"),
        ("MatchToolRule", 5, "that is a text"),
        ("TokenCountRule", "many", "whole number"),
        ("TokenCountRule", True, "whole number"),
        ("TokenCountRule", -1, "0 or more"),
        ("TokenCountRule", [1, 2], "takes threshold"),
    ],
)
def test_params_that_a_rule_does_not_take_are_named(name, params, message):
    with pytest.raises(ValueError, match=message):
        ccproxy_condition(name, params)
