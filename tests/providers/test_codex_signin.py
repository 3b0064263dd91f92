"""Signing in to ChatGPT for Codex, over real sockets against a strict OAuth server."""

from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.errors import AccountError, UpstreamError
from app.providers import CODEX
from app.providers.base import USER_AGENT
from app.providers.credential import Credential
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN, Listen, Pkce
from tests.fakes.basic import Clock
from tests.fakes.identity import ChatGptIdentity, Person, codex_at, jwt
from tests.fakes.upstream import Upstream
from tests.providers.driving import NOW, PKCE, STATE, VERIFIER, driving

DAY = 86_400.0


@asynccontextmanager
async def signing_in(**changes):
    """Serve the fake; yields it and a ``Drive`` of the provider over it."""
    clock = Clock(NOW)
    service = ChatGptIdentity(clock, Person(**{"plan": "plus"} | changes))
    async with Upstream(service) as fake, driving(codex_at(fake.url), clock) as drive:
        yield service, drive


async def refused(drive, steps):
    with pytest.raises((AccountError, UpstreamError)) as caught:
        await drive.run(steps)
    return caught.value


def device(drive):
    return drive.provider.sign_ins["device"].run("")


# In the browser


def test_the_page_is_openais_and_gets_nothing_but_the_challenge():
    sign_in = CODEX.sign_ins["browser"]
    url = sign_in.begin(PKCE, STATE)
    assert url.startswith("https://auth.openai.com/oauth/authorize?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_id": "app_EMoamEEZ73f0CkXaXp7hrann",
        "response_type": "code",
        "redirect_uri": "http://localhost:1455/auth/callback",
        "scope": "openid profile email offline_access",
        "state": STATE,
        "code_challenge": PKCE.challenge,
        "code_challenge_method": "S256",
        "prompt": "login",
        "id_token_add_organizations": "true",
        "codex_cli_simplified_flow": "true",
    }
    assert VERIFIER not in url
    assert sign_in.listen == Listen(1455, "/auth/callback")


async def test_a_code_becomes_an_account_with_workspace_and_plan():
    async with signing_in() as (service, drive):
        granted = await drive.sign_in()
        (grant,) = service.grants
    credential, identity = granted.credential, granted.identity
    assert (credential.secret, credential.renewal) == (grant.access, grant.refresh)
    assert (credential.kind, credential.obtained_at) == ("oauth", NOW)
    assert credential.expires_at == NOW + 10 * DAY
    who = grant.person
    assert credential.facts == {"account_id": who.account, "plan": "plus", "user_id": who.user}
    assert identity.id == f"{who.account}/{who.user}"
    assert (identity.name, identity.plan) == ("ada@example.test", "plus")
    assert identity.organization == "Ada's workspace"
    (call,) = drive.sent
    assert set(dict(parse_qsl(call.body.decode()))) == {
        "grant_type",
        "client_id",
        "code",
        "redirect_uri",
        "code_verifier",
    }
    assert dict(call.headers)["User-Agent"] == USER_AGENT


async def test_workspaces_of_one_person_and_people_of_one_workspace_are_accounts_of_their_own():
    async with signing_in() as (service, drive):
        ids = {(await drive.sign_in()).identity.id}
        for change in ({"account": "a2"}, {"user": "u2", "email": "eve@example.test"}):
            service.person = replace(Person(plan="team"), **change)
            granted = await drive.sign_in()
            assert granted.identity.plan == "team"
            ids.add(granted.identity.id)
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("id_token", "access", "facts"),
    [
        ({"chatgpt_account_id": "top"}, {}, {"account_id": "top"}),
        ({"organizations": [{"id": "org-1"}, {"id": "org-2"}]}, {}, {"account_id": "org-1"}),
        ({"organizations": []}, {"chatgpt_account_id": "b"}, {"account_id": "b"}),
        ({"organizations": [5]}, {}, {}),
        ({"https://api.openai.com/auth": 5}, {}, {}),
        (
            {"https://api.openai.com/auth": {"chatgpt_plan_type": "pro", "user_id": "u"}},
            {"chatgpt_account_id": "b"},
            {"account_id": "b", "plan": "pro", "user_id": "u"},
        ),
        (None, {"chatgpt_account_id": "b"}, {"account_id": "b"}),
        (None, None, {}),
    ],
)
async def test_the_account_is_found_where_a_token_names_it(id_token, access, facts):
    async with signing_in() as (service, drive):
        service.token_answer = lambda grant: {
            "access_token": "opaque" if access is None else jwt(access),
            "id_token": "" if id_token is None else jwt(id_token),
            "expires_in": 60,
        }
        granted = await drive.sign_in()
    assert granted.credential.facts == facts
    assert granted.identity.id.startswith(facts.get("account_id", ""))


async def test_the_service_refuses_foreign_keys_and_used_codes():
    async with signing_in() as (service, drive):
        sign_in = drive.provider.sign_ins["browser"]
        code, _ = await drive.visit(sign_in.begin(PKCE, STATE))
        foreign = await refused(drive, sign_in.finish(code, STATE, Pkce("w" * 64, "x")))
        burned = await refused(drive, sign_in.finish(code, STATE, PKCE))
        assert service.exchanges == 0
    for error in (foreign, burned):
        assert (type(error), error.code) == (AccountError, SIGN_IN_AGAIN)


