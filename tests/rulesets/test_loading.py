from dataclasses import replace

import pytest

from app.configtext import load
from app.providers import PROVIDERS
from app.routing.checks import Known, known_of
from app.routing.retry import RetryPolicy
from app.routing.rules import NO_RULES
from app.rulesets.loading import load_routing, load_rules
from tests.routing.accounts import account, catalog

TEXT = """\
# comment
models:
  aliases:
    fast: nowhere
  chains:
    careful: [gpt-5,
      alas]
  rules:
    - name: one
      when:
        rule: nope
      then: {model: gpt-5}
    - when: {stream: true}
      then:
        chain: carefull
"""


def loaded(text, custom=(), **fields):
    accounts = [account("openai/work")]
    known = known_of(
        accounts,
        catalog({"openai/work": ["gpt-5"]}.items()),
        PROVIDERS,
        complete=True,
        rules=list(custom),
        **fields,
    )
    config = load(text, "config.yaml", {})
    return load_rules(config.models, known, dict(custom), text=text, file="config.yaml")


def test_all_faults_come_with_file_line_and_key():
    found = loaded(TEXT)
    assert [(p.line, p.key) for p in found.problems] == [
        (4, "models.aliases.fast"),
        (7, "models.chains.careful[1]"),
        (11, "models.rules[0].when.rule"),
        (15, "models.rules[1].then.chain"),
    ]
    assert str(found.problems[0]).startswith("config.yaml:4: models.aliases.fast: no account")
    assert found.rules == NO_RULES


def test_doubts_do_not_keep_rules_from_being_used():
    text = "models: {rules: [{when: {key: wrok}, then: {model: gpt-5}}]}"
    found = loaded(text, keys=["work"])
    assert found.problems == ()
    assert [(p.line, p.key) for p in found.doubts] == [(1, "models.rules[0].when.key[0]")]
    assert len(found.rules.rules) == 1


def test_custom_rules_are_compiled_in():
    found = loaded("models: {rules: [{when: {rule: own}, then: {}}]}", {"own": lambda _facts: True})
    assert found.problems == found.doubts == ()
    assert found.rules.rules[0].label == "rule 1"


@pytest.mark.parametrize("text", ["", "models: {}\n"])
def test_no_rules_are_no_trouble(text):
    found = load_rules(load(text, "f", {}).models, Known(), {}, text=text, file="f")
    assert (found.problems, found.doubts) == ((), ())
    assert found.rules == replace(NO_RULES, retry=RetryPolicy(attempts=2))


# Everything at once, with extensions.


def routing(tmp_path, text, **fields):
    file = tmp_path / "config.yaml"
    accounts = [account("openai/work")]
    fields = {"complete": True, "text": text, "file": str(file)} | fields
    known = catalog({"openai/work": ["gpt-5"]}.items())
    return load_routing(load(text, str(file), {}), accounts, known, PROVIDERS, **fields)


def test_rules_use_what_extensions_bring(tmp_path):
    (tmp_path / "own.py").write_text("RULES = {'own': lambda facts: True}\n")
    (tmp_path / "own.py").chmod(0o600)
    text = "models: {extensions: [own.py], rules: [{when: {rule: own}, then: {model: gpt-5}}]}"
    found = routing(tmp_path, text)
    assert found.problems == ()
    assert len(found.rules.rules) == 1
    assert found.extensions.health()[0]["name"] == "own"


def test_a_broken_extension_is_the_one_fault_reported_of_it(tmp_path):
    (tmp_path / "own.py").write_text("1 / 0\n")
    (tmp_path / "own.py").chmod(0o600)
    text = (
        "models: {extensions: [own.py], hooks: [h],"
        " rules: [{when: {any: [{rule: own}]}, then: {model: nowhere}}]}"
    )
    found = routing(tmp_path, text)
    assert [(p.line, p.key) for p in found.problems] == [
        (1, "models.extensions[0]"),
        (1, "models.rules[0].then.model"),
    ]
    assert found.rules == NO_RULES


def test_names_that_no_extension_has_are_faults(tmp_path):
    text = "models: {hooks: [h], rules: [{when: {not: {rule: own}}, then: {model: gpt-5}}]}"
    assert [p.key for p in routing(tmp_path, text).problems] == [
        "models.hooks[0]",
        "models.rules[0].when.not.rule",
    ]
