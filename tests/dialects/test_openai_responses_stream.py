"""Responses streams of a service: odd, failing and damaged wires."""

import pytest

from app.canonical.events import (
    Failed,
    Finished,
    Started,
)
from app.canonical.fold import fold
from tests.dialects.responses import (
    CREATED,
    DONE,
    check_grammar,
    decode_stream,
    sse,
)


def test_service_notes_and_progress_tell_nothing():
    notes = [
        {"type": "codex.rate_limits", "plan_type": "plus"},
        {"type": "codex.response.metadata"},
        {"type": "keepalive", "sequence_number": 3},
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws"},
        {"type": "response.mcp_call_arguments.delta", "delta": {"a": 1}, "output_index": 0},
        {"type": "response.some_future.event", "x": [1]},
    ]
    events = decode_stream(sse(CREATED, *notes, DONE))
    assert [type(event) for event in events] == [Started, Finished]


def test_words_without_announcements_are_told():
    delta = {"type": "response.output_text.delta", "delta": "Hi", "item_id": "m1"}
    found = fold(decode_stream(sse(delta, delta, DONE)))
    assert [part.text for part in found.parts] == ["HiHi"]


def test_servers_that_count_every_item_as_the_first_lose_nothing():
    stream = []
    for name in ("a", "b"):
        item = {"type": "message", "id": name, "content": [{"type": "output_text", "text": name}]}
        stream += [
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**item, "content": []},
            },
            {
                "type": "response.output_text.delta",
                "output_index": 0,
                "item_id": name,
                "delta": name,
            },
            {"type": "response.output_item.done", "output_index": 0, "item": item},
        ]
    found = fold(decode_stream(sse(CREATED, *stream, DONE)))
    assert [part.text for part in found.parts] == ["a", "b"]


def test_call_without_arguments_has_an_empty_object():
    item = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": ""}
    stream = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    (call,) = fold(decode_stream(sse(CREATED, *stream, DONE))).parts
    assert call.arguments == "{}"


@pytest.mark.parametrize(
    "data",
    [
        b"data: nonsense\n\n",
        b"data: 3\n\n",
        b'data: {"type":"response.output_item.done","output_index":0,"item":{"type":"message",'
        b'"content":[{"type":"output_text","text":"x"}]}}\n\ndata: \xff\n\n',
        sse(
            {
                "type": "response.output_item.done",
                "output_index": 0,
                "item": {"type": "function_call", "name": 3, "arguments": []},
            }
        ),
    ],
)
def test_malformed_stream_fails_as_a_value(data):
    events = decode_stream(data)
    check_grammar(events)
    assert isinstance(events[-1], Failed)
    assert events[-1].failure.code == "upstream_protocol"
