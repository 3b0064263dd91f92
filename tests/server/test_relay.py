"""The relay over real sockets: pages, keys, origins, frames, and clients behind them."""

import asyncio
import contextlib
import json

import pytest
from tornado.httpclient import HTTPClientError

from app.server.relay import fill_app, is_relay_origin
from app.upstream.relay_page import Marks
from tests.fakes.aistudio import Page, Sandbox
from tests.server.relayed import build_relayed
from tests.server.running import Server

MODEL = "gemini-2.5-flash-aistudio"
ASK = f"/v1beta/models/{MODEL}:generateContent"
STREAM = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
CHAT = "/v1/chat/completions"
PAGE_HEADERS = {"content-type": "text/event-stream"}


def gemini(text):
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def chat(text, **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def event(text, **more):
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **more}
    return f"data: {json.dumps({'candidates': [candidate]}, ensure_ascii=False)}\r\n\r\n"


LAST = event("", finishReason="STOP")


def said(body):
    """The text of a Gemini stream."""
    events = [json.loads(line[6:]) for line in body.decode().split("\r\n") if line[:6] == "data: "]
    parts = [c["content"]["parts"] for e in events for c in e.get("candidates", ())]
    return "".join(part.get("text", "") for found in parts for part in found)


@contextlib.asynccontextmanager
async def relayed(home, settings="", *, marks=None, ping_s=30.0):
    service = build_relayed(home, settings)
    service.marks, service.page_ping_s = marks, ping_s
    try:
        await service.start()
        await service.store.done.wait()
        yield Server(service)
    finally:
        await service.close()


async def relay_key(server, account="aistudio/home", **more):
    _, key = await server.key(kind="relay", label="page", accounts=[account], **more)
    return key


@contextlib.asynccontextmanager
async def page(server, key=None, *, first=True, **options):
    """A connected page; where it is the first of its account its models have been listed."""
    key = key or await relay_key(server)
    found = await Page(**options).connect(server.port, key)
    try:
        if first:
            await found.settled()
        yield found
    finally:
        await found.close()


async def refused(server, key, **options):
    with pytest.raises(HTTPClientError) as caught:
        await Page().connect(server.port, key, **options)
    return caught.value.response


# --- who may connect -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "known"),
    [
        ("https://aistudio.google.com", True),
        ("https://ai.studio", True),
        ("https://a-1.scf.usercontent.goog", True),
        ("https://x.usercontent.goog", True),
        ("null", True),
        ("https://usercontent.goog", False),
        ("https://aistudio.google.com.evil.test", False),
        ("https://evil.test/.usercontent.goog", False),
        ("https://evilusercontent.goog", False),
        ("http://aistudio.google.com", False),
        ("https://aistudio.google.com:444", False),
        ("", False),
    ],
)
def test_only_origins_of_ai_studio_are_known(origin, known):
    assert is_relay_origin(origin) is known


async def test_a_key_is_needed_even_by_the_same_user(tmp_path):
    async with relayed(tmp_path) as server:
        _, client_key = await server.key(kind="client", label="c")
        for key, status, code in (
            ("", 401, "key_required"),
            ("dg-" + "x" * 32, 401, "invalid_key"),
            ("anything", 401, "invalid_key"),
            (server.service.instance.token, 401, "invalid_key"),
            (client_key, 403, "wrong_key_kind"),
        ):
            response = await refused(server, key)
            assert (response.code, json.loads(response.body)["error"]["code"]) == (status, code)
        assert server.service.relay.accounts() == ()


async def test_other_origins_are_refused_whatever_their_key(tmp_path):
    async with relayed(tmp_path) as server:
        key = await relay_key(server)
        for origin in ("https://evil.test", "http://localhost:3000", "https://usercontent.goog"):
            response = await refused(server, key, origin=origin)
            assert response.code == 403
            assert json.loads(response.body)["error"]["code"] == "origin_not_allowed"
        for origin in ("https://ai.studio", "https://abc.usercontent.goog", "null", None):
            found = await Page().connect(server.port, key, origin=origin)
            await found.close()


