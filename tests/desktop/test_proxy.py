import asyncio
import json
from types import SimpleNamespace

import pytest

from app.desktop.proxy import Proxy
from app.errors import AppError
from tests.server.running import running
from tests.server.test_aistudio import Shower as Studios

SETTINGS = """
providers:
  openai: {api_key: sk-test-1234, models: [gpt-5]}
models: {default: gpt-5, aliases: {fast: gpt-5}}
"""


class Watching:
    def __init__(self, server, **more):
        self.listeners = []
        self.proxy = Proxy(server.service, self.subscribe, more or None)
        self.changes = 0

    def subscribe(self, changed):
        self.listeners.append(changed)
        return lambda: self.listeners.remove(changed)

    def changed(self):
        self.changes += 1


async def test_fresh_installation_shows_the_demo(tmp_path):
    async with running(tmp_path) as server:
        status = Watching(server).proxy.status()
        assert (status.state, status.demo, status.accounts) == ("running", True, ())
        assert status.address == f"http://localhost:{server.service.port}"
        assert {model.provider for model in status.models} == {"demo"}
        assert "codex" in {service.id for service in status.services}
        assert status == Watching(server).proxy.status()


async def test_account_of_the_settings_and_its_models_are_shown(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        status = Watching(server).proxy.status()
        (account,) = status.accounts
        assert (account.provider, account.signed_in, account.health) == ("openai", False, "ready")
        routes = {model.name: (model.account, model.upstream) for model in status.models}
        assert routes == {"gpt-5": (account.id, "gpt-5"), "fast": (account.id, "gpt-5")}
        assert (status.default_model, status.demo) == ("gpt-5", False)


async def test_account_that_is_out_is_seen_with_its_models(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        proxy = Watching(server).proxy
        (account,) = proxy.status().accounts
        import time

        server.service.roster.pause(account.id, None, 600.0, "used up", time.time())
        status = proxy.status()
        assert status.state == "attention"
        assert status.accounts[0].reason == "used up"
        assert {model.account for model in status.models} == {""}


async def test_pause_and_resume(tmp_path):
    async with running(tmp_path) as server:
        watching = Watching(server)
        end = watching.proxy.subscribe(watching.changed)
        await watching.proxy.commands["pause"]("")
        status = watching.proxy.status()
        assert (status.state, status.reason) == ("paused", "Paused by you.")
        await watching.proxy.commands["resume"]("")
        assert watching.proxy.status().state == "running"
        assert watching.changes == 2
        end()
        assert watching.listeners == []


async def test_resume_does_not_revive_a_program_that_stops(tmp_path):
    async with running(tmp_path) as server:
        server.service.gateway.paused = "Dragoman is stopping."
        await Watching(server).proxy.commands["resume"]("")
        assert server.service.gateway.paused == "Dragoman is stopping."


async def test_new_key_works(tmp_path):
    async with running(tmp_path) as server:
        plain = await Watching(server).proxy.commands["new_key"]("")
        assert plain.startswith("dg-")
        (record,) = await server.service.list_keys()
        assert record.label == "from the tray"


@pytest.mark.parametrize(
    "name", ["primary", "pause_account", "resume_account", "refresh", "sign_out"]
)
async def test_accounts_that_are_gone_are_an_answer(tmp_path, name):
    async with running(tmp_path) as server:
        with pytest.raises(AppError):
            await Watching(server).proxy.commands[name]("codex/none")


async def test_refused_settings_need_attention(tmp_path):
    async with running(tmp_path) as server:
        server.service.problems = ("config.yaml:1: wrong",)
        status = Watching(server).proxy.status()
        assert (status.state, status.problems) == ("attention", ("config.yaml:1: wrong",))


async def test_rooms_beside_the_service_add_their_commands(tmp_path):
    async def dashboard(section):
        return f"http://x/{section}"

    async with running(tmp_path) as server:
        proxy = Watching(server, dashboard=dashboard).proxy
        assert await proxy.commands["dashboard"]("models") == "http://x/models"
        shown = []
        proxy.on_show(lambda: shown.append(1))
        headers = {"Authorization": f"Bearer {server.service.instance.token}"}
        assert (await server.post("/admin/show", b"{}", headers)).json["shown"]
        assert shown == [1]


@pytest.mark.parametrize(
    ("command", "target", "section"),
    [
        ("dashboard", "", ""),
        ("dashboard", "models", "models"),
        ("logs", "", "logs"),
        ("help", "", "help"),
        ("welcome", "", "welcome"),
    ],
)
async def test_what_is_shown_in_the_dashboard_opens_it_with_a_ticket(
    tmp_path, command, target, section
):
    async with running(tmp_path) as server:
        address = await Watching(server).proxy.commands[command](target)
        shown = f"&show={section}" if section else ""
        start = f"http://localhost:{server.port}/admin#ticket="
        assert address.startswith(start)
        assert address.endswith(shown)
        assert len(address) > len(start + shown) + 30


@pytest.mark.parametrize(
    ("command", "target", "page"),
    [
        ("sign_in", "claude/claude-1", "again/claude/claude-1"),
        ("add_account", "claude", "add/claude"),
    ],
)
async def test_a_sign_in_has_a_page_of_its_own(tmp_path, command, target, page):
    async with running(tmp_path) as server:
        address = await Watching(server).proxy.commands[command](target)
        start = f"http://localhost:{server.port}/admin/static/signin.html?show={page}#ticket="
        assert address.startswith(start)


async def test_a_desktop_shows_the_pages_of_sign_ins(tmp_path):
    class Shower:
        windows, line, remembered = True, "", {}

    async with running(tmp_path) as server:
        Watching(server).proxy.on_sign_in(Shower())
        headers = {"Authorization": f"Bearer {server.service.instance.token}"}
        told = await server.get("/admin/accounts/places", headers)
        assert told.json["windows"]


async def test_windows_on_ai_studio_are_opened_hidden_and_signed_out(tmp_path):
    async with running(tmp_path) as server:
        proxy, shower = Watching(server).proxy, Studios()
        proxy.on_windows(shower)
        await proxy.commands["aistudio_open"]("home")
        told = {"label": "home", "event": {"event": "opened"}}
        await proxy.commands["aistudio_heard"](json.dumps(told))
        await proxy.commands["aistudio_hide"]("home")
        await proxy.commands["aistudio_close"]("home")
        await proxy.commands["aistudio_browser"]("home")
        assert "deleted" in await proxy.commands["aistudio_out"]("home")
        assert [name for name, *_ in shower.did] == ["open", "order", "close", "browse", "forget"]
        (studio,) = proxy.status().studios
        assert (studio.label, studio.window) == ("home", "closed")


async def test_a_default_model_is_written_into_the_settings_and_holds_at_once(tmp_path):
    async with running(tmp_path, "# mine\nmodels: {default: null}\n") as server:
        proxy = Watching(server).proxy
        await proxy.commands["default_model"]("demo-chat")
        assert proxy.status().default_model == "demo-chat"
        text = server.service.located.path.read_text()
        assert text.startswith("# mine")
        assert "demo-chat" in text


@pytest.mark.parametrize("may_ask", [True, False])
async def test_after_a_sleep_everything_is_looked_at_anew(may_ask):
    seen, asked = [], asyncio.Event()

    async def read(accounts):
        seen.append(accounts)
        asked.set()

    service = SimpleNamespace(
        client=SimpleNamespace(drop_idle=lambda: seen.append("connections")),
        desk=SimpleNamespace(refresher=SimpleNamespace(woke=lambda: seen.append("sign-ins"))),
        config=SimpleNamespace(quota=SimpleNamespace(ask=may_ask)),
        quota_reader=SimpleNamespace(read=read),
        roster=SimpleNamespace(accounts=lambda: "accounts"),
    )
    Proxy(service, lambda changed: None).woke()
    if may_ask:
        await asked.wait()
    assert seen == ["connections", "sign-ins", *(["accounts"] if may_ask else [])]


async def test_time_that_a_stop_takes_is_the_services(tmp_path):
    async with running(tmp_path) as server:
        assert Watching(server).proxy.grace_s == server.service.grace_s


async def test_stop_stops(tmp_path):
    async with running(tmp_path) as server:
        Watching(server).proxy.stop()
        assert server.service._stop.is_set()
