"""Rules as a script: settings in YAML, a call, and where it goes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.canonical.request import ReasoningConfig
from app.routing.facts import FactsMissing, RequestFacts, TokensWanted
from app.routing.retry import RetryPolicy
from app.routing.rules import (
    NO_RULES,
    Decision,
    compile_rules,
    decide,
    decide_counting,
    label_of,
    refusal,
)
from tests.routing.accounts import account
from tests.routing.calls import Counted, chat, decided, facts, models, rules


def steps(decision):
    return [(s.model, s.reasoning) for s in decision.steps]


def test_without_rules_the_asked_model_is_kept():
    decision = decide(facts("gpt-5"), NO_RULES)
    assert decision == Decision("gpt-5", decision.steps)
    assert steps(decision) == [("gpt-5", None)]
    assert decision.model == "gpt-5"
    assert not decision.edits


def test_a_rule_without_conditions_matches_every_call():
    decision = decided("rules: [{then: {model: a}}]", facts("x"))
    assert (decision.rule, decision.model, decision.asked) == ("rule 1", "a", "x")


def test_the_first_match_wins_and_later_rules_are_not_asked():
    text = """
    rules:
      - {name: no, when: {model: "b*"}, then: {model: wrong}}
      - {name: yes, when: {model: "a*"}, then: {model: right}}
      - {name: late, when: {tokens: 5}, then: {model: wrong}}
    """
    tokens = Counted(9)
    decision = decided(text, facts("ab", tokens=tokens))
    assert (decision.rule, decision.model) == ("yes", "right")
    assert [(v.name, v.matched) for v in decision.verdicts] == [("no", False), ("yes", True)]
    assert decision.verdicts[0].why == "does not hold: model is b*"
    assert tokens.asked == 0


def test_no_match_keeps_the_asked_model_and_says_so():
    decision = decided("rules: [{when: {model: z}, then: {model: a}}]", facts("gpt-5"))
    assert (decision.rule, decision.model) == ("", "gpt-5")
    assert decision.notes() == ("no rule matched, so the asked model is kept",)


def test_an_empty_action_ends_the_asking():
    text = "rules: [{when: {model: a}, then: {}}, {then: {model: other}}]"
    assert decided(text, facts("a")).model == "a"
    assert decided(text, facts("b")).model == "other"


def test_a_call_that_names_no_model_is_judged_by_the_default():
    text = "{default: fast, aliases: {fast: m}, rules: [{when: {model: fast}, then: {strategy: most_left}}]}"
    decision = decided(text, facts(""))
    assert (decision.asked, decision.model, decision.strategy) == ("fast", "m", "most_left")
    assert decided("rules: []", facts("")).model == ""


# Each action.

NAMES = """
aliases: {fast: gpt-5-mini, deep: gpt-5(high)}
chains: {careful: [claude-x, "gpt-5(low)"]}
moves: {careful: {"gpt-5(low)": [quota, timeout]}}
rules:
  - {name: it, then: %s}
