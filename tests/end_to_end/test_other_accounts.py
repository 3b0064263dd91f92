"""Signing in by device code, cookie and key through the whole room of accounts, over sockets."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from app.accounts.roster import Roster
from app.accounts.vault import Vault
from app.errors import RequestError
from app.providers import OPENAI
from app.providers.copilot import copilot
from app.providers.ctonew import ctonew
from app.providers.ctonew_session import Sites
from app.providers.github import GitHub
from app.server.accounts import make_desk
from app.upstream.client import Client
from app.upstream.proxies import Environment
from tests.accounts.keyrings import MemoryKeyring
from tests.fakes.basic import Clock
from tests.fakes.clerk import Clerk
from tests.fakes.copilot import Copilot
from tests.fakes.enginelabs import CtoNew, EngineLabs
from tests.fakes.github import GitHub as FakeGitHub
from tests.fakes.upstream import Upstream


class Program:
    """The accounts of a program over real files, which may be started again."""

    def __init__(self, folder, clock):
        self.folder = folder
        self.clock = clock
        self.keyring = MemoryKeyring()
        self.client = Client(environment=lambda: Environment({}, lambda host: False))
        self.on_wait = lambda: None

    async def open(self, *providers):
        self.providers = {provider.id: provider for provider in providers}
        self.roster = Roster()
        self.desk = make_desk(
            Vault(self.folder, keyring=self.keyring, now=self.clock),
            self.roster,
            self.providers,
            self.client.send,
            now=self.clock,
            sleep=self.sleep,
        )
        await self.desk.open()

    async def sleep(self, seconds):
        self.clock.advance(seconds)
        self.on_wait()
        await asyncio.sleep(0)

    async def restart(self):
        await self.desk.close()
        await self.open(*self.providers.values())

    async def start(self, provider, way, **more):
        consent = self.providers[provider].consent
        version = "" if consent is None else consent.version
        return await self.desk.start(provider, way, consent=version, **more)

    async def ended(self, flow):
        task = self.desk.logins._attempts[flow.id].task
        if task is not None:
            await asyncio.wait([task])
        return self.desk.logins.get(flow.id)

    async def fresh(self, account_id):
        return await self.desk.refresher.fresh(self.roster.get(account_id))

    async def close(self):
        await self.desk.close()
        await self.client.aclose()


@contextlib.asynccontextmanager
async def program(folder, clock, *providers):
    made = Program(folder / "vault", clock)
    await made.open(*providers)
    try:
        yield made
    finally:
        await made.close()


def sealed(folder):
    return b"".join(p.read_bytes() for p in (folder / "vault").rglob("*") if p.is_file())


@pytest.mark.parametrize("way", ["device", "device_editor"])
async def test_copilot_is_signed_in_to_by_a_code_typed_elsewhere(tmp_path, way):
    clock = Clock()
    github = FakeGitHub(clock)
    async with Upstream(github, Copilot(github)) as fake:
        github.base = url = fake.url
        here = GitHub(
            "github.com",
            url,
            url,
            url,
            plans=(("business", f"{url}/business"),),
            apis=(("api.individual.githubcopilot.com", url),),
        )
        service = copilot(here, lambda domain: replace(here, host=domain))
        async with program(tmp_path, clock, service) as running:
            flow = await running.start("copilot", way)
            assert flow.user_code
            running.on_wait = lambda: github.approve(flow.user_code)
            ended = await running.ended(flow)
            assert ended.state == "done", ended.error
            account = await running.fresh("copilot/copilot-1")
            assert account.credential.secret
            (view,) = running.desk.views()
            assert view.name
            await running.restart()
            again = await running.fresh("copilot/copilot-1")
            assert again.credential.secret == account.credential.secret
            assert account.credential.secret.encode() not in sealed(tmp_path)
            if way == "device_editor":  # the exchanged token ends, and another is had
                clock.advance(7_200)
                renewed = await running.fresh("copilot/copilot-1")
                assert renewed.credential.secret != account.credential.secret


async def test_ctonew_is_signed_in_to_by_a_cookie_that_rotates_with_each_use(tmp_path):
    clock = Clock()
    clerk = Clerk(clock)
    async with CtoNew(clerk, EngineLabs(clerk)) as town:
        service = ctonew(Sites(clerk=town.url, api=town.url))
        async with program(tmp_path, clock, service) as running:
            browser = clerk.sign_in()
            flow = await running.start("ctonew", "cookie")
            ended = await running.desk.logins.submit(flow.id, f"__client={browser.cookie}")
            ended = await running.ended(ended)
            assert ended.state == "done", ended.error
            first = (await running.fresh("ctonew/ctonew-1")).credential.secret
            for _ in range(3):  # each exchange burns the cookie that it was made with
                clock.advance(60)
                await running.restart()
                fresh = await running.fresh("ctonew/ctonew-1")
                assert fresh.credential.secret != first
                first = fresh.credential.secret
            assert clerk.replayed == 0
            assert browser.cookie.encode() not in sealed(tmp_path)


async def test_a_key_is_checked_kept_sealed_and_used(tmp_path):
    key = "sk-proj-0123456789abcdefghijklmnop"
    clock = Clock()
    asked = []

    async def answer(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head)
        status = "200 OK" if f"Bearer {key}\r\n" in head else "401 No"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 12\r\n\r\n".encode() + b'{"data": []}')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    service = replace(OPENAI, base_url=url)
    steps = service.sign_ins["key"]
    service = replace(
        service,
        sign_ins={"key": replace(steps, run=lambda text, base: steps.run(text, base or url))},
    )
    async with server, program(tmp_path, clock, service) as running:
        flow = await running.start("openai", "key")
        with pytest.raises(RequestError, match="does not accept this key"):
            await running.desk.logins.submit(flow.id, key + "x")
        right = await running.ended(await running.desk.logins.submit(flow.id, key))
        assert right.state == "done", right.error
        await running.restart()
        account = running.roster.get("openai/openai-1")
        assert account.credential.secret == key
        assert (await running.fresh("openai/openai-1")).credential.secret == key
        assert key.encode() not in sealed(tmp_path)
        assert len(asked) == 2
