import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dialects.base import read_head
from app.dialects.stream_usage import UsageFilter, ask_for_usage

ASKED = {"stream_options": {"include_usage": True}}
USE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


def head(**fields):
    return read_head(json.dumps({"model": "m", "stream": True, **fields}).encode())


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, ASKED),
        ({"stream_options": None}, ASKED),
        ({"stream_options": {"include_usage": False}}, ASKED),
        (
            {"stream_options": {"include_obfuscation": False}},
            {"stream_options": {"include_obfuscation": False, "include_usage": True}},
        ),
        (ASKED, {}),
        ({"stream_options": "all"}, {}),  # the service's own refusal is the better answer
    ],
)
def test_request_that_does_not_ask_is_made_to(options, wanted):
    assert ask_for_usage("openai_chat", head(**options)) == wanted


@pytest.mark.parametrize("dialect", ["anthropic", "gemini", "openai_responses"])
def test_dialects_that_tell_anyhow_are_left_alone(dialect):
    assert ask_for_usage(dialect, head()) == {}


def chunk(*choices, **more):
    return json.dumps({"id": "c", "choices": list(choices), **more}).encode()


def delta(text, **more):
    return chunk({"index": 0, "delta": {"content": text}}, **more)


KEPT = (
    delta("a", usage=None),
    delta('it says "usage": {"a": 1}, "choices": []', usage=None),
    chunk(prompt_filter_results=[{"prompt_index": 0}]),
    b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"total_tokens":9}}',
    b'{"usage" : {"total_tokens": 9}}',
    b'{"choices":[],"usage":{"total_tokens": 9',  # no JSON: nothing is known of it
    b'{"choices":"none","usage":{"total_tokens": 9}}',
    b"\xff\xfe",
    b"[DONE]",
)
DROPPED = (
    chunk(usage=USE),
    b'{"choices": [ ],"usage" :\t{"total_tokens": 9},"x": 1}',
)


def events(datas, end):
    return [b"data: " + data + end for data in datas]


def passed(pieces):
    use = UsageFilter()
    return b"".join([*(use.feed(piece) for piece in pieces), use.close()])


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"])
def test_only_the_chunk_that_tells_the_use_goes_wherever_the_bytes_are_cut(end):
    wanted = b"".join(events(KEPT, end))
    stream = b"".join(events((*KEPT[:2], DROPPED[0], *KEPT[2:5], DROPPED[1], *KEPT[5:]), end))
    assert passed([stream]) == wanted
    assert passed(stream[at : at + 1] for at in range(len(stream))) == wanted
    for at in range(len(stream)):
        assert passed([stream[:at], stream[at:]]) == wanted


def test_comments_and_names_of_events_are_kept():
    stream = b": here\n\nevent: x\nid: 4\ndata: " + delta("a") + b"\n\n"
    gone = b": about use\nevent: use\ndata: " + DROPPED[0] + b"\n\n"
    assert passed([stream + gone + stream]) == stream + stream


def test_whole_events_are_not_held():
    use = UsageFilter()
    one, two = events(KEPT[:2], b"\n\n")
    assert use.feed(one + two[:9]) == one
    assert use.feed(two[9:]) == two
    assert use.close() == b""


def test_last_event_needs_no_blank_line():
    assert passed([b"data: " + DROPPED[0]]) == b""
    assert passed([b"data: " + delta("a") + b"\n"]) == b"data: " + delta("a") + b"\n"


def test_long_event_is_not_held_to_its_end():
    use = UsageFilter()
    picture = b'data: {"choices":[{"delta":{"content":"' + b"x" * 100_000
    assert use.feed(picture) == picture
    rest = b'"}}],"usage":{"total_tokens":1}}\n\n'
    assert use.feed(rest) == rest
    assert use.feed(b"data: " + DROPPED[0] + b"\n\n") == b""


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_bytes_that_are_no_chunk_of_use_are_never_changed(pieces):
    assert passed(pieces) == b"".join(pieces)
