import asyncio
import socket

import pytest

from app.accounts.flow import Flow
from app.errors import BugError, RequestError
from app.providers.signin import Listen
from app.server.callback import CallbackListeners, is_navigation, render_page
from app.server.listen import ListenError, bind
from tests.server.desk import CallbackPort, free_port


def flow(state="done", **more):
    values = {"account": "web/web-1", "name": "anna@example.org", "plan": "max"} | more
    return Flow("id", "web", "browser", "browser", state, 0.0, 300.0, **values)


class Receiver:
    """Takes what comes, and answers as a test says."""

    def __init__(self, answer=None):
        self.answer = flow() if answer is None else answer
        self.got = []
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, state, code="", error="", *, at=None):
        self.got.append((state, code, error, at))
        self.arrived.set()
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def listen():
    return Listen(free_port(), "/auth/callback")


async def opened(listen, answer=None):
    listeners = CallbackListeners()
    listeners.receive = Receiver(answer)
    assert await listeners.open(listen) == ""
    return listeners


def is_open(port, host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        return sock.connect_ex((host, port)) == 0


async def test_port_is_open_on_both_loopback_addresses_and_only_meanwhile(listen):
    assert not is_open(listen.port)
    listeners = await opened(listen)
    for host in ("127.0.0.1", "::1"):
        reply = await CallbackPort(listen.port, host).get("/auth/callback?state=s1&code=c1")
        assert reply.status == 200
    assert listeners.receive.got == [("s1", "c1", "", listen)] * 2
    await listeners.close(listen)
    assert not is_open(listen.port)
    assert not is_open(listen.port, "::1")
    assert listeners.ports == ()


async def test_port_cannot_be_reached_from_other_addresses(listen):
    listeners = await opened(listen)
    for name in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}:
        if not name.startswith("127.") and name != "::1" and "%" not in name:
            assert not is_open(listen.port, name)
    await listeners.aclose()


async def test_flows_of_one_service_share_the_port(listen):
    listeners = await opened(listen)
    assert await listeners.open(listen) == ""
    await listeners.close(listen)
    assert is_open(listen.port)
    await listeners.close(listen)
    assert not is_open(listen.port)
    await listeners.close(listen)


async def test_page_tells_who_signed_in_and_needs_nothing_from_elsewhere(listen):
    listeners = await opened(listen)
    reply = await CallbackPort(listen.port).get("/auth/callback?state=s&code=c")
    text = reply.body.decode()
    assert "web/web-1 is signed in as anna@example.org (max)." in text
    assert "http" not in text.replace("<!doctype html>", "")
    assert "<script" not in text
    assert reply.header("content-security-policy").startswith("default-src 'none'")
    assert reply.header("referrer-policy") == "no-referrer"
    assert reply.header("cache-control") == "no-store"
    assert reply.header("server") is None
    await listeners.aclose()


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (flow("failed", error="The service said no."), 400, "The service said no."),
        (flow("other_identity", error="You signed in as bob."), 200, "You signed in as bob."),
        (flow("cancelled", error=""), 400, "did not succeed"),
        (RequestError("Used already.", status=404), 404, "Used already."),
        (BugError("A fault."), 500, "A fault."),
    ],
)
async def test_failure_has_a_page_of_its_own(listen, answer, status, words):
    listeners = await opened(listen, answer)
    reply = await CallbackPort(listen.port).get("/auth/callback?state=s&code=c")
    assert reply.status == status
    assert words in reply.body.decode()
    await listeners.aclose()


