import asyncio
import base64
import ssl
from contextlib import suppress

import pytest
import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket

from app.errors import UpstreamError
from app.upstream import tls
from app.upstream.client import Way
from app.upstream.websocket import HandshakeRefused, open_websocket
from tests.upstream.certificates import Authority


class _Echo(tornado.websocket.WebSocketHandler):
    def prepare(self):
        if self.request.path == "/refuse":
            self.set_status(403)
            self.set_header("x-why", "policy")
            self.finish(b'{"message":"no"}')

    def open(self):
        self.application.seen.append(dict(self.request.headers))

    def on_message(self, message):
        self.write_message(message)


class Server:
    """Echoes messages; ``context`` makes it speak TLS."""

    def __init__(self, context=None):
        self.context = context

    async def __aenter__(self):
        application = tornado.web.Application([(r".*", _Echo)], log_function=lambda handler: None)
        self.seen = application.seen = []
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        scheme = "wss" if self.context else "ws"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.server = tornado.httpserver.HTTPServer(application, ssl_options=self.context)
        self.server.add_sockets(sockets)
        return self

    async def __aexit__(self, *_):
        self.server.stop()
        await self.server.close_all_connections()


async def closed(writer):
    """Close a connection and wait until it is."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


class Proxy:
    """A proxy for tunnels; ``handshake`` reads the request and returns (host, port), or None."""

    def __init__(self, handshake):
        self.handshake = handshake
        self.tasks = set()
        self.asked = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        inner = None
        try:
            target = await self.handshake(self, reader, writer)
            if target is not None:
                self.asked.append(target)
                far, inner = await asyncio.open_connection("127.0.0.1", target[1])
                await asyncio.gather(self._copy(reader, inner), self._copy(far, writer))
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.tasks.discard(task)
            for end in (writer, inner):
                if end is not None:
                    await closed(end)

    async def _copy(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


async def connect_tunnel(proxy, reader, writer):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *fields = head.split("\r\n")
    proxy.fields = fields
    host, _, port = line.split(" ")[1].rpartition(":")
    if host == "blocked.test":
        writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        await writer.drain()
        return None
    if host == "silent.test":
        return None
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    return host, int(port)


async def socks_tunnel(proxy, reader, writer):
    _, count = await reader.readexactly(2)
    methods = await reader.readexactly(count)
    if 2 in methods:
        writer.write(b"\x05\x02")
        _, size = await reader.readexactly(2)
        user = await reader.readexactly(size)
        (size,) = await reader.readexactly(1)
        password = await reader.readexactly(size)
        good = (user, password) == (b"me", b"p@ss")
        writer.write(b"\x01\x00" if good else b"\x01\x01")
        if not good:
            await writer.drain()
            return None
    else:
        writer.write(b"\x05\x00")
    assert await reader.readexactly(4) == b"\x05\x01\x00\x03"
    (size,) = await reader.readexactly(1)
    host = (await reader.readexactly(size)).decode()
    port = int.from_bytes(await reader.readexactly(2), "big")
    if host == "blocked.test":
        writer.write(b"\x05\x02\x00\x01" + bytes(6))
        await writer.drain()
        return None
    writer.write(b"\x05\x00\x00\x03\x04name\x00\x00")
    return host, port


def plain(proxy=None):
    return Way(proxy, ssl.create_default_context())


async def echo(url, way, headers=(), text="hello"):
    socket = await open_websocket(url, headers, way, connect_s=5)
    try:
        await socket.write_message(text)
        return await socket.read_message()
    finally:
        socket.close()
        await socket.read_message()


async def failure(url, way, connect_s=5):
    with pytest.raises(UpstreamError) as caught:
        await open_websocket(url, (), way, connect_s=connect_s)
    return caught.value


async def test_messages_and_header_fields_arrive():
    async with Server() as server:
        fields = (("Cookie", "a=b"), ("Origin", server.url.replace("ws", "http")))
        assert await echo(server.url, plain(), fields) == "hello"
        assert server.seen[0]["Cookie"] == "a=b"


async def test_a_refused_handshake_tells_status_and_body():
    async with Server() as server:
        error = await failure(f"{server.url}/refuse", plain())
    assert isinstance(error, HandshakeRefused)
    assert (error.reply.status, error.reply.body) == (403, b'{"message":"no"}')
    assert error.reply.header("x-why") == "policy"


async def test_nobody_at_the_address_is_a_failure():
    async with Server() as server:
        url = server.url
    error = await failure(url, plain())
    assert error.code == "upstream_unreachable"


async def say(text):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()
        await closed(writer)

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "upstream_closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "upstream_protocol"),
    ],
)
async def test_an_answer_that_is_no_websocket_is_a_failure(text, code):
    server = await say(text)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    error = await failure(url, plain())
    assert error.code == code
    server.close()
    await server.wait_closed()


async def test_a_handshake_that_takes_too_long_is_given_up():
    waits, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader, writer):
        await waits.wait()
        await closed(writer)
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    error = await failure(url, plain(), connect_s=0.05)
    assert (error.code, error.status) == ("upstream_timeout", 504)
    waits.set()
    await ended.wait()
    server.close()
    await server.wait_closed()


async def test_a_caller_that_is_cancelled_leaves_no_connection():
    reached, left = asyncio.Event(), asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        reached.set()
        assert await reader.read() == b""
        await closed(writer)
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    loop = asyncio.get_running_loop()
    task = loop.create_task(open_websocket(url, (), plain(), connect_s=5))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await left.wait()
    server.close()
    await server.wait_closed()


# TLS


async def test_an_authority_of_the_settings_is_trusted_and_no_other(tmp_path):
    authority = Authority(tmp_path)
    async with Server(authority.server_context("127.0.0.1")) as server:
        assert await echo(server.url, Way(None, tls.build_context(authority.file))) == "hello"
        error = await failure(server.url, Way(None, tls.build_context()))
    assert error.code == "upstream_tls"


# Proxies


@pytest.mark.parametrize(
    ("scheme", "handshake"), [("http", connect_tunnel), ("socks5", socks_tunnel)]
)
async def test_a_tunnel_leads_to_the_name_that_was_asked_for(scheme, handshake):
    async with Server() as server, Proxy(handshake) as proxy:
        way = plain(f"{scheme}://127.0.0.1:{proxy.port}")
        assert await echo(f"ws://far.test:{server.port}/", way) == "hello"
        assert proxy.asked == [("far.test", server.port)]


@pytest.mark.parametrize(
    ("scheme", "handshake"), [("http", connect_tunnel), ("socks5h", socks_tunnel)]
)
async def test_tls_is_spoken_with_the_far_end_inside_of_the_tunnel(tmp_path, scheme, handshake):
    authority = Authority(tmp_path)
    async with Server(authority.server_context("far.test")) as server, Proxy(handshake) as proxy:
        way = Way(f"{scheme}://127.0.0.1:{proxy.port}", tls.build_context(authority.file))
        assert await echo(f"wss://far.test:{server.port}/", way) == "hello"
        error = await failure(f"wss://other.test:{server.port}/", way)
    assert error.code == "upstream_tls"


async def test_a_proxys_password_goes_to_the_proxy_alone():
    async with Server() as server, Proxy(connect_tunnel) as proxy:
        way = plain(f"http://me:p%40ss@127.0.0.1:{proxy.port}")
        await echo(f"ws://far.test:{server.port}/", way)
        proof = base64.b64encode(b"me:p@ss").decode()
        assert f"Proxy-Authorization: Basic {proof}" in proxy.fields
        assert "Proxy-Authorization" not in server.seen[0]
    async with Server() as server, Proxy(socks_tunnel) as proxy:
        await echo(
            f"ws://far.test:{server.port}/", plain(f"socks5://me:p%40ss@127.0.0.1:{proxy.port}")
        )
        url = f"socks5://me:wrong@127.0.0.1:{proxy.port}"
        error = await failure(f"ws://far.test:{server.port}/", plain(url))
    assert "refuses the sign-in" in error.message


@pytest.mark.parametrize(
    ("scheme", "handshake", "host", "code"),
    [
        ("http", connect_tunnel, "blocked.test", "upstream_unreachable"),
        ("http", connect_tunnel, "silent.test", "upstream_closed"),
        ("socks5", socks_tunnel, "blocked.test", "upstream_unreachable"),
        ("https", connect_tunnel, "far.test", "proxy_invalid"),
    ],
)
async def test_a_proxy_that_does_not_help_is_named(scheme, handshake, host, code):
    async with Proxy(handshake) as proxy:
        error = await failure(f"ws://{host}:1/", plain(f"{scheme}://127.0.0.1:{proxy.port}"))
    assert error.code == code


async def test_a_proxy_that_is_not_there_is_named():
    async with Proxy(connect_tunnel) as proxy:
        port = proxy.port
    error = await failure("ws://far.test:1/", plain(f"http://127.0.0.1:{port}"))
    assert error.code == "upstream_unreachable"
    assert "proxy" in error.message
