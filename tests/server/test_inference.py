"""The inference routes over real sockets: who may call, what is refused, who has left."""

import asyncio
import json
import time

import pytest

from app.server.guard import Caller
from app.server.inference import decode_path
from app.server.peer import NoProver, PeerProof
from tests.gateway.scripted import CHAT_END, CHAT_START, TOLD, chat_chunk, chat_whole
from tests.server.running import (
    CHAT,
    SAY,
    STREAM_HEAD,
    Upstream,
    answering,
    chunk,
    holding,
    read_reply,
    running,
    whole,
)

PATHS = {
    "openai_chat": CHAT,
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/demo-chat:generateContent",
}
BEGUN = STREAM_HEAD + chunk(CHAT_START + chat_chunk({"content": "a"}))


def error_of(dialect, reply):
    """The message of an error, after a look at its envelope."""
    body = reply.json
    assert reply.header("content-type").startswith("application/json")
    if dialect == "anthropic":
        assert body["type"] == "error"
        assert body["error"]["type"]
    elif dialect == "gemini":
        assert body["error"]["code"] == reply.status
        assert body["error"]["status"].isupper()
    else:
        assert {"message", "type", "code", "param"} <= body["error"].keys()
    return body["error"]["message"]


# Who may call


async def test_same_user_needs_no_key_and_any_foreign_one_is_ignored(tmp_path):
    async with running(tmp_path) as server:
        for headers in ({}, {"Authorization": "Bearer sk-whatever"}, {"x-api-key": "x"}):
            reply = await server.post(CHAT, SAY, headers)
            assert reply.status == 200
            assert "account=demo" in reply.header("x-dragoman-route")


async def test_keys_good_wrong_revoked_and_expired(tmp_path):
    async with running(tmp_path) as server:
        _, good = await server.key(label="good")
        revoked, bad = await server.key(label="bad")
        await server.service.revoke_key(revoked.id)
        expired, late = await server.key(label="late", expires_at=time.time() + 3600)
        server.service.access.now = lambda: time.time() + 7200
        for name in ("Authorization", "x-api-key", "x-goog-api-key"):
            scheme = "Bearer " if name == "Authorization" else ""
            assert (await server.post(CHAT, SAY, {name: scheme + good})).status == 200
            for key, word in ((bad, "revoked"), (late, "expired"), ("dg-" + "x" * 32, "not known")):
                reply = await server.post(CHAT, SAY, {name: scheme + key})
                assert reply.status == 401
                assert word in error_of("openai_chat", reply)
                assert reply.header("www-authenticate")
                assert reply.header("x-request-id").startswith("req_")
                assert reply.header("x-dragoman-route") == "attempts=0"
        assert expired.label == "late"


async def test_key_in_the_query_is_for_gemini_only(tmp_path):
    async with running(tmp_path, prover=NoProver()) as server:
        _, key = await server.key(label="g")
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        assert (await server.post(PATHS["gemini"] + f"?key={key}", body)).status == 200
        assert (await server.post(CHAT + f"?key={key}", SAY)).status == 401


async def test_scope_of_a_key_holds_and_its_labels_are_hidden(tmp_path):
    async with running(tmp_path) as server:
        _, narrow = await server.key(label="n", models=["demo-think"])
        headers = {"x-api-key": narrow}
        reply = await server.post(CHAT, SAY, headers)
        assert reply.status == 404
        reply = await server.post(CHAT, SAY | {"model": "demo-think"}, headers)
        assert reply.status == 200
        assert "account=" not in reply.header("x-dragoman-route")


@pytest.mark.parametrize("dialect", PATHS)
async def test_unproven_caller_needs_a_key_in_every_dialect(tmp_path, dialect):
    async with running(tmp_path, prover=NoProver()) as server:
        reply = await server.post(PATHS[dialect], SAY)
        assert reply.status == 401
        assert "keys create" in error_of(dialect, reply)


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({"Host": "evil.test"}, "evil.test"),
        ({"Host": "localhost:1"}, "localhost:1"),
        ({"Origin": "https://evil.test"}, "origins"),
        ({"Origin": "null"}, "origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "origin"),
        ({"Referer": "https://evil.test/page"}, "origins"),
    ],
)
async def test_foreign_pages_and_names_are_refused(tmp_path, headers, word):
    async with running(tmp_path) as server:
        for method, path in (("POST", CHAT), ("GET", "/v1/models")):
            reply = await server.ask(method, path, SAY if method == "POST" else b"", headers)
            assert reply.status == 403
            assert word in error_of("openai_chat", reply)
            assert reply.all("access-control-allow-origin") == []


