"""The relay over real sockets: pages, keys, origins, frames, and clients behind them."""

import asyncio
import json

import pytest

from app.server.relay import fill_app, is_relay_origin
from app.upstream.relay_page import Marks
from tests.fakes.aistudio import Page, Sandbox
from tests.server.relayed import (
    ASK,
    CHAT,
    LAST,
    MODEL,
    PAGE_HEADERS,
    STREAM,
    chat,
    event,
    gemini,
    page,
    refused,
    relay_key,
    relayed,
    said,
)

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
