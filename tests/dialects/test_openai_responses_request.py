"""Requests of Responses clients: what they say, and where they are wrong."""

import pytest

from app.canonical.parts import (
    Signature,
)
from app.dialects.carrier import seal
from app.errors import RequestError
from tests.dialects.responses import (
    decode_request,
    load,
)


def test_items_of_one_turn_become_one_message():
    request = decode_request(load("codex", "request.json"))
    assert [message.role for message in request.messages] == [
        "developer",
        "user",
        "assistant",
        "tool",
    ]
    assert len(request.messages[2].parts) == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x"}, "model"),
        ({"model": "m"}, "input"),
        ({"model": "m", "input": 3}, "input"),
        ({"model": "m", "input": [3]}, "input[0]"),
        ({"model": "m", "input": [{"role": "robot", "content": ""}]}, "input[0].role"),
        ({"model": "m", "input": [{"role": "user", "content": 3}]}, "input[0].content"),
        ({"model": "m", "input": [{"role": "user"}]}, "input[0].content"),
        ({"model": "m", "input": [{"type": "function_call"}]}, "input[0].arguments"),
        (
            {"model": "m", "input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0]",
        ),
        ({"model": "m", "input": "x", "tools": [{"name": "f"}]}, "tools[0].type"),
        (
            {
                "model": "m",
                "input": "x",
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
            "tools[0].name",
        ),
        ({"model": "m", "input": "x", "temperature": "hot"}, "temperature"),
        ({"model": "m", "input": "x", "max_output_tokens": True}, "max_output_tokens"),
        ({"model": "m", "input": "x", "tool_choice": "maybe"}, "tool_choice"),
        ({"model": "m", "input": "x", "stream": "yes"}, "stream"),
        ({"model": "m", "input": "x", "metadata": {"a": 1}}, "metadata.a"),
    ],
)
def test_wrong_request_says_where(body, param):
    with pytest.raises(RequestError) as caught:
        decode_request(body)
    assert caught.value.param == param


def test_carried_signature_after_tool_results_is_not_lost():
    carrier = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "encrypted_content": seal(Signature("google", "s"), {"call": "c2"}),
    }
    items = [
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
        carrier,
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
    ]
    messages = decode_request({"model": "m", "input": items}).messages
    assert messages[2].parts[0].signature == Signature("google", "s")
