"""The whole room of accounts over real sockets: real providers, the vault's files, callback ports."""

import asyncio
import contextlib
import logging
from dataclasses import replace

import httpx
import pytest

from app.accounts.roster import Roster
from app.accounts.vault import Vault
from app.errors import AccountError
from app.http import HttpRequest
from app.providers.claude import claude
from app.providers.claude_profile import ClaudeEndpoints
from app.providers.codex import codex
from app.providers.codex_profile import CodexEndpoints
from app.server.accounts import make_desk
from app.upstream.client import Client
from tests.accounts.keyrings import MemoryKeyring
from tests.fakes.basic import Clock
from tests.fakes.identity import ChatGptIdentity, ClaudeIdentity, Person, code_in
from tests.fakes.upstream import Upstream
from tests.server.desk import CallbackPort, free_port

HOUR = 3_600.0
CLAUDE, CODEX = "claude/claude-1", "codex/codex-1"


class World:
    """Two services, a program that signs in to them, and somebody with a browser."""

    def __init__(self, folder):
        self.clock = Clock()
        self.folder = folder
        self.claude = ClaudeIdentity(self.clock)
        self.codex = ChatGptIdentity(self.clock)
        self.keyring = MemoryKeyring()
        self.roster = Roster()
        self.client = Client()
        self.slept = 0.0

    async def open(self, url):
        """Start the program, or start it again over the same files."""
        ports = free_port(), free_port()
        self.claude.redirect = f"http://localhost:{ports[0]}/callback"
        self.codex.redirect = f"http://localhost:{ports[1]}/auth/callback"
        services = (
            claude(
                ClaudeEndpoints(
                    f"{url}/oauth/authorize", f"{url}/v1/oauth/token", url, self.claude.redirect
                )
            ),
            codex(CodexEndpoints(url, f"{url}/backend-api", self.codex.redirect)),
        )
        self.desk = make_desk(
            Vault(self.folder, keyring=self.keyring, now=self.clock),
            self.roster,
            {service.id: service for service in services},
            self.send,
            now=self.clock,
            sleep=self.sleep,
        )
        await self.desk.open()

    async def send(self, request: HttpRequest, limits):
        return await self.client.send(request, limits, proxy=request.proxy)

    async def sleep(self, seconds):
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def browse(self, url):
        """Agree on the service's page, and go where it sends the browser."""
        async with httpx.AsyncClient() as http:
            location = (await http.get(url)).headers["location"]
        _, _, rest = location.partition("://localhost:")
        port, slash, path = rest.partition("/")
        return location, await CallbackPort(int(port)).get(slash + path)

    async def sign_in(self, provider="claude", **more):
        consent = self.desk.book.providers[provider].consent
        version = "" if consent is None else consent.version
        flow = await self.desk.start(provider, "browser", consent=version, **more)
        assert flow.listening, flow
        _, page = await self.browse(flow.url)
        return self.desk.logins.get(flow.id), page

    def secret(self, account_id):
        return self.roster.get(account_id).credential.secret


@contextlib.asynccontextmanager
async def world(tmp_path):
    made = World(tmp_path / "vault")
    async with Upstream(made.claude, made.codex) as fake:
        await made.open(fake.url)
        made.url = fake.url
        try:
            yield made
        finally:
            await made.desk.close()
            await made.client.aclose()


@pytest.mark.parametrize("provider", ["claude", "codex"])
async def test_sign_in_renew_restart(tmp_path, provider, caplog):
    with caplog.at_level(logging.DEBUG):
        async with world(tmp_path) as here:
            identity = getattr(here, provider)
            flow, page = await here.sign_in(provider)
            assert (flow.state, page.status) == ("done", 200), flow.error
            assert flow.name == "ada@example.test"
            account_id = f"{provider}/{provider}-1"
            (grant,) = identity.grants
            assert here.secret(account_id) == grant.access
            # A program that starts again finds what the last one has left.
            await here.desk.close()
            here.roster = Roster()
            await here.open(here.url)
            assert here.secret(account_id) == grant.access
            # The token ends, and many want it at once.
            here.clock.advance(identity.lifetime_s)
            account = here.roster.get(account_id)
            fresh = await asyncio.gather(*(here.desk.refresher.fresh(account) for _ in range(200)))
            assert {a.credential.secret for a in fresh} == {grant.access}
            assert identity.renewals == 1
            assert identity.holder(grant.access) is grant
            # Nothing of it lies about.
            secrets = [grant.access, grant.refresh, *grant.past]
            files = b"".join(p.read_bytes() for p in here.folder.rglob("*") if p.is_file())
            told = caplog.text + repr(here.desk.views()) + page.body.decode()
            for secret in secrets:
                assert secret.encode() not in files
                assert secret not in told


async def test_code_is_pasted_where_the_port_is_taken(tmp_path):
    async with world(tmp_path) as here:
        first = await here.desk.start("codex", "browser")
        port = int(here.codex.redirect.split(":")[2].partition("/")[0])
        here.desk.logins.cancel(first.id)
        await here.desk.logins.close()
        taken = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port)
        flow = await here.desk.start("codex", "browser")
        assert not flow.listening
        async with httpx.AsyncClient() as http:
            location = (await http.get(flow.url)).headers["location"]
        done = await here.desk.logins.paste(flow.id, location)
        assert done.state == "done", done.error
        taken.close()
        await taken.wait_closed()


