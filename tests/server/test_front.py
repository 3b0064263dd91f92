import asyncio
import contextlib
import socket

import msgspec
import pytest
import tornado.web
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, ResponseStartLine

from app.server import front
from app.server.frames import StrictWebSocketHandler
from app.server.front import FrontServer
from app.server.listen import bind
from app.server.peer import NoProver, PeerProof

OK = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


class Echo(tornado.web.RequestHandler):
    def get(self):
        self.finish(self.request.path)

    def post(self):
        self.finish(self.request.body)


class EchoSocket(StrictWebSocketHandler):
    def on_message(self, message):
        self.write_message(message)


class Answering(HTTPMessageDelegate):
    """Answers from the head alone, as a guard does, and remembers what it was given."""

    def __init__(self, connection, seen):
        self.connection = connection
        self.seen = seen

    def headers_received(self, start_line, headers):
        self.seen.append(self.connection.context)
        body = b"too large"
        fields = HTTPHeaders({"Content-Length": str(len(body))})
        self.connection.write_headers(ResponseStartLine("HTTP/1.1", 413, "No"), fields, body)
        self.connection.finish()


class Early(tornado.web.httputil.HTTPServerConnectionDelegate):
    def __init__(self):
        self.seen = []

    def start_request(self, server_conn, request_conn):
        return Answering(request_conn, self.seen)


@contextlib.asynccontextmanager
async def serving(delegate=None, **options):
    """A front server on a free port; yields the server and its port, closes everything."""
    if delegate is None:
        delegate = tornado.web.Application([("/ws", EchoSocket), ("/.*", Echo)])
    server = FrontServer(delegate, **options)
    sockets = bind(0, ["127.0.0.1"])
    server.add_sockets(sockets)
    try:
        yield server, sockets[0].getsockname()[1]
    finally:
        server.stop()
        await server.close_all_connections()


@contextlib.asynccontextmanager
async def dial(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(port, data, *, to_end=True):
    """Send raw bytes; return the status and the whole answer up to the close."""
    async with dial(port) as (reader, writer):
        writer.write(data)
        answer = await asyncio.wait_for(reader.read() if to_end else reader.read(65536), 20)
    return int(answer.split(b" ")[1]), answer


# Over real sockets.

CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello"),
        (b"Content-Length: 5, 5\r\n", b"hello"),
        (b"Content-Length: +5\r\n", b"hello"),
        (b"Content-Length: 0x5\r\n", b"hello"),
        (b"Content-Length: \xb2\r\n", b"he"),
        (b"Content-Length:\r\n", b""),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 15\r\n", CHUNKED),
        (b"Transfer-Encoding: gzip, chunked\r\n", CHUNKED),
        (b"Transfer-Encoding: chunked, chunked\r\n", CHUNKED),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
        (b"Transfer-Encoding: identity\r\n", b"hello"),
        (b"Transfer-Encoding: \x0bchunked\r\n", CHUNKED),
        (b"Transfer-Encoding : chunked\r\n", CHUNKED),
        (b"Transfer-Encoding:\r\n chunked\r\n", CHUNKED),
        (b"Host: b\r\n", b""),
        (b"X: a\nTransfer-Encoding: chunked\r\n", CHUNKED),
    ],
)
async def test_doubtful_framing_is_400_and_the_connection_is_closed(fields, body):
    async with serving() as (_, port):
        head = b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"
        status, answer = await exchange(port, head + body + OK)
    assert status == 400
    assert answer.count(b"HTTP/1.1") == 1
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert msgspec.json.decode(body)["error"]["code"] == "malformed_request"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    ],
)
async def test_a_request_that_does_not_parse_one_way_only_is_400(request_bytes):
    async with serving() as (_, port):
        status, _ = await exchange(port, request_bytes)
    assert status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5;ext=1\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello00\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\n\n",
    ],
)
async def test_a_doubtful_chunk_is_400_and_the_connection_is_closed(body):
    async with serving() as (_, port):
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        status, answer = await exchange(port, head + body)
    assert status == 400
    assert b"hello" not in answer


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"Content-Length: 5\r\n", b"hello"),
        (b"Transfer-Encoding: Chunked\r\n", CHUNKED),
        (b"transfer-encoding:chunked\r\n", b"2\r\nhe\r\n00003\r\nllo\r\n0\r\n\r\n"),
    ],
)
async def test_right_requests_pass_and_the_connection_is_kept(fields, body):
    async with serving() as (_, port):
        data = b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body
        last = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        _, answer = await exchange(port, data + data + last)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.count(b"\r\n\r\nhello") == 2
    assert answer.endswith(b"/last")


