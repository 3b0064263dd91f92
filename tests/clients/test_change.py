import pytest

from app.clients.change import (
    ABSENT,
    Entry,
    NotEditable,
    SyntaxFault,
    dropped,
    get,
    nested,
    placed,
    render_place,
    same,
)

TREE = {"a": {"b": 1}, "models": [{"name": "x", "n": 1}, {"name": "y"}], "null": None}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("a", "b"), 1),
        (("models", Entry("name", "x"), "n"), 1),
        (("models", Entry("name", "z")), ABSENT),
        (("a", "b", "c"), ABSENT),
        (("null",), None),
        (("missing",), ABSENT),
    ],
)
def test_places_are_found_by_keys_and_entries(path, value):
    assert get(TREE, path) == value


def test_placing_leaves_the_tree_as_it_was_and_makes_what_is_missing():
    new = placed(TREE, ("models", Entry("name", "z")), {"name": "z"})
    assert [item["name"] for item in new["models"]] == ["x", "y", "z"]
    assert len(TREE["models"]) == 2
    assert placed(None, ("a", "b"), 1) == {"a": {"b": 1}}
    assert placed(TREE, ("null", "x"), 1)["null"] == {"x": 1}


@pytest.mark.parametrize("path", [("models", "x"), ("a", Entry("name", "x")), ("a", "b", "c")])
def test_what_is_in_the_way_is_not_replaced(path):
    with pytest.raises(NotEditable):
        placed(TREE, path, 1)


def test_dropping_is_the_way_back():
    path = ("models", Entry("name", "z"))
    assert dropped(placed(TREE, path, {"name": "z"}), path) == TREE
    assert dropped(TREE, ("a", "b")) == {**TREE, "a": {}}
    assert dropped(TREE, ("models", Entry("name", "x"), "n"))["models"][0] == {"name": "x"}
    assert dropped(TREE, ("nothing", "here")) == TREE


def test_nesting_puts_the_name_into_an_entry():
    assert nested(("models", Entry("name", "x")), {"n": 1}) == {"models": [{"name": "x", "n": 1}]}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": None}, {}, True),
        ({"a": {}}, {"a": None}, True),
        ([1, 2], [2, 1], False),
        (1, True, False),
        (1, 1.0, False),
        (float("nan"), float("nan"), True),
        ({"a": 0}, {}, False),
        ("", None, False),
    ],
)
def test_trees_are_compared_by_what_they_say(one, other, equal):
    assert same(one, other) is equal
    assert same(other, one) is equal


def test_places_and_faults_are_named_as_people_read_them():
    assert render_place(("models", Entry("name", "x"), "apiBase")) == "models[name=x].apiBase"
    fault = SyntaxFault.at("ab\ncd", 4, "m")
    assert (fault.line, fault.column, fault.message) == (2, 2, "m")
