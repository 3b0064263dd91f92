"""The dashboard in a headless browser, over the whole program."""

import asyncio
import contextlib
import re
import sys
import time
from dataclasses import replace

import pytest

from app.build import RELEASES, find_build
from app.providers.quota import Quota, QuotaWindow
from app.providers.signin import CodeSignIn, DeviceSignIn, Listen, SecretSignIn
from tests.accounts import services
from tests.browser.site import HOUR, LONG, site
from tests.server.desk import free_port
from tests.server.running import SAY, Server

pytestmark = [pytest.mark.gui, pytest.mark.gen_test(timeout=300)]

SECTIONS = ("now", "accounts", "models", "agents", "keys", "settings", "logs", "help", "welcome")
TITLES = {"welcome": "One address for all your model accounts"}
SETTINGS = """\
# What the house needs.
providers:
  local:
    kind: compatible
    dialect: openai_chat
    base_url: http://127.0.0.1:9/v1
    api_key: sk-secret-of-the-file
    models: [m1]
"""
REFUSED = "Failed to load resource"
"""What the browser notes of each answer with a status from 400 on, wanted or not."""


@contextlib.asynccontextmanager
async def opened(chromium, home, settings="", *, size=(1280, 900), dark=False, **options):
    """The program, and a page of its dashboard with a session."""
    async with site(home, settings, **options) as running, chromium.page() as page:
        await page.size(*size, dark=dark)
        await page.go(running.dashboard_address())
        await page.until("document.querySelector('#state .state-name')")
        yield running, page


async def show(page, section):
    await page.run(f"location.hash = '{section}'; return 1")
    await page.until(f"document.querySelector('#section-{section}')")
    title = TITLES.get(section, section.capitalize())
    await page.until(
        f"[...document.querySelectorAll('h1, h2')].some((e) => e.textContent.trim() === '{title}')"
    )


async def violations(page):
    return await page.run(
        """
        const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"];
        const found = await axe.run(document, { runOnly: rules, resultTypes: ["violations"] });
        return found.violations.map((v) =>
          `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary}`).join("; ")}`);
        """
    )


async def fill_with_requests(server):
    for model in ("demo-chat", "demo-tools", "demo-error-429"):
        body = SAY | {"model": model, "stream": True}
        agent = {"User-Agent": f"claude-cli/2.0 ({LONG})"}
        await server.post("/v1/chat/completions", body, agent)


WIDTHS = (1280, 768, 360)


def is_looked_through(width, dark):
    """Say whether axe looks at a width: what it finds in the dark does not depend on the width."""
    return not dark or width == WIDTHS[0]


@pytest.mark.gen_test(timeout=600)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("accounts", [0, 1, 10])
async def test_every_section_fits_and_keeps_nobody_out(
    chromium, axe, pictures, tmp_path, accounts, dark
):
    async with opened(chromium, tmp_path, SETTINGS if accounts else "", accounts=accounts) as (
        running,
        page,
    ):
        await page.call("Page.setBypassCSP", enabled=True)  # for axe, not for the page's own code
        await page.run(axe)
        if accounts:
            await fill_with_requests(Server(running))
            await running.create_key(b'{"label": "laptop"}')
            await page.until("document.querySelectorAll('#section-now tbody tr').length === 3")
        faults = []
        for section in SECTIONS:
            await show(page, section)
            for width in WIDTHS:
                await page.size(width, 900, dark=dark)
                wide = await page.run("return document.documentElement.scrollWidth")
                if wide > width:
                    faults.append(f"{section} is {wide} wide on {width}")
                name = f"{accounts}-{section}-{width}-{'dark' if dark else 'light'}.png"
                await page.shoot(pictures / name, whole=False)
                everywhere = accounts == 10 and is_looked_through(width, dark)
                if everywhere or (accounts == 0 and width == WIDTHS[-1]):
                    found = await violations(page)
                    faults += [f"{section} on {width}: {one}" for one in found]
        assert faults == []
        assert page.faults == []


