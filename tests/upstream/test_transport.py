import httpx
import pytest

from app.errors import UpstreamError
from app.http import Limits
from app.upstream.transport import FastTransport
from tests.fakes.hostile import Hostile, keeping, saying

OK = b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok"


async def test_httpx_speaks_over_the_fast_connections():
    async with (
        Hostile(keeping(OK)) as server,
        httpx.AsyncClient(transport=FastTransport(), trust_env=False) as client,
    ):
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

    async with (
        Hostile(script) as server,
        httpx.AsyncClient(transport=FastTransport(), trust_env=False) as client,
    ):
        async with client.stream("GET", server.url) as response:
            assert response.status_code == 200
        assert not client._transport.pool._origins["http", "127.0.0.1", server.port].idle
        task = next(iter(server._tasks))
        await task
        assert gone


async def test_a_head_request_has_no_body():
    async with (
        Hostile(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")) as server,
        httpx.AsyncClient(transport=FastTransport(), trust_env=False) as client,
    ):
        response = await client.head(server.url)
        assert response.headers["content-length"] == "99"
        assert response.content == b""


@pytest.mark.parametrize(
    "extensions",
    [{"timeout": {"connect": 1, "read": 0.03}}, {"limits": Limits(first_byte_s=0.03)}],
    ids=["httpx", "ours"],
)
async def test_time_limits_come_from_the_extensions(extensions):
    async def script(peer):
        await peer.gone()

    transport = FastTransport()
    async with Hostile(script) as server:
        request = httpx.Request("GET", server.url, extensions=extensions)
        with pytest.raises(UpstreamError) as caught:
            await transport.handle_async_request(request)
        assert caught.value.code == "upstream_timeout"
        assert "0.03 s" in caught.value.message
        await transport.aclose()