async def test_texts_cannot_become_parts_of_the_page(listen):
    listeners = await opened(listen, flow(name="<img src=x>", account='"><b>'))
    text = (await CallbackPort(listen.port).get("/auth/callback?state=s&code=c")).body.decode()
    assert "<img" not in text
    assert "<b>" not in text
    await listeners.aclose()


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/favicon.ico", {}),
        ("GET", "/callback?state=s&code=c", {}),
        ("GET", "/auth/callback", {}),
        ("GET", "/auth/callback?code=c", {}),
        ("GET", "/auth/callback?state=&code=c", {}),
        ("GET", "/auth/callback?state=s&state=t&code=c", {}),
        ("GET", "/auth/callback?state=s&code=c&code=d", {}),
        ("GET", f"/auth/callback?state={'s' * 5_000}&code=c", {}),
        ("GET", "/auth/callback?state=s&code=c" + "&x=1" * 60, {}),
        ("POST", "/auth/callback?state=s&code=c", {}),
        ("HEAD", "/auth/callback?state=s&code=c", {}),
        ("PUT", "/auth/callback?state=s&code=c", {}),
        ("OPTIONS", "/auth/callback?state=s&code=c", {}),
        ("GET", "/auth/callback?state=s&code=c", {"Host": "evil.test"}),
        ("GET", "/auth/callback?state=s&code=c", {"Host": "localhost"}),
        ("GET", "/auth/callback?state=s&code=c", {"Sec-Fetch-Mode": "no-cors"}),
        (
            "GET",
            "/auth/callback?state=s&code=c",
            {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        ),
    ],
)
async def test_everything_else_is_404_and_takes_nothing(listen, method, path, headers):
    listeners = await opened(listen)
    reply = await CallbackPort(listen.port).ask(method, path, b"", headers)
    assert reply.status == 404
    assert listeners.receive.got == []
    await listeners.aclose()


async def test_error_of_the_service_is_handed_on(listen):
    listeners = await opened(listen)
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    await CallbackPort(listen.port).get("/auth/callback?state=s&error=access_denied", headers)
    assert listeners.receive.got == [("s", "", "access_denied", listen)]
    await listeners.aclose()


async def test_page_that_is_being_written_is_finished_after_the_port_was_closed(listen):
    listeners = await opened(listen)
    listeners.receive.gate.clear()
    asking = asyncio.ensure_future(CallbackPort(listen.port).get("/auth/callback?state=s&code=c"))
    await listeners.receive.arrived.wait()
    closing = asyncio.ensure_future(listeners.close(listen))
    await asyncio.sleep(0)
    assert not is_open(listen.port)
    listeners.receive.gate.set()
    assert (await asking).status == 200
    await closing


async def test_connection_without_a_request_holds_nothing_up(listen):
    listeners = await opened(listen)
    reader, writer = await asyncio.open_connection("127.0.0.1", listen.port)
    await asyncio.wait_for(listeners.close(listen), 5)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_port_of_which_somebody_has_a_half_is_not_used(listen, host):
    taken = bind(listen.port, [host])
    listeners = CallbackListeners()
    reason = await listeners.open(listen)
    assert reason.startswith(f"Port {listen.port}, to which the browser will come back, is used")
    assert "server: {port" not in reason
    assert listeners.ports == ()
    for sock in taken:
        sock.close()
    assert await listeners.open(listen) == ""
    await listeners.aclose()


@pytest.mark.parametrize(
    ("code", "words"),
    [("port_not_permitted", "does not let Dragoman use"), ("address_not_available", "cannot be")],
)
async def test_port_that_the_system_keeps_is_told(listen, code, words):
    def refuse(_port):
        raise ListenError(code, "No.", "Set `server: {port: …}`.")

    assert words in await CallbackListeners(refuse).open(listen)


@pytest.mark.parametrize(
    ("headers", "is_page"),
    [
        ({}, True),
        ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, True),
        ({"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, False),
        ({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, False),
        ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "frame"}, False),
    ],
)
def test_navigations_are_told_by_what_browsers_say(headers, is_page):
    assert is_navigation(headers) is is_page


def test_code_and_link_are_shown():
    page = render_page("Type", "Here.", code="AB-<CD>", link='https://x.test/?a="').decode()
    assert "AB-&lt;CD&gt;" in page
    assert 'href="https://x.test/?a=&quot;"' in page
