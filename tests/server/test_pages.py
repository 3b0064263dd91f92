"""Every route beside inference over real sockets: who may call it and what it says."""

import asyncio
import time

import pytest

from app import __version__
from app.help import without_address
from app.server.peer import NoProver
from tests.server.running import CHAT, SAY, Upstream, answering, read_reply, running, whole
from tests.server.test_inference import Slow, error_of

FORMS = {
    "openai_chat": ("/v1/models", {}),
    "anthropic": ("/v1/models", {"anthropic-version": "2023-06-01", "x-api-key": "sk-x"}),
    "gemini": ("/v1beta/models", {}),
}
CONTROL = [
    ("POST", "/admin/stop"),
    ("POST", "/admin/config/reload"),
    ("GET", "/admin/keys"),
    ("POST", "/admin/keys"),
    ("POST", "/admin/keys/x/revoke"),
]
AS_INFERENCE = [
    ("GET", "/v1/health"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("GET", "/models"),
    ("GET", "/v1beta/models"),
    ("GET", "/v1/models/demo-chat"),
    ("GET", "/v1/responses/resp_x"),
    ("DELETE", "/v1/responses/resp_x"),
]


def ids_of(reply):
    body = reply.json
    if "models" in body:
        return [model["name"].removeprefix("models/") for model in body["models"]]
    return [model["id"] for model in body["data"]]


# Who may call


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"x-api-key": "dg-x"}])
async def test_sign_of_life_is_open_and_says_nothing_else(tmp_path, headers):
    async with running(tmp_path, prover=NoProver()) as server:
        reply = await server.get("/healthz", headers)
        assert (reply.status, reply.json) == (200, {"status": "ok"})
        assert (await server.get("/healthz", {"Host": "evil.test"})).status == 403
        head = await server.ask("HEAD", "/healthz")
        assert head.status == 200
        assert head.header("content-length") == str(len(reply.body))


@pytest.mark.parametrize(("method", "path"), AS_INFERENCE)
async def test_pages_for_clients_are_judged_as_inference(tmp_path, method, path):
    async with running(tmp_path, prover=NoProver()) as server:
        _, good = await server.key(label="good")
        _, relay = await server.key(label="relay", kind="relay", accounts=["demo/demo"])
        origin = {"Origin": "https://evil.test"}
        for headers, status in (
            ({}, 401),
            ({"x-api-key": "sk-foreign"}, 401),
            ({"x-api-key": "dg-wrong"}, 401),
            ({"x-api-key": relay}, 403),
            ({"x-api-key": good, "Host": "evil.test"}, 403),
            ({"x-api-key": good, "Sec-Fetch-Site": "same-site"}, 403),
            ({"x-api-key": good} | origin, 403),
        ):
            reply = await server.ask(method, path, b"", headers)
            assert reply.status == status, headers
            assert (reply.header("www-authenticate") is not None) == (status == 401)
        answered = 404 if "resp_x" in path else 200
        for headers in ({"x-api-key": good}, {"Authorization": f"Bearer {good}"}):
            assert (await server.ask(method, path, b"", headers)).status == answered


@pytest.mark.parametrize(("method", "path"), AS_INFERENCE)
async def test_same_user_needs_no_key_for_them(tmp_path, method, path):
    async with running(tmp_path) as server:
        reply = await server.ask(method, path, b"", {"Authorization": "Bearer sk-any"})
        assert reply.status == (404 if "resp_x" in path else 200)


@pytest.mark.parametrize(("method", "path"), CONTROL)
async def test_control_needs_more_than_the_same_user(tmp_path, method, path):
    async with running(tmp_path) as server:
        _, client = await server.key(label="client")
        token = server.service.instance.token
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer sk-any"}, 401),
            ({"x-api-key": "dg-wrong"}, 401),
            ({"x-api-key": client}, 403),
            ({"x-dragoman-token": token, "Host": "evil.test"}, 403),
            ({"x-dragoman-token": token, "Origin": "https://evil.test"}, 403),
        ):
            reply = await server.ask(method, path, b"", headers)
            assert reply.status == status, headers
            if headers == {}:
                assert f"http://127.0.0.1:{server.port}{path}" in error_of("openai_chat", reply)
                assert "curl" in error_of("openai_chat", reply)
            assert token not in reply.body.decode()
        assert not server.service._stop.is_set()


