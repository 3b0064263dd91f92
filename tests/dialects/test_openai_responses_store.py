"""What is read of a Responses call to remember its answer."""

import msgspec
import pytest

from app.dialects.base import dump, read_head
from app.dialects.openai_responses_store import (
    final_response,
    join_turn,
    previous_id,
    response_id,
    turn_items,
    unknown_previous,
    wants_store,
)
from tests.dialects.responses import CREATED, DONE, load, sse, stream_of

QUESTION = {"type": "message", "role": "user", "content": "Hi"}
ANSWER = {
    "id": "resp_1",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
        }
    ],
}


def head(**fields):
    return read_head(dump(fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, True), ({"store": True}, True), ({"store": None}, True), ({"store": False}, False)],
)
def test_answers_are_stored_unless_the_client_says_no(fields, expected):
    assert wants_store(head(**fields)) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"previous_response_id": "resp_1"}, "resp_1"),
        ({"previous_response_id": None}, None),
        ({"previous_response_id": 3}, None),
        ({}, None),
    ],
)
def test_the_answer_before_is_named_by_its_id(fields, expected):
    assert previous_id(head(**fields)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"output":[],"id":"resp_1"}', "resp_1"),
        (b'{"id":""}', None),
        (b"{}", None),
        (b'{"id":3}', None),
        (b"[]", None),
        (b"<html>", None),
        (b'{"id":"\xff"}', None),
    ],
)
def test_the_id_of_an_answer_is_read(body, expected):
    assert response_id(body) == expected


def test_a_follow_up_begins_with_the_whole_conversation_before_it():
    first = head(model="m", input="Hi")
    items = turn_items(first, dump(ANSWER))
    follow = head(model="m", previous_response_id="resp_1", input=[QUESTION], store=True)
    raw, joined = join_turn(follow, items)
    assert read_head(raw) == joined
    body = msgspec.json.decode(raw)
    assert "previous_response_id" not in body
    assert (body["model"], body["store"]) == ("m", True)
    before, said, asked = body["input"]
    assert before["role"] == "user"
    assert before["content"] == [{"type": "input_text", "text": "Hi"}]
    assert said["content"][0]["text"] == "Hello."
    assert asked == QUESTION


def test_a_turn_without_input_holds_the_answer_only():
    (item,) = msgspec.json.decode(turn_items(head(model="m"), dump(ANSWER)))
    assert item["role"] == "assistant"


@pytest.mark.parametrize("case", ["text", "reasoning", "max_tokens"])
def test_the_final_response_of_a_stream_is_found(case):
    found = msgspec.json.decode(final_response(stream_of(case)))
    assert found["id"] == load(case, "response.json")["id"]
    assert found["output"] == load(case, "response.json")["output"]


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        sse(CREATED, DONE),
        sse({"type": "response.output_text.delta", "delta": "response.completed"}),
        b"data: response.completed\n\n",
        b'data: {"type":"\xff response.completed"}\n\n',
        b'data: {"type":3,"x":"response.completed"}\n\n',
    ],
)
def test_a_stream_without_a_final_response_has_none(stream):
    assert final_response(stream) is None


def test_the_last_of_several_final_responses_counts():
    events = [{"type": "response.completed", "response": {"id": name}} for name in "ab"]
    stream = sse(*events) + b"data: response.completed is no JSON\n\n"
    assert msgspec.json.decode(final_response(stream)) == {"id": "b"}


def test_an_unknown_answer_is_refused_in_the_services_words():
    error = unknown_previous("resp_" + "x" * 500)
    assert (error.status, error.code, error.param) == (
        400,
        "previous_response_not_found",
        "previous_response_id",
    )
    assert len(error.message) < 200
