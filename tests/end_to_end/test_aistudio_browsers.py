"""The page's real script in real browsers: headless Chromium, and the window on GTK's web view.

Its calls are answered by the stand-in for Google that takes no key, no field but those of a page,
and not every body (``tests.fakes.aistudio.Sandbox``). The same things are tried in both.
"""

import asyncio
import contextlib
import json
import threading
from concurrent.futures import Future
from dataclasses import replace

import httpx
import pytest

from app.cli.launch import own_command, own_environment
from app.desktop.aistudio import StudioWindows
from app.desktop.windows import Windows, find_runner
from app.errors import UpstreamError
from app.http import Limits
from app.upstream.relay_page import Marks
from tests.browser.chromium import Chromium, find_chromium
from tests.desktop.conftest import screen  # noqa: F401 - a fixture
from tests.end_to_end.studio_site import StudioSite
from tests.end_to_end.test_aistudio import FLASH, SLOW, call, prompt, said, stream_url, world
from tests.end_to_end.test_sdks import CLIENTS, UNICODE, directive

pytestmark = pytest.mark.gui


class InChromium:
    def __init__(self, made, site):
        self._made, self._site = made, site
        path = find_chromium()
        if path is None:
            pytest.skip("chromium is not installed")
        self._browser = Chromium(path)
        self._stack = contextlib.AsyncExitStack()

    def open(self):
        async def opened():
            self.page = await self._stack.enter_async_context(self._browser.page())
            await self.page.go(self._site.address)

        self._made.run(opened())

    def close(self):
        self._made.run(self._stack.aclose())
        self._browser.close()


class InWindow:
    """The window as the desktop opens it, with its folder."""

    def __init__(self, made, site, display, home):
        runner = find_runner(own_command(), env={"DISPLAY": display})
        if runner is None:
            pytest.skip("there is no web view")
        env = own_environment() | {"DISPLAY": display, "HOME": str(home), "NO_AT_BRIDGE": "1"}
        self._made, self._site = made, site
        self.events = []
        self._heard = threading.Condition()
        self.windows = Windows(runner, env, browse=lambda _url: False, tell=self.events.append)
        self.folder = home / "windows"
        self.studios = StudioWindows(self.windows, self.folder, self._call, self._begin)

    def _begin(self, work):
        self._made.run(work)

    def _call(self, name, told):
        assert name == "aistudio_heard"
        with self._heard:
            self.events.append(json.loads(told)["event"])
            self._heard.notify_all()
        answer = Future()
        answer.set_result("")
        return answer

    def wait(self, name, **fields):
        def found():
            for event in self.events:
                if event["event"] == name and fields.items() <= event.items():
                    return event
            return None

        with self._heard:
            assert self._heard.wait_for(found, 20), (name, fields, self.events)
            return found()

    def open(self):
        self.studios.open("home", self._site.address)
        self.wait("opened")

    def close(self):
        self.windows.close_all()


async def connected(relay):
    while not relay.pages():  # noqa: ASYNC110 - browsers tell nobody when a page is ready
        await asyncio.sleep(0.02)


HEAVY = pytest.mark.parametrize(
    "browser",
    ["chromium", pytest.param("window", marks=pytest.mark.services)],
    indirect=True,
)
"""For tests that are long in the window, and show there what they show in Chromium."""


@pytest.fixture(params=["chromium", "window"])
def browser(request, tmp_path):
    """A world whose one page runs in a real browser."""
    scripts = tmp_path / "w"
    scripts.mkdir()
    with world(scripts, ["unused"]) as made:
        site = StudioSite(made.google.port)
        made.run(site.__aenter__())
        try:
            access = made.service.access
            access.policy = replace(access.policy, origins=frozenset({site.origin}))
            site.fill(f"ws://127.0.0.1:{made.service.port}/v1/ws", made.key())
            if request.param == "chromium":
                shown = InChromium(made, site)
            else:
                shown = InWindow(made, site, request.getfixturevalue("screen"), tmp_path)
            try:
                shown.open()
                made.run(connected(made.relay))
                yield made, shown
            finally:
                shown.close()
        finally:
            made.run(site.__aexit__(None, None, None))


def test_every_dialect_is_answered_through_the_page(browser):
    made, _ = browser
    text = json.dumps(UNICODE, ensure_ascii=False)
    for name in sorted(CLIENTS):
        client = CLIENTS[name](made.address, FLASH)
        try:
            for stream in (False, True):
                assert client.text(directive(text=text), stream) == UNICODE, (name, stream)
        finally:
            client.sdk.close()
    assert made.google.faulty == []


