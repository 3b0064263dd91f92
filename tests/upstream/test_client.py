import asyncio
import gzip
import subprocess
import sys

import httpx
import pytest

from app.errors import UpstreamError
from app.http import HttpReply, HttpRequest, Limits
from app.upstream import client as client_module
from app.upstream.client import Client, ClientSettings
from app.upstream.proxies import Environment
from app.upstream.wire import HIGH_BYTES
from tests.fakes.hostile import Hostile, keeping, saying

OK = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 2\r\nX-One: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LIMITS = Limits(connect_s=2, first_byte_s=2, idle_s=2)
NO_PROXIES = Environment({}, lambda host: False)


def no_environment():
    return NO_PROXIES


@pytest.fixture
def make(io_loop):
    made = []

    def make(kind="fast", environment=no_environment, stub=None, **settings):
        settings = ClientSettings(transport=kind, **settings)
        made.append(Client(settings, environment=environment, transport=stub))
        return made[-1]

    yield make
    for client in made:
        io_loop.run_sync(client.aclose)


@pytest.fixture(params=["fast", "httpx"])
def client(request, make):
    return make(request.param)


def get(server, *headers, method="GET", body=b""):
    return HttpRequest(method, server.url, headers, body)


async def streamed(client, request, limits):
    """Do what ``fetch`` does, but by way of the exchange."""
    reply = await client.send(request, limits)
    try:
        return HttpReply(reply.status, reply.headers, await reply.read(limits.max_body_bytes))
    finally:
        await reply.aclose()


async def failure(awaitable):
    with pytest.raises(UpstreamError) as caught:
        await awaitable
    return caught.value


@pytest.mark.parametrize("ask", [Client.fetch, streamed])
async def test_status_headers_and_body_come_as_they_are(client, ask):
    async with Hostile(keeping(OK)) as server:
        reply = await ask(client, get(server), LIMITS)
        assert (reply.status, reply.body) == (200, b"ok")
        assert [field for field in reply.headers if field[0].lower() == "x-one"] == [
            ("X-One", "1"),
            ("X-One", "2"),
        ]
        assert reply.header("CONTENT-LENGTH") == "2"


async def test_a_request_is_sent_as_given(client):
    async with Hostile(keeping(OK)) as server:
        headers = (("Authorization", "Bearer k"), ("X-Text", "caf\u00e9"))
        await client.fetch(get(server, *headers, method="POST", body=b"abc"), LIMITS)
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /path HTTP/1.1"
        fields = {name.lower(): value for name, _, value in (x.partition(b": ") for x in lines[1:])}
        assert fields[b"host"] == b"127.0.0.1:%d" % server.port
        assert fields[b"content-length"] == b"3"
        assert fields[b"authorization"] == b"Bearer k"
        assert b"accept-encoding" not in fields
        assert body == b"abc"


@pytest.mark.parametrize(("method", "body"), [("POST", b"abc"), ("POST", b""), ("GET", b"")])
async def test_control_calls_and_streams_put_the_same_bytes_on_the_wire(make, method, body):
    headers = (("user-AGENT", "x/1"), ("X-Text", "caf\u00e9"), ("Accept", "*/*"), ("X-Text", "2"))
    async with Hostile(keeping(OK)) as server:
        for kind in ("fast", "httpx"):
            for ask in (Client.fetch, streamed):
                url = f"{server.url}/a/../b%2Fc?key=%7e&x=[1]"
                await ask(make(kind), HttpRequest(method, url, headers, body), LIMITS)
        assert len(server.requests) == 4
        assert len(set(server.requests)) == 1


async def test_control_calls_and_streams_share_connections(make):
    client = make()
    async with Hostile(keeping(OK)) as server:
        await client.fetch(get(server), LIMITS)
        await streamed(client, get(server), LIMITS)
        await client.fetch(get(server), LIMITS)
        assert len(server.peers) == 1


async def test_host_and_length_of_the_request_are_replaced(client):
    async with Hostile(keeping(OK)) as server:
        headers = (("host", "evil"), ("Content-Length", "9"), ("Transfer-Encoding", "chunked"))
        await client.fetch(get(server, *headers, method="POST", body=b"abc"), LIMITS)
        assert b"evil" not in server.requests[0]
        assert server.requests[0].lower().count(b"content-length") == 1
        assert b"chunked" not in server.requests[0]


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
async def test_an_empty_body_has_a_length_where_one_is_expected(make, method):
    async with Hostile(keeping(OK)) as server:
        await make().fetch(get(server, method=method), LIMITS)
        assert (b"Content-Length: 0" in server.requests[0]) is (method in ("POST", "PUT"))


