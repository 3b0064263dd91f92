import asyncio
import socket

import pytest

from app.errors import UpstreamError
from app.http import Limits
from app.upstream import pool as pool_module
from app.upstream.pool import Pool
from tests.fakes.hostile import Hostile, keeping, saying

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LIMITS = Limits(connect_s=2, first_byte_s=2, idle_s=2)


@pytest.fixture
def pool(io_loop):
    pool = Pool()
    yield pool
    io_loop.run_sync(pool.aclose)


async def ask(pool, server, limits=LIMITS, head=GET, body=b""):
    origin = pool.origin("http", "127.0.0.1", server.port)
    answer = await pool.open(origin, head, body, limits)
    try:
        return b"".join([chunk async for chunk in answer])
    finally:
        await answer.aclose()


async def test_a_connection_is_used_again(pool):
    async with Hostile(keeping(OK)) as server:
        for _ in range(5):
            assert await ask(pool, server) == b"ok"
        assert len(server.peers) == 1
        assert len(server.requests) == 5


async def test_the_connection_used_last_is_used_next(pool):
    async with Hostile(keeping(OK)) as server:
        await asyncio.gather(*(ask(pool, server) for _ in range(3)))
        assert len(server.peers) == 3
        last = pool.origin("http", "127.0.0.1", server.port).idle[-1]
        await ask(pool, server)
        assert pool.origin("http", "127.0.0.1", server.port).idle[-1] is last


async def test_a_stale_connection_costs_one_replay_on_a_new_one(pool):
    async def script(peer):
        await peer.request()
        await peer.send(OK)
        if peer.number == 0:
            await peer.request()  # taken, but never answered
            return
        await peer.gone()

    async with Hostile(script) as server:
        assert await ask(pool, server) == b"ok"
        assert (
            await ask(
                pool, server, head=b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", body=b"abc"
            )
            == b"ok"
        )
        assert len(server.peers) == 2
        assert len(server.requests) == 3
        assert server.requests[1] == server.requests[2]


async def test_a_reset_stale_connection_is_replayed_as_well(pool):
    async def script(peer):
        await peer.request()
        await peer.send(OK)
        if peer.number == 0:
            await peer.request()
            peer.reset()
            return
        await peer.gone()

    async with Hostile(script) as server:
        assert await ask(pool, server) == b"ok"
        assert await ask(pool, server) == b"ok"
        assert len(server.peers) == 2


async def test_a_replay_is_not_replayed(pool):
    async def script(peer):
        await peer.request()
        if peer.number == 0:
            await peer.send(OK)
            await peer.request()

    async with Hostile(script) as server:
        assert await ask(pool, server) == b"ok"
        with pytest.raises(UpstreamError) as caught:
            await ask(pool, server)
        assert caught.value.code == "upstream_closed"
        assert len(server.peers) == 2


async def test_a_fresh_connection_that_closes_is_not_retried(pool):
    async with Hostile(saying(b"")) as server:
        with pytest.raises(UpstreamError) as caught:
            await ask(pool, server)
        assert caught.value.code == "upstream_closed"
        assert len(server.peers) == 1


@pytest.mark.parametrize("seen", [b"H", OK[:-1]], ids=["one byte", "all but one"])
async def test_nothing_is_replayed_after_the_first_byte(pool, seen):
    async def script(peer):
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(seen)

    async with Hostile(script) as server:
        assert await ask(pool, server) == b"ok"
        with pytest.raises(UpstreamError) as caught:
            await ask(pool, server)
        assert caught.value.code == "upstream_closed"
        assert len(server.peers) == 1


async def test_a_time_out_on_a_reused_connection_is_not_replayed(pool):
    async def script(peer):
        await peer.request()
        await peer.send(OK)
        await peer.gone()

    async with Hostile(script) as server:
        assert await ask(pool, server) == b"ok"
        with pytest.raises(UpstreamError) as caught:
            await ask(pool, server, Limits(first_byte_s=0.05))
        assert caught.value.code == "upstream_timeout"
        assert len(server.peers) == 1


async def test_an_answer_on_an_idle_connection_closes_it(pool):
    closed = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(OK)
        if peer.number == 0:
            await shout.wait()
            await peer.send(OK.replace(b"ok", b"no"))
            await peer.gone()
            closed.set()
        else:
            await peer.gone()

    shout = asyncio.Event()
    async with Hostile(script) as server:
        assert await ask(pool, server) == b"ok"
        shout.set()
        await closed.wait()
        assert pool.origin("http", "127.0.0.1", server.port).idle == []
        assert await ask(pool, server) == b"ok"
        assert len(server.peers) == 2


async def test_a_closed_idle_connection_leaves_the_pool(pool):
    async with Hostile(saying(OK)) as server:
        assert await ask(pool, server) == b"ok"
        origin = pool.origin("http", "127.0.0.1", server.port)
        lost = asyncio.Event()
        pool.lost = lambda connection, real=pool.lost: (real(connection), lost.set())
        if pool._places:
            await lost.wait()
        assert origin.idle == []


async def test_an_old_idle_connection_is_not_used(pool):
    async with Hostile(keeping(OK)) as server:
        await ask(pool, server)
        (idle,) = pool.origin("http", "127.0.0.1", server.port).idle
        idle.idle_since -= pool_module.IDLE_S + 1
        await ask(pool, server)
        assert len(server.peers) == 2


