"""What the running program answers is what its description says: no field more, none less."""

import asyncio
import json

import jsonschema
import pytest

from tests.server.running import CHAT, SAY, running
from tests.server.test_openapi import description, token

SETTINGS = """\
providers:
  local:
    kind: compatible
    dialect: openai_chat
    base_url: http://127.0.0.1:9/v1
    models: [m]
    api_key: not-used
advanced: {demo: true}
ledger:
  bodies: true
  budgets: [{name: all, usd: 50}]
"""
DEMO = SAY | {"model": "demo/demo-chat"}


def strict(schema):
    """A schema that refuses fields that it does not name."""
    if isinstance(schema, dict):
        found = {key: strict(value) for key, value in schema.items()}
        if "properties" in found and "additionalProperties" not in found:
            found["additionalProperties"] = False
        return found
    return [strict(one) for one in schema] if isinstance(schema, list) else schema


def check(document, method, path, reply):
    """Compare an answer with what the description says of its route and status."""
    operation = document["paths"][path][method]
    answered = operation["responses"][str(reply.status)]
    kind = reply.header("content-type").partition(";")[0]
    assert kind in answered["content"], (method, path, kind)
    for name in answered["headers"]:
        assert reply.header(name) is not None or name == "retry-after", (method, path, name)
    if kind == "application/json":
        schema = {**answered["content"][kind]["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(strict(schema)).validate(reply.json)


ASKED = {
    "/healthz": "/healthz",
    "/v1/health": "/v1/health",
    "/metrics": "/metrics",
    "/v1/quota": "/v1/quota?refresh=1",
    "/v1/models": "/v1/models?demo=1",
    "/v1/models/{model}": "/v1/models/demo-chat?demo=1",
    "/models/api.json": "/models/api.json",
    "/v1/auth/{name}/status": "/v1/auth/codex/status",
    "/v1/auth/aistudio/status": "/v1/auth/aistudio/status",
    "/admin/accounts": "/admin/accounts",
    "/admin/accounts/places": "/admin/accounts/places",
    "/admin/accounts/{account}": "/admin/accounts/local/local-1",
    "/admin/imports": "/admin/imports",
    "/admin/keys": "/admin/keys",
    "/admin/usage": "/admin/usage?by=model",
    "/admin/requests": "/admin/requests?limit=1",
    "/admin/budgets": "/admin/budgets",
    "/admin/routes": "/admin/routes",
    "/admin/models": "/admin/models",
    "/admin/models/address": "/admin/models/address?key=mine",
    "/admin/config": "/admin/config",
    "/admin/agents": "/admin/agents",
    "/admin/services": "/admin/services",
    "/admin/services/{name}": "/admin/services/webai",
    "/admin/services/{name}/logs": "/admin/services/webai/logs",
    "/admin/aistudio": "/admin/aistudio",
    "/admin/aistudio/app": "/admin/aistudio/app",
    "/admin/help": "/admin/help",
    "/admin/help/{name}": "/admin/help/index",
    "/admin/openapi.json": "/admin/openapi.json",
    "/admin": "/admin",
    "/help": "/help",
    "/help/{name}": "/help/keys",
}


async def test_answers_to_questions_are_of_the_shape_that_is_told(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        await server.service.store.done.wait()
        await server.key(label="mine", limits=["60/minute"], aliases={"a": "m"})
        assert (await server.post(CHAT, DEMO)).status == 200
        document = await description(server)
        for path, asked in ASKED.items():
            check(document, "get", path, await server.get(asked, token(server)))


async def test_the_ledger_answers_in_the_shape_that_is_told(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        document = await description(server)
        await server.service.store.done.wait()
        name = (await server.post(CHAT, DEMO)).header("x-request-id")
        server.service.ledger.flush()
        for path in ("", "/body"):
            reply = await server.get(f"/admin/requests/{name}{path}", token(server))
            assert reply.status == 200, reply.body
            check(document, "get", f"/admin/requests/{{name}}{path}", reply)
        again = await server.post(f"/admin/requests/{name}/replay", {}, token(server))
        check(document, "post", "/admin/requests/{name}/replay", again)
        assert again.status == 200


TEXT = {"text": "aliases: {fast: demo-chat}\n"}
DONE = [
    ("post", "/admin/keys", "/admin/keys", {"label": "one"}, 201),
    ("post", "/admin/keys/{name}", "/admin/keys/one", {"limits": ["5 usd/month"]}, 200),
    ("post", "/admin/keys/{name}/rotate", "/admin/keys/one/rotate", {"keep_s": 60}, 200),
    ("post", "/admin/keys/{name}/revoke", "/admin/keys/one/revoke", {}, 200),
    ("post", "/admin/route/explain", "/admin/route/explain", {"model": "m"}, 200),
    ("post", "/admin/routes/check", "/admin/routes/check", TEXT, 200),
    ("put", "/admin/routes", "/admin/routes", TEXT, 200),
    ("put", "/admin/routes", "/admin/routes", {"text": "- a\n"}, 422),
    ("post", "/admin/config/reload", "/admin/config/reload", b"", 200),
    (
        *("patch", "/admin/config", "/admin/config"),
        {"changes": [{"key": ["logging", "level"], "value": "debug"}]},
        200,
    ),
    (
        *("patch", "/admin/config", "/admin/config"),
        {"changes": [{"key": ["logging", "level"], "value": "loud"}]},
        422,
    ),
    ("post", "/admin/agents/{name}/plan", "/admin/agents/claude/plan", {"models": {}}, 200),
    ("post", "/admin/ticket", "/admin/ticket", b"", 201),
    ("post", "/admin/show", "/admin/show", b"", 200),
    ("delete", "/admin/session", "/admin/session", b"", 200),
    ("post", "/v1/auth/{name}/login", "/v1/auth/copilot/login", {"account": "gone"}, 404),
    ("post", "/v1/auth/{name}", "/v1/auth/openai", {}, 400),
    ("delete", "/v1/auth/{name}", "/v1/auth/codex", b"", 404),
    ("post", "/admin/accounts/{account}/rename", "/admin/accounts/a/b/rename", {"label": "x"}, 404),
    ("post", "/admin/accounts/{account}/pause", "/admin/accounts/local/local-1/pause", {}, 409),
    (
        *("post", "/admin/accounts/{provider}/oauth/start"),
        *("/admin/accounts/openai/oauth/start", {"way": "key", "memory_only": True}, 201),
    ),
    ("post", "/admin/accounts/{provider}/oauth/start", "/admin/accounts/x/oauth/start", {}, 404),
    (
        "post",
        "/admin/accounts/{provider}/oauth/start",
        "/admin/accounts/claude/oauth/start",
        {},
        409,
    ),
    (
        *("post", "/admin/accounts/{provider}/oauth/complete"),
        *("/admin/accounts/openai/oauth/complete", {"flow": "00"}, 404),
    ),
    ("post", "/admin/imports", "/admin/imports", {"key": "nothing"}, 404),
    ("post", "/admin/agents/{name}/connect", "/admin/agents/nobody/connect", {"shown": ""}, 400),
    ("post", "/admin/agents/{name}/connect", "/admin/agents/codex/connect", {"shown": ""}, 409),
    ("post", "/admin/services/{name}/start", "/admin/services/webai/start", {}, 409),
    ("post", "/admin/services/{name}/start", "/admin/services/nothing/start", {}, 404),
    ("post", "/v1/auth/aistudio/login", "/v1/auth/aistudio/login", {}, 409),
    ("delete", "/v1/auth/aistudio", "/v1/auth/aistudio", b"", 200),
    (
        *("post", "/admin/aistudio/windows/{label}/hide"),
        *("/admin/aistudio/windows/home/hide", b"", 409),
    ),
    ("post", "/admin/aistudio/app", "/admin/aistudio/app", {"account": "home"}, 409),
    ("delete", "/v1/responses/{name}", "/v1/responses/resp_none", b"", 404),
    ("post", "/admin/session", "/admin/session", {"ticket": "x"}, 401),
]


async def test_answers_to_orders_are_of_the_shape_that_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    async with running(tmp_path / "home", SETTINGS) as server:
        await server.service.store.done.wait()
        document = await description(server)
        for method, path, asked, body, status in DONE:
            reply = await server.ask(method.upper(), asked, body, token(server))
            assert reply.status == status, (method, asked, reply.status, reply.body)
            check(document, method, path, reply)


async def test_codes_of_errors_are_those_that_the_route_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    async with running(tmp_path / "home", SETTINGS) as server:
        await server.service.store.done.wait()
        document = await description(server)
        seen = set()
        for method, path, asked, body, status in DONE:
            if status not in (400, 401, 404, 409):
                continue
            reply = await server.ask(method.upper(), asked, body, token(server))
            if reply.status == 422:
                continue
            code = reply.json["error"]["code"]
            told = document["paths"][path][method]["responses"][str(status)]["description"]
            assert f"`{code}`" in told, (method, path, code, told)
            seen.add(code)
        assert {"unknown_account", "consent_required", "no_window", "file_changed"} <= seen


async def test_lines_of_the_live_feed_are_of_the_shape_that_is_told(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        document = await description(server)
        schema = {"$ref": "#/components/schemas/LiveLine", "components": document["components"]}
        seen = set()
        async with server.dial() as (reader, writer):
            writer.write(server.render("GET", "/admin/live", headers=token(server)))
            head = await reader.readuntil(b"\r\n\r\n")
            told = document["paths"]["/admin/live"]["get"]["responses"]["200"]["content"]
            assert any(kind.encode() in head for kind in told)
            while not {"status", "requests", "log"} <= seen:
                piece = await asyncio.wait_for(reader.readline(), 20)
                if piece.startswith(b"{"):  # else the length of a chunk, or its end
                    line = json.loads(piece)
                    jsonschema.Draft202012Validator(strict(schema)).validate(line)
                    seen.add(line["kind"])


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "OpenAIError"),
        ({"anthropic-version": "2023-06-01"}, "AnthropicError"),
        ({"x-goog-api-key": "none"}, "GeminiError"),
    ],
)
async def test_an_error_has_the_shape_that_is_told_of_it(tmp_path, headers, name):
    async with running(tmp_path) as server:
        document = await description(server)
        reply = await server.get("/v1/nothing", headers)
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.Draft202012Validator(strict(schema)).validate(json.loads(reply.body))
