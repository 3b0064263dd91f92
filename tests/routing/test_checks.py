"""Faults of rules at load: each by its place and words, and all of them at once."""

import time

import pytest

from app.providers import PROVIDERS
from app.routing.checks import Known, known_of, rule_faults
from tests.routing.accounts import account, catalog, demo
from tests.routing.calls import models

ACCOUNTS = [account("openai/work"), account("openai/home"), account("openrouter/main")]
LISTED = {
    "openai/work": ["gpt-5", "gpt-5-mini"],
    "openai/home": ["gpt-5"],
    "openrouter/main": ["vendor/big"],
}


def known(complete=True, accounts=ACCOUNTS, listed=LISTED, **fields):
    return known_of(accounts, catalog(listed.items()), PROVIDERS, complete=complete, **fields)


def faults(text, what=None):
    found = rule_faults(models(text), known() if what is None else what)
    return [(".".join(map(str, fault.path)), fault.message, fault.doubt) for fault in found]


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("rules: [{then: {model: vendor/bgi}}]", "rules.0.then.model", "did you mean vendor/big?"),
        ("rules: [{then: {model: gpt-5(hihg)}}]", "rules.0.then.model", "no level of reasoning"),
        ("rules: [{then: {model: nowhere}}]", "rules.0.then.model", "no account serves"),
        ("rules: [{then: {chain: a}}]", "rules.0.then.chain", "there is no chain 'a'"),
        (
            "{chains: {careful: [gpt-5]}, rules: [{then: {chain: carefull}}]}",
            "rules.0.then.chain",
            "did you mean careful?",
        ),
        ("rules: [{then: {split: {gpt-5: 1, b: 1}}}]", "rules.0.then.split.b", "no account"),
        ("rules: [{then: {provider: opnai}}]", "rules.0.then.provider", "did you mean openai?"),
        ("rules: [{then: {account: openai}}]", "rules.0.then.account", "expected provider/label"),
        (
            "rules: [{then: {account: openai/wrok}}]",
            "rules.0.then.account",
            "openai has no account 'wrok'; did you mean work?",
        ),
        (
            "rules: [{then: {account: a/b}}]",
            "rules.0.then.account",
            "there is no provider 'a'",
        ),
        ("rules: [{when: {rule: TokenRule}, then: {}}]", "rules.0.when.rule", "no rule"),
        ("rules: [{when: {rule: a.b.C}, then: {}}]", "rules.0.when.rule", "known are"),
        (
            "rules: [{when: {rule: TokenCountRule}, then: {}}]",
            "rules.0.when.params",
            "takes threshold",
        ),
        (
            "rules: [{when: {any: [{not: {rule: x}}]}, then: {}}]",
            "rules.0.when.any.0.not.rule",
            "no rule 'x'",
        ),
        ("rules: [{when: {not: {}}, then: {}}]", "rules.0.when.not", "never matches"),
        (
            "rules: [{name: a, when: {model: x}, then: {}}, {name: a, then: {}}]",
            "rules.1.name",
            "rule 1 is called so",
        ),
        ("aliases: {fast: nowhere}", "aliases.fast", "no account serves"),
        ("{aliases: {a: gpt-5}, chains: {a: [gpt-5]}}", "aliases.a", "hides the alias"),
        ("chains: {a: [gpt-5, gpt-5]}", "chains.a.1", "in this chain already"),
        ("chains: {a: [gpt-5, nowhere]}", "chains.a.1", "no account serves"),
        ("chains: {a: [openai/nope]}", "chains.a.0", ""),
        ("moves: {a: {b: [quota]}}", "moves.a", "there is no chain 'a'"),
        ("{chains: {a: [gpt-5]}, moves: {a: {b: [quota]}}}", "moves.a.b", "no entry 'b'"),
        ("{chains: {a: [gpt-5]}, moves: {a: {gpt-5: [quota]}}}", "moves.a.gpt-5", "the first"),
        ("strategies: {opnai: most_left}", "strategies.opnai", "did you mean openai?"),
        ("strategies: {claude: round_robin}", "strategies.claude", "one after the other"),
        (
            "rules: [{then: {provider: claude, strategy: weighted}}]",
            "rules.0.then.strategy",
            "for accounts with keys",
        ),
        ("weights: {openai: 1}", "weights.openai", "expected provider/label"),
        ("hooks: [stamp]", "hooks.0", "there is no hook 'stamp'"),
    ],
)
def test_each_fault_has_its_place_and_words(text, path, words):
    found = faults(text)
    if not words:  # a prefix of a provider that takes any name: nothing can be said against it
        assert found == []
        return
    assert [row[0] for row in found] == [path]
    assert words in found[0][1]
    assert not found[0][2]


def test_everything_is_reported_together():
    text = """
    aliases: {a: b, b: a}
    chains: {c: [nowhere]}
    rules:
      - {then: {model: gone}}
      - {when: {stream: true}, then: {provider: x}}
    """
    assert [row[0] for row in faults(text)] == [
        *("aliases.a", "chains.c.0", "rules.0.then.model", "rules.1.then.provider", "rules.1"),
    ]


def test_good_settings_have_no_fault():
    text = """
    aliases: {fast: gpt-5-mini, deep: "gpt-5(high)", gpt-6: "gpt-5(low)"}
    chains: {careful: [gpt-5, vendor/big, fast], gpt-5: [gpt-5, fast]}
    moves: {careful: {fast: [quota]}}
    strategies: {openai: round_robin, "*": most_left}
    weights: {openai/work: 2}
    hooks: [stamp]
    rules:
      - {when: {rule: own, tokens: 5}, then: {chain: careful, strategy: weighted}}
      - {when: {rule: own}, then: {model: openrouter/vendor/big}}
      - {when: {rule: ThinkingRule}, then: {account: openai/home, reasoning: high}}
      - {then: {split: {fast: 1, "deep(low)": 1}}}
    """
    what = known(rules=["own"], hooks=["stamp"])
    assert faults(text, what) == []


