"""Whole answers of a Responses service."""

import pytest

from app.canonical.usage import Usage
from app.errors import UpstreamError
from tests.dialects.responses import (
    DIALECT,
    load,
)


def test_usage_is_disjoint():
    usage = DIALECT.decode_response(load("cached_usage", "response.json"), "openai").usage
    assert usage == Usage(input=22, cache_read=1920, cache_write=64, output=300, reasoning=0)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"output": 3},
        {"output": [3]},
        {"output": [{"type": "message", "content": 3}]},
        {"output": [{"type": "message", "content": [{"type": "output_text"}]}]},
        {"output": [{"type": "function_call", "name": 3}]},
        {"status": "in_progress", "output": []},
        {"status": "failed", "error": {"code": "server_error", "message": "boom"}},
    ],
)
def test_broken_answer_is_an_upstream_error(body):
    with pytest.raises(UpstreamError):
        DIALECT.decode_response(body, "openai")


def test_equal_call_ids_are_told_apart():
    item = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    answer = DIALECT.decode_response({"output": [item, item]}, "openai")
    assert [part.id for part in answer.parts] == ["call_1", "call_1_2"]
