"""Answers for Responses clients, whole and streamed."""

from dataclasses import replace

import pytest
from openai.types.responses import Response

from app.canonical.events import (
    ArgumentsDelta,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    SignatureDelta,
    Started,
    TextDelta,
    UsageSeen,
)
from app.canonical.failure import Failure
from app.canonical.fold import unfold
from app.canonical.parts import (
    Opaque,
    Reasoning,
    Signature,
    Text,
    ToolCall,
)
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage
from app.dialects.carrier import open_seal
from tests.dialects.responses import (
    ANSWER,
    DIALECT,
    check_stream,
    decode_request,
    decode_stream,
    encode_stream,
    frames_of,
    load,
    reply_to,
    told,
)


def test_foreign_answer_streams_as_the_sdk_expects():
    data = encode_stream(unfold(ANSWER), reply_to(decode_request(load("codex", "request.json"))))
    check_stream(data)
    assert b"\xe2\x80\xa8" not in data
    assert b"\\u2028" in data
    batched = DIALECT.stream_encoder(reply_to()).encode(unfold(ANSWER))
    Response.model_validate(check_stream(batched)[-1]["response"])


def test_answer_states_the_clients_settings():
    request = decode_request(load("namespace", "request.json"))
    request = replace(request, temperature=0.5, max_tokens=99, store=False)
    body = DIALECT.encode_response(ANSWER, reply_to(request)).body
    assert body["tools"] == load("namespace", "request.json")["tools"]
    assert (body["temperature"], body["max_output_tokens"], body["store"]) == (0.5, 99, False)
    assert body["model"] == "asked-model"
    Response.model_validate(body)


@pytest.mark.parametrize(
    ("stop", "status", "reason"),
    [
        ("end", "completed", None),
        ("stop_sequence", "completed", None),
        ("tool_use", "completed", None),
        ("refusal", "completed", None),
        ("pause", "completed", None),
        ("max_tokens", "incomplete", "max_output_tokens"),
        ("context_full", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_stop_reasons(stop, status, reason):
    answer = ChatResponse("i", "m", (Text("Hi"),), stop)
    body = DIALECT.encode_response(answer, reply_to()).body
    assert body["status"] == status
    assert body["output"][0]["status"] == status
    assert body["incomplete_details"] == (reason and {"reason": reason})


def test_refusal_without_words_is_no_empty_answer():
    body = DIALECT.encode_response(ChatResponse("i", "m", (), "refusal"), reply_to()).body
    assert body["output"][0]["content"][0]["type"] == "refusal"
    assert body["output"][0]["content"][0]["refusal"]


def test_foreign_block_in_an_answer_is_reported():
    answer = ChatResponse("i", "m", (Opaque("anthropic", {"type": "x"}), Text("a")), "end")
    encoded = DIALECT.encode_response(answer, reply_to())
    assert [loss.path for loss in encoded.losses] == ["output[0]"]
    assert len(encoded.body["output"]) == 1


def test_stream_that_begins_with_a_failure():
    failure = Failure(529, "Busy.", "overloaded", retry_after_s=3)
    events = told(encode_stream([Failed(failure)]))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.failed",
    ]
    response = events[-1]["response"]
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_is_overloaded", "message": "Busy."}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("context_full", "context_length_exceeded"),
        ("overloaded", "server_is_overloaded"),
        ("rate_limit", "rate_limit_exceeded"),
        ("quota", "insufficient_quota"),
        ("invalid_request", "invalid_prompt"),
        ("server", "server_error"),
        ("timeout", "server_error"),
    ],
)
def test_failure_after_content_keeps_its_meaning(kind, code):
    start = [Started("", ""), PartStarted(0, Text("")), TextDelta(0, "Hi")]
    data = encode_stream([*start, Failed(Failure(500, "Oh.", kind))])
    events = told(data)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == code
    assert isinstance(decode_stream(data)[-1], Failed)
    assert decode_stream(data)[-1].failure.message == "Oh."


def test_pings_are_comments():
    encoder = DIALECT.stream_encoder(reply_to())
    data = encoder.encode([Started("", ""), Ping(), UsageSeen(Usage())]) + encoder.ping()
    assert data.endswith(b": keep-alive\n\n")
    assert len(frames_of(data)) == 2


def test_usage_seen_before_the_end_is_kept():
    data = encode_stream(
        [Started("", "", Usage(1)), UsageSeen(Usage(2, output=3)), Finished("end")]
    )
    assert told(data)[-1]["response"]["usage"]["total_tokens"] == 5


def test_late_signature_of_a_call_still_reaches_it():
    events = [
        Started("", ""),
        PartStarted(0, ToolCall("c1", "f", "")),
        ArgumentsDelta(0, "{}"),
        SignatureDelta(0, Signature("google", "late")),
        PartEnded(0),
        PartStarted(1, ToolCall("c2", "f", "")),
        PartEnded(1),
        Finished("tool_use"),
    ]
    output = check_stream(encode_stream(events))[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["function_call", "reasoning", "function_call"]
    (message,) = decode_request({"model": "m", "input": output}).messages
    assert [part.signature for part in message.parts] == [Signature("google", "late"), None]


def test_unsigned_thought_is_sealed_empty():
    answer = ChatResponse("i", "m", (Reasoning("t"),), "end")
    item = DIALECT.encode_response(answer, reply_to()).body["output"][0]
    opened = open_seal(item["encrypted_content"])
    assert opened is not None
    assert opened[0] == Signature("", "")
