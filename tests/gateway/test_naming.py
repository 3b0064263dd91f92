import json

import pytest

from app.dialects import DIALECTS
from app.dialects.base import read_head
from app.gateway.call import Call
from app.gateway.naming import name_model
from app.keys import KeyRecord
from tests.gateway.scripted import chat_whole
from tests.server.running import CHAT, SAY, Upstream, answering, running, whole


def call(dialect, body, means=str, route=0):
    return Call(
        dialect=DIALECTS[dialect],
        route=DIALECTS[dialect].routes[route],
        path="",
        query="",
        headers=(),
        raw=body,
        request_id="r",
        owner="user",
        allows=lambda account, model: True,
        means=means,
    )


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic"])
@pytest.mark.parametrize("body", [b'{"a":1}', b'{"a":1,"model":""}', b'{"model":null,"a":1}'])
def test_call_that_names_no_model_gets_the_default(dialect, body):
    made = call(dialect, body)
    head = name_model(made, read_head(made.raw), "m")
    assert json.loads(made.raw) == {"a": 1, "model": "m"}
    assert json.loads(bytes(head["model"])) == "m"


def test_default_of_the_key_comes_before_that_of_the_settings():
    key = KeyRecord("1", "k", "client", "ab", 1.0, default_model="fast")
    made = call("openai_chat", b"{}", key.means)
    name_model(made, read_head(made.raw), "m")
    assert json.loads(made.raw) == {"model": "fast"}


@pytest.mark.parametrize(
    ("dialect", "body", "default"),
    [
        ("openai_chat", b'{"model": "x"}', "m"),
        ("openai_chat", b'{"model": 5}', "m"),
        ("openai_chat", b'{ "a": 1 }', None),
        ("gemini", b'{ "a": 1 }', "m"),  # its path names the model
    ],
)
def test_other_calls_keep_their_bytes(dialect, body, default):
    made = call(dialect, body)
    name_model(made, read_head(made.raw), default)
    assert made.raw == body


async def test_default_of_the_settings_serves_a_call_without_a_model(tmp_path):
    async with Upstream(answering(whole(chat_whole()))) as up:
        async with running(tmp_path, up.settings(more="models: {default: m}\n")) as server:
            reply = await server.post(CHAT, {"messages": SAY["messages"]})
        assert reply.status == 200
        assert json.loads(up.requests[0][1])["model"] == "m"
