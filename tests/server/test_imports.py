"""Sign-ins of other programs over the route: listed without secrets, taken only when named."""

import contextlib
import time
from dataclasses import replace

import msgspec
import pytest

from app.providers import PROVIDERS
from app.providers.signin import Consent
from app.server.imports import import_routes
from tests.accounts.services import record
from tests.fakes.basic import DictVault
from tests.server.desk import DeskServer
from tests.server.test_signin import error_of

CANARY = "canary-4f1d9a7e2b"
ROUTE = "/admin/imports"
CLAUDE = {
    "claudeAiOauth": {
        "accessToken": f"{CANARY}-access",
        "refreshToken": f"{CANARY}-refresh",
        "expiresAt": int(time.time() + 36_000) * 1000,
        "subscriptionType": "max",
    }
}
CODEX = {
    "tokens": {
        "access_token": f"{CANARY}-codex-access",
        "refresh_token": f"{CANARY}-codex-refresh",
        "account_id": "acc-1",
    }
}
ENTERPRISE = {
    "github-copilot-enterprise": {
        "type": "oauth",
        "refresh": f"gho_{CANARY}",
        "enterpriseUrl": "https://company.ghe.com",
    }
}
TERMS = Consent("2026-02-19", "The terms reserve this.", "Use a key.")


class Imports(DeskServer):
    """A server that also has the route, over a home folder of the test's."""

    def __init__(self, home, *records, **more):
        super().__init__(*records, **more)
        self.home = home
        known = {name: PROVIDERS[name] for name in ("codex", "copilot", "gemini")}
        self.providers |= known | {"claude": replace(PROVIDERS["claude"], consent=TERMS)}

    def routes(self):
        return import_routes(self.control, self.desk, {}, self.home) + super().routes()


@pytest.fixture
def write(tmp_path):
    def put(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(content))

    return put


@pytest.fixture
def serving(tmp_path):
    @contextlib.asynccontextmanager
    async def run(*records, **more):
        server = Imports(tmp_path, *records, **more)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()

    return run


async def test_list_says_what_each_is_and_shows_no_secret(serving, write):
    write(".claude/.credentials.json", CLAUDE)
    write(".gemini/oauth_creds.json", {"refresh_token": f"{CANARY}-google"})
    async with serving() as server:
        answer = await server.admin("GET", ROUTE)
        claude, google = answer.json["found"]
        assert (claude["key"], claude["can_be_taken"]) == ("claude-code", True)
        assert (claude["title"], claude["plan"]) == ("Claude (subscription)", "max")
        assert claude["consent"] == TERMS.version
        assert "renewed with a token that works once" in claude["warning"]
        assert (google["can_be_taken"], google["provider"]) == (False, "")
        assert "AI Studio" in google["refusal"]
        assert CANARY not in answer.body.decode()
        assert server.vault.records == {}


async def test_it_needs_control(serving):
    async with serving() as server:
        for method in ("GET", "POST"):
            assert (await server.ask(method, ROUTE, b"")).status == 401


async def test_chosen_one_is_taken_and_used(serving, write):
    write(".codex/auth.json", CODEX)
    async with serving() as server:
        answer = await server.admin("POST", ROUTE, {"key": "codex", "label": "work"})
        assert answer.status == 201
        assert answer.json["account"]["id"] == "codex/work"
        assert answer.json["account"]["way"] == "import"
        assert answer.json["repaired"] is False
        assert "Codex keeps this sign-in, too." in answer.json["warning"]
        assert CANARY not in answer.body.decode()
        kept = server.vault.records["codex/work"]
        assert kept.credential.secret == f"{CANARY}-codex-access"
        assert server.roster.get("codex/work").ready


async def test_consent_comes_first_and_is_kept(serving, write):
    write(".claude/.credentials.json", CLAUDE)
    async with serving() as server:
        refused = await server.admin("POST", ROUTE, {"key": "claude-code"})
        assert (refused.status, error_of(refused)["code"]) == (409, "consent_required")
        assert server.vault.records == {}
        body = {"key": "claude-code", "consent": TERMS.version}
        assert (await server.admin("POST", ROUTE, body)).status == 201
        kept = server.vault.records["claude/claude-1"]
        assert (kept.consent, kept.consented_at) == (TERMS.version, server.desk.now())