# By a device code


async def test_a_device_code_is_shown_and_waited_for():
    async with signing_in() as (service, drive):

        def user(count):
            if count == 3:
                service.approve(drive.shown[0].user_code)

        drive.on_wait = user
        granted = await drive.run(device(drive))
        assert service.exchanges == 1
    (shown,) = drive.shown
    assert shown.url.endswith("/codex/device")
    assert shown.expires_at == NOW + 900
    assert drive.waits == [8.0, 8.0, 8.0]
    assert granted.identity.name == "ada@example.test"
    assert granted.credential.renewal


async def test_an_impatient_interval_is_lengthened_as_told():
    async with signing_in() as (service, drive):
        poll, hurried = service._poll, [1]

        def strict(body, redirect):
            if hurried:
                hurried.pop()
                raise service.refuse(400, "slow_down", "Too many polls")
            return poll(body, redirect)

        service._poll = strict
        drive.on_wait = lambda count: (
            service.approve(drive.shown[0].user_code) if count == 3 else None
        )
        assert (await drive.run(device(drive))).credential.secret
    assert drive.waits == [8.0, 13.0, 13.0]


async def test_saying_no_to_a_device_code_ends_it():
    async with signing_in() as (service, drive):
        drive.on_show = lambda shown: service.deny(shown.user_code)
        error = await refused(drive, device(drive))
    assert (type(error), error.code) == (AccountError, SIGN_IN_AGAIN)
    assert "declined" in error.message
    assert len(drive.waits) == 1


async def test_a_device_code_runs_out():
    async with signing_in() as (service, drive):
        error = await refused(drive, device(drive))
        assert service.exchanges == 0
    assert "not typed in time" in error.message
    assert sum(drive.waits) <= 900


async def test_a_device_code_that_the_service_ends_early_is_over():
    async with signing_in() as (service, drive):
        service.device_s = 20.0
        error = await refused(drive, device(drive))
    assert "not typed in time" in error.message
    assert len(drive.waits) == 3


async def test_polls_go_on_over_a_broken_network_and_a_failing_service():
    async with signing_in() as (service, drive):
        poll, failing = service._poll, [1]

        def flaky(body, redirect):
            if failing:
                failing.pop()
                raise service.failure("server")
            return poll(body, redirect)

        service._poll = flaky

        def user(count):
            drive.broken = int(count == 2)
            if count == 3:
                service.approve(drive.shown[0].user_code)

        drive.on_wait = user
        assert (await drive.run(device(drive))).credential.secret
    assert len(drive.waits) == 3


async def test_device_codes_that_are_switched_off_lead_to_the_browser():
    async with signing_in() as (service, drive):
        service.device_codes = False
        error = await refused(drive, device(drive))
    assert error.code == NOT_ALLOWED
    assert "browser" in error.hint
    assert drive.shown == []


@pytest.mark.parametrize(
    "body", [{}, {"device_auth_id": "x"}, {"device_auth_id": 5, "user_code": "A"}]
)
async def test_an_answer_without_a_device_code_is_not_understood(body):
    async with signing_in() as (service, drive):
        service._begin = lambda _: service.json(body)
        assert isinstance(await refused(drive, device(drive)), UpstreamError)


async def test_a_service_that_cannot_give_out_a_code_now_is_asked_later():
    async with signing_in() as (service, drive):
        service._begin = lambda _: (_ for _ in ()).throw(service.failure("server"))
        assert isinstance(await refused(drive, device(drive)), UpstreamError)


async def test_a_poll_that_is_refused_otherwise_ends_the_sign_in():
    async with signing_in() as (service, drive):
        service._poll = lambda *_: (_ for _ in ()).throw(service.refuse(400, "odd", "Odd"))
        error = await refused(drive, device(drive))
    assert (type(error), error.code) == (AccountError, SIGN_IN_AGAIN)
    assert len(drive.waits) == 1


async def test_a_typed_code_without_its_verifier_is_not_understood():
    async with signing_in() as (service, drive):
        service._poll = lambda *_: service.json({"authorization_code": "c"})
        error = await refused(drive, device(drive))
        assert service.exchanges == 0
    assert isinstance(error, UpstreamError)


@pytest.mark.parametrize(
    "organizations", [None, [], [5], [{"is_default": False, "title": "x"}], [{"is_default": True}]]
)
async def test_a_workspace_without_a_title_has_none(organizations):
    async with signing_in() as (service, drive):
        claims = {"https://api.openai.com/auth": {"organizations": organizations}}
        service.token_answer = lambda grant: {"access_token": jwt(claims), "expires_in": 60}
        assert (await drive.sign_in()).identity.organization == ""


