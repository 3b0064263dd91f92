"""The beginning of a conversation stays the same while it grows."""

import json

import pytest

from app.dialects.base import read_head
from app.dialects.opening import opening

USER = {"role": "user", "content": "What is {this}?"}
GROWN = {
    "openai_chat": (
        {"messages": [{"role": "system", "content": "s"}, USER]},
        "messages",
        [{"role": "assistant", "content": "a"}, {"role": "user", "content": "more"}],
    ),
    "anthropic": (
        {"system": [{"type": "text", "text": "s"}], "messages": [USER]},
        "messages",
        [{"role": "assistant", "content": [{"type": "text", "text": "a"}]}, USER],
    ),
    "gemini": (
        {"contents": [{"role": "user", "parts": [{"text": "q"}]}]},
        "contents",
        [{"role": "model", "parts": [{"text": "a"}]}],
    ),
    "openai_responses": (
        {"instructions": "s", "input": [USER]},
        "input",
        [{"type": "reasoning", "summary": []}, {"type": "function_call", "name": "f"}],
    ),
}


def beginning(body, **how):
    return opening(read_head(json.dumps(body, **how).encode()))


@pytest.mark.parametrize("dialect", GROWN)
@pytest.mark.parametrize("how", [{}, {"separators": (",", ":")}, {"indent": 1}])
def test_it_is_the_same_for_each_call_of_a_conversation(dialect, how):
    body, field, more = GROWN[dialect]
    first = beginning(body, **how)
    assert first
    assert beginning(body | {field: [*body[field], *more]}, **how).split() == first.split()
    assert beginning(body | {"temperature": 1, "model": "other"}, **how) == first


@pytest.mark.parametrize("dialect", GROWN)
def test_another_question_is_another_conversation(dialect):
    body, field, _ = GROWN[dialect]
    other = json.loads(json.dumps(body[field]).replace("q", "z").replace("What", "Who"))
    assert beginning(body | {field: other}) != beginning(body)


def test_a_plain_text_is_its_own_beginning_and_nothing_is_none():
    assert beginning({"input": "hello"}) == b'"hello"'
    assert beginning({"model": "m"}) == b""
    assert beginning({"messages": [], "input": 3}) == b"[]\x003"