# What can be said depends on what is known.


def test_a_model_is_in_doubt_while_not_all_lists_are_known():
    text = "aliases: {a: gpt-5-mni, b: vendor/bigg, c: unheard-of, d: claude-opus-9}"
    some = faults(text, known(complete=False))
    assert [(row[0], row[2]) for row in some] == [("aliases.a", True), ("aliases.b", True)]
    assert "did you mean gpt-5-mini?" in some[0][1]
    assert faults("aliases: {a: unheard-of}", known(listed={})) == []
    every = [(row[0], row[2]) for row in faults(text)]
    assert every == [("aliases.a", True), ("aliases.b", False), ("aliases.c", False)]


@pytest.mark.parametrize("complete", [True, False])
def test_a_list_that_was_written_down_tells_what_is_mistyped(complete):
    """For certain only once the vault is known: it may hold another account of the provider."""
    written = account("openrouter/main", models={"vendor/big": "vendor/big"})
    discovering = account("openai/work")
    what = known(complete=complete, accounts=[written, discovering], listed={})
    found = faults("aliases: {a: openrouter/vendor/bgi, b: openrouter/vendor/big, c: x/y}", what)
    assert [(row[0], row[2]) for row in found] == [("aliases.a", not complete)]
    assert "did you mean vendor/big?" in found[0][1]


def test_a_family_may_get_an_account_at_any_time():
    assert faults("aliases: {a: claude-opus-9, b: gemini-9}") == []


def test_labels_of_the_vault_are_unknown_until_it_is_open():
    text = "rules: [{then: {account: claude/work}}]"
    assert faults(text, known(complete=False)) == []
    assert "claude has no account 'work'; it has none" in faults(text)[0][1]


def test_rules_and_hooks_that_were_not_read_are_not_called_unknown():
    text = "{rules: [{when: {rule: own}, then: {}}], hooks: [stamp]}"
    assert faults(text, known(rules=None, hooks=None)) == []


def test_keys_that_do_not_exist_are_doubted():
    text = "rules: [{when: {key: [wrok, 'w*']}, then: {}}]"
    assert faults(text) == []
    found = faults(text, known(keys=["work"]))
    assert found == [("rules.0.when.key.0", "no key is called 'wrok'; did you mean work?", True)]


def test_nothing_known_is_nothing_wrong_but_names_of_the_settings():
    assert faults("rules: [{then: {model: any}}]", Known()) == []
    assert faults("aliases: {a: x}", known(accounts=[demo()], listed={})) == []


# Circles.


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("aliases: {a: b, b: c, c: a}", ["aliases.a"]),
        ("aliases: {a: 'b(high)', b: a}", ["aliases.a"]),
        ("{aliases: {a: c}, chains: {c: [gpt-5, a]}}", ["aliases.a"]),
        ("chains: {c: [d], d: [c]}", ["chains.c"]),
        ("aliases: {a: b, b: a, x: y, y: x}", ["aliases.a", "aliases.x"]),
        ("{aliases: {gpt-5: gpt-5(high)}, chains: {gpt-5-mini: [gpt-5-mini, gpt-5]}}", []),
    ],
)
def test_circles_are_told_once(text, paths):
    found = [row for row in faults(text) if "leads back" in row[1]]
    assert [row[0] for row in found] == paths


def test_the_way_of_a_circle_is_shown():
    assert "a → b → a" in faults("aliases: {a: b, b: a}")[0][1]


def test_very_long_lines_of_names_are_checked_without_recursion():
    text = "aliases:\n" + "\n".join(f"  a{i}: a{i + 1}" for i in range(3_000))
    assert all("leads back" not in row[1] for row in faults(text + "\n  a3000: gpt-5\n"))
    assert any("leads back" in row[1] for row in faults(text + "\n  a3000: a0\n"))


# Rules that no call reaches.


@pytest.mark.parametrize(
    ("first", "second", "shadowed"),
    [
        ("{}", "{model: a}", True),
        ("{model: 'claude-*'}", "{model: claude-opus, stream: true}", True),
        ("{model: claude-opus}", "{model: 'claude-*'}", False),
        ("{tokens: 50000}", "{tokens: 60000}", True),
        ("{tokens: 60000}", "{tokens: 50000}", False),
        ("{rule: MatchModelRule, params: haiku}", "{model: '*haiku*'}", True),
        ("{rule: own}", "{rule: own}", False),
        ("{thinking: true}", "{thinking: true, tokens: 5}", True),
    ],
)
def test_a_rule_behind_a_wider_one_is_unreachable(first, second, shadowed):
    text = (
        f"rules:\n  - {{name: one, when: {first}, then: {{}}}}\n  - {{when: {second}, then: {{}}}}"
    )
    found = faults(text, known(rules=["own"]))
    expected = "no call reaches this rule: one matches all that it would match"
    assert found == ([("rules.1", expected, False)] if shadowed else [])


def test_many_rules_are_checked_quickly():
    lines = "\n".join(f"  - {{when: {{model: m{i}, tokens: {i}}}, then: {{}}}}" for i in range(300))
    ready = models(f"rules:\n{lines}")
    began = time.perf_counter()
    assert rule_faults(ready, Known()) == ()
    assert time.perf_counter() - began < 4