async def test_an_origin_of_the_settings_is_allowed(tmp_path):
    settings = "access: {origins: ['https://studio.example']}\n"
    async with relayed(tmp_path, settings) as server:
        key = await relay_key(server)
        found = await Page().connect(server.port, key, origin="https://studio.example")
        await found.close()


async def test_a_relay_key_for_another_service_is_refused(tmp_path):
    async with relayed(tmp_path) as server:
        response = await refused(server, await relay_key(server, "claude/claude-1"))
        assert response.code == 403
        assert json.loads(response.body)["error"]["code"] == "wrong_account"


async def test_what_is_no_upgrade_is_told_so(tmp_path):
    async with relayed(tmp_path) as server:
        path = f"/v1/ws?auth_token={await relay_key(server)}"
        assert (await server.get(path)).status == 426
        assert (await server.post(path)).status == 405
        assert (await server.get("/v1/ws")).status == 401


async def test_a_revoked_key_ends_its_pages(tmp_path):
    async with relayed(tmp_path) as server:
        record, key = await server.key(kind="relay", label="p", accounts=["aistudio/home"])
        async with page(server, key) as found:
            await server.service.revoke_key(record.id)
            await found.send("ping", "again")
            await asyncio.wait_for(found.closed.wait(), 10)
            assert found.socket.close_code == 4003


async def test_a_revoked_key_is_noticed_before_the_next_call(tmp_path):
    async with relayed(tmp_path) as server:
        record, key = await server.key(kind="relay", label="p", accounts=["aistudio/home"])
        async with page(server, key) as found:
            await found.asked()  # the model list
            await server.service.revoke_key(record.id)
            assert (await server.post(ASK, gemini("hi"))).status == 503
            await asyncio.wait_for(found.closed.wait(), 10)
            assert len(found.calls) == 1


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "hello"), [("bytes", None), ("random", "page-1"), ("one", None)]
)
async def test_torn_pieces_arrive_whole_in_either_way_of_answering(tmp_path, chunks, hello):
    text = "naïve 日本 🙂 \\u2028 end"
    ask = f'FAKE:text="{text}";n=4;'
    async with relayed(tmp_path) as server, page(server, chunks=chunks, hello=hello):
        whole = await server.post(ASK, gemini(ask))
        streamed = await server.post(STREAM, gemini(ask))
        wanted = json.loads(f'"{text}"')
        parts = whole.json["candidates"][0]["content"]["parts"]
        assert "".join(part.get("text", "") for part in parts) == wanted
        assert said(streamed.body) == wanted
        translated = await server.post(CHAT, chat(ask))
        assert translated.json["choices"][0]["message"]["content"] == wanted


async def test_models_are_those_that_the_page_lists(tmp_path):
    async with relayed(tmp_path) as server, page(server) as found:
        (call,) = await found.asked()
        assert call["payload"]["url"].endswith("/v1beta/models?pageSize=1000")
        assert call["payload"]["headers"] == {}
        listed = server.service.gateway.catalog.listed
        while len(listed["aistudio/home"]) > 10:
            await asyncio.sleep(0)
            listed = server.service.gateway.catalog.listed
        listed = {row["id"] for row in (await server.get("/v1/models")).json["data"]}
        assert {"gemini-2.0-flash-aistudio", MODEL, "gemini-3-pro-preview-aistudio"} <= listed


async def test_two_thousand_chunks_arrive_in_order(tmp_path):
    async def answer(found, call_id, payload):
        if payload["method"] == "GET":
            await found.serve(call_id, payload)
            return
        await found.send("stream_start", call_id, {"status": 200, "headers": PAGE_HEADERS})
        for number in range(2000):
            data = {"data": event(f"{number} "), "seq": number}
            await found.send("stream_chunk", call_id, data)
        await found.send("stream_chunk", call_id, {"data": LAST, "seq": 2000})
        await found.send("stream_end", call_id, {})

    async with relayed(tmp_path) as server, page(server, answer=answer):
        reply = await server.post(STREAM, gemini("x"))
        assert said(reply.body).split() == [str(number) for number in range(2000)]