@pytest.mark.parametrize(
    "field",
    [("X", "a\r\nInjected: 1"), ("X", "a\nb"), ("X", "a\rb"), ("X", "a\0b"), ("X\r\nY", "a")],
)
async def test_line_breaks_in_headers_are_refused_without_being_shown(client, field):
    async with Hostile(keeping(OK)) as server:
        error = await failure(client.send(get(server, ("K", "secret"), field), LIMITS))
        assert error.code == "invalid_header"
        assert "secret" not in error.text
        assert server.requests == []


async def test_characters_beyond_latin_1_and_odd_methods_are_refused(make):
    async with Hostile(keeping(OK)) as server:
        error = await failure(make().send(get(server, ("X", "\u4e2d")), LIMITS))
        assert error.code == "invalid_header"
        error = await failure(make().send(get(server, method="GET /x HTTP/1.1\r\nA:"), LIMITS))
        assert error.code == "invalid_header"


@pytest.mark.parametrize("ask", [Client.fetch, streamed])
@pytest.mark.parametrize("raw", [LENGTH, CHUNKED], ids=["length", "chunked"])
async def test_a_close_at_every_byte_is_an_error_and_never_a_short_answer(make, raw, ask):
    cuts = iter(range(len(raw)))

    async def script(peer):
        await peer.request()
        await peer.send(raw[: next(cuts)])

    client = make()
    async with Hostile(script) as server:
        for _ in range(len(raw)):
            error = await failure(ask(client, get(server), LIMITS))
            assert error.code == "upstream_closed"
        assert len(server.peers) == len(raw)


async def test_a_cut_answer_is_an_error_over_httpx_too(make):
    client = make("httpx")
    for raw in (LENGTH[:-1], CHUNKED[:-5], LENGTH[:10], b""):
        async with Hostile(saying(raw)) as server:
            error = await failure(client.fetch(get(server), LIMITS))
            assert error.code == "upstream_closed"


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED], ids=["length", "chunked"])
async def test_an_answer_sent_byte_by_byte_is_read(client, raw):
    async def script(peer):
        await peer.request()
        await peer.drip(raw)

    async with Hostile(script) as server:
        assert (await client.fetch(get(server), LIMITS)).body == b"hello"


async def test_a_longer_body_than_announced_is_cut_and_the_connection_dropped(make):
    client = make()
    async with Hostile(keeping(LENGTH + b"smuggled")) as server:
        for _ in range(2):
            assert (await client.fetch(get(server), LIMITS)).body == b"hello"
        assert len(server.peers) == 2


async def test_an_endless_body_ends_at_the_limit(client):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b"x" * 65536)

    async with Hostile(script) as server:
        error = await failure(
            client.fetch(get(server), Limits(first_byte_s=2, idle_s=2, max_body_bytes=1_000_000))
        )
        assert error.code == "upstream_too_large"


async def test_a_slow_reader_slows_the_service_down(make):
    sent = 0
    blocked = asyncio.Event()

    async def script(peer):
        nonlocal sent
        peer.writer.transport.set_write_buffer_limits(0)
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        piece = b"x" * 65536
        while sent < 100_000_000:
            peer.writer.write(piece)
            sent += len(piece)
            if peer.writer.transport.get_write_buffer_size() > 0:
                drained = asyncio.ensure_future(peer.writer.drain())
                done, _ = await asyncio.wait({drained}, timeout=0.2)
                if not done:
                    blocked.set()
                await drained

    async with Hostile(script) as server:
        reply = await make().send(get(server), LIMITS)
        first = await reply.chunks.__anext__()
        await blocked.wait()
        connection = reply.chunks._connection
        assert connection.buffered_bytes + len(first) <= 3 * HIGH_BYTES
        assert sent < 50_000_000  # the rest are the kernel's own buffers
        total = len(first)
        while total < 20_000_000:
            total += len(await reply.chunks.__anext__())
        await reply.aclose()


