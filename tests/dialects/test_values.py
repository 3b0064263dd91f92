"""Checked access to wire values: types, paths, absence, ids."""

import pytest

from app.dialects.values import (
    first_object,
    kind_of,
    need_flag,
    need_list,
    need_object,
    need_text,
    opt_count,
    opt_flag,
    opt_number,
    opt_object,
    opt_text,
    rest_of,
    unique_id,
)
from app.errors import RequestError


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1.5, "a number"),
        ("", "a string"),
        ([], "a list"),
        ({}, "an object"),
    ],
)
def test_values_are_named_in_words(value, word):
    assert kind_of(value) == word


@pytest.mark.parametrize(
    ("need", "value", "text"),
    [
        (need_object, [], "a.b must be an object, not a list."),
        (need_list, {}, "a.b must be a list, not an object."),
        (need_text, 1, "a.b must be a string, not a number."),
        (need_text, None, "a.b must be a string, not null."),
        (need_flag, "x", "a.b must be true or false, not a string."),
    ],
)
def test_wrong_types_name_their_path(need, value, text):
    with pytest.raises(RequestError) as caught:
        need(value, "a.b")
    assert caught.value.message == text
    assert caught.value.param == "a.b"


@pytest.mark.parametrize(
    ("need", "value"),
    [(need_object, {"a": 1}), (need_list, [1]), (need_text, ""), (need_flag, False)],
)
def test_right_types_pass_as_they_are(need, value):
    assert need(value, "a.b") is value


@pytest.mark.parametrize(
    ("read", "value", "text"),
    [
        (opt_text, 1, "a.k must be a string, not a number."),
        (opt_object, "x", "a.k must be an object, not a string."),
        (opt_count, True, "a.k must be a whole number, not a boolean."),
        (opt_count, 1.0, "a.k must be a whole number, not a number."),
        (opt_count, -1, "a.k must not be negative."),
        (opt_number, False, "a.k must be a number, not a boolean."),
        (opt_flag, 1, "a.k must be a boolean, not a number."),
    ],
)
def test_optional_values_are_checked_and_null_is_absent(read, value, text):
    with pytest.raises(RequestError) as caught:
        read({"k": value}, "k", "a")
    assert caught.value.message == text
    assert caught.value.param == "a.k"
    with pytest.raises(RequestError, match=r"^k must "):
        read({"k": value}, "k")
    assert read({"k": None}, "k", "a") is None
    assert read({}, "k", "a") is None


@pytest.mark.parametrize(
    ("read", "value"),
    [(opt_text, ""), (opt_object, {}), (opt_count, 0), (opt_number, 0.5), (opt_flag, False)],
)
def test_optional_values_that_are_there_are_returned(read, value):
    assert read({"k": value}, "k", "a") == value


def test_fields_without_a_name_stay_in_order():
    assert list(rest_of({"c": 1, "b": 2, "a": 3}, {"b"}).items()) == [("c", 1), ("a", 3)]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'[{"a":1},{"b":2}]', {"a": 1}),
        (b"[]", None),
        (b"[1]", None),
        (b'"x"', None),
        (b"<html>", None),
        (b'"\xff"', None),
        (b"[" * 100_000, None),
    ],
)
def test_the_first_object_of_any_body_is_found(body, value):
    assert first_object(body) == value


def test_ids_become_unique_within_their_limit():
    taken = set()
    made = [unique_id("x" * 64, taken) for _ in range(12)]
    assert made[0] == "x" * 64
    assert len(set(made)) == 12
    assert max(len(name) for name in made) == 64


def test_an_empty_id_stays_empty():
    taken = set()
    assert [unique_id("", taken), unique_id("", taken)] == ["", ""]
