"""Each condition as a table, then what holds of all of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.canonical.request import ReasoningConfig
from app.configrules import Condition, Tokens
from app.routing.conditions import compile_condition, implies
from app.routing.facts import FactsMissing, RequestFacts, TokensWanted
from tests.routing.calls import Counted, chat, facts


def holds(condition, call, custom=None):
    tests = compile_condition(Condition.model_validate(condition), custom or {})
    return all(test.holds(call) for test in tests)


@pytest.mark.parametrize(
    ("condition", "call", "expected"),
    [
        ({}, facts(), True),
        # model: exact, glob, regular expression; with and without the suffix
        ({"model": "gpt-5"}, facts("gpt-5"), True),
        ({"model": "gpt-5"}, facts("gpt-5-mini"), False),
        ({"model": "gpt-5"}, facts("gpt-5(high)"), True),
        ({"model": "gpt-5(high)"}, facts("gpt-5(high)"), True),
        ({"model": "*(high)"}, facts("gpt-5(low)"), False),
        ({"model": ["claude-*", "gpt-*"]}, facts("gpt-5"), True),
        ({"model": "/^gpt-[45]$/"}, facts("gpt-4"), True),
        ({"model": "*"}, facts(""), True),
        # tokens
        ({"tokens": 100}, facts(tokens=101), True),
        ({"tokens": 100}, facts(tokens=100), False),
        ({"tokens": {"under": 100}}, facts(tokens=99), True),
        ({"tokens": {"under": 100}}, facts(tokens=100), False),
        ({"tokens": {"over": 10, "under": 20}}, facts(tokens=15), True),
        ({"tokens": {"over": 10, "under": 20}}, facts(tokens=20), False),
        ({"tokens": 0}, facts(tokens=0), False),
        # thinking
        ({"thinking": True}, facts(request=chat(reasoning=ReasoningConfig())), True),
        ({"thinking": True}, facts(request=chat(reasoning=ReasoningConfig(mode="off"))), False),
        ({"thinking": True}, facts(), False),
        ({"thinking": False}, facts(), True),
        # tools
        ({"tool": "web_search"}, facts(request=chat(tools=("Bash", "WEB_SEARCH"))), True),
        ({"tool": "*search*"}, facts(request=chat(tools=("WebSearch",))), True),
        ({"tool": "search"}, facts(request=chat(tools=("WebSearch",))), False),
        ({"tool": "*"}, facts(), False),
        # images
        ({"images": True}, facts(request=chat(images=True)), True),
        ({"images": True}, facts(), False),
        ({"images": False}, facts(), True),
        # client, key, path, stream, header
        ({"client": "claude"}, facts(client="Claude"), True),
        ({"client": "*"}, facts(), False),
        ({"key": "work"}, facts(key="work"), True),
        ({"key": "work"}, facts(key="WORK"), False),
        ({"key": "*"}, facts(), False),
        ({"path": "/v1/messages"}, facts(path="/v1/messages"), True),
        ({"path": "/v1/*"}, facts(path="/v1beta/x"), False),
        ({"stream": True}, facts(stream=True), True),
        ({"stream": False}, facts(stream=True), False),
        ({"header": {"X-Team": "a*"}}, facts(headers=(("x-team", "ABC"),)), True),
        ({"header": {"x-team": "*"}}, facts(headers=(("x-other", "a"),)), False),
        ({"header": {"x-a": "*", "x-b": "*"}}, facts(headers=(("x-a", "1"),)), False),
        ({"header": {"x-a": "2"}}, facts(headers=(("x-a", "1"), ("X-A", "2"))), True),
        # several, any, not
        ({"model": "gpt-*", "stream": True}, facts("gpt-5", stream=True), True),
        ({"model": "gpt-*", "stream": True}, facts("gpt-5"), False),
        ({"any": [{"model": "a"}, {"stream": True}]}, facts("b", stream=True), True),
        ({"any": [{"model": "a"}, {"stream": True}]}, facts("b"), False),
        ({"not": {"model": "a"}}, facts("b"), True),
        ({"not": {"model": "a", "stream": True}}, facts("a"), True),
        ({"not": {"model": "a", "stream": True}}, facts("a", stream=True), False),
        ({"not": {}}, facts(), False),
        ({"not": {"not": {"model": "a"}}}, facts("a"), True),
        ({"model": "a", "any": [{"stream": True}, {"not": {"path": "/x"}}]}, facts("a"), True),
        # ccproxy's types
        ({"rule": "ccproxy.rules.MatchModelRule", "params": ["haiku"]}, facts("x-haiku-1"), True),
        ({"rule": "MatchModelRule", "params": "Haiku"}, facts("x-haiku-1"), False),
        ({"rule": "TokenCountRule", "params": [{"threshold": 5}]}, facts(tokens=6), True),
        ({"rule": "ThinkingRule"}, facts(), False),
    ],
)
def test_each_condition_holds_when_it_should(condition, call, expected):
    assert holds(condition, call) is expected


def test_tokens_are_asked_for_last_and_only_when_all_else_holds():
    tokens = Counted(500)
    both = {"tokens": 100, "any": [{"tokens": 400}, {"stream": True}], "model": "gpt-*"}
    assert not holds(both, facts("claude", tokens=tokens))
    assert tokens.asked == 0
    assert holds(both, facts("gpt-5", tokens=tokens))
    assert tokens.asked > 0
    assert holds({"any": [{"tokens": 1}, {"model": "a"}]}, facts("a"))


def test_tokens_that_nobody_counted_are_asked_for():
    with pytest.raises(TokensWanted):
        holds({"tokens": 1}, facts())


def test_rules_of_the_user_get_facts_and_params():
    seen = []

    def rule(call, *args, **named):
        seen.append((call.model, args, named))
        return True

    custom = {"own": rule}
    for params in (None, 3, [1, {"a": 2}], [{"a": 1}, {"b": 2}], {"a": 1}, "text"):
        assert holds({"rule": "own", "params": params}, facts("m"), custom)
    assert [row[1:] for row in seen] == [
        ((), {}),
        ((3,), {}),
        ((1, {"a": 2}), {}),
        ((), {"a": 1, "b": 2}),
        ((), {"a": 1}),
        (("text",), {}),
    ]


def test_a_missing_fact_ends_the_asking_unless_another_choice_holds():
    def broken(_call):
        raise FactsMissing("own failed")

    custom = {"own": broken}
    with pytest.raises(FactsMissing):
        holds({"rule": "own"}, facts(), custom)
    with pytest.raises(FactsMissing):
        holds({"not": {"rule": "own"}}, facts(), custom)
    with pytest.raises(FactsMissing):
        holds({"any": [{"rule": "own"}, {"stream": True}]}, facts(), custom)
    assert holds({"any": [{"rule": "own"}, {"stream": False}]}, facts(), custom)
    with pytest.raises(FactsMissing):
        holds({"thinking": False}, RequestFacts("m"))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"rule": "nothing"}, "there is no rule 'nothing'"),
        ({"rule": "TokenCountRule", "params": ["a"]}, "whole number"),
        ({"any": [{"not": {"rule": "nothing"}}]}, "there is no rule"),
    ],
)
def test_what_cannot_be_compiled_says_why(condition, message):
    with pytest.raises(ValueError, match=message):
        compile_condition(Condition.model_validate(condition), {})


def test_tests_say_what_they_ask_for():
    condition = {
        "model": ["a", "b*"],
        "tokens": {"over": 1, "under": 9},
        "any": [{"stream": False}, {"tool": "x", "images": True}],
        "not": {"header": {"x-t": "1"}},
    }
    texts = {t.text for t in compile_condition(Condition.model_validate(condition), {})}
    assert texts == {
        "model is a or b*",
        "tokens are over 1 and under 9",
        "(not: the answer is streamed or there are images and a tool is x)",
        "not (header x-t is 1)",
    }


@pytest.mark.parametrize(
    ("narrow", "wide", "implied"),
    [
        ({"model": "claude-opus"}, {}, True),
        ({}, {"model": "*"}, False),
        ({"model": "claude-opus-*"}, {"model": "claude-*"}, True),
        ({"model": ["a", "b"]}, {"model": ["b", "c", "a"]}, True),
        ({"model": ["a", "z"]}, {"model": ["a", "b"]}, False),
        ({"model": "a", "stream": True}, {"model": "a"}, True),
        ({"model": "a"}, {"model": "a", "stream": True}, False),
        ({"tokens": 100}, {"tokens": 50}, True),
        ({"tokens": 50}, {"tokens": 100}, False),
        ({"tokens": {"over": 10, "under": 20}}, {"tokens": {"under": 30}}, True),
        ({"thinking": True}, {"thinking": False}, False),
        ({"header": {"X-A": "1"}}, {"header": {"x-a": "*"}}, True),
        ({"header": {"x-b": "1"}}, {"header": {"x-a": "*"}}, False),
        ({"model": "a"}, {"any": [{"model": "a"}, {"model": "b"}]}, True),
        ({"any": [{"model": "a"}, {"model": "b"}]}, {"model": ["a", "b"]}, True),
        ({"any": [{"model": "a"}, {"model": "z"}]}, {"model": ["a", "b"]}, False),
        ({"not": {"model": "claude-*"}}, {"not": {"model": "claude-opus"}}, True),
        ({"not": {"model": "claude-opus"}}, {"not": {"model": "claude-*"}}, False),
        ({"rule": "TokenCountRule", "params": 90}, {"tokens": 80}, True),
        ({"model": "haiku"}, {"rule": "MatchModelRule", "params": "haiku"}, True),
        ({"rule": "own"}, {"rule": "own"}, False),
        ({"rule": "own", "model": "a"}, {"model": "a"}, True),
    ],
)
def test_implication_is_decided_where_it_can_be(narrow, wide, implied):
    assert implies(Condition.model_validate(narrow), Condition.model_validate(wide)) is implied


names = st.sampled_from(["a", "ab", "b", "a*", "*b", "?", "*", "/a/"])
plain = st.fixed_dictionaries(
    {},
    optional={
        "model": st.lists(names, min_size=1, max_size=2),
        "path": names,
        "stream": st.booleans(),
        "thinking": st.booleans(),
        "tokens": st.sampled_from([{"over": 5}, {"under": 7}, {"over": 2, "under": 9}]),
        "header": st.dictionaries(st.sampled_from(["x", "X", "y"]), names, max_size=2),
    },
)
conditions = st.recursive(
    plain,
    lambda inner: st.builds(
        lambda base, choices, other: base | {"any": choices} | ({"not": other} if other else {}),
        plain,
        st.lists(inner, min_size=1, max_size=2),
        st.none() | inner,
    ),
    max_leaves=4,
).map(Condition.model_validate)
calls = st.builds(
    lambda model, path, stream, on, tokens, headers: facts(
        model,
        path=path,
        stream=stream,
        request=chat(reasoning=ReasoningConfig() if on else None),
        tokens=tokens,
        headers=tuple(headers),
    ),
    *(st.sampled_from(["a", "b", "ab", ""]) for _ in range(2)),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10),
    st.lists(st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(["a", "b"])), max_size=2),
)


@settings(max_examples=100, deadline=None)
@given(conditions, conditions, st.lists(calls, min_size=4, max_size=8))
def test_what_is_implied_always_holds(narrow, wide, some):
    if not implies(narrow, wide):
        return
    for call in some:
        if all(t.holds(call) for t in compile_condition(narrow, {})):
            assert all(t.holds(call) for t in compile_condition(wide, {}))


@settings(max_examples=80, deadline=None)
@given(conditions, calls)
def test_not_is_the_opposite(condition, call):
    def asked(one):
        return all(t.holds(call) for t in compile_condition(one, {}))

    assert asked(Condition.model_validate({"not": condition})) is not asked(condition)


def test_a_condition_implies_itself_unless_it_asks_a_rule_of_the_user():
    one = Condition(model=("a",), tokens=Tokens(over=1), any=(Condition(stream=True),))
    assert implies(one, one)
