"""What is known of models is kept fresh, and new ones appear by themselves."""

import asyncio
import dataclasses

from app.http import HttpReply
from app.server import modeldesk
from tests.server.running import CHAT, running, whole
from tests.upstream.registry import model, registry

SAY = [{"role": "user", "content": "hi"}]


class Service:
    """A compatible server with a list of models that can grow."""

    def __init__(self):
        self.names = ["old"]
        self.asked = 0
        self.silent = False
        self._open = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        for writer in self._open:
            writer.close()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        if self.silent:
            self._open.add(writer)
            return
        rows = ", ".join(f'{{"id": "{name}"}}' for name in self.names)
        body = whole(f'{{"data": [{rows}]}}'.encode())
        writer.write(body.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        await writer.drain()
        writer.close()

    def settings(self):
        return (
            "providers:\n  fake:\n    kind: compatible\n    dialect: openai_chat\n"
            f"    base_url: {self.url}/v1\n    api_key: sk-fake\n    models: discover\n"
        )


async def listed(server):
    return [row["id"] for row in (await server.get("/v1/models")).json["data"]]


async def until(condition):
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - asked over the network
            await asyncio.sleep(0.01)


def at(desk, seconds):
    """Let that much time pass for the cool-downs."""
    desk._discovery._clock = lambda: 1e9 + seconds


async def test_a_new_model_of_a_service_appears_without_a_release(tmp_path):
    async with Service() as fake, running(tmp_path, fake.settings()) as server:
        desk = server.service.model_desk
        at(desk, 0)
        await desk.discover()
        assert await listed(server) == ["old"]
        fake.names.append("brand-new")
        asked = fake.asked
        await desk.discover(unless_within_s=60)
        assert (await listed(server), fake.asked) == (["old"], asked)
        at(desk, 61)
        await desk.discover(unless_within_s=60)
        assert await listed(server) == ["old", "brand-new"]


async def test_a_model_that_nobody_knows_is_looked_for_before_it_is_refused(tmp_path):
    async with Service() as fake, running(tmp_path, fake.settings()) as server:
        desk = server.service.model_desk
        at(desk, 0)
        await desk.discover()
        fake.names.append("fake-next")
        at(desk, 299)
        reply = await server.post(CHAT, {"model": "fake-next", "messages": SAY})
        assert reply.json["error"]["code"] == "model_not_found"
        at(desk, 301)
        reply = await server.post(CHAT, {"model": "fake-next", "messages": SAY})
        assert reply.status == 200
        asked = fake.asked
        reply = await server.post(CHAT, {"model": "fake-none", "messages": SAY})
        assert (reply.json["error"]["code"], fake.asked) == ("model_not_found", asked)


async def test_a_server_that_is_started_later_serves_its_first_request(tmp_path):
    async with Service() as fake:
        gone = fake.settings().replace(fake.url, "http://127.0.0.1:9")
        async with running(tmp_path, gone) as server:
            desk = server.service.model_desk
            at(desk, 0)
            await desk.discover()
            assert await listed(server) == []
            account = server.service.roster.accounts()[0]
            server.service.roster.replace([dataclasses.replace(account, base_url=f"{fake.url}/v1")])
            at(desk, 6)
            reply = await server.post(CHAT, {"model": "old", "messages": SAY})
            assert reply.status == 200


async def test_nobody_waits_long_for_a_server_that_does_not_tell_its_models(tmp_path, monkeypatch):
    monkeypatch.setattr(modeldesk, "_PATIENCE_S", 0.01)
    async with Service() as fake, running(tmp_path, fake.settings()) as server:
        await server.service.model_desk.discover()
        at(server.service.model_desk, 1000)
        fake.silent = True
        reply = await server.post(CHAT, {"model": "fake-next", "messages": SAY})
        assert reply.json["error"]["code"] == "model_not_found"


async def test_the_registry_is_asked_and_its_facts_are_in_force_at_once(tmp_path):
    settings = (
        "providers:\n  fake:\n    kind: compatible\n    dialect: openai_chat\n"
        "    base_url: http://127.0.0.1:9\n    api_key: sk-fake\n    models: [brand-new-7]\n"
    )
    async with running(tmp_path, settings) as server:
        service = server.service
        asked = []

        async def fetch(request, _limits):
            asked.append(request.url)
            new = model("brand-new-7", limit={"context": 777_000, "output": 7_000})
            return HttpReply(200, (), registry(new))

        service.model_desk.public._fetch = fetch
        (row,) = (await server.get("/v1/models")).json["data"]
        assert "max_input_tokens" not in row
        token = {"Authorization": f"Bearer {service.instance.token}"}
        reply = await server.post("/admin/models/refresh", {}, token)
        assert reply.json["sources"]["registry"] == "models.dev"
        assert reply.json["sources"]["trouble"] == ""
        assert asked == ["https://models.dev/api.json"]
        (row,) = (await server.get("/v1/models")).json["data"]
        assert (row["max_input_tokens"], row["max_tokens"]) == (777_000, 7_000)
        assert row["x_dragoman"]["prices"]["output"] == 15
        assert service.spending.prices.rates("brand-new-7").input == 3
        await server.post("/admin/models/refresh", {}, token)
        assert len(asked) == 1  # the cool-down
        assert (await server.post("/admin/models/refresh", {})).status == 401


async def test_what_was_kept_holds_from_the_start(tmp_path):
    (tmp_path / "cache").mkdir()
    kept = b'{"fetched_at":5}\n' + registry(model("kept-1"))
    (tmp_path / "cache" / "models.dev.json").write_bytes(kept)
    async with running(tmp_path, "models: {registry: false}\n") as server:
        desk = server.service.model_desk

        async def loaded():
            return desk.public.fetched_at == 5

        await until(loaded)
        assert "kept-1" in server.service.gateway.catalog.snapshot
        assert desk.sources()["registry"] == "models.dev"


async def test_a_switched_off_registry_is_never_asked(tmp_path):
    async with running(tmp_path, "models: {registry: false}\n") as server:
        token = {"Authorization": f"Bearer {server.service.instance.token}"}
        reply = await server.post("/admin/models/refresh", {}, token)
        assert reply.json["sources"]["registry"] == "shipped"
        assert reply.json["sources"]["models"] > 500
