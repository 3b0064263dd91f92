"""Follow-up calls in Responses that name an earlier answer."""

from __future__ import annotations

import json

import pytest
from openai.types.responses.response_input_item import ResponseInputItem
from pydantic import TypeAdapter

from app.canonical.parts import Reasoning, Signature, Text, ToolCall
from app.canonical.response import ChatResponse
from app.dialects.base import read_head
from app.dialects.openai_responses_memory import input_items, join_previous, response_items
from app.dialects.openai_responses_request import decode_request
from app.errors import RequestError

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
}


def test_output_becomes_input_without_nulls_that_are_refused():
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "status": "completed"},
        {**MESSAGE, "status": None},
        {"type": "mcp_call", "id": "mcp_1", "output": None, "status": None},
        7,
    ]
    assert response_items({"output": output}) == [
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None},
        {key: value for key, value in MESSAGE.items() if key != "status"},
        {"type": "mcp_call", "id": "mcp_1", "output": None},
    ]
    assert response_items({"output": None}) == []


def test_canonical_answer_becomes_the_clients_own_history():
    answer = ChatResponse(
        "resp_1",
        "m",
        (
            Reasoning("Hm.", signature=Signature("anthropic", "sig")),
            Text("Hi"),
            ToolCall("c", "f", "{}", signature=Signature("google", "s")),
        ),
        "tool_use",
    )
    items = response_items(answer)
    assert items == response_items(answer)
    TypeAdapter(list[ResponseInputItem]).validate_python(items)
    (message,) = decode_request({"model": "m", "input": items}).messages
    assert message.parts[0].signature == Signature("anthropic", "sig")
    assert message.parts[2].signature == Signature("google", "s")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            '"Go on."',
            [
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "Go on."}],
                }
            ],
        ),
        ('[{"role":"user","content":"x"}]', [{"role": "user", "content": "x"}]),
        ("null", []),
    ],
)
def test_earlier_items_stand_before_the_new_input(given, expected):
    raw = b'{"model":"m","previous_response_id":"resp_1","input":%b,"x":1}' % given.encode()
    body = json.loads(join_previous(read_head(raw), [MESSAGE]))
    assert body == {"model": "m", "input": [MESSAGE, *expected], "x": 1}


def test_follow_up_without_input():
    body = json.loads(join_previous(read_head(b'{"previous_response_id":"r"}'), [MESSAGE]))
    assert body == {"input": [MESSAGE]}


def test_input_of_another_kind_is_refused():
    with pytest.raises(RequestError) as caught:
        input_items(3)
    assert caught.value.param == "input"
