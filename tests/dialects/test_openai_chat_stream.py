import msgspec
import pytest

from app.canonical.events import Failed, Finished, PartStarted, Started, UsageSeen
from app.canonical.fold import fold
from app.canonical.parts import Reasoning, Signature, Text, ToolCall
from app.canonical.usage import Usage
from app.dialects.openai_chat_stream import ChatStreamDecoder
from tests.dialects.test_openai_chat import check_grammar

BASE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def delta(finish=None, index=0, **fields):
    return {**BASE, "choices": [{"index": index, "delta": fields, "finish_reason": finish}]}


def fragment(index=None, call_id=None, name=None, arguments=None, **more):
    item = {"function": {"name": name, "arguments": arguments}, **more}
    if index is not None:
        item["index"] = index
    if call_id is not None:
        item["id"] = call_id
    return delta(tool_calls=[item])


def wire(*chunks, done=True):
    data = b"".join(b"data: %b\n\n" % msgspec.json.encode(chunk) for chunk in chunks)
    return data + (b"data: [DONE]\n\n" if done else b"")


def run(*chunks, done=True):
    decoder = ChatStreamDecoder("svc")
    events = decoder.feed(wire(*chunks, done=done)) + decoder.close()
    check_grammar(events)
    return events


def calls_of(events):
    return [(p.id, p.name, p.arguments) for p in fold(events).parts if isinstance(p, ToolCall)]


END = delta("tool_calls")


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param(
            [
                fragment(0, "a", "f", '{"x"'),
                fragment(1, "b", "g", '{"y"'),
                fragment(0, arguments=":1}"),
                fragment(1, arguments=":2}"),
            ],
            [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
            id="interleaved",
        ),
        pytest.param(
            [
                fragment(None, "a", "f", '{"x"'),
                fragment(None, None, None, ":1}"),
                fragment(None, "b", "g", "{}"),
            ],
            [("a", "f", '{"x":1}'), ("b", "g", "{}")],
            id="without index",
        ),
        pytest.param(
            [
                fragment(None, "a", "f", '{"x"'),
                fragment(None, "b", "g", "{"),
                fragment(None, "a", None, ":1}"),
                fragment(None, "b", None, "}"),
            ],
            [("a", "f", '{"x":1}'), ("b", "g", "{}")],
            id="by id",
        ),
        pytest.param(
            [fragment(0, "a", "f", '{"x":1}'), fragment(0, "b", "g", "{}")],
            [("a", "f", '{"x":1}'), ("b", "g", "{}")],
            id="all with index 0",
        ),
        pytest.param(
            [fragment(0, None, "f", '{"x":1}'), fragment(0, None, "g", "{}")],
            [("", "f", '{"x":1}'), ("", "g", "{}")],
            id="whole calls without ids",
        ),
        pytest.param(
            [fragment(0, "a", "f", '{"x"'), fragment(0, "a", "f", ":1}")],
            [("a", "f", '{"x":1}')],
            id="name and id repeated",
        ),
        pytest.param([fragment(0, "a", "f", None)], [("a", "f", "{}")], id="no arguments"),
        pytest.param(
            [fragment(0, "a", "f", {"x": 1})], [("a", "f", '{"x":1}')], id="arguments as an object"
        ),
        pytest.param(
            [fragment(0, "a", "f", "{}"), fragment(1, "a", "g", "{}")],
            [("a", "f", "{}"), ("a_2", "g", "{}")],
            id="equal ids",
        ),
        pytest.param(
            [fragment(0, "a", None, None), fragment(0, None, "f", "{}")],
            [("a", "f", "{}")],
            id="id before name",
        ),
        pytest.param(
            [
                fragment(0, "a", "f", '{"s":"}\\'),
                fragment(1, "b", "g", "{}"),
                fragment(0, arguments='"{"}'),
            ],
            [("a", "f", '{"s":"}\\"{"}'), ("b", "g", "{}")],
            id="braces and escapes in strings",
        ),
    ],
)
def test_fragments_find_their_calls(chunks, expected):
    assert calls_of(run(*chunks, END)) == expected


