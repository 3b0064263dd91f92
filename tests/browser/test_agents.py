"""The section of agents in a headless browser, over the whole program and a home of its own."""

import contextlib
import os
import sys

import pytest

from tests.browser.site import site

pytestmark = [
    pytest.mark.gui,
    pytest.mark.gen_test(timeout=90),
    pytest.mark.skipif(os.name != "posix", reason="stands in for agents with a script"),
]

ORIGINAL = '{\n  "theme":   "dark",\n  "permissions": {"allow": ["Read"]}\n}\n'
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
def user(tmp_path):
    """A user with Claude Code on PATH, its settings, and a folder of Codex."""
    folder = tmp_path / "user"
    for name in (".claude", ".codex"):
        (folder / name).mkdir(parents=True)
    (folder / ".claude" / "settings.json").write_text(ORIGINAL)
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable} -I\nimport os, sys\n"
        f"if sys.argv[1:] == ['--version']:\n    sys.exit(print('2.1.330 (Claude Code)'))\n{ASKS}"
    )
    program.chmod(0o755)
    return folder


@contextlib.asynccontextmanager
async def opened(chromium, tmp_path, user, section="agents"):
    async with site(tmp_path / "home") as running, chromium.page() as page:
        running.env = {**running.env, "HOME": str(user), "PATH": str(tmp_path / "bin")}
        await running.store.done.wait()
        await page.size(1100, 900, dark=False)
        await page.go(running.dashboard_address(section))
        await page.until("document.querySelector('#section-agents .card')")
        yield running, page


def card(title):
    return f"document.querySelector('#section-agents article[aria-label=\"{title}\"]')"


async def press(page, title, button):
    await page.run(
        f"[...{card(title)}.querySelectorAll('button')]"
        f".find((b) => b.textContent.startsWith('{button}')).click(); return 1"
    )


async def press_in_dialog(page, button):
    found = f"[...document.querySelectorAll('dialog[open] button')].find((b) => b.textContent === '{button}' && !b.disabled)"
    await page.until(found)
    await page.run(f"{found}.click(); return 1")


async def diff_of(page):
    await page.until("document.querySelector('dialog[open] .diff')")
    return await page.run("return document.querySelector('dialog[open] .diff').textContent")


async def pill(page, title, text):
    await page.until(f"{card(title)}.querySelector('.pill').textContent === '{text}'")


async def name_model(page, model):
    await page.run(
        "const input = document.querySelector('dialog[open] input');"
        f"input.value = '{model}'; input.dispatchEvent(new Event('change')); return 1"
    )


async def test_the_exact_change_is_shown_before_it_is_written_and_undone_again(
    chromium, pictures, tmp_path, user
):
    settings = user / ".claude" / "settings.json"
    async with opened(chromium, tmp_path, user) as (running, page):
        assert await page.run(f"return {card('Claude Code')}.textContent.includes('2.1.330')")
        await page.shoot(pictures / "agents.png", whole=False)
        await press(page, "Claude Code", "Connect")
        await diff_of(page)
        await name_model(page, "demo-chat")
        await page.until(
            "document.querySelector('dialog[open] .diff')?.textContent.includes('demo-chat')"
        )
        diff = await diff_of(page)
        assert f'+    "ANTHROPIC_BASE_URL": "http://127.0.0.1:{running.port}"' in diff
        assert settings.read_text() == ORIGINAL
        await page.shoot(pictures / "agents-diff.png", whole=False)
        await press_in_dialog(page, "Connect")
        await pill(page, "Claude Code", "Connected")
        written = settings.read_text()
        for line in diff.splitlines():
            if line.startswith("+"):
                assert line[1:] in written
        await press(page, "Claude Code", "Disconnect")
        assert '-    "ANTHROPIC_BASE_URL"' in await diff_of(page)
        await press_in_dialog(page, "Disconnect")
        await pill(page, "Claude Code", "Not connected")
        assert settings.read_text() == ORIGINAL
        assert page.faults == []


