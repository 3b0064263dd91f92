"""Usage and stop reason read alone are those that the full decoder finds, in every case."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dialects import DIALECTS
from app.dialects.base import Ending
from app.dialects.translate import decode_reply, read_ending
from app.errors import UpstreamError
from tests.dialects.corpus import ISSUERS, all_cases, json_of, pairs, raw_of, reply_for, response_of

CASES = all_cases("response.json")


def full(dialect, raw):
    """What the full decoder finds; None when it cannot read the answer."""
    try:
        answer = decode_reply(DIALECTS[dialect], raw, ISSUERS[dialect])
    except UpstreamError:
        return None
    return Ending(answer.usage, answer.stop)


def alone(dialect, raw):
    try:
        return read_ending(DIALECTS[dialect], raw, ISSUERS[dialect])
    except UpstreamError:
        return None


@pytest.mark.parametrize(("dialect", "name"), CASES)
def test_the_ending_of_every_case_is_that_of_the_full_decoder(dialect, name):
    raw = raw_of(dialect, name, "response.json")
    assert alone(dialect, raw) == full(dialect, raw)


@pytest.mark.parametrize(("source", "name", "target"), pairs("response.json"))
def test_the_ending_of_every_translated_case_is_that_of_the_full_decoder(source, name, target):
    encoded = DIALECTS[target].encode_response(response_of(source, name), reply_for())
    raw = msgspec.json.encode(encoded.body)
    assert alone(target, raw) == full(target, raw)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_most_cases_need_no_full_decoder(dialect):
    raws = [raw_of(dialect, name, "response.json") for own, name in CASES if own == dialect]
    light = [DIALECTS[dialect].read_ending(raw) for raw in raws]
    assert sum(one is not None for one in light) * 2 > len(raws)


JUNK = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        2.5,
        "",
        "x",
        "error",
        "refusal",
        "stop",
        [],
        [None],
        {},
        {"a": 1},
    ]
)


def places(value, path=()):
    """The path of every value within a value."""
    yield path
    items = ()
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value, path, new, *, drop):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and drop:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(copy[path[0]], path[1:], new, drop=drop)
    return copy


@given(st.data())
def test_where_the_full_decoder_reads_a_damaged_answer_the_ending_is_the_same(data):
    dialect, name = data.draw(st.sampled_from(CASES))
    body = json_of(dialect, name, "response.json")
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(body))))
        body = replaced(body, path, data.draw(JUNK), drop=data.draw(st.booleans()))
        if not isinstance(body, dict):
            break
    raw = msgspec.json.encode(body)
    found = full(dialect, raw)
    if found is not None:
        assert alone(dialect, raw) == found


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("raw", [b"", b"[]", b'"x"', b"{", b"{}", b'{"error":{}}', b"\xff"])
def test_what_is_no_answer_has_no_ending(dialect, raw):
    assert DIALECTS[dialect].read_ending(raw) is None
    with pytest.raises(UpstreamError):
        read_ending(DIALECTS[dialect], raw, ISSUERS[dialect])