async def test_person_who_says_no_is_told_so(tmp_path):
    async with world(tmp_path) as here:
        here.claude.consents = False
        flow, page = await here.sign_in()
        assert (flow.state, page.status) == ("failed", 400)
        assert "access_denied" in flow.error
        assert here.roster.accounts() == ()


async def test_code_of_somebody_else_is_worth_nothing(tmp_path):
    async with world(tmp_path) as here:
        mine = await here.desk.start("codex", "browser")
        other = await here.desk.start("codex", "browser")
        async with httpx.AsyncClient() as http:
            code, _ = code_in((await http.get(other.url)).headers["location"])
        ended = await here.desk.logins.paste(mine.id, code)
        assert ended.state == "failed"
        assert here.codex.exchanges == 0


async def test_repair_by_another_person_is_put_aside(tmp_path):
    async with world(tmp_path) as here:
        await here.sign_in()
        here.claude.person = Person("bob@example.test", "3" * 8, "4" * 8)
        flow, page = await here.sign_in(account="claude-1")
        assert flow.state == "other_identity"
        assert "bob@example.test" in page.body.decode()
        assert here.secret(CLAUDE) == here.claude.grants[0].access
        done = await here.desk.logins.confirm(flow.id)
        assert done.state == "done"
        assert here.secret(CLAUDE) == here.claude.grants[1].access
        assert len(here.roster.accounts()) == 1


async def test_revoked_sign_in_is_told_and_repaired_by_signing_in(tmp_path):
    async with world(tmp_path) as here:
        await here.sign_in()
        (grant,) = here.claude.grants
        here.claude.revoke(grant)
        account = here.roster.get(CLAUDE)
        with pytest.raises(AccountError) as caught:
            await here.desk.refresher.rejected(account, grant.access)
        assert caught.value.code == "sign_in_again"
        assert not here.roster.get(CLAUDE).ready
        flow, _ = await here.sign_in()
        assert (flow.repaired, flow.account) == (True, CLAUDE)
        assert here.roster.get(CLAUDE).ready


async def test_logout_ends_the_sign_in_at_the_service_and_here(tmp_path):
    async with world(tmp_path) as here:
        await here.sign_in("codex")
        (grant,) = here.codex.grants
        assert await here.desk.logout(CODEX) == "codex/codex-1 was revoked and removed."
        assert grant.ended == "revoked"
        assert here.roster.accounts() == ()
        assert [
            path for path in here.folder.iterdir() if CODEX.rpartition("/")[2] in path.name
        ] == []


async def test_logout_says_where_to_end_what_has_no_call_for_it(tmp_path):
    async with world(tmp_path) as here:
        await here.sign_in()
        said = await here.desk.logout(CLAUDE)
        assert "Claude (subscription) offers no call by which Dragoman could revoke it" in said
        assert "https://claude.ai/settings/claude-code" in said
        assert here.roster.accounts() == ()


async def test_refusal_of_the_token_endpoint_is_not_repeated(tmp_path):
    async with world(tmp_path) as here:
        await here.sign_in()
        here.clock.advance(5 * HOUR)
        here.claude.fail_tokens((429, {"error": {"type": "rate_limit_error", "message": "No."}}))
        account = here.roster.get(CLAUDE)
        assert (await here.desk.refresher.fresh(account)).ready
        with pytest.raises(AccountError) as caught:
            await here.desk.refresher.renew(CLAUDE)
        assert caught.value.code == "not_allowed"
        view = here.desk.view(CLAUDE)
        assert (view.state, view.next_renewal_at) == ("ready", None)
        assert "refuses" in view.warning
        assert here.claude.renewals == 0


async def test_crash_after_a_renewal_loses_nothing(tmp_path):
    async with world(tmp_path) as here:
        await here.sign_in()
        old = here.secret(CLAUDE)
        await here.desk.refresher.renew(CLAUDE)
        # The first program dies here; another opens a copy of its files.
        copy = World(here.folder.parent / "copy")
        copy.folder.mkdir(mode=0o700)
        for path in here.folder.iterdir():
            if path.name != "vault.lock":
                (copy.folder / path.name).write_bytes(path.read_bytes())
        copy.keyring, copy.claude, copy.codex = here.keyring, here.claude, here.codex
        await copy.open(here.url)
        assert copy.secret(CLAUDE) == here.secret(CLAUDE) != old
        assert here.claude.holder(copy.secret(CLAUDE)) is here.claude.grants[0]
        await copy.desk.close()
        await copy.client.aclose()


async def test_tokens_go_to_no_host_beyond_the_table(tmp_path):
    async with world(tmp_path) as here:
        service = here.desk.book.providers["claude"]
        narrow = replace(service, hosts=frozenset({"id.test"}))
        here.desk.book._providers = {"claude": narrow}
        flow, _ = await here.sign_in()
        assert (flow.state, flow.code) == ("failed", "host_not_allowed")
        assert here.claude.exchanges == 0
