"""What travels in Anthropic's native fields, and a request on its way."""

import pytest

from app.canonical.parts import Native
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import ChatRequest
from app.dialects.anthropic_values import (
    LIST,
    NAME,
    Outgoing,
    has_mark,
    own_fields,
    parse_arguments,
)


def test_only_own_fields_come_back_and_marks_never():
    native = Native(NAME, {"a": 1, LIST: True})
    assert own_fields(native) == {"a": 1}
    assert has_mark(native, LIST)
    foreign = Native("gemini", {"a": 1, LIST: True})
    assert own_fields(foreign) == {}
    assert not has_mark(foreign, LIST)
    assert own_fields(None) == {}


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
