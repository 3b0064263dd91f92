"""Which request goes where, over real sockets, and what every answer carries."""

import json
from urllib.parse import unquote

import pytest

from tests.gateway.scripted import chat_whole, gemini_whole
from tests.server.running import CHAT, SAY, Upstream, answering, read_reply, running, whole

GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
BODIES = {
    "/v1/chat/completions": SAY,
    "/chat/completions": SAY,
    "/v1/completions": {"model": "demo-chat", "prompt": "hi"},
    "/completions": {"model": "demo-chat", "prompt": "hi"},
    "/v1/responses": {"model": "demo-chat", "input": "hi"},
    "/responses": {"model": "demo-chat", "input": "hi"},
    "/v1/responses/input_tokens": {"model": "demo-chat", "input": "hi"},
    "/v1/messages": SAY | {"max_tokens": 9},
    "/v1/messages/count_tokens": SAY,
    "/v1beta/models/demo-chat:generateContent": GEMINI,
    "/v1beta/models/demo-chat:streamGenerateContent": GEMINI,
    "/v1beta/models/demo-chat:streamGenerateContent?alt=sse": GEMINI,
    "/v1beta/models/demo-chat:countTokens": GEMINI,
    "/v1/models/demo-chat:generateContent": GEMINI,
    "/v1/models/demo-chat:countTokens": GEMINI,
}


async def count_words(text):
    """Stands in for the tokenizer, whose table takes long to load."""
    return len(text.split())


@pytest.mark.parametrize("path", BODIES)
async def test_inference_routes_answer_a_post(tmp_path, path):
    async with running(tmp_path) as server:
        server.service.gateway.counter = count_words
        reply = await server.post(path, BODIES[path])
        assert reply.status == 200, reply.body
        assert reply.body


@pytest.mark.parametrize("path", ["/v1/messages", CHAT, "/v1/completions", "/v1/embeddings"])
async def test_inference_routes_take_nothing_but_a_post(tmp_path, path):
    async with running(tmp_path) as server, server.dial() as (reader, writer):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            writer.write(server.render(method, path))
            reply = await read_reply(reader, head_only=method == "HEAD")
            assert reply.status == 404
            if method != "HEAD":
                assert reply.json["error"]["code"] == "route_not_found"
                assert f"{method} {path}" in reply.json["error"]["message"]


@pytest.mark.parametrize("escaped", ["/v1/chat%2Dcompletions", "/v1%2Fchat/completions"])
async def test_escaped_slash_is_no_slash(tmp_path, escaped):
    async with running(tmp_path) as server:
        assert (await server.post(escaped, SAY)).status == 404
        assert (await server.post("/v1/ch%61t/completions", SAY)).status == 200


@pytest.mark.parametrize("name", ["org/m", "org%2Fm", "org%2fm", "org/m%3Afree", "a/b/c%20d"])
@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_model_names_with_slashes_work_in_paths(tmp_path, name, version):
    plain = unquote(name)
    body = json.dumps(json.loads(gemini_whole()) | {"totalTokens": 3}).encode()
    async with Upstream(answering(whole(body))) as up:
        settings = (
            f"providers:\n  gemini:\n    api_key: sk-fake\n    base_url: {up.url}\n"
            f"    models: {json.dumps([plain])}\n"
        )
        async with running(tmp_path, settings) as server:
            for method in ("countTokens", "generateContent"):
                reply = await server.post(f"/{version}/models/{name}:{method}", GEMINI)
                assert reply.status == 200, reply.body
                assert f"model={plain.replace(' ', '_')};" in reply.header("x-dragoman-route")
            for path in (f"/{version}/models/{name}", f"/{version}/models"):
                listed = await server.get(path, {"x-goog-api-key": "x"})
                assert f"models/{plain}" in json.dumps(listed.json)
        targets = [head.split(b" ")[1].decode() for head, _ in up.requests]
        assert [unquote(target) for target in targets] == [
            f"/v1beta/models/{plain}:countTokens",
            f"/v1beta/models/{plain}:generateContent",
        ]