"""


@pytest.mark.parametrize(
    ("action", "asked", "expected"),
    [
        ("{model: m}", "x", [("m", None)]),
        ("{model: fast}", "x", [("gpt-5-mini", None)]),
        ("{model: deep}", "x", [("gpt-5", "high")]),
        ("{model: careful}", "x", [("claude-x", None), ("gpt-5", "low")]),
        ("{chain: careful}", "x", [("claude-x", None), ("gpt-5", "low")]),
        ("{model: m}", "x(low)", [("m", "low")]),
        ("{model: m(high)}", "x(low)", [("m", "high")]),
        ("{model: m(high), reasoning: none}", "x(low)", [("m", "none")]),
        ("{reasoning: 2048}", "x", [("x", 2048)]),
        ("{reasoning: auto}", "x(low)", [("x", "auto")]),
        ("{chain: careful}", "x(max)", [("claude-x", "max"), ("gpt-5", "low")]),
        ("{chain: careful, reasoning: high}", "x", [("claude-x", "high"), ("gpt-5", "high")]),
        ("{provider: openrouter}", "x", [("openrouter/x", None)]),
        ("{provider: openrouter, model: a/b}", "x", [("openrouter/a/b", None)]),
        ("{provider: openrouter}", "openrouter/x", [("openrouter/x", None)]),
        ("{account: openai/work}", "x(low)", [("openai/work/x", "low")]),
        ("{account: openai/work}", "openai/x", [("openai/work/x", None)]),
        ("{account: openai/work, model: fast}", "x", [("openai/work/gpt-5-mini", None)]),
        ("{split: {m: 1}}", "x", [("m", None)]),
        ("{split: {careful: 1}}", "x", [("claude-x", None), ("gpt-5", "low")]),
    ],
)
def test_each_action_chooses_its_models(action, asked, expected):
    assert steps(decided(NAMES % action, facts(asked))) == expected


def test_a_chain_brings_its_reasons_along():
    decision = decided(NAMES % "{chain: careful}", facts())
    assert [set(step.moves) for step in decision.steps] == [set(), {"quota", "timeout"}]
    assert "claude-x by chain careful" in decision.notes()


def test_only_the_accounts_of_a_rule_may_serve():
    work, home, other = (account(i) for i in ("openai/work", "openai/home", "anthropic/a"))
    one = decided(NAMES % "{account: openai/work}", facts())
    all_of_one = decided(NAMES % "{provider: openai}", facts())
    free = decided(NAMES % "{}", facts())
    assert [one.admits(a) for a in (work, home, other)] == [True, False, False]
    assert [all_of_one.admits(a) for a in (work, home, other)] == [True, True, False]
    assert all(free.admits(a) for a in (work, home, other))


def test_a_refusal_is_an_error_with_its_message():
    decision = decided(NAMES % "{reject: {message: not here, status: 451}}", facts())
    error = refusal(decision)
    assert (error.message, error.status, error.code) == ("not here", 451, "refused_by_rule")
    assert refusal(decided(NAMES % "{reject: no}", facts())).status == 403


def test_edits_are_handed_on():
    action = "{set: {temperature: 0}, override: {metadata.a: [1]}, remove: [user]}"
    edits = decided(NAMES % action, facts()).edits
    assert edits.absent == {"temperature": 0}
    assert edits.override == {"metadata.a": [1]}
    assert edits.remove == ("user",)


SPLIT = "rules: [{name: ab, then: {split: {a: 3, b: 1}}}]"


def test_a_split_is_stable_for_a_conversation_and_proportional_over_many():
    ready = rules(SPLIT)
    chosen = [decide(facts(conversation=f"c{n}"), ready).model for n in range(4_000)]
    assert chosen == [decide(facts(conversation=f"c{n}"), ready).model for n in range(4_000)]
    assert abs(chosen.count("a") / 4_000 - 0.75) < 0.03
    assert set(chosen) == {"a", "b"}


def test_a_conversation_without_a_name_keeps_its_share_while_it_grows():
    ready = rules(SPLIT)
    for number in range(30):
        first = chat(f"question {number}")
        grown = chat(f"question {number}", more=first.messages, tools=("a",))
        assert (
            decide(facts(request=first), ready).model == decide(facts(request=grown), ready).model
        )


def test_a_split_says_what_it_chose():
    decision = decided(SPLIT, facts(conversation="c"))
    assert decision.share is not None
    assert any(note.startswith("the split chose") for note in decision.notes())


def test_a_name_that_an_account_lists_keeps_its_parentheses():
    decision = decided("rules: []", facts("m(high)"), known=lambda name: name == "m(high)")
    assert steps(decision) == [("m(high)", None)]


# What cannot be had.


def test_a_rule_that_failed_is_passed_over_and_named():
    def broken(_facts):
        raise FactsMissing("rule own failed: ValueError")

    text = "rules: [{name: own, when: {rule: own}, then: {model: a}}, {then: {model: b}}]"
    decision = decided(text, facts(), custom={"own": broken})
    assert decision.model == "b"
    assert decision.verdicts[0].why == "cannot be told: rule own (rule own failed: ValueError)"


def test_a_body_that_cannot_be_read_matches_no_rule_about_it():
    text = (
        "rules: [{when: {thinking: false}, then: {model: a}}, {when: {model: m}, then: {model: b}}]"
    )
    decision = decided(text, RequestFacts("m"))
    assert decision.model == "b"
    assert "cannot be told" in decision.verdicts[0].why


async def test_tokens_are_counted_once_and_only_when_asked():
    asked = []

    async def count():
        asked.append(1)
        return 70_000

    text = """
    rules:
      - {when: {model: "z*", tokens: 5}, then: {model: no}}
      - {when: {tokens: 60000}, then: {model: big}}
      - {when: {tokens: 80000}, then: {model: bigger}}
    """
    assert (await decide_counting(facts("a"), rules(text), count)).model == "big"
    assert asked == [1]
    cheap = rules("rules: [{when: {model: a}, then: {model: b}}, {when: {tokens: 1}, then: {}}]")
    assert (await decide_counting(facts("a"), cheap, count)).model == "b"
    assert asked == [1]


async def test_tokens_that_cannot_be_counted_match_nothing():
    async def count():
        raise FactsMissing("the body cannot be read")

    text = "rules: [{when: {tokens: 1}, then: {model: big}}]"
    decision = await decide_counting(facts("a"), rules(text), count)
    assert decision.model == "a"
    assert "the body cannot be read" in decision.verdicts[0].why


def test_decide_itself_asks_for_the_count():
    with pytest.raises(TokensWanted):
        decided("rules: [{when: {tokens: 1}, then: {}}]", facts())


# Compiling.


def test_all_of_the_section_is_compiled():
    text = """
    strategies: {openai: round_robin}
    weights: {openai/a: 3}
    retry: {attempts: 4, first_wait_s: 1, longest_wait_s: 2, budget_s: 3}
    """
    ready = rules(text)
    assert ready.strategies == {"openai": "round_robin"}
    assert ready.weights == {"openai/a": 3}
    assert ready.retry == RetryPolicy(4, 1, 2, 3)
    assert rules("{}").retry == RetryPolicy(attempts=2)


def test_an_unknown_rule_type_does_not_compile():
    with pytest.raises(ValueError, match="there is no rule 'nope'"):
        compile_rules(models("rules: [{when: {rule: nope}, then: {}}]"))


def test_labels_are_names_or_numbers():
    assert label_of(0, None) == "rule 1"
    assert label_of(4, "big") == "big"


# ccproxy's documented set-up (its README's recommended order), as rules under its names.

README = """
rules:
  - {name: token_count, when: {rule: ccproxy.rules.TokenCountRule, params: [{threshold: 60000}]},
     then: {model: gemini-2.5-pro}}
  - {name: background, when: {rule: ccproxy.rules.MatchModelRule, params: [{model_name: haiku}]},
     then: {model: claude-haiku}}
  - {name: think, when: {rule: ccproxy.rules.ThinkingRule}, then: {model: claude-opus}}
  - {name: web_search, when: {rule: ccproxy.rules.MatchToolRule, params: [{tool_name: WebSearch}]},
     then: {model: sonar}}
