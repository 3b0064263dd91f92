"""The demo, through the whole path, in every dialect."""

import json
from dataclasses import replace

import pytest

from app.dialects import DIALECTS
from app.errors import UpstreamError
from app.gateway.local import with_demo
from app.http import HttpRequest, Limits
from app.providers import DEMO
from app.providers.demo import DEMO_MODELS
from tests.fakes.basic import Clock, Ids
from tests.gateway.scripted import Desk, account, ask_body, gemini_path

NAMES = ["openai_chat", "openai_responses", "anthropic", "gemini"]
TOOL_SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
TOOLS = {
    "openai_chat": {"type": "function", "function": {"name": "find", "parameters": TOOL_SCHEMA}},
    "openai_responses": {"type": "function", "name": "find", "parameters": TOOL_SCHEMA},
    "anthropic": {"name": "find", "input_schema": TOOL_SCHEMA},
    "gemini": {"functionDeclarations": [{"name": "find", "parameters": TOOL_SCHEMA}]},
}


async def nowhere(_request, _limits):
    raise AssertionError("the demo stays off the network")


def desk():
    models = dict.fromkeys(DEMO_MODELS)
    demo = replace(account(DEMO, "demo"), credential=None, models={m: m for m in models})
    return Desk(demo, send=with_demo(nowhere, DIALECTS, Clock(), Ids()))


async def ask(dialect, model, *, stream=False, query="alt=sse", **more):
    here = desk()
    if dialect == "gemini":
        path = gemini_path(model, stream=stream)
        client = await here.ask(ask_body(dialect, model, **more), dialect, path, query)
    else:
        client = await here.ask(ask_body(dialect, model, stream=stream, **more), dialect)
    return client, here.outcome


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", NAMES)
async def test_chat_says_what_it_understood(dialect, stream):
    more = {"stream_options": {"include_usage": True}} if dialect == "openai_chat" else {}
    client, outcome = await ask(dialect, "demo-chat", stream=stream, text="hello demo", **more)
    assert client.status == 200
    assert outcome.grade == "verbatim"
    text = client.body.decode()
    assert "hello" in text
    assert "1 " in text
    assert outcome.tokens().output > 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", NAMES)
async def test_tools_are_called_with_arguments_that_fit(dialect, stream):
    more = {"tools": [TOOLS[dialect]]}
    client, _ = await ask(dialect, "demo-tools", stream=stream, text="weather", **more)
    body = client.body.decode()
    assert "find" in body
    assert "weather" in body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", NAMES)
async def test_think_thinks_first(dialect, stream):
    client, _ = await ask(dialect, "demo-think", stream=stream)
    assert "this" in client.body.decode()
    assert "demo" in client.body.decode()
    assert client.status == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize(
    ("model", "statuses"),
    [
        ("demo-error-429", {429}),
        ("demo-error-500", {500}),
        ("demo-error-overloaded", {529, 503}),
    ],
)
async def test_errors_come_in_the_dialects_form(model, statuses, dialect, stream):
    client, outcome = await ask(dialect, model, stream=stream)
    assert client.status in statuses
    assert "demo's" in client.json["error"]["message"]
    if model == "demo-error-429":
        assert client.header("retry-after") == "3"
    assert outcome.failure is not None


@pytest.mark.parametrize("dialect", NAMES)
async def test_midstream_error_comes_after_content(dialect):
    client, outcome = await ask(dialect, "demo-error-midstream", stream=True)
    assert client.status == 200
    assert b"middle of an answer" in client.body
    assert outcome.failure.kind in ("overloaded", "unavailable")


@pytest.mark.parametrize("dialect", NAMES)
async def test_midstream_error_without_a_stream_is_an_error(dialect):
    client, _ = await ask(dialect, "demo-error-midstream")
    assert client.status in (503, 529)


async def test_list_form_of_gemini():
    client, _ = await ask("gemini", "demo-chat", stream=True, query="", text="hello")
    assert "hello" in json.dumps(client.json)
    assert isinstance(client.json, list)


async def test_demo_accounts_never_cool():
    here = desk()
    for _ in range(2):
        client = await here.ask(ask_body("openai_chat", "demo-error-429"))
        assert here.outcome.attempts == 1
    assert client.status == 429


async def test_completions_of_the_demo():
    here = desk()
    body = {"model": "demo-chat", "prompt": "hello"}
    client = await here.ask(body, path="/v1/completions")
    assert "hello" in client.json["choices"][0]["text"]


async def test_unknown_call_of_the_demo_is_refused():
    send = with_demo(nowhere, DIALECTS, Clock(), Ids())
    with pytest.raises(UpstreamError) as caught:
        await send(HttpRequest("POST", "demo://demo/v1/other"), Limits())
    assert caught.value.status == 404


async def test_everything_else_goes_on():
    seen = []

    async def send(request, limits):
        seen.append((request, limits))

    request, limits = HttpRequest("GET", "https://a.test/"), Limits()
    await with_demo(send, DIALECTS, Clock(), Ids())(request, limits)
    assert seen == [(request, limits)]
