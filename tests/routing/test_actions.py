import msgspec
import pytest

from app.dialects.base import dump, patch_object, read_head
from app.errors import RequestError
from app.routing.actions import NO_EDITS, Edits, body_edits


def edited(body, **edits):
    head = read_head(dump(body))
    return msgspec.json.decode(patch_object(head, body_edits(head, Edits(**edits))))


BODY = {"model": "m", "temperature": None, "metadata": {"user": "u", "tags": [1]}, "n": 1}


@pytest.mark.parametrize(
    ("edits", "changes"),
    [
        ({"absent": {"top_p": 0.5}}, {"top_p": 0.5}),
        ({"absent": {"n": 2}}, {}),
        ({"absent": {"temperature": 1}}, {}),
        ({"override": {"n": 2}}, {"n": 2}),
        ({"override": {"n": 1}}, {}),
        ({"override": {"new": {"a": [1]}}}, {"new": {"a": [1]}}),
        ({"absent": {"metadata.user": "x"}}, {}),
        ({"absent": {"metadata.team": "x"}}, {"metadata": {**BODY["metadata"], "team": "x"}}),
        ({"override": {"metadata.user": "x"}}, {"metadata": {"user": "x", "tags": [1]}}),
        ({"override": {"n.a.b": 3}}, {"n": {"a": {"b": 3}}}),
        ({"absent": {"n.a.b": 3}}, {}),
        ({"absent": {"x.y.z": 3}}, {"x": {"y": {"z": 3}}}),
        (
            {"override": {"metadata.a.b": 1, "metadata.a.c": 2}},
            {"metadata": {**BODY["metadata"], "a": {"b": 1, "c": 2}}},
        ),
        ({"remove": ("metadata.tags",)}, {"metadata": {"user": "u"}}),
        ({"remove": ("metadata.x.y", "nothing", "n.a")}, {}),
    ],
)
def test_fields_are_changed_as_a_rule_says(edits, changes):
    assert edited(BODY, **edits) == BODY | changes


def test_fields_are_removed():
    assert edited(BODY, remove=("n", "temperature")) == {
        k: v for k, v in BODY.items() if k not in ("n", "temperature")
    }


def test_what_was_just_written_may_be_removed_again():
    assert edited({"a": 1}, absent={"b.c": 1}, remove=("b",)) == {"a": 1}


def test_nothing_to_change_is_no_change_at_all():
    head = read_head(dump(BODY))
    assert body_edits(head, NO_EDITS) == {}
    assert not NO_EDITS
    assert body_edits(head, Edits(absent={"n": 5}, remove=("zz",))) == {}


def test_untouched_fields_keep_their_bytes():
    raw = b'{"a": 1.50,  "b": {"x": "\\u0041"}, "c": 2}'
    head = read_head(raw)
    out = patch_object(head, body_edits(head, Edits(override={"c": 3})))
    assert b'"a":1.50' in out
    assert b'"\\u0041"' in out


def test_a_field_that_cannot_be_read_is_the_callers_fault():
    head = {"a": msgspec.Raw(b'{"x": "\\ud800"}')}
    with pytest.raises(RequestError) as caught:
        body_edits(head, Edits(override={"a.y": 1}))
    assert caught.value.param == "a"
