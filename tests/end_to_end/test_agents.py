"""Agents over the whole program: the tray's menu, the command line, and files of a user."""

import json
import os
import sys

import pytest

from tests.desktop.conftest import bus  # noqa: F401 - a fixture
from tests.end_to_end.tray import Desk, menu_with, until
from tests.server.desk import free_port

pytestmark = [
    pytest.mark.gui,
    pytest.mark.skipif(os.name != "posix", reason="stands in for agents with a script"),
]

ORIGINAL = '{\n  "theme":   "dark"\n}\n'
ASKS = """\
import json, urllib.request
env = json.load(open(os.environ['HOME'] + '/.claude/settings.json'))['env']
ask = {'model': env['ANTHROPIC_MODEL'], 'max_tokens': 99,
       'messages': [{'role': 'user', 'content': sys.argv[2]}]}
call = urllib.request.Request(env['ANTHROPIC_BASE_URL'] + '/v1/messages', json.dumps(ask).encode(),
                              {'x-api-key': 'k', 'anthropic-version': '2023-06-01'})
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(json.load(opener.open(call))['content'][0]['text'])
"""


@pytest.fixture
def desk(bus, tmp_path):  # noqa: F811
    found = Desk(tmp_path, bus)
    found.welcome()
    found.port = free_port()
    found.environment["DRAGOMAN_SERVER__PORT"] = str(found.port)
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        found.environment.pop(name, None)
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable} -I\nimport os, sys\n{ASKS}")
    program.chmod(0o755)
    found.environment["PATH"] = f"{program.parent}{os.pathsep}{found.environment['PATH']}"
    found.settings = tmp_path / ".claude" / "settings.json"
    found.settings.parent.mkdir()
    found.settings.write_text(ORIGINAL)
    yield found
    found.close()


@pytest.fixture
def start(desk):
    """Connect Claude Code, start the program, and give its process and a client of its menu."""
    clients = []

    def begin():
        done = desk.run("connect", "claude", "--model", "demo-chat", "--yes")
        assert done.returncode == 0, done.stderr
        process = desk.start()
        process.record = desk.ready(process)
        assert desk.panel.visible.wait(20)
        clients.append(desk.client())
        return process, clients[-1]

    yield begin
    for client in clients:
        client.close()


def agent(client, mark=""):
    """Return the menu's entry of Claude Code, once it is there with a mark."""
    found = []

    def look():
        menu = client.menu()
        if "Agents" in menu.texts():
            texts = menu.find("Agents").texts()
            found[:] = [text for text in texts if text == f"Claude Code{mark}"]
        return bool(found)

    until(look, "Claude Code in the menu")
    return client.menu().find("Agents", found[0])


def test_the_menu_shows_the_connected_agent_and_gives_its_settings_back(desk, start):
    process, client = start()
    assert f"127.0.0.1:{desk.port}" in desk.settings.read_text()
    menu_with(client, desk.panel, "Agents")
    entry = agent(client, " (connected)")
    assert entry.texts()[0] == "Uses demo-chat"
    assert {"Choose model", "Test", "Disconnect"} <= set(entry.texts())
    client.click(entry.find("Disconnect").find("Yes, give Claude Code its own settings back"))
    until(lambda: desk.settings.read_text() == ORIGINAL, "its own settings")
    agent(client)
    assert desk.run("status", "--json").returncode == 0
    assert json.loads(desk.run("status", "--json").stdout)["agents"] == []
    client.click(client.menu().find("Quit"))
    process.communicate(timeout=40)
    assert process.returncode == 0


def test_quit_can_disconnect_first(desk, start):
    process, client = start()
    menu_with(client, desk.panel, "Agents")
    agent(client, " (connected)")
    choice = client.menu().find("Quit")
    assert choice.texts() == [
        "Claude Code points here",
        "Disconnect, then quit",
        "Quit and leave it so",
    ]
    client.click(choice.find("Disconnect, then quit"))
    process.communicate(timeout=40)
    assert process.returncode == 0
    assert desk.settings.read_text() == ORIGINAL


def test_quit_can_leave_them_and_the_commands_name_them_then(desk, start):
    process, client = start()
    menu_with(client, desk.panel, "Agents")
    agent(client, " (connected)")
    client.click(client.menu().find("Quit", "Quit and leave it so"))
    process.communicate(timeout=40)
    assert process.returncode == 0
    assert f"127.0.0.1:{desk.port}" in desk.settings.read_text()
    said = desk.run("status")
    assert said.returncode == 3
    assert "Claude Code points here and cannot answer" in said.stderr
    assert desk.run("disconnect", "--all").returncode == 0
    assert desk.settings.read_text() == ORIGINAL


def test_a_changed_port_is_shown_and_updated(desk, start):
    process, _ = start()
    process.terminate()
    process.communicate(timeout=40)
    former, desk.port = desk.port, free_port()
    desk.environment["DRAGOMAN_SERVER__PORT"] = str(desk.port)
    done = desk.run("start")
    assert done.returncode == 0, done.stderr
    try:
        assert "Claude Code still points to another address" in done.stderr
        assert f":{former}" in desk.settings.read_text()
        assert "connect again to update it" in desk.run("status").stdout
        done = desk.run("connect", "--update", "--yes")
        assert done.returncode == 0, done.stderr
        assert f'-    "ANTHROPIC_BASE_URL": "http://127.0.0.1:{former}"' in done.stdout
        assert f":{desk.port}" in desk.settings.read_text()
        assert "demo-chat" in desk.settings.read_text()
        asked = desk.run("test", "claude")
        assert asked.returncode == 0, asked.stdout
        assert "Dragoman saw 1 request in anthropic (200)" in asked.stdout
    finally:
        assert desk.run("stop").returncode == 0
