"""The Codex fake: its own rules, with the service's texts."""

import json

import httpx
import pytest

from tests.fakes.basic import Clock
from tests.fakes.codex_backend import REFUSED, CodexBackend
from tests.fakes.identity import ChatGptIdentity
from tests.fakes.upstream import Upstream

USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


def body(**changes):
    given = {
        "model": "gpt-5.5",
        "instructions": "",
        "input": [USER],
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
    } | changes
    return {key: value for key, value in given.items() if value != "left out"}


class Desk:
    def __init__(self):
        self.identity = ChatGptIdentity(Clock())
        self.service = CodexBackend(self.identity)
        self.grant = self.identity.grant()

    async def call(self, method="POST", path="/responses", given=None, **headers):
        fields = {
            "authorization": f"Bearer {self.grant.access}",
            "chatgpt-account-id": self.grant.person.account,
        } | headers
        async with Upstream(self.identity, self.service) as fake, httpx.AsyncClient() as http:
            url = f"{fake.url}/backend-api/codex{path}"
            return await http.request(method, url, json=given, headers=fields)


def events(reply):
    return [json.loads(line[6:]) for line in reply.text.split("\n") if line.startswith("data: ")]


async def test_a_right_call_is_streamed_with_handshake_and_empty_output():
    reply = await Desk().call(given=body())
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-codex-primary-window-minutes"] == "300"
    found = events(reply)
    assert [e["type"] for e in found[:4]] == [
        "response.created",
        "response.in_progress",
        "codex.rate_limits",
        "codex.response.metadata",
    ]
    assert found[-1]["type"] == "response.completed"
    assert found[-1]["response"]["output"] == []
    assert found[-1]["response"]["usage"]["total_tokens"] > 0


RULES = [
    ({"store": True}, "Store must be set to false"),
    ({"store": "left out"}, "Store must be set to false"),
    ({"stream": False}, "Stream must be set to true"),
    ({"stream": "left out"}, "Stream must be set to true"),
    ({"instructions": "left out"}, "Instructions are required"),
    ({"instructions": None}, "Instructions are required"),
    ({"input": "hi"}, "Input must be a list"),
    ({"input": [{"role": "system", "content": "x"}]}, "System messages are not allowed"),
    ({"tools": [{"type": "web_search_preview"}]}, "Unsupported tool type: web_search_preview"),
    ({"service_tier": "flex"}, "Unsupported service_tier: flex"),
    ({"stream_options": {"include_obfuscation": True}}, "Unsupported parameter: stream_options"),
    ({"parallel_tool_calls": True}, "Unsupported parameter: parallel_tool_calls"),
    (
        {"model": "gpt-4.1"},
        "The 'gpt-4.1' model is not supported when using Codex with a ChatGPT account.",
    ),
    *(({name: 1}, f"Unsupported parameter: {name}") for name in REFUSED),
]


@pytest.mark.parametrize(("change", "text"), RULES)
async def test_each_rule_is_refused_in_the_services_words(change, text):
    reply = await Desk().call(given=body(**change))
    assert (reply.status_code, reply.json()) == (400, {"detail": text})


async def test_the_rules_of_the_dialect_hold_as_well():
    tools = [{"type": "function", "name": "x" * 65, "parameters": {"type": "object"}}]
    reply = await Desk().call(given=body(tools=tools))
    assert reply.status_code == 400
    assert "string too long" in reply.json()["error"]["message"]


async def test_token_and_workspace_are_checked():
    desk = Desk()
    missing = await desk.call(given=body(), **{"chatgpt-account-id": ""})
    assert missing.status_code == 403
    desk.identity.revoke(desk.grant)
    revoked = await desk.call(given=body())
    assert (revoked.status_code, revoked.json()["error"]["code"]) == (401, "token_invalidated")


async def test_a_spent_plan_says_when_it_begins_anew():
    desk = Desk()
    desk.service.exhausted = True
    reply = await desk.call(given=body())
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (429, "usage_limit_reached")
    assert error["resets_at"] - desk.identity.now() == error["resets_in_seconds"] == 3_600


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("overloaded", "server_is_overloaded"),
        ("rate_limit", "rate_limit_exceeded"),
        ("quota", None),
    ],
)
async def test_trouble_may_hide_behind_the_handshake(kind, code):
    given = body(input=[{"role": "user", "content": f"FAKE:empty200error={kind};"}])
    reply = await Desk().call(given=given)
    assert reply.status_code == 200
    *before, last = events(reply)
    assert [e["type"] for e in before] == ["codex.rate_limits", "codex.response.metadata"]
    assert last["type"] == "error"
    assert last["error"].get("code") == code


async def test_models_need_a_version():
    reply = await Desk().call("GET", "/models?client_version=0.169.0")
    assert "gpt-5.5" in [row["slug"] for row in reply.json()["models"]]
    assert (await Desk().call("GET", "/models")).status_code == 400


async def test_a_compaction_is_whole_and_has_nothing_of_a_stream():
    given = {"model": "gpt-5.5", "instructions": "", "input": [USER]}
    reply = await Desk().call(path="/responses/compact", given=given)
    assert reply.json()["object"] == "response.compaction"
    refused = await Desk().call(path="/responses/compact", given={**given, "stream": True})
    assert refused.json() == {"detail": "Unsupported parameter: stream"}


async def test_other_paths_and_the_socket_are_refused():
    assert (await Desk().call(path="/other", given={})).status_code == 404
    assert (await Desk().call("GET", "/responses", upgrade="websocket")).status_code == 426
