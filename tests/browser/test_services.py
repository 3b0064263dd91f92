"""The section of helper programs in a headless browser, over the whole program."""

import os
import signal

import pytest

from app.providers.aistudio import AISTUDIO
from app.providers.aistudio_window import BUILD
from app.providers.webai import WEBAI
from tests.browser.test_browser import opened, show, violations
from tests.server.test_aistudio import Shower
from tests.services.pretend_g4f import pretend_installed
from tests.services.running import free_port, lives

pytestmark = [pytest.mark.gui, pytest.mark.gen_test(timeout=90)]


async def test_webai_is_turned_on_watched_and_turned_off(chromium, axe, pictures, tmp_path):
    pretend_installed(tmp_path)
    settings = f"services: {{webai: {{port: {free_port()}}}}}\n"
    async with opened(chromium, tmp_path, settings) as (running, page):
        await page.call("Page.setBypassCSP", enabled=True)  # for axe, not for the page's own code
        await page.run(axe)
        services = running.helpers.services
        await show(page, "services")
        await page.see("It is turned off.")
        await page.press("Turn on")
        await page.see(WEBAI.consent.text[:60])
        assert not services.view("webai").on
        assert await violations(page) == []
        await page.press("Cancel")
        assert not services.view("webai").on
        await page.press("Turn on")
        await page.press("I have read this and turn it on")
        await page.until("document.querySelector('.card .pill.good')")
        await page.see("2 processes.")
        await page.see("Helper program")
        for dark in (False, True):
            for width in (1280, 360):
                await page.size(width, 800, dark=dark)
                assert await page.run("return document.documentElement.scrollWidth") <= width
                assert await violations(page) == []
                name = f"services-{width}-{'dark' if dark else 'light'}.png"
                await page.shoot(pictures / name, whole=False)
        await page.press("Log")
        await page.see("listening")
        await page.press("Close")
        pid = services.view("webai").pid
        os.kill(pid, signal.SIGKILL)
        await page.see("It was ended by SIGKILL")
        await page.until("document.querySelector('.card .pill.good')")
        pid = services.view("webai").pid
        await page.press("Turn off")
        await page.press("Turn off", "document.querySelector('dialog')")
        await page.see("It is turned off.")
        assert not lives(pid)
        await page.see("One process.")
        assert page.faults == []


async def test_what_is_not_installed_offers_to_be(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (_, page):
        await show(page, "services")
        await page.see("It is not installed")
        await page.until(
            "[...document.querySelectorAll('.card button')].some((b) => b.textContent === 'Install')"
        )
        assert page.faults == []


async def test_ai_studio_is_set_up_and_guided(chromium, axe, pictures, tmp_path):
    async with opened(chromium, tmp_path) as (running, page):
        await page.call("Page.setBypassCSP", enabled=True)  # for axe, not for the page's own code
        await page.run(axe)
        shower = Shower()
        running.studio.attach(shower)
        await show(page, "services")
        await page.see("A page in AI Studio can answer Gemini calls")
        await page.press("Set up an account")
        await page.see(AISTUDIO.consent.text[:60])
        await page.press("I have read this and turn it on")
        await page.see("Copy index.tsx")
        (key,) = [k for k in await running.list_keys() if k.kind == "relay"]
        assert key.accounts == ("aistudio/home",)
        await page.shoot(pictures / "aistudio-files.png", whole=False)
        assert await violations(page) == []
        await page.press("Open AI Studio")
        await page.press("Close")
        assert shower.did == [("open", "home", BUILD)]
        running.studio.heard("home", {"event": "opened"})
        url = "https://accounts.google.com/v3/signin/rejected"
        running.studio.heard("home", {"event": "loaded", "url": url, "refused": True})
        await page.see("may not be secure")
        await page.shoot(pictures / "aistudio-refused.png", whole=False)
        assert await violations(page) == []
        for width in (1280, 360):
            await page.size(width, 800)
            assert await page.run("return document.documentElement.scrollWidth") <= width
        await page.press("Open in my browser")
        await page.see("Opened in your browser")
        assert shower.did[-1] == ("browse", BUILD)
        await page.press("Sign out")
        await page.press("Sign out", "document.querySelector('dialog')")
        await page.until("!document.querySelector('dialog')")
        assert shower.did[-1] == ("forget", "home")
        assert page.faults == []