async def test_leaving_a_stream_closes_the_connection_at_once(client):
    gone = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await peer.gone()
        gone.set()

    async with Hostile(script) as server:
        reply = await client.send(get(server), LIMITS)
        assert await reply.chunks.__anext__() == b"hi"
        await reply.aclose()
        await asyncio.wait_for(gone.wait(), 1)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"])
async def test_a_cancelled_call_closes_the_connection_at_once(client, head):
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(head)
        arrived.set()
        await peer.gone()
        gone.set()

    async with Hostile(script) as server:
        task = asyncio.ensure_future(client.fetch(get(server), LIMITS))
        await arrived.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 1)


SLOW = {
    "first byte": (b"", Limits(first_byte_s=0.05), "first_byte_timeout_s"),
    "torn head": (b"HTTP/1.1 200 OK\r\nX: ", Limits(first_byte_s=0.05), "first_byte_timeout_s"),
    "idle": (LENGTH[:-1], Limits(idle_s=0.05), "idle_timeout_s"),
    "total before head": (b"", Limits(total_s=0.05), "total_timeout_s"),
    "total in body": (LENGTH[:-1], Limits(total_s=0.05), "total_timeout_s"),
}


@pytest.mark.parametrize(("said", "limits", "setting"), SLOW.values(), ids=SLOW.keys())
async def test_each_time_limit_ends_in_504_and_names_itself(client, said, limits, setting):
    async def script(peer):
        await peer.request()
        await peer.send(said)
        await peer.gone()

    async with Hostile(script) as server:
        error = await failure(client.fetch(get(server), limits))
        assert (error.status, error.code) == (504, "upstream_timeout")
        assert "0.05 s" in error.message
        assert setting in error.hint


async def test_a_stream_that_goes_on_outlives_its_idle_limit(client):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.wait({asyncio.ensure_future(peer.gone())}, timeout=0.02)
            await peer.send(b"x")

    async with Hostile(script) as server:
        limits = Limits(first_byte_s=2, idle_s=0.1)
        assert (await client.fetch(get(server), limits)).body == b"x" * 8


async def test_an_unreachable_service_is_named_without_its_path(client):
    async with Hostile(keeping(OK)) as server:
        pass
    error = await failure(client.fetch(HttpRequest("GET", server.url + "?key=secret"), LIMITS))
    assert error.code == "upstream_unreachable"
    assert f"127.0.0.1:{server.port}" in error.message
    assert "secret" not in error.text
    assert "path" not in error.text
    assert error.__cause__ is not None


async def test_redirects_are_answers_like_others(client):
    raw = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    async with Hostile(keeping(raw)) as server:
        reply = await client.fetch(get(server, ("Authorization", "k")), LIMITS)
        assert (reply.status, reply.header("location")) == (302, "http://127.0.0.1:1/")
        assert len(server.requests) == 1


async def test_a_compressed_answer_is_decoded_and_its_fields_removed(client):
    packed = gzip.compress(b"hello" * 100)
    fields = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with Hostile(keeping(b"HTTP/1.1 200 OK\r\n" + fields + packed)) as server:
        for _ in range(2):
            reply = await client.fetch(get(server), LIMITS)
            assert reply.body == b"hello" * 100
            assert reply.header("content-encoding") is None
            assert reply.header("content-length") is None
        assert len(server.peers) == 1


@pytest.mark.parametrize("coding", [b"lzma", b"gzip, gzip, gzip, gzip"])
async def test_an_unknown_coding_is_refused_and_the_connection_ended(client, coding):
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: " + coding + b"\r\nContent-Length: 9\r\n\r\nab"
    async with Hostile(keeping(raw)) as server:
        error = await failure(client.send(get(server), LIMITS))
        assert error.code == "upstream_protocol"


async def test_identity_is_no_coding(client):
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nok"
    async with Hostile(keeping(raw)) as server:
        assert (await client.fetch(get(server), LIMITS)).body == b"ok"


async def test_a_decompressed_answer_keeps_to_the_body_limit(client):
    packed = gzip.compress(bytes(5_000_000))
    fields = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with Hostile(keeping(b"HTTP/1.1 200 OK\r\n" + fields + packed)) as server:
        limits = Limits(first_byte_s=2, idle_s=2, max_body_bytes=1_000_000)
        error = await failure(client.fetch(get(server), limits))
        assert error.code == "upstream_too_large"


