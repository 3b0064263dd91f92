"""Pages of the relay that break, leave, come back, and are several."""

import asyncio
import contextlib
import json

from tests.fakes.aistudio import Page, Sandbox
from tests.server.relayed import (
    ASK,
    PAGE_HEADERS,
    STREAM,
    event,
    gemini,
    page,
    relay_key,
    relayed,
)

# --- ends that are none --------------------------------------------------------------------------


async def begun(found, call_id, payload):
    """Begin an answer and go no further."""
    if payload["method"] == "GET":
        await found.serve(call_id, payload)
        return
    await found.send("stream_start", call_id, {"status": 200, "headers": PAGE_HEADERS})
    await found.send("stream_chunk", call_id, {"data": event("half")})


@contextlib.asynccontextmanager
async def streaming(server, found):
    """A client that has read the first half of an answer; gives its reader."""
    async with server.dial() as (reader, writer):
        writer.write(server.render("POST", STREAM, gemini("x")))
        await asyncio.wait_for(reader.readuntil(b"half"), 10)
        yield reader


async def rest_of(reader):
    return await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)


GARBAGE = (
    *("no json", "[]", '{"id":"x"}', '{"type":5}', '"\\ud800"', "{" * 2000, b"\x00binary"),
    '{"type":"hello","payload":"\\ud800"',
)


async def test_garbage_ends_the_page_and_its_answers_at_once(tmp_path):
    async with relayed(tmp_path) as server:
        key = await relay_key(server)
        for frame in GARBAGE:
            async with page(server, key, answer=begun) as found:
                async with streaming(server, found) as reader:
                    await found.socket.write_message(frame, binary=isinstance(frame, bytes))
                    assert b"closed the connection" in await rest_of(reader)
                await asyncio.wait_for(found.closed.wait(), 10)
                assert found.socket.close_code in (1003, 1007)
        reply = await server.post(ASK, gemini("x"))
        assert reply.status == 400  # as for every account that needs a person
        assert "open the app in AI Studio" in reply.json["error"]["message"]


async def test_an_oversized_frame_ends_the_page_and_its_answers(tmp_path):
    async with (
        relayed(tmp_path, "websocket: {relay_max_frame_mb: 1}\n") as server,
        page(server, answer=begun) as found,
        streaming(server, found) as reader,
    ):
        await found.socket.write_message('{"type":"' + "x" * 1024 * 1024 + '"}')
        assert b"closed the connection" in await rest_of(reader)
        await asyncio.wait_for(found.closed.wait(), 10)
        assert found.socket.close_code == 1009


async def test_messages_that_mean_nothing_harm_nobody(tmp_path):
    async def answer(found, call_id, payload):
        for odd in (
            {"type": "ping"},
            {"type": "unheard of", "id": call_id},
            {"type": "stream_chunk", "id": "somebody else's", "payload": {"data": "x"}},
            {"type": "stream_end"},
            {"type": "hello", "payload": {"client_id": ["x"], "models": 7}},
            {"type": "hello", "payload": 5},
            {"type": "ping", "id": "p", "more": {}},
        ):
            await found.socket.write_message(json.dumps(odd))
        await found.serve(call_id, payload)

    async with relayed(tmp_path) as server, page(server, answer=answer) as found:
        assert (await server.post(ASK, gemini("x"))).status == 200
        pongs = [told["id"] for told in found.told if told["type"] == "pong"]
        assert pongs == ["first", "", "p", "settled", "", "p"]


async def test_a_call_whose_messages_are_wrong_fails_alone(tmp_path):
    async with relayed(tmp_path) as server, page(server, answer=begun, hello="p") as found:
        for kind, payload in (
            ("stream_chunk", {"data": "x", "seq": 7}),
            ("stream_chunk", {"data": 5}),
            ("stream_start", {"status": "ok"}),
            ("stream_start", {"status": 7000}),
            ("http_response", {"status": 200, "body": "again"}),
        ):
            async with streaming(server, found) as reader:
                await found.send(kind, found.calls[-1]["id"], payload)
                assert b'"error"' in await rest_of(reader)
            assert not found.closed.is_set()
            assert [view.running for view in server.service.relay.pages()] == [0]


