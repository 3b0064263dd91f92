"""Rules and hooks of the user's own: the documented example, faults at load, faults at run time."""

import importlib.metadata
import logging
import os
import re
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import pytest

from app.configtext import load
from app.dialects.base import dump, patch_object, read_head
from app.extensions import NO_EXTENSIONS, Guard, load_extensions
from app.routing.rules import compile_rules, decide
from tests.routing.calls import Counted, facts

PAGE = Path(__file__).parent.parent / "assets" / "docs" / "extensions.md"


def block(kind):
    return re.search(rf"^```{kind}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)[1]


@pytest.fixture
def loaded(tmp_path):
    """Loads a text as an extension file, without the entry points of this machine."""

    def call(text, name="own.py", **fields):
        file = tmp_path / name
        file.write_text(textwrap.dedent(text), "utf-8")
        file.chmod(0o600)
        return load_extensions([name], tmp_path, fields.pop("entry_points", ()))

    return call


# The documented example.


def test_the_documented_example_runs(loaded):
    found = loaded(block("python"), "weekend.py")
    assert found.problems == ()
    config = load(block("yaml"), "f", {})
    assert config.models.extensions == ("weekend.py",)
    rules = compile_rules(config.models, found.rules)
    today = decide(facts("claude-opus-4-5"), rules).model
    weekend = time.strftime("%a") in ("Sat", "Sun")
    assert today == ("claude-sonnet-4-5" if weekend else "claude-opus-4-5")
    assert found.rules["weekend"](
        facts(), ["Sat"], now=lambda: time.gmtime(5 * 86_400 - 86_400 * 3)
    )
    assert not found.rules["weekend"](facts(), ["Sat"], now=lambda: time.gmtime(0))
    body = {"model": "m", "logprobs": True, "messages": []}
    edits, notes = found.edits(config.models.hooks, facts(client="codex"), read_head(dump(body)))
    patched = msgspec.json.decode(patch_object(read_head(dump(body)), edits))
    assert patched == {"model": "m", "messages": [], "user": "codex"}
    assert notes == ()
    found.answered(config.models.hooks, facts(), {"status": 200})
    assert [row["failures"] for row in found.health()] == [0, 0]


# Faults at load.


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("def f(:\n    pass\n", 1, "models.extensions[0]", "is not valid Python"),
        ("import os\nimport no_such_thing\n", 2, "models.extensions[0]", "ModuleNotFoundError"),
        ("x = 1\n\n\nraise SystemExit(3)\n", 4, "models.extensions[0]", "SystemExit: 3"),
        ("x = 1\n", 0, "models.extensions[0]", "expected RULES or HOOKS"),
        ("RULES = [1]\n", 0, "RULES", "expected a mapping"),
        ("RULES = {'a': 5}\n", 0, "RULES['a']", "expected a function, not int"),
        ("RULES = {3: print}\n", 0, "RULES[3]", "expected a name"),
        ("\ndef f():\n    pass\nRULES = {'a': f}\n", 2, "RULES['a']", "that takes the facts"),
        ("async def f(x):\n    pass\nRULES = {'a': f}\n", 1, "RULES['a']", "never awaited"),
        ("def f(x):\n    yield\nRULES = {'a': f}\n", 1, "RULES['a']", "plain function"),
        ("def f(x):\n    pass\nRULES = {'ThinkingRule': f}\n", 1, "RULES['ThinkingRule']", "ccpr"),
        ("HOOKS = {'a': 5}\n", 0, "HOOKS['a']", "on_request or on_response"),
        (
            "class H:\n    def on_request(self, facts):\n        pass\nHOOKS = {'a': H()}\n",
            2,
            "HOOKS['a']",
            "the facts and the body",
        ),
        (
            "class H:\n    async def on_response(self, f, a):\n        pass\nHOOKS = {'a': H()}\n",
            2,
            "HOOKS['a']",
            "never awaited",
        ),
    ],
)
def test_a_broken_file_is_reported_with_its_line(loaded, tmp_path, text, line, key, words):
    found = loaded(text)
    assert [(p.file, p.line, p.key) for p in found.problems] == [
        (str(tmp_path / "own.py"), line, key)
    ]
    assert words in found.problems[0].message


