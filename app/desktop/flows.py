"""The running sign-ins as the desktop sees them: commands that ask about them and act on them.

They live on the proxy's loop; what goes over the ``bridge`` is text, mostly JSON (``Told``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import quote

import msgspec

from app.accounts.desk import Desk
from app.accounts.flow import Flow
from app.desktop.bridge import Command
from app.desktop.told import Cookie, Start, Submit, Told
from app.server.places import cookie_page
from app.server.sessions import Sessions

__all__ = ["Flows"]

_LOOK_S = 0.15
"""How often a sign-in is looked at while somebody waits for it. Nothing tells of each step, and
while a window is open this costs nothing that could be measured."""


class Program(Protocol):
    """What is asked; ``service.Service`` has it."""

    desk: Desk
    sessions: Sessions
    port: int


class Flows:
    """Commands for the bridge. State: which account each flow was begun for."""

    def __init__(
        self, program: Program, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._program = program
        self._sleep = sleep
        self._wanted: dict[str, str] = {}

    @property
    def commands(self) -> Mapping[str, Command]:
        """Return the commands by name.

        ``add_account`` (a provider's id), ``sign_in`` (an account's) and ``sign_in_page`` (a path
        of the page, like ``flow/ID``) return the address of our own page for a sign-in, with a
        ticket. ``sign_in_start`` begins a flow, ``sign_in_wait`` (id, a blank, a state) returns
        it once its state is another one, ``sign_in_submit`` gives it what the user had to bring,
        ``sign_in_cancel`` ends it; each returns a ``Told``.
        """
        return {
            "add_account": self._add,
            "sign_in": self._again,
            "sign_in_page": self._page,
            "sign_in_start": self._start,
            "sign_in_wait": self._wait,
            "sign_in_submit": self._submit,
            "sign_in_cancel": self._cancel,
        }

    async def _add(self, provider: str) -> str:
        return await self._page(f"add/{provider}")

    async def _again(self, account: str) -> str:
        return await self._page(f"again/{account}")

    async def _page(self, show: str) -> str:
        ticket = self._program.sessions.new_ticket()
        address = f"http://localhost:{self._program.port}/admin/static/signin.html"
        return f"{address}?show={quote(show)}#ticket={ticket}"

    async def _start(self, target: str) -> str:
        wanted = msgspec.json.decode(target, type=Start)
        flow = await self._program.desk.start(wanted.provider, account=wanted.account or None)
        return self._tell(flow)

    async def _wait(self, target: str) -> str:
        flow_id, _, state = target.partition(" ")
        logins = self._program.desk.logins
        while (flow := logins.get(flow_id)).state == state:
            await self._sleep(_LOOK_S)
        return self._tell(flow)

    async def _submit(self, target: str) -> str:
        wanted = msgspec.json.decode(target, type=Submit)
        return self._tell(await self._program.desk.logins.submit(wanted.flow, wanted.secret))

    async def _cancel(self, flow_id: str) -> str:
        return self._tell(self._program.desk.logins.cancel(flow_id))

    def _tell(self, flow: Flow) -> str:
        desk = self._program.desk
        if flow.id not in self._wanted:
            known = {each.id for each in desk.logins.flows()}
            self._wanted = {key: to for key, to in self._wanted.items() if key in known}
            # Asked for while it waits, a flow names the account to repair; later the one made.
            self._wanted[flow.id] = flow.account if flow.state != "done" else ""
        page = cookie_page(desk, flow.provider, flow.way)
        cookie = None
        if page is not None:
            cookie = Cookie(page.url, page.name, page.host, page.at, page.mark)
        told = Told(
            id=flow.id,
            provider=flow.provider,
            title=desk.logins.providers[flow.provider].title,
            kind=flow.kind,
            state=flow.state,
            url=flow.url,
            account=flow.account,
            repair=self._wanted[flow.id],
            cookie=cookie,
        )
        return msgspec.json.encode(told).decode()
