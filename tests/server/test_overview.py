"""The status of a running program."""

import contextlib
import time

import pytest

from app.accounts.desk import Desk
from app.accounts.vaultstate import Trouble
from app.build import RELEASES, find_build
from app.errors import AppError
from tests.accounts.services import CONSENT, HOUR, PROVIDERS, START, granted, record, refusal
from tests.fakes.basic import DictVault, ScriptedSend
from tests.server.running import CHAT, SAY, running

TWO = """
providers:
  one: {kind: compatible, dialect: openai_chat, base_url: "http://127.0.0.1:9", models: [m, n], api_key: sk-1}
models: {default: m, aliases: {fast: n}}
"""


async def test_a_fresh_program_has_the_demo(tmp_path):
    async with running(tmp_path) as server:
        status = server.service.overview.status()
        assert (status.state, status.demo, status.accounts) == ("running", True, ())
        assert status.address == f"http://localhost:{server.port}"
        assert {service.id for service in status.services} >= {"claude", "codex", "openai"}


async def test_accounts_models_and_default_are_told(tmp_path):
    async with running(tmp_path, TWO) as server:
        status = server.service.overview.status()
        assert [account.id for account in status.accounts] == ["one/one-1"]
        assert (status.default_model, status.demo) == ("m", False)
        assert {"m", "n", "fast"} <= {model.name for model in status.models}
        rows = {row["name"]: row for row in server.service.overview.models()}
        assert {"m", "n"} <= set(rows)


async def test_what_ran_is_remembered_for_the_dashboard(tmp_path):
    async with running(tmp_path) as server:
        assert (await server.post(CHAT, SAY)).status == 200
        (row,) = server.service.gateway.recent.rows()
        assert (row["state"], row["model"], row["status"]) == ("done", "demo-chat", 200)
        assert row["sent_bytes"] > 100


async def test_the_dashboard_is_opened_by_a_ticket_and_its_session_is_taken(tmp_path):
    async with running(tmp_path) as server:
        address = server.service.dashboard_address("models")
        page, _, rest = address.partition("#ticket=")
        assert page == f"http://localhost:{server.port}/admin"
        ticket, _, section = rest.partition("&show=")
        assert section == "models"
        assert (await server.get("/admin")).status == 200
        opened = await server.post("/admin/session", {"ticket": ticket})
        assert opened.status in (200, 201), opened.body
        headers = {"Authorization": f"Bearer {opened.json['token']}"}
        assert (await server.get("/admin/models", headers)).status == 200
        assert (await server.get("/admin/accounts", headers)).status == 200
        assert (await server.post("/admin/session", {"ticket": ticket})).status >= 400


async def keeping(service, vault, *answers):
    """Let a running program keep its accounts in another vault; it is closed with the program."""
    await service.desk.close()
    service.providers.update(PROVIDERS)
    tell, send = service.desk.refresher.tell, ScriptedSend(*answers)
    service.desk = Desk(vault, service.roster, service.providers, send, tell=tell)
    return service.desk


async def test_sign_in_that_is_not_renewed_is_a_trouble_until_it_is(tmp_path):
    async with running(tmp_path) as server:
        seen = []
        good = DictVault(record(left=time.time() + 8 * HOUR - START))
        desk = await keeping(server.service, good, refusal(said="revoked"), granted(2))
        await desk.open()
        status = server.service.overview.status
        assert status().troubles == ()
        with contextlib.ExitStack() as stack:
            stack.callback(server.service.subscribe(lambda: seen.append(status().troubles)))
            with pytest.raises(AppError):
                await desk.refresh("web/web-1")
            ((trouble,),) = seen
            assert (trouble.account, "revoked" in trouble.text) == ("web/web-1", True)
            assert status().accounts[0].health == "ready"
        await desk.book.rename("web/web-1", "work")
        assert [one.account for one in status().troubles] == ["web/work"]
        await desk.refresh("web/work")
        assert status().troubles == ()


