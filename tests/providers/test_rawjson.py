import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.providers.rawjson import join, read_array, read_fields, read_text, read_value, write

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def raw(text):
    return msgspec.Raw(text.encode() if isinstance(text, str) else text)


def test_what_is_not_changed_keeps_its_bytes():
    fields = read_fields(
        raw('{"a" : 1.0e2, "b":[ 1,{"c":"\\u00e9"} ] , "d": 12345678901234567890123}')
    )
    items = read_array(fields["b"])
    items[0] = write("x")
    fields["b"] = join(items)
    assert bytes(join(fields)) == (
        b'{"a":1.0e2,"b":["x",{"c":"\\u00e9"}],"d":12345678901234567890123}'
    )


@pytest.mark.parametrize("reader", [read_fields, read_array, read_text, read_value])
@pytest.mark.parametrize("value", [None, raw(""), raw("{"), raw(b'"\xff"')])
def test_what_is_missing_or_no_json_is_none(reader, value):
    assert reader(value) is None


@pytest.mark.parametrize(
    ("reader", "text"),
    [(read_fields, "[]"), (read_array, "{}"), (read_text, "5"), (read_text, "null")],
)
def test_a_value_of_another_type_is_none(reader, text):
    assert reader(raw(text)) is None


def test_deep_nesting_is_none():
    assert read_value(raw("[" * 100_000 + "]" * 100_000)) is None


@given(st.dictionaries(st.text(max_size=4), VALUES), st.lists(VALUES, max_size=4))
def test_taking_apart_and_joining_changes_no_value(fields, items):
    assert json.loads(bytes(join(read_fields(write(fields))))) == fields
    assert json.loads(bytes(join(read_array(write(items))))) == items
    assert read_value(write(fields)) == fields