@pytest.mark.gen_test(timeout=20)
async def test_sixty_four_streams_do_not_mix(tmp_path):
    settings = "providers: {aistudio: {pace: {at_once: 100, per_minute: 1000}}}\n"
    async with relayed(tmp_path, settings) as server, page(server) as found:

        async def one(number):
            text = " ".join([f"word{number}"] * 8)
            reply = await server.post(STREAM, gemini(f'FAKE:text="{text}";n=4;'))
            return said(reply.body) == text

        assert all(await asyncio.gather(*(one(number) for number in range(64))))
        assert len(found.calls) == 65
        assert all(view.running == 0 for view in server.service.relay.pages())


@pytest.mark.gen_test(timeout=20)
@pytest.mark.parametrize("hello", ["page-1", None], ids=["ours", "published"])
async def test_a_slow_reader_loses_nothing_and_holds_nobody_up(tmp_path, hello):
    """Our page pauses one call; of another page the socket is left unread for a while."""
    piece, count = "x" * 100_000, 150  # more than the system's buffers hold
    go = asyncio.Event()

    async def answer(found, call_id, payload):
        if "slow" not in payload["body"]:
            await found.serve(call_id, payload)
            return
        await found.send("stream_start", call_id, {"status": 200, "headers": PAGE_HEADERS})
        for number in range(count):
            if found.hello and any((t["type"], t["id"]) == ("pause", call_id) for t in found.told):
                await go.wait()
            await found.send("stream_chunk", call_id, {"data": event(piece), "seq": number})
        await found.send("stream_chunk", call_id, {"data": LAST, "seq": count})
        await found.send("stream_end", call_id, {})

    marks = Marks(pause_bytes=50_000, most_bytes=3_000_000, patience_s=10.0)
    async with (
        relayed(tmp_path, marks=marks) as server,
        page(server, answer=answer, hello=hello) as found,
        server.dial() as (reader, writer),
    ):
        writer.write(server.render("POST", STREAM, gemini("slow")))
        await reader.readexactly(10_000)
        if hello:
            await found.until(lambda: any(t["type"] == "pause" for t in found.told))
            reply = await server.post(ASK, gemini('FAKE:text="quick";'))
            assert reply.status == 200
        go.set()
        size, tail = 10_000, b""
        while not tail.endswith(b"0\r\n\r\n"):
            data = await asyncio.wait_for(reader.read(1024 * 1024), 20)
            size, tail = size + len(data), (tail + data)[-20:]
        assert size > count * len(piece)
        views = server.service.relay.pages()
        assert [view.running for view in views] == [0]
        if hello:
            assert any(told["type"] == "resume" for told in found.told)


async def test_a_whole_answer_and_an_empty_one_are_taken(tmp_path):
    async def answer(found, call_id, payload):
        body = json.dumps({"candidates": [{"content": {"role": "model", "parts": [{"text": "w"}]},
                                           "finishReason": "STOP", "index": 0}]})  # fmt: skip
        headers = {"content-type": ["application/json"], "content-length": "1"}
        if payload["method"] == "GET":
            await found.send("stream_end", call_id, {})
        else:
            told = {"status": 200, "headers": headers, "body": body}
            await found.send("http_response", call_id, told)

    async with relayed(tmp_path) as server, page(server, answer=answer):
        reply = await server.post(ASK, gemini("x"))
        assert reply.json["candidates"][0]["content"]["parts"] == [{"text": "w"}]


async def test_a_page_that_answers_whole_still_makes_a_stream(tmp_path):
    async def answer(found, call_id, payload):
        if payload["method"] == "GET":
            await found.serve(call_id, payload)
            return
        body = event("one ") + event("two") + LAST
        told = {"status": 200, "headers": PAGE_HEADERS, "body": body}
        await found.send("http_response", call_id, told)

    async with relayed(tmp_path) as server, page(server, answer=answer):
        assert said((await server.post(STREAM, gemini("x"))).body) == "one two"
        reply = await server.post(CHAT, chat("x", stream=True))
        assert b'"one "' in reply.body
        assert reply.body.endswith(b"data: [DONE]\n\n")