async def test_dialogs_keep_nobody_out(chromium, axe, tmp_path):
    async with opened(chromium, tmp_path, providers=made_up()) as (running, page):
        await page.call("Page.setBypassCSP", enabled=True)
        await page.run(axe)
        await fill_with_requests(Server(running))
        faults = []
        for dark in (False, True):
            await page.size(360, 800, dark=dark)
            for section, button in (
                ("accounts", "Add account"),
                ("keys", "New key"),
                ("models", "Try demo-chat"),
                ("now", "demo-chat"),
            ):
                await show(page, section)
                await page.press(button)
                await page.until("document.querySelector('dialog[open]')")
                faults += [f"{button}: {found}" for found in await violations(page)]
                await page.press("Close")
        assert faults == []


CLICKS = """
window.clicks = 0;
addEventListener("click", (event) => { if (event.target.closest("button, a, summary, label")) clicks += 1; }, true);
return 1
"""


async def test_first_answer_takes_three_clicks_and_no_account(chromium, axe, tmp_path, pictures):
    """The way of somebody who has just installed it: at most four clicks, and 90 seconds."""
    async with site(tmp_path) as running, chromium.page() as page:
        await page.size(760, 680)
        begun = asyncio.get_running_loop().time()
        await page.go(running.dashboard_address("welcome"))
        await page.see("One address for all your model accounts")
        await page.run(CLICKS)
        await page.shoot(pictures / "welcome-1.png", whole=False)
        await page.press("Start")
        await page.see("or try without one")
        await page.shoot(pictures / "welcome-2.png", whole=False)
        await page.until(chosen("Try the demo"))
        await page.press("Send")
        await page.until("document.querySelector('.answer').textContent.length > 0")
        clicks = await page.run("return clicks")
        took = asyncio.get_running_loop().time() - begun
        sys.stdout.write(f"{clicks} clicks and {took:.1f} s to the first words\n")
        assert clicks <= 4
        assert took < 90
        await page.see("First words after")
        await page.shoot(pictures / "welcome-3.png", whole=False)
        await page.call("Page.setBypassCSP", enabled=True)
        await page.run(axe)
        faults = await violations(page)
        await page.press("Go on")
        await page.see(f"http://localhost:{running.port}/v1")
        await page.see("dragoman connect codex")
        await page.shoot(pictures / "welcome-4.png", whole=False)
        faults += await violations(page)
        await page.press("Open the dashboard")
        await page.until("document.querySelector('tr.done')")  # the request is in the list, too
        await show(page, "help")
        await page.press("First steps")
        await page.see("One address for all your model accounts")
        assert faults == []
        assert page.faults == []


