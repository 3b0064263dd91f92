"""What a tap reads beside a stream that passes through, however the stream is cut."""

import msgspec
import pytest

from app.canonical.failure import Failure
from app.canonical.usage import Usage
from app.dialects import DIALECTS
from app.dialects.base import Sight
from app.dialects.sse import MAX_FRAME_BYTES
from app.dialects.tap import Tap


def frames(*bodies, named=False):
    return b"".join(
        (b"event: %b\n" % body["type"].encode() if named else b"")
        + b"data: %b\n\n" % msgspec.json.encode(body)
        for body in bodies
    )


def chat(*deltas, finish="stop", usage=None, done=True):
    head = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
    bodies = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    if finish:
        bodies.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        bodies.append({**head, "choices": [], "usage": usage})
    return frames(*bodies) + (b"data: [DONE]\n\n" if done else b"")


def anthropic(*middle, end=True, start_usage=None, end_usage=None):
    start = {"id": "m", "model": "m", "usage": start_usage or {}, "content": []}
    bodies = [{"type": "message_start", "message": start}, {"type": "ping"}, *middle]
    if end:
        delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
        bodies += [{**delta, "usage": end_usage or {}}, {"type": "message_stop"}]
    return frames(*bodies, named=True)


def anthropic_text(*texts):
    block = {"type": "text", "text": ""}
    return [
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": text},
            }
            for text in texts
        ),
        {"type": "content_block_stop", "index": 0},
    ]


def responses(*middle, final="response.completed", usage=None, named=True):
    created = {"id": "r", "model": "m", "status": "in_progress"}
    bodies = [
        {"type": "response.created", "response": created},
        {"type": "response.in_progress", "response": created},
        *middle,
    ]
    if final:
        status = final.removeprefix("response.")
        body = {**created, "status": status, "output": [], "usage": usage}
        if status == "failed":
            body["error"] = {"code": "server_is_overloaded", "message": "Busy."}
        bodies.append({"type": final, "response": body})
    return frames(*bodies, named=named)


def responses_text(*texts):
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}},
        *(
            {"type": "response.output_text.delta", "output_index": 0, "delta": text}
            for text in texts
        ),
    ]


def gemini(*texts, finish="STOP", usage=None):
    bodies = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}]}
        for text in texts
    ]
    if finish:
        last = {"candidates": [{"content": {"parts": [{"text": "."}]}, "finishReason": finish}]}
        bodies.append({**last, "usageMetadata": usage or {}})
    return frames(*bodies)


USAGE = Usage(input=20, cache_read=80, output=7, reasoning=3)
CHAT_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 80},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
RESPONSES_USAGE = {
    "input_tokens": 100,
    "output_tokens": 7,
    "input_tokens_details": {"cached_tokens": 80},
    "output_tokens_details": {"reasoning_tokens": 3},
}
GEMINI_USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 80,
    "candidatesTokenCount": 4,
    "thoughtsTokenCount": 3,
}
ANTHROPIC_START = {"input_tokens": 20, "cache_read_input_tokens": 80, "output_tokens": 1}
ANTHROPIC_END = {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 3}}

