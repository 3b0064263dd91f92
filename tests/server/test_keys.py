"""The control routes of keys, over the whole program."""

import asyncio
import contextlib
import sys
import time

import pytest

from app.accounts.roster import Roster
from app.config import Config
from app.errors import AppError, RequestError
from app.help import without_address
from app.keys import hash_key
from app.server.keys import KeyDesk
from app.server.peer import NoProver
from app.server.spending import Spending
from app.store.opening import Opening
from tests.gateway.scripted import chat_whole
from tests.server.running import CHAT, SAY, Upstream, answering, read_reply, running, whole
from tests.server.test_socket import connected

HELLO = answering(whole(chat_whole()))
ASK = SAY | {"model": "m"}


def token(server):
    return {"Authorization": f"Bearer {server.service.instance.token}"}


async def admin(server, path, body=b"", method="POST"):
    return await server.ask(method, f"/admin/keys{path}", body, token(server))


async def listed(server):
    return (await admin(server, "", method="GET")).json["keys"]


async def test_key_is_made_with_scopes_limits_and_routes_and_listed_with_their_use(tmp_path):
    async with Upstream(HELLO) as up, running(tmp_path, up.settings()) as server:
        body = {
            "label": "ci",
            "models": ["m", "x-*"],
            "limits": ["3 requests/minute", "1k tokens/day", "$5/month"],
            "default_model": "m",
            "aliases": {"claude-*": "m"},
        }
        reply = await admin(server, "", body)
        assert reply.status == 201
        key = reply.json["key"]
        assert (await server.post(CHAT, ASK, {"x-api-key": key})).status == 200
        (record,) = await listed(server)
        assert (record["label"], record["state"], record["models"]) == (
            "ci",
            "active",
            ["m", "x-*"],
        )
        assert (record["default_model"], record["aliases"]) == ("m", {"claude-*": "m"})
        found = [(one["limit"], one["unit"], one["per"], one["used"]) for one in record["limits"]]
        assert found == [
            ("3 requests/minute", "requests", "minute", 1),
            ("1,000 tokens/day", "tokens", "day", record["limits"][1]["used"]),
            ("$5.00/month", "usd", "month", 0),
        ]
        assert record["limits"][1]["used"] > 0
        assert record["limits"][1]["free_at"] > time.time()
        assert key not in str(record)
        assert not {"sha256", "old_sha256"} & record.keys()


async def test_over_limit_is_429_with_the_time_to_wait_and_a_change_holds_at_once(tmp_path):
    async with Upstream(HELLO) as up, running(tmp_path, up.settings()) as server:
        key = (await admin(server, "", {"label": "ci", "limits": ["1 request/day"]})).json["key"]
        assert (await server.post(CHAT, ASK, {"x-api-key": key})).status == 200
        refused = await server.post(CHAT, ASK, {"x-api-key": key})
        assert refused.status == 429
        assert refused.json["error"]["code"] == "key_limit_reached"
        assert "1 of 1 request today" in refused.json["error"]["message"]
        assert 0 < int(refused.header("retry-after")) <= 90_000
        assert refused.header("x-dragoman-route") == "attempts=0"
        edited = await admin(server, "/ci", {"limits": ["2 requests/day"]})
        assert [one["used"] for one in edited.json["record"]["limits"]] == [1]
        assert (await server.post(CHAT, ASK, {"x-api-key": key})).status == 200
        assert (await server.post(CHAT, ASK, {"x-api-key": key})).status == 429
        assert (await admin(server, "/ci", {"limits": None})).status == 200
        assert (await server.post(CHAT, ASK, {"x-api-key": key})).status == 200
        assert (await server.post(CHAT, ASK)).status == 200  # nobody else is held back


async def test_limits_hold_over_a_restart(tmp_path):
    async with Upstream(HELLO) as up:
        async with running(tmp_path, up.settings()) as server:
            made = await admin(server, "", {"label": "ci", "limits": ["2 requests/month"]})
            headers = {"x-api-key": made.json["key"]}
            for _ in range(2):
                assert (await server.post(CHAT, ASK, headers)).status == 200
        async with running(tmp_path, up.settings()) as server:
            refused = await server.post(CHAT, ASK, headers)
            assert (refused.status, refused.json["error"]["code"]) == (429, "key_limit_reached")
        assert len(up.requests) == 2