def test_a_fault_deep_inside_is_reported_where_the_file_led_to_it(loaded):
    found = loaded("import json\n\n\nX = json.loads('{')\nRULES = {}\n")
    assert found.problems[0].line == 4


def test_what_is_good_is_loaded_beside_what_is_broken(loaded):
    found = loaded("RULES = {'good': lambda facts: True, 'bad': 5}\nHOOKS = {'worse': 1}\n")
    assert set(found.rules) == {"good"}
    assert [p.key for p in found.problems] == ["RULES['bad']", "HOOKS['worse']"]


def test_files_that_cannot_be_read_are_reported(tmp_path):
    found = load_extensions(["missing.py", "."], tmp_path, ())
    assert [p.key for p in found.problems] == ["models.extensions[0]", "models.extensions[1]"]
    assert "cannot be read" in found.problems[0].message
    assert "expected a file" in found.problems[1].message


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_that_everybody_may_write_is_not_run(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("raise SystemExit\n")
    file.chmod(0o666)
    assert "everybody may write" in load_extensions(["own.py"], tmp_path, ()).problems[0].message


def test_two_of_one_name_are_reported(tmp_path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("RULES = {'same': lambda facts: True}\n")
        (tmp_path / name).chmod(0o600)
    found = load_extensions(["a.py", "b.py"], tmp_path, ())
    assert [p.file for p in found.problems] == [str(tmp_path / "b.py")]


def test_a_file_may_use_dataclasses_and_future_annotations(loaded):
    found = loaded(
        """\
        from __future__ import annotations
        from dataclasses import dataclass

        @dataclass
        class Over:
            limit: int

            def __call__(self, facts) -> bool:
                return len(facts.model) > self.limit

        RULES = {"long": Over(3)}
        """
    )
    assert found.problems == ()
    assert found.rules["long"](facts("gpt-5"))


def test_a_changed_file_is_read_anew(loaded):
    assert loaded("RULES = {'a': lambda facts: True}\n").rules["a"](facts())
    assert not loaded("RULES = {'a': lambda facts: False}\n").rules["a"](facts())


# Entry points.


def point(name, value, group):
    return importlib.metadata.EntryPoint(name, value, group)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    (tmp_path / "dragoman_sample.py").write_text(
        "def yes(facts):\n    return True\n\n\n"
        "class Hook:\n    def on_response(self, facts, answer):\n        pass\n"
    )
    (tmp_path / "dragoman_broken.py").write_text("\n\n1 / 0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for name in ("dragoman_sample", "dragoman_broken"):
        sys.modules.pop(name, None)


def test_installed_rules_and_hooks_are_found(installed):
    points = [
        point("yes", "dragoman_sample:yes", "dragoman.rules"),
        point("told", "dragoman_sample:Hook", "dragoman.hooks"),
    ]
    found = load_extensions([], installed, points)
    assert found.problems == ()
    assert found.rules["yes"](facts())
    assert found.hooks["told"].on_response is not None


def test_broken_entry_points_are_reported_and_the_rest_is_loaded(installed):
    points = [
        point("broken", "dragoman_broken:rule", "dragoman.rules"),
        point("gone", "dragoman_sample:nothing", "dragoman.rules"),
        point("yes", "dragoman_sample:yes", "dragoman.rules"),
    ]
    found = load_extensions([], installed, points)
    assert set(found.rules) == {"yes"}
    assert [p.key for p in found.problems] == ["dragoman.rules.broken", "dragoman.rules.gone"]
    first = found.problems[0]
    assert (Path(first.file).name, first.line) == ("dragoman_broken.py", 3)
    assert "ZeroDivisionError" in first.message


def test_the_groups_of_this_machine_are_looked_through(tmp_path):
    assert load_extensions([], tmp_path).problems == ()


# Faults at run time.

BROKEN = """\
def fails(facts):
    return facts.nothing

def odd(facts):
    return "yes"

def counts(facts):
    return facts.tokens() > 5

class Bad:
    def on_request(self, facts, body):
        body["messages"] = "scribbled"
        raise KeyError("x")
    def on_response(self, facts, answer):
        raise RuntimeError("no")

class Wish:
    def __init__(self, wish):
        self.wish = wish
    def on_request(self, facts, body):
        return self.wish

class Sees:
    def on_request(self, facts, body):
        return {"seen": body}

class Waits:
    def on_request(self, facts, body):
        return {"n": facts.tokens()}

RULES = {"fails": fails, "odd": odd, "counts": counts}
HOOKS = {
    "bad": Bad(),
    "model": Wish({"model": "x"}),
    "list": Wish([1]),
    "odd": Wish({"a": object()}),
    "keys": Wish({1: 2}),
    "sets": Wish({"a": 1, "b": ...}),
    "sees": Sees(),
    "waits": Waits(),
}
"""


def routed(found, name):
    text = f"models: {{rules: [{{when: {{rule: {name}}}, then: {{model: a}}}}]}}"
    return decide(facts("m", tokens=9), compile_rules(load(text, "f", {}).models, found.rules))


@pytest.mark.parametrize(("name", "words"), [("fails", "own.py:2"), ("odd", "expected True or")])
def test_a_rule_that_fails_does_not_match_and_the_trace_says_why(loaded, caplog, name, words):
    found = loaded(BROKEN)
    with caplog.at_level(logging.WARNING, "dragoman.extensions"):
        decision = routed(found, name)
    assert decision.model == "m"
    assert words in decision.verdicts[0].why
    assert words in caplog.text
    health = {row["name"]: row for row in found.health() if row["kind"] == "rule"}
    assert health[name]["failures"] == 1
    assert words in health[name]["last_failure"]


def test_the_log_hears_less_and_less_of_a_rule_that_fails_always(loaded, caplog):
    found = loaded(BROKEN)
    with caplog.at_level(logging.WARNING, "dragoman.extensions"):
        for _ in range(100):
            routed(found, "fails")
    assert len(caplog.records) == 7


def test_a_rule_may_ask_for_the_tokens(loaded):
    assert routed(loaded(BROKEN), "counts").model == "a"


BODY = {"model": "m", "b": 2, "messages": []}


def edits(found, *names):
    head = read_head(dump(BODY))
    changed, notes = found.edits(names, facts(), head)
    return msgspec.json.decode(patch_object(head, changed)), notes


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bad", "KeyError"),
        ("model", "cannot change the field model"),
        ("list", "expected a mapping"),
        ("odd", "object"),
        ("keys", "names of fields"),
        ("waits", "number of tokens"),
    ],
)
def test_a_hook_that_fails_changes_nothing_and_the_others_run(loaded, name, words):
    found = loaded(BROKEN)
    body, notes = edits(found, name, "sets")
    assert body == {"model": "m", "messages": [], "a": 1}
    assert len(notes) == 1
    assert words in notes[0]


def test_hooks_see_what_those_before_them_changed(loaded):
    body, _ = edits(loaded(BROKEN), "sets", "sees", "unknown")
    assert body["seen"] == {"model": "m", "messages": [], "a": 1}


def test_hooks_that_fail_at_an_answer_are_kept_apart(loaded, caplog):
    found = loaded(BROKEN)
    found.answered(["bad", "sets", "unknown"], facts(tokens=Counted(None)), {"status": 200})
    assert "RuntimeError" in caplog.text


def test_a_slow_one_is_told_of(caplog):
    times = iter([0.0, 0.25, 1.0, 1.05])
    guard = Guard("slow", "rule", "own.py", clock=lambda: next(times))
    assert guard.run(lambda: 5) == 5
    assert guard.run(lambda: 6) == 6
    assert "rule slow took 250 ms" in caplog.text
    assert guard.slow == 1


def test_no_extensions_do_nothing():
    assert NO_EXTENSIONS.edits(["a"], facts(), {}) == ({}, ())
    assert NO_EXTENSIONS.health() == []
