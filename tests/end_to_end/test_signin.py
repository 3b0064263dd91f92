"""The command line against the routes, with a made-up service behind them."""

import asyncio
import contextlib
import io
import os
import sys

import pytest

from app.__main__ import main
from app.instance import Instance
from app.paths import Paths
from tests.accounts.services import CANARY, granted
from tests.fakes.basic import Answered
from tests.server.desk import serving
from tests.server.test_signin import state_of


@contextlib.asynccontextmanager
async def instance(tmp_path, monkeypatch):
    """A server with the routes of accounts that the commands find."""
    for name in [*(n for n in os.environ if n.startswith("DRAGOMAN_")), "DISPLAY"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DRAGOMAN_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{CANARY}-key"))
    paths = Paths.find(os.environ)
    held = Instance.acquire(paths.data, paths.runtime)
    try:
        async with serving() as server:
            server.control.access.local_token = held.token
            held.publish(server.port)
            yield server
    finally:
        held.release()


async def dragoman(*words):
    return await asyncio.to_thread(main, words)


async def test_sign_in_list_and_log_out(tmp_path, monkeypatch, capsys):
    async with instance(tmp_path, monkeypatch) as server:
        running = asyncio.ensure_future(dragoman("login", "web", "--label", "work"))
        flow = None
        while flow is None or not flow.listening:
            await asyncio.sleep(0)
            flow = next(iter(server.desk.logins.flows()), None)
        server.send.script(granted(1))
        page = await server.come_back(f"/callback?state={state_of(flow.url)}&code=c")
        assert page.status == 200
        assert await running == 0
        out = capsys.readouterr().out
        assert flow.url in out
        assert out.endswith("Signed in: web/work (web-1@example.org, plus).\n")
        assert await dragoman("accounts", "--who") == 0
        assert "web-1@example.org" in capsys.readouterr().out
        server.send.script(Answered(200, {}, b"{}"))
        assert await dragoman("logout", "work") == 0
        assert capsys.readouterr().out == "web/work was revoked and removed.\n"
        assert server.vault.records == {}


async def test_device_code(tmp_path, monkeypatch, capsys):
    async with instance(tmp_path, monkeypatch) as server:
        server.send.script(Answered(200, {}, b'{"user_code":"AB-CD"}'), granted(1))
        server.typed.set()
        assert await dragoman("login", "web", "--way", "device") == 0
        assert "Signed in: web/web-1" in capsys.readouterr().out


async def test_piped_key(tmp_path, monkeypatch, capsys):
    async with instance(tmp_path, monkeypatch) as server:
        server.send.script(granted(1, id="", name="", plan=""))
        assert await dragoman("login", "keyed") == 0
        told = capsys.readouterr()
        assert told.out == "Signed in: keyed/keyed-1.\n"
        assert CANARY not in told.out + told.err
        assert server.roster.get("keyed/keyed-1").credential.secret == f"{CANARY}-key"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("login", "none"), 1, "There is no sign-in to 'none'."),
        (("login", "web", "--way", "none"), 1, "There are: browser, device, cookie."),
        (("login", "strict"), 1, "--agree 2026-02-19"),
        (("logout", "web"), 1, "There is no account 'web'."),
    ],
)
async def test_what_is_wrong_is_told(tmp_path, monkeypatch, capsys, words, code, told):
    async with instance(tmp_path, monkeypatch):
        assert await dragoman(*words) == code
        assert told in capsys.readouterr().err
