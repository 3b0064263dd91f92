"""The real g4f from the package index, in its own environment (marker ``services``).

It needs the package index, and no network beyond it: the sites behind g4f are not reached, so a
call fails, and how it fails is what is tested.
"""

import os

import pytest

from app.services.memory import tree_of
from app.services.supervisor import is_taken
from tests.server.running import CHAT, running
from tests.server.test_services import CONSENT, control, is_ready, listed, order, until
from tests.services.running import free_port, lives

pytestmark = pytest.mark.services


@pytest.mark.gen_test(timeout=600)
async def test_g4f_is_installed_started_listed_called_and_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("ASYNC_TEST_TIMEOUT", "600")
    port = free_port()
    async with running(tmp_path, f"services: {{webai: {{port: {port}}}}}\n") as server:
        server.service.helpers.services._env = dict(os.environ)
        installer = server.service.helpers.services._all["webai"].installer
        installer._env = dict(os.environ)  # where the package index is
        status, _ = await order(server, "webai/install")
        assert status == 200
        view = await until(server, lambda view: view.state != "installing", limit_s=500)
        assert view.installed == "8.8.6", view.reason

        await order(server, "webai/start", {"consent": CONSENT})
        view = await until(server, is_ready)
        names = await listed(server)
        assert "gpt-4o-webai" in names
        assert "agent-tools-webai" not in names
        assert "Copilot-webai" not in names  # a site, not a model
        health = (await server.get("/v1/health")).json
        assert health["processes"] == 2
        assert [part["state"] for part in health["parts"]] == ["ready", "ready"]

        ask = {"model": "gpt-4o-webai", "messages": [{"role": "user", "content": "hi"}]}
        reply = await server.post("/v1/messages", {**ask, "max_tokens": 9})
        assert reply.json["type"] == "error"
        assert "None of the web sites behind WebAI" in reply.json["error"]["message"]
        reply = await server.post(CHAT, ask)
        assert "None of the web sites behind WebAI" in reply.json["error"]["message"]
        assert tree_of(view.pid) == (view.pid,)  # it has started no browser

        reply = await server.get("/admin/services/webai/logs?n=1000", control(server))
        assert any("RetryProvider failed" in line for line in reply.json["lines"])
        await order(server, "webai/stop")
        assert not lives(view.pid)
        assert not is_taken(port)
    assert not [p for p in tmp_path.rglob("*.pyc") if "pa_providers" in str(p)]
