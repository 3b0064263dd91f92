import json

import pytest

from app.dialects.base import read_head
from app.providers.copilot_calls import has_image, initiator, shape_call
from app.providers.shaping import Asked

BASE = "https://api.test"
USER = {"role": "user", "content": "hi"}
SAID = {"role": "assistant", "content": "yes"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
SHOWN = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "42"}
TEXT = {"type": "text", "text": "look"}


def asked(
    dialect, body, *, model="m", stream=False, headers=(), operation="generate", path="/v1/x"
):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Asked(dialect, operation, model, raw, stream, path, headers, None)


def shaped(*args, **more):
    return shape_call(asked(*args, **more), (("User-Agent", "u"),), BASE)


def body_of(*args, **more):
    return json.loads(shaped(*args, **more).body)


# Who began the turn


@pytest.mark.parametrize(
    ("dialect", "body", "who"),
    [
        ("openai_chat", {"messages": [USER]}, "user"),
        ("openai_chat", {"messages": [USER, SAID]}, "agent"),
        ("openai_chat", {"messages": [USER, SAID, {"role": "tool", "content": "1"}]}, "agent"),
        ("openai_chat", {"messages": [USER, SAID, USER]}, "user"),
        ("openai_chat", {"messages": [{"role": "system", "content": "s"}]}, "agent"),
        ("openai_chat", {"messages": []}, "user"),
        ("openai_chat", {}, "user"),
        ("openai_chat", {"messages": ["odd"]}, "user"),
        ("openai_responses", {"input": "hi"}, "user"),
        ("openai_responses", {"input": []}, "user"),
        ("openai_responses", {}, "user"),
        ("openai_responses", {"input": [USER]}, "user"),
        ("openai_responses", {"input": [USER, {"type": "function_call_output"}]}, "agent"),
        ("openai_responses", {"input": [USER, {"type": "reasoning"}]}, "agent"),
        ("openai_responses", {"input": [{"type": "function_call_output"}, USER]}, "user"),
        ("openai_responses", {"input": [USER, SAID]}, "agent"),
        ("anthropic", {"messages": [USER]}, "user"),
        ("anthropic", {"messages": [USER, SAID]}, "agent"),
        ("anthropic", {"messages": [{"role": "user", "content": [RESULT, RESULT]}]}, "agent"),
        ("anthropic", {"messages": [{"role": "user", "content": [RESULT, TEXT]}]}, "user"),
        ("anthropic", {"messages": [{"role": "user", "content": [TEXT]}]}, "user"),
        ("anthropic", {"messages": [{"role": "user", "content": []}]}, "user"),
        ("anthropic", {"messages": [{"role": "user"}]}, "user"),
    ],
)
def test_the_last_message_says_who_began_the_turn(dialect, body, who):
    raw = json.dumps(body).encode()
    assert initiator(dialect, read_head(raw)) == who
    assert dict(shaped(dialect, raw).headers)["X-Initiator"] == who


def test_a_caller_cannot_say_that_its_turn_is_an_agents():
    call = shaped("openai_chat", {"messages": [USER]}, headers=(("x-initiator", "agent"),))
    assert dict(call.headers)["X-Initiator"] == "user"


# Images


@pytest.mark.parametrize(
    ("dialect", "body", "seen"),
    [
        ("openai_chat", {"messages": [{"role": "user", "content": [PICTURE]}, SAID]}, True),
        ("openai_chat", {"messages": [{"role": "user", "content": '"image_url"'}]}, False),
        ("openai_chat", {"messages": [USER]}, False),
        ("openai_responses", {"input": [{"role": "user", "content": [SHOWN]}]}, True),
        (
            "openai_responses",
            {"input": [{"type": "function_call_output", "output": [SHOWN]}]},
            True,
        ),
        ("openai_responses", {"input": "input_image"}, False),
        ("anthropic", {"messages": [{"role": "user", "content": [IMAGE]}]}, True),
        (
            "anthropic",
            {"messages": [{"role": "user", "content": [{**RESULT, "content": [IMAGE]}]}, SAID]},
            True,
        ),
        ("anthropic", {"messages": [USER], "tools": [{"type": "image", "name": "image"}]}, False),
        ("anthropic", {}, False),
    ],
)
def test_an_image_anywhere_in_the_messages_is_announced(dialect, body, seen):
    raw = json.dumps(body).encode()
    assert has_image(dialect, raw, read_head(raw)) is seen
    told = dict(shaped(dialect, raw).headers).get("Copilot-Vision-Request")
    assert told == ("true" if seen else None)