@pytest.mark.parametrize(
    ("given", "waits"), [("5", 8.0), (2, 5.0), (None, 8.0), ("soon", 8.0), (0, 8.0)]
)
async def test_the_interval_comes_as_number_or_text_and_may_be_missing(given, waits):
    async with signing_in() as (service, drive):
        begin = service._begin

        def other(body):
            begin(body)
            ((name, made),) = service.devices.items()
            made.interval_s = 1.0
            return service.json(
                {"device_auth_id": name, "usercode": made.user_code, "interval": given}
            )

        service._begin = other
        drive.on_show = lambda shown: service.approve(shown.user_code)
        await drive.run(device(drive))
    assert drive.waits == [waits]


# Renewal


async def test_a_renewal_replaces_both_tokens_and_follows_the_plan():
    async with signing_in() as (service, drive):
        old = (await drive.sign_in()).credential
        drive.clock.advance(6 * DAY)
        service.grants[0].person = replace(service.person, plan="pro")
        new = await drive.run(drive.provider.renew(old))
        (grant,) = service.grants
    assert (new.secret, new.renewal) == (grant.access, grant.refresh)
    assert new.renewal != old.renewal
    assert new.expires_at == NOW + 16 * DAY
    assert new.facts == {**old.facts, "plan": "pro"}
    fields = dict(parse_qsl(drive.sent[-1].body.decode()))
    assert fields["scope"] == "openid profile email"


async def test_without_new_claims_the_account_stays_known():
    async with signing_in() as (service, drive):
        old = (await drive.sign_in()).credential
        service.id_token_on_renewal = False
        service.make_tokens = lambda grant: ("opaque", "rt_new")
        new = await drive.run(drive.provider.renew(old))
    assert new.secret == "opaque"
    assert new.facts == old.facts


async def test_a_shared_refresh_token_is_told_as_such():
    async with signing_in() as (_, drive):
        old = (await drive.sign_in()).credential
        await drive.run(drive.provider.renew(old))
        error = await refused(drive, drive.provider.renew(old))
    assert (type(error), error.code) == (AccountError, SIGN_IN_AGAIN)
    assert "another program" in error.message
    assert old.renewal not in error.text


async def test_an_answer_that_is_lost_looks_like_a_shared_token_and_not_like_success():
    async with signing_in() as (service, drive):
        old = (await drive.sign_in()).credential
        service.fail_tokens("lost")
        error = await refused(drive, drive.provider.renew(old))
    assert error.code == SIGN_IN_AGAIN


@pytest.mark.parametrize(
    ("answers", "kind", "code", "calls"),
    [
        ([(429, {})], AccountError, NOT_ALLOWED, 1),
        (
            [(403, {"error": {"code": "unsupported_country_region_territory"}})],
            AccountError,
            NOT_ALLOWED,
            1,
        ),
        ([(401, {"error": {"code": "refresh_token_expired"}})], AccountError, SIGN_IN_AGAIN, 1),
        ([(400, {"error": "invalid_grant"})], AccountError, SIGN_IN_AGAIN, 1),
        ([(500, {})] * 3, UpstreamError, "token_endpoint_failed", 3),
    ],
)
async def test_each_refusal_of_a_renewal_says_who_must_act(answers, kind, code, calls):
    async with signing_in() as (service, drive):
        old = (await drive.sign_in()).credential
        service.fail_tokens(*answers)
        sent = len(drive.sent)
        error = await refused(drive, drive.provider.renew(old))
    assert (type(error), error.code) == (kind, code)
    assert len(drive.sent) - sent == calls


async def test_a_token_without_renewal_asks_for_a_new_sign_in():
    async with signing_in() as (_, drive):
        error = await refused(drive, drive.provider.renew(Credential("x", "oauth")))
    assert error.code == SIGN_IN_AGAIN
    assert drive.sent == []


# Ending it


async def test_a_sign_in_is_ended_by_its_refresh_token():
    async with signing_in() as (service, drive):
        granted = await drive.sign_in()
        await drive.run(drive.provider.revoke(granted.credential))
        assert service.grants[0].ended == "revoked"
        assert service.holder(granted.credential.secret) == "revoked"
        error = await refused(drive, drive.provider.renew(granted.credential))
        assert error.code == SIGN_IN_AGAIN


async def test_a_sign_in_without_a_refresh_token_is_ended_by_the_token_itself():
    async with signing_in() as (service, drive):
        granted = await drive.sign_in()
        await drive.run(drive.provider.revoke(replace(granted.credential, renewal="")))
        assert service.grants[0].ended == "revoked"


async def test_a_sign_in_that_is_not_ended_is_told_without_its_token():
    async with signing_in() as (service, drive):
        granted = await drive.sign_in()
        service.client_id = "another"
        error = await refused(drive, drive.provider.revoke(granted.credential))
        assert (error.code, "HTTP 401" in error.message) == ("not_revoked", True)
        assert granted.credential.renewal not in error.text
        assert service.grants[0].ended == ""


async def test_steps_send_to_no_host_but_the_providers():
    assert CODEX.hosts == {"auth.openai.com", "chatgpt.com"}
    async with signing_in() as (_, drive):
        drive.provider = replace(drive.provider, hosts=CODEX.hosts)
        error = await refused(drive, device(drive))
    assert error.code == "host_not_allowed"
    assert drive.sent == []
