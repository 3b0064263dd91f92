import json

import msgspec

from app.canonical.events import ReasoningDelta, TextDelta
from app.dialects import DIALECTS
from app.dialects.base import decode_object
from app.providers.ctonew_answer import Answer
from app.providers.ctonew_frames import Heard
from app.providers.ctonew_prompt import Job

JOB = Job("gpt_5_4", "what is it?", "ctonew-gpt_5_4", "user_1")
PIECES = [Heard("thinking", "hm"), Heard("text", "It is "), Heard("text", "one.")]
CHAT = DIALECTS["openai_chat"]


def answer(job=JOB):
    return Answer(job, "chatcmpl-1", 1_770_000_000)


def test_a_whole_answer_is_a_chat_completion_with_estimated_counts():
    made = answer()
    made.add(PIECES[:2])
    made.add(PIECES[2:])
    body = json.loads(made.whole())
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": "It is one.",
        "reasoning_content": "hm",
    }
    assert body["usage"]["estimated"] is True
    assert (body["id"], body["model"]) == ("chatcmpl-1", "ctonew-gpt_5_4")
    response = CHAT.decode_response(decode_object(made.whole()), "ctonew")
    assert (response.usage.prompt, response.usage.output, response.usage.reasoning) == (3, 4, 1)


def test_a_stream_is_read_by_the_dialect_and_ends():
    made = answer(msgspec.structs.replace(JOB, include_usage=True))
    raw = b"".join(made.encode([piece]) for piece in PIECES) + made.close()
    decoder = CHAT.stream_decoder("ctonew")
    events = decoder.feed(raw) + decoder.close()
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    assert (text, thought) == ("It is one.", "hm")
    assert events[-1].usage.output == 4
    assert raw.endswith(b"data: [DONE]\n\n")


def test_usage_comes_only_where_it_was_asked_for():
    made = answer()
    raw = made.encode(PIECES) + made.close()
    assert b"usage" not in raw
    assert raw.count(b'"role":"assistant"') == 1


def test_an_answer_without_words_is_still_an_answer():
    made = answer()
    assert made.encode([]) == b""
    first = json.loads(made.close().split(b"\n\n")[0].removeprefix(b"data: "))
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant"}, "finish_reason": "stop"}
    ]
    assert json.loads(answer().whole())["choices"][0]["message"]["content"] == ""