async def test_a_head_beyond_64_kb_is_431():
    async with serving() as (_, port):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"
        status, answer = await exchange(port, head)
    assert status == 431
    assert b"head_too_large" in answer


async def test_a_head_without_end_is_cut_off():
    async with serving() as (_, port), dial(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 2_000_000)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 20) == b""


async def test_a_refusal_arrives_although_the_client_is_still_sending():
    async with serving() as (_, port):
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"
        status, _ = await exchange(port, head + b"x" * 2_000_000)
    assert status == 400


async def test_an_answer_before_the_body_arrives_although_the_client_is_still_sending():
    async with serving(Early(), max_body_bytes=1000) as (_, port):
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n"
        status, answer = await exchange(port, head + b"x" * 2_000_000)
    assert status == 413
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"too large")


@pytest.mark.parametrize("fields", [b"", b"Content-Length: 0\r\n"])
async def test_an_answer_from_the_head_of_a_request_without_body_ends_the_connection(fields):
    async with serving(Early()) as (server, port):
        status, _ = await exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    assert status == 413
    assert server.open_connections == 0


async def test_a_full_server_answers_503_and_counts_its_connections():
    full = [False]
    async with serving(full=lambda: full[0]) as (server, port), dial(port) as (reader, writer):
        writer.write(OK)
        assert b" 200 " in await reader.readline()
        assert server.open_connections == 1
        full[0] = True
        status, answer = await exchange(port, OK)
        assert status == 503
        assert b"Retry-After: 1" in answer
        writer.write(OK)
        await reader.readuntil(b"/x")
        assert (await reader.readuntil(b"/x")).startswith(b"HTTP/1.1 200")


@pytest.fixture
def streams(monkeypatch):
    """The streams that the server makes."""
    streams = []
    real = front._FrontStream.__init__

    def noting(self, *args, **kwargs):
        real(self, *args, **kwargs)
        streams.append(self)

    monkeypatch.setattr(front._FrontStream, "__init__", noting)
    return streams


async def until(holds):
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0)


class Busy(tornado.web.RequestHandler):
    """Answers when it is told to."""

    asked = 0

    async def get(self):
        Busy.asked += 1
        await self.settings["go_on"].wait()
        self.finish(b"done")


async def test_requests_that_come_early_wait_registered_and_few_of_them(streams, monkeypatch):
    monkeypatch.setattr(Busy, "asked", 0)
    go_on = asyncio.Event()
    application = tornado.web.Application([("/.*", Busy)], go_on=go_on)
    async with serving(application) as (_, port), dial(port) as (reader, writer):
        writer.write(OK)
        await until(lambda: Busy.asked)
        (stream,) = streams
        changes = []
        monkeypatch.setattr(
            stream.io_loop, "update_handler", lambda fd, state: changes.append(state)
        )
        for number in range(1, 4):
            writer.write(OK)
            sent = number * len(OK)
            await until(lambda sent=sent: stream._read_buffer_size == sent)
        assert changes == []  # each would be a system call
        monkeypatch.undo()
        flood = asyncio.ensure_future(reader.read(1))
        writer.write(OK * 100_000)
        await until(lambda: not stream._state & stream.io_loop.READ)
        assert stream._read_buffer_size < len(OK) * 100_000 / 2
        go_on.set()
        assert await flood == b"H"


