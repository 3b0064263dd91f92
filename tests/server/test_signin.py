import logging
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from app.accounts.account import Account
from app.providers.credential import Credential
from app.server.listen import bind
from tests.accounts.services import CANARY, CONSENT, KEYED, granted, record, refusal
from tests.fakes.basic import Answered, DictVault
from tests.server.desk import TOKEN, serving

PAGED = "/v1/auth/paged/login"
PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}
DEVICE = b'{"user_code":"AB-CD"}'


def state_of(url):
    return parse_qs(urlsplit(url).query)["state"][0]


def error_of(reply):
    return reply.json["error"]


# Starting


async def test_sign_in_from_the_first_call_to_the_stored_account():
    async with serving() as server:
        begun = (await server.get("/v1/auth/web/login")).json
        assert begun["expires_in"] in (299, 300)
        assert begun["url"].startswith("https://web.test/authorize?challenge=")
        assert server.opened == [begun["url"]]
        status = f"/v1/auth/web/status?flow={begun['flow']}"
        assert (await server.get(status)).json["state"] == "waiting"
        server.send.script(granted(1))
        page = await server.come_back(f"/callback?state={state_of(begun['url'])}&code=c1", PAGE)
        assert page.status == 200
        done = (await server.get(status)).json
        assert (done["state"], done["account"], done["expires_in"]) == ("done", "web/web-1", 0)
        assert "name" not in done, "who people are is for control"
        assert (await server.admin("GET", status)).json["name"] == "web-1@example.org"
        again = await server.admin("GET", "/v1/auth/web/status")
        assert again.json["authenticated"] is True
        assert list(server.vault.records) == ["web/web-1"]


async def test_browser_is_sent_on_to_the_service():
    async with serving() as server:
        reply = await server.get("/v1/auth/web/login", PAGE)
        assert reply.status == 302
        assert reply.header("location").startswith("https://web.test/authorize")
        assert server.opened == []


@pytest.mark.parametrize("method", ["get", "post"])
async def test_service_that_is_used_through_its_page_answers_with_the_page(method):
    async with serving() as server:
        server.desk.book.providers["paged"] = replace(
            KEYED, id="paged", title="Paged", sign_ins={}, page_url="https://paged.test/apps"
        )
        ask = getattr(server, method)
        reply = await (ask("/v1/auth/paged/login", {}) if method == "post" else ask(PAGED))
        assert (reply.status, reply.json["url"]) == (200, "https://paged.test/apps")
        assert (reply.json["flow"], reply.json["expires_in"]) == ("", 0)
        assert "`dragoman keys create --relay paged/home`" in reply.json["message"]
        assert server.opened == ["https://paged.test/apps"]
        sent_on = await server.get(PAGED, PAGE)
        assert (sent_on.status, sent_on.header("location")) == (302, "https://paged.test/apps")
        assert server.desk.logins.flows() == ()


async def test_browser_is_shown_a_device_code():
    async with serving() as server:
        server.send.script(Answered(200, {}, DEVICE))
        reply = await server.get("/v1/auth/web/login?way=device", PAGE)
        assert "AB-CD" in reply.body.decode()
        assert "https://web.test/device" in reply.body.decode()


async def test_browser_is_told_where_a_key_is_typed():
    async with serving() as server:
        reply = await server.get("/v1/auth/keyed/login", PAGE)
        assert "dragoman login keyed" in reply.body.decode()


async def test_device_code_comes_as_json():
    async with serving() as server:
        server.send.script(Answered(200, {}, DEVICE))
        begun = (await server.get("/v1/auth/web/login?way=device")).json
        assert (begun["user_code"], begun["url"]) == ("AB-CD", "https://web.test/device")
        server.send.script(granted(1))
        server.typed.set()
        await server.desk.logins._attempts[begun["flow"]].task
        status = await server.get(f"/v1/auth/web/status?flow={begun['flow']}")
        assert status.json["state"] == "done"


