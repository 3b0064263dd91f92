"""Anthropic's wire values: typed access, marks, ids."""

import pytest

from app.canonical.parts import Native
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import ChatRequest
from app.dialects.anthropic_values import (
    LIST,
    NAME,
    Outgoing,
    has_mark,
    kind_of,
    need_list,
    need_object,
    need_text,
    opt_count,
    opt_flag,
    opt_number,
    own_fields,
    parse_arguments,
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
    ("need", "value"), [(need_object, []), (need_list, {}), (need_text, 1), (need_text, None)]
)
def test_wrong_types_name_their_path(need, value):
    with pytest.raises(RequestError, match=r"^a\.b must be") as caught:
        need(value, "a.b")
    assert caught.value.param == "a.b"


@pytest.mark.parametrize(
    ("read", "value"),
    [(opt_count, True), (opt_count, -1), (opt_count, 1.0), (opt_number, False), (opt_flag, 1)],
)
def test_optional_values_are_checked_and_null_is_absent(read, value):
    with pytest.raises(RequestError):
        read({"k": value}, "k", "k")
    assert read({"k": None}, "k", "k") is None
    assert read({}, "k", "k") is None


def test_only_own_fields_come_back_and_marks_never():
    native = Native(NAME, {"a": 1, LIST: True})
    assert own_fields(native) == {"a": 1}
    assert has_mark(native, LIST)
    foreign = Native("gemini", {"a": 1, LIST: True})
    assert own_fields(foreign) == {}
    assert not has_mark(foreign, LIST)
    assert own_fields(None) == {}


def test_ids_become_unique_within_their_limit():
    taken = set()
    made = [unique_id("x" * 64, taken) for _ in range(12)]
    assert made[0] == "x" * 64
    assert len(set(made)) == 12
    assert max(len(name) for name in made) == 64


@pytest.mark.parametrize(
    ("text", "value"),
    [("", {}), ("  ", {}), ('{"a":1}', {"a": 1}), ("[1]", None), ("{", None), ("7", None)],
)
def test_arguments_are_objects_or_nothing(text, value):
    assert parse_arguments(text) == value


def test_a_request_knows_its_own_dialect():
    target = Target(ModelProfile("m"), "anthropic")
    own = Outgoing(ChatRequest("m", (), native=Native(NAME, {})), target)
    assert own.own
    assert own.profile.name == "m"
    assert not Outgoing(ChatRequest("m", ()), target).own
