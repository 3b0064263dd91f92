"""Responses over WebSocket, with a client that writes its frames by hand."""

import asyncio
import base64
import contextlib
import json
import os
import struct
import time

import pytest

from app.server.peer import NoProver
from tests.gateway.scripted import CHAT_END, CHAT_START, chat_chunk
from tests.server.running import (
    STREAM_HEAD,
    Upstream,
    answering,
    chunk,
    holding,
    read_reply,
    running,
)
from tests.server.test_inference import Slow, error_of

PATH = "/v1/responses"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
}
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
BEGUN = STREAM_HEAD + chunk(CHAT_START + chat_chunk({"content": "a"}))
DONE = chunk(CHAT_END) + b"0\r\n\r\n"


class Socket:
    """The client's side of one WebSocket."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, data, opcode=TEXT, *, masked=True, last=True):
        data = data.encode() if isinstance(data, str) else data
        mask = os.urandom(4)
        size = len(data)
        short = size if size < 126 else 126 if size < 65536 else 127
        head = struct.pack("!BB", opcode | (0x80 if last else 0), short | (0x80 * masked))
        head += b"" if size < 126 else struct.pack("!H" if size < 65536 else "!Q", size)
        if masked:
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self.writer.write(head + (mask + data if masked else data))

    def create(self, text="hi", **more):
        body = {"type": "response.create", "model": "demo-chat", "input": text} | more
        self.send(json.dumps(body))

    async def frame(self):
        first, short = await asyncio.wait_for(self.reader.readexactly(2), 10)
        assert not short & 0x80, "servers do not mask"
        size = short
        if short == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif short == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(size)

    async def event(self):
        opcode, data = await self.frame()
        assert opcode == TEXT, (opcode, data)
        return json.loads(data)

    async def answer(self):
        """The events of one answer, up to its last."""
        events = [await self.event()]
        while events[-1]["type"] not in ("response.completed", "response.failed", "error"):
            events.append(await self.event())
        return events

    async def closed(self):
        """The code of the server's close frame; also reads up to the connection's end."""
        opcode, data = await self.frame()
        assert opcode == CLOSE, (opcode, data)
        return struct.unpack("!H", data[:2])[0]


async def shake(server, reader, writer, headers=None, *, path=PATH, method="GET", **more):
    writer.write(server.render(method, path, b"", HANDSHAKE | (headers or {}), **more))
    head_only = method == "HEAD"
    return await asyncio.wait_for(read_101(reader, head_only), 10)


async def read_101(reader, head_only):
    """Read an answer; a 101 has no body although nothing says so."""
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 101"):
        return await read_reply(fed(head.replace(b" 101 ", b" 204 ", 1)))
    rest = asyncio.StreamReader()
    rest.feed_data(head)
    if not head_only:
        size = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        rest.feed_data(await reader.readexactly(size))
    rest.feed_eof()
    return await read_reply(rest, head_only=head_only)


def fed(data):
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


@contextlib.asynccontextmanager
async def connected(server, headers=None, path=PATH):
    async with server.dial() as (reader, writer):
        reply = await shake(server, reader, writer, headers, path=path)
        assert reply.status == 204, reply.body  # read_101
        yield Socket(reader, writer)


async def refusal(server, headers=None, **more):
    async with server.dial() as (reader, writer):
        return await shake(server, reader, writer, headers, **more)


def text_of(events):
    return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")


# Turns


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_turn_is_the_stream_one_event_per_message(tmp_path, path, opcode):
    async with running(tmp_path) as server, connected(server, path=path) as socket:
        body = {"type": "response.create", "model": "demo-chat", "input": "hi", "stream_id": "s"}
        socket.send(json.dumps(body), opcode)
        events = await socket.answer()
        assert [e["type"] for e in events[:2]] == ["response.created", "response.in_progress"]
        assert [e["sequence_number"] for e in events] == list(range(len(events)))
        response = events[-1]["response"]
        assert response["status"] == "completed"
        assert response["output"][0]["content"][0]["text"] == text_of(events) != ""
        assert server.service.served == 1


async def test_handshake_names_the_request(tmp_path):
    async with running(tmp_path) as server, server.dial() as (reader, writer):
        reply = await shake(server, reader, writer)
        assert reply.header("upgrade").lower() == "websocket"
        assert reply.header("sec-websocket-accept") == "BACScCJPNqyz+UBoqMH89VmURoA="
        assert reply.header("x-request-id").startswith("req_")
        assert reply.header("x-dragoman-route") == "attempts=0"
        assert reply.header("server") is None


@pytest.mark.parametrize("store", [True, False])
async def test_follow_up_in_the_connection_carries_the_conversation(tmp_path, store):
    done = answering(BEGUN + DONE)
    async with (
        Upstream(done) as up,
        running(tmp_path, up.settings()) as server,
        connected(server) as socket,
    ):
        socket.create("first words", model="m", store=store)
        first = (await socket.answer())[-1]["response"]
        socket.create("second words", model="m", previous_response_id=first["id"], store=store)
        second = (await socket.answer())[-1]["response"]
        assert second["id"] != first["id"]
        messages = json.loads(up.requests[1][1])["messages"]
        assert [m["role"] for m in messages] == ["user", "assistant", "user"]
        assert "first words" in json.dumps(messages[0])
        assert "second words" in json.dumps(messages[2])


async def test_socket_forgets_what_was_not_to_be_stored_with_its_end(tmp_path):
    async with running(tmp_path) as server:
        names = {}
        async with connected(server) as socket:
            for store in (True, False):
                socket.create(store=store)
                names[store] = (await socket.answer())[-1]["response"]["id"]
            assert (await server.get(f"{PATH}/{names[False]}")).status == 404
            async with connected(server) as other:
                other.create(previous_response_id=names[False])
                assert (await other.event())["error"]["code"] == "previous_response_not_found"
        async with connected(server) as socket:
            socket.create(previous_response_id=names[False])
            assert (await socket.event())["error"]["code"] == "previous_response_not_found"
            socket.create(previous_response_id=names[True])
            assert (await socket.answer())[-1]["response"]["status"] == "completed"
        assert (await server.get(f"{PATH}/{names[True]}")).json["id"] == names[True]


async def test_warming_up_asks_nobody_and_can_be_followed_up(tmp_path):
    done = answering(BEGUN + DONE)
    async with (
        Upstream(done) as up,
        running(tmp_path, up.settings()) as server,
        connected(server) as socket,
    ):
        socket.create("long prompt", model="m", generate=False, store=False)
        warm = (await socket.answer())[-1]
        assert warm["type"] == "response.completed"
        assert warm["response"]["output"] == []
        assert not up.requests
        socket.create("go", model="m", previous_response_id=warm["response"]["id"])
        assert text_of(await socket.answer()) == "a"
        sent = json.dumps(json.loads(up.requests[0][1])["messages"])
        assert "long prompt" in sent
        assert "go" in sent


async def test_second_message_waits_for_the_first_answer(tmp_path):
    async with running(tmp_path) as server, connected(server) as socket:
        for text in ("one", "two"):
            socket.create(text)
        for text in ("one", "two"):
            events = await socket.answer()
            assert [e["sequence_number"] for e in events] == list(range(len(events)))
            assert text in text_of(events)


async def test_message_may_come_in_fragments_with_a_ping_between(tmp_path):
    async with running(tmp_path) as server, connected(server) as socket:
        body = json.dumps({"type": "response.create", "model": "demo-chat", "input": "whole"})
        socket.send(body[:20], last=False)
        socket.send(b"are you there", PING)
        assert await socket.frame() == (PONG, b"are you there")
        socket.send(body[20:], 0)
        assert "whole" in text_of(await socket.answer())


async def test_silent_answer_gets_pings(tmp_path):
    async with (
        Upstream(holding(BEGUN)) as up,
        running(tmp_path, up.settings()) as server,
        connected(server) as socket,
    ):
        limits = server.service.gateway.limits
        server.service.gateway.limits = type(limits)(ping_s=0.05)
        socket.create(model="m")
        opcode = TEXT
        while opcode == TEXT:
            opcode, data = await socket.frame()
        assert opcode == PING
        socket.send(data, PONG)


# Faults


@pytest.mark.parametrize(
    ("message", "status", "words"),
    [
        ("hello", 400, "JSON"),
        ("[]", 400, "object"),
        ('{"type":"response.create","model":"demo-chat","input":' + "[" * 100_000, 400, ""),
        ('{"type":"response.cancel"}', 400, "response.create"),
        ('{"model":"demo-chat","input":"x"}', 400, "response.create"),
        ('{"type":"response.create","input":"x"}', 400, "model"),
        ('{"type":"response.create","input":"x","generate":false}', 400, "model"),
        ('{"type":"response.create","model":"demo-chst","input":"x"}', 404, "demo-chat"),
        ('{"type":"response.create","model":"demo-chat","input":"\\ud800"}', 400, ""),
        ('{"type":"response.create","model":"demo-error-429","input":"x"}', 429, "rate limit"),
        (b'{"type":"response.create","model":"\xff"}', 400, ""),
    ],
)
async def test_fault_is_an_error_message_and_the_socket_goes_on(tmp_path, message, status, words):
    async with running(tmp_path) as server, connected(server) as socket:
        socket.send(message, BINARY if isinstance(message, bytes) else TEXT)
        event = await socket.event()
        assert (event["type"], event["status"]) == ("error", status)
        assert {"message", "type", "code", "param"} <= event["error"].keys()
        assert words in event["error"]["message"]
        assert len(event["error"]["message"]) < 1000
        assert event["headers"]["x-request-id"].startswith("req_")
        socket.create()
        assert (await socket.answer())[-1]["type"] == "response.completed"


async def test_failure_after_content_ends_the_answer_not_the_socket(tmp_path):
    async with running(tmp_path) as server, connected(server) as socket:
        socket.create(model="demo-error-midstream")
        events = await socket.answer()
        assert text_of(events)
        assert events[-1]["type"] in ("response.failed", "error")
        socket.create()
        assert (await socket.answer())[-1]["type"] == "response.completed"


async def test_fault_of_ours_closes_the_socket_and_is_logged(tmp_path, caplog):
    def settled(_outcome):
        raise ZeroDivisionError

    async with running(tmp_path) as server, connected(server) as socket:
        server.service.gateway.settled = settled
        socket.create()
        await socket.answer()
        assert await socket.closed() == 1011
        assert "could not be answered" in caplog.text
        assert server.service.inference.active == 0


async def test_paused_program_says_so_in_a_message(tmp_path):
    async with running(tmp_path) as server, connected(server) as socket:
        server.service.gateway.paused = "Gone fishing."
        socket.create()
        event = await socket.event()
        where = f"Help: http://localhost:{server.port}/help/paused"
        assert (event["status"], event["error"]["message"]) == (503, f"Gone fishing. {where}")


# What is no handshake


NO_HANDSHAKES = [
    ("GET", dict.fromkeys(HANDSHAKE)),
    ("GET", {"Upgrade": "h2c"}),
    ("GET", {"Upgrade": None}),
    ("GET", {"Connection": "keep-alive"}),
    ("GET", {"Sec-WebSocket-Version": "8"}),
    ("GET", {"Sec-WebSocket-Version": None}),
    ("GET", {"Sec-WebSocket-Key": None}),
    ("HEAD", {}),
    ("DELETE", {}),
    ("PUT", {}),
]


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
async def test_what_is_no_handshake_is_426_and_the_connection_goes_on(tmp_path, path):
    async with running(tmp_path) as server, server.dial() as (reader, writer):
        for method, changes in NO_HANDSHAKES:
            reply = await shake(server, reader, writer, changes, method=method, path=path)
            assert reply.status == 426, (method, changes)
            assert reply.header("upgrade") == "websocket"
            assert reply.header("sec-websocket-version") == "13"
            assert reply.header("x-request-id").startswith("req_")
            if method != "HEAD":
                assert reply.json["error"]["code"] == "upgrade_required"


async def test_http_1_0_cannot_be_upgraded(tmp_path):
    async with running(tmp_path) as server:
        assert (await refusal(server, version="1.0")).status == 426


async def test_posting_works_beside_the_socket(tmp_path):
    async with running(tmp_path) as server:
        reply = await server.post(PATH, {"model": "demo-chat", "input": "hi"})
        assert reply.json["status"] == "completed"


# Who may connect


@pytest.mark.parametrize(
    ("headers", "status", "word"),
    [
        ({"x-api-key": "dg-" + "x" * 32}, 401, "not known"),
        ({"Authorization": "Bearer dg-no"}, 401, "not known"),
        ({"Host": "evil.test"}, 403, "evil.test"),
        ({"Origin": "https://evil.test"}, 403, "origins"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "origin"),
        ({"Referer": "https://evil.test/x"}, 403, "origins"),
    ],
)
async def test_refused_callers_get_no_socket(tmp_path, headers, status, word):
    async with running(tmp_path) as server:
        reply = await refusal(server, headers)
        assert reply.status == status
        assert word in error_of("openai_responses", reply)
        assert (reply.header("www-authenticate") is not None) == (status == 401)
        assert reply.header("x-dragoman-route") == "attempts=0"


async def test_unproven_caller_needs_a_key_whose_scope_holds_for_each_message(tmp_path):
    async with running(tmp_path, prover=NoProver()) as server:
        assert (await refusal(server)).status == 401
        _, key = await server.key(label="n", models=["demo-think"])
        _, relay = await server.key(label="r", kind="relay", accounts=["demo/demo"])
        assert (await refusal(server, {"x-api-key": relay})).status == 403
        async with connected(server, {"Authorization": f"Bearer {key}"}) as socket:
            socket.create()
            assert (await socket.event())["status"] == 404
            socket.create(model="demo-think")
            assert (await socket.answer())[-1]["type"] == "response.completed"


async def test_listed_page_needs_a_key_and_its_preflight_is_answered(tmp_path):
    async with running(tmp_path, 'access: {origins: ["https://app.test"]}\n') as server:
        _, key = await server.key(label="page")
        origin = {"Origin": "https://app.test"}
        assert (await refusal(server, origin)).status == 401
        async with connected(server, origin | {"x-api-key": key}) as socket:
            socket.create()
            assert (await socket.answer())[-1]["type"] == "response.completed"
        asked = origin | {"Access-Control-Request-Method": "POST"}
        reply = await server.ask("OPTIONS", PATH, b"", asked)
        assert reply.status == 204
        assert reply.header("access-control-allow-methods") == "POST"


async def test_slow_prover_is_awaited(tmp_path):
    prover = Slow()
    async with running(tmp_path, prover=prover) as server, connected(server) as socket:
        socket.create()
        assert (await socket.answer())[-1]["type"] == "response.completed"
        assert prover.threads == ["executor"]


# Frames that are refused


async def test_unmasked_frame_is_a_protocol_error(tmp_path):
    async with running(tmp_path) as server, connected(server) as socket:
        socket.send('{"type":"response.create"}', masked=False)
        assert await socket.closed() == 1002
        assert server.service.served == 0


@pytest.mark.parametrize("fragments", [1, 3])
async def test_message_over_the_limit_is_told_and_ends_the_socket(tmp_path, fragments):
    async with (
        running(tmp_path, "advanced: {max_body_mb: 1}\n") as server,
        connected(server) as socket,
    ):
        piece = b" " * (1024 * 1024 // fragments + 10)
        for number in range(fragments):
            socket.send(piece, 0 if number else TEXT, last=number == fragments - 1)
        assert await socket.closed() == 1009
        assert await socket.reader.read() == b""


async def test_too_many_waiting_messages_end_the_socket(tmp_path):
    async with (
        Upstream(holding(BEGUN)) as up,
        running(tmp_path, up.settings()) as server,
        connected(server) as socket,
    ):
        socket.create(model="m")
        await asyncio.wait_for(up.reached.wait(), 5)
        for _ in range(12):
            socket.create(model="m")
        opcode = TEXT
        while opcode == TEXT:
            opcode, data = await socket.frame()
        assert (opcode, data[:2]) == (CLOSE, struct.pack("!H", 1008))
        socket.send(data[:2], CLOSE)
        await asyncio.wait_for(up.left.wait(), 5)
        await asyncio.wait_for(server.service.inference.idle.wait(), 5)
        assert len(up.requests) == 1


# The end


@pytest.mark.parametrize("politely", [True, False])
@pytest.mark.parametrize("begun", [b"", BEGUN])
async def test_leaving_cancels_the_upstream_within_a_second(tmp_path, politely, begun, caplog):
    async with Upstream(holding(begun)) as up, running(tmp_path, up.settings()) as server:
        async with connected(server) as socket:
            socket.create(model="m")
            await asyncio.wait_for(up.reached.wait(), 5)
            if politely:
                socket.send(struct.pack("!H", 1000), CLOSE)
            else:
                socket.writer.transport.abort()
            await asyncio.wait_for(up.left.wait(), 1)
        await asyncio.wait_for(server.service.inference.idle.wait(), 5)
    assert not [r for r in caplog.records if r.exc_info or r.levelname in ("ERROR", "WARNING")]


async def test_stop_tells_open_sockets_and_lets_an_answer_finish(tmp_path):
    finish = asyncio.Event()

    async def answer(writer, _body):
        writer.write(BEGUN)
        await finish.wait()
        writer.write(DONE)
        await writer.drain()

    async with (
        Upstream(answer) as up,
        running(tmp_path, up.settings()) as server,
        connected(server) as idle,
        connected(server) as busy,
    ):
        busy.create(model="m")
        while (await busy.event())["type"] != "response.output_text.delta":
            pass
        began = time.monotonic()
        closing = asyncio.ensure_future(server.service.close())
        finish.set()
        assert (await busy.answer())[-1]["type"] == "response.completed"
        assert await busy.closed() == await idle.closed() == 1001
        for socket in (busy, idle):
            socket.send(struct.pack("!H", 1001), CLOSE)
        await asyncio.wait_for(closing, 5)
        assert time.monotonic() - began < 5
