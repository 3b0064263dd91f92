import msgspec

from app.canonical.events import (
    ArgumentsDelta,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    ReasoningDelta,
    Started,
    TextDelta,
    UsageSeen,
)
from app.canonical.failure import cut_stream
from app.canonical.parts import Reasoning, Text, ToolCall
from app.canonical.usage import Usage
from app.dialects.openai_chat_writer import ChatStreamEncoder
from tests.dialects.test_openai_chat import chunks_of, reply

START = [Started("x", "m"), PartStarted(0, Text(""))]


def encode(events, **settings):
    return ChatStreamEncoder(reply(**settings)).encode(events)


def test_the_first_chunk_names_the_role():
    chunk = chunks_of(encode([*START, PartEnded(0), Finished("end")]))[0]
    assert chunk["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunk["id"].startswith("chatcmpl-")
    assert chunk["model"] == "gpt-5-mini"


def test_every_chunk_has_the_same_id():
    events = [*START, TextDelta(0, "a"), TextDelta(0, "b"), PartEnded(0), Finished("end", Usage(1))]
    assert len({chunk["id"] for chunk in chunks_of(encode(events))}) == 1


def test_usage_comes_last_without_choices_and_only_when_wanted():
    events = [*START, PartEnded(0), UsageSeen(Usage(1, 2, 3, 4, 0)), Finished("end")]
    last = chunks_of(encode(events))[-1]
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 6,
        "completion_tokens": 4,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    assert all("usage" not in chunk for chunk in chunks_of(encode(events, include_usage=False)))


def test_line_separators_are_escaped():
    data = encode([*START, TextDelta(0, "a\u2028b\u2029c")])
    assert b"a\\u2028b\\u2029c" in data
    assert "\u2028".encode() not in data


def test_a_failure_is_an_error_and_done_even_when_it_comes_first():
    for events in ([Failed(cut_stream())], [*START, Failed(cut_stream())]):
        encoder = ChatStreamEncoder(reply())
        data = encoder.encode(events)
        error = chunks_of(data)[-1]["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["message"] == cut_stream().message
        assert encoder.encode([Finished("end")]) == b""


def test_a_call_names_itself_first_and_always_has_arguments():
    events = [
        Started("x", "m"),
        PartStarted(0, ToolCall("call_1", "f", "")),
        ArgumentsDelta(0, '{"a"'),
        ArgumentsDelta(0, ":1}"),
        PartEnded(0),
        PartStarted(1, ToolCall("", "g", "")),
        PartEnded(1),
        Finished("tool_use"),
    ]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks_of(encode(events))]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert calls[0] == {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "f", "arguments": ""},
    }
    assert calls[1:3] == [
        {"index": 0, "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ":1}"}},
    ]
    assert calls[3]["id"].startswith("call_")
    assert calls[4] == {"index": 1, "function": {"arguments": "{}"}}


def test_summary_sections_are_parted_by_a_blank_line():
    events = [
        Started("x", "m"),
        PartStarted(0, Reasoning()),
        ReasoningDelta(0, "a", 0),
        ReasoningDelta(0, "b", 1),
        PartEnded(0),
        Finished("end"),
    ]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks_of(encode(events))]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "a\n\nb"


def test_pings_are_comments():
    encoder = ChatStreamEncoder(reply())
    assert encoder.ping() == encoder.encode([Ping()]) == b": ping\n\n"


def test_percent_signs_and_quotes_pass():
    events = [
        Started('chatcmpl-%d"', "m"),
        PartStarted(0, Text("")),
        TextDelta(0, '100% "x"'),
        PartEnded(0),
    ]
    frames = [frame for frame in encode(events).split(b"\n\n") if frame]
    bodies = [msgspec.json.decode(frame[6:]) for frame in frames]
    assert bodies[1]["choices"][0]["delta"]["content"] == '100% "x"'
    assert bodies[1]["id"] == 'chatcmpl-%d"'
