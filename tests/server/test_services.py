"""The whole program with WebAI's start script and a stand-in behind it."""

import asyncio
import contextlib
import json
import os
import signal

import pytest

from app.providers.webai import WEBAI
from app.services.memory import tree_of
from tests.server.running import CHAT, running
from tests.services.pretend_g4f import pretend_installed
from tests.services.running import free_port, lives

CONSENT = WEBAI.consent.version
ASK = {"model": "small-webai", "messages": [{"role": "user", "content": "abc"}]}


def control(server, **more):
    return {"Authorization": f"Bearer {server.service.instance.token}", **more}


async def order(server, path, body=b""):
    reply = await server.post(f"/admin/services/{path}", body, control(server))
    return reply.status, reply.json


async def look(server, name="webai"):
    return (await server.get(f"/admin/services/{name}", control(server))).json


async def until(server, wanted, limit_s=30):
    """Wait until WebAI is as wanted, and its models are known when it is ready."""
    changed = asyncio.Event()
    leave = server.service.subscribe(changed.set)
    try:
        while True:
            changed.clear()
            view = server.service.helpers.services.view("webai")
            if wanted(view):
                return view
            await asyncio.wait_for(changed.wait(), limit_s)
    finally:
        leave()


def is_ready(view):
    return view.state == "ready"


async def listed(server):
    """Wait for WebAI's models; returns their names."""
    changed = asyncio.Event()
    leave = server.service.subscribe(changed.set)
    try:
        while True:
            changed.clear()
            rows = (await server.get("/v1/models")).json["data"]
            if names := [row["id"] for row in rows if row["id"].endswith("-webai")]:
                return names
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), 0.2)
    finally:
        leave()


@contextlib.asynccontextmanager
async def with_webai(home, extra="", on=True):
    pretend_installed(home)
    text = f"services: {{webai: {{port: {free_port()}}}}}\n{extra}"
    async with running(home, text) as server:
        if on:
            status, _ = await order(server, "webai/start", {"consent": CONSENT})
            assert status == 200
            await until(server, is_ready)
        yield server


async def test_it_is_off_and_not_installed_and_unseen_by_default(tmp_path):
    async with running(tmp_path) as server:
        (one,) = (await server.get("/admin/services", control(server))).json["services"]
        assert (one["state"], one["on"]) == ("not_installed", False)
        assert "dragoman services install webai" in one["reason"]
        assert one["consent"]["text"] == WEBAI.consent.text
        assert not [a for a in server.service.roster.accounts() if a.provider is WEBAI]
        assert (await server.get("/v1/health")).json["processes"] == 1


async def test_terms_come_before_everything(tmp_path):
    async with running(tmp_path) as server:
        status, body = await order(server, "webai/start")
        assert (status, body["error"]["code"]) == (409, "consent_required")
        assert WEBAI.consent.text in body["error"]["message"]
        status, body = await order(server, "webai/start", {"consent": "of another day"})
        assert body["error"]["code"] == "consent_required"
        status, body = await order(server, "webai/start", {"consent": CONSENT})
        assert (status, body["error"]["code"]) == (409, "service_not_installed")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/webai"),
        ("GET", "/webai/logs"),
        ("POST", "/webai/install"),
        ("POST", "/webai/start"),
        ("POST", "/webai/stop"),
    ],
)
async def test_being_the_same_user_is_not_enough(tmp_path, method, path):
    async with running(tmp_path) as server:
        assert (await server.ask(method, f"/admin/services{path}")).status == 401


async def test_wrong_calls_are_told(tmp_path):
    async with running(tmp_path) as server:
        assert (await order(server, "other/start"))[1]["error"]["code"] == "unknown_service"
        assert (await order(server, "webai/start", b"{"))[1]["error"]["code"] == "invalid_json"
        reply = await server.get("/admin/services/webai/logs?n=x", control(server))
        assert reply.json["error"]["code"] == "invalid_number"
        reply = await server.get("/admin/services/webai/logs", control(server))
        assert reply.json == {"lines": []}


