"""The help as browsers get it, and the addresses in errors that lead there."""

import json
import re

import pytest

from app.help import read_entries, read_groups, without_address
from app.paths import asset
from app.server.peer import NoProver
from app.server.policy import AccessPolicy
from tests.gateway.scripted import CHAT_START, chat_chunk
from tests.server.running import (
    CHAT,
    SAY,
    STREAM_HEAD,
    Upstream,
    answering,
    chunk,
    read_reply,
    running,
    whole,
)

ADDRESS = re.compile(r" Help: (http://[^/]+)(/help/[a-z0-9_]+)$")


async def test_front_page_and_every_page_are_served_to_anybody(tmp_path):
    async with running(tmp_path, prover=NoProver()) as server:
        names = [page.name for group in read_groups() for page in group.pages]
        for path in ("/help", "/help/", "/help/index", *(f"/help/{name}" for name in names)):
            page = await server.get(path)
            assert page.status == 200, path
            assert page.header("content-type") == "text/html; charset=utf-8"
            assert b"</html>" in page.body


async def test_nothing_can_run_or_be_framed_on_a_page(tmp_path):
    async with running(tmp_path) as server:
        page = await server.get("/help/keys")
        policy = page.header("content-security-policy")
        assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self';")
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert page.header("x-frame-options") == "DENY"
        assert page.header("x-content-type-options") == "nosniff"
        assert b"<script" not in page.body
        assert not re.search(rb"\s(on\w+|style)=", page.body)


async def test_a_code_leads_to_its_entry(tmp_path):
    async with running(tmp_path) as server:
        for code in ("accounts_cooling", "vault_locked"):
            reply = await server.get(f"/help/{code}")
            assert reply.status == 302
            assert reply.header("location") == f"/help/troubleshooting#{code}"
        page = await server.get("/help/troubleshooting")
        for code in read_entries():
            assert f'<h3 id="{code}">'.encode() in page.body


async def test_unknown_names_are_404_with_near_ones_and_as_text(tmp_path):
    async with running(tmp_path) as server:
        page = await server.get("/help/acounts_cooling")
        assert page.status == 404
        assert b'<a href="/help/accounts_cooling">' in page.body
        page = await server.get("/help/%3Cscript%3E")
        assert page.status == 404
        assert b"<code>&lt;script&gt;</code>" in page.body


async def test_files_beside_the_pages_are_served_by_name_alone(tmp_path):
    async with running(tmp_path) as server:
        style = await server.get("/help/help.css")
        assert style.header("content-type") == "text/css; charset=utf-8"
        image = next(path for path in asset("images").iterdir() if path.suffix == ".png")
        picture = await server.get(f"/help/images/{image.name}")
        assert picture.header("content-type") == "image/png"
        assert picture.body == image.read_bytes()
        for path in (
            *("images/none.png", "images/..%2fdocs%2fkeys.md", "images/../docs/keys.md"),
            *("examples/..", "examples/%2e%2e", "examples/none.py", "style.css", "keys.md"),
        ):
            assert (await server.get(f"/help/{path}")).status == 404, path


async def test_host_is_checked_as_everywhere(tmp_path):
    async with running(tmp_path) as server:
        refused = await server.get("/help", {"Host": "evil.example"})
        assert refused.status == 403
        assert refused.json["error"]["code"] == "bad_host"
        # Such a name is never repeated in an address.
        where = f"http://localhost:{server.port}/help/bad_host"
        assert refused.json["error"]["message"].endswith(f" Help: {where}")


@pytest.mark.parametrize(
    ("path", "headers", "told"),
    [
        (CHAT, {}, lambda body: body["error"]["message"]),
        ("/v1/responses", {}, lambda body: body["error"]["message"]),
        ("/v1/messages", {}, lambda body: body["error"]["message"]),
        ("/v1beta/models/none:generateContent", {}, lambda body: body["error"]["message"]),
        ("/v1/nothing", {}, lambda body: body["error"]["message"]),
        ("/admin/stop", {}, lambda body: body["error"]["message"]),
    ],
)
async def test_errors_end_with_an_address_that_works(tmp_path, path, headers, told):
    async with running(tmp_path, prover=NoProver()) as server:
        for host in ("localhost", "127.0.0.1"):
            asked = headers | {"Host": f"{host}:{server.port}"}
            reply = await server.post(path, {"model": "none", "messages": []}, asked)
            assert reply.status >= 400
            at, place = ADDRESS.search(told(reply.json)).groups()
            assert at == f"http://{host}:{server.port}"
            there = await server.get(place)
            assert there.status == 302


async def test_refusals_by_the_gateway_have_it_in_each_dialect(tmp_path):
    async with running(tmp_path) as server:
        for path in (CHAT, "/v1/messages", "/v1/responses", "/v1beta/models/none:generateContent"):
            body = {"model": "none", "messages": [{"role": "user", "content": "hi"}]}
            body |= {"input": "hi", "contents": [{"parts": [{"text": "hi"}]}], "max_tokens": 1}
            reply = await server.post(path, body)
            assert reply.status == 404
            assert reply.json["error"]["message"].endswith("/help/model_not_found")


async def test_a_service_keeps_its_own_words(tmp_path):
    error = {"error": {"message": "Out of order.", "type": "server_error", "code": "server_error"}}
    answer = answering(whole(json.dumps(error).encode(), 500))
    async with Upstream(answer) as up, running(tmp_path, up.settings()) as server:
        reply = await server.post(CHAT, SAY | {"model": "m"})
        assert reply.json["error"]["message"] == "Out of order."


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
async def test_an_answer_that_breaks_off_has_it_in_its_last_event(tmp_path, path):
    cut = STREAM_HEAD + chunk(CHAT_START + chat_chunk({"content": "a"})) + b"0\r\n\r\n"
    async with Upstream(answering(cut)) as up, running(tmp_path, up.settings()) as server:
        body = SAY | {"model": "m", "stream": True, "max_tokens": 5}
        reply = await server.post(path, body)
        assert reply.status == 200
        assert f"Help: http://localhost:{server.port}/help/upstream_closed" in reply.body.decode()


async def test_requests_that_are_no_http_are_told_it_too(tmp_path):
    async with running(tmp_path) as server:
        async with server.dial() as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            error = (await read_reply(reader)).json["error"]
        where = f"http://localhost:{server.port}/help/malformed_request"
        assert error["message"] == f"{without_address(error['message'])} Help: {where}"


def test_address_is_by_the_name_that_the_caller_used_if_that_is_ours():
    policy = AccessPolicy(hosts=frozenset({"box.example"}), ports=frozenset({9000}))
    assert policy.address_for("localhost:9000") == "http://localhost:9000"
    assert policy.address_for("[::1]:9000") == "http://[::1]:9000"
    assert policy.address_for("box.example") == "http://box.example"
    for host in ("", "evil.example", "localhost:1", "localhost:9000/x"):
        assert policy.address_for(host) == "http://localhost:9000"
