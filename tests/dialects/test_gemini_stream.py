import json

import msgspec
import pytest
from google.genai import types

from app.canonical.events import (
    ArgumentsDelta,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    ReasoningDelta,
    SignatureDelta,
    Started,
    TextDelta,
    UsageSeen,
)
from app.canonical.failure import Failure, cut_stream
from app.canonical.fold import fold, unfold
from app.canonical.parts import (
    Media,
    Native,
    Opaque,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
)
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage
from app.dialects import gemini_stream
from app.dialects.base import Peek, dump
from app.dialects.gemini import GEMINI
from app.dialects.sse import SseParser
from app.errors import Retry
from tests.dialects.test_gemini import chunks_of, decoded, load, reply, stream_of


def sse(*chunks):
    return b"".join(b"data: " + dump(chunk) + b"\n\n" for chunk in chunks)


def chunk(*parts, **candidate):
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **candidate}]}


def encode(*events, variant=""):
    return GEMINI.stream_encoder(reply(variant=variant)).encode(list(events))


def parts_sent(data):
    return [
        part
        for body in chunks_of(data)
        for candidate in body["candidates"]
        for part in candidate.get("content", {}).get("parts", [])
    ]


# Decoder


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


# Encoder


def test_the_text_of_one_write_is_one_chunk():
    data = encode(
        Started("r1", "m"),
        PartStarted(0, Text("")),
        TextDelta(0, "a"),
        TextDelta(0, "b"),
        TextDelta(0, "c"),
    )
    assert chunks_of(data) == [
        {
            "candidates": [{"content": {"parts": [{"text": "abc"}], "role": "model"}, "index": 0}],
            "modelVersion": "gemini-2.5-flash",
            "responseId": "r1",
        }
    ]