async def test_listed_page_needs_a_key_and_may_read_the_answer(tmp_path):
    settings = 'access: {origins: ["https://app.test"]}\n'
    async with running(tmp_path, settings) as server:
        _, key = await server.key(label="page")
        origin = {"Origin": "https://app.test"}
        assert (await server.post(CHAT, SAY, origin)).status == 401
        for body in (SAY, SAY | {"stream": True}):
            reply = await server.post(CHAT, body, origin | {"x-api-key": key})
            assert reply.status == 200
            assert reply.header("access-control-allow-origin") == "https://app.test"
        asked = {"Access-Control-Request-Method": "POST"}
        preflight = await server.ask("OPTIONS", CHAT, b"", origin | asked)
        assert preflight.status == 204
        assert preflight.header("access-control-allow-methods") == "POST"
        foreign = await server.ask("OPTIONS", CHAT, b"", asked | {"Origin": "https://evil.test"})
        assert foreign.status == 403


class Slow:
    """A prover that takes its time, as those of Windows and macOS do."""

    slow = True

    def __init__(self):
        self.threads = []

    def look_up(self, _pair):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.threads.append("executor")
        else:
            self.threads.append("loop")
        return PeerProof(True, "proven")

    def close(self):
        self.closed = True


async def test_slow_prover_is_asked_off_the_loop_once_per_connection(tmp_path):
    prover = Slow()
    async with running(tmp_path, prover=prover) as server:
        async with server.dial() as (reader, writer):
            for path in (CHAT, CHAT):
                writer.write(server.render("POST", path, SAY))
                assert (await read_reply(reader)).status == 200
        assert prover.threads == ["executor"]
        assert (await server.get("/v1/models")).status == 200
        assert prover.threads == ["executor"] * 2
    assert prover.closed


async def test_key_is_not_refused_while_the_keys_are_read(tmp_path):
    async with running(tmp_path, prover=NoProver()) as server:
        _, key = await server.key(label="early")
        access = server.service.access
        access.loaded = asyncio.Event()
        call = asyncio.ensure_future(server.post(CHAT, SAY, {"x-api-key": key}))
        assert (await server.post(CHAT, SAY)).status == 401  # without a key nobody waits
        assert not call.done()
        access.loaded.set()
        assert (await call).status == 200


# Bodies


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("counted", [False, True])
async def test_body_over_the_limit_is_413(tmp_path, dialect, counted):
    async with running(tmp_path, "advanced: {max_body_mb: 1}\n") as server:
        raw = b" " * (1024 * 1024 + 10)
        if counted:
            data = server.render(
                "POST", PATHS[dialect], b"",
                {"Content-Length": None, "Transfer-Encoding": "chunked"},
            ) + chunk(raw) + b"0\r\n\r\n"  # fmt: skip
            async with server.dial() as (reader, writer):
                writer.write(data)
                reply = await read_reply(reader)
        else:
            reply = await server.post(PATHS[dialect], raw)
        assert reply.status == 413
        assert "1 MB" in error_of(dialect, reply)


@pytest.mark.parametrize(("length", "status"), [(2 * 1024 * 1024, 401), (10**12, 413)])
async def test_refused_caller_is_not_made_to_send_a_large_body(tmp_path, length, status):
    async with running(tmp_path, prover=NoProver()) as server:
        headers = {"Content-Length": str(length), "Expect": "100-continue"}
        reply = await server.post(CHAT, b"", headers)
        assert reply.status == status
        assert error_of("openai_chat", reply)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "Multipart/Mixed"])
async def test_multipart_is_415(tmp_path, kind):
    async with running(tmp_path) as server:
        reply = await server.post(CHAT, b"--x--", {"Content-Type": kind})
        assert reply.status == 415
        assert "JSON" in error_of("openai_chat", reply)


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain", "?"])
async def test_json_is_taken_under_any_other_type(tmp_path, kind):
    async with running(tmp_path) as server:
        assert (await server.post(CHAT, SAY, {"Content-Type": kind})).status == 200


