import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clients.change import ABSENT, Change, Entry, NotEditable, get
from app.clients.formats import FORMATS, changed, reverted

CHANGES = {
    "jsonc": (Change(("env", "A"), "b"), Change(("model",), "m"), Change(("list",), [1, {"x": 2}])),
    "toml": (Change(("model",), "m"), Change(("p", "d"), {"name": "D", "n": 1})),
    "yaml": (Change(("model",), "m"), Change(("models", Entry("name", "n")), {"name": "n"})),
    "env": (Change(("A",), "b"), Change(("C",), "d e")),
    "line": (Change(("value",), "m"),),
}
TEXTS = {
    "jsonc": ["", "{}", '{"model": "old"}\n', '{\n  "env": {"A": "mine", "Z": 1}, // x\n}\n'],
    "toml": ["", 'model = "old" # c\n', "[p.o]\nx = 1\n", '[p.d]\nname = "old"\n'],
    "yaml": [
        "",
        "model: old # c\n",
        "models:\n  - name: o\n",
        "models:\n- name: n\n  k: 1\n- name: z\n",
    ],
    "env": ["", "A=mine\n", "# c\nX=1"],
    "line": ["", "old", "old\n"],
}
CASES = [(name, text) for name, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize(("name", "text"), CASES)
def test_values_are_set_and_taken_back_to_what_they_were(name, text):
    before = FORMATS[name](text).value
    after, former = changed(name, text, CHANGES[name])
    for change in CHANGES[name]:
        assert get(FORMATS[name](after).value, change.path) == change.value
    back = reverted(name, after, former)
    assert back.left == ()
    assert (FORMATS[name](back.text).value or None) == (before or None)


@pytest.mark.parametrize(("name", "text"), CASES)
def test_setting_twice_is_setting_once(name, text):
    once, _ = changed(name, text, CHANGES[name])
    twice, former = changed(name, once, CHANGES[name])
    assert twice == once
    assert all(entry.old == entry.value for entry in former)


@given(st.sets(st.sampled_from(range(3))), st.sampled_from(TEXTS["jsonc"]))
def test_values_that_somebody_changed_are_left_and_named(which, text):
    after, former = changed("jsonc", text, CHANGES["jsonc"])
    document = FORMATS["jsonc"](after)
    for i in which:
        document = document.put(CHANGES["jsonc"][i].path, "theirs")
    back = reverted("jsonc", document.text, former)
    assert back.left == tuple(("env.A", "model", "list")[i] for i in sorted(which))
    for i in which:
        assert get(FORMATS["jsonc"](back.text).value, CHANGES["jsonc"][i].path) == "theirs"


def test_containers_of_ours_go_when_they_are_empty_and_those_of_others_stay():
    after, former = changed(
        "jsonc", '{"env": {}}', [Change(("env", "A"), 1), Change(("x", "y"), 1)]
    )
    assert FORMATS["jsonc"](reverted("jsonc", after, former).text).value == {"env": {}}
    more = FORMATS["jsonc"](after).put(("x", "theirs"), 1).text
    assert FORMATS["jsonc"](reverted("jsonc", more, former).text).value["x"] == {"theirs": 1}


def test_a_value_that_somebody_removed_is_not_missed():
    after, former = changed("jsonc", '{"a": 1}', [Change(("k",), "v")])
    gone = FORMATS["jsonc"](after).drop(("k",)).text
    assert reverted("jsonc", gone, former).text == gone


def test_what_may_stand_already_is_set_only_where_nothing_stands():
    change = Change(("name",), "ours", optional=True)
    assert changed("yaml", "name: mine\n", [change]) == ("name: mine\n", ())
    text, former = changed("yaml", "x: 1\n", [change])
    assert text == "x: 1\nname: ours\n"
    assert former[0].old is ABSENT


def test_an_editor_that_would_change_more_is_stopped():
    text = "a: |+\n  kept\n\n"  # the empty lines are part of the text
    with pytest.raises(NotEditable):
        changed("yaml", text, [Change(("b",), 1)])
    shared = "base: &b\n  x: 1\nuse: *b\n"
    with pytest.raises(NotEditable):
        changed("yaml", shared, [Change(("use", "x"), 2)])


def test_a_file_of_one_value_takes_no_other():
    with pytest.raises(NotEditable):
        changed("line", "", [Change(("other",), "m")])
    with pytest.raises(NotEditable):
        changed("line", "", [Change(("value",), "two\nlines")])