@pytest.mark.parametrize("who", ["token", "bearer", "admin"])
async def test_control_opens_to_the_local_token_and_an_admin_key(tmp_path, who):
    async with running(tmp_path, prover=NoProver()) as server:
        _, admin = await server.key(label="admin", kind="admin")
        token = server.service.instance.token
        headers = {
            "token": {"x-dragoman-token": token},
            "bearer": {"Authorization": f"Bearer {token}"},
            "admin": {"x-api-key": admin},
        }[who]
        assert (await server.get("/admin/keys", headers)).status == 200


async def test_listed_page_reads_answers_with_a_key(tmp_path):
    async with running(tmp_path, 'access: {origins: ["https://app.test"]}\n') as server:
        _, key = await server.key(label="page")
        origin = {"Origin": "https://app.test"}
        assert (await server.get("/v1/models", origin)).status == 401
        reply = await server.get("/v1/models", origin | {"x-api-key": key})
        assert reply.header("access-control-allow-origin") == "https://app.test"
        asked = origin | {
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "x-api-key",
        }
        for path in ("/v1/models", "/healthz", CHAT, "/v1/messages"):
            reply = await server.ask("OPTIONS", path, b"", asked)
            assert (reply.status, reply.body) == (204, b"")
            assert reply.header("access-control-allow-headers") == "x-api-key"
        foreign = asked | {"Origin": "https://evil.test"}
        assert (await server.ask("OPTIONS", "/v1/models", b"", foreign)).status == 403


async def test_slow_prover_is_asked_off_the_loop(tmp_path):
    prover = Slow()
    async with running(tmp_path, prover=prover) as server, server.dial() as (reader, writer):
        for path in ("/v1/models", "/v1/health"):
            writer.write(server.render("GET", path))
            assert (await read_reply(reader)).status == 200
        assert prover.threads == ["executor"]


async def test_key_is_not_refused_while_the_keys_are_read(tmp_path):
    async with running(tmp_path, prover=NoProver()) as server:
        _, key = await server.key(label="early")
        access = server.service.access
        access.loaded = asyncio.Event()
        call = asyncio.ensure_future(server.get("/v1/models", {"x-api-key": key}))
        assert (await server.get("/healthz")).status == 200
        assert not call.done()
        access.loaded.set()
        assert (await call).status == 200


# Models


@pytest.mark.parametrize("form", FORMS)
async def test_model_list_has_the_callers_shape(tmp_path, form):
    path, headers = FORMS[form]
    async with running(tmp_path) as server:
        reply = await server.get(path, headers)
        assert "demo-chat" in ids_of(reply)
        single = (await server.get(f"{path}/demo-chat", headers)).json
        whole_list = reply.json.get("data") or reply.json["models"]
        assert single in whole_list
        key = {"openai_chat": "object", "anthropic": "type", "gemini": "version"}[form]
        assert single[key] == ("demo-chat" if form == "gemini" else "model")
        missing = await server.get(f"{path}/nothing", headers)
        assert missing.status == 404
        assert "nothing" in error_of(form, missing)


async def test_header_of_google_chooses_its_shape_on_every_path(tmp_path):
    async with running(tmp_path) as server:
        for path in ("/v1/models", "/models", "/v1beta/models"):
            assert "models" in (await server.get(path, {"x-goog-api-key": "x"})).json


async def test_model_list_is_the_keys_scope_without_labels(tmp_path):
    async with running(tmp_path) as server:
        _, key = await server.key(label="n", models=["demo-t*"])
        reply = await server.get("/v1/models", {"x-api-key": key})
        assert ids_of(reply) == ["demo-tools", "demo-think"]
        assert b"x_dragoman" not in reply.body
        assert (await server.get("/v1/models/demo-chat", {"x-api-key": key})).status == 404
        reply = await server.get("/v1/models")
        assert reply.json["data"][0]["x_dragoman"] == {"accounts": ["demo"]}


