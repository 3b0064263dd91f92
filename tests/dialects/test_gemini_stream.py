import msgspec
import pytest

from app.canonical.events import (
    ArgumentsDelta,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    SignatureDelta,
    Started,
    TextDelta,
    UsageSeen,
)
from app.canonical.failure import cut_stream
from app.canonical.fold import fold
from app.canonical.parts import (
    Native,
    Reasoning,
    Signature,
    Text,
    ToolCall,
)
from app.canonical.usage import Usage
from app.dialects import gemini_stream
from app.dialects.base import dump
from app.dialects.gemini import GEMINI
from app.dialects.sse import SseParser
from app.errors import Retry
from tests.dialects.test_gemini import decoded, stream_of


def sse(*chunks):
    return b"".join(b"data: " + dump(chunk) + b"\n\n" for chunk in chunks)


def chunk(*parts, **candidate):
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **candidate}]}


def test_the_usual_chunk_takes_the_fast_way():
    first, *middle, _ = SseParser().feed(stream_of("reasoning"))
    for frame in (first, *middle):
        usual = gemini_stream._decode_chunk(frame.data)
        assert msgspec.json.decode(usual.usageMetadata)["promptTokenCount"] == 16


def test_text_of_many_chunks_is_one_part():
    events = decoded(stream_of("text"))
    assert events[:5] == [
        Started("mAlZaL3rJpfQ7M8Pq5ujqQk", "gemini-2.5-flash"),
        PartStarted(0, Text("")),
        TextDelta(0, "Hello"),
        TextDelta(0, " there!"),
        TextDelta(0, " How are you?"),
    ]
    assert events[5:] == [PartEnded(0), Finished("end", Usage(8, output=12))]


def test_a_signature_closes_its_part():
    response = fold(
        decoded(
            sse(
                chunk({"text": "a"}),
                chunk({"text": "b", "thoughtSignature": "QUJD"}),
                chunk({"text": "c"}, finishReason="STOP"),
            )
        )
    )
    assert response.parts == (Text("ab", signature=Signature("google", "QUJD")), Text("c"))


def test_a_late_signature_belongs_to_the_open_part_of_its_kind():
    late = {"text": "", "thoughtSignature": "QUJD"}
    sign = Signature("google", "QUJD")
    response = fold(decoded(sse(chunk({"text": "a"}), chunk(late, finishReason="STOP"))))
    assert response.parts == (Text("a", signature=sign),)
    thought = {"text": "Hm.", "thought": True}
    response = fold(decoded(sse(chunk(thought), chunk(late, finishReason="STOP"))))
    assert response.parts == (Reasoning("Hm.", summary=True), Text("", signature=sign))


def test_a_finish_reason_in_every_chunk_ends_nothing_early():
    data = sse(chunk({"text": "a"}, finishReason="STOP"), chunk({"text": "b"}, finishReason="STOP"))
    assert fold(decoded(data)).parts == (Text("ab"),)


def test_counts_after_the_finish_reason_are_taken():
    data = sse(
        chunk({"text": "a"}, finishReason="STOP"),
        {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}},
    )
    assert fold(decoded(data)).usage == Usage(3, output=2)


def test_a_stream_without_finish_reason_was_cut():
    events = decoded(
        sse(
            {**chunk({"text": "a"}), "usageMetadata": {"promptTokenCount": 3}},
        )
    )
    assert events[-3:] == [PartEnded(0), UsageSeen(Usage(3)), Failed(cut_stream())]


def test_an_empty_stream_was_cut():
    assert decoded(b"") == [Failed(cut_stream())]


@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: [e]])
def test_an_error_inside_the_stream(wrap):
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    events = decoded(
        sse(chunk({"text": "a"}))
        + b"data: "
        + dump(wrap(error))
        + b"\n\n"
        + sse(chunk({"text": "b"}))
    )
    assert events[-2] == PartEnded(0)
    failure = events[-1].failure
    assert (failure.status, failure.message, failure.kind) == (503, "overloaded", "overloaded")
    assert failure.retry is Retry.NEXT_ACCOUNT


