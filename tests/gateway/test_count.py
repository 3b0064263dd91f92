"""Token counts: the service's own where there is one, else an estimate that says so."""

import json

import pytest

from app.canonical.parts import Media
from app.canonical.request import ChatRequest, Message
from app.gateway.count import countable_text, media_tokens
from app.providers import ANTHROPIC, GEMINI, OPENAI
from app.routing.catalog import Catalog
from tests.fakes.basic import Answered, unreachable
from tests.gateway.scripted import CHAT, JSON, Desk, account, ask_body, refusal

COUNT = "/v1/messages/count_tokens"
GEMINI_COUNT = "/v1beta/models/{}:countTokens"


def body(model="claude-x", **more):
    return ask_body("anthropic", model, text="three small words") | more


async def test_services_own_count_is_passed_on_with_the_body_untouched():
    raw = json.dumps(body(), indent=1).encode()
    desk = Desk(account(ANTHROPIC, "one")).answers(Answered(200, JSON, b'{"input_tokens": 42}'))
    client = await desk.ask(raw, "anthropic", COUNT)
    assert client.json == {"input_tokens": 42}
    assert client.header("x-dragoman-count") == "exact"
    assert desk.send.requests[0].body == raw
    assert desk.send.requests[0].url == "https://api.anthropic.com/v1/messages/count_tokens"
    assert desk.outcome.grade == "verbatim"
    assert desk.outcome.status == 200


async def test_alias_is_replaced_in_the_body():
    desk = Desk(account(ANTHROPIC, "one"), catalog=Catalog(aliases={"fast": "claude-x"}))
    desk.answers(Answered(200, JSON, b'{"input_tokens": 42}'))
    await desk.ask(body("fast", thinking={"type": "adaptive"}), "anthropic", COUNT)
    assert desk.sent()["model"] == "claude-x"
    assert desk.sent()["thinking"] == {"type": "adaptive"}
    assert desk.outcome.grade == "patched"


async def test_count_is_translated_for_a_service_of_another_dialect():
    desk = Desk(account(GEMINI, "one")).answers(Answered(200, JSON, b'{"totalTokens": 7}'))
    client = await desk.ask(body("gemini-x"), "anthropic", COUNT)
    assert client.json == {"input_tokens": 7}
    assert "three small words" in desk.send.requests[0].body.decode()
    assert desk.outcome.grade == "translated"


async def test_gemini_client_gets_its_own_form():
    desk = Desk(account(ANTHROPIC, "one")).answers(Answered(200, JSON, b'{"input_tokens": 9}'))
    client = await desk.ask(
        ask_body("gemini", "", text="hi"), "gemini", GEMINI_COUNT.format("claude-x")
    )
    assert client.json["totalTokens"] == 9


async def test_responses_client_gets_its_own_form():
    desk = Desk(account(OPENAI, "one", ["m"])).answers(
        Answered(200, JSON, b'{"object":"response.input_tokens","input_tokens": 11}')
    )
    path = "/v1/responses/input_tokens"
    client = await desk.ask(ask_body("openai_responses", "m"), "openai_responses", path)
    assert client.json == {"object": "response.input_tokens", "input_tokens": 11}


async def test_estimate_says_that_it_is_one():
    desk = Desk(account(CHAT, "one", ["m"]))
    client = await desk.ask(body("m"), "anthropic", COUNT)
    assert client.header("x-dragoman-count") == "estimate"
    assert client.json["input_tokens"] == 3 + 4
    assert not desk.send.requests


@pytest.mark.parametrize(
    "step",
    [
        unreachable(),
        refusal(500, "anthropic"),
        refusal(401, "anthropic"),
        Answered(200, JSON, b"no json"),
        Answered(200, JSON, b"[]"),
        Answered(200, JSON, b"{}"),
    ],
)
async def test_service_that_cannot_count_now_gives_an_estimate(step):
    desk = Desk(account(ANTHROPIC, "one")).answers(step)
    client = await desk.ask(body(), "anthropic", COUNT)
    assert client.status == 200
    assert client.header("x-dragoman-count") == "estimate"


async def test_request_fault_is_told():
    desk = Desk(account(ANTHROPIC, "one")).answers(
        refusal(400, "anthropic", "messages: wrong", type="invalid_request_error")
    )
    client = await desk.ask(body(), "anthropic", COUNT)
    assert client.status == 400
    assert client.json["error"]["message"] == "messages: wrong"


async def test_invalid_request_is_told_without_asking_anybody():
    desk = Desk(account(CHAT, "one", ["m"]))
    client = await desk.ask(body("m", messages="no"), "anthropic", COUNT)
    assert client.status == 400


def test_everything_that_costs_tokens_is_counted():
    image = Media("image", "image/png", data="A" * 100)
    request = ChatRequest(model="m", messages=(Message("user", (image,)),))
    assert media_tokens(request) > 1_000
    assert countable_text(request) == ""