async def test_a_client_that_leaves_cancels_the_call(tmp_path):
    async with relayed(tmp_path) as server, page(server, answer=begun, hello="p") as found:
        async with streaming(server, found):
            call_id = found.calls[-1]["id"]
            assert server.service.relay.pages()[0].running == 1
        await found.until(lambda: call_id in found.cancelled)
        assert server.service.relay.pages()[0].running == 0
        # what the page sent before it knew is let fall
        await found.send("stream_chunk", call_id, {"data": "late"})
        await found.send("stream_end", call_id, {})
        await found.send("ping", "alive")
        await found.until(lambda: found.told[-1].get("id") == "alive")


async def test_losing_the_socket_ends_every_answer_at_once_and_a_new_page_serves(tmp_path):
    async with relayed(tmp_path) as server:
        key = await relay_key(server)
        async with (
            page(server, key, answer=begun, hello="p") as found,
            streaming(server, found) as one,
            streaming(server, found) as two,
        ):
            found.socket.close(1001, "reload")
            for reader in (one, two):
                assert b"before the answer was complete (reload)" in await rest_of(reader)
        assert (await server.post(ASK, gemini("x"))).status == 400
        async with page(server, key, hello="p"):
            assert (await server.post(ASK, gemini("x"))).status == 200


async def test_a_page_that_answers_no_ping_is_given_up(tmp_path):
    async with relayed(tmp_path, ping_s=0.05) as server:
        key = await relay_key(server)
        async with server.dial() as (reader, writer):  # a client that never answers
            writer.write(
                server.render("GET", f"/v1/ws?auth_token={key}", headers={
                    "Upgrade": "websocket", "Connection": "Upgrade",
                    "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
                })
            )  # fmt: skip
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"ping timed out"), 10)


# --- several pages -------------------------------------------------------------------------------


async def test_two_pages_are_two_accounts_and_one_takes_over_for_the_other(tmp_path):
    async with relayed(tmp_path) as server:
        home, work = Sandbox(), Sandbox()
        other = await relay_key(server, "work")
        async with (
            page(server, service=home, hello="a") as one,
            page(server, other, service=work, hello="b") as two,
        ):
            ids = {account.id for account in server.service.relay.accounts()}
            assert ids == {"aistudio/home", "aistudio/work"}
            await one.asked(), await two.asked()
            home.signed_in = False
            reply = await server.post(ASK, gemini("x"))
            assert reply.status == 200
            assert "account=work" in reply.header("x-dragoman-route")


async def test_a_cooldown_survives_a_reconnect(tmp_path):
    async with relayed(tmp_path) as server:
        key = await relay_key(server)
        async with page(server, key, hello="a"):
            reply = await server.post(ASK, gemini("FAKE:error=429:retry=1000;"))
            assert reply.status == 429
        async with page(server, key, hello="a") as again:
            reply = await server.post(ASK, gemini("x"))
            assert reply.status == 429
            assert not [call for call in again.calls if call["payload"]["method"] == "POST"]


async def test_a_page_with_the_same_id_replaces_the_older_one(tmp_path):
    async with relayed(tmp_path) as server:
        key = await relay_key(server)
        async with (
            page(server, key, answer=begun, hello="same") as old,
            streaming(server, old) as reader,
            page(server, key, hello="same", first=False),
        ):
            assert b"replaced by new connection" in await rest_of(reader)
            await asyncio.wait_for(old.closed.wait(), 10)
            assert old.socket.close_code == 4001
            assert (await server.post(ASK, gemini("x"))).status == 200


async def test_pages_of_one_account_share_its_calls(tmp_path):
    async with relayed(tmp_path) as server:
        key = await relay_key(server)
        async with (
            page(server, key, hello="a", answer=begun) as one,
            page(server, key, hello="b", answer=begun, first=False) as two,
            streaming(server, two),
            streaming(server, one),
        ):
            running = [view.running for view in server.service.relay.pages()]
            assert running == [1, 1]


async def test_pages_of_one_account_have_a_limit(tmp_path):
    async with relayed(tmp_path) as server, contextlib.AsyncExitStack() as stack:
        key = await relay_key(server)
        for number in range(8):
            await stack.enter_async_context(page(server, key, first=number == 0))
        ninth = await Page().connect(server.port, key)
        assert ninth.socket.close_code == 1013
        await ninth.close()