async def test_an_http_error_keeps_status_and_words(tmp_path):
    async with relayed(tmp_path) as server, page(server):
        reply = await server.post(ASK, gemini("FAKE:error=429:retry=30;"))
        assert reply.status == 429
        assert reply.json["error"]["status"] == "RESOURCE_EXHAUSTED"


BAD_PART = '{"error":{"code":400,"message":"bad part","status":"INVALID_ARGUMENT"}}'
ERRORS = (
    ({"code": "FETCH_ERROR", "message": "TypeError: Failed to fetch"}, 502, "reach Google"),
    ({"error": "it broke", "status": 0}, 502, "it broke"),
    ({"error": "no such model", "status": 404}, 404, "no such model"),
    ({"code": "STREAM_ERROR", "message": "gone", "error": "x", "status": 502}, 502, "gone"),
    ({}, 502, "failed"),
    (
        {
            "code": "HTTP_ERROR",
            "message": "m",
            "http_response": {"status": 400, "headers": {}, "body": BAD_PART},
        },
        400,
        "bad part",
    ),
)


async def test_errors_of_either_shape_are_told(tmp_path):
    told = {}

    async def answer(found, call_id, payload):
        await found.send("error", call_id, told)

    async with relayed(tmp_path) as server, page(server, answer=answer):
        for error, status, words in ERRORS:
            server.service.roster.forget("aistudio/home")
            told = error
            reply = await server.post(ASK, gemini("x"))
            assert reply.status == status
            assert words in reply.json["error"]["message"]


async def test_a_lost_session_says_what_to_do(tmp_path):
    service = Sandbox()
    async with relayed(tmp_path) as server, page(server, service=service):
        service.signed_in = False
        reply = await server.post(ASK, gemini("x"))
        assert reply.status == 403
        assert "sign in to Google" in reply.body.decode()


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


# --- the app to copy -----------------------------------------------------------------------------


async def test_the_app_is_given_with_address_and_key_to_whoever_agreed(tmp_path):
    async with relayed(tmp_path) as server:
        path = "/admin/aistudio/app"
        assert (await server.get(path)).status == 401
        token = {"Authorization": f"Bearer {server.service.instance.token}"}
        shown = (await server.get(path, token)).json
        assert set(shown["files"]) == {"index.html", "index.tsx", "metadata.json"}
        version = shown["consent"]["version"]
        refusal = await server.post(path, {"account": "home"}, token)
        assert refusal.status == 409
        assert "Google's terms" in refusal.json["error"]["message"]
        given = await server.post(path, {"account": "home", "consent": version}, token)
        assert given.status == 201
        script = given.json["files"]["index.tsx"]
        assert f'"ws://127.0.0.1:{server.port}/v1/ws"' in script
        assert f'"{given.json["key"]}"' in script
        async with page(server, given.json["key"]):
            assert [view.account for view in server.service.relay.pages()] == ["aistudio/home"]
        again = await server.post(
            path,
            {"account": "aistudio/home", "consent": version, "key": "dg-own",
             "address": "wss://proxy.example/v1/ws"},
            token,
        )  # fmt: skip
        assert (again.json["key"], again.json["address"]) == ("dg-own", "wss://proxy.example/v1/ws")


async def test_a_wrong_wish_for_the_app_is_refused(tmp_path):
    async with relayed(tmp_path) as server:
        token = {"Authorization": f"Bearer {server.service.instance.token}"}
        for body, code in (
            (b"no", "invalid_json"),
            ({"account": "home", "more": 1}, "invalid_json"),
            ({"account": "claude/x"}, "invalid_label"),
            ({"account": "home", "address": "ws://elsewhere.test/v1/ws"}, "invalid_address"),
            ({"account": "home", "address": "ws://[x/"}, "invalid_address"),
            ({"account": "home", "consent": "old"}, "consent_required"),
        ):
            reply = await server.post("/admin/aistudio/app", body, token)
            assert reply.json["error"]["code"] == code
        assert await server.service.list_keys() == []


def test_values_are_filled_in_as_javascript_has_them():
    script = fill_app('ws://x/"</script>', "dg-\\")["index.tsx"]
    assert r'"ws://x/\"</script>"' in script
    assert r'"dg-\\"' in script
    assert "DRAGOMAN_ADDRESS" not in script