GEMINI_TEXT = b'{"contents":[{"role":"user","parts":[{"text":%b}]}]}'
BODIES = {
    "empty": b"",
    "no json": b"hello",
    "cut": b'{"model":"demo-chat"',
    "list": b"[]",
    "string": b'"x"',
    "number": b"5",
    "null": b"null",
    "nan": b'{"model":"demo-chat","messages":[],"contents":[],"input":"x","temperature":NaN}',
    "twice": b'{"model":"demo-chat","model":"demo-think","contents":[],"contents":[]}',
    "no utf-8": b'{"model":"demo-chat","x":"\xff\xfe"}',
    "latin key": b'{"mod\xe9l":"demo-chat"}',
    "deep list": b'{"model":"demo-chat","contents":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep open": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep content": b'{"model":"demo-chat","max_tokens":5,"messages":[{"role":"user","content":'
    + b"[" * 100_000
    + b"]" * 100_000
    + b'}],"input":'
    + b"[" * 100_000
    + b"]" * 100_000
    + b',"contents":'
    + b"[" * 100_000
    + b"]" * 100_000
    + b"}",
    "surrogate": b'{"model":"demo-chat","max_tokens":5,"input":"\\ud800",'
    b'"messages":[{"role":"user","content":"\\ud800"}],'
    b'"contents":[{"role":"user","parts":[{"text":"\\ud800"}]}]}',
    "bom": b'\xef\xbb\xbf{"model":"demo-chat"}',
}


@pytest.mark.parametrize("name", BODIES)
async def test_broken_bodies_are_clear_request_faults_in_every_dialect(tmp_path, name):
    async with running(tmp_path) as server:
        for dialect, path in PATHS.items():
            reply = await server.post(path, BODIES[name])
            assert reply.status == 400, (dialect, reply.body[:300])
            assert len(error_of(dialect, reply)) < 1_000


@pytest.mark.parametrize("model", [None, "", " ", 5, ["a"], {"a": 1}, True])
async def test_model_that_is_none_is_a_request_fault(tmp_path, model):
    async with running(tmp_path) as server:
        for dialect in ("openai_chat", "openai_responses", "anthropic"):
            body = SAY | {"max_tokens": 5, "input": "hi", "model": model}
            if model is None:
                del body["model"]
            reply = await server.post(PATHS[dialect], body)
            assert 400 <= reply.status < 500, (dialect, reply.body)
            assert "model" in error_of(dialect, reply)


@pytest.mark.parametrize("name", ["", "%20", "%00", "%ff", "a:b", "x" * 5_000])
@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_model_of_a_gemini_path_that_is_none_is_a_request_fault(tmp_path, version, name):
    async with running(tmp_path) as server:
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        headers = {"x-goog-api-key": "x"}
        reply = await server.post(f"/{version}/models/{name}:generateContent", body, headers)
        assert 400 <= reply.status < 500, reply.body
        assert len(error_of("gemini", reply)) < 1_000


async def test_hints_name_only_models_and_accounts_of_the_keys_scope(tmp_path):
    settings = (
        "providers:\n  openai:\n    accounts:\n"
        "      - {label: work, api_key: '${NOT_THERE}', models: [big-one]}\n"
        "      - {label: home, api_key: '${NOT_THERE}', models: [big-two]}\n"
    )
    async with running(tmp_path, settings) as server:
        _, key = await server.key(label="n", models=["big-one"])
        headers = {"x-api-key": key}
        reply = await server.post(CHAT, SAY | {"model": "big-tow"}, headers)
        assert reply.status == 404
        assert "big-one" in error_of("openai_chat", reply)
        assert "big-two" not in error_of("openai_chat", reply)
        assert (await server.post(CHAT, SAY | {"model": "big-two"}, headers)).status == 404
        reply = await server.post(CHAT, SAY | {"model": "big-one"}, headers)
        assert reply.json["error"]["code"] == "accounts_unavailable"
        for label in ("work", "home"):
            assert label not in error_of("openai_chat", reply)


@pytest.mark.parametrize("dialect", PATHS)
async def test_unknown_model_names_its_neighbours(tmp_path, dialect):
    async with running(tmp_path) as server:
        path = PATHS[dialect].replace("demo-chat", "demo-chst")
        body = SAY | {"max_tokens": 5, "input": "hi", "model": "demo-chst"}
        reply = await server.post(path, body)
        assert reply.status == 404
        assert "demo-chat" in error_of(dialect, reply)


# Connections


async def test_connection_is_used_again_after_errors(tmp_path):
    async with running(tmp_path) as server, server.dial() as (reader, writer):
        for body, status in ((b"no", 400), (SAY, 200), (SAY | {"model": "x"}, 404), (SAY, 200)):
            writer.write(server.render("POST", CHAT, body))
            assert (await read_reply(reader)).status == status
        writer.write(server.render("POST", CHAT, SAY, {"Authorization": "Bearer dg-no"}))
        assert (await read_reply(reader)).status == 401
        writer.write(server.render("POST", CHAT, SAY | {"stream": True}))
        reply = await read_reply(reader)
        assert reply.body.endswith(b"data: [DONE]\n\n")
        writer.write(server.render("POST", CHAT, SAY))
        assert (await read_reply(reader)).status == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("connection", [None, "keep-alive"])
async def test_http_1_0_answer_ends_with_its_connection(tmp_path, stream, connection):
    async with running(tmp_path) as server, server.dial() as (reader, writer):
        body = SAY | {"stream": stream}
        headers = {"Connection": connection}
        writer.write(server.render("POST", CHAT, body, headers, version="1.0"))
        answer = await asyncio.wait_for(reader.read(), 20)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"chunked" not in answer
        assert b"keep-alive" not in answer.lower()
        assert b"understood" in answer


async def test_pipelined_requests_are_answered_in_order(tmp_path):
    async with running(tmp_path) as server, server.dial() as (reader, writer):
        bodies = [SAY | {"messages": [{"role": "user", "content": f"n{n}"}]} for n in range(3)]
        writer.write(b"".join(server.render("POST", CHAT, body) for body in bodies))
        for number in range(3):
            assert f"n{number}".encode() in (await read_reply(reader)).body


async def test_expectation_is_answered_before_the_body(tmp_path):
    async with running(tmp_path) as server, server.dial() as (reader, writer):
        raw = json.dumps(SAY).encode()
        length = {"Content-Length": str(len(raw)), "Expect": "100-continue"}
        writer.write(server.render("POST", CHAT, b"", length))
        assert b"100" in await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        assert (await read_reply(reader)).status == 200


# Leaving


async def wait_for_idle(server):
    await asyncio.wait_for(server.service.inference.idle.wait(), 5)


@pytest.mark.parametrize("begun", [b"", BEGUN])
@pytest.mark.parametrize("stream", [False, True])
async def test_leave_cancels_the_upstream_within_a_second(tmp_path, stream, begun):
    async with Upstream(holding(begun)) as up, running(tmp_path, up.settings()) as server:
        async with server.dial() as (_reader, writer):
            writer.write(server.render("POST", CHAT, SAY | {"model": "m", "stream": stream}))
            await asyncio.wait_for(up.reached.wait(), 5)
        await asyncio.wait_for(up.left.wait(), 1)
        await wait_for_idle(server)
        assert server.service.inference.active == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_leave_behind_unread_bytes_is_noticed_at_the_next_look(tmp_path, stream):
    async with Upstream(holding(BEGUN)) as up, running(tmp_path, up.settings()) as server:
        limits = server.service.gateway.limits
        server.service.gateway.limits = type(limits)(ping_s=0.05)
        async with server.dial() as (_reader, writer):
            body = SAY | {"model": "m", "stream": stream}
            writer.write(server.render("POST", CHAT, body) + b"P")
            await asyncio.wait_for(up.reached.wait(), 5)
            writer.write(b"O" * 100)
            await writer.drain()
        await asyncio.wait_for(up.left.wait(), 2)
        await wait_for_idle(server)


async def test_leave_during_the_body_starts_nothing(tmp_path):
    async with Upstream(holding()) as up, running(tmp_path, up.settings()) as server:
        async with server.dial() as (_reader, writer):
            data = server.render("POST", CHAT, SAY | {"model": "m"})
            writer.write(data[:-5])
            await writer.drain()
        assert (await server.get("/healthz")).status == 200
        assert server.service.inference.active == 0
        assert not up.requests


async def test_leaving_clients_leave_no_traces_in_the_log(tmp_path, caplog):
    flood = STREAM_HEAD + chunk(CHAT_START)

    async def answer(writer, _body):
        writer.write(flood)
        while True:
            writer.write(chunk(chat_chunk({"content": "x" * 10_000})))
            await writer.drain()

    async with Upstream(answer) as up, running(tmp_path, up.settings()) as server:
        async with server.dial() as (reader, writer):
            writer.write(server.render("POST", CHAT, SAY | {"model": "m", "stream": True}))
            await reader.readexactly(50_000)
            writer.transport.abort()
        await asyncio.wait_for(up.left.wait(), 5)
        await wait_for_idle(server)
    assert not [r for r in caplog.records if r.exc_info or r.levelname in ("ERROR", "WARNING")]


@pytest.mark.parametrize("stream", [False, True])
async def test_fault_of_ours_ends_the_connection_and_is_logged(tmp_path, caplog, stream):
    def settled(_outcome):
        raise ZeroDivisionError

    async with running(tmp_path) as server, server.dial() as (reader, writer):
        server.service.gateway.settled = settled
        writer.write(server.render("POST", CHAT, SAY | {"stream": stream}))
        await asyncio.wait_for(reader.read(), 5)
        assert "could not be answered" in caplog.text
        assert server.service.inference.active == 0
        server.service.gateway.settled = None
        assert (await server.post(CHAT, SAY)).status == 200


async def test_silent_stream_gets_pings_on_the_wire(tmp_path):
    async with Upstream(holding(BEGUN)) as up, running(tmp_path, up.settings()) as server:
        limits = server.service.gateway.limits
        server.service.gateway.limits = type(limits)(ping_s=0.05)
        async with server.dial() as (reader, writer):
            writer.write(server.render("POST", CHAT, SAY | {"model": "m", "stream": True}))
            seen = await asyncio.wait_for(reader.readuntil(b": ping\n\n"), 5)
            assert b'"content":"a"' in seen.replace(b" ", b"")


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic"])
async def test_signs_of_life_without_content_end_at_the_deadline(tmp_path, dialect):
    async def answer(writer, _body):
        writer.write(STREAM_HEAD)
        while True:
            writer.write(chunk(b": still thinking\n\n"))
            await writer.drain()
            await asyncio.sleep(0.01)

    more = "upstream: {first_byte_timeout_s: 1, idle_timeout_s: 1}\n"
    async with Upstream(answer) as up, running(tmp_path, up.settings(more=more)) as server:
        body = SAY | {"model": "m", "stream": True, "max_tokens": 5}
        reply = await server.post(PATHS[dialect], body)
        assert reply.status == 504
        assert "no content" in error_of(dialect, reply)
        await asyncio.wait_for(up.left.wait(), 5)


@pytest.mark.parametrize("stream", [False, True])
async def test_upstream_that_says_nothing_is_504_at_the_deadline(tmp_path, stream):
    more = "upstream: {first_byte_timeout_s: 0.1, total_timeout_s: 0.1}\n"
    async with Upstream(holding()) as up, running(tmp_path, up.settings(more=more)) as server:
        reply = await server.post(CHAT, SAY | {"model": "m", "stream": stream})
        assert reply.status == 504
        assert error_of("openai_chat", reply)
        await asyncio.wait_for(up.left.wait(), 5)


async def test_stream_and_whole_answers_pass_through_a_real_upstream(tmp_path):
    stream = STREAM_HEAD + chunk(CHAT_START + chat_chunk({"content": "a"})) + chunk(CHAT_END)
    stream += b"0\r\n\r\n"

    async def answer(writer, body):
        writer.write(stream if json.loads(body).get("stream") else whole(chat_whole("hello")))
        await writer.drain()

    async with Upstream(answer) as up, running(tmp_path, up.settings()) as server:
        reply = await server.post(CHAT, SAY | {"model": "m"})
        assert reply.body == chat_whole("hello")
        reply = await server.post(CHAT, SAY | {"model": "m", "stream": True} | TOLD)
        assert reply.body == CHAT_START + chat_chunk({"content": "a"}) + CHAT_END
        assert b"Authorization: Bearer sk-fake" in up.requests[0][0].replace(
            b"authorization", b"Authorization"
        )
        assert len(reply.all("x-request-id")) == len(reply.all("x-dragoman-route")) == 1


async def test_upstream_error_over_the_wire_keeps_its_words(tmp_path):
    body = b'{"error":{"message":"The sky is falling","type":"server_error","code":"sky"}}'
    async with (
        Upstream(answering(whole(body, 400))) as up,
        running(tmp_path, up.settings()) as server,
    ):
        reply = await server.post(CHAT, SAY | {"model": "m"})
        assert reply.status == 400
        assert reply.json["error"]["message"] == "The sky is falling"


def test_paths_are_decoded_but_for_the_slash():
    assert decode_path("/v1/models/a%20b%2Fc%2fd") == "/v1/models/a b%2Fc%2Fd"
    assert decode_path("/plain") == "/plain"
    assert Caller("127.0.0.1", same_user=True, loopback=True).same_user


async def test_each_request_that_begins_or_ends_is_told(tmp_path):
    async with Upstream(holding(BEGUN)) as up, running(tmp_path, up.settings()) as server:
        seen = []
        server.service.subscribe(lambda: seen.append(server.service.running))
        async with server.dial() as (_reader, writer):
            writer.write(server.render("POST", CHAT, SAY | {"model": "m", "stream": True}))
            await asyncio.wait_for(up.reached.wait(), 5)
            assert seen[-1] == 1
        await wait_for_idle(server)
        assert seen[-1] == 0