async def test_second_taking_repairs_in_place(serving, write):
    write(".codex/auth.json", CODEX)
    async with serving() as server:
        await server.admin("POST", ROUTE, {"key": "codex", "label": "work"})
        fresh = {"tokens": CODEX["tokens"] | {"access_token": f"{CANARY}-newer"}}
        write(".codex/auth.json", fresh)
        again = await server.admin("POST", ROUTE, {"key": "codex"})
        assert (again.json["repaired"], again.json["account"]["id"]) == (True, "codex/work")
        assert list(server.vault.records) == ["codex/work"]
        assert server.vault.records["codex/work"].credential.secret == f"{CANARY}-newer"


async def test_key_whose_owner_nobody_tells_is_known_again(serving, write):
    write(".local/share/opencode/auth.json", {"google": {"type": "api", "key": f"{CANARY}-key"}})
    async with serving() as server:
        first = await server.admin("POST", ROUTE, {"key": "opencode:google"})
        second = await server.admin("POST", ROUTE, {"key": "opencode:google"})
        assert [first.json["repaired"], second.json["repaired"]] == [False, True]
        assert list(server.vault.records) == ["gemini/gemini-1"]


async def test_github_enterprise_keeps_its_host(serving, write):
    write(".local/share/opencode/auth.json", ENTERPRISE)
    async with serving() as server:
        await server.admin("POST", ROUTE, {"key": "opencode:github-copilot-enterprise"})
        assert server.vault.records["copilot/copilot-1"].host == "company.ghe.com"


async def test_what_cannot_be_taken_is_refused_with_the_reason(serving, write):
    write(".gemini/oauth_creds.json", {"refresh_token": f"{CANARY}-google"})
    async with serving() as server:
        answer = await server.admin("POST", ROUTE, {"key": "gemini-cli"})
        assert (answer.status, error_of(answer)["code"]) == (400, "not_importable")
        assert "aistudio.google.com" in error_of(answer)["message"]


async def test_folder_of_cliproxyapi(serving, write, tmp_path):
    write("auths/one.json", {"type": "codex", **CODEX["tokens"], "email": "a@example.org"})
    write(".codex/auth.json", CODEX)
    folder = str(tmp_path / "auths")
    async with serving() as server:
        listed = await server.admin("GET", f"{ROUTE}?from={folder}")
        assert [one["key"] for one in listed.json["found"]] == ["cliproxyapi:one"]
        body = {"key": "cliproxyapi:one", "from": folder}
        assert (await server.admin("POST", ROUTE, body)).status == 201
        unknown = await server.admin("POST", ROUTE, {"key": "cliproxyapi:one"})
        assert (unknown.status, error_of(unknown)["code"]) == (404, "unknown_import")
        near = await server.admin("GET", f"{ROUTE}?from=auths")
        assert near.status == 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"key": "codex", "label": "a/b"}, "invalid_label"),
        ({"key": "codex", "label": "codex-1"}, "label_taken"),
        ({"key": "nothing"}, "unknown_import"),
        ({}, "invalid_json"),
    ],
)
async def test_wrong_choices_change_nothing(serving, write, body, code):
    write(".codex/auth.json", CODEX)
    async with serving(record("codex-1", "codex")) as server:
        answer = await server.admin("POST", ROUTE, body)
        assert error_of(answer)["code"] == code
        assert list(server.vault.records) == ["codex/codex-1"]


async def test_vault_that_is_shut_takes_nothing(serving, write):
    write(".codex/auth.json", CODEX)
    vault = DictVault()
    vault.locked = "The keyring is locked."
    async with serving(vault=vault) as server:
        answer = await server.admin("POST", ROUTE, {"key": "codex"})
        assert error_of(answer)["code"] == "vault_unusable"