def test_a_spoilt_call_without_content_is_a_failure_and_with_content_an_end():
    spoilt = chunk(finishReason="MALFORMED_FUNCTION_CALL")
    (*_, last) = decoded(sse(chunk({"text": "Hm.", "thought": True}), spoilt))
    assert last.failure.retry is Retry.NEXT_ACCOUNT
    (*_, last) = decoded(sse(chunk({"text": "Look:"}), spoilt))
    assert last == Finished(
        "end", None, None, Native("gemini", {"finishReason": "MALFORMED_FUNCTION_CALL"})
    )


def test_parallel_calls_come_whole_with_ids_told_apart():
    call = {"functionCall": {"id": "x", "name": "f", "args": {"a": 1}}, "thoughtSignature": "QUJD"}
    events = decoded(sse(chunk(call, call, finishReason="STOP")))
    assert events[1:5] == [
        PartStarted(0, ToolCall("x", "f", "")),
        ArgumentsDelta(0, '{"a":1}'),
        SignatureDelta(0, Signature("google", "QUJD")),
        PartEnded(0),
    ]
    assert events[5] == PartStarted(1, ToolCall("x_2", "f", ""))
    assert events[-1].stop == "tool_use"


def test_further_candidates_are_left_out():
    other = {"content": {"parts": [{"text": "B"}]}, "index": 1}
    body = chunk({"text": "A"}, index=0, finishReason="STOP")
    body["candidates"].append(other)
    response = fold(decoded(sse(chunk({"text": "A"}), {"candidates": [other]}, body)))
    assert response.parts == (Text("AA"),)
    assert response.native is None


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"7",
        b'"x"',
        b"\xff",
        b'{"candidates":7}',
        b'{"candidates":[{"content":{"parts":[{"text":7}]}}]}',
        b'{"usageMetadata":{"promptTokenCount":"x"}}',
        b"[" * 5000,
    ],
)
def test_a_malformed_event_is_a_failure(payload):
    events = decoded(sse(chunk({"text": "a"})) + b"data: " + payload + b"\n\n")
    assert isinstance(events[-1], Failed)
    assert events[-1].failure.retry is Retry.NEXT_ACCOUNT
    assert events.count(PartEnded(0)) == 1


def test_a_spoilt_count_in_the_usual_shape_is_a_failure():
    body = {**chunk({"text": "b"}), "usageMetadata": [1]}
    events = decoded(sse(chunk({"text": "a"}), body, chunk(finishReason="STOP")))
    assert isinstance(events[-1], Failed)


def test_done_and_blank_events_of_compatible_servers_are_skipped():
    data = sse(chunk({"text": "a"}, finishReason="STOP")) + b"data: [DONE]\n\ndata: \n\n"
    assert fold(decoded(data)).parts == (Text("a"),)


def test_nothing_follows_a_failure():
    decoder = GEMINI.stream_decoder("google")
    decoder.feed(b"data: {\n\n")
    assert decoder.feed(sse(chunk({"text": "a"}))) == []
    assert decoder.close() == []


@pytest.mark.parametrize(
    "path", ["", "title", "$", "$.a[2]", "$.a.b.", "$[x]", "$.a[99999999]", "$" + ".a" * 99]
)
def test_a_path_that_leads_nowhere_is_a_failure(path):
    piece = {"jsonPath": path, "stringValue": "x"}
    start = {"functionCall": {"name": "f", "partialArgs": [piece], "willContinue": True}}
    assert isinstance(decoded(sse(chunk(start)))[-1], Failed)


def test_a_streamed_call_that_never_ended_is_given_at_the_end():
    start = {"functionCall": {"name": "f", "willContinue": True}}
    piece = {
        "functionCall": {
            "partialArgs": [{"jsonPath": "$.a", "numberValue": 1}],
            "willContinue": True,
        }
    }
    response = fold(decoded(sse(chunk(start), chunk(piece), chunk(finishReason="STOP"))))
    assert response.parts == (ToolCall("", "f", '{"a":1}'),)
    assert response.stop == "tool_use"
