"""ccproxy's files: its documented example, and each of its traps."""

import pytest

from app.configtext import load
from app.routing.rules import compile_rules
from app.rulesets.ccproxy import import_ccproxy
from tests.routing.calls import chat, decide, facts

# In the shape that its README documents (recommended order of rules).
CCPROXY = """\
ccproxy:
  debug: true
  handler: "ccproxy.handler:CCProxyHandler"
  hooks:
    - ccproxy.hooks.rule_evaluator
    - ccproxy.hooks.model_router
    - hook: ccproxy.hooks.capture_headers
      params: {headers: [user-agent]}
  oat_sources:
    anthropic: "jq -r .token file"
  rules:
    - name: token_count
      rule: ccproxy.rules.TokenCountRule
      params:
        - threshold: 60000
    - name: background
      rule: ccproxy.rules.MatchModelRule
      params:
        - model_name: claude-3-5-haiku-20241022
    - name: think
      rule: ccproxy.rules.ThinkingRule
    - name: web_search
      rule: ccproxy.rules.MatchToolRule
      params:
        - tool_name: WebSearch
"""
LITELLM = """\
model_list:
  - model_name: default
    litellm_params: {model: anthropic/claude-sonnet-4-20250514}
  - model_name: token_count
    litellm_params: {model: gemini/gemini-2.0-flash-exp}
  - model_name: token_count
    litellm_params: {model: gemini/gemini-2.5-pro}
  - model_name: background
    litellm_params: {model: anthropic/claude-3-5-haiku-20241022, api_base: https://api.anthropic.com}
  - model_name: think
    litellm_params: {model: claude-opus-4-20250514}
  - model_name: web_search
    litellm_params: {model: perplexity/sonar-pro}
  - model_name: claude-opus-4-20250514
    litellm_params: {model: anthropic/claude-opus-4-20250514}
litellm_settings: {callbacks: custom_callbacks.proxy_handler_instance}
"""


def taken(text=CCPROXY, models=LITELLM):
    return import_ccproxy(text, "ccproxy.yaml", models, "config.yaml")


def problems(text, models=LITELLM):
    return [(p.file, p.line, p.key, p.message) for p in taken(text, models).problems]


def test_the_documented_example_is_taken_over():
    found = taken()
    assert found.problems == []
    assert found.rules == [
        {
            "name": "token_count",
            "when": {"tokens": {"over": 60_000}},
            "then": {"model": "gemini-2.5-pro"},  # of two entries, the last counts
        },
        {
            "name": "background",
            "when": {"model": ["*claude-3-5-haiku-20241022*"]},
            "then": {"model": "claude-3-5-haiku-20241022"},
        },
        {"name": "think", "when": {"thinking": True}, "then": {"model": "claude-opus-4-20250514"}},
        {
            "name": "web_search",
            "when": {"tool": ["*WebSearch*"]},
            "then": {"model": "perplexity/sonar-pro"},
        },
    ]
    assert found.default == "claude-sonnet-4-20250514"
    assert found.aliases == {
        "token_count": "gemini-2.5-pro",
        "background": "claude-3-5-haiku-20241022",
        "think": "claude-opus-4-20250514",
        "web_search": "perplexity/sonar-pro",
    }


def test_what_is_left_out_is_said():
    notes = "\n".join(taken().notes)
    for words in ("ccproxy.hooks", "ccproxy.oat_sources", "ccproxy.handler", "perplexity"):
        assert words in notes


def test_the_result_is_valid_and_routes_as_the_original_does():
    found = taken()
    section = load(repr({"models": {"rules": found.rules, "aliases": found.aliases}}), "f", {})
    rules = compile_rules(section.models)
    haiku = decide(facts("claude-3-5-haiku-20241022", tokens=60_000), rules)
    assert haiku.rule == "background"
    assert decide(facts("claude-3-5-haiku-20241022", tokens=60_001), rules).rule == "token_count"
    search = facts("claude-sonnet-4", tokens=1, request=chat(tools=("mcp__WEBSEARCH",)))
    assert decide(search, rules).model == "perplexity/sonar-pro"
    assert decide(facts("claude-sonnet-4", tokens=1), rules).model == "claude-sonnet-4"


