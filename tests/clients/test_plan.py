from pathlib import PurePosixPath

import pytest

from app.clients import AGENTS
from app.clients.agent import Address, Machine, Models
from app.clients.plan import FileEdit, Written, digest, look, plan, plan_undo
from app.errors import ConfigError

HOME = PurePosixPath("/home/u")
MACHINE = Machine("linux", HOME, {}, PurePosixPath("/data"))
PATH = HOME / ".claude" / "settings.json"
ORIGINAL = b'{\n  "theme": "dark"\n}\n'


def planned(content, written=(), url="http://127.0.0.1:1", agent="claude", roles=()):
    return plan(AGENTS[agent], MACHINE, Address(url), Models(dict(roles)), {PATH: content}, written)


def noted(edit, kept=True):
    return Written(
        edit.path,
        edit.format,
        digest(edit.after),
        digest(edit.original),
        edit.original if kept else None,
        kept,
        edit.former,
    )


def test_a_plan_holds_the_original_and_the_new_content():
    (edit,) = planned(ORIGINAL)
    assert (edit.path, edit.before, edit.original, edit.action) == (
        PATH,
        ORIGINAL,
        ORIGINAL,
        "change",
    )
    assert b"http://127.0.0.1:1" in edit.after


def test_the_diff_is_what_patch_would_apply():
    (edit,) = planned(ORIGINAL)
    lines = edit.diff().splitlines()
    assert lines[0] == f"--- {PATH}"
    assert lines[1] == f"+++ {PATH}"
    assert [line for line in lines[3:] if line.startswith("-")] == ['-  "theme": "dark"']
    assert next(line for line in lines[3:] if line.startswith("+")) == '+  "theme": "dark",'


def test_a_missing_last_line_end_is_shown():
    edit = FileEdit(PATH, b"a", b"a\nb")
    assert edit.diff().count("\\ No newline at end of file") == 2


@pytest.mark.parametrize(
    ("before", "after", "first", "action"),
    [
        (None, b"x\n", "--- /dev/null", "create"),
        (b"x\n", None, f"--- {PATH}", "remove"),
        (None, b"", "--- /dev/null", "create"),
        (b"x", b"x", None, "keep"),
    ],
)
def test_files_that_come_and_go_are_shown_as_such(before, after, first, action):
    edit = FileEdit(PATH, before, after)
    assert edit.action == action
    assert (edit.diff().splitlines() or [None])[0] == first


def test_a_second_plan_is_worked_out_from_the_original():
    (first,) = planned(ORIGINAL)
    (second,) = planned(first.after, [noted(first)], url="http://127.0.0.1:2")
    assert second.original == ORIGINAL
    assert second.before == first.after
    assert second.after == first.after.replace(b"127.0.0.1:1", b"127.0.0.1:2")
    (same,) = planned(first.after, [noted(first)])
    assert not same.changes


def test_undoing_brings_back_every_byte_where_nobody_else_wrote():
    (edit,) = planned(ORIGINAL)
    (undo,) = plan_undo({PATH: edit.after}, [noted(edit)])
    assert (undo.after, undo.exact, undo.left) == (ORIGINAL, True, ())


def test_undoing_a_file_that_we_made_removes_it():
    (edit,) = planned(None)
    (undo,) = plan_undo({PATH: edit.after}, [noted(edit)])
    assert (undo.after, undo.action) == (None, "remove")


def test_undoing_takes_only_our_values_where_somebody_else_wrote():
    (edit,) = planned(ORIGINAL)
    theirs = edit.after.replace(b'"dark"', b'"light"')
    (undo,) = plan_undo({PATH: theirs}, [noted(edit)])
    assert undo.after == ORIGINAL.replace(b'"dark"', b'"light"')
    assert (undo.exact, undo.left) == (False, ())


def test_undoing_leaves_values_that_somebody_changed_and_names_them():
    (edit,) = planned(ORIGINAL)
    theirs = edit.after.replace(b"127.0.0.1:1", b"elsewhere")
    (undo,) = plan_undo({PATH: theirs}, [noted(edit)])
    assert undo.left == ("env.ANTHROPIC_BASE_URL",)
    assert b"elsewhere" in undo.after
    assert b"AUTH_TOKEN" not in undo.after


def test_undoing_without_the_copy_takes_our_values_out():
    (edit,) = planned(ORIGINAL)
    (undo,) = plan_undo({PATH: edit.after}, [noted(edit, kept=False)])
    assert (undo.after, undo.exact) == (ORIGINAL, False)


def test_undoing_a_file_of_ours_that_somebody_added_to_keeps_the_addition():
    (edit,) = planned(None)
    theirs = edit.after.replace(b"{\n", b'{\n  "mine": 1,\n', 1)
    (undo,) = plan_undo({PATH: theirs}, [noted(edit)])
    assert undo.after == b'{\n  "mine": 1\n}\n'


@pytest.mark.parametrize("content", [None, ORIGINAL])
def test_undoing_what_is_already_undone_writes_nothing(content):
    (edit,) = planned(ORIGINAL)
    (undo,) = plan_undo({PATH: content}, [noted(edit)])
    assert not undo.changes


def test_undoing_a_file_that_is_broken_by_now_stops_with_the_place():
    (edit,) = planned(ORIGINAL)
    with pytest.raises(ConfigError) as caught:
        plan_undo({PATH: b'{\n"a"'}, [noted(edit)])
    assert caught.value.problems[0].line == 2
    assert "left as it is" in caught.value.hint


def test_files_that_a_new_choice_no_longer_needs_are_given_back():
    folder = HOME / ".config" / "io.datasette.llm"
    files = {folder / "extra-openai-models.yaml": None, folder / "default_model.txt": b"gpt-4o"}
    models = Models({"main": "m"})
    edits = plan(AGENTS["llm"], MACHINE, Address("http://h:1"), models, files)
    now = {edit.path: edit.after for edit in edits}
    again = plan(
        AGENTS["claude"],
        MACHINE,
        Address("http://h:1"),
        Models(),
        {**now, PATH: None},
        [noted(edit) for edit in edits],
    )
    given_back = {edit.path: edit.after for edit in again if edit.path in now}
    assert given_back == files


@pytest.mark.parametrize(
    ("content", "state", "places"),
    [
        ("after", "written", ()),
        ("original", "undone", ()),
        (None, "missing", ()),
        (
            b'{"theme": "x", "env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1", '
            b'"ANTHROPIC_AUTH_TOKEN": "dragoman"}}',
            "edited",
            (),
        ),
        (
            b'{"env": {"ANTHROPIC_AUTH_TOKEN": "dragoman"}}',
            "overridden",
            ("env.ANTHROPIC_BASE_URL",),
        ),
        (b"{", "unreadable", ()),
    ],
)
def test_how_a_file_stands_is_told(content, state, places):
    (edit,) = planned(ORIGINAL)
    contents = {"after": edit.after, "original": ORIGINAL}
    found = look(contents.get(content, content), noted(edit))
    assert (found.state, found.places) == (state, places)
    assert bool(found.reason) == (state == "unreadable")