async def test_idle_connections_are_dropped_and_those_in_use_are_not(pool):
    async with Hostile(keeping(OK)) as server:
        await asyncio.gather(ask(pool, server), ask(pool, server))
        origin = pool.origin("http", "127.0.0.1", server.port)
        used = origin.idle.pop()
        (idle,) = origin.idle
        pool.drop_idle()
        assert origin.idle == []
        assert idle.transport.is_closing()
        assert not used.transport.is_closing()
        used.abort()


async def test_the_sweep_closes_what_is_old_and_leaves_the_rest(pool):
    async with Hostile(keeping(OK)) as server:
        await asyncio.gather(ask(pool, server), ask(pool, server))
        origin = pool.origin("http", "127.0.0.1", server.port)
        old, young = origin.idle
        old.idle_since -= pool_module.IDLE_S
        pool.sweep()
        assert origin.idle == [young]
        assert old.transport.is_closing()
        assert pool._sweeper is not None
        young.idle_since -= pool_module.IDLE_S
        pool.sweep()
        assert origin.idle == []
        assert pool._sweeper is None


async def test_idle_connections_per_origin_are_limited(pool, monkeypatch):
    monkeypatch.setattr(pool_module, "MAX_IDLE", 2)
    async with Hostile(keeping(OK)) as server:
        await asyncio.gather(*(ask(pool, server) for _ in range(4)))
        assert len(pool.origin("http", "127.0.0.1", server.port).idle) == 2


async def test_a_cancelled_wait_closes_the_socket(pool):
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def script(peer):
        await peer.request()
        arrived.set()
        await peer.gone()
        gone.set()

    async with Hostile(script) as server:
        task = asyncio.ensure_future(ask(pool, server))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 1)


async def test_a_refused_connection_is_unreachable(pool):
    async with Hostile(keeping(OK)) as server:
        pass
    with pytest.raises(UpstreamError) as caught:
        await ask(pool, server)
    assert caught.value.code == "upstream_unreachable"
    assert f"127.0.0.1:{server.port}" in caught.value.message
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 70 + ".test"])
async def test_a_name_that_does_not_resolve_is_unreachable(pool, host, monkeypatch):
    async def unknown(name, *_, **__):
        name.encode("idna")  # as the real one does
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(UpstreamError) as caught:
        await pool.open(pool.origin("http", host, 80), GET, b"", LIMITS)
    assert caught.value.code == "upstream_unreachable"
    assert host in caught.value.message


async def test_a_connection_that_is_not_accepted_in_time_fails_with_504(pool, monkeypatch):
    async def never(*_, **__):
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    with pytest.raises(UpstreamError) as caught:
        await pool.open(pool.origin("http", "api.test", 80), GET, b"", Limits(connect_s=0.02))
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")
    assert "connect_timeout_s" in caught.value.hint


async def test_a_large_request_arrives_whole(pool):
    body = bytes(range(256)) * 20_000

    async with Hostile(keeping(OK)) as server:
        head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert await ask(pool, server, head=head, body=body) == b"ok"
        assert server.requests[0] == head + body


async def test_an_early_answer_is_used_and_the_connection_is_not(pool):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await peer.gone()

    async with Hostile(script) as server:
        body = b"x" * 30_000_000
        head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert await ask(pool, server, head=head, body=body) == b"no"
        assert pool.origin("http", "127.0.0.1", server.port).idle == []


async def test_closing_the_pool_fails_what_is_being_read():
    pool = Pool()
    async with Hostile(keeping(OK[:-1])) as server:
        origin = pool.origin("http", "127.0.0.1", server.port)
        answer = await pool.open(origin, GET, b"", LIMITS)
        assert await answer.__anext__() == b"o"
        reading = asyncio.ensure_future(answer.__anext__())
        await asyncio.sleep(0)
        await pool.aclose()
        with pytest.raises(UpstreamError, match="stopping"):
            await reading
        with pytest.raises(UpstreamError, match="stopping"):
            await pool.open(origin, GET, b"", LIMITS)


async def test_a_name_that_leads_to_our_own_port_is_refused_after_connecting():
    async with Hostile(keeping(OK)) as server:
        own = Pool(own=lambda host, port: host == "127.0.0.1" and port == server.port)
        # any name may resolve to loopback; this one stands for them
        with pytest.raises(UpstreamError) as caught:
            await own.open(own.origin("http", "localhost", server.port), GET, b"", LIMITS)
        assert caught.value.code == "self_target"
        assert server.requests == []
        await own.aclose()


async def test_origins_are_bounded(pool, monkeypatch):
    monkeypatch.setattr(pool_module, "_MAX_ORIGINS", 3)
    for port in range(1, 10):
        pool.origin("http", "api.test", port)
    assert len(pool._origins) <= 3


@pytest.mark.parametrize(
    ("scheme", "host", "port", "authority"),
    [
        ("https", "api.test", 443, "api.test"),
        ("https", "api.test", 8443, "api.test:8443"),
        ("http", "api.test", 80, "api.test"),
        ("http", "::1", 8080, "[::1]:8080"),
        ("http", "::1", 80, "[::1]"),
    ],
)
async def test_the_host_field_has_the_port_only_where_it_must(pool, scheme, host, port, authority):
    assert pool.origin(scheme, host, port).authority == authority