def rule(label="think", name="ccproxy.rules.ThinkingRule", more=""):
    return f"ccproxy:\n  rules:\n    - name: {label}\n      rule: {name}\n{more}"


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        (rule("thnik"), 3, "ccproxy.rules[0].name", "leads nowhere: config.yaml has no"),
        (rule(name="ccproxy.rules.NopeRule"), 4, "ccproxy.rules[0].rule", "is none of"),
        (rule(name="my.module.Rule"), 4, "ccproxy.rules[0].rule", "models.extensions"),
        (rule(more="      params: [5]\n"), 5, "ccproxy.rules[0].params", "takes no params"),
        (
            rule(name="ccproxy.rules.TokenCountRule"),
            3,
            "ccproxy.rules[0].params",
            "takes threshold",
        ),
        ("ccproxy:\n  rules: 5\n", 2, "ccproxy.rules", "expected a list"),
        ("ccproxy:\n  rules: [5]\n", 2, "ccproxy.rules[0]", "expected name, rule and params"),
        ("ccproxy:\n  rules: [{rule: a}]\n", 2, "ccproxy.rules[0].name", "expected the label"),
        ("ccproxy:\n  rules: [{name: a}]\n", 2, "ccproxy.rules[0].rule", "expected the rule's"),
        ("other: 1\n", 0, "", "expected the section ccproxy"),
        ("", 0, "", "expected the section ccproxy"),
        ("a: [\n", 2, "", "not valid YAML"),
        ("ccproxy: {rules: !!python/name:os.system x}\n", 1, "ccproxy.rules", "tags"),
    ],
)
def test_what_ccproxy_passes_over_in_silence_is_reported(text, line, key, words):
    found = problems(text)
    assert len(found) == 1
    assert found[0][:3] == ("ccproxy.yaml", line, key)
    assert words in found[0][3]


def test_all_faults_come_together():
    text = (
        rule("a", "x.Y")
        + "    - name: b\n      rule: ccproxy.rules.MatchToolRule\n"
        + "    - name: think\n      rule: ccproxy.rules.ThinkingRule\n"
    )
    assert len(problems(text)) == 4


def test_without_the_models_no_label_leads_anywhere():
    found = problems(rule(), None)
    assert "there is no config.yaml" in found[0][3]


@pytest.mark.parametrize(
    ("models", "key"),
    [
        ("model_list: 5\n", "model_list"),
        ("model_list: [{model_name: a}]\n", "model_list[0]"),
        ("model_list: [5]\n", "model_list[0]"),
    ],
)
def test_faults_of_the_models_are_reported_in_their_file(models, key):
    found = problems("ccproxy: {}\n", models)
    assert [row[0] for row in found] == ["config.yaml"]
    assert found[0][2] == key


def test_the_default_takes_over_when_nothing_is_passed_through():
    found = taken("ccproxy: {default_model_passthrough: false}\n")
    assert found.rules == [
        {"name": "default", "when": {}, "then": {"model": "claude-sonnet-4-20250514"}}
    ]


def test_two_rules_may_share_a_label():
    text = (
        rule() + "    - name: think\n      rule: ccproxy.rules.MatchModelRule\n      params: [x]\n"
    )
    assert [row["name"] for row in taken(text).rules] == ["think", "think 2"]


def test_the_default_rule_is_left_out_with_a_note():
    found = taken(rule(name="ccproxy.rules.DefaultRule", more="      params: [true]\n"))
    assert (found.rules, found.problems) == ([], [])
    assert any("DefaultRule" in note for note in found.notes)


def test_names_of_services_become_ours():
    models = (
        "model_list: [{model_name: think, litellm_params: {model: github_copilot/gpt-5}},"
        " {model_name: plain, litellm_params: {model: plain}}]"
    )
    found = taken(rule(), models)
    assert found.rules[0]["then"] == {"model": "copilot/gpt-5"}
    assert found.aliases == {"think": "copilot/gpt-5"}
    assert found.default is None