async def test_first_steps_need_no_mouse(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (_, page):
        await show(page, "welcome")
        focus = "document.activeElement"
        await page.until(f"{focus}.tagName === 'H1'")
        await page.key("Tab", number=9)
        await page.key("Enter", number=13)
        await page.until(f"{focus}.textContent.startsWith('Add an account, or')")
        for _ in range(2):
            await page.key("Tab", number=9)
        await page.key("Enter", number=13)
        await page.until(f"{focus}.textContent === 'Send a first request'")
        for _ in range(5):  # model, question, answer, back, send
            await page.key("Tab", number=9)
        await page.key("Enter", number=13)
        await page.see("First words after")
        assert page.faults == []


async def test_first_request_streams_and_can_be_stopped(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (_, page):
        await show(page, "welcome")
        await page.press("Start")
        await page.until(chosen("Try the demo"))
        await page.until("document.querySelector('.welcome select:not([aria-busy])')")
        await page.run(
            "const s = document.querySelector('.welcome select');"
            "s.append(new Option('demo-slow', 'demo-slow')); s.value = 'demo-slow'; return 1"
        )
        await page.press("Send")
        await page.until("document.querySelector('.answer').textContent.length > 0")
        # A second per word: it is still going on, and the word is there already.
        assert "First words" not in await page.text()
        await page.press("Stop")
        await page.press("Send")
        await page.press("Back")
        await page.see("or try without one")
        assert page.faults == []


async def test_first_request_that_fails_says_why_and_offers_the_demo(chromium, tmp_path):
    async with opened(chromium, tmp_path, SETTINGS) as (_, page):
        await show(page, "welcome")
        await page.press("Start")
        await page.see("You have an account")
        await page.until(chosen("Go on"))
        await page.until("document.querySelector('.welcome select').value === 'm1'")
        await page.press("Send")
        await page.until("document.querySelector('.answer.fault').textContent.length > 0")
        await page.press("Try the demo")
        await page.see("First words after")
        assert all(REFUSED in fault for fault in page.faults)


async def test_account_is_added_from_the_first_steps(chromium, tmp_path):
    async with opened(chromium, tmp_path, providers=made_up()) as (running, page):

        async def answer(request):
            return services.granted(1)

        running.answer = answer
        await show(page, "welcome")
        await page.press("Start")
        await page.until(chosen("Add an account"))
        await page.see("Web")
        await page.press("Close")
        await page.see("or try without one")


async def test_ticket_opens_once_and_the_session_outlives_a_reload(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (running, page):
        assert await page.run("return location.hash + document.cookie") == ""
        await page.call("Page.reload")
        await page.until("document.querySelector('#state .state-name')")
        kept = await page.run("return JSON.stringify({...localStorage})")
        assert kept == "{}"
        await page.press("Leave")
        await page.see("Open the dashboard from Dragoman")
        assert len(running.sessions) == 0
        await page.call("Page.reload")
        await page.see("dragoman open")


@pytest.mark.parametrize(
    ("section", "title"),
    [
        ("accounts/add", "Add account"),
        ("accounts/sign-in/web/web-1", "Sign in again"),
        ("logs", "Logs"),
        ("surprise", "Now"),
    ],
)
async def test_ticket_may_lead_to_a_section(chromium, tmp_path, section, title):
    async with site(tmp_path, providers=made_up()) as running, chromium.page() as page:
        await running.desk.book.put(services.record())
        await page.go(running.dashboard_address(section))
        await page.until(
            f"[...document.querySelectorAll('h1, h2')].some((e) => e.textContent === '{title}')"
        )
        assert "ticket" not in await page.run("return location.href")
        assert page.faults == []


async def test_page_works_where_a_window_has_no_storage(chromium, tmp_path):
    async with site(tmp_path) as running, chromium.page() as page:
        gone = "Object.defineProperty(window, 'sessionStorage', { value: null });"
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=gone)
        await page.go(running.dashboard_address())
        await page.until("document.querySelector('#state .state-name')")


async def test_used_ticket_says_so(chromium, tmp_path):
    async with site(tmp_path) as running, chromium.page() as page:
        url = running.dashboard_address()
        running.sessions.redeem(url.partition("=")[2])
        await page.go(url)
        await page.see("This ticket was used already")
        assert all(REFUSED in fault for fault in page.faults)


async def test_running_request_is_seen_with_what_is_known_of_it(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (running, page):
        await page.see("No request has come yet.")
        body = SAY | {"model": "demo-slow", "stream": True}
        call = asyncio.ensure_future(
            Server(running).post("/v1/chat/completions", body, {"User-Agent": "claude-cli/2.0"})
        )
        await page.until("document.querySelector('tr.running')")
        await page.until("document.querySelector('tr.running').innerText.includes('≈')")
        await page.until("document.getElementById('state').innerText.startsWith('Answering')")
        row = await page.run("return document.querySelector('tr.running').innerText")
        assert "claude-cli" in row
        assert "demo/demo" in row
        await page.press("demo-slow")
        await page.see("Why there")
        call.cancel()
        await page.until("document.querySelector('dialog').innerText.includes('Client left')")
        await page.until("document.getElementById('state').innerText.startsWith('Running')")
        await page.key("Escape", number=27)
        await page.until("!document.querySelector('dialog')")
        assert page.faults == []


async def test_failed_request_shows_why(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (running, page):
        body = SAY | {"model": "demo-error-429"}
        await Server(running).post("/v1/chat/completions", body)
        await page.until("document.querySelector('tr.failed')")
        await page.press("demo-error-429")
        await page.see("Attempts that failed")


def made_up():
    listen = Listen(free_port(), "/callback")
    ways = {
        "browser": CodeSignIn(services.begin, services.finish, listen),
        "device": DeviceSignIn(services.device),
        "key": SecretSignIn("API key", services.secret),
    }
    web = replace(services.WEB, sign_ins=ways, hosts=services.WEB.hosts | {"api.web.test"})
    strict = replace(services.STRICT, sign_ins={"key": ways["key"]})
    return {"web": web, "strict": strict}


def chosen(title):
    """What presses the choice of a title, once it is there."""
    return (
        "[...document.querySelectorAll('.choice')].find((e) => "
        f"e.textContent.startsWith('{title}') && (e.click(), true))"
    )


async def choose(page, title):
    await page.until(chosen(title))


async def test_account_is_added_by_device_code(chromium, tmp_path):
    async with opened(chromium, tmp_path, providers=made_up()) as (running, page):
        typed = asyncio.Event()

        async def sleep(_seconds):
            await typed.wait()

        async def answer(request):
            if request.url.endswith("/device"):
                return services.granted(user_code="WDJB-MJHT")
            return services.granted(1)

        running.answer = answer
        object.__setattr__(running.desk.driver, "sleep", sleep)  # it waits five seconds by itself
        await show(page, "accounts")
        await page.press("Add account")
        await choose(page, "Web")
        await page.press("Sign in with a code")
        await page.see("WDJB-MJHT")
        await page.see("Copy the code")
        typed.set()
        await page.see("is signed in as web-1@example.org (plus).")
        await page.press("Done")
        await page.until("document.querySelector('.card')")
        assert "web-1@example.org · plus" in await page.text()
        assert page.faults == []


async def test_account_is_added_by_pasting_what_the_page_gave(chromium, tmp_path):
    async with opened(chromium, tmp_path, providers=made_up()) as (running, page):

        async def answer(request):
            return services.granted(1)

        running.answer = answer
        await show(page, "accounts")
        await page.press("Add account")
        await choose(page, "Web")
        await page.press("Sign in in the browser")
        link = await page.until("document.querySelector('dialog a.primary').href")
        assert link.startswith("https://web.test/authorize?")
        await page.press("Paste the code or the address instead")
        await page.type("dialog form input", "?")
        await page.press("Continue")
        await page.until("document.querySelector('dialog .error:not([hidden])')")
        state = link.partition("state=")[2]
        await page.type("dialog form input", f"the-code#{state}")
        await page.press("Continue")
        await page.see("is signed in as web-1@example.org")


async def test_consent_comes_before_the_sign_in_and_actions_work(chromium, tmp_path):
    async with opened(chromium, tmp_path, providers=made_up()) as (running, page):

        async def answer(request):
            return services.granted(1)

        running.answer = answer
        await show(page, "accounts")
        await page.press("Add account")
        await choose(page, "Strict")
        await page.see(services.CONSENT.text)
        assert await page.run("return document.querySelector('.signin button.primary').disabled")
        await page.run("document.querySelector('.consent input').click(); return 1")
        await page.press("Enter API key")
        await page.type("dialog form input", "not one")
        await page.press("Sign in")
        await page.see("is no key")
        await page.type("dialog form input", "the-key")
        await page.press("Sign in")
        await page.see("is signed in")
        await page.press("Done")
        (record,) = running.desk.book.records()
        assert record.consent == services.CONSENT.version
        await page.press(f"Pause: {record.label}")
        await page.press(f"Use again: {record.label}")
        await page.press(f"Rename: {record.label}")
        await page.type("dialog form input", "mine")
        await page.press("Rename")
        await page.press("Sign out: mine")
        await page.press("Sign out")
        await page.see("No account yet.")
        assert running.desk.book.records() == ()


async def test_terms_that_were_never_agreed_to_are_read_on_the_card(chromium, tmp_path):
    async with opened(chromium, tmp_path, providers=made_up()) as (running, page):
        record = services.record("strict-1", "strict", consent="", consented_at=0.0)
        await running.desk.book.put(record)
        await show(page, "accounts")
        await page.press("Read the terms: strict-1")
        await page.see(services.CONSENT.text)
        await page.press("I have read this and turn it on")
        await page.until("document.querySelector('.card .pill.good')")
        assert running.desk.book.get("strict/strict-1").consent == services.CONSENT.version


async def test_card_says_what_is_left_until_when_and_how_long_it_lasts(chromium, tmp_path):
    async with opened(chromium, tmp_path, accounts=4) as (running, page):
        now = time.time()
        for used, ago in ((40.0, 20 * 60), (60.0, 0)):
            window = QuotaWindow("5h", used, now + 4.5 * HOUR, 5 * HOUR)
            running.quotas.note("codex/team", Quota((window,), now - ago, "usage call"))
        await show(page, "accounts")
        card = "document.querySelector('.card[aria-label$=\", team\"]')"
        await page.until(f"{card}.querySelector('meter').value === 40")
        text = await page.run(f"return {card}.innerText")
        assert "40 % left" in text
        assert re.search(r"begins anew in 4 h \d+ min · used up in \d+ min at this pace", text)
        for action in ("Ask first", "Pause", "Renew", "Sign in again", "Rename", "Sign out"):
            assert action in text


async def test_closing_the_dialog_ends_the_sign_in(chromium, tmp_path):
    async with opened(chromium, tmp_path, providers=made_up()) as (running, page):
        await show(page, "accounts")
        await page.press("Add account")
        await choose(page, "Strict")
        await page.run("document.querySelector('.consent input').click(); return 1")
        await page.press("Enter API key")
        await page.type("dialog form input", "x")
        states = {f.state for f in running.desk.logins.flows()}
        assert states == {"waiting"}
        await page.press("Close")
        async with asyncio.timeout(10):
            await page.until("!document.querySelector('dialog')")
            await page.run("await fetch('/healthz'); return 1")
        assert {f.state for f in running.desk.logins.flows()} <= {"cancelled"}


async def test_models_are_found_and_tried(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (_, page):
        await show(page, "models")
        await page.see("demo-think")
        await page.type("#section-models input", "demo chat")
        await page.see("1 of ")
        await page.press("Try demo-chat")
        await page.type("dialog textarea", "What did you understand?")
        await page.press("Send")
        await page.until("document.querySelector('.answer').textContent.includes('understand')")
        assert "provider demo" in await page.text()
        assert page.faults == []


async def test_key_is_shown_once_and_revoked(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (running, page):
        await show(page, "keys")
        await page.press("New key")
        await page.type("dialog input", "laptop <b>")
        await page.press("Create")
        key = await page.until("document.querySelector('.code.small').textContent")
        assert key.startswith("dg-")
        await page.press("Close")
        await page.see("laptop <b>")
        assert key not in await page.text()
        await page.press("Revoke laptop <b>")
        await page.press("Revoke")
        await page.see("revoked")
        (record,) = await running.list_keys()
        assert record.revoked_at is not None


async def test_settings_are_saved_with_comments_and_faults_beside_the_field(chromium, tmp_path):
    async with opened(chromium, tmp_path, SETTINGS) as (running, page):
        await show(page, "settings")
        label = "[...document.querySelectorAll('label')].find((e) => e.textContent === '{}')"
        await page.until(label.format("aliases"))
        await page.run(f"{label.format('aliases')}.parentElement.id = 'aliases'; return 1")
        await page.run(f"{label.format('port')}.parentElement.id = 'port'; return 1")
        await page.type("#aliases textarea", "fast = m1")
        await page.type("#port input", "99999")
        await page.press("Save")
        await page.until("document.querySelector('#port .error:not([hidden])')")
        assert running.located.path.read_text() == SETTINGS
        await page.type("#port input", "8317")
        await page.press("Save")
        await page.see("Saved.")
        text = running.located.path.read_text()
        assert text.startswith("# What the house needs.")
        assert running.config.models.aliases == {"fast": "m1"}
        locked = "[...document.querySelectorAll('.locked label')].map((e) => e.textContent)"
        names = await page.run(f"return {locked}")
        assert {"base_url", "api_key", "credential_command", "proxy", "rules"} <= set(names)
        assert "secret-of-the-file" not in await page.run("return document.body.innerHTML")
        assert all(REFUSED in fault for fault in page.faults)


async def test_log_lines_appear_as_they_come(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (running, page):
        await show(page, "logs")
        running.live.lines.handle(_record("<img src=x onerror=alert(1)> words"))
        await page.see("<img src=x onerror=alert(1)> words")
        await page.type("#section-logs input[type=search]", "nothing like it")
        await page.see("Nothing matches.")


def _record(text):
    import logging

    return logging.LogRecord("dragoman.test", logging.WARNING, "f", 1, text, (), None)


async def test_help_pages_lead_to_each_other(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (_, page):
        await show(page, "help")
        await page.press("Accounts", "document.querySelector('.pages')")
        await page.until("document.querySelector('.prose h1').textContent === 'Accounts'")
        assert "```" not in await page.text()
        await page.run(
            "document.querySelector('.prose a[href^=\"#/help/keys\"]').click(); return 1"
        )
        await page.until("document.querySelector('.prose h1').textContent.startsWith('Keys')")
        assert page.faults == []


async def test_an_error_leads_to_its_entry(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (_, page):
        shown = await page.run(
            """
            const api = await import("/admin/static/api.js");
            const { fill, told } = await import("/admin/static/dom.js");
            const box = document.createElement("p");
            document.getElementById("main").prepend(box);
            fill(box, await api.get("/admin/help/none").catch((error) => told(error)));
            box.querySelector("a").click();
            return box.textContent;
            """
        )
        assert shown == "There is no help page none. Help"
        await page.until("document.querySelector('.prose #no_help_page')")
        plain = "return (await import('/admin/static/dom.js')).told(new Error('It broke.'))"
        assert await page.run(plain) == ["It broke."]


async def test_help_opens_at_the_heading_that_an_address_names(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (_, page):
        await show(page, "help")
        for address, anchor in (
            ("#/help/accounts_cooling", "accounts_cooling"),
            ("#/help/keys#limits", "limits"),
        ):
            await page.run(f"location.hash = '{address}'; return 1")
            await page.until(
                f"""(() => {{
                    const found = document.getElementById("{anchor}");
                    if (!found) return false;
                    const top = found.getBoundingClientRect().top;
                    return top >= 0 && top < innerHeight;
                }})()"""
            )
            assert await page.run("return scrollY > 300")


async def test_program_says_what_it_is_below_every_page(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (_, page):
        await page.until("document.querySelector('#about a')")
        said = await page.run("return document.querySelector('#about').innerText")
        found = find_build()
        assert said.split("\n") == [
            f"Dragoman {found.version}",
            "from source",
            *([f"commit {found.commit}"] if found.commit else []),
            "Check for updates",
        ]
        link = await page.run(
            "const a = document.querySelector('#about a'); return [a.href, a.target, a.rel]"
        )
        assert link == [RELEASES, "_blank", "noopener noreferrer"]


async def test_colours_follow_the_system_until_one_is_chosen(chromium, tmp_path):
    async with opened(chromium, tmp_path, dark=True) as (_, page):
        ground = "return getComputedStyle(document.body).backgroundColor"
        dark = await page.run(ground)
        await page.size(1280, 900, dark=False)
        light = await page.run(ground)
        assert light != dark
        await page.run(
            "const s = document.getElementById('theme'); s.value = 'dark';"
            "s.dispatchEvent(new Event('change')); return 1"
        )
        assert await page.run(ground) == dark
        await page.call("Page.reload")
        await page.until("document.querySelector('#state .state-name')")
        assert await page.run(ground) == dark


async def test_keyboard_alone_reaches_the_content_and_comes_back_from_a_dialog(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (_, page):
        await show(page, "keys")
        await page.key("Tab", number=9)
        assert await page.run("return document.activeElement.className") == "skip"
        await page.key("Enter", number=13)
        assert await page.run("return document.activeElement.id") == "main"
        await page.key("Tab", number=9)
        assert await page.run("return document.activeElement.textContent") == "New key"
        await page.key("Enter", number=13)
        await page.until("document.querySelector('dialog[open]')")
        await page.key("Escape", number=27)
        await page.until("!document.querySelector('dialog')")
        assert await page.run("return document.activeElement.textContent") == "New key"


async def test_end_of_the_program_is_told(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (running, page):
        await running.close()
        await page.see("Connection lost, trying again")


async def test_session_that_ends_closes_the_page(chromium, tmp_path):
    async with opened(chromium, tmp_path) as (running, page):
        running.sessions._sessions.clear()
        await page.run("location.hash = 'keys'; return 1")
        await page.see("This session has ended.")