# Addresses


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        ("openai_chat", "/chat/completions"),
        ("openai_responses", "/responses"),
        ("anthropic", "/v1/messages"),
    ],
)
def test_only_messages_keeps_its_version_in_the_path(dialect, path):
    call = shaped(dialect, {"messages": [USER]}, path="/v1/other?beta=true")
    assert (call.path, call.base_url) == (path, BASE)
    assert call.headers[0] == ("User-Agent", "u")


def test_embeddings_go_out_as_they_are():
    call = asked("openai_chat", {"input": "x", "model": "e"}, operation="embeddings")
    made = shape_call(call, (), BASE)
    assert (made.path, made.body is call.body, made.headers) == ("/embeddings", True, ())


# Body rules


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic"])
def test_a_body_that_is_as_it_should_be_stays_the_same_object(dialect):
    call = asked(dialect, b'{"model":"m", "messages":[], "input":[]}')
    assert shape_call(call, (), BASE).body is call.body


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic"])
def test_service_tiers_are_left_out(dialect):
    assert body_of(dialect, {"service_tier": "flex", "messages": []}) == {"messages": []}


def test_chat_streams_are_asked_for_their_usage():
    assert body_of("openai_chat", {"stream": True}, stream=True)["stream_options"] == {
        "include_usage": True
    }
    given = {"stream_options": {"include_usage": False, "x": 1}}
    assert body_of("openai_chat", given, stream=True)["stream_options"] == {
        "include_usage": True,
        "x": 1,
    }
    assert body_of("openai_chat", {"stream_options": None}, stream=True)["stream_options"] == {
        "include_usage": True
    }


def test_chat_loses_what_copilot_does_not_take():
    body = {"store": True, "reasoning_effort": "high", "temperature": 1}
    assert body_of("openai_chat", body) == {"temperature": 1}


def test_developer_messages_become_system_messages():
    body = {"messages": [{"role": "developer", "content": "d"}, USER]}
    assert body_of("openai_chat", body)["messages"] == [{"role": "system", "content": "d"}, USER]
    said = asked("openai_chat", {"messages": [{"role": "user", "content": '"developer"'}]})
    assert shape_call(said, (), BASE).body is said.body


@pytest.mark.parametrize(
    ("model", "body", "sent"),
    [
        ("gpt-4.1", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("o4-mini", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("gpt-5", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        (
            "gpt-5",
            {"max_tokens": 5, "max_completion_tokens": 6},
            {"max_completion_tokens": 6},
        ),
        ("claude-sonnet-4.5", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("gemini-3-pro", {"max_tokens": 5}, {"max_tokens": 5}),
    ],
)
def test_the_limit_has_the_name_that_the_models_maker_knows(model, body, sent):
    assert body_of("openai_chat", body, model=model) == sent


def test_messages_lose_the_tool_field_that_is_refused():
    tools = [{"name": "a", "eager_input_streaming": True}, {"name": "b"}]
    assert body_of("anthropic", {"tools": tools})["tools"] == [{"name": "a"}, {"name": "b"}]


def test_only_betas_that_copilot_knows_travel_on():
    sent = (
        ("anthropic-beta", "oauth-2025-04-20, interleaved-thinking-2025-05-14"),
        ("Anthropic-Beta", "context-management-2025-06-27,claude-code-20250219"),
    )
    call = shaped("anthropic", {"messages": [USER]}, headers=sent)
    assert dict(call.headers)["anthropic-beta"] == (
        "interleaved-thinking-2025-05-14,context-management-2025-06-27"
    )
    none = shaped("anthropic", {"messages": [USER]}, headers=(("anthropic-beta", "oauth-2025"),))
    assert "anthropic-beta" not in dict(none.headers)