async def test_account_is_repaired_by_label_or_e_mail():
    async with serving(record()) as server:
        for query in ("account=web-1", "account=web%2Fweb-1", "user_email=web-1%40example.org"):
            begun = (await server.get(f"/v1/auth/web/login?{query}")).json
            assert begun["account"] == "web/web-1"
        begun = (await server.get("/v1/auth/web/login?user_email=new%40example.org")).json
        assert begun["account"] == ""
        reply = await server.get("/v1/auth/web/login?account=none")
        assert (reply.status, error_of(reply)["code"]) == (404, "unknown_account")


@pytest.mark.parametrize("path", ["/v1/auth/llmux/chatgpt/login", "/v1/auth/chatgpt/login"])
async def test_ancestors_paths_answer_too(path):
    async with serving() as server:
        begun = (await server.get(path)).json
        assert begun["provider"] == "codex"


async def test_unknown_service_is_404():
    async with serving() as server:
        for method, path in (("GET", "/v1/auth/none/login"), ("GET", "/v1/auth/llmux/x/login")):
            reply = await server.ask(method, path)
            assert (reply.status, error_of(reply)["code"]) == (404, "unknown_provider")


async def test_head_starts_nothing():
    async with serving() as server:
        assert (await server.ask("HEAD", "/v1/auth/web/login")).status == 405
        assert server.desk.logins.flows() == ()


async def test_text_that_must_be_agreed_to_is_shown():
    async with serving() as server:
        reply = await server.get("/v1/auth/strict/login")
        assert (reply.status, error_of(reply)["code"]) == (409, "consent_required")
        assert CONSENT.text in error_of(reply)["message"]
        page = await server.get("/v1/auth/strict/login", PAGE)
        assert page.status == 409
        assert CONSENT.text in page.body.decode()
        # Nobody but the user agrees: not a query that any process may send.
        reply = await server.get(f"/v1/auth/strict/login?consent={CONSENT.version}")
        assert reply.status == 409
        reply = await server.admin("POST", "/v1/auth/strict/login", {"consent": CONSENT.version})
        assert reply.json["state"] == "waiting"


async def test_start_under_control_takes_all_that_a_sign_in_needs():
    async with serving(record()) as server:
        wanted = {"label": "work", "way": "browser"}
        assert (await server.admin("POST", "/v1/auth/web/login", wanted)).json["way"] == "browser"
        wanted = {"user_email": "web-1@example.org"}
        reply = await server.admin("POST", "/v1/auth/web/login", wanted)
        assert reply.json["account"] == "web/web-1"
        assert (await server.post("/v1/auth/web/login", wanted)).status == 401


async def test_too_many_sign_ins_say_when_to_come_back():
    async with serving() as server:
        for _ in range(4):
            await server.get("/v1/auth/web/login")
        reply = await server.get("/v1/auth/web/login")
        assert reply.status == 429
        assert int(reply.header("retry-after")) > 200


async def test_locked_vault_is_told_before_the_browser_opens():
    vault = DictVault()
    vault.locked = "The system keyring is locked."
    async with serving(vault=vault) as server:
        reply = await server.get("/v1/auth/web/login")
        assert (reply.status, error_of(reply)["code"]) == (503, "vault_unusable")
        assert "keyring is locked" in error_of(reply)["message"]
        assert server.opened == []


# Coming back


async def test_callback_over_the_main_address():
    async with serving() as server:
        begun = (await server.get("/v1/auth/web/login")).json
        state = state_of(begun["url"])
        headers = PAGE | {"Sec-Fetch-Site": "cross-site", "Referer": "https://web.test/"}
        foreign = await server.get(f"/v1/auth/strict/callback?state={state}&code=c", headers)
        assert foreign.status == 404
        server.send.script(granted(1))
        reply = await server.get(f"/v1/auth/web/callback?state={state}&code=c", headers)
        assert reply.status == 200
        assert "is signed in" in reply.body.decode()
        assert reply.header("referrer-policy") == "no-referrer"
        reused = await server.get(f"/v1/auth/web/callback?state={state}&code=c", headers)
        assert reused.status == 404
        assert len(server.send.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image", "Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.test"},
    ],
)
async def test_callback_is_for_navigations_to_us(headers):
    async with serving() as server:
        begun = (await server.get("/v1/auth/web/login")).json
        path = f"/v1/auth/web/callback?state={state_of(begun['url'])}&code=c"
        assert (await server.get(path, headers)).status in (403, 404)
        assert (await server.ask("HEAD", path)).status == 405
        assert server.desk.logins.get(begun["flow"]).state == "waiting"