@HEAVY
def test_many_streams_long_ones_and_those_that_are_left(browser):
    made, _ = browser

    async def all_of_them():
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:

            async def one(number):
                text = " ".join([f"word{number}"] * 8)
                ask = prompt(f'FAKE:text="{text}";n=4;')
                return said(await client.post(stream_url(made), json=ask)) == text

            return await asyncio.gather(*(one(number) for number in range(64)))

    assert all(made._loop.run(all_of_them(), 90))
    text = " ".join(str(number) for number in range(2000))
    client = CLIENTS["messages"](made.address, FLASH)
    try:
        assert "".join(client.deltas(directive(text=json.dumps(text), n=2000))) == text
    finally:
        client.sdk.close()
    left = made.google.cancelled

    async def leave():
        await (await made.relay.send(call(SLOW), Limits())).aclose()
        await made.google.until_left(left + 1)

    made.run(leave())


def test_page_comes_back_by_itself(browser):
    made, _ = browser

    async def in_the_middle():
        reply = await made.relay.send(call(SLOW), Limits())
        made.relay.close_all()
        with pytest.raises(UpstreamError, match="before the answer was complete"):
            await reply.read()
        await reply.aclose()
        await connected(made.relay)

    made.run(in_the_middle())


@pytest.mark.parametrize("browser", ["window"], indirect=True)
def test_window_is_hidden_works_on_and_is_signed_out(browser):
    made, shown = browser
    site = shown._site
    shown.wait("at", url=site.address)
    (row,) = shown.studios.processes()
    assert row[0] == "aistudio/home"
    shown.studios.order("home", "hide")
    shown.wait("hidden")
    client = CLIENTS["messages"](made.address, FLASH)
    try:
        assert client.text(directive(text='"hello"'), True) == "hello"
    finally:
        client.sdk.close()
    shown.studios.order("home", "show")
    shown.wait("shown")
    assert (shown.folder / "home").is_dir()
    shown.studios.forget("home")
    assert shown.windows.names() == ()
    assert not (shown.folder / "home").exists()


@pytest.mark.parametrize("browser", ["window"], indirect=True)
def test_window_that_is_killed_is_heard_of(browser):
    _, shown = browser
    shown.windows._children["aistudio/home"].process.kill()
    shown.wait("ended")


@HEAVY
def test_slow_reader_pauses_the_page_and_loses_nothing(browser):
    made, _ = browser
    made.relay.marks = Marks(pause_bytes=1)
    text = "x" * 400_000  # the stand-in cuts it into very small pieces

    async def slowly():
        reply = await made.relay.send(call(f"FAKE:text={text};n=40;"), Limits())
        size = 0
        async for chunk in reply.chunks:
            size += len(chunk)
            page = made.relay._choose("home")
            await asyncio.sleep(0)
            assert all(one.waiting_bytes < 200_000 for one in page.calls.values())
        await reply.aclose()
        return size

    assert made._loop.run(slowly(), 90) > len(text)


@pytest.mark.parametrize("browser", ["chromium"], indirect=True)
def test_second_tab_of_a_profile_takes_over(browser):
    made, shown = browser

    async def again():
        (old,) = made.relay.pages()
        await shown.page.run("window.open(location.href); return 1")
        while [page.opened_at for page in made.relay.pages()] == [old.opened_at]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await shown.page.see("Another page took over")
        assert len(made.relay.pages()) == 1

    made.run(again())


@pytest.mark.parametrize("browser", ["chromium"], indirect=True)
@pytest.mark.parametrize("wrong", ["key", "origin"])
def test_wrong_key_or_origin_is_told_on_the_page(browser, wrong):
    made, shown = browser
    key = made.key()
    if wrong == "key":
        key = "dg-" + "x" * 32
    else:
        access = made.service.access
        access.policy = replace(access.policy, origins=frozenset())
    shown._site.fill(f"ws://127.0.0.1:{made.service.port}/v1/ws", key)

    async def reload():
        await shown.page.go(shown._site.address + "?again")
        await shown.page.see("is the key right")
        while made.relay.pages():  # noqa: ASYNC110 - the browser takes leave of the old page late
            await asyncio.sleep(0.02)

    made.run(reload())
