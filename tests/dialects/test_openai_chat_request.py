import pytest

from app.canonical.parts import (
    CacheMark,
    Media,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.request import OutputFormat, ReasoningConfig
from app.dialects.openai_chat_request import decode_chat_request
from app.errors import RequestError

USER = {"role": "user", "content": "hi"}


def decode(*messages, **fields):
    return decode_chat_request({"model": "m", "messages": list(messages) or [USER], **fields})


def call(call_id, name="f", arguments="{}"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*items):
    return {"role": "assistant", "content": None, "tool_calls": list(items)}


def result(call_id, content="x"):
    return {"role": "tool", "tool_call_id": call_id, "content": content}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"]}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}}
                        ],
                    }
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:image/png"}}],
                    }
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
            "messages[0].content[0].file",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [calls({"id": "1"})]}, "messages[0].tool_calls[0].function"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"stop": [1]}, "stop[0]"),
        ({"tools": [{"type": 1}]}, "tools[0].type"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "f"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function.name"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"reasoning": {"max_tokens": "x"}}, "reasoning.max_tokens"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_wrong_field_is_named(fields, param):
    with pytest.raises(RequestError) as caught:
        decode_chat_request({"model": "m", "messages": [USER], **fields})
    assert caught.value.param == param


def test_the_message_says_what_was_expected():
    with pytest.raises(
        RequestError,
        match=r"messages\[0\]\.content must be a string or a list of parts, not a number",
    ):
        decode({"role": "user", "content": 5})


def test_neighbouring_results_share_a_message():
    request = decode(
        calls(call("1"), call("2")), result("1"), result("2", [{"type": "text", "text": "y"}])
    )
    assert [message.role for message in request.messages] == ["assistant", "tool"]
    assert [part.content for part in request.messages[1].parts] == [(Text("x"),), (Text("y"),)]


def test_equal_ids_are_told_apart_and_results_follow_in_order():
    request = decode(
        calls(call("c"), call("c")),
        result("c", "one"),
        result("c", "two"),
        calls(call("c")),
        result("c", "three"),
    )
    ids = [p.id for m in request.messages for p in m.parts if isinstance(p, ToolCall)]
    answers = [p.call_id for m in request.messages for p in m.parts if isinstance(p, ToolResult)]
    assert ids == answers == ["c", "c_2", "c_3"]


def test_results_without_ids_answer_the_calls_in_order():
    request = decode(
        calls(call(None, "f"), call(None, "g")),
        {"role": "tool", "name": "g", "content": "G"},
        {"role": "tool", "content": "F"},
    )
    first, second = request.messages[0].parts
    assert [part.call_id for part in request.messages[1].parts] == [second.id, first.id]
    assert first.id != second.id


def test_arguments_are_always_json_text():
    request = decode(
        calls(call("1", arguments=""), call("2", arguments=None), call("3", arguments={"a": 1}))
    )
    assert [part.arguments for part in request.messages[0].parts] == ["{}", "{}", '{"a":1}']


def test_media_is_split_into_type_and_data():
    content = [
        {"type": "image_url", "image_url": "https://example.com/a.png"},
        {"type": "image_url", "image_url": {"url": "DATA:image/PNG;base64,iVBO Rw0K"}},
        {"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg/%3E"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg", "format": "mp3"}},
        {"type": "file", "file": {"file_data": "JVBERi0x", "filename": "a.PDF"}},
    ]
    parts = decode({"role": "user", "content": content}).messages[0].parts
    assert [(p.kind, p.media_type, p.data, p.url) for p in parts if isinstance(p, Media)] == [
        ("image", None, None, "https://example.com/a.png"),
        ("image", "image/png", "iVBORw0K", None),
        ("image", "image/svg+xml", "PHN2Zy8+", None),
        ("audio", "audio/mpeg", "UklGRg==", None),
        ("document", "application/pdf", "JVBERi0x", None),
    ]


def test_cache_marks_are_read_in_each_place():
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    request = decode(
        {"role": "user", "content": [{"type": "text", "text": "a", **mark}]},
        {"role": "user", "content": "b", **mark},
        tools=[{"type": "function", "function": {"name": "f"}, **mark}],
    )
    assert [message.parts[0].cache for message in request.messages] == [CacheMark("1h")] * 2
    assert request.tools[0].cache == CacheMark("1h")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reasoning_effort": "none"}, ("off", "none", None, None)),
        ({"reasoning_effort": "xhigh"}, ("on", "xhigh", None, None)),
        ({"reasoning": {"enabled": False}}, ("off", None, None, None)),
        ({"reasoning": {"max_tokens": 500, "exclude": True}}, ("on", None, 500, False)),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, ("on", "low", None, None)),
    ],
)
def test_reasoning_is_read_in_both_forms(fields, expected):
    config = decode(**fields).reasoning
    assert isinstance(config, ReasoningConfig)
    assert (config.mode, config.effort, config.budget_tokens, config.visible) == expected


def test_settings_without_a_place_in_the_canon_stay_native():
    request = decode(
        reasoning_effort="auto",
        metadata={"a": 1},
        response_format={"type": "grammar", "grammar": "x"},
    )
    assert request.reasoning is None
    assert request.metadata is None
    assert request.output is None
    assert request.native.fields == {
        "reasoning_effort": "auto",
        "metadata": {"a": 1},
        "response_format": {"type": "grammar", "grammar": "x"},
    }


def test_usage_in_streams_is_given_only_when_asked_for():
    assert decode(stream=True).include_usage is False
    assert decode(stream=True, stream_options={"include_usage": True}).include_usage is True


def test_the_newer_limit_wins():
    assert decode(max_tokens=1, max_completion_tokens=2).max_tokens == 2
    assert decode(max_tokens=1).max_tokens == 1


def test_output_formats_are_read():
    assert decode(response_format={"type": "text"}).output == OutputFormat("text")
    together = {"type": "json_object", "schema": {"type": "object"}}
    assert decode(response_format=together).output == OutputFormat(
        "json_object", {"type": "object"}
    )


def test_thought_and_refusal_in_history_are_parts():
    message = {"role": "assistant", "content": "a", "reasoning": "r", "refusal": "no"}
    thought, text, refusal = decode(USER, message).messages[1].parts
    assert isinstance(thought, Reasoning)
    assert thought.text == "r"
    assert text == Text("a")
    assert refusal == Refusal("no")


def test_raw_details_are_a_signature_of_this_dialect():
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    message = {"role": "assistant", "content": "a", "reasoning_details": details}
    thought = decode(USER, message).messages[1].parts[0]
    assert thought.signature == Signature(
        "openai_chat", '[{"data":"x","type":"reasoning.encrypted"}]'
    )
