"""Gemini streams for a client: chunks, signatures, the list form."""

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
from app.dialects.base import Peek, dump
from app.dialects.gemini import GEMINI
from tests.dialects.test_gemini import chunks_of, decoded, load, reply, stream_of


def encode(*events, variant=""):
    return GEMINI.stream_encoder(reply(variant=variant)).encode(list(events))


def parts_sent(data):
    return [
        part
        for body in chunks_of(data)
        for candidate in body["candidates"]
        for part in candidate.get("content", {}).get("parts", [])
    ]


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