async def test_the_answer_to_head_keeps_its_fields(client):
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 77\r\n\r\n"
    async with Hostile(keeping(raw)) as server:
        reply = await client.fetch(get(server, method="HEAD"), LIMITS)
        assert (reply.header("content-length"), reply.body) == ("77", b"")


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\nContent-Length 5\r\n\r\nhello",
    ],
)
async def test_broken_http_is_a_protocol_error(client, raw):
    async with Hostile(saying(raw)) as server:
        error = await failure(client.fetch(get(server), LIMITS))
        assert error.code == "upstream_protocol"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://api.test/",
        "api.test/v1",
        "http://",
        "http:///path",
        "http://user:secret@api.test/",
        "http://api.test:99999/",
        "http://api te.st/",
        "http://[::1/",
    ],
)
async def test_urls_that_cannot_be_called_are_refused(make, url):
    error = await failure(make().send(HttpRequest("GET", url), LIMITS))
    assert error.code == "invalid_url"
    assert "secret" not in error.text


async def test_a_target_is_escaped_where_it_must_and_not_twice(make):
    async with Hostile(keeping(OK)) as server:
        url = f"http://127.0.0.1:{server.port}/a b/%2F/\u00e9:x?q=1&r=a+b#part"
        await make().fetch(HttpRequest("GET", url), LIMITS)
        assert server.requests[0].startswith(b"GET /a%20b/%2F/%C3%A9:x?q=1&r=a+b HTTP/1.1\r\n")


async def test_cached_targets_are_bounded(make, monkeypatch):
    monkeypatch.setattr(client_module, "_MAX_TARGETS", 3)
    client = make()
    async with Hostile(keeping(OK)) as server:
        for number in range(8):
            await client.fetch(HttpRequest("GET", f"{server.url}/{number}"), LIMITS)
        assert len(client._targets) <= 3
        assert len(server.peers) == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "[::1]", "0.0.0.0"])
@pytest.mark.parametrize("kind", ["fast", "httpx"])
async def test_our_own_address_is_never_called(make, host, kind):
    async with Hostile(keeping(OK)) as server:
        client = make(kind, forbidden=frozenset({("127.0.0.1", server.port)}))
        url = f"http://{host}:{server.port}/v1"
        error = await failure(client.send(HttpRequest("GET", url), LIMITS))
        assert error.code == "self_target"
        assert server.peers == []


async def test_own_addresses_may_be_asked_from_a_function(make):
    async with Hostile(keeping(OK)) as server:
        client = make(forbidden=lambda host, port: port == server.port)
        assert (await failure(client.send(get(server), LIMITS))).code == "self_target"


async def proxy_script(peer):
    """A plain HTTP proxy that answers itself."""
    while await peer.request():
        await peer.answer(b"by proxy")


PLAIN = HttpRequest("GET", "http://api.test/v1?q=1", (("X-A", "b"),))


async def test_a_proxy_of_the_settings_is_used(make):
    async with Hostile(proxy_script) as proxy:
        client = make(proxy=f"http://u:p@127.0.0.1:{proxy.port}")
        for _ in range(2):
            assert (await client.fetch(PLAIN, LIMITS)).body == b"by proxy"
        assert proxy.requests[0].startswith(b"GET http://api.test/v1?q=1 HTTP/1.1\r\n")
        assert b"proxy-authorization: basic dTpw".lower() in proxy.requests[0].lower()
        assert len(proxy.peers) == 1


async def test_a_proxy_of_the_call_goes_before_that_of_the_settings(make):
    async with Hostile(proxy_script) as proxy:
        client = make(proxy="http://127.0.0.1:1")
        reply = await client.fetch(PLAIN, LIMITS, proxy=f"127.0.0.1:{proxy.port}")
        assert reply.body == b"by proxy"


async def test_proxies_of_the_environment_are_used_unless_excepted(make):
    async with Hostile(proxy_script) as proxy:
        found = Environment(
            {"http": f"http://127.0.0.1:{proxy.port}"}, lambda host: host == "direct.test"
        )
        client = make(environment=lambda: found)
        for _ in range(2):
            assert (await client.fetch(PLAIN, LIMITS)).body == b"by proxy"
        target = client._add_target("http://direct.test/")
        assert await client._route(target, None) is None
        assert await client._route(client._add_target("http://api.test/"), "direct") is None


