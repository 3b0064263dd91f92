"""Signing in by the desktop: from a click in the tray's menu to an answer of the service.

Everything is real but the services: the menu over a session bus, the windows on a screen without
a monitor, the proxy. Somebody sits in front of the windows (``person``).
"""

import asyncio
import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from app.cli.launch import own_environment
from app.desktop.windows import here_line
from app.providers.copilot import copilot
from app.providers.ctonew import ctonew
from app.providers.ctonew_session import Sites
from app.providers.gemini import GEMINI
from app.providers.github import GitHub
from tests.desktop.conftest import bus, screen  # noqa: F401 - fixtures
from tests.end_to_end.desktop_program import (
    AGREE,
    GO_TO_ACCOUNTS,
    DesktopProgram,
    Redirected,
    press,
    runner_of,
    seen_in,
    type_in,
    until,
)
from tests.end_to_end.running import Loop, fakes
from tests.fakes.basic import Clock
from tests.fakes.claude_oauth import ClaudeOAuth
from tests.fakes.clerk import PAGE as PAGE_OF_CTO
from tests.fakes.clerk import Clerk
from tests.fakes.codex_backend import CodexBackend
from tests.fakes.copilot import Copilot
from tests.fakes.enginelabs import CtoNew, EngineLabs
from tests.fakes.gemini import Gemini
from tests.fakes.github import GitHub as FakeGitHub
from tests.fakes.identity import ChatGptIdentity, ClaudeIdentity, code_in
from tests.fakes.service import KEY, Reply, Service

pytestmark = pytest.mark.gui
PROGRAM = "tests.end_to_end.desktop_program"

PAGE = """<!doctype html><title>Sign in</title>
<style>body {{ font: 18px sans-serif; margin: 3em; }}</style>
<h1>{name}: a page of the test</h1>
<script>
const hooks = window.webkit && window.webkit.messageHandlers ? "hooks" : "none";
const ask = () => fetch("/person?api=" + typeof window.pywebview + "&hooks=" + hooks)
  .then((answer) => answer.text())
  .then((text) => {{ if (text === "agrees") {{ {then} }} else setTimeout(ask, 100); }});
ask();
</script>"""
GO_ON = "location.href = location.href + '&agreed=1';"


class Person(Service):
    """Sits in front of the pages of services: the pages ask what to do until they are told."""

    name = "person"

    def __init__(self):
        super().__init__()
        self.agrees = False
        self.injected = set()
        """What pages see of the window that they are in."""

    def claims(self, call):
        return call.path in ("/person", "/favicon.ico")

    def answer(self, call):
        if call.path == "/person":
            self.injected.add((call.query["api"], call.query["hooks"]))
        return Reply(200, {"content-type": "text/plain"}, b"agrees" if self.agrees else b"")


def page(name, then=GO_ON, status=200):
    return Reply(status, {"content-type": "text/html"}, PAGE.format(name=name, then=then).encode())


class Paged:
    """Adds the page on which people sign in to a fake service."""

    page_status = 200

    def _authorize(self, query):
        if query.pop("agreed", None) is not None:
            return super()._authorize(query)
        return page(self.name, status=self.page_status)


class ChatGpt(Paged, ChatGptIdentity):
    pass


class Claude(Paged, ClaudeIdentity):
    pass


@pytest.fixture
def panel(bus):  # noqa: F811 - the fixture
    from tests.desktop.session_bus import Panel

    found = Panel(bus.address)
    yield found
    found.close()


@pytest.fixture
def start(bus, panel, screen, tmp_path):  # noqa: F811 - the fixtures
    """Starts the program; returns it with a client of its menu."""
    if runner_of(screen) is None:
        pytest.skip(f"there is no web view; {here_line()}")
    open_ones = []

    def begin(providers, **options):
        from tests.desktop.session_bus import Client

        program = DesktopProgram(tmp_path, screen, providers, **options).__enter__()
        open_ones.append(program)
        assert panel.registered.wait(30)
        client = Client(bus.address, panel.items[-1])
        open_ones.append(client)
        return program, client

    yield begin
    for one in reversed(open_ones):
        one.__exit__() if isinstance(one, DesktopProgram) else one.close()


def click(client, *path):
    """Click an entry of the menu, once it is there."""

    def found():
        try:
            return client.menu().find(*path)
        except AssertionError:
            return None

    client.click(until(found, lambda: client.menu().texts()))