def test_a_sequential_call_is_streamed_while_it_comes():
    decoder = ChatStreamDecoder("svc")
    decoder.feed(wire(fragment(0, "a", "f", '{"x":1}'), done=False))
    events = decoder.feed(wire(fragment(1, "b", "g", ""), done=False))
    assert [type(event).__name__ for event in events] == ["PartEnded", "PartStarted"]


def test_calls_followed_by_stop_are_tool_use():
    assert fold(run(fragment(0, "a", "f", "{}"), delta("stop"))).stop == "tool_use"


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", "end"),
        ("length", "max_tokens"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("eos", "end"),
    ],
)
def test_finish_reasons_are_translated(finish, stop):
    assert fold(run(delta(content="x"), delta(finish))).stop == stop


def test_a_function_call_of_the_old_form_is_a_call():
    events = run(
        delta(function_call={"name": "f", "arguments": ""}),
        delta(function_call={"arguments": "{}"}),
        delta("function_call"),
    )
    assert calls_of(events) == [("", "f", "{}")]


def test_a_stream_without_done_is_complete():
    assert isinstance(run(delta(content="x"), delta("stop"), done=False)[-1], Finished)


def test_done_without_a_finish_reason_is_a_cut():
    assert isinstance(run(delta(content="x"))[-1], Failed)


def test_an_empty_stream_is_a_cut():
    decoder = ChatStreamDecoder("svc")
    (event,) = decoder.close()
    assert isinstance(event, Failed)
    assert decoder.feed(b"data: {}\n\n") == []


