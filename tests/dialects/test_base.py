import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dialects.base import DELETE, decode_object, patch_object, read_head
from app.errors import RequestError

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(st.text(), values, max_size=6)


@given(objects, st.integers(0, 2))
def test_a_body_without_twins_passes_in_any_spacing(body, spacing):
    import json

    raw = json.dumps(
        body,
        indent=2 if spacing == 2 else None,
        separators=(",", ":") if spacing == 0 else None,
        ensure_ascii=False,
    ).encode("utf-8", "surrogatepass")
    assert {k: msgspec.json.decode(v) for k, v in read_head(raw).items()} == body


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"a","model":"b"}',
        b'{"model": "a", "x": {"model": 1}, "m\\u006fdel" : "b"}',
        b'{"a":1,"b":[{"a":2}],\n"a":3}',
    ],
)
def test_a_key_that_occurs_twice_is_refused(raw):
    with pytest.raises(RequestError, match="twice"):
        read_head(raw)


def test_equal_keys_at_different_depths_are_fine():
    raw = b'{\n "a": {"a": 1, "b": "\\"a\\": x"},\n "b": ["a", "a"], "c": "a:"}'
    assert list(read_head(raw)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "raw", [b"", b"nope", b"[1]", b'"x"', b'{"a":NaN}', b'{"a":1', b'{"a":"\xff"}', b"[" * 100_000]
)
def test_what_is_no_json_object_is_a_clear_400(raw):
    for read in (decode_object, read_head):
        with pytest.raises(RequestError) as caught:
            read(raw)
        assert caught.value.status == 400
        assert caught.value.code == "invalid_json"


def test_patches_keep_order_and_bytes_of_the_rest():
    raw = b'{"model":"a","x": [1.0, 2e3],"stream":true}'
    patched = patch_object(raw, {"model": "b", "stream": DELETE, "y": {"k": None}})
    assert patched == b'{"model":"b","x":[1.0, 2e3],"y":{"k":null}}'
