"""The page of a sign-in window, and the same in the dashboard where there is a desktop."""

import asyncio
import contextlib
import os
from dataclasses import replace

import pytest

from app.desktop.flows import Flows
from app.providers.signin import CookiePage
from tests.accounts import services
from tests.browser.conftest import PICTURES
from tests.browser.site import site
from tests.browser.test_browser import choose, made_up, show, violations

pytestmark = [pytest.mark.gui, pytest.mark.gen_test(timeout=90)]


class Shower:
    """A desktop that notes what it is asked to show."""

    def __init__(self, *, windows=True, line="", **remembered):
        self.windows, self.line, self.remembered = windows, line, remembered
        self.shown = []

    def show(self, flow, place):
        self.shown.append(place)


def services_of():
    """Made-up services: with a page, behind an agreement, by cookie, and by key alone."""
    made = made_up()
    web = made["web"]
    page = CookiePage("https://web.test/in", "c", "id.web.test", "https://id.web.test/")
    cookie = replace(web.sign_ins["key"], prompt="the cookie c", cookie=page)
    listed = {
        "baked": replace(web, id="baked", title="Baked", sign_ins={"cookie": cookie}),
        "keyed": replace(web, id="keyed", title="Keyed", sign_ins={"key": web.sign_ins["key"]}),
        "strict": replace(made["strict"], sign_ins=web.sign_ins, hosts=web.hosts),
    }
    return {**made, **listed}


@contextlib.asynccontextmanager
async def opened(chromium, home, path, shower=None, *, known=None, size=(520, 640)):
    """The program with a desktop, and a sign-in page; ``{}`` in the path is a flow that waits."""
    async with site(home, providers=known or services_of()) as running, chromium.page() as page:
        shower = shower or Shower()
        running.places.attach(shower)
        running.answer = answer
        object.__setattr__(running.desk.driver, "sleep", for_ever)
        flow = ""
        if "{}" in path:
            flow = (await running.desk.start("web", "browser")).id
        await page.size(*size)
        await page.go(await Flows(running).commands["sign_in_page"](path.format(flow)))
        await page.until("document.querySelector('#main > *:not(noscript)')")
        yield running, page, shower


async def answer(request):
    if request.url.endswith("/device"):
        return services.granted(user_code="WDJB-MJHT")
    return services.granted(1)


async def for_ever(_seconds):
    """Nobody types the code."""
    await asyncio.Event().wait()


def same(page):
    """Return what the two places look like, as one."""
    return page.run(
        """
        const looks = [...document.querySelectorAll(".places button")].map((b) => {
          const box = b.getBoundingClientRect(), style = getComputedStyle(b);
          return [box.width, box.height, box.top, style.backgroundColor, style.font].join();
        });
        return [looks.length, new Set(looks).size].join();
        """
    )


async def test_both_places_weigh_the_same_and_the_chosen_one_has_the_focus(chromium, tmp_path):
    shower = Shower(web="browser")
    async with opened(chromium, tmp_path, "add/web", shower) as (_, page, _):
        await page.see("Sign in to Web")
        assert await same(page) == "2,1"
        assert await page.run("return document.activeElement.textContent") == "In my browser"
        assert "Last time it was your browser." in await page.text()
        await page.key("Enter", number=13)
        await page.see("The page is open in your browser.")
        assert shower.shown == ["browser"]
        assert await same(page) == "2,1"
        await page.press("Sign in")
        await page.see("The page is open in a window of its own.")
        assert shower.shown == ["browser", "window"]
        assert page.faults == []


async def test_agreement_comes_first(chromium, tmp_path):
    async with opened(chromium, tmp_path, "add/strict") as (running, page, shower):
        await page.see(services.CONSENT.text)
        disabled = "[...document.querySelectorAll('#main button')].every((b) => b.disabled)"
        assert await page.run(f"return {disabled}")
        await page.run("document.querySelector('.consent input').click(); return 1")
        await page.press("Sign in")
        await page.see("The page is open in a window of its own.")
        assert shower.shown == ["window"]
        (flow,) = running.desk.logins.flows()
        assert flow.state == "waiting"


async def test_code_is_large_and_its_page_one_press_away(chromium, tmp_path):
    async with opened(chromium, tmp_path, "add/web") as (_, page, shower):
        await page.press("Sign in with a code")
        await page.see("WDJB-MJHT")
        await page.see("Waiting for Web.")
        size = await page.run("return getComputedStyle(document.querySelector('.code')).fontSize")
        assert float(size.removesuffix("px")) >= 32
        assert shower.shown == ["here"]
        await page.press("In my browser")
        async with asyncio.timeout(20):
            while shower.shown != ["here", "browser"]:  # noqa: ASYNC110 - the page makes it so
                await asyncio.sleep(0.02)
        await page.see("WDJB-MJHT")