async def test_account_that_is_signed_out_needs_a_sign_in(tmp_path):
    async with running(tmp_path) as server:
        desk = await keeping(server.service, DictVault(record()))
        await desk.open()
        desk.book.set_trouble("web/web-1", "not signed in any more. It was revoked.")
        status = server.service.overview.status()
        (account,) = status.accounts
        assert (account.health, account.needs_sign_in) == ("unusable", True)
        assert (status.state, "It was revoked" in status.reason) == ("attention", True)


async def test_account_whose_terms_are_not_agreed_to_says_so_and_needs_no_sign_in(tmp_path):
    async with running(tmp_path) as server:
        desk = await keeping(
            server.service, DictVault(record(), record("s", "strict", consent="2020"))
        )
        await desk.open()
        status = server.service.overview.status()
        strict = next(account for account in status.accounts if account.provider == "strict")
        assert (strict.health, strict.needs_sign_in) == ("unusable", False)
        assert "`dragoman accounts agree s`" in strict.reason
        assert (status.state, status.reason) == ("attention", f"Strict, s: {strict.reason}")
        await desk.book.agree("strict/s", CONSENT.version)
        assert server.service.overview.status().state == "running"


async def test_account_that_is_not_allowed_is_not_told_to_sign_in(tmp_path):
    async with running(tmp_path) as server:
        desk = await keeping(server.service, DictVault(record()))
        await desk.open()
        desk.book.set_trouble("web/web-1", "not allowed. The service said so.", need="")
        (account,) = server.service.overview.status().accounts
        assert (account.health, account.needs_sign_in) == ("unusable", False)


async def test_accounts_of_a_vault_that_is_not_open_yet_need_no_sign_in(tmp_path):
    async with running(tmp_path) as server:
        vault = DictVault(record())
        vault.locked = "The stored sign-ins have not been opened yet."
        desk = await keeping(server.service, vault)
        desk.book.show_sealed()
        (account,) = server.service.overview.status().accounts
        assert (account.health, account.needs_sign_in) == ("unusable", False)
        assert "not been opened" in account.reason


@pytest.mark.parametrize(("code", "needed"), [("damaged", True), ("unreadable", False)])
async def test_sign_in_that_cannot_be_read_is_needed_anew_only_where_it_is_lost(
    tmp_path, code, needed
):
    class Damaged(DictVault):
        async def load(self):
            return ()

    async with running(tmp_path) as server:
        vault = Damaged(record())
        vault.troubles = (Trouble("web/web-1", code, "It cannot be read."),)
        desk = await keeping(server.service, vault)
        await desk.open()
        (account,) = server.service.overview.status().accounts
        assert account.needs_sign_in is needed


async def test_version_commit_and_kind_of_build_are_told_to_everybody(tmp_path):
    async with running(tmp_path) as server:
        status = server.service.overview.status()
        assert status.build == find_build()
        assert status.releases == RELEASES
        _, key = await server.key(label="k")
        for headers in ({}, {"x-api-key": key}):
            told = (await server.get("/v1/health", headers)).json
            assert (told["version"], told["commit"], told["build"]) == (
                find_build().version,
                find_build().commit,
                "source",
            )


async def test_budgets_are_told_but_not_to_keys(tmp_path):
    text = "ledger: {budgets: [{name: all, tokens: 1000000}]}\n"
    async with running(tmp_path, text) as server:
        (budget,) = server.service.overview.status().budgets
        assert (budget.level, budget.text) == (
            "ok",
            "Budget all: 0 of 1,000,000 tokens used this month (0%).",
        )
        (told,) = (await server.get("/v1/health")).json["budgets"]
        assert (told["name"], told["level"], told["text"]) == ("all", "ok", budget.text)
        _, key = await server.key(label="k")
        assert (await server.get("/v1/health", {"x-api-key": key})).json["budgets"] == []