"""


@pytest.mark.parametrize(
    ("call", "label"),
    [
        (facts("claude-sonnet", tokens=60_001), "token_count"),
        (facts("claude-sonnet", tokens=60_000), ""),
        (facts("claude-3-5-haiku-20241022", tokens=10), "background"),
        (facts("claude-3-5-haiku-20241022", tokens=90_000), "token_count"),
        (facts("x", tokens=1, request=chat(reasoning=ReasoningConfig(effort="low"))), "think"),
        (facts("x", tokens=1, request=chat(reasoning=ReasoningConfig(mode="off"))), ""),
        (facts("x", tokens=1, request=chat(tools=("Bash", "mcp__websearch__run"))), "web_search"),
        (facts("x", tokens=1, request=chat(tools=("Bash",))), ""),
        (
            facts("x", tokens=1, request=chat(tools=("WebSearch",), reasoning=ReasoningConfig())),
            "think",
        ),
    ],
)
def test_the_documented_rules_of_ccproxy_route_as_documented(call, label):
    decision = decided(README, call)
    assert decision.rule == label
    if not label:
        assert decision.model == call.model


# Properties.

conditions = st.sampled_from(
    ["{}", "{model: a}", '{model: "a*"}', "{stream: true}", "{tokens: 5}", "{not: {model: b}}"]
)
actions = st.sampled_from(
    ["{}", "{model: m1}", "{chain: c}", "{split: {m1: 1, m2: 2}}", "{reasoning: high}"]
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(conditions, actions), max_size=6),
    st.sampled_from(["a", "ab", "b", ""]),
    st.booleans(),
    st.integers(0, 10),
)
def test_the_first_rule_that_holds_decides_and_every_rule_before_it_was_asked(
    drawn, model, stream, tokens
):
    lines = [f"  - {{when: {when}, then: {then}}}" for when, then in drawn]
    text = "chains: {c: [m1, c, m2]}\n" + ("rules:\n" + "\n".join(lines) if lines else "")
    call = facts(model, stream=stream, tokens=tokens)
    ready = rules(text)
    decision = decide(call, ready)
    alone = [all(t.holds(call) for t in rule.tests) for rule in ready.rules]
    first = alone.index(True) if True in alone else None
    if first is None:
        assert decision.rule == ""
        assert [v.matched for v in decision.verdicts] == [False] * len(drawn)
    else:
        assert decision.rule == ready.rules[first].label
        assert [v.name for v in decision.verdicts] == [r.label for r in ready.rules[: first + 1]]
    assert decision.steps
    assert decision == decide(call, ready)
