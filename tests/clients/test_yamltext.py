import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.clients.change import ABSENT, Entry, NotEditable, SyntaxFault, get, placed, same
from app.clients.yamltext import YamlDocument
from tests.clients.corpus import read_yaml

WORDS = st.sampled_from(
    ["a", "b", "yes", "null", "1", "x: y", "# no", "", " lead", "ü", "a'b\"c", "-"]
)
VALUES = st.recursive(
    WORDS | st.booleans() | st.integers(-9, 9),
    lambda t: (
        st.lists(t, min_size=1, max_size=3) | st.dictionaries(WORDS, t, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


def flat(value):
    """Say whether lists hold no lists: agents' settings have none, and none are written."""
    if isinstance(value, dict):
        return all(map(flat, value.values()))
    if isinstance(value, list):
        return all(not isinstance(item, list) and flat(item) for item in value)
    return True


@st.composite
def texts(draw):
    unit = draw(st.sampled_from(["  ", "    "]))
    lines = []
    for name in draw(st.lists(st.sampled_from(["a", "b", "providers"]), unique=True)):
        note = draw(st.sampled_from(["", " # note"]))
        shape = draw(st.sampled_from(["scalar", "mapping", "list", "tight list", "flow", "null"]))
        lines += draw(st.sampled_from([[], [""], ["# about it"]]))
        lines += {
            "scalar": [f"{name}: value{note}"],
            "mapping": [f"{name}:{note}", f"{unit}x: 1{note}", f"{unit}y: [1, 2]"],
            "list": [f"{name}:", f"{unit}- one{note}", f"{unit}- two"],
            "tight list": [f"{name}:", "- name: one", f"  k: 1{note}"],
            "flow": [f"{name}: {{x: 1, y: two}}{note}"],
            "null": [f"{name}:{note}"],
        }[shape]
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    end = draw(st.sampled_from(["", newline]))
    return newline.join(lines) + (end if lines else "")


PATHS = st.sampled_from([("a",), ("model",), ("providers", "d"), ("providers", "d", "model")])


@settings(max_examples=50)
@given(texts(), PATHS, VALUES)
def test_a_value_that_is_put_is_all_that_changes_for_a_reader(text, path, value):
    assume(flat(value))
    before = YamlDocument(text)
    try:
        wanted = placed(before.value, path, value)
        document = before.put(path, value)
    except NotEditable:
        return
    assert same(document.value, wanted)
    assert same(get(read_yaml(document.text.encode()), path), value)
    assert document.text.count("\r\n") in (0, document.text.count("\n"))


@given(texts(), st.sampled_from([("model",), ("zz",)]), VALUES)
def test_a_new_key_that_is_dropped_again_leaves_every_character(text, path, value):
    assume(flat(value))
    document = YamlDocument(text)
    assert get(document.value, path) is ABSENT
    assert document.put(path, value).drop(path).text == text


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("models:\n- name: a\nz: 1\n", "models:\n- name: a\n- name: new\n  m: x\nz: 1\n"),
        (
            "models:\n    - name: a # c\n",
            "models:\n    - name: a # c\n    - name: new\n      m: x\n",
        ),
        ("models: []\n", "models:\n  - name: new\n    m: x\n"),
        ("models: # none\nz: 1\n", "models: # none\n  - name: new\n    m: x\nz: 1\n"),
        (
            "models:\n  - name: new\n    old: 1\n  - name: b\n",
            "models:\n  - name: new\n    m: x\n  - name: b\n",
        ),
        ("models: [{name: a}]\n", 'models: [{"name": "a"}, {"name": "new", "m": "x"}]\n'),
        ("", "models:\n  - name: new\n    m: x\n"),
    ],
)
def test_items_are_written_as_their_neighbours_are(text, result):
    entry = ("models", Entry("name", "new"))
    assert YamlDocument(text).put(entry, {"name": "new", "m": "x"}).text == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("a: 1 # c\n# about b\nb: 2\n", "a: 1 # c\n# about b\n"),
        ("b:\n  x: 1\n# tail\n", "# tail\n"),
        ("b:\n# tail\n", "# tail\n"),
        ("a: 1\nb: 2", "a: 1"),
        ("b: >\n  folded\n  text\na: 1\n", "a: 1\n"),
    ],
)
def test_a_key_goes_with_its_lines_and_nothing_else(text, result):
    assert YamlDocument(text).drop(("b",)).text == result


@pytest.mark.parametrize(
    "value",
    ["yes", "No", "1", "1.5", "null", "~", "a: b", "#x", "", " x", "http://h:1/v1", "ü", '"'],
)
def test_text_that_could_be_something_else_is_quoted(value):
    document = YamlDocument("").put(("k",), value)
    assert read_yaml(document.text.encode()) == {"k": value}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a: &x {b: 1} # c\nc: *x\n", ("a", "b")),
        ("a: [1, # one\n  2]\n", ("a",)),
        ("- 1\n", ("a",)),
        ("a: text\n", ("a", "b")),
    ],
)
def test_what_cannot_be_changed_alone_is_refused_or_replaced_whole(text, path):
    document = YamlDocument(text)
    try:
        changed = document.put(path, "new")
    except NotEditable:
        return
    assert get(changed.value, path) == "new"
    assert "# one" not in changed.text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\n b: 2\n", 2),
        ("a: [\n", 2),
        ("a:\n\t- b\n", 2),
        ("a: 1\n---\nb: 1\n", 2),
        ("a: *b\n", 1),
    ],
)
def test_a_fault_has_its_line(text, line):
    with pytest.raises(SyntaxFault) as caught:
        YamlDocument(text)
    assert caught.value.line == line


def test_values_that_expand_without_end_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(SyntaxFault):
        YamlDocument("\n".join(lines))


def test_tags_and_merges_of_others_are_not_in_the_way():
    text = "a: !env HOME\nb: &b\n  x: 1\nc:\n  <<: *b\n  y: 2\n"
    document = YamlDocument(text).put(("d",), "v")
    assert document.text == text + "d: v\n"
