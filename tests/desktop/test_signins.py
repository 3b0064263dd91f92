"""Sign-ins with windows and a proxy that only note what they are asked."""

import asyncio
import contextlib
import time
from concurrent.futures import Future

import msgspec
import pytest

from app.desktop.folders import Folders
from app.desktop.signins import SignIns
from app.desktop.told import Cookie, Told
from app.errors import AppError
from tests.desktop import statuses

OURS, THEIRS = "sign-in codex", "service codex"
URL = "https://auth.openai.com/oauth/authorize?state=s"
HOME = {"event": "loaded", "url": "http://localhost:1455/auth/callback", "status": 200}
COOKIE = Cookie("https://cto.new", "__client", "clerk.cto.new", "https://clerk.cto.new/", "uat")


class FakeWindows:
    """Windows by name, as ``Windows``; ``say`` is what a window tells."""

    def __init__(self):
        self.possible, self.line = True, "sudo install it"
        self.pages, self.heard = {}, {}
        self.history, self.browsed, self.orders = [], [], []

    def open(self, name, page, heard):
        self.history.append((name, page))
        self.pages[name], self.heard[name] = page, heard

    def close(self, name):
        self.say(name, event="ended")

    def order(self, name, **order):
        self.orders.append((name, order))
        return name in self.pages

    def browse(self, url):
        self.browsed.append(url)
        return True

    def say(self, window, /, **event):
        if event["event"] == "ended":
            self.pages.pop(window, None)
        if heard := self.heard.get(window):
            heard(event)


class FakeProgram:
    """The proxy's commands; a test changes ``flows``."""

    def __init__(self):
        self.flows = {}
        self.asked = []
        self.refuses = None
        self.waiting = []
        self.next = {"kind": "browser", "url": URL}

    def call(self, name, target):
        self.asked.append((name, target))
        future = Future()
        try:
            self._answer(name, target, future)
        except AppError as error:
            future.set_exception(error)
        return future

    def _answer(self, name, target, future):
        match name:
            case "sign_in_page":
                future.set_result(f"http://localhost:8317/page?show={target}#ticket=t")
            case "sign_in_start":
                if self.refuses is not None:
                    raise self.refuses
                wanted = msgspec.json.decode(target)
                told = self.start(wanted["provider"], wanted["account"])
                future.set_result(msgspec.json.encode(told).decode())
            case "sign_in_wait":
                self.waiting.append((*target.split(" "), future))
                self._tell()
            case "sign_in_cancel":
                if self.flows[target].live:
                    self.become(target, state="cancelled")
                future.set_result(msgspec.json.encode(self.flows[target]).decode())
            case "sign_in_submit":
                flow = msgspec.json.decode(target)["flow"]
                if self.refuses is not None:
                    raise self.refuses
                self.become(flow, state="working")
                future.set_result(msgspec.json.encode(self.flows[flow]).decode())

    def start(self, provider="codex", account="", **more):
        known = {"state": "waiting", "provider": provider, "title": "ChatGPT"}
        facts = {**known, "account": account, "repair": account, **self.next, **more}
        told = Told(id=str(len(self.flows)), **facts)
        self.flows[told.id] = told
        return told

    def become(self, flow, **changes):
        told = msgspec.structs.replace(self.flows[flow], **changes)
        self.flows[flow] = told if told.live else msgspec.structs.replace(told, url="")
        self._tell()

    def _tell(self):
        for waiting in list(self.waiting):
            flow, state, future = waiting
            if flow not in self.flows:
                future.set_exception(AppError("It is not known.", status=404))
            elif self.flows[flow].state != state:
                future.set_result(msgspec.json.encode(self.flows[flow]).decode())
            else:
                continue
            self.waiting.remove(waiting)