async def test_key_has_its_field_at_once(chromium, tmp_path):
    async with opened(chromium, tmp_path, "add/keyed") as (running, page, shower):
        await page.type("form input", "nothing")
        await page.press("Sign in")
        await page.see("is no key")
        await page.type("form input", "the-key")
        await page.press("Sign in")
        await page.see("keyed/keyed-1 is signed in. This window closes by itself.")
        assert shower.shown == ["here"]
        assert len(running.desk.book.records()) == 1


async def test_cookie_may_be_pasted_where_the_window_cannot_read_it(chromium, tmp_path):
    async with opened(chromium, tmp_path, "add/baked") as (_, page, shower):
        await page.press("In my browser")
        await page.type("form input", "the-key")
        await page.press("Continue")
        await page.see("baked/baked-1 is signed in.")
        assert shower.shown == ["browser"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("trouble/{}/403/id.web.test", "id.web.test answered the window with an error (403)."),
        ("trouble/{}/refused/a.google.com", "a.google.com does not let people sign in"),
        ("trouble/{}/popup/a.google.com", "wants to open a second window"),
        ("trouble/{}/unreachable/id.web.test", "id.web.test cannot be reached from the window."),
    ],
)
async def test_trouble_of_the_service_page_is_explained_with_the_way_out(
    chromium, tmp_path, path, words
):
    async with opened(chromium, tmp_path, path) as (_, page, shower):
        await page.see(words)
        await page.see("Go on in your browser")
        await page.press("In my browser")
        await page.see("The page is open in your browser.")
        assert words not in await page.text()
        assert shower.shown == ["browser"]


async def test_code_is_pasted_beside_the_page(chromium, tmp_path):
    async with opened(chromium, tmp_path, "paste/{}") as (running, page, _):
        (flow,) = running.desk.logins.flows()
        state = flow.url.partition("state=")[2]
        await page.type("form input", f"the-code#{state}")
        await page.press("Continue")
        await page.see("web-1@example.org")
        await page.see("plan plus")


async def test_where_no_window_can_be_the_line_that_helps_is_shown(chromium, tmp_path):
    shower = Shower(windows=False, line="sudo apt install python3-gi")
    async with opened(chromium, tmp_path, "add/web", shower) as (_, page, _):
        await page.see("sudo apt install python3-gi")
        assert "\nSign in\n" not in await page.text()
        await page.press("In my browser")
        await page.see("Copy the link")


@pytest.mark.parametrize("path", ["add/none", "flow/00", ""])
async def test_address_that_leads_nowhere_says_so(chromium, tmp_path, path):
    async with opened(chromium, tmp_path, path) as (_, page, _):
        await page.see("Close this window, and choose the account in Dragoman's menu again.")


async def test_dashboard_offers_both_places_too(chromium, tmp_path):
    async with site(tmp_path, providers=services_of()) as running, chromium.page() as page:
        running.places.attach(shower := Shower())
        await page.go(running.dashboard_address())
        await page.until("document.querySelector('#state .state-name')")
        await show(page, "accounts")
        await page.press("Add account")
        await choose(page, "Web")
        await page.until("document.querySelector('.places')")
        assert await same(page) == "2,1"
        await page.press("In my browser")
        await page.see("The page is open in your browser.")
        assert shower.shown == ["browser"]
        (flow,) = running.desk.logins.flows()
        running.desk.logins.cancel(flow.id)
        await page.see("The sign-in was cancelled.")
        await page.press("Start again")
        assert page.faults == []


@pytest.mark.parametrize("dark", [False, True])
async def test_sign_in_pages_keep_nobody_out(chromium, axe, pictures, tmp_path, dark):
    async with opened(chromium, tmp_path, "add/web") as (running, page, _):
        await page.call("Page.setBypassCSP", enabled=True)  # for axe, not for the page's own code
        faults = []
        waiting = (await running.desk.start("web", "browser")).id
        device = (await running.desk.start("web", "device")).id
        for path, words in (
            ("add/web", "In my browser"),
            ("add/strict", services.CONSENT.text),
            ("add/keyed", "API key"),
            (f"flow/{device}", "WDJB-MJHT"),
            (f"trouble/{waiting}/403/id.web.test", "Go on in your browser"),
            (f"paste/{waiting}", "Continue"),
        ):
            await page.size(360, 640, dark=dark)
            await page.go(await Flows(running).commands["sign_in_page"](path))
            await page.see(words)
            await page.run(axe)
            faults += [f"{path}: {found}" for found in await violations(page)]
            wide = await page.run("return document.documentElement.scrollWidth")
            if wide > 360:
                faults.append(f"{path} is {wide} wide")
            if os.environ.get(PICTURES):
                name = f"signin-page-{path.partition('/')[0]}-{'dark' if dark else 'light'}.png"
                await page.shoot(pictures / name)
        assert faults == []