async def test_an_edit_in_between_is_shown_and_not_lost(chromium, tmp_path, user):
    settings = user / ".claude" / "settings.json"
    async with opened(chromium, tmp_path, user) as (_, page):
        await press(page, "Claude Code", "Connect")
        await diff_of(page)
        settings.write_text('{"theme": "light"}\n')
        await press_in_dialog(page, "Connect")
        await page.until(
            "document.querySelector('dialog[open] [role=alert]').textContent"
            ".includes('changed by another program')"
        )
        assert settings.read_text() == '{"theme": "light"}\n'
        assert "light" in await diff_of(page)
        await press_in_dialog(page, "Connect")
        await pill(page, "Claude Code", "Connected")
        assert "light" in settings.read_text()


async def test_what_somebody_else_changed_is_shown(chromium, pictures, tmp_path, user):
    settings = user / ".claude" / "settings.json"
    async with opened(chromium, tmp_path, user) as (running, page):
        await press(page, "Claude Code", "Connect")
        await press_in_dialog(page, "Connect")
        await pill(page, "Claude Code", "Connected")
        theirs = settings.read_text().replace(f"127.0.0.1:{running.port}", "gateway.example")
        settings.write_text(theirs)
        await page.run("document.querySelector('#section-agents .bar button').click(); return 1")
        await pill(page, "Claude Code", "Changed since")
        shown = await page.run(f"return {card('Claude Code')}.textContent")
        assert "env.ANTHROPIC_BASE_URL" in shown
        await page.shoot(pictures / "agents-drift.png", whole=False)
        assert settings.read_text() == theirs


async def test_an_agent_is_tried_from_its_card(chromium, pictures, tmp_path, user):
    async with opened(chromium, tmp_path, user) as (_, page):
        await press(page, "Claude Code", "Test")
        await press_in_dialog(page, "Ask it")
        await page.until("document.querySelector('dialog[open] .note.good')")
        text = await page.run(
            "return document.querySelector('dialog[open] .note.good').textContent"
        )
        assert text.startswith("demo-chat answered after")
        assert "Dragoman saw 1 request in anthropic (200)" in text
        await page.shoot(pictures / "agents-test.png", whole=False)


async def test_an_address_opens_the_change_of_one_agent_with_a_model(chromium, tmp_path, user):
    async with opened(chromium, tmp_path, user, "agents/claude/demo-think") as (_, page):
        assert '+    "ANTHROPIC_MODEL": "demo-think"' in await diff_of(page)
        assert await page.run("return location.hash") == "#/agents"


async def test_a_broken_file_is_named_and_cannot_be_written(chromium, tmp_path, user):
    (user / ".claude" / "settings.json").write_text("{\n broken")
    async with opened(chromium, tmp_path, user) as (_, page):
        await press(page, "Claude Code", "Connect")
        await page.until("!document.querySelector('dialog[open] [role=alert]').hidden")
        text = await page.run(
            "return document.querySelector('dialog[open] [role=alert]').textContent"
        )
        assert "settings.json:2" in text
        assert await page.run("return document.querySelector('dialog[open] .primary').disabled")


async def test_dialogs_keep_nobody_out(chromium, axe, tmp_path, user):
    async with opened(chromium, tmp_path, user) as (_, page):
        await page.call("Page.setBypassCSP", enabled=True)
        await page.run(axe)
        for dark in (False, True):
            await page.size(360, 800, dark=dark)
            for button in ("Connect", "Test", "What"):
                await press(page, "Claude Code", button)
                await page.until("document.querySelector('dialog[open]')")
                if button == "Connect":
                    await diff_of(page)
                found = await page.run(
                    "const found = await axe.run(document.querySelector('dialog[open]'),"
                    " { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] });"
                    "return found.violations.map((v) => `${v.id}: ${v.nodes[0].failureSummary}`)"
                )
                assert found == []
                assert await page.run("return document.documentElement.scrollWidth") <= 360
                await page.run("document.querySelector('dialog[open]').close(); return 1")
