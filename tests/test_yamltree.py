import pytest

from app.yamltree import MAX_BYTES, parse_yaml


def messages(text):
    return [fault.message for fault in parse_yaml(text).faults]


def test_values_are_plain_and_every_key_has_its_line():
    tree = parse_yaml("a: 1\nb:\n  - x: true\n  - 2.5\nc: null\nd: '1'\n")
    assert tree.value == {"a": 1, "b": [{"x": True}, 2.5], "c": None, "d": "1"}
    assert tree.faults == []
    assert tree.line(("b", 0, "x")) == 3
    assert tree.line(("b", 1)) == 4
    assert tree.line(("c",)) == 5


def test_line_of_a_missing_key_is_that_of_its_nearest_parent():
    assert parse_yaml("a:\n  b: 1\n").line(("a", "zz", 3)) == 1
    assert parse_yaml("a: 1").line(("zz",)) == 0


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_empty_document_has_no_value_and_no_fault(text):
    tree = parse_yaml(text)
    assert (tree.value, tree.faults) == (None, [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("2020-01-01", "2020-01-01"),
        ("0x10", 16),
        ("007", "007"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("-3", -3),
        ("1e3", 1000.0),
        ("True", True),
        ("~", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2_without_surprises(text, value):
    found = parse_yaml(f"a: {text}").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_key_that_is_there_twice_is_a_fault_with_both_lines():
    (fault,) = parse_yaml("a:\n  b: 1\n  c: 2\n  b: 3\n").faults
    assert (fault.line, fault.path) == (4, ("a", "b"))
    assert "first is in line 2" in fault.message


def test_several_faults_are_found_together():
    text = "a: 1\na: 2\n? [x]\n: 1\nb: !!python/object:os.system x\n<<: {}\n"
    found = messages(text)
    assert len(found) == 4
    assert "twice" in found[0]
    assert "plain text" in found[1]
    assert "tags" in found[2]
    assert "merge" in found[3]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\n\tb: 2\n", 2, "tab"),
        ("a: [1\n", 2, "not valid YAML"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: *none\n", 1, "undefined alias"),
        ("a: 1\n b: 2\n", 2, "not valid YAML"),
        ("a: \x00\n", 0, "not YAML text"),
    ],
)
def test_text_that_cannot_be_read_says_why_and_where(text, line, words):
    (fault,) = parse_yaml(text).faults
    assert words in fault.message
    assert fault.line == line


def test_aliases_are_expanded_while_small():
    tree = parse_yaml("a: &x {k: [1]}\nb: *x\n")
    assert tree.value == {"a": {"k": [1]}, "b": {"k": [1]}}
    assert parse_yaml("a: &x 1\nb: &x 2\nc: *x\n").value["c"] == 2


def test_billion_laughs_is_a_fault():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    tree = parse_yaml("\n".join(lines))
    assert tree.value is None
    assert "aliases expand" in tree.faults[0].message


def test_alias_to_itself_is_a_fault():
    assert messages("a: &a [*a]") == ["the values are nested too deeply"]


def test_deep_nesting_is_a_fault():
    for opening in ("{a: ", "- "):  # by the reader, and by us
        assert messages(opening * 2_000) == ["the values are nested too deeply"]


def test_long_text_is_a_fault():
    assert "longer" in messages("#" * (MAX_BYTES + 1))[0]