WHOLE = {
    "openai_chat": chat(
        {"role": "assistant", "content": ""}, {"content": "a"}, {"content": "é"}, usage=CHAT_USAGE
    ),
    "openai_responses": responses(*responses_text("a", "é"), usage=RESPONSES_USAGE),
    "anthropic": anthropic(
        *anthropic_text("a", "é"), start_usage=ANTHROPIC_START, end_usage=ANTHROPIC_END
    ),
    "gemini": gemini("a", "é", usage=GEMINI_USAGE),
}
EMPTY = {
    "openai_chat": chat({"role": "assistant", "content": ""}),
    "openai_responses": responses(),
    "anthropic": anthropic(),
    "gemini": frames({"candidates": [{"finishReason": "STOP"}]}),
}
FAILURES = {
    "openai_chat": frames({"error": {"message": "Busy.", "type": "overloaded_error", "code": 529}}),
    "openai_responses": responses(final="response.failed"),
    "anthropic": frames(
        {"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}}, named=True
    ),
    "gemini": frames({"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}}),
}


def tapped(dialect, *chunks):
    tap = Tap(DIALECTS[dialect])
    for chunk in chunks:
        tap.feed(chunk)
    tap.close()
    return tap


def every_cut(data):
    """All of it at once, byte by byte, and in two pieces cut at every place."""
    yield (data,)
    yield tuple(data[at : at + 1] for at in range(len(data)))
    for at in range(1, len(data)):
        yield data[:at], data[at:]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_usage_content_and_end_are_seen_for_every_cut(dialect):
    for chunks in every_cut(WHOLE[dialect]):
        tap = tapped(dialect, *chunks)
        assert (tap.content, tap.terminal, tap.failure, tap.verdict()) == (True, True, None, None)
        usage = tap.usage
        assert (usage.input, usage.cache_read, usage.output) == (20, 80, 7)
        if dialect != "anthropic":
            assert usage == USAGE


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_without_content_is_no_failure(dialect):
    for chunks in every_cut(EMPTY[dialect]):
        tap = tapped(dialect, *chunks)
        assert (tap.content, tap.terminal, tap.verdict()) == (False, True, None)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_failure_before_content_is_seen_at_once_and_with_its_kind(dialect):
    for chunks in every_cut(FAILURES[dialect]):
        tap = Tap(DIALECTS[dialect])
        for chunk in chunks:
            tap.feed(chunk)
        assert tap.failure is not None
        assert not tap.content
        tap.close()
        assert tap.verdict() == tap.failure
        assert tap.failure.message == "Busy."
        assert tap.failure.kind in ("overloaded", "unavailable")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_failure_after_content_is_seen_when_the_stream_ends(dialect):
    content = {
        "openai_chat": chat({"content": "a"}, finish=None, done=False),
        "openai_responses": responses(*responses_text("a"), final=None),
        "anthropic": anthropic(*anthropic_text("a"), end=False),
        "gemini": gemini("a", finish=None),
    }[dialect]
    for chunks in every_cut(content + FAILURES[dialect]):
        tap = tapped(dialect, *chunks)
        assert tap.content
        assert tap.verdict().message == "Busy."


@pytest.mark.parametrize("dialect", DIALECTS)
def test_content_is_seen_with_the_frame_that_brings_it(dialect):
    data = WHOLE[dialect]
    tap = Tap(DIALECTS[dialect])
    seen = next(at for at in range(len(data)) if tap.feed(data[at : at + 1]) or tap.content)
    assert data[: seen + 1].endswith(b"\n\n")
    before = data[: data[:seen].rindex(b"\n\n") + 2] if b"\n\n" in data[:seen] else b""
    assert not tapped(dialect, before).content


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_that_just_ends_was_cut(dialect):
    cut = {
        "openai_chat": chat({"content": "a"}, finish=None, done=False),
        "openai_responses": responses(*responses_text("a"), final=None),
        "anthropic": anthropic(*anthropic_text("a"), end=False),
        "gemini": gemini("a", finish=None),
    }[dialect]
    for data in (b"", cut):
        verdict = tapped(dialect, data).verdict()
        assert verdict is not None
        assert verdict.code == "upstream_closed"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_last_frame_needs_no_blank_line(dialect):
    tap = tapped(dialect, WHOLE[dialect].rstrip(b"\n"))
    assert tap.verdict() is None
    assert tap.usage is not None


class Looking:
    """A dialect that counts what it is asked to look at."""

    def __init__(self, inner):
        self.inner = inner
        self.final_names = inner.final_names
        self.seen = []

    def inspect(self, frame):
        self.seen.append(frame)
        return self.inner.inspect(frame)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_is_split_or_looked_at_between_the_first_content_and_the_end(dialect):
    data = WHOLE[dialect]
    looking = Looking(DIALECTS[dialect])
    tap = Tap(looking)
    pieces = [piece + b"\n\n" for piece in data.split(b"\n\n")[:-1]]
    while not tap.content:
        tap.feed(pieces.pop(0))
    before = len(looking.seen)
    for piece in [pieces[0]] * 1_000 + pieces:
        tap.feed(piece)
    assert len(looking.seen) == before
    tap.close()
    assert tap.verdict() is None


@pytest.mark.parametrize(
    ("dialect", "junk"),
    [
        ("openai_chat", b'data: {"choices":[{"delta":{"content":"x" no json\n\n'),
        ("openai_responses", b"event: response.output_text.delta\ndata: {no json\n\n"),
        ("anthropic", b"event: content_block_delta\ndata: {no json\n\n"),
        ("gemini", b'data: {"candidates":[{"content":{"parts":[{"text":"x" no json\n\n'),
    ],
)
def test_ordinary_frames_are_never_decoded(dialect, junk):
    """Frames that no decoder could read are content all the same."""
    assert tapped(dialect, junk).content
    tap = tapped(dialect, junk * 3, WHOLE[dialect], junk)
    assert tap.content
    assert tap.usage is not None


# Counts in pieces


@pytest.mark.parametrize("pieces", [1, 10**6])
def test_the_counts_of_a_streams_start_and_end_are_put_together(pieces):
    start = {
        "input_tokens": 20,
        "cache_read_input_tokens": 80,
        "cache_creation_input_tokens": 5,
        "cache_creation": {"ephemeral_1h_input_tokens": 5, "ephemeral_5m_input_tokens": 0},
        "output_tokens": 1,
    }
    for end in ({"output_tokens": 9}, {**start, "cache_creation": None, "output_tokens": 9}):
        data = anthropic(*anthropic_text("x" * 200_000), start_usage=start, end_usage=end)
        size = max(1, len(data) // pieces) if pieces == 1 else 4096
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        assert tapped("anthropic", *chunks).usage == Usage(20, 80, 5, 9, cache_write_1h=5)


def test_counts_that_are_said_only_at_the_end_are_not_mixed_with_earlier_ones():
    start = {"input_tokens": 3, "output_tokens": 1}
    data = anthropic(
        *anthropic_text("a"),
        start_usage=start,
        end_usage={"input_tokens": 40, "cache_read_input_tokens": 2, "output_tokens": 9},
    )
    usage = tapped("anthropic", data).usage
    assert (usage.input, usage.cache_read, usage.output) == (40, 2, 9)


def test_a_stream_without_counts_has_none():
    assert tapped("openai_chat", chat({"content": "a"})).usage is None


# The end of long streams


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("size", [1_000, 65_536, 300_000])
def test_the_end_of_a_long_stream_is_read(dialect, size):
    data = {
        "openai_chat": chat(*[{"content": "x" * 900}] * 400, usage=CHAT_USAGE),
        "openai_responses": responses(*responses_text(*["x" * 900] * 400), usage=RESPONSES_USAGE),
        "anthropic": anthropic(
            *anthropic_text(*["x" * 900] * 400),
            start_usage=ANTHROPIC_START,
            end_usage=ANTHROPIC_END,
        ),
        "gemini": gemini(*["x" * 900] * 400, usage=GEMINI_USAGE),
    }[dialect]
    tap = tapped(dialect, *(data[at : at + size] for at in range(0, len(data), size)))
    assert tap.verdict() is None
    assert (tap.usage.prompt, tap.usage.output) == (100, 7)
    assert data.endswith(tap.final)
    assert len(tap.final) <= 64 * 1024 + 2 * size


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("final", ["response.completed", "response.incomplete"])
def test_a_final_event_of_any_length_is_kept_whole(named, final):
    item = {"type": "message", "content": [{"type": "output_text", "text": "x" * 300_000}]}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    body = {"id": "r", "status": final[9:], "output": [item], "usage": RESPONSES_USAGE}
    data = responses(*responses_text("a"), done, final=None, named=named)
    data += frames({"type": final, "response": body}, named=named)
    at = data.rindex(final.encode() + b'"')
    for cut in range(at - 60, at + 40):
        chunks = [data[i : i + 5_000] for i in range(0, cut, 5_000)]
        chunks[-1] = chunks[-1][: cut - 5_000 * (len(chunks) - 1)]
        tap = tapped("openai_responses", *chunks, data[cut : cut + 9], data[cut + 9 :])
        assert tap.verdict() is None
        assert tap.usage == USAGE
        assert tap.final.endswith(data[data.rindex(b"data: ") :])


def test_talk_of_a_final_event_does_not_make_one():
    talk = '\nevent: response.completed\ndata: {"type": "response.completed"}\n\n'
    data = responses(*responses_text(*[talk * 20] * 400), usage=RESPONSES_USAGE)
    tap = tapped("openai_responses", *(data[at : at + 4096] for at in range(0, len(data), 4096)))
    assert tap.usage == USAGE
    assert len(tap.final) < 80 * 1024


def test_an_event_beyond_any_measure_ends_the_looking_and_not_the_stream():
    chunk = b"x" * (16 * 1024 * 1024)
    tap = Tap(DIALECTS["openai_chat"])
    tap.feed(b"data: ")
    for _ in range(MAX_FRAME_BYTES // len(chunk)):
        tap.feed(chunk)
    assert tap.content  # so that the bytes go out
    tap.close()
    assert tap.verdict() is not None


def test_the_first_failure_is_kept():
    class Failing:
        final_names = ()

        def inspect(self, frame):
            return Sight(failure=Failure(500, frame.data.decode(), "server"))

    tap = Tap(Failing())
    tap.feed(b"data: first\n\ndata: second\n\n")
    tap.close()
    assert tap.verdict().message == "first"


def test_no_frame_of_a_short_stream_is_looked_at_twice():
    seen = []

    class Counting:
        final_names = ()

        def inspect(self, frame):
            seen.append(frame)
            return DIALECTS["anthropic"].inspect(frame)

    tap = Tap(Counting())
    tap.feed(anthropic(*anthropic_text("a"), start_usage={"input_tokens": 3}))
    tap.close()
    assert tap.verdict() is None
    assert tap.usage == Usage(3)
    assert len(seen) == len(set(seen)) == 7
