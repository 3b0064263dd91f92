import asyncio
import types
from dataclasses import replace

import msgspec
import pytest

from app.desktop.flows import Flows
from app.desktop.told import Cookie, Told
from app.errors import AppError, RequestError
from app.providers.signin import CookiePage
from tests.accounts import services
from tests.server.desk import serving
from tests.server.test_signin import state_of

PAGE = CookiePage("https://web.test/in", "c", "id.web.test", "https://id.web.test/", "uat")


class Commands:
    def __init__(self, server):
        self.tickets = []
        sessions = types.SimpleNamespace(new_ticket=lambda: "the-ticket")
        program = types.SimpleNamespace(desk=server.desk, sessions=sessions, port=8317)
        self.slept = asyncio.Event()
        self.flows = Flows(program, self._sleep)

    async def _sleep(self, _seconds):
        self.slept.set()
        await asyncio.sleep(0)

    async def ask(self, name, target):
        return await self.flows.commands[name](target)

    async def told(self, name, target):
        return msgspec.json.decode(await self.ask(name, target), type=Told)


async def test_pages_have_addresses_with_tickets():
    async with serving() as server:
        commands = Commands(server)
        start = "http://localhost:8317/admin/static/signin.html?show="
        for name, target, page in (
            ("add_account", "web", "add/web"),
            ("sign_in", "web/a label", "again/web/a%20label"),
            ("sign_in_page", "flow/00", "flow/00"),
        ):
            assert await commands.ask(name, target) == f"{start}{page}#ticket=the-ticket"


async def test_flow_is_begun_followed_and_ended():
    async with serving() as server:
        commands = Commands(server)
        told = await commands.told("sign_in_start", '{"provider": "web"}')
        assert (told.provider, told.title, told.kind, told.state) == (
            *("web", server.providers["web"].title),
            *("browser", "waiting"),
        )
        assert (told.repair, told.cookie, told.live) == ("", None, True)
        waiting = asyncio.ensure_future(commands.told("sign_in_wait", f"{told.id} waiting"))
        await commands.slept.wait()
        server.send.script(services.granted(1))
        await server.come_back(f"/callback?state={state_of(told.url)}&code=c")
        later = await waiting
        while later.live:
            later = await commands.told("sign_in_wait", f"{told.id} {later.state}")
        assert (later.state, later.account, later.repair) == ("done", "web/web-1", "")


async def test_account_to_repair_is_told_to_the_end():
    async with serving(services.record()) as server:
        commands = Commands(server)
        told = await commands.told("sign_in_start", '{"provider": "web", "account": "web/web-1"}')
        assert told.repair == "web/web-1"
        assert (await commands.told("sign_in_cancel", told.id)).state == "cancelled"
        again = await commands.told("sign_in_wait", f"{told.id} ")
        assert (again.state, again.repair) == ("cancelled", "web/web-1")


async def test_cookie_is_submitted():
    async with serving() as server:
        web = server.providers["web"]
        cookie = replace(web.sign_ins["cookie"], cookie=PAGE)
        server.providers["web"] = replace(web, sign_ins={"cookie": cookie})
        commands = Commands(server)
        told = await commands.told("sign_in_start", '{"provider": "web"}')
        assert told.cookie == Cookie(PAGE.url, PAGE.name, PAGE.host, PAGE.at, PAGE.mark)
        server.send.script(services.granted(1))
        wanted = msgspec.json.encode({"flow": told.id, "secret": "the-key"}).decode()
        assert (await commands.told("sign_in_submit", wanted)).state == "done"


async def test_what_cannot_be_is_raised():
    async with serving() as server:
        commands = Commands(server)
        with pytest.raises(AppError, match="agreement"):
            await commands.ask("sign_in_start", '{"provider": "strict"}')
        for name in ("sign_in_wait", "sign_in_cancel"):
            with pytest.raises(RequestError, match="not known"):
                await commands.ask(name, "00")


async def test_what_is_remembered_of_flows_goes_with_them():
    async with serving() as server:
        commands = Commands(server)
        told = await commands.told("sign_in_start", '{"provider": "web"}')
        server.desk.logins.cancel(told.id)
        server.desk.logins._attempts.clear()
        other = await commands.told("sign_in_start", '{"provider": "web"}')
        assert list(commands.flows._wanted) == [other.id]
