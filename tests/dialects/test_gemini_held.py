import pytest

from app.dialects.gemini_held import HeldCall
from app.errors import RequestError


def put_together(*pieces, **call):
    held = HeldCall({"name": "f", **call}, {})
    for piece in pieces:
        held.add([piece], "partialArgs")
    return held.part()["functionCall"]["args"]


def test_a_string_grows_while_it_is_said_to_continue():
    assert put_together(
        {"jsonPath": "$.a", "stringValue": "x", "willContinue": True},
        {"jsonPath": "$.b", "numberValue": 1},
        {"jsonPath": "$.a", "stringValue": "y"},
    ) == {"a": "xy", "b": 1}


def test_a_finished_string_is_replaced():
    first, second = ({"jsonPath": "$.a", "stringValue": text} for text in "xy")
    assert put_together(first, second) == {"a": "y"}


def test_paths_make_the_objects_and_lists_they_lead_through():
    assert put_together(
        {"jsonPath": "$.a.b[0].c", "boolValue": False},
        {"jsonPath": "$['a'].b[1]", "nullValue": "NULL_VALUE"},
        {"jsonPath": '$["a b"]', "stringValue": ""},
    ) == {"a": {"b": [{"c": False}, None]}, "a b": ""}


def test_pieces_join_the_arguments_that_came_whole():
    assert put_together({"jsonPath": "$.b", "numberValue": 2}, args={"a": 1}) == {"a": 1, "b": 2}


def test_what_stood_beside_the_call_stays_beside_it():
    held = HeldCall({"name": "f", "id": "x"}, {"thoughtSignature": "QUJD"})
    assert held.part() == {
        "functionCall": {"name": "f", "id": "x", "args": {}},
        "thoughtSignature": "QUJD",
    }


@pytest.mark.parametrize(
    "paths", [["a"], ["$"], ["$.a[1]"], ["$.a", "$.a.b"], ["$.a[0]", "$.a.b"], ["$.a", "$.a[0]"]]
)
def test_a_path_that_does_not_fit_is_refused(paths):
    with pytest.raises(RequestError, match="jsonPath"):
        put_together(*({"jsonPath": path, "stringValue": "x"} for path in paths))


def test_pieces_must_be_objects():
    with pytest.raises(RequestError, match="must be an object"):
        put_together("x")