async def test_nodelay_stays_on_between_requests(streams):
    async with serving() as (_, port), dial(port) as (reader, writer):
        for _ in range(2):
            writer.write(OK)
            await reader.readuntil(b"/x")
        option = streams[0].socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert option != 0


# Callers.


class Telling(NoProver):
    def __init__(self, slow=False):
        self.slow = slow
        self.calls = 0

    def look_up(self, pair):
        self.calls += 1
        return PeerProof(same_user=True, uid=1, key=7)


@pytest.mark.parametrize("slow", [False, True])
async def test_the_caller_is_proven_once_per_connection(slow):
    prover, contexts = Telling(slow), []

    class Who(tornado.web.RequestHandler):
        async def get(self):
            context = self.request.connection.context
            contexts.append(context)
            caller = await context.identify()
            assert caller is context.caller
            self.finish(f"{caller.address} {caller.same_user} {caller.loopback};")

    application = tornado.web.Application([("/.*", Who)])
    async with serving(application, prover=prover) as (_, port), dial(port) as (reader, writer):
        for _ in range(2):
            writer.write(OK)
            await reader.readuntil(b"127.0.0.1 True True;")
    assert contexts[0] is contexts[1]
    assert str(contexts[0]) == "127.0.0.1"
    assert prover.calls == 1


async def test_the_name_of_the_program_is_filled_in_when_it_is_known():
    class Names:
        def __init__(self):
            self.asked = []

        def get(self, key):
            self.asked.append(key)
            return "claude" if len(self.asked) == 2 else None

    class Who(tornado.web.RequestHandler):
        def get(self):
            context = self.request.connection.context
            programs = [context.caller.program for _ in range(3)]
            self.finish(f"{programs}")

    application = tornado.web.Application([("/.*", Who)])
    names = Names()
    options = {"prover": Telling(), "names": names}
    async with serving(application, **options) as (_, port), dial(port) as (reader, writer):
        writer.write(OK)
        await asyncio.wait_for(reader.readuntil(b"[None, 'claude', 'claude']"), 20)
    assert names.asked == [7, 7]


async def test_without_a_prover_nobody_is_proven():
    early = Early()
    async with serving(early) as (_, port):
        await exchange(port, OK)
        caller = early.seen[0].caller
    assert not caller.same_user


# Clients that do not go on


class Holding(HTTPMessageDelegate):
    """Answers when a test lets it."""

    def __init__(self, connection, go):
        self.connection = connection
        self.go = go

    def finish(self):
        self.task = asyncio.ensure_future(self.answer())

    async def answer(self):
        await self.go.wait()
        self.connection.send_head("200 OK", (), b"done")
        self.connection.finish()


class Slowly(tornado.web.httputil.HTTPServerConnectionDelegate):
    def __init__(self):
        self.go = asyncio.Event()

    def start_request(self, server_conn, request_conn):
        return Holding(request_conn, self.go)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
    ],
)
async def test_a_client_that_does_not_go_on_is_let_go(sent):
    async with serving(idle_timeout_s=0.1) as (server, port), dial(port) as (reader, writer):
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert server.open_connections == 0


async def test_a_connection_is_let_go_some_time_after_its_last_answer():
    async with serving(idle_timeout_s=0.2) as (_, port), dial(port) as (reader, writer):
        for _ in range(2):
            writer.write(OK)
            assert b"/x" in await asyncio.wait_for(reader.readuntil(b"/x"), 5)
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_an_answer_may_take_longer_than_that():
    delegate = Slowly()
    async with serving(delegate, idle_timeout_s=0.05) as (_, port), dial(port) as (reader, writer):
        writer.write(OK)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        delegate.go.set()
        assert await asyncio.wait_for(reader.readuntil(b"done"), 5)
