"""Thoughts that a client could not carry are put back."""

import json

import pytest

from app.canonical.events import PartEnded, PartStarted, ReasoningDelta, SignatureDelta
from app.canonical.parts import Reasoning, Signature, Text, ToolCall
from app.canonical.request import ChatRequest, Message
from app.gateway import replay
from app.gateway.replay import ReplayCache
from app.providers import ANTHROPIC, GEMINI
from tests.fakes.basic import Answered, Clock
from tests.gateway.scripted import (
    JSON,
    SSE,
    Desk,
    account,
    anthropic_block,
    anthropic_end,
    anthropic_start,
    anthropic_whole,
    ask_body,
    frame,
    gemini_whole,
)

TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
THOUGHT = {"type": "thinking", "thinking": "I must look.", "signature": "sig-1"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}


def follow_up(call):
    return ask_body("openai_chat", "m", tools=[TOOL], reasoning_effort="high") | {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Let me look.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": "seen"},
        ]
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_signed_thought_returns_first_in_its_message_for_anthropic(stream):
    if stream:
        chunks = [
            anthropic_start(),
            anthropic_block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "I must look."},
                {"type": "signature_delta", "signature": "sig-1"},
            ),
            anthropic_block(
                1, CALL | {"input": {}}, {"type": "input_json_delta", "partial_json": "{}"}
            ),
            anthropic_end("tool_use"),
        ]
        first = Answered(200, SSE, chunks)
    else:
        first = Answered(
            200, JSON, anthropic_whole(content=[THOUGHT, CALL], stop_reason="tool_use")
        )
    desk = Desk(account(ANTHROPIC, "one", ["m"])).answers(
        first, Answered(200, JSON, anthropic_whole())
    )
    body = ask_body("openai_chat", "m", stream=stream, tools=[TOOL], reasoning_effort="high")
    client = await desk.ask(body)
    if stream:
        deltas = [e["choices"][0]["delta"] for e in client.events() if e["choices"]]
        call = next(d["tool_calls"][0] for d in deltas if d.get("tool_calls"))
        call["function"]["arguments"] = "{}"
        call.pop("index")
    else:
        call = client.json["choices"][0]["message"]["tool_calls"][0]
    await desk.ask(follow_up(call))
    said = desk.sent()["messages"][1]["content"]
    assert said[0] == THOUGHT
    assert [block["type"] for block in said] == ["thinking", "text", "tool_use"]


async def test_signature_of_a_call_returns_to_gemini():
    parts = [{"functionCall": {"name": "look", "args": {}, "id": "c1"}, "thoughtSignature": "c2ln"}]
    answer = json.loads(gemini_whole())
    answer["candidates"][0]["content"]["parts"] = parts
    desk = Desk(account(GEMINI, "one", ["m"])).answers(
        Answered(200, JSON, json.dumps(answer).encode()), Answered(200, JSON, gemini_whole())
    )
    client = await desk.ask(ask_body("openai_chat", "m", tools=[TOOL]))
    call = client.json["choices"][0]["message"]["tool_calls"][0]
    await desk.ask(follow_up({k: v for k, v in call.items() if k in ("id", "type", "function")}))
    assert "c2ln" in json.dumps(desk.sent())


async def test_thoughts_belong_to_the_caller_that_got_them():
    first = Answered(200, JSON, anthropic_whole(content=[THOUGHT, CALL], stop_reason="tool_use"))
    desk = Desk(account(ANTHROPIC, "one", ["m"])).answers(
        first, Answered(200, JSON, anthropic_whole())
    )
    body = ask_body("openai_chat", "m", tools=[TOOL], reasoning_effort="high")
    client = await desk.ask(body, owner="key:a")
    call = client.json["choices"][0]["message"]["tool_calls"][0]
    await desk.ask(follow_up(call), owner="key:b")
    assert "sig-1" not in json.dumps(desk.sent())


# The cache itself


def thought(text="t", sign="s"):
    return Reasoning(text, signature=Signature("anthropic", sign))


def asked(call_id, *before):
    message = Message("assistant", (*before, ToolCall(call_id, "look", "{}")))
    return ChatRequest(model="m", messages=(message,))


def parts_of(request):
    return request.messages[0].parts


def test_kept_thought_is_attached_once_and_own_ones_win():
    cache = ReplayCache()
    cache.keep("a", "call_1", (thought(),), None)
    assert parts_of(cache.attach("a", asked("call_1")))[0] == thought()
    signed = asked("call_1", thought("mine", "other"))
    assert cache.attach("a", signed) is signed


def test_unsigned_thought_of_the_client_gives_way():
    cache = ReplayCache()
    cache.keep("a", "call_1", (thought(),), None)
    found = parts_of(cache.attach("a", asked("call_1", Reasoning("lost its seal"), Text("so"))))
    assert [type(part) for part in found] == [Reasoning, Text, ToolCall]
    assert found[0] == thought()


def test_entries_age(monkeypatch):
    clock = Clock()
    cache = ReplayCache(clock)
    cache.keep("a", "call_1", (thought(),), None)
    clock.advance(replay.MAX_AGE_S + 1)
    request = asked("call_1")
    assert cache.attach("a", request) is request
    cache.keep("a", "call_2", (thought(),), None)
    assert all(name == "call_2" for _, name in cache._entries)


def test_number_and_size_are_bounded(monkeypatch):
    monkeypatch.setattr(replay, "MAX_ENTRIES", 5)
    cache = ReplayCache()
    for number in range(9):
        cache.keep("a", f"call_{number}", (thought(),), None)
    assert len(cache._entries) <= 5
    assert cache._size == sum(entry.size for entry in cache._entries.values())
    monkeypatch.setattr(replay, "MAX_BYTES", 4_000)
    cache = ReplayCache()
    for number in range(9):
        cache.keep("a", f"call_{number}", (thought("x" * 500),), None)
    assert cache._size <= 4_000
    cache.keep("a", "call_big", (thought("x" * 2_000),), None)
    assert ("a", "call_big") not in cache._entries


def test_only_what_is_signed_is_kept():
    cache = ReplayCache()
    watch = cache.watch("a")
    watch.see([PartStarted(0, Reasoning("")), ReasoningDelta(0, "hm"), PartEnded(0)])
    watch.see([PartStarted(1, ToolCall("call_1", "look", "")), PartEnded(1)])
    assert not cache._entries
    watch = cache.watch("a")
    watch.see([PartStarted(0, Reasoning("")), ReasoningDelta(0, "h"), ReasoningDelta(0, "m")])
    watch.see([SignatureDelta(0, Signature("anthropic", "s")), PartEnded(0)])
    watch.see([PartStarted(1, ToolCall("call_1", "look", "")), PartEnded(1)])
    assert cache._entries["a", "call_1"].thoughts == (thought("hm"),)


def test_frame_helper_names_events():
    assert frame({"a": 1}, "x") == b'event: x\ndata: {"a": 1}\n\n'
