import pytest

from app.accounts.account import Account
from app.providers.credential import Credential
from tests.accounts.services import CANARY, CONSENT, KEYED, granted, record, refusal
from tests.fakes.basic import Answered, DictVault
from tests.server.desk import serving
from tests.server.test_signin import error_of, state_of

OAUTH = "/admin/accounts/web/oauth"


async def test_list_tells_accounts_services_and_vault():
    async with serving(record()) as server:
        server.desk.configure([Account("keyed/k", KEYED, "k", KEYED.base_url, Credential("sk"))])
        body = (await server.admin("GET", "/admin/accounts")).json
        keyed, web = body["accounts"]
        assert (keyed["id"], keyed["configured"]) == ("keyed/k", True)
        assert (web["id"], web["name"], web["state"]) == ("web/web-1", "web-1@example.org", "ready")
        services = {service["id"]: service for service in body["providers"]}
        assert services["keyed"] == {
            "id": "keyed",
            "title": "Keyed",
            "ways": [{"way": "key", "kind": "secret", "prompt": "API key"}],
            "consent": None,
        }
        assert services["strict"]["consent"]["version"] == CONSENT.version
        assert [way["kind"] for way in services["web"]["ways"]] == ["browser", "device", "secret"]
        assert body["vault"]["state"] == "open"
        assert CANARY not in str(body)


async def test_all_of_it_needs_control():
    async with serving(record()) as server:
        for method, path in (
            ("GET", "/admin/accounts"),
            ("POST", f"{OAUTH}/start"),
            ("POST", f"{OAUTH}/complete"),
            ("GET", "/admin/accounts/flows/00"),
            ("GET", "/admin/accounts/web/web-1"),
            ("DELETE", "/admin/accounts/web/web-1"),
            ("POST", "/admin/accounts/web/web-1/pause"),
        ):
            assert (await server.ask(method, path, b"")).status == 401
        assert list(server.vault.records) == ["web/web-1"]


async def test_sign_in_by_paste():
    async with serving() as server:
        begun = await server.admin("POST", f"{OAUTH}/start", {"label": "work"})
        assert begun.status == 201
        flow = begun.json["flow"]
        wrong = await server.admin("POST", f"{OAUTH}/complete", {"flow": flow, "text": "a?b"})
        assert (wrong.status, error_of(wrong)["code"]) == (400, "no_sign_in_code")
        server.send.script(granted(1))
        text = f"the-code#{state_of(begun.json['url'])}"
        done = (await server.admin("POST", f"{OAUTH}/complete", {"flow": flow, "text": text})).json
        assert (done["state"], done["account"], done["plan"]) == ("done", "web/work", "plus")
        assert done["name"] == "web-1@example.org"
        seen = (await server.admin("GET", f"/admin/accounts/flows/{flow}")).json
        assert seen == done


async def test_sign_in_by_code_and_state():
    async with serving() as server:
        begun = (await server.admin("POST", f"{OAUTH}/start")).json
        body = {"code": "the-code", "state": state_of(begun["url"])}
        wrong = await server.admin("POST", "/admin/accounts/strict/oauth/complete", body)
        assert (wrong.status, error_of(wrong)["code"]) == (404, "unknown_state")
        server.send.script(granted(1))
        assert (await server.admin("POST", f"{OAUTH}/complete", body)).json["state"] == "done"


async def test_sign_in_by_key():
    async with serving() as server:
        start, complete = (f"/admin/accounts/keyed/oauth/{step}" for step in ("start", "complete"))
        begun = (await server.admin("POST", start)).json
        assert begun["prompt"] == "API key"
        server.send.script(granted(1, id="", name=""))
        body = {"flow": begun["flow"], "secret": f"{CANARY}-key"}
        assert (await server.admin("POST", complete, body)).json["account"] == "keyed/keyed-1"


async def test_other_person_is_confirmed_or_not():
    async with serving(record()) as server:
        for answer, state, owner in (
            ("cancel", "cancelled", "id-web-1"),
            ("confirm", "done", "id-2"),
        ):
            begun = (await server.admin("POST", f"{OAUTH}/start", {"account": "web-1"})).json
            server.send.script(granted(2, id="id-2", name="two@example.org"))
            body = {"flow": begun["flow"], "text": "the-code"}
            aside = (await server.admin("POST", f"{OAUTH}/complete", body)).json
            assert aside["state"] == "other_identity"
            hidden = (await server.get(f"/v1/auth/web/status?flow={begun['flow']}")).body.decode()
            assert "example.org" not in hidden
            body = {"flow": begun["flow"], answer: True}
            ended = (await server.admin("POST", f"{OAUTH}/complete", body)).json
            assert ended["state"] == state
            assert server.vault.records["web/web-1"].identity.id == owner


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (f"{OAUTH}/complete", {"flow": "none", "text": "x"}, 404, "unknown_sign_in"),
        (f"{OAUTH}/complete", {"code": "c", "state": "s"}, 404, "unknown_state"),
        (f"{OAUTH}/start", {"way": 5}, 400, "invalid_json"),
        (f"{OAUTH}/start", {"surprise": 5}, 400, "invalid_json"),
        (f"{OAUTH}/start", {"way": "none"}, 404, "unknown_way"),
        ("/admin/accounts/strict/oauth/start", {}, 409, "consent_required"),
        ("/admin/accounts/none/oauth/start", {}, 404, "unknown_provider"),
        ("/admin/accounts/web/none/pause", {}, 404, "unknown_account"),
        ("/admin/accounts/keyed/k/pause", {}, 409, "account_in_settings"),
        ("/admin/accounts/web/web-1/rename", {"label": "a b"}, 400, "invalid_label"),
        ("/admin/accounts/web/web-1/order", {}, 400, "invalid_request"),
        ("/admin/accounts/web/web-1/consent", {"version": "x"}, 409, "consent_required"),
    ],
)
async def test_what_is_wrong_is_told(path, body, status, code):
    async with serving(record()) as server:
        server.desk.configure([Account("keyed/k", KEYED, "k", KEYED.base_url, Credential("sk"))])
        reply = await server.admin("POST", path, body)
        assert (reply.status, error_of(reply)["code"]) == (status, code)


