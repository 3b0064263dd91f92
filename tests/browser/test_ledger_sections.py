"""Usage, history and routes of the dashboard in a headless browser, over the whole program."""

import asyncio
import json
import time

import pytest

from app.canonical.usage import Usage
from app.ledger.entry import AttemptEntry, Entry
from tests.browser.test_browser import LONG, WIDTHS, is_looked_through, opened, show, violations
from tests.server.running import CHAT, SAY, Server

pytestmark = [pytest.mark.gui, pytest.mark.gen_test(timeout=90)]

DAY = 86_400.0
ROUTES = """\
# of the house
models:
  aliases: {fast: demo-chat}
  rules:
    # keep it quiet
    - name: no cats
      when: {header: {x-cat: "*"}}
      then: {reject: No cats here.}
"""
TRACE = json.dumps(
    {
        "asked": "claude-opus-4-5",
        "models": ["claude-opus-4-5"],
        "rule": "long prompts",
        "rules": [
            {"name": "no cats", "matched": False, "why": "does not hold: header x-cat is *"},
            {"name": "long prompts", "matched": True, "why": ""},
        ],
        "notes": ["long prompts matched"],
        "candidates": [
            {
                "account": "claude/personal",
                "model": "claude-opus-4-5",
                "dialect": "anthropic",
                "step": 0,
                "why": "family of claude, same conversation",
            }
        ],
        "left_out": [{"account": "codex/work", "why": "it is not known to serve claude-opus-4-5"}],
        "error": "",
    }
)


def past(number, days):
    """An entry of so many days ago; each differs from the next in agent, model and price."""
    agents = ("claude", "codex", "opencode", LONG)
    models = (
        ("claude-opus-4-5", "claude/personal"),
        ("gpt-5", "codex/work"),
        ("m1", "local/local-1"),
    )
    model, account = models[number % 3]
    failed = number % 17 == 0
    tokens = Usage(input=900 + number, cache_read=number * 90, cache_write=40, output=300 + number)
    return Entry(
        id=f"req_past{number:04}",
        at=time.time() - days * DAY,
        client=agents[number % 4],
        dialect="anthropic",
        asked="claude-opus-4-5" if number % 5 else "fast",
        model=model,
        provider=account.partition("/")[0],
        account=account,
        upstream="anthropic",
        grade="translated" if number % 2 else "verbatim",
        losses=(("thinking", "the model has no such setting"),) if number % 7 == 0 else (),
        rule="long prompts" if number % 3 == 0 else "",
        reason="family of claude",
        status=529 if failed else 200,
        error="overloaded_error" if failed else "",
        stop="" if failed else "end",
        tokens=None if failed else tokens,
        cost=None if failed or model == "m1" else 12_000 + 900 * number,
        worth=account.startswith("codex"),
        first_ms=None if failed else 400 + number,
        duration_ms=2_000 + number * 10,
        stream=True,
        attempts=(
            AttemptEntry(
                at=time.time(), provider="claude", account=account, model=model, dialect="anthropic",
                status=200, duration_ms=1_500,
            ),
        ),
        trace=TRACE,
    )  # fmt: skip


async def fill_ledger(running, number=120):
    for one in range(number):
        running.ledger.note(past(one, one / 5))
    assert await asyncio.to_thread(running.ledger.flush)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_usage_history_and_routes_fit_and_keep_nobody_out(
    chromium, axe, pictures, tmp_path, dark
):
    async with opened(chromium, tmp_path, ROUTES, accounts=10) as (running, page):
        await page.call("Page.setBypassCSP", enabled=True)
        await page.run(axe)
        await fill_ledger(running)
        faults = []
        for section, there in (
            ("usage", "document.querySelectorAll('.chart rect.part').length > 20"),
            ("history", "document.querySelectorAll('#section-history tr.done').length > 20"),
            ("routes", "document.querySelector('#section-routes textarea').value.includes('fast')"),
        ):
            await show(page, section)
            await page.until(there)
            for width in WIDTHS:
                await page.size(width, 900, dark=dark)
                wide = await page.run("return document.documentElement.scrollWidth")
                if wide > width:
                    faults.append(f"{section} is {wide} wide on {width}")
                await page.shoot(
                    pictures / f"{section}-{width}-{'dark' if dark else 'light'}.png", whole=False
                )
                if is_looked_through(width, dark):
                    found = await violations(page)
                    faults += [f"{section} on {width}: {one}" for one in found]
        assert faults == []
        assert page.faults == []


async def test_usage_is_grouped_measured_and_exported(chromium, tmp_path):
    async with opened(chromium, tmp_path, ROUTES) as (running, page):
        await show(page, "usage")
        await page.see("Nothing was used in this time.")
        await fill_ledger(running, 40)
        await page.run("location.hash = 'now'; location.hash = 'usage'; return 1")
        for group, row in (("agent", LONG), ("account", "codex/work"), ("model", "gpt-5")):
            await page.run(
                f"const s = document.querySelector('[aria-label=\"Group by\"]'); s.value = '{group}';"
                "s.dispatchEvent(new Event('change')); return 1"
            )
            await page.see(row)
            await page.see(f"Tokens by {group}")
        for measure, title in (
            ("cost", "Cost by day"),
            ("first", "Time to first word, median by day"),
        ):
            await page.run(
                f"const s = document.querySelector('[aria-label=\"Show\"]'); s.value = '{measure}';"
                "s.dispatchEvent(new Event('change')); return 1"
            )
            await page.see(title)
        await page.run(
            "window.saved = []; URL.createObjectURL = (blob) => { blob.text().then((t) => saved.push(t));"
            "return 'blob:x'; }; HTMLAnchorElement.prototype.click = () => {}; return 1"
        )
        await page.press("Export CSV")
        await page.until("window.saved.length === 1")
        text = await page.run("return saved[0]")
        assert text.splitlines()[0].startswith("model,requests,failed,")
        assert page.faults == []