async def test_rotated_key_keeps_its_use_and_the_former_secret_for_as_long_as_told(tmp_path):
    async with Upstream(HELLO) as up, running(tmp_path, up.settings()) as server:
        made = (await admin(server, "", {"label": "ci", "limits": ["3 requests/day"]})).json
        old = {"x-api-key": made["key"]}
        assert (await server.post(CHAT, ASK, old)).status == 200
        rotated = (await admin(server, "/ci/rotate", {"keep_s": 3_600})).json
        assert rotated["record"]["id"] == made["record"]["id"]
        new = {"x-api-key": rotated["key"]}
        assert (await server.post(CHAT, ASK, new)).status == 200
        assert (await server.post(CHAT, ASK, old)).status == 200
        assert (await server.post(CHAT, ASK, new)).status == 429
        last = (await admin(server, "/ci/rotate")).json
        for headers in (old, new):
            assert (await server.post(CHAT, ASK, headers)).status == 401
        assert (await server.post(CHAT, ASK, {"x-api-key": last["key"]})).status == 429


async def test_key_is_renamed_ended_and_revoked(tmp_path):
    async with running(tmp_path) as server:
        made = (await admin(server, "", {"label": "old"})).json
        headers = {"x-api-key": made["key"]}
        name = made["record"]["id"]
        renamed = await admin(server, "/old", {"label": "new", "expires_at": time.time() + 60})
        assert renamed.json["record"]["label"] == "new"
        assert (await server.post(CHAT, SAY, headers)).status == 200
        assert (await admin(server, f"/{name[:6]}/revoke")).json["record"]["state"] == "revoked"
        assert (await server.post(CHAT, SAY, headers)).status == 401
        assert (await admin(server, "/new", {"label": "x"})).status == 409
        assert (await admin(server, "/nobody", {"label": "x"})).status == 404
        assert (await admin(server, "/nobody/rotate")).status == 404


async def test_key_for_an_account_goes_on_after_that_is_renamed(tmp_path):
    async with running(tmp_path) as server:
        made = (await admin(server, "", {"label": "ci", "accounts": ["openai/a"]})).json
        await server.service.desk.book.carry("openai/a", "openai/b")
        (record,) = await listed(server)
        assert (record["id"], record["accounts"]) == (made["record"]["id"], ["openai/b"])
        index = server.service.store.index
        assert index.find(hash_key(made["key"])).accounts == ("openai/b",)


async def test_key_sends_the_names_that_programs_know_elsewhere(tmp_path):
    async with Upstream(HELLO) as up, running(tmp_path, up.settings(models="[m, n]")) as server:
        body = {
            "label": "k",
            "default_model": "m",
            "aliases": {"claude-*": "n"},
            "models": ["m", "n"],
        }
        headers = {"x-api-key": (await admin(server, "", body)).json["key"]}
        for asked in ("default", "claude-sonnet-4-5", "m"):
            assert (await server.post(CHAT, SAY | {"model": asked}, headers)).status == 200
        unnamed = {"messages": SAY["messages"]}
        assert (await server.post(CHAT, unnamed, headers)).status == 200
        sent = [body.partition(b'"model":')[2].lstrip()[:3] for _, body in up.requests]
        assert sent == [b'"m"', b'"n"', b'"m"', b'"m"']
        assert (await server.post(CHAT, SAY | {"model": "other"}, headers)).status == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", b"{"),
        ("", {"label": "x", "limits": ["lots"]}),
        ("", {"label": "x", "limits": "1/day"}),
        ("/ci", {"kind": "admin"}),
        ("/ci", {"models": []}),
        ("", {"label": "x", "providers": ["opnai"]}),
        ("/ci", {"providers": ["opnai"]}),
        ("/ci/rotate", {"keep_s": -1}),
        ("/ci/rotate", b"5"),
    ],
)
async def test_wrong_bodies_are_told_and_change_nothing(tmp_path, path, body):
    async with running(tmp_path) as server:
        made = (await admin(server, "", {"label": "ci"})).json
        assert (await admin(server, path, body)).status == 400
        assert await listed(server) == [made["record"]]
        assert (await server.post(CHAT, SAY, {"x-api-key": made["key"]})).status == 200


async def test_mistyped_provider_is_told_with_the_nearest(tmp_path):
    async with Upstream(HELLO) as up, running(tmp_path, up.settings()) as server:
        error = (await admin(server, "", {"label": "x", "providers": ["opnai"]})).json["error"]
        assert (
            without_address(error["message"])
            == "There is no provider 'opnai'; did you mean openai?"
        )
        for name in ("openai", "fake", "demo", "o*"):
            assert (await admin(server, "", {"label": "x", "providers": [name]})).status == 201


