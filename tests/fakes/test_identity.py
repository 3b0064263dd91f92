"""The OAuth fakes are as strict as they say: a sign-in that they accept is right."""

import httpx
import pytest

from tests.fakes.basic import Clock
from tests.fakes.identity import ChatGptIdentity, ClaudeIdentity, challenge_of, code_in
from tests.fakes.upstream import Upstream

VERIFIER = "v" * 64
STATE = "0123456789abcdef"


class Client:
    """A client of one fake that does everything right, but for what it is told."""

    def __init__(self, service, fake, http):
        self.service = service
        self.base = fake.url
        self.http = http

    async def authorize(self, **changes):
        parameters = {
            "client_id": self.service.client_id,
            "response_type": "code",
            "redirect_uri": self.service.redirect,
            "scope": self.service.scope,
            "state": STATE,
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
            **dict(self.service.authorize_needs),
        } | changes
        parameters = {k: v for k, v in parameters.items() if v is not None}
        return await self.http.get(f"{self.base}/oauth/authorize", params=parameters)

    async def code(self):
        return code_in((await self.authorize()).headers["location"])[0]

    async def token(self, fields, as_json=None):
        url = f"{self.base}{self.service.token_path}"
        if isinstance(self.service, ClaudeIdentity) if as_json is None else as_json:
            return await self.http.post(url, json=fields)
        return await self.http.post(url, data=fields)

    def exchange(self, code, /, **changes):
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.service.redirect,
            "client_id": self.service.client_id,
            "code_verifier": VERIFIER,
        }
        if isinstance(self.service, ClaudeIdentity):
            fields["state"] = STATE
        return {k: v for k, v in (fields | changes).items() if v is not None}

    def renewal(self, token, /, **changes):
        fields = {
            "client_id": self.service.client_id,
            "grant_type": "refresh_token",
            "refresh_token": token,
            "scope": "user:inference"
            if isinstance(self.service, ClaudeIdentity)
            else "openid profile email",
        }
        return fields | changes


@pytest.fixture(params=[ClaudeIdentity, ChatGptIdentity])
def service(request):
    return request.param(Clock())


def using(test):
    """Run a test with a client of the service."""

    async def run(service):
        async with Upstream(service) as fake, httpx.AsyncClient() as http:
            await test(service, Client(service, fake, http))

    run.__name__ = test.__name__
    return run


def word(reply):
    error = reply.json()["error"]
    return error if isinstance(error, str) else error["code"]


@using
async def test_a_right_sign_in_is_granted_once(service, client):
    reply = await client.authorize()
    assert reply.status_code == 302
    code, state = code_in(reply.headers["location"])
    assert state == STATE
    assert reply.headers["location"].startswith(service.redirect + "?")
    tokens = await client.token(client.exchange(code))
    assert tokens.status_code == 200
    body = tokens.json()
    assert service.holder(body["access_token"]).refresh == body["refresh_token"]
    assert body["expires_in"] == service.lifetime_s
    again = await client.token(client.exchange(code))
    assert (again.status_code, word(again)) == (400, "invalid_grant")


@using
async def test_the_page_refuses_every_wrong_parameter(service, client):
    wrong = {
        "response_type": "token",
        "redirect_uri": "http://localhost:1/callback",
        "scope": "openid everything",
        "code_challenge_method": "plain",
        "code_challenge": "short",
        "state": "",
        "extra": "1",
    }
    for name, value in wrong.items():
        assert (await client.authorize(**{name: value})).status_code == 400, name
    for name in set(wrong) - {"extra"}:
        assert (await client.authorize(**{name: None})).status_code == 400, name
    assert service.codes == {}


@using
async def test_a_person_may_say_no(service, client):
    service.consents = False
    reply = await client.authorize()
    assert "error=access_denied" in reply.headers["location"]


