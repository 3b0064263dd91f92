"""Conversations as Responses items."""

import json
from dataclasses import replace

import pytest

from app.canonical.parts import (
    Media,
    Native,
    Opaque,
    Reasoning,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.request import (
    Message,
)
from app.canonical.response import ChatResponse
from app.errors import TranslationError
from tests.dialects.responses import (
    DIALECT,
    TARGET,
    decode_request,
    encode_request,
    reply_to,
    simple,
)


def test_own_signature_is_sent_raw_and_only_to_its_issuer():
    answer = ChatResponse(
        "r", "m", (Reasoning("t", signature=Signature("openai", "enc"), id="rs_1"),), "end"
    )
    item = DIALECT.encode_response(answer, reply_to()).body["output"][0]
    assert item["encrypted_content"] == "enc"
    request = decode_request({"model": "m", "input": [item]})
    assert encode_request(request).body["input"] == [item]
    elsewhere = encode_request(request, replace(TARGET, issuer="xai"))
    assert elsewhere.body["input"] == []
    assert elsewhere.losses[0].path == "messages[0].content[0]"


@pytest.mark.parametrize(
    ("part", "role"),
    [
        (Media("video", "video/mp4", "aGk="), "user"),
        (Media("audio", "audio/flac", "aGk="), "user"),
        (Media("image", file_id="file_1", native=Native("anthropic", {})), "user"),
        (Media("image", url="gs://bucket/a"), "user"),
        (
            Media("document", url="https://generativelanguage.googleapis.com/v1beta/files/1"),
            "user",
        ),
        (Opaque("anthropic", {"type": "server_tool_use"}), "assistant"),
        (Opaque("gemini", {}), "user"),
        (Media("audio", "audio/wav", "aGk="), "assistant"),
        (Reasoning("t"), "user"),
    ],
)
def test_content_that_responses_lacks_is_refused_with_its_path(part, role):
    request = simple(messages=(Message(role, (Text("a"), part)),))
    with pytest.raises(TranslationError) as caught:
        encode_request(request)
    assert caught.value.param == "messages[0].content[1]"


def test_null_fields_are_not_sent_back():
    items = [
        {"type": "function_call", "id": None, "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "x", "status": None},
        {"type": "web_search_call", "id": "ws_1", "status": None, "action": {"type": "search"}},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "status": None},
    ]
    sent = encode_request(decode_request({"model": "m", "input": items})).body["input"]
    assert "null" not in json.dumps(sent[:3])
    assert sent[3] == {"type": "reasoning", "id": "rs_1", "summary": [], "content": None}


def test_calls_without_ids_meet_their_results():
    messages = (
        Message("assistant", (ToolCall("", "f", "{}"), ToolCall("", "f", "{}"))),
        Message("tool", (ToolResult("", (Text("1"),)), ToolResult("", (Text("2"),)))),
        Message("assistant", (ToolCall("same", "f", "{}"), ToolCall("same", "f", "{}"))),
        Message("tool", (ToolResult("same", (Text("3"),)), ToolResult("same", (Text("4"),)))),
    )
    items = encode_request(simple(messages=messages)).body["input"]
    ids = [item["call_id"] for item in items]
    assert ids[:2] == ids[2:4]
    assert ids[4:6] == ids[6:8]
    assert len(set(ids)) == 4


def test_parts_of_one_item_come_back_as_one_item():
    content = [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]
    items = [{"role": "assistant", "content": content}, {"role": "assistant", "content": "c"}]
    request = decode_request({"model": "m", "input": items})
    assert len(request.messages) == 1
    assert encode_request(request).body["input"] == items