async def test_busy_callback_port_offers_to_paste():
    async with serving() as server:
        first = (await server.get("/v1/auth/web/login")).json
        assert first["listening"] is True
        assert "notice" not in first
        server.desk.logins.cancel(first["flow"])
        await server.desk.logins.close()
        taken = bind(server.listen.port)
        second = (await server.get("/v1/auth/web/login")).json
        assert "listening" not in second
        assert f"Port {server.listen.port}" in second["notice"]
        for sock in taken:
            sock.close()


# Status


async def test_status_of_nobody():
    async with serving() as server:
        assert (await server.get("/v1/auth/web/status")).json == {
            "provider": "web",
            "authenticated": False,
            "expires_at": None,
            "claims": None,
            "account": "",
            "state": "",
            "reason": "",
            "accounts": [],
        }


async def test_status_tells_names_only_to_control():
    async with serving(record(), record("web-2", paused=True)) as server:
        server.desk.book.set_trouble("web/web-1", "Signed out.")
        body = (await server.get("/v1/auth/web/status?account=web-1")).json
        assert (body["authenticated"], body["reason"]) == (False, "Signed out.")
        body = (await server.get("/v1/auth/web/status")).json
        assert (body["authenticated"], body["account"]) == (True, "web-2")
        assert body["claims"] == {"plan": "plus"}
        assert [a["label"] for a in body["accounts"]] == ["web-1", "web-2"]
        body = (await server.admin("GET", "/v1/auth/web/status?user_email=web-2@example.org")).json
        assert body["claims"] == {"plan": "plus", "email": "web-2@example.org"}
        assert body["expires_at"] == server.vault.records["web/web-2"].credential.expires_at
        body = (await server.get("/v1/auth/web/status?account=none")).json
        assert (body["authenticated"], body["claims"]) == (False, None)


async def test_status_shows_accounts_of_the_settings():
    async with serving() as server:
        server.desk.configure([Account("keyed/k", KEYED, "k", KEYED.base_url, Credential("sk"))])
        body = (await server.get("/v1/auth/keyed/status?account=k")).json
        assert (body["authenticated"], body["account"]) == (True, "k")


# Who may


async def test_client_keys_sign_nobody_in_and_see_their_scope():
    async with serving(record(), record("web-2")) as server:
        key = {"x-api-key": server.admit(accounts=("web/web-2",))}
        reply = await server.get("/v1/auth/web/login", key)
        assert (reply.status, error_of(reply)["code"]) == (403, "wrong_key_kind")
        body = (await server.get("/v1/auth/web/status", key)).json
        assert [a["label"] for a in body["accounts"]] == ["web-2"]
        flow = (await server.get("/v1/auth/web/login")).json["flow"]
        assert (await server.get(f"/v1/auth/web/status?flow={flow}", key)).status == 403
        for method in ("POST", "DELETE"):
            assert (await server.ask(method, "/v1/auth/web", b"{}", key)).status == 403


async def test_strangers_may_do_nothing():
    async with serving(record(), proven=False) as server:
        for path in ("/v1/auth/web/login", "/v1/auth/web/status"):
            assert (await server.get(path)).status == 401
        assert server.desk.logins.flows() == ()


