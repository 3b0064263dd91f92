"""Properties of connecting, for every agent and over settings that nobody thought of.

Worked on contents alone, as ``plan`` does; ``test_corpus`` goes through real files.
"""

import json
from collections import Counter
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.clients import AGENTS
from app.clients.agent import Address, Machine, Models, Offered
from app.clients.change import ABSENT, NotEditable, get, placed, same
from app.clients.formats import FORMATS
from app.clients.plan import plan, plan_undo
from app.clients.textfile import decode
from app.errors import AppError
from tests.clients import test_jsonc, test_marked, test_tomltext, test_yamltext
from tests.clients.test_plan import noted

MACHINE = Machine("linux", PurePosixPath("/home/u"), {}, PurePosixPath("/data"))
OFFERED = (Offered("demo-chat", 200_000, 64_000), Offered("demo-think"))
ADDRESSES = (Address("http://127.0.0.1:8317"), Address("http://127.0.0.1:9000"))
NAMES = st.sampled_from(["demo-chat", "gpt-5", "vendor/model:free", "ü x"])
EDITABLE = [name for name, agent in AGENTS.items() if agent.editable]
LISTS = st.sampled_from(
    ["- model_id: a\n  model_name: b\n", "- {model_id: a}\n# end\n", "[]\n", "- model_id: 'ü'\n"]
)
TEXTS = {
    "jsonc": test_jsonc.texts().map(lambda case: case[0]),
    "toml": test_tomltext.texts(),
    "yaml": test_yamltext.texts(),
    "env": test_marked.texts(),
    "line": st.sampled_from(["gpt-4o", "gpt-4o\n", "", "x\r\n"]),
}
PLAIN = st.builds(
    lambda value, indent, newline: json.dumps(value, indent=indent).replace("\n", newline),
    test_jsonc.OBJECTS,
    st.sampled_from([None, 0, 2, "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
"""JSON without what some agents do not read."""
THEIRS = {"jsonc": ("zz_theirs",), "toml": ("zz_theirs",), "yaml": ("zz_theirs",)}
"""A place that is nobody's of ours, in formats with keys."""


@st.composite
def choices(draw, agent):
    """A choice of models that fits an agent."""
    more = draw(st.sets(st.sampled_from([r for r in agent.roles if r not in agent.needs] or [""])))
    roles = [role for role in agent.roles if role in agent.needs or role in more]
    return Models({role: draw(NAMES) for role in roles}, OFFERED)


@st.composite
def contents(draw, agent, target):
    """What may stand in a file: nothing, or a text with or without a byte order mark."""
    text = LISTS if agent.name == "llm" and target.format == "yaml" else TEXTS[target.format]
    found = draw(st.none() | (PLAIN if target.refused else text))
    mark = b"" if "mark" in target.refused else draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return None if found is None else mark + found.encode()


class Case:
    """Files of an agent, and an edit of each; ``edits`` is None where one was refused."""

    def __init__(self, data, agent):
        self.agent = agent
        self.models = data.draw(choices(agent), "models")
        targets = agent.targets(MACHINE, ADDRESSES[0], self.models)
        self.files = {t.path: data.draw(contents(agent, t), str(t.path)) for t in targets}
        for target in targets:
            self.files |= dict.fromkeys(target.rather)
        self.edits = self.plan(self.files)

    def plan(self, files, written=(), models=None, address=ADDRESSES[0]):
        try:
            return plan(self.agent, MACHINE, address, models or self.models, files, written)
        except AppError:
            return None

    def after(self, edits=None):
        return self.files | {edit.path: edit.after for edit in edits or self.edits}


def for_all(name, check, least=0.5, **given_by):
    """Check a property for an agent; most cases must come to the check itself."""
    seen = Counter()

    @settings(max_examples=12)
    @given(st.data())
    def holds(data):
        case = Case(data, AGENTS[name])
        seen["all"] += 1
        if case.edits is not None and check(case, data) is not False:
            seen["checked"] += 1

    holds()
    assert seen["checked"] >= least * seen["all"], seen


@pytest.mark.parametrize("name", EDITABLE)
def test_connect_then_disconnect_is_identity(name):
    def check(case, data):
        undone = plan_undo(case.after(), [noted(edit) for edit in case.edits])
        for edit in undone:
            assert edit.after == case.files[edit.path]

    for_all(name, check)


@pytest.mark.parametrize("name", EDITABLE)
def test_connect_twice_equals_once(name):
    def check(case, data):
        again = case.plan(case.after(), [noted(edit) for edit in case.edits])
        assert [edit.diff() for edit in again] == [""] * len(again)
        unknown = case.plan(case.after())  # also where nobody knows that it was connected
        assert [edit.after for edit in unknown] == [edit.after for edit in case.edits]

    for_all(name, check)


@pytest.mark.parametrize("name", EDITABLE)
def test_any_number_of_changes_is_undone_by_one_disconnect(name):
    def check(case, data):
        edits, files = case.edits, case.files
        for _ in range(data.draw(st.integers(1, 3))):
            files = files | {edit.path: edit.after for edit in edits}
            models = data.draw(choices(case.agent), "models")
            address = data.draw(st.sampled_from(ADDRESSES), "address")
            then = case.plan(files, [noted(edit) for edit in edits if edit.former], models, address)
            if then is None:
                return False
            edits = then
        files = files | {edit.path: edit.after for edit in edits}
        for edit in plan_undo(files, [noted(edit) for edit in edits]):
            assert edit.after == case.files[edit.path]
        return True

    for_all(name, check, least=0.4)


@pytest.mark.parametrize("name", EDITABLE)
def test_our_values_stand_and_everything_else_stays(name):
    def check(case, data):
        for edit in case.edits:
            wanted = _value(edit.format, edit.original)
            now = _value(edit.format, edit.after)
            for former in edit.former:
                assert same(get(now, former.path), former.value)
                wanted = placed(wanted, former.path, former.value)
            assert same(now, wanted)

    for_all(name, check)


@pytest.mark.parametrize("name", EDITABLE)
def test_without_the_copy_the_values_are_those_of_before(name):
    def check(case, data):
        for edit in plan_undo(case.after(), [noted(edit, kept=False) for edit in case.edits]):
            before = next(e for e in case.edits if e.path == edit.path)
            assert same(
                _value(before.format, edit.after), _value(before.format, case.files[edit.path])
            )
            assert edit.left == ()

    for_all(name, check, least=0.4)


@pytest.mark.parametrize("name", EDITABLE)
def test_what_somebody_else_adds_meanwhile_is_kept(name):
    def check(case, data):
        files, wanted = dict(case.after()), {}
        for edit in case.edits:
            path = THEIRS.get(edit.format)
            before = _value(edit.format, edit.original)
            if path is None or isinstance(before, list) or edit.after is None:
                continue
            file = decode(edit.after)
            if not isinstance(FORMATS[edit.format](file.text).value, dict):
                continue
            files[edit.path] = file.encode(FORMATS[edit.format](file.text).put(path, "x").text)
            wanted[edit.path] = edit.format, placed(before, path, "x")
        for edit in plan_undo(files, [noted(edit) for edit in case.edits]):
            if edit.path in wanted:
                format_name, value = wanted[edit.path]
                assert same(_value(format_name, edit.after), value)
                assert edit.left == ()

    for_all(name, check)


def _value(format_name, content):
    if content is None:
        return None
    return FORMATS[format_name](decode(content).text).value


def test_the_properties_are_about_something():
    assert {"claude", "codex", "opencode", "gemini", "aider", "llm", "zed"} <= set(EDITABLE)
    assert get({}, ("a",)) is ABSENT
    assert issubclass(NotEditable, AppError)
