"""WebSockets that take masked frames only."""

import asyncio

import pytest
from tornado.websocket import websocket_connect

from tests.server.test_front import dial, exchange, serving

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: %s\r\n\r\n"
)


@pytest.mark.parametrize("frame", [b"\x81\x02hi", b"\x89\x00", b"\x88\x00", b"\x82\x7e\x01\x00"])
async def test_an_unmasked_frame_closes_the_websocket_with_1002(frame):
    async with serving() as (_, port), dial(port) as (reader, writer):
        writer.write(UPGRADE % b"13")
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(frame)
        answer = await asyncio.wait_for(reader.read(), 20)
    assert answer[:1] == b"\x88"
    assert answer[2:4] == (1002).to_bytes(2, "big")
    assert b"hi" not in answer


async def test_masked_frames_of_every_length_pass():
    async with serving() as (_, port):
        client = await websocket_connect(f"ws://127.0.0.1:{port}/ws")
        for size in (0, 125, 126, 70_000):
            await client.write_message("x" * size)
            assert await client.read_message() == "x" * size
        client.close()
        assert await client.read_message() is None


async def test_another_websocket_version_is_refused():
    async with serving() as (_, port):
        status, _ = await exchange(port, UPGRADE % b"8", to_end=False)
    assert status == 426