@using
async def test_the_token_endpoint_verifies_each_field(service, client):
    wrong = [
        {"client_id": "other"},
        {"grant_type": "password"},
        {"code": "unknown"},
        {"redirect_uri": "http://localhost:1/callback"},
        {"code_verifier": "w" * 64},
        {"code_verifier": "short"},
        {"extra": "1"},
        {"code_verifier": None},
    ]
    if isinstance(service, ClaudeIdentity):
        wrong += [{"state": "other"}, {"state": None}]
    for change in wrong:
        reply = await client.token(client.exchange(await client.code(), **change))
        assert reply.status_code in (400, 401), change
    assert service.grants == []


@using
async def test_a_wrong_verifier_burns_the_code(service, client):
    code = await client.code()
    await client.token(client.exchange(code, code_verifier="w" * 64))
    assert word(await client.token(client.exchange(code))) == "invalid_grant"


@using
async def test_a_code_runs_out(service, client):
    code = await client.code()
    service.now.advance(service.code_s)
    assert word(await client.token(client.exchange(code))) == "invalid_grant"


@using
async def test_the_form_of_the_body_is_the_services_own(service, client):
    other = not isinstance(service, ClaudeIdentity)
    reply = await client.token(client.exchange(await client.code()), as_json=other)
    assert (reply.status_code, word(reply)) == (400, "invalid_request")


@using
async def test_a_refresh_token_works_once_and_its_reuse_ends_the_sign_in(service, client):
    grant = service.grant()
    first = grant.refresh
    new = (await client.token(client.renewal(first))).json()
    assert new["refresh_token"] != first
    assert service.holder(new["access_token"]) is grant
    reused = await client.token(client.renewal(first))
    assert reused.status_code in (400, 401)
    assert service.holder(new["access_token"]) == "reused"
    ended = await client.token(client.renewal(new["refresh_token"]))
    assert word(ended) == "invalid_grant"
    assert service.renewals == 1


@using
async def test_a_renewal_may_not_widen_its_scope_or_be_of_another_client(service, client):
    token = service.grant().refresh
    assert (await client.token(client.renewal(token, scope="all"))).status_code == 400
    assert (await client.token(client.renewal(token, client_id="x"))).status_code == 401
    assert (await client.token(client.renewal("unknown"))).status_code == 400
    assert (await client.token(client.renewal(token))).status_code == 200


@using
async def test_scripted_failures_come_first_and_a_lost_answer_has_done_its_work(service, client):
    grant = service.grant()
    token = grant.refresh
    service.fail_tokens((429, {"error": "x"}, {"retry-after": "9"}), (503, {"error": "y"}), "lost")
    reply = await client.token(client.renewal(token))
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "9")
    assert (await client.token(client.renewal(token))).status_code == 503
    assert grant.refresh == token
    assert (await client.token(client.renewal(token))).status_code == 502
    assert grant.refresh != token


@using
async def test_an_access_token_ends(service, client):
    grant = service.grant()
    service.now.advance(service.lifetime_s - 1)
    assert service.holder(grant.access) is grant
    service.now.advance(1)
    assert service.holder(grant.access) == "expired"
    assert service.holder("unknown") == "unknown"


# Claude's own


async def test_claudes_profile_and_usage_need_the_beta_and_the_scope():
    service = ClaudeIdentity(Clock())
    async with Upstream(service) as fake, httpx.AsyncClient(base_url=fake.url) as http:
        beta = {"anthropic-beta": "oauth-2025-04-20"}

        async def get(path, token, **headers):
            headers = {"authorization": f"Bearer {token}", **beta, **headers}
            return await http.get(f"/api/oauth/{path}", headers=headers)

        token = service.grant().access
        assert (await get("profile", token)).json()["account"]["email"] == "ada@example.test"
        assert (await get("usage", token)).json()["five_hour"]["utilization"] == 12.0
        bare = await get("usage", token, **{"anthropic-beta": "other"})
        assert bare.status_code == 401
        assert (await get("usage", token, **{"x-api-key": "k"})).status_code == 401
        assert (await get("usage", "unknown")).status_code == 401
        assert (await get("profile", service.long_lived().access)).status_code == 403
        service.usage_retry_s = 30
        limited = await get("usage", token)
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "30")