async def test_keys_are_not_changed_without_the_right_to(tmp_path):
    async with running(tmp_path) as server:
        key = (await admin(server, "", {"label": "ci"})).json["key"]
        for path in ("", "/ci", "/ci/rotate", "/ci/revoke"):
            assert (await server.post(f"/admin/keys{path}", b"{}")).status == 401
            reply = await server.post(f"/admin/keys{path}", b"{}", {"x-api-key": key})
            assert reply.status == 403
        assert (await server.get("/admin/keys")).status == 401


async def test_a_store_that_cannot_be_opened_is_told(tmp_path):
    (tmp_path / "dragoman.db").mkdir()
    opening = Opening(None, tmp_path)
    desk = KeyDesk(opening, Spending(opening, Config, Roster()))
    await opening.open()
    with pytest.raises(AppError) as caught:
        await desk.list()
    assert caught.value.code == "store_unavailable"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"colour": 1}', b'{"kind": "king"}', b"\xff"])
async def test_a_wrong_body_is_an_error_of_the_caller(tmp_path, body):
    opening = Opening(None, tmp_path)
    desk = KeyDesk(opening, Spending(opening, Config, Roster()))
    await opening.open()
    try:
        for change in (desk.create(body), desk.edit("x", body or b"[")):
            with pytest.raises(RequestError):
                await change
    finally:
        await opening.close()


class Elsewhere:
    """One connection from an address of this machine, which counts as a sender of its own."""

    def __init__(self, server, address):
        self.server, self.address = server, address

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.server.port, local_addr=(self.address, 0)
        )
        return self

    async def __aexit__(self, *_):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def ask(self, *keys):
        """Return the answers to one request for each key, sent one behind the other."""
        asked = [self.server.render("POST", CHAT, SAY, {"x-api-key": key}) for key in keys]
        self.writer.write(b"".join(asked))
        return [await asyncio.wait_for(read_reply(self.reader), 20) for _ in keys]


@pytest.mark.skipif(sys.platform != "linux", reason="only there all of 127/8 is this machine")
async def test_ten_thousand_wrong_keys_slow_only_who_sends_them(tmp_path):
    async with running(tmp_path, prover=NoProver()) as server:
        key = (await admin(server, "", {"label": "ci"})).json["key"]
        wrong = [f"dg-{number:032d}" for number in range(10_000)]
        async with (
            Elsewhere(server, "127.0.0.2") as guesser,
            Elsewhere(server, "127.0.0.3") as user,
        ):
            seen = []
            for start in range(0, len(wrong), 500):
                seen += await guesser.ask(*wrong[start : start + 500])
                (good,) = await user.ask(key)
                assert good.status == 200
            assert [reply.status for reply in seen] == [401] * 20 + [429] * 9_980
            assert {reply.json["error"]["code"] for reply in seen[20:]} == {"too_many_failed_keys"}
            assert all(0 < int(reply.header("retry-after")) <= 60 for reply in seen[20:])
            (mistyped,) = await user.ask(wrong[0])
            assert mistyped.status == 401  # nobody else is told to wait
            (right,) = await guesser.ask(key)
            assert right.status == 200  # and a right key never is


async def test_limits_and_names_hold_on_a_websocket_too(tmp_path):
    async with running(tmp_path) as server:
        body = {"label": "ws", "limits": ["1 request/day"], "aliases": {"gpt-*": "demo-chat"}}
        key = (await admin(server, "", body)).json["key"]
        async with connected(server, {"Authorization": f"Bearer {key}"}) as socket:
            socket.create(model="gpt-9")
            assert (await socket.answer())[-1]["type"] == "response.completed"
            socket.create(model="gpt-9")
            refused = (await socket.answer())[-1]
        assert refused["type"] == "error"
        assert "key_limit_reached" in str(refused)


async def test_limits_hold_for_calls_that_are_passed_on(tmp_path):
    listing = answering(whole(b'{"object":"list","data":[]}'))
    async with Upstream(listing) as up, running(tmp_path, up.settings()) as server:
        body = {"label": "e", "limits": ["1 request/day"], "aliases": {"embed": "m"}}
        headers = {"x-api-key": (await admin(server, "", body)).json["key"]}
        asked = {"model": "embed", "input": "hi"}
        assert (await server.post("/v1/embeddings", asked, headers)).status == 200
        assert b'"m"' in up.requests[0][1]
        assert (await server.post("/v1/embeddings", asked, headers)).status == 429
