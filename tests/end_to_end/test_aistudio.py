"""The page's real script in Node, the real relay, and the official SDKs in all four dialects."""

import asyncio
import contextlib
import json
import queue
import re
import shutil
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from app.errors import UpstreamError
from app.http import HttpRequest, Limits
from app.server.relay import fill_app
from app.upstream.relay_page import Marks
from tests.end_to_end.running import Loop
from tests.end_to_end.test_sdks import CLIENTS, UNICODE, directive
from tests.fakes.aistudio import PIXEL, Sandbox
from tests.fakes.upstream import Upstream
from tests.server.relayed import build_relayed

HOST = Path(__file__).with_name("page_host.mjs")
FLASH, THINKER = "gemini-2.5-flash-aistudio", "gemini-3-pro-preview-aistudio"
DRAWER = "gemini-2.5-flash-image-aistudio"
SETTINGS = "providers: {aistudio: {pace: {at_once: 100, per_minute: 10000}}}\n"


def node():
    """Return the command that runs Node with WebSockets; skips where it cannot be had."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    asked = subprocess.run(
        [found, "--experimental-websocket", "-p", "typeof WebSocket"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.stdout.strip() != "function":
        pytest.skip("this node has no WebSocket")
    return [found, "--no-warnings", "--experimental-websocket", str(HOST)]


class Host:
    """A page in Node. ``shown`` has every state that it showed."""

    def __init__(self, command):
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines = queue.Queue()
        self.shown = []
        self._reading = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self._process.stdout, self._process.stderr)
        ]
        for thread in self._reading:
            thread.start()

    def _read(self, stream):
        for line in stream:
            self._lines.put(line)

    def until(self, text):
        """Wait until the page shows a state or detail with this text."""
        while True:
            line = self._lines.get(timeout=15)
            shown = json.loads(line)
            self.shown.append(shown)
            if text in f"{shown['text']} {shown['detail']}":
                return shown

    def press(self, name):
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)
        for thread in self._reading:
            thread.join(10)
        self._process.stdout.close()
        self._process.stderr.close()
        assert all(line.startswith("{") for line in self._lines.queue), list(self._lines.queue)


class World:
    """Dragoman with its relay, the stand-in for Google, and pages."""

    def __init__(self, service, loop, google, folder, command):
        self.service = service
        self.relay = service.relay
        self.google = google
        self.address = f"http://127.0.0.1:{service.port}"
        self._loop = loop
        self._folder = folder
        self._command = command

    def run(self, coroutine):
        return self._loop.run(coroutine)

    def key(self, account="aistudio/home"):
        body = json.dumps({"kind": "relay", "label": "page", "accounts": [account]}).encode()
        return self.run(self.service.create_key(body))[1]

    @contextlib.contextmanager
    def page(self, key=None, client_id="page-1", *, until="Serving"):
        key = self.key() if key is None else key
        script = fill_app(f"ws://127.0.0.1:{self.service.port}/v1/ws", key)
        path = self._folder / f"page-{len(list(self._folder.iterdir()))}.mjs"
        path.write_text(script["index.tsx"], "utf-8")
        host = Host([*self._command, str(path), self.google.url, client_id])
        try:
            host.until(until)
            yield host
        finally:
            host.close()

    def rest(self):
        async def forget():
            await self.service.inference.idle.wait()
            for account in self.service.roster.accounts():
                self.service.roster.forget(account.id)

        self.run(forget())


@contextlib.contextmanager
def world(home, command, *, marks=None, chunks="random"):
    loop = Loop()
    scripts = home / "scripts"
    scripts.mkdir()

    async def start():
        service = build_relayed(home, SETTINGS)
        service.marks = marks
        await service.start()
        await service.store.done.wait()
        return service

    google = Upstream(Sandbox(), chunks=chunks)
    try:
        loop.run(google.start())
        service = loop.run(start())
        try:
            yield World(service, loop, google, scripts, command)
        finally:
            loop.run(service.close())
            loop.run(google.stop())
    finally:
        loop.close()
    assert google.faulty == []


@pytest.fixture(scope="module")
def command():
    return node()


@pytest.fixture(scope="module")
def shared(command, tmp_path_factory):
    """A world with one page, for tests that leave both as they are."""
    with world(tmp_path_factory.mktemp("home"), command) as made, made.page():
        yield made


@pytest.fixture
def address(shared):
    shared.rest()
    return shared.address


@pytest.fixture(params=sorted(CLIENTS))
def dialect(request):
    return request.param


@pytest.fixture
def ask(address, dialect):
    """Make a client of the dialect for a model."""
    made = []

    def client(model):
        made.append(CLIENTS[dialect](address, model))
        return made[-1]

    yield client
    for one in made:
        one.sdk.close()


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request):
    return request.param


# --- what clients see ----------------------------------------------------------------------------


def test_text_arrives_unharmed(ask, stream):
    text = json.dumps(UNICODE, ensure_ascii=False)
    assert ask(FLASH).text(directive(text=text), stream) == UNICODE


def test_tools_are_called_and_their_results_used(ask, stream):
    tool_turn(ask(FLASH), stream)


def test_signed_thoughts_come_back(ask):
    tool_turn(ask(THINKER), stream=False)


def tool_turn(client, stream):
    prompt = "FAKE:" + "".join(f'tool=weather:{{"city":"{c}"}};' for c in ("Köln", "B"))
    calls, answer = client.tool_turn(prompt, ["weather"], ["sunny, 20 °C", "rain"], stream)
    assert calls == [("weather", {"city": "Köln"}), ("weather", {"city": "B"})]
    assert answer.index("sunny, 20 °C") < answer.index("rain")


def test_images_are_seen(ask):
    assert "image/png" in ask(FLASH).image()


def test_usage_is_complete(ask, stream):
    prompt = directive(usage="input:100,cached:40,output:20")
    assert ask(FLASH).usage(prompt, stream) == (140, 40, 20)


def test_a_limit_of_tokens_is_let_go_of(ask):
    assert ask(FLASH).stop("hello", max_tokens=5) == "end"


def test_a_schema_is_asked_for_in_words(ask, shared):
    ask(FLASH).structured(directive(text='"{}"'))
    sent = shared.google.requests[-1].json
    assert "generationConfig" not in sent
    assert '"city"' in sent["systemInstruction"]["parts"][-1]["text"]


def test_errors_keep_their_status(ask):
    client = ask(FLASH)
    for status in (400, 429):
        with pytest.raises(client.failed) as caught:
            client.text(directive(error=status))
        code = getattr(caught.value, "status_code", None) or getattr(caught.value, "code", None)
        assert code == status


def test_a_stream_that_is_cut_is_no_clean_end(ask):
    client = ask(FLASH)
    with pytest.raises((*client.failed, RuntimeError)):
        client.deltas(directive(text="a b c d e f g h", n=8, cut=5))


def test_two_thousand_deltas_arrive(address):
    text = " ".join(str(number) for number in range(2000))
    client = CLIENTS["messages"](address, FLASH)
    try:
        assert "".join(client.deltas(directive(text=json.dumps(text), n=2000))) == text
    finally:
        client.sdk.close()


def test_pictures_are_drawn(address):
    body = {"contents": [{"role": "user", "parts": [{"text": "a fox"}]}]}
    reply = httpx.post(f"{address}/v1beta/models/{DRAWER}:generateContent", json=body)
    parts = reply.json()["candidates"][0]["content"]["parts"]
    assert [p["inlineData"]["data"] for p in parts if "inlineData" in p] == [PIXEL]


def test_tokens_are_counted_by_google(address, shared):
    body = {"model": FLASH, "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}]}
    reply = httpx.post(f"{address}/v1/messages/count_tokens", json=body)
    assert reply.json()["input_tokens"] > 0
    assert shared.google.requests[-1].path.endswith("gemini-2.5-flash:countTokens")


def test_nothing_but_a_content_type_and_the_body_reaches_google(ask, shared):
    ask(FLASH).text("hello")
    sent = shared.google.requests[-1]
    text = json.dumps([dict(sent.headers), sent.query, sent.json])
    assert not re.search(r"dg-|authorization|x-api-key|x-goog|dragoman|anthropic", text, re.I)


# --- what the page does --------------------------------------------------------------------------


def said(reply):
    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line[:6] == "data: "]
    parts = [c["content"]["parts"] for e in events for c in e.get("candidates", ())]
    return "".join(part.get("text", "") for found in parts for part in found)


def prompt(text):
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


SLOW = "FAKE:text=a b c d e f;n=6;hang=event:20;"


def call(text):
    """A streamed call as the gateway makes it."""
    path = "v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    kind = (("content-type", "application/json"),)
    return HttpRequest("POST", f"aistudio://home/{path}", kind, json.dumps(prompt(text)).encode())


def stream_url(world, model=FLASH):
    return f"{world.address}/v1beta/models/{model}:streamGenerateContent?alt=sse"


def test_sixty_four_streams_at_once_do_not_mix(address, shared):
    async def all_of_them():
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(timeout=30, limits=limits) as client:

            async def one(number):
                text = " ".join([f"word{number}"] * 8)
                ask = prompt(f'FAKE:text="{text}";n=4;')
                return said(await client.post(stream_url(shared), json=ask)) == text

            return await asyncio.gather(*(one(number) for number in range(64)))

    assert all(shared.run(all_of_them()))


def test_a_client_that_leaves_ends_the_call_at_google(address, shared):
    left = shared.google.cancelled

    async def leave():
        await (await shared.relay.send(call(SLOW), Limits())).aclose()
        await shared.google.until_left(left + 1)

    shared.run(leave())


def test_the_page_calls_nothing_but_the_gemini_api(address, shared):
    async def elsewhere():
        page = shared.relay._choose("home")
        request = HttpRequest("GET", "aistudio://home/")
        with pytest.raises(UpstreamError) as caught:
            await page.run(request, "https://accounts.google.com/", Limits())
        return caught.value

    assert "calls the Gemini API only" in shared.run(elsewhere()).message


def test_a_slow_reader_pauses_the_page_and_loses_nothing(command, tmp_path):
    text = "x" * 2_000_000
    with world(tmp_path, command, marks=Marks(pause_bytes=1), chunks="whole") as made, made.page():

        async def slowly():
            reply = await made.relay.send(call(f"FAKE:text={text};n=200;"), Limits())
            sizes = []
            async for chunk in reply.chunks:
                sizes.append(len(chunk))
                page = made.relay._choose("home")
                await asyncio.sleep(0)
                assert all(call.waiting_bytes < 1_000_000 for call in page.calls.values())
            await reply.aclose()
            return sum(sizes)

        assert made.run(slowly()) > len(text)


def test_the_page_comes_back_by_itself_and_its_answers_end_at_once(command, tmp_path):
    with world(tmp_path, command) as made, made.page() as host:

        async def in_the_middle():
            reply = await made.relay.send(call(SLOW), Limits())
            made.relay.close_all()
            with pytest.raises(UpstreamError, match="before the answer was complete"):
                await reply.read()
            await reply.aclose()

        made.run(in_the_middle())
        host.until("Not connected")
        host.until("Serving aistudio/home")
        assert len(made.relay.pages()) == 1


def test_a_page_that_was_replaced_or_stopped_stays_away(command, tmp_path):
    with world(tmp_path, command) as made:
        key = made.key()
        with made.page(key) as old, made.page(key) as new:
            assert old.until("Another page took over")["state"] == "stopped"
            new.press("stop")
            assert new.until("Disconnected")["state"] == "stopped"
            new.press("settings")
            new.until("Serving aistudio/home")


def test_a_wrong_key_is_told_on_the_page(command, tmp_path):
    with world(tmp_path, command) as made:
        with made.page("dg-" + "x" * 32, until="is the key right"):
            assert made.relay.pages() == ()
        with made.page("", until="No relay key") as host:
            assert host.shown[-1]["state"] == "stopped"


def test_a_revoked_key_stops_the_page(command, tmp_path):
    with world(tmp_path, command) as made, made.page() as host:
        (record,) = made.run(made.service.list_keys())
        made.run(made.service.revoke_key(record.id))
        httpx.post(stream_url(made), json=prompt("x"))
        assert host.until("no longer valid")["state"] == "stopped"