# ChatGPT's own


async def test_chatgpts_device_codes_wait_refuse_and_run_out():
    clock = Clock()
    service = ChatGptIdentity(clock)
    async with Upstream(service) as fake, httpx.AsyncClient(base_url=fake.url) as http:

        async def begin():
            body = {"client_id": service.client_id}
            return (await http.post("/api/accounts/deviceauth/usercode", json=body)).json()

        async def poll(device, wait=5):
            clock.advance(wait)
            body = {key: device[key] for key in ("device_auth_id", "user_code")}
            reply = await http.post("/api/accounts/deviceauth/token", json=body)
            return reply.status_code, reply.json()

        device = await begin()
        status, body = await poll(device)
        assert (status, body["error"]["code"]) == (403, "deviceauth_authorization_pending")
        status, body = await poll(device, 1)
        assert (status, body["error"]["code"]) == (400, "slow_down")
        assert (await poll(device, 5))[1]["error"]["code"] == "slow_down"  # ten seconds by now
        service.approve(device["user_code"])
        status, body = await poll(device, 20)
        assert status == 200
        assert challenge_of(body["code_verifier"]) == body["code_challenge"]
        exchange = {
            "grant_type": "authorization_code",
            "client_id": service.client_id,
            "code": body["authorization_code"],
            "code_verifier": body["code_verifier"],
            "redirect_uri": f"{fake.url}/deviceauth/callback",
        }
        assert (await http.post("/oauth/token", data=exchange)).status_code == 200
        assert (await poll(device, 20))[1]["error"]["code"] == "deviceauth_expired_token"

        denied = await begin()
        service.deny(denied["user_code"])
        assert (await poll(denied))[1]["error"]["code"] == "access_denied"
        late = await begin()
        assert (await poll(late, 900))[1]["error"]["code"] == "deviceauth_expired_token"
        service.device_codes = False
        assert (await begin())["error"]["code"] == "not_found"


async def test_chatgpts_usage_needs_the_workspace_of_the_token():
    service = ChatGptIdentity(Clock())
    async with Upstream(service) as fake, httpx.AsyncClient(base_url=fake.url) as http:
        grant = service.grant()
        headers = {"authorization": f"Bearer {grant.access}"}

        async def status(**more):
            reply = await http.get("/backend-api/wham/usage", headers=headers | more)
            return reply.status_code

        right = {"chatgpt-account-id": grant.person.account}
        assert await status(**right) == 200
        assert await status() == 403
        service.revoke(grant)
        assert await status(**right) == 401


async def test_a_sign_in_is_ended_by_a_token_of_it_and_in_the_right_form():
    service = ChatGptIdentity(Clock())
    async with Upstream(service) as fake, httpx.AsyncClient(base_url=fake.url) as http:
        grant, other = service.grant(), service.grant()
        right = {
            "token": grant.refresh,
            "token_type_hint": "refresh_token",
            "client_id": service.client_id,
        }

        async def status(fields):
            return (await http.post("/oauth/revoke", json=fields)).status_code

        for wrong in (
            right | {"client_id": "another"},
            right | {"token_type_hint": "access_token"},
            {k: v for k, v in right.items() if k != "client_id"},
            {k: v for k, v in right.items() if k != "token_type_hint"},
        ):
            assert await status(wrong) in (400, 401)
        assert (await http.post("/oauth/revoke", data=right)).status_code == 400
        assert await status(right | {"token": "rt_unknown"}) == 200
        assert (grant.ended, other.ended) == ("", "")
        assert await status(right) == 200
        assert (grant.ended, other.ended) == ("revoked", "")
        assert await status({"token": other.access, "token_type_hint": "access_token"}) == 200
        assert other.ended == "revoked"