async def test_it_serves_every_dialect_and_tells_who_answered(tmp_path):
    async with with_webai(tmp_path) as server:
        assert await listed(server) == ["small-webai"]
        chat = (await server.post(CHAT, ASK)).json
        assert chat["choices"][0]["message"]["content"] == "cba"
        messages = {**ASK, "max_tokens": 9}
        reply = await server.post("/v1/messages", messages)
        assert reply.json["content"][0]["text"] == "cba"
        reply = await server.post("/v1/responses", {"model": "small-webai", "input": "abc"})
        assert reply.json["output"][0]["content"][0]["text"] == "cba"
        parts = {"contents": [{"role": "user", "parts": [{"text": "abc"}]}]}
        reply = await server.post("/v1beta/models/small-webai:generateContent", parts)
        assert reply.json["candidates"][0]["content"]["parts"][0]["text"] == "cba"
        streamed = await server.post(CHAT, {**ASK, "stream": True})
        assert b"cba" in streamed.body
        assert (await look(server))["answered"] == {"SomeSite": 5}


async def test_its_failure_is_told_in_the_form_of_the_caller(tmp_path):
    async with with_webai(tmp_path) as server:
        await listed(server)
        bad = {**ASK, "messages": [{"role": "user", "content": "fail"}], "max_tokens": 9}
        body = (await server.post("/v1/messages", bad)).json
        assert body["type"] == "error"
        assert "Request execution failed" in body["error"]["message"]
        assert "dragoman services logs webai" in body["error"]["message"]


async def test_failure_in_the_middle_of_a_stream_is_no_clean_end(tmp_path):
    async with with_webai(tmp_path) as server:
        await listed(server)
        bad = {**ASK, "messages": [{"role": "user", "content": "break"}], "stream": True}
        body = (await server.post("/v1/messages", {**bad, "max_tokens": 9})).body
        assert b"event: error" in body
        assert b"the site hung up" in body
        assert b"message_stop" not in body


async def test_model_that_runs_programs_is_not_offered(tmp_path):
    async with with_webai(tmp_path) as server:
        await listed(server)
        reply = await server.post(CHAT, {**ASK, "model": "agent-tools-webai"})
        assert reply.status == 404
        lines = (await server.get("/admin/services/webai/logs", control(server))).json["lines"]
        assert any("refused: Dragoman lets this service start no programs" in x for x in lines)


async def test_killed_service_comes_back_and_its_calls_say_so_meanwhile(tmp_path):
    async with with_webai(tmp_path) as server:
        await listed(server)
        pid = server.service.helpers.services.view("webai").pid
        os.kill(pid, signal.SIGKILL)
        view = await until(server, lambda view: view.state == "waiting")
        assert view.reason.startswith("It was ended by SIGKILL")
        reply = await server.post(CHAT, ASK)
        assert reply.json["error"]["code"] == "accounts_unavailable"
        assert "ended by SIGKILL" in reply.json["error"]["message"]
        view = await until(server, is_ready)
        assert (view.restarts, view.pid != pid) == (1, True)
        assert (await server.post(CHAT, ASK)).status == 200


async def test_processes_are_one_and_the_services_that_are_on(tmp_path):
    async with with_webai(tmp_path) as server:
        health = (await server.get("/v1/health")).json
        assert health["processes"] == 2
        parts = {part["kind"]: part for part in health["parts"]}
        assert set(parts) == {"router", "service"}
        assert all(part["memory_bytes"] > 0 for part in parts.values())
        assert all(part["uptime_s"] >= 0 for part in parts.values())
        assert parts["service"]["state"] == "ready"
        ours = {os.getpid(), parts["service"]["pid"]}
        assert set(tree_of(parts["service"]["pid"])) <= ours


async def test_client_with_a_key_sees_none_of_it(tmp_path):
    async with with_webai(tmp_path) as server:
        _, key = await server.key(label="a")
        reply = await server.get("/v1/health", {"Authorization": f"Bearer {key}"})
        assert [part["kind"] for part in reply.json["parts"]] == ["router"]