def test_the_last_chunk_has_the_end_and_the_counts():
    data = encode(Started("r1", "m"), PartStarted(0, Text("")), TextDelta(0, "a"), PartEnded(0))
    assert b"finishReason" not in data
    data = encode(Started("r1", "m"), Finished("max_tokens", Usage(1, output=2)))
    assert chunks_of(data) == [
        {
            "candidates": [
                {
                    "content": {"parts": [{"text": ""}], "role": "model"},
                    "finishReason": "MAX_TOKENS",
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 1,
                "candidatesTokenCount": 2,
                "totalTokenCount": 3,
            },
            "modelVersion": "gemini-2.5-flash",
            "responseId": "r1",
        }
    ]


def test_counts_seen_earlier_are_told_at_the_end():
    data = encode(Started("r", "m", Usage(9)), UsageSeen(Usage(1, output=2)), Finished("end"))
    assert chunks_of(data)[-1]["usageMetadata"]["totalTokenCount"] == 3


def test_characters_that_split_lines_are_escaped():
    text = "a\u2028b\u2029c<script>&\u0085"
    data = encode(Started("r", "<m>"), PartStarted(0, Text("")), TextDelta(0, text))
    for raw in ("\u2028", "\u2029", "<", ">", "&"):
        assert raw.encode() not in data
    assert parts_sent(data) == [{"text": text}]


def test_percent_signs_in_names_and_text_are_plain():
    data = encode(Started("r%s", "m"), PartStarted(0, Text("")), TextDelta(0, "100 %d"))
    assert chunks_of(data)[0]["responseId"] == "r%s"
    assert parts_sent(data) == [{"text": "100 %d"}]


def test_calls_are_held_until_whole():
    encoder = GEMINI.stream_encoder(reply())
    head = encoder.encode([PartStarted(0, ToolCall("id1", "f", "")), ArgumentsDelta(0, '{"a"')])
    assert head == b""
    data = encoder.encode(
        [ArgumentsDelta(0, ":1}"), SignatureDelta(0, Signature("google", "QUJD")), PartEnded(0)]
    )
    assert parts_sent(data) == [
        {
            "functionCall": {"id": "id1", "name": "f", "args": {"a": 1}},
            "thoughtSignature": "QUJD",
        }
    ]


@pytest.mark.parametrize(
    ("text", "args"), [("", {}), ("[1]", {"_raw": "[1]"}), ('{"a', {"_raw": '{"a'})]
)
def test_arguments_that_are_no_object(text, args):
    data = encode(PartStarted(0, ToolCall("i", "f", "")), ArgumentsDelta(0, text), PartEnded(0))
    assert parts_sent(data)[0]["functionCall"]["args"] == args


def test_sections_of_a_summary_are_set_apart():
    data = encode(
        PartStarted(0, Reasoning(summary=True)),
        ReasoningDelta(0, "A", 0),
        ReasoningDelta(0, "B", 1),
        PartEnded(0),
    )
    assert parts_sent(data) == [{"text": "A\n\nB", "thought": True}]


def test_a_foreign_thought_streams_and_comes_back_whole():
    encoder = GEMINI.stream_encoder(reply())
    sign = Signature("anthropic", "sig")
    events = unfold(
        ChatResponse("r", "m", (Reasoning("One two", signature=sign), Text("x")), "end")
    )
    data = b"".join(encoder.encode([event]) for event in events)
    request = GEMINI.decode_request(
        {
            "contents": [
                {"role": "model", "parts": [p for p in parts_sent(data) if p != {"text": ""}]}
            ]
        },
        Peek("g", False),
    )
    assert request.messages[0].parts == (Reasoning("One two", signature=sign), Text("x"))


@pytest.mark.parametrize("after", [Text("xyz"), ToolCall("a", "f", "{}")])
@pytest.mark.parametrize("single", [True, False])
def test_hidden_thought_rides_on_the_part_behind_it(after, single):
    hidden = Reasoning(redacted=True, signature=Signature("anthropic", "data"))
    events = unfold(ChatResponse("r", "m", (hidden, after), "end"))
    encoder = GEMINI.stream_encoder(reply())
    groups = [[event] for event in events] if single else [events]
    data = b"".join(encoder.encode(group) for group in groups)
    kept = [p for p in parts_sent(data) if p != {"text": ""}]
    assert len(kept) == 1
    request = GEMINI.decode_request(
        {"contents": [{"role": "model", "parts": kept}]}, Peek("g", False)
    )
    assert request.messages[0].parts == (hidden, after)


def test_hidden_thought_at_the_end_stands_alone():
    hidden = Reasoning(redacted=True, signature=Signature("anthropic", "data"))
    data = encode(*unfold(ChatResponse("r", "m", (hidden, hidden), "end")))
    kept = [p for p in parts_sent(data) if p.get("thought")]
    assert len(kept) == 2


def test_a_failure_inside_the_stream():
    failure = Failure(529, "Too busy.", "overloaded", retry_after_s=2.5)
    data = encode(
        Started("r", "m"), PartStarted(0, Text("")), TextDelta(0, "a"), Failed(failure), Ping()
    )
    first, last = chunks_of(data)
    assert first["candidates"][0]["content"]["parts"] == [{"text": "a"}]
    assert last["error"]["code"] == 503
    assert last["error"]["message"] == "Too busy."
    assert last["error"]["status"] == "UNAVAILABLE"
    assert last["error"]["details"] == [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.5s"}
    ]


def test_a_stream_may_begin_with_a_failure():
    data = encode(Failed(cut_stream()))
    assert [set(body) for body in chunks_of(data)] == [{"error"}]


def test_a_ping_is_no_content():
    assert encode(Ping()) == b"\n\n"
    for ping in (b"\n\n", b": ping\n\n"):
        assert decoded(ping + stream_of("text")) == decoded(stream_of("text"))


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("case", ["text", "parallel_tools", "reasoning", "blocked_prompt"])
def test_the_list_form_is_one_json_list(case, single):
    events = decoded(stream_of(case))
    encoder = GEMINI.stream_encoder(reply(variant="array"))
    groups = [[event] for event in events] if single else [events]
    data = b"".join(encoder.encode(group) + encoder.ping() for group in groups)
    bodies = json.loads(data)
    assert isinstance(bodies, list)
    for body in bodies:
        types.GenerateContentResponse.model_validate_json(dump(body))
    last = bodies[-1]
    assert "promptFeedback" in last or last["candidates"][0]["finishReason"] == "STOP"


def test_the_list_form_of_a_failure():
    assert set(json.loads(encode(Failed(cut_stream()), variant="array"))[0]) == {"error"}
    data = encode(
        PartStarted(0, Text("")), TextDelta(0, "a"), Failed(cut_stream()), variant="array"
    )
    assert [sorted(body)[0] for body in json.loads(data)] == ["candidates", "error"]


def test_every_kind_of_part_is_taken_by_the_official_types():
    foreign = Signature("openai", "enc")
    response = ChatResponse(
        "r1",
        "m",
        (
            Reasoning("A\n\nB", ("A", "B"), summary=True, signature=foreign, id="rs_1"),
            Reasoning(redacted=True, signature=Signature("anthropic", "data")),
            Text("x", native=Native("anthropic", {"citations": []})),
            Refusal("No."),
            Media("image", "image/png", "AAAA"),
            Media("image", url="https://example.com/a.png"),
            Media("document", text="plain"),
            Opaque("anthropic", {"type": "server_tool_use"}),
            ToolCall("toolu_1", "f", '{"a":1}', signature=foreign),
            ToolCall("", "g", ""),
        ),
        "tool_use",
        Usage(1, 2, 3, 4, 2),
        created=1.5,
        native=Native("openai_responses", {"x": 1}),
    )
    whole = GEMINI.encode_response(response, reply()).body
    types.GenerateContentResponse.model_validate_json(dump(whole))
    data = encode(*unfold(response))
    for body in chunks_of(data):
        types.GenerateContentResponse.model_validate_json(dump(body))
    # The counter of made ids starts anew for each, but the stream made one for the answer, too.
    read, told = fold(decoded(data)), GEMINI.decode_response(whole, "google")
    names = [type(part).__name__ for part in read.parts]
    assert names == [
        "Reasoning", "Text", "Text", "Media", "Media", "Media", "ToolCall", "ToolCall",
    ]  # fmt: skip
    assert [type(part).__name__ for part in told.parts] == names
    assert read.usage == told.usage
    assert read.stop == told.stop == "tool_use"


def test_stream_and_whole_answer_name_the_model_that_was_asked_for():
    response = GEMINI.decode_response(load("text", "response.json"), "google")
    encoder = GEMINI.stream_encoder(reply("my-alias"))
    for body in chunks_of(encoder.encode(unfold(response))):
        assert body["modelVersion"] == "my-alias"
    assert GEMINI.encode_response(response, reply("my-alias")).body["modelVersion"] == "my-alias"


def test_chunks_are_json():
    for body in chunks_of(stream_of("unicode")):
        msgspec.json.encode(body)
