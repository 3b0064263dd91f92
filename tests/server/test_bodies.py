"""Bodies and replay over the running program."""

import asyncio
import json

import pytest

from tests.gateway.scripted import chat_stream, chat_whole
from tests.server.running import (
    CHAT,
    SAY,
    STREAM_HEAD,
    Upstream,
    answering,
    chunk,
    holding,
    running,
    whole,
)

KEPT = "ledger: {bodies: true}\n"


def admin(server):
    return {"Authorization": f"Bearer {server.service.instance.token}"}


async def flushed(server):
    service = server.service
    assert await asyncio.to_thread(service.records.bodies.flush)
    assert await asyncio.to_thread(service.ledger.opened.wait, 10)
    assert await asyncio.to_thread(service.ledger.flush)


async def body_of(server, name):
    await flushed(server)
    return await server.get(f"/admin/requests/{name}/body", admin(server))


async def replay(server, name, body=None):
    await flushed(server)
    return await server.post(f"/admin/requests/{name}/replay", body or {}, admin(server))


async def test_prompt_and_answer_are_kept_where_the_settings_say_so(tmp_path):
    async with running(tmp_path, KEPT) as server:
        reply = await server.post(CHAT, SAY, {"X-Api-Key": "sk-secret-0123456789"})
        name = reply.header("x-request-id")
        kept = (await body_of(server, name)).json
        assert kept["request"]["body"] == SAY
        assert kept["answer"]["text"] == reply.json["choices"][0]["message"]["content"]
        assert "sk-secret" not in json.dumps(kept)
        assert (await server.get(f"/admin/requests/{name}/body")).status == 401
        assert (await server.post(f"/admin/requests/{name}/replay", {})).status == 401


async def test_nothing_is_kept_without_that(tmp_path):
    async with running(tmp_path) as server:
        name = (await server.post(CHAT, SAY)).header("x-request-id")
        reply = await body_of(server, name)
        assert (reply.status, reply.json["error"]["code"]) == (404, "body_not_kept")
        assert "ledger: {bodies: true}" in reply.json["error"]["message"]
    assert not list((tmp_path / "data").glob("bodies*"))


async def test_switching_it_off_removes_what_was_kept(tmp_path):
    async with running(tmp_path, KEPT) as server:
        name = (await server.post(CHAT, SAY)).header("x-request-id")
        assert (await body_of(server, name)).status == 200
        server.service.located.path.write_text("")
        await server.service.reload()
        await server.service.records.follow()
        assert (await body_of(server, name)).status == 404
        assert not list((tmp_path / "data").glob("bodies*"))


async def test_a_replay_shows_both_answers_with_their_times_and_costs(tmp_path):
    async with running(tmp_path, KEPT) as server:
        name = (await server.post(CHAT, SAY)).header("x-request-id")
        found = (await replay(server, name)).json
        before, now = found["original"], found["replay"]
        assert before["id"] == name != now["id"]
        assert before["answer"]["text"] == now["answer"]["text"] != ""
        assert before["model"] == now["model"] == "demo-chat"
        assert before["account"] == now["account"] == "demo/demo"
        for side in (before, now):
            assert side["status"] == 200
            assert side["duration_ms"] >= 0
            assert side["output"] > 0
            assert side["at"] > 0
        await flushed(server)
        row = (await server.get(f"/admin/requests/{now['id']}", admin(server))).json["request"]
        assert (row["client"], row["status"]) == ("replay", 200)


async def test_another_model_may_answer(tmp_path):
    async with running(tmp_path, KEPT) as server:
        name = (await server.post(CHAT, SAY)).header("x-request-id")
        found = (await replay(server, name, {"model": "demo-think"})).json
        assert found["original"]["model"] == "demo-chat"
        assert (found["replay"]["asked"], found["replay"]["model"]) == ("demo-think", "demo-think")
        failed = (await replay(server, name, {"model": "demo-error-500"})).json["replay"]
        assert (failed["status"] >= 400, failed["answer"]["error"] != "") == (True, True)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, SAY | {"stream": True}),
        ("/v1/messages", SAY | {"max_tokens": 50}),
        ("/v1/messages", SAY | {"max_tokens": 50, "stream": True}),
        ("/v1/responses", {"model": "demo-chat", "input": "hi", "stream": True}),
        ("/v1beta/models/demo-chat:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}),
        (
            "/v1beta/models/demo-chat:streamGenerateContent?alt=sse",
            {"contents": [{"parts": [{"text": "hi"}]}]},
        ),
    ],
)
async def test_every_dialect_is_kept_and_asked_again(tmp_path, path, body):
    async with running(tmp_path, KEPT) as server:
        reply = await server.post(path, body)
        assert reply.status == 200, reply.body
        name = reply.header("x-request-id")
        found = (await replay(server, name, {"model": "demo-think"})).json
        assert found["original"]["answer"]["text"]
        assert found["replay"]["answer"]["text"]
        assert (found["original"]["model"], found["replay"]["model"]) == ("demo-chat", "demo-think")


