import pytest
from openai.types import Completion
from pydantic import TypeAdapter

from app.canonical.events import Failed
from app.canonical.failure import cut_stream
from app.canonical.fold import unfold
from app.canonical.parts import Reasoning, Text, ToolCall
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage
from app.dialects.base import Peek
from app.dialects.completions import COMPLETIONS, decode_completion_request
from app.errors import RequestError
from tests.dialects.test_openai_chat import chunks_of, reply

completion = TypeAdapter(Completion)
BODY = {"model": "m", "prompt": "Say hi", "max_tokens": 5, "stop": "\n", "temperature": 0}
ANSWER = ChatResponse(
    "r", "m", (Reasoning("hm"), Text("Hi "), Text("you")), "max_tokens", Usage(3, 0, 0, 2)
)


def test_a_prompt_is_a_user_message():
    request = COMPLETIONS.decode_request(BODY, Peek("m", False))
    assert [(m.role, m.parts) for m in request.messages] == [("user", (Text("Say hi"),))]
    assert (request.max_tokens, request.stop, request.temperature) == (5, ("\n",), 0)
    assert decode_completion_request({**BODY, "prompt": ["one"]})["messages"][0]["content"] == "one"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"suffix": "x"}, "suffix"),
        ({"echo": True}, "echo"),
        ({"best_of": 2}, "best_of"),
        ({"logprobs": 0}, "logprobs"),
    ],
)
def test_what_chat_models_cannot_do_is_refused_by_name(fields, param):
    with pytest.raises(RequestError) as caught:
        COMPLETIONS.decode_request({**BODY, **fields}, Peek("m", False))
    assert caught.value.param == param
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "fields", [{"suffix": ""}, {"echo": False}, {"best_of": 1}, {"suffix": None}]
)
def test_fields_that_ask_for_nothing_pass(fields):
    assert COMPLETIONS.decode_request({**BODY, **fields}, Peek("m", False)).model == "m"


def test_the_call_is_never_passed_through():
    peek = COMPLETIONS.peek(
        b'{"model":"m","prompt":"x","stream":true}', "/v1/completions", "", COMPLETIONS.routes[0]
    )
    assert peek.variant == "completions"
    assert peek.stream
    assert COMPLETIONS.routes[0].pattern.fullmatch("/v1/completions")
    assert not COMPLETIONS.routes[0].pattern.fullmatch("/v1/chat/completions")
    assert COMPLETIONS.name == "openai_chat"


def test_an_answer_is_text():
    encoded = COMPLETIONS.encode_response(ANSWER, reply())
    answer = completion.validate_python(encoded.body)
    assert answer.choices[0].text == "Hi you"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.total_tokens == 5
    assert [loss.path for loss in encoded.losses] == ["content[0]"]


@pytest.mark.parametrize(
    ("stop", "word"),
    [
        ("end", "stop"),
        ("tool_use", "stop"),
        ("content_filter", "content_filter"),
        ("context_full", "length"),
    ],
)
def test_stop_reasons_are_those_of_completions(stop, word):
    response = ChatResponse("r", "m", (ToolCall("c", "f", "{}"),), stop)
    body = COMPLETIONS.encode_response(response, reply()).body
    assert completion.validate_python(body).choices[0].finish_reason == word


def test_a_stream_is_text():
    data = COMPLETIONS.stream_encoder(reply()).encode(unfold(ANSWER))
    chunks = chunks_of(data)
    texts = [choice["text"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(texts) == "Hi you"
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 2
    assert all(chunk["object"] == "text_completion" for chunk in chunks)
    without = COMPLETIONS.stream_encoder(reply(include_usage=False)).encode(unfold(ANSWER))
    assert all("usage" not in chunk for chunk in chunks_of(without))


def test_a_failure_in_a_stream_is_an_error():
    encoder = COMPLETIONS.stream_encoder(reply())
    assert (
        chunks_of(encoder.encode([Failed(cut_stream())]))[0]["error"]["code"] == "upstream_closed"
    )
    assert encoder.ping() == b": ping\n\n"