def ask(program, model):
    """Send a request to the program and return the answer's text."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{program.service.port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
        told = json.loads(answer.read())
    return told["choices"][0]["message"]["content"]


def shows(client, title, *names):
    """Wait until the menu's list of accounts shows a name below a service."""

    def found():
        texts = [entry.text for entry in client.menu().find("Accounts").children]
        return title in texts and any(t.startswith(n) for t in texts for n in names)

    return until(found, lambda: [e.text for e in client.menu().find("Accounts").children])


def location_after(url):
    """Return where a page sends the browser; nobody goes there."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        answer.read()
        return answer.headers["location"]


def has_account(program, account):
    until(lambda: program.service.roster.get(account), program.service.roster.accounts)
    # its models are asked for when it has come
    until(lambda: program.service.gateway.catalog.names(program.service.roster.get(account)))


def dashboard_shows(program, client, *words):
    """Open the dashboard by the menu and wait for its page of accounts to have the words."""
    program.deeds({"Dragoman": [GO_TO_ACCOUNTS]})
    click(client, "Open dashboard")
    program.see("Dragoman", *words)
    program.windows.close("dashboard")


@contextlib.contextmanager
def chatgpt():
    """A fake ChatGPT; yields its identity, the person in front of it and the provider."""
    identity, person = ChatGpt(Clock()), Person()
    with fakes(person, identity, CodexBackend(identity)) as town:
        identity.url = town.url
        yield identity, person, {"codex": Redirected.codex(identity)(town.url)}


TITLE = "Dragoman: sign in to ChatGPT (Codex)"
THEIRS = "Sign in to ChatGPT (Codex) (127.0.0.1)"
BEFORE = {"places": {"codex": "window"}}
"""The user has chosen the window the last time."""


def test_chatgpt_in_a_window(start):
    with chatgpt() as (identity, person, providers):
        program, client = start(providers, deeds={TITLE: []})
        click(client, "Accounts", "Add account", "ChatGPT")
        program.see(TITLE, "Sign in\nIn my browser")
        program.shoot("signin-choice")
        program.deeds({TITLE: [press("Sign in")]})
        there = program.see(THEIRS)
        assert there["menu"] == "ChatGPT (Codex): 127.0.0.1"
        until(lambda: person.injected)
        program.shoot("signin-service")
        person.agrees = True
        home = program.see("Sign in to ChatGPT (Codex) (localhost)")
        program.flow("done")
        program.shoot("signin-done")
        program.alone()
        assert home["menu"] == "ChatGPT (Codex): localhost"
        assert person.injected == {("undefined", "none")}
        shows(client, "ChatGPT (Codex)", identity.person.email)
        has_account(program, "codex/codex-1")
        dashboard_shows(program, client, "codex-1", identity.person.email)
        assert ask(program, "gpt-5.5")
        kept = program.home / "windows" / "accounts" / "codex" / "codex-1"
        until(kept.is_dir)
        assert not any((program.home / "windows" / "new").iterdir())
        told = json.loads((program.home / "desktop.json").read_text())
        assert told["places"] == {"codex": "window"}
        assert program.browsed == []


def test_chosen_place_is_remembered_and_signing_in_again_keeps_what_the_page_kept(start):
    with chatgpt() as (identity, person, providers):
        program, client = start(providers, preferences=BEFORE)
        person.agrees = True
        click(client, "Accounts", "Add account", "ChatGPT")
        program.flow("done")
        program.alone()
        assert all(one["title"] != TITLE for one in program.seen())
        folder = program.home / "windows" / "accounts" / "codex" / "codex-1"
        before = until(lambda: folder.exists() and folder.stat().st_ino)
        click(client, "Accounts", identity.person.email, "Sign in again")
        until(lambda: len(program.flows()) == 2)
        assert program.flow("done").repaired
        program.alone()
        assert folder.stat().st_ino == before


def test_window_that_is_killed_ends_the_sign_in(start):
    with chatgpt() as (_, _, providers):
        program, client = start(providers, preferences=BEFORE)
        click(client, "Accounts", "Add account", "ChatGPT")
        os.kill(program.see(THEIRS)["pid"], signal.SIGKILL)
        assert program.flow("cancelled").error == "The sign-in was cancelled."
        program.alone()
        assert program.browsed == []
        assert not any((program.home / "windows" / "new").iterdir())


def test_service_page_goes_over_to_the_browser_and_the_code_is_pasted(start):
    with chatgpt() as (identity, _, providers):
        program, client = start(
            providers,
            preferences=BEFORE,
            deeds={"Sign in to ChatGPT (Codex)": ["menu:Open_in_my_browser"]},
        )
        click(client, "Accounts", "Add account", "ChatGPT")
        program.see(TITLE, "The page is open in your browser", "Copy the link")
        program.shoot("signin-browser")
        until(lambda: program.browsed)
        (url,) = program.browsed
        assert url == program.flow("waiting").url
        until(lambda: program.windows.names() == ("sign-in codex",))
        code, state = code_in(location_after(f"{url}&agreed=1"))
        program.deeds({TITLE: [type_in(f"{code}#{state}")]})
        program.see(TITLE, identity.person.email, "plan plus", "closes by itself")
        program.shoot("signin-done-ours")
        program.alone()
        told = json.loads((program.home / "desktop.json").read_text())
        assert told["places"] == {"codex": "browser"}
        # From now on a click opens the browser at once.
        click(client, "Accounts", "Add account", "ChatGPT")
        until(lambda: len(program.browsed) == 2)
        program.see(TITLE, "The page is open in your browser")


def test_page_that_refuses_the_window_is_explained_and_left_alone(start):
    with chatgpt() as (identity, _, providers):
        identity.page_status = 403
        program, client = start(providers, preferences=BEFORE)
        click(client, "Accounts", "Add account", "ChatGPT")
        program.see(TITLE, "127.0.0.1 answered the window with an error (403)", "Go on in your")
        program.shoot("signin-refused")
        assert set(program.windows.names()) == {"sign-in codex", "service codex"}
        program.deeds({TITLE: [press("In my browser")]})
        until(lambda: program.browsed)
        until(lambda: program.windows.names() == ("sign-in codex",))
        assert program.flow("waiting")


def test_sign_in_that_fails_says_why_and_what_next(start):
    with chatgpt() as (identity, person, providers):
        identity.consents = False
        person.agrees = True
        program, client = start(providers, preferences=BEFORE)
        click(client, "Accounts", "Add account", "ChatGPT")
        program.see(TITLE, "without a sign-in: access_denied", "Start again")
        program.shoot("signin-failed")
        until(lambda: program.windows.names() == ("sign-in codex",))
        identity.consents = True
        program.deeds({TITLE: [press("Start again"), press("Sign in")]})
        program.flow("done")
        program.alone()


def test_other_ways_are_offered_beside_the_page(start):
    with chatgpt() as (_, _, providers):
        deeds = {"Sign in to ChatGPT (Codex)": ["menu:Other_ways"]}
        program, client = start(providers, preferences=BEFORE, deeds=deeds)
        click(client, "Accounts", "Add account", "ChatGPT")
        program.see(TITLE, "Sign in with a code")
        program.flow("cancelled")
        until(lambda: program.windows.names() == ("sign-in codex",))


def test_claude_with_consent(start):
    identity, person = Claude(Clock()), Person()
    with fakes(person, identity, ClaudeOAuth(identity)) as town:
        provider = Redirected.claude(identity)(town.url)
        title = "Dragoman: sign in to Claude (subscription)"
        program, client = start({"claude": provider}, deeds={})
        click(client, "Accounts", "Add account", "Claude")
        first = program.see(title, "I have read this and turn it on.")
        assert " ".join(provider.consent.text.split()) in " ".join(first["text"].split())
        program.shoot("signin-consent")
        assert program.flows() == ()
        assert all("/oauth" not in call.path for call in town.requests)
        program.deeds({title: [AGREE, press("Sign in")]})
        program.see("Sign in to Claude (subscription) (127.0.0.1)")
        person.agrees = True
        program.flow("done")
        program.alone()
        shows(client, "Claude (subscription)", identity.person.email)
        has_account(program, "claude/claude-1")
        (record,) = program.service.desk.book.records()
        assert record.consent == provider.consent.version
        dashboard_shows(program, client, "claude-1", identity.person.email, "agreed")
        assert ask(program, "claude-sonnet-5")


@pytest.fixture
def typed(start):
    """Set when somebody has typed the code; in any case before the program ends."""
    found = threading.Event()
    yield found
    found.set()


def until_typed(clock, typed):
    """Return what waits between two questions to a service: until somebody has typed the code."""

    async def wait(seconds):
        clock.advance(seconds)
        await asyncio.to_thread(typed.wait)

    return wait


def test_chatgpt_by_device_code(start, typed):
    with chatgpt() as (identity, _, providers):
        deeds = {TITLE: [press("Sign in with a code")]}
        program, client = start(providers, deeds=deeds, sleep=until_typed(identity.now, typed))
        click(client, "Accounts", "Add account", "ChatGPT")
        program.see(TITLE, "Type this code", "Copy the code", "Waiting for ChatGPT (Codex).")
        code = program.flow("waiting").user_code
        assert code in program.see(TITLE, "Type this code")["text"]
        identity.approve(code)
        typed.set()
        program.see(TITLE, identity.person.email, "plan plus", "closes by itself")
        program.alone()
        shows(client, "ChatGPT (Codex)", identity.person.email)


class GitHubPages(FakeGitHub):
    """With the page on which the code is typed."""

    def claims(self, call):
        return call.path == "/login/device" or super().claims(call)

    def answer(self, call):
        if call.path == "/login/device":
            return page("GitHub", then="")
        return super().answer(call)


def test_copilot_by_device_code(start, typed):
    clock, person = Clock(), Person()
    github = GitHubPages(clock)
    with fakes(person, github, Copilot(github)) as town:
        github.base = url = town.url
        apis = (("api.individual.githubcopilot.com", url),)
        here = GitHub("github.com", url, url, url, apis=apis)
        provider = copilot(here, lambda domain: replace(here, host=domain))
        title = "Dragoman: sign in to GitHub Copilot"
        program, client = start(
            {"copilot": provider},
            deeds={title: [press("Sign in")]},
            sleep=until_typed(clock, typed),
        )
        click(client, "Accounts", "Add account", "GitHub Copilot")
        shown = program.see(title, "Type this code", "Waiting for GitHub Copilot", "Copy the code")
        theirs = program.see("Sign in to GitHub Copilot (127.0.0.1)")
        assert theirs["menu"] == "GitHub Copilot: 127.0.0.1"
        program.shoot("signin-device")
        code = program.flow("waiting").user_code
        assert code in shown["text"]
        assert set(program.windows.names()) == {"sign-in copilot", "service copilot"}
        click_free = until(
            lambda: [
                t for t in client.menu().texts() if t.startswith(f"GitHub Copilot: type {code}")
            ]
        )
        assert click_free
        github.approve(code)
        typed.set()
        program.see(title, "octo", "closes by itself")
        program.alone()
        shows(client, "GitHub Copilot", "octo")
        has_account(program, "copilot/copilot-1")
        dashboard_shows(program, client, "copilot-1", "octo")
        assert ask(program, "gpt-4.1")


class ClerkPages(Clerk):
    """With the page of cto.new, on ``localhost``, and its sign-in, on ``127.0.0.1``."""

    def claims(self, call):
        return call.path in ("/", "/in", "/signed-in") or super().claims(call)

    def answer(self, call):
        here = f"http://localhost:{self.port}"
        there = f"http://127.0.0.1:{self.port}"
        if call.path == "/in":
            cookie = f"__client={self.sign_in().cookie}; Path=/; HttpOnly"
            return Reply(302, {"location": f"{here}/signed-in", "set-cookie": cookie})
        if call.path == "/signed-in":
            reply = page("cto.new", then="")
            reply.headers["set-cookie"] = "__client_uat=1795000000; Path=/"
            return reply
        if call.path == "/" and call.headers["host"].startswith("127.0.0.1"):
            return Reply(404, {"content-type": "application/json"}, b"{}")
        if call.path == "/":
            return page("cto.new", then=f"location.href = '{there}/in';")
        return super().answer(call)


@contextlib.contextmanager
def cto(clerk, *more):
    """The fakes of cto.new on a loop of their own."""
    loop = Loop()
    town = CtoNew(clerk, EngineLabs(clerk))
    town.services = (*more, *town.services)
    try:
        loop.run(town.__aenter__())
        try:
            yield town
        finally:
            loop.run(town.__aexit__(None, None, None))
    finally:
        loop.close()


def test_ctonew_by_cookie(start):
    clerk, person = ClerkPages(time.time), Person()
    with cto(clerk, person) as town:
        clerk.port = town.port
        sites = Sites(clerk=town.url, api=town.url, page=f"http://localhost:{town.port}")
        provider = ctonew(replace(sites, page=PAGE_OF_CTO))
        way = provider.sign_ins["cookie"]
        seen_at = replace(way.cookie, url=f"{sites.page}/")
        ways = {**provider.sign_ins, "cookie": replace(way, cookie=seen_at)}
        provider = replace(provider, sign_ins=ways)
        title = "Dragoman: sign in to cto.new"
        program, client = start({"ctonew": provider}, deeds={title: [AGREE, press("Sign in")]})
        click(client, "Accounts", "Add account", "cto.new")
        program.see("Sign in to cto.new (localhost)")
        person.agrees = True
        program.see(title, "someone@example.com", "closes by itself")
        program.flow("done")
        program.alone()
        assert clerk.replayed == 0
        shows(client, "cto.new", "someone@example.com")
        has_account(program, "ctonew/ctonew-1")
        dashboard_shows(program, client, "ctonew-1", "someone@example.com")
        assert ask(program, "ctonew-gpt_5_4")
        # The cookie is another one with each use: what the page kept is worth nothing.
        assert not (program.home / "windows" / "accounts" / "ctonew").exists()
        assert not any((program.home / "windows" / "new").iterdir())


def test_gemini_by_key(start):
    with fakes(Gemini()) as town:
        service = replace(GEMINI, base_url=town.url)
        steps = service.sign_ins["key"]
        typed = replace(steps, run=lambda text, base: steps.run(text, base or town.url))
        provider = replace(service, sign_ins={"key": typed})
        title = "Dragoman: sign in to Gemini API"
        program, client = start({"gemini": provider}, deeds={title: [type_in("wrong-key-of-mine")]})
        click(client, "Accounts", "Add account", "Gemini")
        program.see(title, "does not accept this key")
        program.shoot("signin-key")
        program.deeds({title: [type_in("wrong-key-of-mine"), type_in(KEY)]})
        program.see(title, "gemini/gemini-1 is signed in", "closes by itself")
        program.alone()
        shows(client, "Gemini API", "gemini-1")
        has_account(program, "gemini/gemini-1")
        dashboard_shows(program, client, "gemini-1")
        assert ask(program, "gemini-2.5-pro")


def test_without_a_web_view_the_same_goes_on_in_the_browser(bus, panel, tmp_path):  # noqa: F811
    from tests.desktop.session_bus import Client

    with chatgpt() as (identity, _, providers):
        program = DesktopProgram(tmp_path, "", providers, line="sudo install it")
        with program, contextlib.closing(Client(bus.address, registered(panel))) as client:
            click(client, "Accounts", "Add account", "ChatGPT")
            until(lambda: program.browsed)
            (page,) = program.browsed
            own = f"http://localhost:{program.service.port}"
            assert page.startswith(f"{own}/admin/static/signin.html?show=add/codex#ticket=")
            assert program.told == ["For windows of its own, Dragoman needs this: sudo install it"]
            places = control(program, "GET", "/admin/accounts/places")
            assert (places["windows"], places["line"]) == (False, "sudo install it")
            # What the page does there when "In my browser" is pressed.
            flow = control(program, "POST", "/admin/accounts/codex/oauth/start", {})
            path = f"/admin/accounts/flows/{flow['flow']}/place"
            assert control(program, "POST", path, {"place": "browser"}) == {"shown": True}
            until(lambda: program.browsed[-1] == flow["url"])
            with urllib.request.urlopen(f"{flow['url']}&agreed=1", timeout=30) as home:  # noqa: S310
                assert identity.person.email in home.read().decode()
            program.flow("done")
            shows(client, "ChatGPT (Codex)", identity.person.email)
            # A program that begins a sign-in has its page opened where the user had it.
            again = control(program, "GET", "/v1/auth/chatgpt/login")
            until(lambda: program.browsed[-1] == again["url"])


def registered(panel):
    assert panel.registered.wait(30)
    return panel.items[-1]


def control(program, method, path, body=None):
    """Ask one of the program's own routes, as its pages do."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{program.service.port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"X-Dragoman-Token": program.service.instance.token},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own address
        return json.loads(answer.read())


def test_no_window_outlives_a_program_that_was_killed(bus, panel, screen, tmp_path):  # noqa: F811
    if runner_of(screen) is None:
        pytest.skip(f"there is no web view; {here_line()}")
    from tests.desktop.session_bus import Client

    with chatgpt() as (identity, _, _):
        program = subprocess.Popen(
            [sys.executable, "-m", PROGRAM, str(tmp_path), screen, identity.redirect, identity.url],
            env=own_environment() | {"DBUS_SESSION_BUS_ADDRESS": bus.address},
            stdout=subprocess.PIPE,
        )
        try:
            assert program.stdout.readline() == b"ready\n"
            assert panel.registered.wait(30)
            client = Client(bus.address, panel.items[-1])
            click(client, "Accounts", "Add account", "ChatGPT")
            seen = until(lambda: [one for one in seen_in(tmp_path) if one["title"] == THEIRS])
            window = os.pidfd_open(seen[0]["pid"])
            client.close()
            program.kill()
            program.wait(30)
            ended, _, _ = select.select([window], [], [], 30)  # readable once it has ended
            os.close(window)
            assert ended, "the window is still there"
        finally:
            program.kill()
            program.wait(30)
            program.stdout.close()