async def test_completions_are_shown_as_they_came(tmp_path):
    async with running(tmp_path, KEPT) as server:
        reply = await server.post("/v1/completions", {"model": "demo-chat", "prompt": "hi"})
        found = (await replay(server, reply.header("x-request-id"))).json
        assert "choices" in found["replay"]["answer"]["raw"]


async def test_a_conversation_is_replayed_with_what_went_before(tmp_path):
    async with running(tmp_path, KEPT) as server:
        first = await server.post("/v1/responses", {"model": "demo-chat", "input": "one"})
        more = {"model": "demo-chat", "input": "two", "previous_response_id": first.json["id"]}
        second = await server.post("/v1/responses", more)
        kept = (await body_of(server, second.header("x-request-id"))).json
        assert "one" in json.dumps(kept["request"]["body"])
        assert (await replay(server, second.header("x-request-id"))).status == 200


async def test_what_a_client_did_not_wait_for_is_kept_as_far_as_it_came(tmp_path):
    begun = STREAM_HEAD + b"".join(chunk(piece) for piece in chat_stream("half")[:-1])
    async with (
        Upstream(holding(begun)) as upstream,
        running(tmp_path, upstream.settings() + KEPT) as server,
    ):
        ask = {"model": "m", "stream": True, "messages": SAY["messages"]}
        async with server.dial() as (reader, writer):
            writer.write(server.render("POST", CHAT, json.dumps(ask).encode()))
            head = await reader.readuntil(b"half")
            line = next(line for line in head.split(b"\r\n") if b"equest-id" in line.lower())
            name = line.split(b": ")[1].decode()
        await asyncio.wait_for(upstream.left.wait(), 20)
        await asyncio.wait_for(server.service.inference.idle.wait(), 20)
        kept = (await body_of(server, name)).json
        assert kept["answer"]["text"] == "half"


async def test_a_request_that_was_cut_is_not_asked_again(tmp_path):
    settings = "ledger: {bodies: true, bodies_each_kb: 1}\n"
    async with running(tmp_path, settings) as server:
        long = SAY | {"messages": [{"role": "user", "content": "x" * 5_000}]}
        name = (await server.post(CHAT, long)).header("x-request-id")
        reply = await replay(server, name)
        assert (reply.status, reply.json["error"]["code"]) == (409, "body_cut")
        assert "bodies_each_kb" in reply.json["error"]["message"]


@pytest.mark.parametrize("raw", [b"[]", b"{", b'{"model":""}', b'{"model":7}'])
async def test_a_wrong_wish_is_told(tmp_path, raw):
    async with running(tmp_path, KEPT) as server:
        reply = await server.post("/admin/requests/x/replay", raw, admin(server))
        assert reply.status == 400


async def test_a_replay_asks_the_service_and_no_cache(tmp_path):
    async with Upstream(answering(whole(chat_whole("from the service")))) as upstream:
        settings = upstream.settings() + KEPT + "cache: {enabled: true}\n"
        async with running(tmp_path, settings) as server:
            ask = {"model": "m", "temperature": 0, "messages": SAY["messages"]}
            for _ in range(2):
                reply = await server.post(CHAT, ask)
            assert reply.header("x-dragoman-route").endswith("cache=hit")
            assert len(upstream.requests) == 1
            found = (await replay(server, reply.header("x-request-id"))).json
            assert len(upstream.requests) == 2
            assert (found["original"]["cached"], found["replay"]["cached"]) == (True, False)
            assert found["original"]["cost_usd"] == 0
            page = (await server.get("/metrics")).body.decode()
            assert "dragoman_answer_cache_hits 1.0" in page
