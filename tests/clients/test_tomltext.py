import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clients.change import Entry, NotEditable, SyntaxFault, placed
from app.clients.tomltext import TomlDocument

TABLE = {"name": "D", "base_url": "http://h/v1", "on": True, "n": 3}
NAMES = st.sampled_from(["a", "b", "servers", "our name"])


@st.composite
def texts(draw):
    lines = [
        f"{name} = {draw(st.integers(0, 9))} # {name}"
        for name in draw(st.sets(NAMES.filter(lambda n: " " not in n)))
    ]
    for i, name in enumerate(draw(st.lists(NAMES, max_size=4))):
        lines += draw(st.sampled_from([[], [""], ["# about it"]]))
        lines += [f'[t{i}."{name}"]', "x = 1", 'y = """\n[no]\n"""']
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return "\n".join(lines).replace("\n", newline) + draw(st.sampled_from(["", newline]))


@given(texts(), st.sampled_from([("model",), ("a",), ("t0", "a"), ("providers", "d")]))
def test_a_value_that_is_put_is_all_that_changes_for_a_reader(text, path):
    before = tomllib.loads(text)
    for value in ("v", TABLE):
        try:
            wanted = placed(before, path, value)
            document = TomlDocument(text).put(path, value)
        except NotEditable:
            continue
        assert tomllib.loads(document.text) == wanted
        assert document.put(path, value).value == wanted
        kept = [line for line in text.splitlines() if line.startswith("#")]
        assert [line for line in kept if line not in document.text.splitlines()] == []


@pytest.mark.parametrize("header", ["t.d", 't."d"', "t.'d'", "t . d", ' t."d" '])
def test_comments_above_the_next_table_stay_when_a_table_is_replaced_or_goes(header):
    text = f"[{header}]\nx = 1\n# about the next\n[u]\ny = 2\n"
    put = TomlDocument(text).put(("t", "d"), TABLE)
    assert put.value == {"t": {"d": TABLE}, "u": {"y": 2}}
    assert "# about the next\n[u]\n" in put.text
    assert TomlDocument(text).drop(("t", "d")).text == "# about the next\n[u]\ny = 2\n"


@pytest.mark.parametrize("text", ["", "a = 1\n", "a = 1", "a = 1\r\n\r\n[t]\r\nx = 1\r\n", "# c\n"])
def test_a_table_comes_at_the_end_and_goes_without_a_trace(text):
    document = TomlDocument(text).put(("providers", "d"), TABLE)
    assert tomllib.loads(document.text)["providers"]["d"] == TABLE
    assert document.text.startswith(text.rstrip("\r\n"))
    assert document.drop(("providers", "d")).text == text


def test_a_value_keeps_the_comment_beside_it():
    document = TomlDocument('model = "a"   # why\n').put(("model",), "b")
    assert document.text == 'model = "b"   # why\n'


def test_a_key_of_the_top_comes_before_the_tables():
    document = TomlDocument("[t]\nx = 1\n").put(("model",), "m")
    assert tomllib.loads(document.text) == {"model": "m", "t": {"x": 1}}


def test_a_table_in_braces_stays_in_braces():
    document = TomlDocument("p = { a = { x = 1 } }\n").put(("p", "d"), {"y": 2})
    assert tomllib.loads(document.text) == {"p": {"a": {"x": 1}, "d": {"y": 2}}}


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb = [\n", 2), ("a = 1\na = 2\n", 2), ("x\n", 1)]
)
def test_a_fault_has_its_line(text, line):
    with pytest.raises(SyntaxFault) as caught:
        TomlDocument(text)
    assert caught.value.line == line


def test_what_has_no_keys_is_not_replaced():
    with pytest.raises(NotEditable):
        TomlDocument("p = 1\n").put(("p", "d"), TABLE)
    with pytest.raises(NotEditable):
        TomlDocument("").put(("p", Entry("a", "b")), TABLE)