async def test_turned_off_it_is_gone_and_stays_off(tmp_path):
    async with with_webai(tmp_path) as server:
        pid = server.service.helpers.services.view("webai").pid
        status, body = await order(server, "webai/stop")
        assert (status, body["state"], body["on"]) == (200, "off", False)
        assert not lives(pid)
        assert (await server.post(CHAT, ASK)).status == 404
    async with running(tmp_path) as server:
        assert (await look(server))["state"] == "off"


async def test_turned_on_it_is_on_after_a_restart_without_being_asked_again(tmp_path):
    async with with_webai(tmp_path) as server:
        pid = server.service.helpers.services.view("webai").pid
    assert not lives(pid)
    async with running(tmp_path, f"services: {{webai: {{port: {free_port()}}}}}") as server:
        await until(server, is_ready)
        status, body = await order(server, "webai/start")
        assert (status, body["agreed"]) == (200, True)


async def test_settings_alone_do_not_agree_for_the_user(tmp_path):
    async with with_webai(tmp_path, on=False) as server:
        path = server.service.located.path
        path.write_text(path.read_text().replace("{port", "{enabled: true, port"))
        assert (await server.service.reload())["changed"]
        view = await until(server, lambda view: "terms" in view.reason)
        assert view.state == "off"


async def test_change_of_its_port_starts_it_anew(tmp_path):
    async with with_webai(tmp_path) as server:
        old = server.service.helpers.services.view("webai")
        port = free_port()
        path = server.service.located.path
        path.write_text(f"services: {{webai: {{port: {port}}}}}\n")
        await server.service.reload()
        view = await until(server, lambda view: is_ready(view) and view.pid != old.pid)
        assert view.address == f"http://127.0.0.1:{port}"


async def test_cookies_come_from_the_vault_and_new_ones_start_it_anew(tmp_path):
    async with with_webai(tmp_path) as server:
        service = server.service
        old = service.helpers.services.view("webai").pid
        flow = await service.desk.start("webai", "cookies", consent=CONSENT, memory_only=True)
        cookie = {"domain": ".google.com", "name": "SID", "value": "s3cret-s3cret"}
        flow = await service.desk.logins.submit(flow.id, json.dumps([cookie]))
        view = await until(server, lambda view: is_ready(view) and view.pid != old)
        lines = (await server.get("/admin/services/webai/logs", control(server))).json["lines"]
        assert any("cookies of .google.com" in line for line in lines)
        assert "s3cret" not in json.dumps(lines)
        stored = [p for p in tmp_path.rglob("*") if p.is_file() and b"s3cret-" in p.read_bytes()]
        assert stored == []
        names = [a.id for a in service.roster.accounts() if a.provider is WEBAI]
        assert names == ["webai/webai-1"]
        assert (await server.post(CHAT, ASK)).status == 200
        await order(server, "webai/stop")
        assert "turned off" in service.roster.get("webai/webai-1").trouble
        assert view.pid is not None


async def test_address_of_ones_own_is_looked_at_and_not_run(tmp_path):
    async with with_webai(tmp_path / "one") as own:
        one = own.service.helpers
        address, key = one.services.address("webai", one._key)
        text = f"services: {{webai: {{url: '{address}', api_key: {key}}}}}\n"
        async with running(tmp_path / "two", text) as server:
            status, body = await order(server, "webai/install")
            assert body["error"]["code"] == "service_elsewhere"
            status, body = await order(server, "webai/start", {"consent": CONSENT})
            assert (status, body["outside"]) == (200, True)
            view = await until(server, is_ready)
            assert (view.pid, view.address) == (None, address)
            await listed(server)
            assert (await server.post(CHAT, ASK)).status == 200
            await order(own, "webai/stop")
            reply = await server.post(CHAT, ASK)
            assert reply.status in (502, 503)
