"""previous_response_id over every upstream, and the limits of what is remembered."""

import json
from dataclasses import replace

import pytest

from app.dialects.base import read_head
from app.errors import RequestError
from app.gateway import memory
from app.gateway.memory import ResponseMemory
from app.providers import ANTHROPIC, GEMINI, OPENAI
from tests.fakes.basic import Answered, Clock
from tests.gateway.scripted import (
    CHAT,
    JSON,
    RESPONSES,
    SSE,
    Desk,
    account,
    anthropic_end,
    anthropic_start,
    anthropic_text,
    anthropic_whole,
    ask_body,
    chat_stream,
    chat_whole,
    gemini_whole,
    refusal,
    responses_body,
    responses_stream,
)

UPSTREAMS = {
    "openai_chat": (CHAT, chat_whole("one"), chat_stream("one")),
    "anthropic": (
        ANTHROPIC,
        anthropic_whole("one"),
        [anthropic_start(), anthropic_text("one"), anthropic_end()],
    ),
    "gemini": (GEMINI, gemini_whole("one"), [b"data: " + gemini_whole("one") + b"\n\n"]),
    "openai_responses": (
        RESPONSES,
        json.dumps(responses_body("one")).encode(),
        responses_stream("one"),
    ),
}


def answer_id(client, stream):
    if not stream:
        return client.json["id"]
    return client.events()[-1]["response"]["id"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_follow_up_carries_the_conversation(upstream, stream):
    provider, whole, chunks = UPSTREAMS[upstream]
    desk = Desk(account(provider, "one", ["m"])).answers(
        Answered(200, SSE, chunks) if stream else Answered(200, JSON, whole),
        Answered(200, JSON, whole),
    )
    first = await desk.ask(
        ask_body("openai_responses", "m", stream=stream, text="first"), "openai_responses"
    )
    name = answer_id(first, stream)
    follow = ask_body("openai_responses", "m", text="second", previous_response_id=name)
    second = await desk.ask(follow, "openai_responses")
    assert second.status == 200
    sent = json.dumps(desk.sent())
    assert name not in sent or upstream == "openai_responses"
    assert "previous_response_id" not in desk.sent()
    places = [sent.index(f'"{text}"') for text in ("first", "one", "second")]
    assert places == sorted(places)


async def ask_first(desk, **more):
    owner = more.pop("owner", "user")
    client = await desk.ask(
        ask_body("openai_responses", "m", text="first", **more), "openai_responses", owner=owner
    )
    return client.json["id"]


def follow_up(name):
    return ask_body("openai_responses", "m", text="second", previous_response_id=name)


async def test_answer_that_is_not_to_be_stored_is_not_remembered():
    desk = Desk(account(CHAT, "one", ["m"])).answers(Answered(200, JSON, chat_whole()))
    name = await ask_first(desk, store=False)
    client = await desk.ask(follow_up(name), "openai_responses")
    assert client.status == 400
    assert client.json["error"]["code"] == "previous_response_not_found"
    assert client.json["error"]["message"] == f"Previous response with id '{name}' not found."


async def test_answers_belong_to_the_caller_that_got_them():
    desk = Desk(account(CHAT, "one", ["m"])).answers(Answered(200, JSON, chat_whole()))
    name = await ask_first(desk, owner="key:a")
    client = await desk.ask(follow_up(name), "openai_responses", owner="key:b")
    assert client.json["error"]["code"] == "previous_response_not_found"
    assert desk.gateway.memory.knows("key:a", name)


async def test_unknown_id_goes_to_the_service_that_may_know_it():
    error = refusal(
        400, message="Previous response with id 'resp_x' not found.",
        code="previous_response_not_found",
    )  # fmt: skip
    desk = Desk(account(CHAT, "one", ["m"]), account(OPENAI, "two", ["m"])).answers(error)
    client = await desk.ask(follow_up("resp_x"), "openai_responses")
    assert desk.sent()["previous_response_id"] == "resp_x"
    assert desk.outcome.account == "openai/two"
    assert client.json["error"]["code"] == "previous_response_not_found"


async def test_the_demo_is_not_asked_for_answers_it_cannot_know():
    demo = replace(OPENAI, demo=True)
    desk = Desk(account(demo, "one", ["m"]))
    client = await desk.ask(follow_up("resp_x"), "openai_responses")
    assert client.json["error"]["code"] == "previous_response_not_found"


async def test_socket_remembers_for_itself_what_is_not_to_be_stored():
    desk = Desk(account(CHAT, "one", ["m"])).answers(
        *(Answered(200, JSON, chat_whole("one")) for _ in range(3))
    )
    body = ask_body("openai_responses", "m", text="first", store=False)
    first = await desk.ask(body, "openai_responses", memory_scope="user:ws_1")
    name = first.json["id"]
    same = await desk.ask(follow_up(name), "openai_responses", memory_scope="user:ws_1")
    assert same.status == 200
    assert "first" in json.dumps(desk.sent())
    other = await desk.ask(follow_up(name), "openai_responses")
    assert other.status == 400
    desk.gateway.memory.forget_all("user:ws_1")
    again = await desk.ask(follow_up(name), "openai_responses", memory_scope="user:ws_1")
    assert again.status == 400


async def test_what_a_socket_may_store_outlives_it():
    desk = Desk(account(CHAT, "one", ["m"])).answers(
        *(Answered(200, JSON, chat_whole("one")) for _ in range(2))
    )
    body = ask_body("openai_responses", "m", text="first")
    first = await desk.ask(body, "openai_responses", memory_scope="user:ws_1")
    desk.gateway.memory.forget_all("user:ws_1")
    assert (await desk.ask(follow_up(first.json["id"]), "openai_responses")).status == 200


# The store itself


def put(store, owner, name, size=10):
    body = json.dumps(responses_body("x" * size, name)).encode()
    store.remember(owner, read_head(b'{"input":"hi"}'), body)
    return body


def test_answer_is_given_back_as_it_was_and_forgotten_on_demand():
    store = ResponseMemory()
    body = put(store, "a", "resp_1")
    assert store.get("a", "resp_1") == body
    assert store.forget("a", "resp_1")
    assert not store.forget("a", "resp_1")
    with pytest.raises(RequestError) as caught:
        store.get("a", "resp_1")
    assert caught.value.status == 404


def test_answers_are_forgotten_after_a_day():
    clock = Clock()
    store = ResponseMemory(clock)
    put(store, "a", "resp_1")
    clock.advance(memory.MAX_AGE_S)
    assert store.knows("a", "resp_1")
    clock.advance(1)
    assert not store.knows("a", "resp_1")
    assert store._size == 0


def test_oldest_answers_make_room(monkeypatch):
    monkeypatch.setattr(memory, "MAX_BYTES", 20_000)
    store = ResponseMemory()
    for number in range(20):
        put(store, "a", f"resp_{number}", 1_000)
    assert store._size <= 20_000
    assert not store.knows("a", "resp_0")
    assert store.knows("a", "resp_19")


def test_one_answer_may_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(memory, "MAX_BYTES", 20_000)
    store = ResponseMemory()
    put(store, "a", "resp_big", 10_000)
    assert not store.knows("a", "resp_big")


def test_size_is_right_after_the_same_id_came_twice():
    store = ResponseMemory()
    put(store, "a", "resp_1", 10)
    once = store._size
    put(store, "a", "resp_1", 10)
    assert store._size == once
    store.forget("a", "resp_1")
    assert store._size == 0


@pytest.mark.parametrize("body", [b"{}", b"[]", b"no json", b'{"id":5}', b'{"id":"x","output":[1'])
def test_what_is_no_answer_is_not_remembered(body):
    store = ResponseMemory()
    store.remember("a", read_head(b'{"input":"hi"}'), body)
    assert store._size == 0


def test_input_that_cannot_be_joined_is_not_remembered():
    store = ResponseMemory()
    body = json.dumps(responses_body()).encode()
    store.remember("a", read_head(b'{"input":5}'), body)
    assert not store.knows("a", "resp_up")
