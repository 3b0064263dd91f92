"""Thought on its way from compatible servers to clients of every dialect, and back."""

import re

import msgspec
import pytest

from app.canonical.events import SignatureDelta
from app.canonical.fold import fold, unfold
from app.canonical.parts import Reasoning, Signature, Text, ToolCall
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import ChatRequest, Message
from app.canonical.response import ChatResponse
from app.dialects import DIALECTS
from app.dialects.base import dump
from app.dialects.carrier import open_seal
from tests.dialects.corpus import answer_of, peek_of, reply_for

CHAT = DIALECTS["openai_chat"]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {
    "openai_chat": {"role": "tool", "tool_call_id": "call_1", "content": "ok"},
    "openai_responses": {"type": "function_call_output", "call_id": "call_1", "output": "ok"},
}


def thinking(key="reasoning_content", calls=(CALL,)):
    message = {"role": "assistant", "content": "", key: "I need f.", "tool_calls": list(calls)}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}


def streamed(key):
    base = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
    deltas = [
        {"role": "assistant", key: "I need"},
        {key: " f."},
        {"tool_calls": [{"index": 0, **CALL}]},
    ]
    bodies = [{**base, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    bodies.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    return b"".join(b"data: %b\n\n" % dump(body) for body in bodies) + b"data: [DONE]\n\n"


def history(client, answer):
    """What a client of a dialect sends after an answer that called its tool."""
    if client == "openai_chat":
        user = {"role": "user", "content": "Hi"}
        return {"messages": [user, answer["choices"][0]["message"], RESULT[client]]}
    if client == "openai_responses":
        user = {"role": "user", "content": "Hi"}
        return {"input": [user, *answer["output"], RESULT[client]]}
    if client == "anthropic":
        call_id = next(b["id"] for b in answer["content"] if b["type"] == "tool_use")
        result = {"type": "tool_result", "tool_use_id": call_id, "content": "ok"}
        said = [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": answer["content"]},
            {"role": "user", "content": [result]},
        ]
        return {"max_tokens": 9, "messages": said}
    result = {"functionResponse": {"name": "f", "response": {"output": "ok"}}}
    return {
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            answer["candidates"][0]["content"],
            {"role": "user", "parts": [result]},
        ]
    }


def sent(client, answer, issuer, official=False):
    """The assistant's message in the request that goes upstream."""
    dialect = DIALECTS[client]
    body = {"model": "m", **history(client, answer)}
    request = dialect.decode_request(body, peek_of(body))
    target = Target(ModelProfile("m"), issuer, official)
    messages = CHAT.encode_request(request, target).body["messages"]
    (message,) = (m for m in messages if m["role"] == "assistant")
    return message


def told(client, key, stream):
    """A server's answer as a client gets it."""
    if not stream:
        answer = CHAT.decode_response(thinking(key), "deepseek")
        return DIALECTS[client].encode_response(answer, reply_for()).body
    decoder = CHAT.stream_decoder("deepseek")
    events = decoder.feed(streamed(key)) + decoder.close()
    data = DIALECTS[client].stream_encoder(reply_for()).encode(events)
    # A client puts the pieces together as the service's own decoder does.
    whole = DIALECTS[client].encode_response(answer_of(client, data), reply_for()).body
    return msgspec.json.decode(dump(whole))


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_thought_that_led_to_a_call_comes_back_to_the_service_that_had_it(client, key, stream):
    answer = told(client, key, stream)
    message = sent(client, answer, "deepseek")
    # Chat clients send it back in the field that they know.
    field = "reasoning_content" if client == "openai_chat" else key
    assert message[field] == "I need f."
    assert message["tool_calls"][0]["function"]["name"] == "f"
    assert "reasoning_details" not in message


@pytest.mark.parametrize("client", ["anthropic", "openai_responses", "gemini"])
@pytest.mark.parametrize(("issuer", "official"), [("groq", False), ("openai", True)])
def test_a_thought_does_not_go_to_another_service(client, issuer, official):
    message = sent(client, told(client, "reasoning_content", False), issuer, official)
    assert not {"reasoning_content", "reasoning", "reasoning_details"} & message.keys()


def test_a_whole_answer_and_its_stream_say_the_same_of_a_thought():
    whole = CHAT.decode_response(thinking(), "deepseek")
    decoder = CHAT.stream_decoder("deepseek")
    events = decoder.feed(streamed("reasoning_content")) + decoder.close()
    assert fold(events).parts == whole.parts
    assert whole.parts[0].signature == Signature("deepseek", "reasoning_content")
    assert [e.signature for e in events if isinstance(e, SignatureDelta)] == [
        Signature("deepseek", "reasoning_content")
    ]


def test_chat_clients_see_a_thought_without_any_seal():
    for stream in (False, True):
        message = told("openai_chat", "reasoning_content", stream)["choices"][0]["message"]
        assert message["reasoning_content"] == "I need f."
        assert "reasoning_details" not in message
    answer = CHAT.decode_response(thinking(), "deepseek")
    assert b"reasoning_details" not in dump(CHAT.encode_response(answer, reply_for()).body)


def test_calls_of_other_models_get_a_blank_thought_where_one_is_wanted():
    own = Reasoning("Hm.", signature=Signature("moonshot", "reasoning_content"))
    call = ToolCall("call_1", "f", "{}")
    request = ChatRequest(
        "m",
        (
            Message("assistant", (Reasoning("x", signature=Signature("anthropic", "s")), call)),
            Message("assistant", (own, call)),
            Message("assistant", (Text("Done."),)),
        ),
    )

    def thoughts(issuer):
        target = Target(ModelProfile("m"), issuer, official=False)
        messages = CHAT.encode_request(request, target).body["messages"]
        return [message.get("reasoning_content") for message in messages]

    assert thoughts("moonshot") == [" ", "Hm.", None]
    assert thoughts("someone") == [None, None, None]


def test_details_that_are_not_signed_are_kept_beside_the_field():
    body = thinking("reasoning")
    details = [{"type": "reasoning.text", "text": "I need f."}]
    body["choices"][0]["message"]["reasoning_details"] = details
    answer = CHAT.decode_response(body, "openrouter")
    thought = answer.parts[0]
    assert thought.signature == Signature("openrouter", "reasoning")
    assert thought.native.fields["reasoning_details"] == details
    shown = CHAT.encode_response(
        ChatResponse("r", "m", answer.parts, "tool_use"), reply_for()
    ).body["choices"][0]["message"]
    assert shown["reasoning_details"] == details


SEALED = ChatResponse(
    "r",
    "m",
    (
        Reasoning("Long.", summary=True, signature=Signature("openai", "enc"), id="rs_1"),
        Reasoning("Full.", signature=Signature("anthropic", "sig")),
        Reasoning(redacted=True, signature=Signature("anthropic", "red")),
        Text("Hi."),
    ),
    "end",
)


@pytest.mark.parametrize("step", [1, 10_000])
def test_a_chat_stream_keeps_what_is_known_of_a_sealed_thought(step):
    encoder = CHAT.stream_encoder(reply_for())
    data = b"".join(encoder.encode([event]) for event in unfold(SEALED))
    decoder = CHAT.stream_decoder("dragoman")
    events = [e for at in range(0, len(data), step) for e in decoder.feed(data[at : at + step])]
    events += decoder.close()
    whole = CHAT.decode_response(CHAT.encode_response(SEALED, reply_for()).body, "dragoman")
    for parts in (fold(events).parts, whole.parts):
        assert [
            (p.text, p.signature, p.id, p.summary, p.redacted)
            for p in parts
            if isinstance(p, Reasoning)
        ] == [
            ("Long.", Signature("openai", "enc"), "rs_1", True, False),
            ("Full.", Signature("anthropic", "sig"), None, False, False),
            ("", Signature("anthropic", "red"), None, False, True),
        ]


@pytest.mark.parametrize("client", ["openai_chat", "anthropic", "gemini"])
def test_what_came_with_a_signature_goes_on_to_the_client(client):
    """From a Chat service that seals, as another proxy of this kind does."""
    encoder = CHAT.stream_encoder(reply_for())
    decoder = CHAT.stream_decoder("dragoman")
    events = decoder.feed(encoder.encode(unfold(SEALED))) + decoder.close()
    data = DIALECTS[client].stream_encoder(reply_for()).encode(events)
    sealed = re.findall(rb'"(?:data|signature|thoughtSignature)":"([^"]+)"', data)
    opened = [found for value in sealed if (found := open_seal(value.decode())) is not None]
    facts = {signature.value: extra for signature, extra in opened}
    assert (facts["enc"]["id"], facts["enc"]["summary"]) == ("rs_1", True)