async def test_flow_is_completed_where_it_was_begun_and_with_something():
    async with serving() as server:
        begun = (await server.admin("POST", f"{OAUTH}/start")).json
        elsewhere = "/admin/accounts/strict/oauth/complete"
        body = {"flow": begun["flow"], "text": "the-code"}
        assert (await server.admin("POST", elsewhere, body)).status == 404
        reply = await server.admin("POST", f"{OAUTH}/complete", {"flow": begun["flow"]})
        assert error_of(reply)["code"] == "nothing_to_complete"


@pytest.mark.parametrize("slash", ["/", "%2F"])
async def test_accounts_are_changed_one_by_one(slash):
    one, two = (f"/admin/accounts/web{slash}{label}" for label in ("web-1", "web-2"))
    async with serving(record(primary=True), record("web-2")) as server:

        async def do(path, **body):
            reply = await server.admin("POST", path, body)
            assert reply.status == 200, reply.body
            return reply.json["account"]

        assert (await do(f"{two}/primary"))["primary"] is True
        assert (await server.admin("GET", one)).json["account"]["primary"] is False
        assert (await do(f"{one}/pause"))["paused"] is True
        assert (await do(f"{one}/pause", paused=False))["paused"] is False
        assert (await do(f"{one}/pause"))["state"] == "disabled"
        assert (await do(f"{one}/resume"))["state"] == "ready"
        assert (await do(f"{one}/order", order=9))["id"] == "web/web-1"
        server.send.script(granted(2))
        assert (await do(f"{one}/refresh"))["renewed_at"] > 0
        assert server.roster.get("web/web-1").credential.secret == f"{CANARY}-access-2"
        assert (await do(f"{one}/rename", label="work"))["id"] == "web/work"


async def test_renewal_that_fails_is_told_and_seen():
    async with serving(record()) as server:
        server.send.script(refusal(said="gone"))
        reply = await server.admin("POST", "/admin/accounts/web/web-1/refresh")
        assert reply.status == 503
        assert "gone" in error_of(reply)["message"]
        view = (await server.admin("GET", "/admin/accounts/web/web-1")).json["account"]
        assert "gone" in view["warning"]
        assert view["state"] == "ready"


async def test_text_is_agreed_to_without_signing_in_again():
    async with serving(record("s", "strict")) as server:
        path = "/admin/accounts/strict/s"
        view = (await server.admin("GET", path)).json["account"]
        assert view["state"] == "unusable"
        reply = await server.admin("POST", f"{path}/consent", {"version": CONSENT.version})
        assert reply.json["account"]["state"] == "ready"


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/admin/accounts/web/web-1"), ("POST", "/admin/accounts/web%2Fweb-1/logout")],
)
async def test_logout_revokes_and_removes(method, path):
    async with serving(record()) as server:
        server.send.script(Answered(200, {}, b"{}"))
        reply = await server.admin(method, path)
        assert reply.json == {"message": "web/web-1 was revoked and removed."}
        assert server.vault.records == {}
        assert (await server.admin("GET", "/admin/accounts/web/web-1")).status == 404


async def test_sign_in_may_be_kept_in_memory_where_the_vault_is_shut():
    vault = DictVault()
    vault.locked = "The system keyring is locked."
    async with serving(vault=vault) as server:
        body = (await server.admin("GET", "/admin/accounts")).json
        assert body["vault"]["message"] == "The system keyring is locked."
        assert (await server.admin("POST", f"{OAUTH}/start")).status == 503
        reply = await server.admin("POST", f"{OAUTH}/start", {"memory_only": True})
        assert reply.json["state"] == "waiting"


async def test_stopping_closes_the_callback_port():
    async with serving() as server:
        await server.admin("POST", f"{OAUTH}/start")
        assert server.desk.logins.listeners.ports == (server.listen.port,)
    assert server.desk.logins.listeners.ports == ()
