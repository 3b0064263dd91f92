import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clients.change import Entry, NotEditable, SyntaxFault, placed
from app.clients.jsonc import JsonDocument, refuse, render_inline
from tests.clients.corpus import read_jsonc

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | KEYS
TREES = st.recursive(
    SCALARS, lambda t: st.lists(t, max_size=3) | st.dictionaries(KEYS, t, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(KEYS, TREES, max_size=4)
PATHS = st.lists(st.sampled_from(["env", "a", "b"]), min_size=1, max_size=3).map(tuple)


@st.composite
def texts(draw):
    """JSON as people write it: any indentation, with comments, trailing commas, line ends."""
    unit = draw(st.sampled_from(["", " ", "  ", "\t"]))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    comma = draw(st.booleans())
    notes = draw(st.sampled_from(["", " // note", " /* note */"]))

    def render(value, indent):
        if not isinstance(value, dict | list) or not value or not unit:
            return json.dumps(value, ensure_ascii=draw(st.booleans()))
        inner = indent + unit
        pairs = (
            [f"{json.dumps(k)}: {render(v, inner)}" for k, v in value.items()]
            if isinstance(value, dict)
            else [render(v, inner) for v in value]
        )
        lines = [inner + pair + "," + notes for pair in pairs]
        if not comma:
            lines[-1] = inner + pairs[-1] + notes
        brackets = "{}" if isinstance(value, dict) else "[]"
        return newline.join([brackets[0], *lines, indent + brackets[1]])

    value = draw(OBJECTS)
    return render(value, "") + draw(st.sampled_from(["", newline])), value


@given(texts(), PATHS, TREES)
def test_a_value_that_is_put_is_all_that_changes_for_a_reader(case, path, value):
    text, tree = case
    try:
        wanted = placed(tree, path, value)
    except NotEditable:
        with pytest.raises(NotEditable):
            JsonDocument(text).put(path, value)
        return
    document = JsonDocument(text).put(path, value)
    assert document.value == wanted
    assert read_jsonc(document.text.encode()) == wanted


@given(texts(), st.sampled_from(["env", "zz"]), TREES)
def test_a_new_key_that_is_dropped_again_leaves_every_character(case, key, value):
    text, tree = case
    if key in tree or not tree:
        return
    assert JsonDocument(text).put((key,), value).drop((key,)).text == text


@given(texts(), PATHS, TREES)
def test_putting_twice_is_putting_once(case, path, value):
    try:
        once = JsonDocument(case[0]).put(path, value)
    except NotEditable:
        return
    assert once.put(path, value).text == once.text


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('{\n  "a": 1 // one\n}', '{\n  "a": 1, // one\n  "k": "v"\n}'),
        ('{\n  "a": 1,\n  // last\n}', '{\n  "a": 1,\n  "k": "v",\n  // last\n}'),
        ('{\n\t"a": {\n\t\t"b": 1\n\t}\n}\n', '{\n\t"a": {\n\t\t"b": 1\n\t},\n\t"k": "v"\n}\n'),
        ('{"a": 1}', '{"a": 1, "k": "v"}'),
        ('{"a": 1,}', '{"a": 1, "k": "v",}'),
        ("{}", '{\n  "k": "v"\n}'),
        ("{ // nothing\n}", '{ // nothing\n  "k": "v"\n}'),
        ("// only this", '// only this\n{\n  "k": "v"\n}'),
        ('{\r\n    "a": 1\r\n}', '{\r\n    "a": 1,\r\n    "k": "v"\r\n}'),
        ('{"k": [1, 2], "b": 1}', '{"k": "v", "b": 1}'),
        ('{"k": 1, "k": 2}', '{"k": 1, "k": "v"}'),
    ],
)
def test_a_key_is_written_as_its_neighbours_are(text, result):
    assert JsonDocument(text).put(("k",), "v").text == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('{\n  "a": 1,\n  "k": 2\n}', '{\n  "a": 1\n}'),
        ('{\n  "k": 2,\n  "a": 1\n}', '{\n  "a": 1\n}'),
        ('{\n  "a": 1, // one\n  "k": 2 // two\n}', '{\n  "a": 1 // one\n  // two\n}'),
        ('{"a": 1, "k": 2}', '{"a": 1}'),
        ('{"k": 2, "a": 1}', '{"a": 1}'),
        ('{"k": 2}', "{}"),
        ('{\n  "k": 2\n}', "{}"),
        ('{"a": 1}', '{"a": 1}'),
    ],
)
def test_a_key_goes_with_its_line_and_its_comma(text, result):
    assert JsonDocument(text).drop(("k",)).text == result


def test_items_of_lists_are_found_by_a_field():
    text = '{"models": [\n  {"id": "a"},\n  {"id": "b", "n": 1}\n]}\n'
    path = ("models", Entry("id", "b"), "n")
    assert JsonDocument(text).put(path, 2).value["models"][1] == {"id": "b", "n": 2}
    more = JsonDocument(text).put(("models", Entry("id", "c")), {"id": "c"})
    assert [item["id"] for item in more.value["models"]] == ["a", "b", "c"]
    assert more.drop(("models", Entry("id", "c"))).text == text


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ('{\n  "a": 1\n  "b": 2\n}', 3, 3, "comma"),
        ('{"a" 1}', 1, 6, "colon"),
        ("{'a': 1}", 1, 2, "double quotation marks"),
        ('{"a": tru}', 1, 7, "expected a value, not tru"),
        ('{"a": "x\n"}', 1, 7, "not closed"),
        ('{"a": [1, 2}', 1, 12, "comma or ]"),
        ('{\n"a": {\n', 3, 1, "the { of line 2 is not closed"),
        ("{} x", 1, 4, "after the end"),
        ("/* never", 1, 1, "comment is not closed"),
        ('{"a": "\\x"}', 1, 7, "escape"),
        ("[" * 300, 1, 202, "too deeply"),
        ('{"a": 01}', 1, 7, "expected a value"),
    ],
)
def test_a_fault_has_its_place(text, line, column, words):
    with pytest.raises(SyntaxFault) as caught:
        JsonDocument(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert words in caught.value.message


@given(TREES)
def test_rendered_values_are_json(value):
    assert json.loads(render_inline(value)) == value


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ('{"a": "// no", "b": "x, ]", "c": [1, 2]}', None),
        ("{\n// yes\n}", ("comments", 2)),
        ('{"a": 1 /* yes */}', ("comments", 1)),
        ('{"a": [1,\n2,\n]}', ("commas", 2)),
        ('{"a": 1,\n}', ("commas", 1)),
        ('{"a": 1, // x\n}', ("commas", 1)),
    ],
)
def test_additions_that_a_reader_does_not_take_are_found_with_their_place(text, refused):
    for kind in ("comments", "commas"):
        if refused is not None and refused[0] == kind:
            with pytest.raises(SyntaxFault) as caught:
                refuse(text, {kind})
            assert caught.value.line == refused[1]
        elif refused is None:
            refuse(text, {kind})
    refuse(text, set())