async def test_alias_is_listed_with_what_its_target_says(tmp_path):
    settings = "models: {aliases: {fast: demo-chat, lost: nowhere, demo-think: demo-chat}}\n"
    async with running(tmp_path, settings) as server:
        ids = ids_of(await server.get("/v1/models"))
        assert "fast" in ids
        assert "lost" not in ids
        assert ids.count("demo-think") == 1
        assert (await server.get("/v1/models/fast")).json["owned_by"] == "demo"


@pytest.mark.parametrize(
    ("query", "listed"), [("", False), ("?demo=0", False), ("?demo=1", True), ("?demo=", False)]
)
async def test_demo_is_listed_beside_an_account_only_on_request(tmp_path, query, listed):
    async with (
        Upstream(answering(whole(b"{}"))) as up,
        running(tmp_path, up.settings()) as server,
    ):
        ids = ids_of(await server.get(f"/v1/models{query}"))
        assert ids[0] == "m"
        assert ("demo-chat" in ids) is listed


# Stored answers


async def test_stored_answer_is_given_back_and_deleted_for_its_owner_only(tmp_path):
    async with running(tmp_path) as server:
        _, key = await server.key(label="other")
        made = (await server.post("/v1/responses", {"model": "demo-chat", "input": "hi"})).json
        for path in (f"/v1/responses/{made['id']}", f"/responses/{made['id']}"):
            assert (await server.get(path)).json == made
            for method in ("GET", "DELETE"):
                reply = await server.ask(method, path, b"", {"x-api-key": key})
                assert reply.status == 404
                assert made["id"] in error_of("openai_chat", reply)
        reply = await server.ask("DELETE", f"/v1/responses/{made['id']}")
        assert reply.json == {"id": made["id"], "object": "response", "deleted": True}
        for method in ("GET", "DELETE"):
            assert (await server.ask(method, f"/v1/responses/{made['id']}")).status == 404


# Health and metrics


async def test_health_tells_the_callers_scope(tmp_path):
    settings = "providers: {openai: {api_key: sk-x, models: [m]}}\n"
    async with running(tmp_path, settings) as server:
        body = (await server.get("/v1/health")).json
        assert [p["id"] for p in body["providers"]] == ["openai", "demo"]
        assert body["version"] == __version__
        assert body["config"]["path"].endswith("config.yaml")
        _, key = await server.key(label="n", providers=["demo"])
        body = (await server.get("/v1/health", {"x-api-key": key})).json
        assert [p["id"] for p in body["providers"]] == ["demo"]
        assert body["config"] == {}
        _, admin = await server.key(label="a", kind="admin")
        body = (await server.get("/v1/health", {"x-api-key": admin})).json
        assert body["config"]["path"].endswith("config.yaml")


async def test_metrics_count_requests(tmp_path):
    async with running(tmp_path) as server:
        await server.post(CHAT, SAY)
        await server.post(CHAT, SAY | {"model": "demo-error-500"})
        reply = await server.get("/metrics")
        assert reply.header("content-type").startswith("text/plain; version=0.0.4")
        lines = reply.body.decode().splitlines()
        counts = [line for line in lines if line.startswith("dragoman_requests_total{")]
        assert sorted(line.rpartition(" ")[2] for line in counts) == ["1.0", "1.0"]
        assert any('status="5xx"' in line for line in counts)
        assert any(line.startswith("dragoman_request_errors_total{") for line in lines)
        assert "dragoman_requests_running 0.0" in lines
        assert 'dragoman_account_ready{account="demo/demo"} 1.0' in lines
        assert any(line.startswith("dragoman_uptime_seconds ") for line in lines)


# Control


async def test_keys_are_made_shown_and_revoked(tmp_path):
    async with running(tmp_path, prover=NoProver()) as server:
        headers = {"x-dragoman-token": server.service.instance.token}
        later = time.time() + 3600
        wanted = {"label": "agent", "expires_at": later, "models": ["demo-*"]}
        made = await server.post("/admin/keys", wanted, headers)
        assert made.status == 201
        record, key = made.json["record"], made.json["key"]
        assert record["label"] == "agent"
        assert record["models"] == ["demo-*"]
        assert (await server.post(CHAT, SAY, {"x-api-key": key})).status == 200
        listed = await server.get("/admin/keys", headers)
        assert listed.json == {"keys": [record]}
        assert key.encode() not in listed.body
        assert b"sha256" not in listed.body + made.body
        revoked = await server.post("/admin/keys/agent/revoke", b"", headers)
        assert revoked.json["record"]["revoked_at"] is not None
        assert (await server.post(CHAT, SAY, {"x-api-key": key})).status == 401
        assert (await server.post("/admin/keys/none/revoke", b"", headers)).status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no",
        b"[]",
        b'{"label":5}',
        b'{"label":"a","surprise":1}',
        b'{"label":"a","kind":"root"}',
        b'{"label":"a","kind":{}}',
        b'{"label":"a","expires_at":1}',
        b'{"label":"dg-a"}',
        b'{"label":"\xff"}',
        b"[" * 100_000,
        b'{"kind":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
