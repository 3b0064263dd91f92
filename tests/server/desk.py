"""A server with nothing but the routes of accounts, over real sockets and made-up services."""

import asyncio
import contextlib
import time
from dataclasses import replace

from app.accounts.roster import Roster
from app.dialects import DIALECTS
from app.keys import KeyIndex, KeyRecord, hash_key, new_key
from app.providers.signin import CodeSignIn, DeviceSignIn, Listen, SecretSignIn
from app.server.accounts import account_routes, make_desk
from app.server.caller import Access
from app.server.front import FrontServer
from app.server.listen import bind
from app.server.pages import page_routes
from app.server.peer import default_prover
from app.server.policy import AccessPolicy
from tests.accounts import services
from tests.fakes.basic import Clock, DictVault, Ids, ScriptedSend
from tests.server.running import Server

TOKEN = "canary-4f1d9a7e2b-local-token"


def free_port():
    sockets = bind(0)
    port = sockets[0].getsockname()[1]
    for sock in sockets:
        sock.close()
    return port


class Control:
    """The part of the program that the routes' base class asks."""

    def __init__(self, port):
        self.index = KeyIndex()
        self.access = Access(AccessPolicy(ports=frozenset({port})), self.index, TOKEN, time.time)
        self.dialects = DIALECTS
        self.new_id = Ids()


class DeskServer(Server):
    """The server as its clients see it; ``send`` answers for the services."""

    def __init__(self, *records, vault=None, proven=True):
        self.vault = DictVault(*records) if vault is None else vault
        self.roster = Roster()
        self.send = ScriptedSend()
        self.opened = []
        self.listen = Listen(free_port(), "/callback")
        self.sockets = bind(0)
        self.port = self.sockets[0].getsockname()[1]
        self.control = Control(self.port)
        self.proven = proven
        code = CodeSignIn(services.begin, services.finish, self.listen)
        ways = {"browser": code, "device": DeviceSignIn(services.device)}
        ways["cookie"] = SecretSignIn("Cookie", services.secret)
        web = replace(services.WEB, sign_ins=ways, hosts=services.WEB.hosts | {"api.web.test"})
        self.providers = services.PROVIDERS | {
            "web": web,
            "strict": replace(services.STRICT, sign_ins=ways),
            "codex": replace(web, id="codex", title="Codex"),
        }

    async def start(self):
        self.desk = make_desk(
            self.vault,
            self.roster,
            self.providers,
            self.send,
            sleep=self._sleep,
            now=Clock(services.START),
        )
        self.typed = asyncio.Event()
        """Set when the user has typed a device code."""
        await self.desk.open()
        self.prover = default_prover() if self.proven else None
        self.server = FrontServer(page_routes(self.control, self.routes()), prover=self.prover)
        self.server.add_sockets(self.sockets)

    def routes(self):
        return account_routes(self.control, self.desk, self.opened.append)

    async def _sleep(self, _seconds):
        await self.typed.wait()

    async def stop(self):
        self.server.stop()
        await self.desk.close()
        await self.server.close_all_connections()
        if self.prover is not None:
            self.prover.close()

    def admit(self, kind="client", **scopes):
        """Make a key and return its text."""
        plain = new_key()
        record = KeyRecord(
            f"{len(self.control.index):012d}", kind, kind, hash_key(plain), time.time(), **scopes
        )
        self.control.index.replace([*self.control.index._by_hash.values(), record])
        return plain

    async def admin(self, method, path, body=b"", headers=None):
        """Ask with the local token."""
        return await self.ask(method, path, body, {"x-dragoman-token": TOKEN} | (headers or {}))

    async def come_back(self, path, headers=None, *, host="127.0.0.1", method="GET"):
        """What the browser does at the end: a call to the callback port."""
        return await CallbackPort(self.listen.port, host).ask(method, path, b"", headers)


class CallbackPort(Server):
    """A callback port as a browser sees it."""

    def __init__(self, port, host="127.0.0.1"):
        self.port = port
        self.host = host

    @contextlib.asynccontextmanager
    async def dial(self):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(*records, **more):
    server = DeskServer(*records, **more)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