async def test_history_is_filtered_paged_and_shows_how_the_route_was_chosen(chromium, tmp_path):
    async with opened(chromium, tmp_path, ROUTES) as (running, page):
        await fill_ledger(running)
        await show(page, "history")
        rows = "document.querySelectorAll('#section-history tbody tr:not(.day)').length"
        await page.until(f"{rows} === 50")
        await page.press("Show older")
        await page.until(f"{rows} === 100")
        await page.run("location.hash = 'history/account/codex%2Fwork'; return 1")
        await page.until(f"{rows} === 40")
        await page.press("claude-opus-4-5", "document.querySelector('#section-history tbody')")
        await page.see("How the route was chosen")
        await page.see("long prompts matched")
        await page.see("it is not known to serve claude-opus-4-5")
        await page.press("Close")
        await page.run(
            "const w = document.querySelector('#section-history input[type=search]'); w.value = 'none';"
            "w.form.requestSubmit(); return 1"
        )
        await page.see("Nothing matches.")
        assert page.faults == []


async def test_a_real_request_is_in_the_history_with_its_trace(chromium, tmp_path):
    async with opened(chromium, tmp_path, ROUTES) as (running, page):
        await Server(running).post(CHAT, SAY | {"model": "fast"})
        await show(page, "history")
        await page.until(
            "document.querySelector('#section-history tr.done') || "
            "(document.querySelector('#section-history form').requestSubmit(), false)"
        )
        await page.press("fast", "document.querySelector('#section-history tbody')")
        await page.see("alias fast, listed by demo")


async def write(page, text):
    await page.run(
        f"const t = document.querySelector('#section-routes textarea'); t.value = {json.dumps(text)};"
        "t.dispatchEvent(new Event('input', {bubbles: true})); return 1"
    )


async def test_routes_are_checked_while_they_are_written_explained_and_saved(chromium, tmp_path):
    async with opened(chromium, tmp_path, ROUTES) as (running, page):
        await show(page, "routes")
        await page.see("This is in force.")
        await write(page, "rules:\n  - {name: a, then: {}}\n  - {name: b, then: {model: [1]}}\n")
        await page.see("Line 3")
        assert await page.run("return document.querySelector('.actions .primary').disabled")
        draft = "rules:\n  # mine\n  - {name: big, when: {tokens: 50}, then: {model: demo-think}}\n"
        await write(page, draft)
        await page.see("No faults. Save puts it in force.")
        await page.run(
            "const [m, t] = document.querySelectorAll('.questions input'); m.value = 'demo-chat';"
            "t.value = '90'; m.form.dispatchEvent(new Event('input')); return 1"
        )
        await page.see("big matched")
        await page.see("demo/demo")
        await page.press("Save")
        await page.see("The new routes are in force.")
        kept = running.located.path.read_text()
        assert "# mine" in kept
        assert "# of the house" in kept
        assert "no cats" not in kept
        assert running.gateway.rules.rules[0].label == "big"
        assert page.faults == []


async def test_keys_show_their_limits_and_are_changed_and_rotated(
    chromium, axe, pictures, tmp_path
):
    async with opened(chromium, tmp_path, ROUTES) as (running, page):
        await page.call("Page.setBypassCSP", enabled=True)
        await page.run(axe)
        await show(page, "keys")
        await page.press("New key")
        await page.run(
            "const f = [...document.querySelectorAll('dialog input')]; f[0].value = 'night';"
            "f[1].value = 'demo-*'; f[4].value = '100/day, 5 usd/month'; return 1"
        )
        await page.press("Create")
        await page.see("It is shown only now")
        secret = await page.run("return document.querySelector('dialog .code').textContent")
        await page.press("Close")
        mine = {"Authorization": f"Bearer {secret}"}
        assert (await Server(running).post(CHAT, SAY, mine)).status == 200
        await page.run("location.hash = 'now'; location.hash = 'keys'; return 1")
        await page.see("1 of 100")
        await page.shoot(pictures / "keys-limits.png", whole=False)
        assert await violations(page) == []
        await page.press("Change night")
        await page.run(
            "document.querySelectorAll('dialog input')[4].value = '1 requests/fortnight'; return 1"
        )
        await page.press("Save")
        await page.until("document.querySelector('dialog .note.bad:not([hidden])')")
        assert await violations(page) == []
        await page.run("document.querySelectorAll('dialog input')[4].value = '1/day'; return 1")
        await page.press("Save")
        await page.see("It holds for the next call.")
        assert (await Server(running).post(CHAT, SAY, mine)).status == 429
        await page.press("Rotate night")
        await page.press("Rotate", "document.querySelector('dialog')")
        await page.see("It is shown only now")
        assert (await Server(running).post(CHAT, SAY, mine)).status == 401


@pytest.mark.parametrize("kept", [True, False])
async def test_a_request_is_asked_again_where_what_was_said_was_kept(chromium, tmp_path, kept):
    settings = "ledger: {bodies: true}\n" if kept else ""
    async with opened(chromium, tmp_path, settings) as (running, page):
        await Server(running).post(CHAT, SAY)
        assert await asyncio.to_thread(running.ledger.flush)
        await show(page, "history")
        await page.press("demo-chat", "document.querySelector('#section-history tbody')")
        await page.see("Ask again")
        await page.run("document.querySelector('dialog form input').value = 'demo-think'; return 1")
        await page.press("Ask again", "document.querySelector('dialog')")
        if kept:
            await page.see("Then: demo-chat")
            await page.see("Now: demo-think")
        else:
            await page.until("document.querySelector('dialog p.note')")
            assert "bodies: true" in await page.text()
