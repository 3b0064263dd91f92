import msgspec
import pytest

from app.desktop.agents import agent_commands
from app.desktop.agentsmenu import read_agents
from app.desktop.proxy import Proxy
from app.errors import AppError
from app.server.agentdesk import AgentDesk
from tests.server.test_agents import ORIGINAL, opened, posix, stand_in, user

__all__ = ["user"]  # a fixture


async def connect(site, name="claude", model="demo-chat"):
    desk = AgentDesk(site.service)
    plan = await desk.plan(name, {"main": model})
    await desk.write(name, {"main": model}, plan["shown"])


async def test_agents_on_this_machine_are_listed(tmp_path, user):
    async with opened(tmp_path, user) as site:
        commands = agent_commands(site.service)
        (line,) = read_agents(await commands["agents"](""))
        assert (line.name, line.connected, line.editable, line.testable) == (
            *("claude", False, True),
            False,
        )
        await connect(site)
        (line,) = read_agents(await commands["agents"](""))
        assert (line.connected, line.model, line.outdated, line.drifted) == (
            *(True, "demo-chat", False),
            False,
        )
        site.settings.write_text("{}")
        (line,) = read_agents(await commands["agents"](""))
        assert line.drifted


async def test_one_or_all_are_given_their_settings_back(tmp_path, user):
    async with opened(tmp_path, user) as site:
        commands = agent_commands(site.service)
        assert await commands["agent_disconnect"]("*") == ""
        await connect(site)
        await connect(site, "codex")
        said = await commands["agent_disconnect"]("claude")
        assert said == "Claude Code has its own settings back."
        assert site.settings.read_text() == ORIGINAL
        await connect(site)
        said = await commands["agent_disconnect"]("*")
        assert "Claude Code" in said
        assert "have their own settings back" in said
        assert not (user / ".codex" / "config.toml").exists()


@posix
async def test_a_test_is_told_in_sentences(tmp_path, user):
    async with opened(tmp_path, user) as site:
        stand_in(tmp_path)
        await connect(site)
        await site.service.store.done.wait()
        said = await agent_commands(site.service)["agent_test"]("claude")
        assert said.startswith("claude, demo-chat: sent nothing to Dragoman")


@posix
async def test_nothing_to_ask_is_said(tmp_path, user):
    async with opened(tmp_path, user, "advanced: {demo: false}\n") as site:
        stand_in(tmp_path)
        with pytest.raises(AppError) as caught:
            await agent_commands(site.service)["agent_test"]("claude")
        assert caught.value.code == "no_model"


async def test_the_tray_of_the_running_program_has_them(tmp_path, user):
    async with opened(tmp_path, user) as site:
        proxy = Proxy(site.service, site.service.subscribe, agent_commands(site.service))
        assert {"agents", "agent_disconnect", "agent_test"} <= set(proxy.commands)
        assert msgspec.json.decode(await proxy.commands["agents"](""))[0]["name"] == "claude"