async def test_foreign_pages_start_nothing():
    async with serving() as server:
        for headers in (
            {"Origin": "https://evil.test"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        ):
            assert (await server.get("/v1/auth/web/login", headers)).status == 403
        assert server.desk.logins.flows() == ()


async def test_credentials_and_logout_need_control():
    async with serving(record()) as server:
        for method in ("POST", "DELETE"):
            reply = await server.ask(method, "/v1/auth/web", b'{"jwt":"key"}')
            assert reply.status == 401
            assert "curl" in reply.body.decode()
        assert list(server.vault.records) == ["web/web-1"]
        admin = {"authorization": f"Bearer {server.admit('admin')}"}
        server.send.script(Answered(200, {}, b"{}"))
        reply = await server.ask("DELETE", "/v1/auth/web", b"", admin)
        assert reply.json == {"message": "web/web-1 was revoked and removed."}


# Credentials


@pytest.mark.parametrize(
    "field", ["secret", "api_key", "token", "cookie", "clerk_jwt_cookie", "jwt"]
)
async def test_credential_is_taken_under_each_name(field):
    async with serving() as server:
        server.send.script(granted(1, id="", name=""))
        reply = await server.admin("POST", "/v1/auth/web", {field: f"{CANARY}-key"})
        assert reply.json["message"] == "web/web-1 is signed in."
        assert reply.json["way"] == "cookie"
        assert CANARY not in reply.body.decode()


async def test_credential_with_an_e_mail_repairs_that_account():
    async with serving(record()) as server:
        server.send.script(granted(1))
        body = {"jwt": f"{CANARY}-key", "user_email": "web-1@example.org"}
        reply = await server.admin("POST", "/v1/auth/web", body)
        assert (reply.json["account"], reply.json["repaired"]) == ("web/web-1", True)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "no_secret"),
        (b"{}", "no_secret"),
        (b'{"jwt":"canary-4f1d9a7e2b-a key","cookie":"canary-4f1d9a7e2b-b key"}', "no_secret"),
        (b'{"jwt":"canary-4f1d9a7e2b-wrong"}', "no_key"),
        (b'{"jwt":["canary-4f1d9a7e2b-wrong"]}', "invalid_json"),
        (b"canary-4f1d9a7e2b-wrong", "invalid_json"),
        (b'{"jwt":"canary-4f1d9a7e2b \xff"}', "invalid_json"),
        (b'{"password":"canary-4f1d9a7e2b"}', "invalid_json"),
    ],
)
async def test_wrong_credentials_are_told_without_being_repeated(body, code, caplog):
    with caplog.at_level(logging.DEBUG):
        async with serving() as server:
            reply = await server.admin("POST", "/v1/auth/web", body)
            assert (reply.status, error_of(reply)["code"]) == (400, code)
            assert CANARY not in reply.body.decode() + caplog.text
            assert not any(flow.live for flow in server.desk.logins.flows())


async def test_refused_credential_is_told():
    async with serving() as server:
        server.send.script(refusal(said="no such user"))
        reply = await server.admin("POST", "/v1/auth/web", {"jwt": f"{CANARY}-key"})
        assert reply.status == 400
        assert "no such user" in error_of(reply)["message"]


async def test_service_without_a_typed_way_takes_no_credential():
    async with serving() as server:
        server.desk.book._providers["web"].sign_ins.pop("cookie")
        reply = await server.admin("POST", "/v1/auth/web", {"jwt": f"{CANARY}-key"})
        assert (reply.status, error_of(reply)["code"]) == (409, "wrong_way")
        assert not any(flow.live for flow in server.desk.logins.flows())


# Logout


async def test_logout_of_one_of_several_needs_its_name():
    async with serving(record(), record("web-2")) as server:
        reply = await server.admin("DELETE", "/v1/auth/web")
        assert (reply.status, error_of(reply)["code"]) == (400, "account_needed")
        assert "web-1, web-2" in error_of(reply)["message"]
        server.send.script(Answered(200, {}, b"{}"))
        reply = await server.admin("DELETE", "/v1/auth/web?account=web-2")
        assert reply.status == 200
        assert list(server.vault.records) == ["web/web-1"]
        assert (await server.admin("DELETE", "/v1/auth/strict")).status == 404


async def test_no_secret_in_any_answer_or_log(caplog):
    with caplog.at_level(logging.DEBUG):
        async with serving(record()) as server:
            paths = ("/v1/auth/web/login", "/v1/auth/web/status", "/admin/accounts")
            said = [(await server.admin("GET", path)).body.decode() for path in paths]
            flow = server.desk.logins.flows()[0]
            state = state_of(flow.url)
            server.send.script(refusal(said=f"bad {CANARY}-code"))
            page = await server.come_back(f"/callback?state={state}&code={CANARY}-code")
            said.append(page.body.decode())
            status = await server.admin("GET", f"/v1/auth/web/status?flow={flow.id}")
            said.append(status.body.decode())
        assert "Signed out" in said[-1]
        assert CANARY not in "".join(said) + caplog.text
        assert TOKEN not in caplog.text
        assert state not in caplog.text