async def test_the_environment_is_read_again_after_a_while(make):
    reads = []

    def environment():
        reads.append(1)
        return Environment({"http": f"proxy{len(reads)}.test"}, lambda host: False)

    client = make(environment=environment)
    target = client._add_target("http://api.test/")
    assert await client._route(target, None) == "http://proxy1.test"
    assert await client._route(target, None) == "http://proxy1.test"
    client._environment_until = 0.0
    assert await client._route(target, None) == "http://proxy2.test"


async def test_this_machine_is_never_called_through_a_proxy(make):
    async with Hostile(keeping(OK)) as server:
        everything = Environment({"all": "http://127.0.0.1:1"}, lambda host: False)
        for client in (make(proxy="http://127.0.0.1:1"), make(environment=lambda: everything)):
            assert (await client.fetch(get(server), LIMITS)).body == b"ok"


async def test_https_through_a_proxy_asks_for_a_tunnel_and_a_refusal_is_reported(make):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    async with Hostile(script) as proxy:
        client = make(proxy=f"http://127.0.0.1:{proxy.port}")
        error = await failure(client.fetch(HttpRequest("GET", "https://api.test/"), LIMITS))
        assert error.code == "upstream_unreachable"
        assert "proxy" in error.message


async def test_a_socks_proxy_is_spoken_to(make):
    async def script(peer):
        assert (await peer.reader.readexactly(3)) == b"\x05\x01\x00"
        await peer.send(b"\x05\x00")
        await peer.reader.readexactly(4 + 1 + len("api.test") + 2)
        await peer.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
        await peer.request()
        await peer.send(OK)

    async with Hostile(script) as proxy:
        client = make(proxy=f"socks5://127.0.0.1:{proxy.port}")
        assert (await client.fetch(PLAIN, LIMITS)).body == b"ok"


async def test_a_bad_proxy_is_refused_without_being_shown(make):
    client = make(proxy="gopher://secret@proxy.test")
    error = await failure(client.fetch(PLAIN, LIMITS))
    assert error.code == "proxy_invalid"
    assert "secret" not in error.text


async def test_proxy_transports_are_bounded(make, monkeypatch):
    monkeypatch.setattr(client_module, "_MAX_LINES", 2)
    async with Hostile(proxy_script) as proxy:
        client = make()
        for user in ("a", "b", "c", "d"):
            where = f"http://{user}:p@127.0.0.1:{proxy.port}"
            assert (await client.fetch(PLAIN, LIMITS, proxy=where)).body == b"by proxy"
        assert len(client._lines) == 2


async def test_a_given_transport_takes_every_call(make):
    client = make(stub=httpx.MockTransport(lambda request: httpx.Response(201, text="stub")))
    reply = await client.fetch(HttpRequest("POST", "https://api.test/", body=b"x"), LIMITS)
    assert (reply.status, reply.body) == (201, b"stub")


@pytest.mark.parametrize("kind", ["fast", "httpx"])
async def test_a_closed_client_calls_nobody(make, kind):
    client = make(kind)
    async with Hostile(keeping(OK)) as server:
        await client.fetch(get(server), LIMITS)
        await client.aclose()
        assert (await failure(client.fetch(get(server), LIMITS))).code == "upstream_closed"


def test_httpx_is_not_imported_before_it_is_needed():
    code = "import sys, app.upstream.client; print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# The way of an address, for WebSockets


@pytest.mark.parametrize(
    ("url", "proxy", "found"),
    [
        ("https://far.test/x", None, "http://env.test:1"),
        ("https://near.test/x", None, None),
        ("https://far.test/x", "direct", None),
        ("https://far.test/", "socks5://p:2", "socks5://p:2"),
        ("http://localhost:1/", "socks5://p:2", None),
    ],
)
async def test_the_way_of_an_address_is_that_of_a_call(make, url, proxy, found):
    environment = Environment({"https": "http://env.test:1"}, lambda host: host == "near.test")
    client = make(environment=lambda: environment)
    way = await client.way(url, proxy)
    assert way.proxy == found
    assert way.context is (await client.way("https://other.test/")).context


@pytest.mark.parametrize(
    ("url", "code"), [("http://127.0.0.1:8317/", "self_target"), ("wss://far.test/", "invalid_url")]
)
async def test_an_address_that_may_not_be_called_has_no_way(make, url, code):
    client = make(forbidden=frozenset({("127.0.0.1", 8317)}))
    assert (await failure(client.way(url))).code == code