@pytest.mark.parametrize(
    "chunks",
    [
        [
            delta(content="x"),
            delta("stop"),
            {**BASE, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        ],
        [
            delta(content="x"),
            {**delta("stop"), "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        ],
        [
            {**delta(content="x"), "usage": {"prompt_tokens": 3, "completion_tokens": 0}},
            {**delta("stop"), "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        ],
        [
            delta(content="x"),
            {**delta("stop"), "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}},
        ],
    ],
)
def test_the_last_usage_counts_wherever_it_stands(chunks):
    events = run(*chunks)
    assert events[-1].usage == Usage(3, 0, 0, 1)
    assert any(isinstance(event, UsageSeen) for event in events)


def test_finished_comes_with_the_usage_chunk():
    decoder = ChatStreamDecoder("svc")
    assert not any(isinstance(e, Finished) for e in decoder.feed(wire(delta("stop"), done=False)))
    usage = {**BASE, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    assert isinstance(decoder.feed(wire(usage, done=False))[-1], Finished)


@pytest.mark.parametrize(
    ("data", "status", "kind"),
    [
        (b'data: {"error":{"message":"slow down","code":429}}\n\n', 429, "rate_limit"),
        (b'data: {"error":"it broke"}\n\n', 500, "server"),
        (
            b'event: error\ndata: {"message":"prompt is too long","type":"invalid_request_error"}\n\n',
            400,
            "context_full",
        ),
        (b"data: {oops\n\n", 502, "server"),
        (b"data: 5\n\n", 502, "server"),
        (b'data: {"choices":5}\n\n', 502, "server"),
        (b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}\n\n', 502, "server"),
    ],
)
def test_an_error_inside_the_stream_is_a_failure(data, status, kind):
    decoder = ChatStreamDecoder("svc")
    events = decoder.feed(wire(delta(content="x"), done=False) + data) + decoder.close()
    check_grammar(events)
    assert isinstance(events[-1], Failed)
    assert (events[-1].failure.status, events[-1].failure.kind) == (status, kind)


def test_comments_other_choices_and_odd_types_do_no_harm():
    decoder = ChatStreamDecoder("svc")
    odd = {
        **BASE,
        "choices": [
            {"index": "0", "delta": {"content": "b", "role": 5, "refusal": []}, "finish_reason": ""}
        ],
    }
    data = b": keep-alive\n\n" + wire(
        delta(index=1, content="no"), delta(content="a"), odd, delta("stop")
    )
    events = decoder.feed(data) + decoder.close()
    assert fold(events).parts == (Text("ab"),)


def test_the_first_chunk_may_have_no_choices():
    events = run(
        {**BASE, "choices": [], "prompt_filter_results": []}, delta(content="x"), delta("stop")
    )
    assert isinstance(events[0], Started)
    assert fold(events).parts == (Text("x"),)


def test_thought_then_text_then_thought_are_three_parts():
    events = run(delta(reasoning="a"), delta(content="b"), delta(reasoning="c"), delta("stop"))
    assert [getattr(p, "text", "") for p in fold(events).parts] == ["a", "b", "c"]


def test_lists_of_chunks_are_read():
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    events = run(delta(content=content), delta(content="yes"), delta("stop"))
    assert [(type(p), p.text) for p in fold(events).parts] == [(Reasoning, "hm"), (Text, "yes")]


def test_encrypted_details_after_the_text_make_a_part_of_their_own():
    item = {"type": "reasoning.encrypted", "data": "x", "index": 0}
    parts = fold(run(delta(content="a"), delta(reasoning_details=[item]), delta("stop"))).parts
    assert parts[0] == Text("a")
    assert parts[1].signature == Signature(
        "svc", '[{"data":"x","index":0,"type":"reasoning.encrypted"}]'
    )


def test_details_without_signatures_stay_native():
    item = {"type": "reasoning.text", "text": "hm", "index": 0}
    part = fold(run(delta(reasoning_details=[item]), delta(content="a"), delta("stop"))).parts[0]
    assert part.text == "hm"
    assert part.signature is None
    assert part.native.fields["reasoning_details"] == [item]


def test_text_while_a_call_is_incomplete_waits_for_it():
    events = run(
        fragment(0, "a", "f", '{"x"'), delta(content="t"), fragment(0, arguments=":1}"), END
    )
    started = [event.part for event in events if isinstance(event, PartStarted)]
    assert [type(part) for part in started] == [ToolCall, Text]
    assert calls_of(events) == [("a", "f", '{"x":1}')]


def test_audio_fragments_are_joined():
    events = run(
        delta(audio={"id": "a1", "data": "QUJD", "transcript": "he"}),
        delta(audio={"data": "REVG", "transcript": "y"}),
        delta(audio={"expires_at": 5}),
        delta("stop"),
    )
    message = fold(events).native.fields["choices"][0]["message"]
    assert message["audio"] == {
        "id": "a1",
        "data": "QUJDREVG",
        "transcript": "hey",
        "expires_at": 5,
    }


def test_chunks_that_differ_only_in_their_text_are_read_exactly():
    texts = ["a", 'q"uote', "back\\slash", "new\nline", "漢字 🙂", "\u2028", "", '","x":"', "end"]
    events = run(*(delta(content=text) for text in texts), delta("stop"))
    assert fold(events).parts == (Text("".join(texts)),)


def test_a_chunk_like_the_others_but_for_more_fields_is_read_whole():
    plain = delta(content="a")
    fuller = msgspec.json.decode(
        msgspec.json.encode(plain).replace(b'"content":"a"', b'"content":"b","refusal":"c"')
    )
    events = run(plain, fuller, delta(content="d"), delta("stop"))
    assert [part.text for part in fold(events).parts] == ["ab", "c", "d"]


def test_the_word_content_inside_other_fields_misleads_nobody():
    more = {"note": {"content": "x"}}
    events = run(*({**delta(content=text), **more} for text in "abc"), delta("stop"))
    assert fold(events).parts == (Text("abc"),)
