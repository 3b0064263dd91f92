import contextlib

import httpx
import pytest

from app.errors import UpstreamError
from app.http import Limits
from app.upstream.pool import Pool
from app.upstream.transport import FastTransport
from tests.fakes.hostile import Hostile, keeping, saying

OK = b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok"


@contextlib.asynccontextmanager
async def opened(script):
    pool = Pool()
    async with Hostile(script) as server:
        try:
            client = httpx.AsyncClient(transport=FastTransport(pool), trust_env=False)
            async with client:
                yield server, client, pool
        finally:
            await pool.aclose()


async def test_httpx_speaks_over_the_fast_connections():
    async with opened(keeping(OK)) as (server, client, _):
        response = await client.post(server.url + "?q=1", json={"a": 1})
        assert response.status_code == 200
        assert response.text == "ok"
        assert response.headers.get_list("set-cookie") == ["a", "b"]
        await client.get(server.url)
        assert len(server.peers) == 1
        assert server.requests[0].startswith(b"POST /path?q=1 HTTP/1.1\r\nHost: 127.0.0.1:")
        assert server.requests[0].endswith(b'{"a":1}')


async def test_a_stream_closed_early_closes_its_connection():
    gone = []

    async def script(peer):
        await peer.request()
        await peer.send(OK[:-1])
        await peer.gone()
        gone.append(peer)

    async with opened(script) as (server, client, pool):
        async with client.stream("GET", server.url) as response:
            assert response.status_code == 200
        assert not pool.origin("http", "127.0.0.1", server.port).idle
        task = next(iter(server._tasks))
        await task
        assert gone


async def test_closing_the_client_leaves_the_pool_open():
    async with opened(keeping(OK)) as (server, client, pool):
        await client.get(server.url)
        await client.aclose()
        origin = pool.origin("http", "127.0.0.1", server.port)
        head = b"GET /path HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await pool.open(origin, head, b"", Limits(first_byte_s=2))
        assert [chunk async for chunk in answer] == [b"ok"]
        assert len(server.peers) == 1


async def test_a_head_request_has_no_body():
    async with opened(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")) as opening:
        server, client, _ = opening
        response = await client.head(server.url)
        assert response.headers["content-length"] == "99"
        assert response.content == b""


async def test_time_limits_come_from_the_extensions():
    async def script(peer):
        await peer.gone()

    async with opened(script) as (server, client, _):
        limits = Limits(first_byte_s=0.03)
        request = httpx.Request("GET", server.url, extensions={"limits": limits})
        with pytest.raises(UpstreamError) as caught:
            await client.send(request)
        assert caught.value.code == "upstream_timeout"
        assert "0.03 s" in caught.value.message


async def test_the_target_of_the_extensions_stands_in_the_request_line():
    async with opened(keeping(OK)) as (server, client, _):
        extensions = {"target": b"/a/../b?x=%7E[1]"}
        await client.send(httpx.Request("GET", server.url, extensions=extensions))
        assert server.requests[0].startswith(b"GET /a/../b?x=%7E[1] HTTP/1.1\r\n")


@pytest.mark.parametrize("value", [b"a\r\nInjected: 1", b"a\nb", b"a\rb", b"a\0b"])
async def test_line_breaks_in_headers_are_refused(value):
    async with opened(keeping(OK)) as (server, client, _):
        request = httpx.Request("GET", server.url, headers=[(b"X", value)])
        with pytest.raises(UpstreamError) as caught:
            await client.send(request)
        assert caught.value.code == "invalid_header"
        assert server.requests == []
