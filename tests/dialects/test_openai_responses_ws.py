"""The WebSocket form of Responses."""

from __future__ import annotations

import json

import pytest
from openai.types.responses import ResponsesServerEvent
from pydantic import TypeAdapter

from app.canonical.events import Finished, PartEnded, PartStarted, Ping, Started, TextDelta
from app.canonical.failure import Failure
from app.canonical.parts import Text
from app.dialects.base import ReplyContext
from app.dialects.openai_responses import OPENAI_RESPONSES
from app.dialects.openai_responses_ws import (
    decode_ws_message,
    encode_ws_failure,
    wants_answer,
    ws_frames,
)
from app.errors import RequestError

SERVER_EVENT = TypeAdapter(ResponsesServerEvent)


def test_create_message_is_the_post_body():
    text = (
        '{"type":"response.create","model":"m","input":[],"stream_id":"s","generate":false,'
        '"previous_response_id":"resp_1"}'
    )
    assert json.loads(decode_ws_message(text)) == {
        "model": "m",
        "input": [],
        "previous_response_id": "resp_1",
        "stream": True,
    }
    assert not wants_answer(text)
    assert wants_answer('{"type":"response.create"}')


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"type":"response.steer"}', '{"type":3}', '{"a":"\ud800"}', b"\xff"]
)
def test_other_messages_are_refused(text):
    with pytest.raises(RequestError):
        decode_ws_message(text)


def test_events_travel_one_per_message():
    reply = ReplyContext("m", None, 1.0, lambda prefix: prefix + "x" * 24)
    encoder = OPENAI_RESPONSES.stream_encoder(reply)
    sse = encoder.encode(
        [
            Started("", ""),
            Ping(),
            PartStarted(0, Text("")),
            TextDelta(0, "a\nb\u2028"),
            PartEnded(0),
            Finished("end"),
        ]
    )
    texts = ws_frames(sse + encoder.ping())
    events = [json.loads(text) for text in texts]
    for event in events:
        SERVER_EVENT.validate_python(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    decoder = OPENAI_RESPONSES.stream_decoder("openai")
    told = [decoder.feed(b"data: " + text.encode() + b"\n\n") for text in texts]
    assert isinstance(told[-1][-1], Finished)


def test_failure_before_the_answer():
    text = encode_ws_failure(Failure(429, "Slow.", "rate_limit", retry_after_s=2), "req_1")
    message = json.loads(text)
    SERVER_EVENT.validate_python(message)
    assert message["status"] == 429
    assert message["headers"] == {
        "x-request-id": "req_1",
        "retry-after": "2",
        "retry-after-ms": "2000",
    }
    decoder = OPENAI_RESPONSES.stream_decoder("openai")
    (failed,) = decoder.feed(b"data: " + text.encode() + b"\n\n")
    assert failed.failure.retry_after_s == 2