async def test_model_names_with_slashes_work_in_bodies(tmp_path):
    async with (
        Upstream(answering(whole(chat_whole()))) as up,
        running(tmp_path, up.settings(models="[org/m]")) as server,
    ):
        reply = await server.post(CHAT, SAY | {"model": "org/m"})
        assert reply.status == 200
        assert json.loads(up.requests[0][1])["model"] == "org/m"
        for name in ("org/m", "org%2Fm"):
            assert (await server.get(f"/v1/models/{name}")).json["id"] == "org/m"


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}
PREFLIGHT = {"Origin": "https://app.test", "Access-Control-Request-Method": "POST"}
ANSWERS = [
    ("POST", CHAT, SAY, {}, 200),
    ("POST", CHAT, SAY | {"stream": True}, {}, 200),
    ("POST", "/v1/messages/count_tokens", SAY, {}, 200),
    ("POST", "/v1/embeddings", SAY, {}, 404),
    ("POST", CHAT, b"no", {}, 400),
    ("POST", CHAT, SAY | {"model": "x"}, {}, 404),
    ("POST", CHAT, SAY | {"model": "demo-error-429"}, {}, 429),
    ("POST", CHAT, SAY | {"model": "demo-error-500"}, {}, 500),
    ("POST", CHAT, SAY, {"x-api-key": "dg-x"}, 401),
    ("POST", CHAT, SAY, {"Host": "evil.test"}, 403),
    ("POST", CHAT, SAY, {"Origin": "https://evil.test"}, 403),
    ("POST", CHAT, SAY, {"Content-Type": "multipart/form-data"}, 415),
    ("POST", CHAT, b" " * (1024 * 1024 + 1), {}, 413),
    ("POST", CHAT, b"", {"Content-Length": "9999999"}, 413),
    ("POST", CHAT, b"", {"X": "y" * 70_000}, 431),
    ("POST", CHAT, b"", {"X": "a\0b"}, 400),
    ("POST", CHAT, b"", {"X": "a\nY: b"}, 400),
    ("POST", CHAT, b"", {"Transfer-Encoding": "chunked"}, 400),
    ("POST", CHAT, b"", {"content-length": "0"}, 400),
    ("OPTIONS", CHAT, b"", PREFLIGHT, 204),
    ("OPTIONS", "/healthz", b"", PREFLIGHT, 204),
    ("OPTIONS", CHAT, b"", {}, 404),
    ("GET", "/healthz", b"", {}, 200),
    ("HEAD", "/healthz", b"", {}, 200),
    ("POST", "/healthz", b"", {}, 405),
    ("GET", "/v1/health", b"", {}, 200),
    ("GET", "/metrics", b"", {}, 200),
    ("GET", "/v1/models", b"", {}, 200),
    ("GET", "/v1/models/demo-chat", b"", {}, 200),
    ("GET", "/v1/models/nothing", b"", {}, 404),
    ("GET", "/v1/models/%ff", b"", {}, 400),
    ("GET", "/v1/responses/resp_x", b"", {}, 404),
    ("DELETE", "/v1/responses/resp_x", b"", {}, 404),
    ("GET", "/v1/responses", b"", {}, 426),
    ("GET", "/v1/responses", b"", UPGRADE, 426),
    ("GET", "/nowhere", b"", {}, 404),
    ("GET", "/", b"", {}, 404),
    ("POST", "/admin/stop", b"", {}, 401),
    ("GET", "/admin/keys", b"", {}, 401),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status"), ANSWERS)
async def test_every_answer_names_its_request_and_its_way(
    tmp_path, method, path, body, headers, status
):
    settings = 'advanced: {max_body_mb: 1}\naccess: {origins: ["https://app.test"]}\n'
    async with running(tmp_path, settings) as server:
        server.service.gateway.counter = count_words
        reply = await server.ask(method, path, body, headers)
        assert reply.status == status, reply.body
        assert reply.header("x-request-id").startswith("req_")
        assert "attempts=" in reply.header("x-dragoman-route")
        assert reply.header("server") is None
        if status >= 400:
            kind = reply.header("content-type")
            assert kind.startswith("application/json")
            assert reply.json["error"]["message"]


async def test_request_ids_differ(tmp_path):
    async with running(tmp_path) as server:
        seen = set()
        for path in ("/healthz", "/nowhere", "/v1/models") * 3:
            seen.add((await server.get(path)).header("x-request-id"))
        for headers in ({}, {"x-api-key": "dg-x"}, {"X": "\0"}) * 3:
            seen.add((await server.post(CHAT, SAY, headers)).header("x-request-id"))
        assert len(seen) == 18


async def test_client_that_leaves_before_its_head_is_complete_leaves_nothing(tmp_path, caplog):
    async with running(tmp_path) as server:
        for data in (b"", b"POST /v1/mess", server.render("GET", "/v1/models")[:-2]):
            async with server.dial() as (_reader, writer):
                writer.write(data)
                await writer.drain()
        assert (await server.get("/healthz")).status == 200
        assert server.service.inference.active == 0
    assert not [r for r in caplog.records if r.exc_info or r.levelname in ("ERROR", "WARNING")]