async def test_wrong_wish_for_a_key_is_a_request_fault(tmp_path, body):
    async with running(tmp_path) as server:
        headers = {"x-dragoman-token": server.service.instance.token}
        reply = await server.post("/admin/keys", body, headers)
        assert reply.status == 400
        assert error_of("openai_chat", reply)
        assert (await server.get("/admin/keys", headers)).json == {"keys": []}


async def test_stop_is_answered_and_begins(tmp_path):
    async with running(tmp_path) as server:
        reply = await server.post(
            "/admin/stop", b"", {"x-dragoman-token": server.service.instance.token}
        )
        assert reply.json == {"stopping": True}
        await asyncio.wait_for(server.service.run_until_stopped(), 5)
        with pytest.raises(ConnectionError):
            await server.get("/healthz")


async def test_reload_answers_what_changed(tmp_path):
    async with running(tmp_path, "server: {port: 8317}\n") as server:
        headers = {"x-dragoman-token": server.service.instance.token}
        reply = await server.post("/admin/config/reload", b"", headers)
        assert reply.json == {"changed": False, "problems": []}


# Errors


@pytest.mark.parametrize(
    ("path", "headers", "form"),
    [
        ("/nowhere", {}, "openai_chat"),
        ("/nowhere", {"anthropic-version": "x"}, "anthropic"),
        ("/nowhere", {"x-goog-api-key": "x"}, "gemini"),
        ("/v1beta/nowhere", {}, "gemini"),
        ("/v1beta/nowhere", {"anthropic-version": "x"}, "gemini"),
    ],
)
async def test_unknown_route_is_404_in_the_callers_form(tmp_path, path, headers, form):
    async with running(tmp_path) as server:
        for method in ("GET", "POST", "PATCH"):
            reply = await server.ask(method, path, b"", headers)
            assert reply.status == 404
            assert f"{method} {path}" in error_of(form, reply)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("PUT", "/v1/models", 405, "method"),
        ("DELETE", "/healthz", 405, "method"),
        ("GET", "/v1/models/%ff", 400, "cannot be read"),
        ("GET", "/v1/models?demo=%ff", 400, "cannot be read"),
    ],
)
async def test_faults_that_tornado_finds_are_told_in_our_words(
    tmp_path, method, path, status, words
):
    async with running(tmp_path) as server:
        reply = await server.ask(method, path)
        assert reply.status == status
        assert words in error_of("openai_chat", reply)


async def test_fault_of_ours_is_logged_and_told_without_details(tmp_path, caplog):
    async with running(tmp_path) as server:
        server.service.started_at = None
        reply = await server.get("/v1/health")
        assert reply.status == 500
        said = error_of("openai_chat", reply)
        assert without_address(said) == "Dragoman failed on this request."
        assert "TypeError" in caplog.text


async def test_answers_are_not_kept_by_caches(tmp_path):
    async with running(tmp_path) as server:
        reply = await server.get("/v1/models")
        assert reply.header("cache-control") == "no-store"
        assert reply.header("x-content-type-options") == "nosniff"
        assert reply.header("etag") is None


async def test_no_answer_sets_a_cookie(tmp_path):
    async with running(tmp_path) as server:
        token = {"Authorization": f"Bearer {server.service.instance.token}"}
        paths = ["/admin", *(path for method, path in (*CONTROL, *AS_INFERENCE) if method == "GET")]
        for path in (*paths, "/nowhere"):
            assert (await server.get(path, token)).all("set-cookie") == []
        assert (await server.post(CHAT, SAY)).all("set-cookie") == []