class Rig:
    def __init__(self, tmp_path, places):
        self.windows, self.program = FakeWindows(), FakeProgram()
        self.folders = Folders(tmp_path)
        self.remembered, self.changes = [], 0
        self.tasks = set()
        self.sign_ins = SignIns(
            self.windows,
            self.folders,
            self.program.call,
            self.begin,
            places,
            self.remembered.append,
            changed=self.changed,
            seen_s=0.0,
        )

    def changed(self):
        self.changes += 1

    def begin(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def until(self, holds):
        end = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < end, (self.windows.history, self.program.asked)
            await asyncio.sleep(0)

    async def settle(self):
        """Let everything that was begun come to its end, or to where it waits."""
        while self.tasks:
            await asyncio.wait(set(self.tasks))
        for _ in range(20):
            await asyncio.sleep(0)

    async def add(self, place=None):
        """Click "Add account" for ChatGPT, and choose a place on our page."""
        await self.sign_ins.begin("codex", "ChatGPT")
        if place is not None:
            told = self.program.start()
            self.sign_ins.show(told.id, place)
            await self.settle()

    def shows(self, name):
        """Return what page of ours a window shows."""
        page = self.windows.pages.get(name)
        return None if page is None else page.url.partition("show=")[2].partition("#")[0]


@pytest.fixture
def rig(tmp_path):
    """Makes rigs; each is closed in the end by ``closed``."""
    return lambda **places: Rig(tmp_path, places)


@contextlib.asynccontextmanager
async def closing(rig):
    try:
        yield rig
    finally:
        await rig.sign_ins.close()
        await rig.settle()


async def test_first_time_our_page_asks_where(rig):
    async with closing(rig()) as it:
        await it.add()
        assert it.shows(OURS) == "add/codex"
        assert it.windows.pages[OURS].title == "Dragoman: sign in to ChatGPT"
        assert it.windows.pages[OURS].storage is None
        await it.sign_ins.begin("codex", "ChatGPT", "codex/codex-1")
        assert it.shows("sign-in codex/codex-1") == "again/codex/codex-1"


async def test_second_click_raises_the_windows_that_are_there(rig):
    async with closing(rig()) as it:
        await it.add()
        await it.add()
        assert [name for name, _ in it.windows.history] == [OURS]
        assert (OURS, {"do": "show"}) in it.windows.orders


async def test_service_has_a_window_of_its_own(rig):
    async with closing(rig()) as it:
        await it.add("window")
        page = it.windows.pages[THEIRS]
        assert (page.url, page.title, page.menu_title) == (URL, "Sign in to ChatGPT", "ChatGPT")
        assert page.host_in_title
        assert [text for text, _ in page.menu][:2] == ["Open in my browser", "Paste code…"]
        assert page.storage.parent == it.folders.fresh().parent
        it.windows.say(THEIRS, event="opened")
        await it.settle()
        assert OURS not in it.windows.pages
        assert it.remembered == [{"codex": "window"}]
        assert it.sign_ins.remembered == {"codex": "window"}
        assert it.program.flows["0"].state == "waiting"
        assert it.changes


async def test_chosen_place_is_where_it_opens_the_next_time(rig):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        assert list(it.windows.pages) == [THEIRS]
    async with closing(rig(codex="browser")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        assert it.windows.browsed == [URL]
        assert it.shows(OURS) == "browser/0"


async def test_what_has_to_be_asked_first_is_asked_all_the_same(rig):
    async with closing(rig(codex="window")) as it:
        it.program.refuses = AppError("It asks for your agreement first.", status=409)
        await it.sign_ins.begin("codex", "ChatGPT")
        assert it.shows(OURS) == "add/codex"
        assert it.program.flows == {}


async def test_program_that_does_not_run_is_an_answer(rig):
    async with closing(rig()) as it:
        failed = Future()
        failed.set_exception(AppError("Dragoman is not running."))
        it.sign_ins._call = lambda name, target: failed
        with pytest.raises(AppError, match="not running"):
            await it.sign_ins.begin("codex", "ChatGPT")


async def test_end_that_the_page_shows_is_seen_and_closes_itself(rig):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        folder = it.windows.pages[THEIRS].storage
        folder.mkdir(parents=True)
        it.windows.say(THEIRS, event="opened")
        it.windows.say(THEIRS, **HOME)
        await it.settle()
        it.program.become("0", state="done", account="codex/codex-1")
        await it.until(lambda: not it.windows.pages)
        await it.settle()
        assert [name for name, _ in it.windows.history] == [THEIRS]
        assert it.folders.of("codex/codex-1").is_dir()
        assert it.sign_ins._running == {}


async def test_end_that_no_page_of_theirs_shows_is_shown_by_ours(rig):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        it.windows.say(THEIRS, event="opened")
        it.windows.say(THEIRS, event="ended")  # while the service is being asked
        it.program.become("0", state="working")
        it.program.become("0", state="done", account="codex/codex-1")
        await it.until(lambda: it.shows(OURS) == "flow/0")
        it.windows.say(OURS, event="opened")
        it.windows.say(OURS, event="loaded", url="http://localhost:8317/page")
        await it.until(lambda: not it.windows.pages)


@pytest.mark.parametrize("name", [OURS, THEIRS])
async def test_sign_in_without_a_window_is_cancelled(rig, name):
    async with closing(rig()) as it:
        await it.add("window" if name == THEIRS else "browser")
        it.windows.say(THEIRS, event="opened")
        await it.settle()
        it.windows.say(name, event="ended")
        await it.settle()
        assert it.program.flows["0"].state == "cancelled"
        await it.until(lambda: it.sign_ins._running == {})
        assert it.windows.pages == {}


async def test_closing_our_page_before_anything_began_is_no_news(rig):
    async with closing(rig()) as it:
        await it.add()
        it.windows.say(OURS, event="ended")
        await it.settle()
        assert (it.program.flows, it.sign_ins._running) == ({}, {})


async def test_end_of_a_former_window_does_not_count(rig):
    async with closing(rig()) as it:
        await it.add("window")
        former = it.windows.heard[THEIRS]
        it.sign_ins.show("0", "window")
        await it.settle()
        former({"event": "ended"})
        await it.settle()
        assert it.program.flows["0"].state == "waiting"


async def test_menu_takes_the_page_to_the_browser(rig):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        it.windows.say(THEIRS, event="menu", name="browser")
        await it.settle()
        assert it.windows.browsed == [URL]
        assert it.shows(OURS) == "browser/0"
        assert THEIRS not in it.windows.pages
        assert it.program.flows["0"].state == "waiting"
        assert it.remembered == [{"codex": "browser"}]


async def test_menu_offers_to_paste_beside_the_page(rig):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        it.windows.say(THEIRS, event="menu", name="paste")
        await it.settle()
        assert it.shows(OURS) == "paste/0"
        assert THEIRS in it.windows.pages
        it.windows.say(OURS, event="loaded", url="http://localhost:8317/page")
        it.program.become("0", state="done", account="codex/codex-1")
        await it.until(lambda: not it.windows.pages)


async def test_menu_offers_the_other_ways(rig):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        it.windows.say(THEIRS, event="menu", name="ways")
        await it.settle()
        assert it.program.flows["0"].state == "cancelled"
        assert list(it.windows.pages) == [OURS]
        assert it.shows(OURS) == "add/codex"
        other = it.program.start(kind="device", url="https://auth.openai.com/codex/device")
        it.sign_ins.show(other.id, "here")
        await it.settle()
        assert list(it.windows.pages) == [OURS]


async def test_clicks_after_the_end_do_nothing(rig):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        it.program.become("0", state="failed")
        await it.until(lambda: it.shows(OURS) == "flow/0")
        it.windows.say(THEIRS, event="menu", name="browser")
        await it.settle()
        assert it.windows.browsed == []


@pytest.mark.parametrize(
    ("event", "page"),
    [
        (
            {"event": "loaded", "url": "https://auth.openai.com/x", "status": 403},
            "trouble/0/403/auth.openai.com",
        ),
        (
            {"event": "loaded", "url": "https://accounts.google.com/v3/signin/rejected"},
            "trouble/0/refused/accounts.google.com",
        ),
        (
            {"event": "loaded", "url": "https://accounts.google.com/o/oauth2", "refused": True},
            "trouble/0/refused/accounts.google.com",
        ),
        (
            {"event": "unreachable", "host": "auth.openai.com"},
            "trouble/0/unreachable/auth.openai.com",
        ),
        (
            {"event": "popup", "host": "accounts.google.com"},
            "trouble/0/popup/accounts.google.com",
        ),
    ],
)
async def test_page_that_cannot_go_on_is_explained_beside_it_once(rig, event, page):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        for _ in range(2):
            it.windows.say(THEIRS, **event)
            await it.settle()
        assert it.shows(OURS) == page
        assert THEIRS in it.windows.pages
        assert [name for name, _ in it.windows.history].count(OURS) == 1
        assert it.program.flows["0"].state == "waiting"


@pytest.mark.parametrize(
    "event",
    [
        {"event": "loaded", "url": "https://auth.openai.com/log-in", "status": 200},
        {"event": "loaded", "url": "https://auth.openai.com/log-in", "status": 0},
        {"event": "loaded", "url": "https://accounts.google.com/v3/signin/identifier"},
    ],
)
async def test_page_that_goes_on_is_left_alone(rig, event):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        it.windows.say(THEIRS, **event)
        await it.settle()
        assert list(it.windows.pages) == [THEIRS]


@pytest.mark.parametrize("state", ["failed", "expired", "other_identity"])
async def test_ours_says_why_in_the_place_of_theirs(rig, state):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        it.program.become("0", state=state)
        await it.until(lambda: it.shows(OURS) == "flow/0")
        await it.settle()
        assert list(it.windows.pages) == [OURS]
        again = it.program.start()
        it.sign_ins.show(again.id, "window")
        await it.settle()
        assert THEIRS in it.windows.pages
        assert not it.program.flows["0"].live


async def test_device_code_stays_beside_its_page(rig):
    async with closing(rig(codex="window")) as it:
        it.program.next = {"kind": "device", "url": "https://github.com/login/device"}
        await it.sign_ins.begin("codex", "ChatGPT")
        it.windows.say(THEIRS, event="opened")
        await it.settle()
        assert it.shows(OURS) == "flow/0"
        assert it.windows.pages[OURS].shift < 0 < it.windows.pages[THEIRS].shift
        it.windows.say(THEIRS, event="ended")
        await it.settle()
        assert it.program.flows["0"].state == "waiting"


async def test_cookie_is_taken_and_the_window_closes(rig):
    async with closing(rig(codex="window")) as it:
        it.program.next = {"kind": "secret", "url": "", "cookie": COOKIE}
        await it.sign_ins.begin("codex", "ChatGPT")
        page = it.windows.pages[THEIRS]
        assert page.url == "https://cto.new"
        assert (page.cookie.name, page.cookie.mark_host) == ("__client", "cto.new")
        page.storage.mkdir(parents=True)
        it.windows.say(THEIRS, event="loaded", url="https://clerk.cto.new/", status=404)
        it.windows.say(THEIRS, event="cookie", value="the-cookie")
        await it.settle()
        assert list(it.windows.pages) == [OURS]
        submitted = [target for name, target in it.program.asked if name == "sign_in_submit"]
        assert [msgspec.json.decode(text)["secret"] for text in submitted] == ["the-cookie"]
        it.windows.say(OURS, event="loaded", url="http://localhost:8317/page")
        it.program.become("0", state="done", account="codex/codex-1")
        await it.until(lambda: not it.windows.pages)
        await it.settle()
        assert not page.storage.exists()
        assert not it.folders.of("codex/codex-1").exists()


async def test_cookie_that_does_not_sign_in_is_said_by_our_page(rig):
    async with closing(rig(codex="window")) as it:
        it.program.next = {"kind": "secret", "url": "", "cookie": COOKIE}
        await it.sign_ins.begin("codex", "ChatGPT")
        it.program.refuses = AppError("This is not the cookie.")
        it.windows.say(THEIRS, event="cookie", value="wrong")
        await it.settle()
        assert it.shows(OURS) == "flow/0"
        assert it.program.flows["0"].state == "waiting"


async def test_account_keeps_its_folder_but_never_a_cookie_that_was_used(rig):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT", "codex/codex-1")
        name = "service codex/codex-1"
        assert it.windows.pages[name].storage == it.folders.of("codex/codex-1")
        it.windows.say(name, event="ended")
        await it.settle()
        it.program.next = {"kind": "secret", "url": "", "cookie": COOKIE}
        await it.sign_ins.begin("codex", "ChatGPT", "codex/codex-1")
        assert it.windows.pages[name].storage != it.folders.of("codex/codex-1")


async def test_folder_of_a_sign_in_that_came_to_nothing_goes(rig):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        folder = it.windows.pages[THEIRS].storage
        folder.mkdir(parents=True)
        it.windows.say(THEIRS, event="ended")
        await it.settle()
        assert not folder.exists()


async def test_key_has_no_page_but_ours(rig):
    async with closing(rig()) as it:
        await it.add()
        it.program.next = {"kind": "secret", "url": ""}
        told = it.program.start()
        it.sign_ins.show(told.id, "here")
        await it.settle()
        assert list(it.windows.pages) == [OURS]
        it.windows.say(OURS, event="ended")
        await it.settle()
        assert it.program.flows["0"].state == "cancelled"


async def test_code_of_a_sign_in_that_a_program_began_is_shown(rig):
    async with closing(rig()) as it:
        told = it.program.start(kind="device", url="https://github.com/login/device")
        it.sign_ins.show(told.id, "ours")
        await it.settle()
        assert list(it.windows.pages) == [OURS]
        assert it.shows(OURS) == "flow/0"
        assert it.remembered == []


async def test_key_that_is_asked_to_be_shown_has_its_field_on_our_page(rig):
    async with closing(rig(codex="browser")) as it:
        it.program.next = {"kind": "secret", "url": ""}
        await it.sign_ins.begin("codex", "ChatGPT")
        assert it.shows(OURS) == "flow/0"
        assert it.windows.browsed == []


async def test_dashboard_shows_by_itself_how_it_goes(rig):
    async with closing(rig()) as it:
        told = it.program.start()
        it.sign_ins.show(told.id, "window")
        await it.settle()
        assert list(it.windows.pages) == [THEIRS]
        it.sign_ins.show(told.id, "browser")
        await it.settle()
        assert it.windows.browsed == [URL]
        it.windows.say(OURS, event="loaded", url="http://localhost:8317/page")
        it.program.become("0", state="failed")
        await it.settle()
        other = it.program.start()
        it.sign_ins.show(other.id, "browser")
        await it.settle()
        it.program.become(other.id, state="done", account="codex/codex-1")
        await it.until(lambda: OURS not in it.windows.pages)


async def test_without_windows_pages_are_tabs_and_nothing_waits_for_their_end(rig):
    async with closing(rig()) as it:
        it.windows.possible = False
        assert (it.sign_ins.windows, it.sign_ins.line) == (False, "sudo install it")
        await it.add("browser")
        it.windows.say(OURS, event="browser")
        await it.settle()
        await it.sign_ins.begin("codex", "ChatGPT")  # it opens anew: nobody can raise a tab
        assert [name for name, _ in it.windows.history].count(OURS) == 2
    async with closing(rig()) as it:
        assert (it.sign_ins.windows, it.sign_ins.line) == (True, "")


async def test_window_that_became_a_tab_goes_on_there(rig):
    async with closing(rig()) as it:
        await it.add("window")
        it.windows.say(OURS, event="browser")
        it.windows.say(THEIRS, event="browser")
        await it.settle()
        assert it.program.flows["0"].state == "waiting"
        it.program.become("0", state="done", account="codex/codex-1")
        await it.until(lambda: it.sign_ins._running == {})


async def test_flow_that_nobody_knows_any_more_closes_its_windows(rig):
    async with closing(rig(codex="window")) as it:
        await it.sign_ins.begin("codex", "ChatGPT")
        it.program.flows.clear()
        it.program._tell()
        await it.until(lambda: not it.windows.pages)


async def test_what_pages_kept_goes_with_the_account(rig):
    async with closing(rig()) as it:
        gone, stays = it.folders.of("codex/codex-1"), it.folders.of("codex/codex-2")
        for folder in (gone, stays):
            folder.mkdir(parents=True)
        two = [statuses.account(f"codex/codex-{n}") for n in (1, 2)]
        await it.sign_ins.follow(None, statuses.status(accounts=tuple(two)))
        assert gone.exists()
        before = statuses.status(accounts=tuple(two))
        await it.sign_ins.follow(before, statuses.status(accounts=(two[1],)))
        assert (gone.exists(), stays.exists()) == (False, True)
