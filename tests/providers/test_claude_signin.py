"""Signing in to Claude, over real sockets against a strict OAuth server."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.errors import AccountError, RequestError, UpstreamError
from app.providers import CLAUDE
from app.providers.base import USER_AGENT
from app.providers.credential import Credential, Identity
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN, Listen, Pkce
from tests.fakes.basic import Clock
from tests.fakes.identity import ClaudeIdentity, Person, claude_at
from tests.fakes.service import Reply
from tests.fakes.upstream import Upstream
from tests.providers.driving import NOW, PKCE, STATE, VERIFIER, driving


@asynccontextmanager
async def signing_in(**changes):
    """Serve the fake; yields it and a ``Drive`` of the provider over it."""
    clock = Clock(NOW)
    service = ClaudeIdentity(clock, Person(**changes))
    async with Upstream(service) as fake, driving(claude_at(fake.url), clock) as drive:
        yield service, drive


async def refused(drive, steps):
    with pytest.raises((AccountError, UpstreamError, RequestError)) as caught:
        await drive.run(steps)
    return caught.value


# In the browser


def test_the_page_is_anthropics_and_gets_nothing_but_the_challenge():
    sign_in = CLAUDE.sign_ins["browser"]
    url = sign_in.begin(PKCE, STATE)
    assert url.startswith("https://claude.ai/oauth/authorize?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "code": "true",
        "client_id": "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
        "response_type": "code",
        "redirect_uri": "http://localhost:54545/callback",
        "scope": "user:profile user:inference user:sessions:claude_code user:mcp_servers "
        "user:file_upload",
        "code_challenge": PKCE.challenge,
        "code_challenge_method": "S256",
        "state": STATE,
    }
    assert VERIFIER not in url
    assert sign_in.listen == Listen(54545, "/callback")


async def test_a_code_becomes_an_account_with_name_and_plan():
    async with signing_in() as (service, drive):
        granted = await drive.sign_in()
        (grant,) = service.grants
    credential, identity = granted.credential, granted.identity
    assert (credential.secret, credential.renewal) == (grant.access, grant.refresh)
    assert (credential.kind, credential.obtained_at) == ("oauth", NOW)
    assert credential.expires_at == NOW + 8 * 3600
    assert identity.id == f"{grant.person.user}/{grant.person.account}"
    assert (identity.name, identity.plan) == ("ada@example.test", "max")
    assert identity.organization == "Ada's workspace"
    token_call = drive.sent[0]
    assert list(json.loads(token_call.body)) == [
        "grant_type",
        "code",
        "redirect_uri",
        "client_id",
        "code_verifier",
        "state",
    ]
    assert dict(token_call.headers)["User-Agent"] == USER_AGENT


async def test_a_pasted_code_may_carry_its_state():
    async with signing_in() as (service, drive):
        sign_in = drive.provider.sign_ins["browser"]
        for given in (STATE, ""):
            code, _ = await drive.visit(sign_in.begin(PKCE, STATE))
            granted = await drive.run(sign_in.finish(f"{code}#{STATE}", given, PKCE))
            assert granted.identity.name == "ada@example.test"
        assert service.exchanges == 2


async def test_a_code_of_another_sign_in_is_not_even_sent():
    async with signing_in() as (_, drive):
        sign_in = drive.provider.sign_ins["browser"]
        error = await refused(drive, sign_in.finish("code#other", STATE, PKCE))
    assert error.code == "foreign_state"
    assert drive.sent == []


async def test_the_service_refuses_wrong_states_foreign_keys_and_used_codes():
    async with signing_in() as (service, drive):
        finish = drive.provider.sign_ins["browser"].finish
        begin = drive.provider.sign_ins["browser"].begin
        code, _ = await drive.visit(begin(PKCE, STATE))
        wrong_state = await refused(drive, finish(code, "f" * 32, PKCE))
        burned = await refused(drive, finish(code, STATE, PKCE))
        code, _ = await drive.visit(begin(PKCE, STATE))
        foreign = await refused(drive, finish(code, STATE, Pkce("w" * 64, "x")))
        code, _ = await drive.visit(begin(PKCE, STATE))
        drive.clock.advance(601)
        stale = await refused(drive, finish(code, STATE, PKCE))
        assert service.exchanges == 0
    for error in (wrong_state, burned, foreign, stale):
        assert isinstance(error, AccountError)
        assert error.code == SIGN_IN_AGAIN
        assert VERIFIER not in error.text
    assert drive.waits == []


async def test_saying_no_on_the_page_is_told():
    async with signing_in() as (service, drive):
        service.consents = False
        with pytest.raises(AccountError, match="The user said no"):
            await drive.sign_in()


@pytest.mark.parametrize(
    "refusal",
    [
        (429, {"type": "error", "error": {"type": "rate_limit_error", "message": "Rate limited."}}),
        (403, {"error": "unauthorized_client"}),
    ],
)
async def test_a_refusal_at_the_token_endpoint_is_final_and_asked_once(refusal):
    async with signing_in() as (service, drive):
        service.fail_tokens(refusal)
        with pytest.raises(AccountError) as caught:
            await drive.sign_in()
    assert caught.value.code == NOT_ALLOWED
    assert len(drive.sent) == 1


async def test_tokens_are_kept_when_the_profile_cannot_be_read():
    async with signing_in() as (service, drive):
        service.more = lambda call: (_ for _ in ()).throw(
            service.api_refusal(500, "api_error", "Internal server error")
        )
        granted = await drive.sign_in()
    assert granted.credential.renewal
    assert granted.identity.name == "ada@example.test"
    assert granted.identity.id
    assert granted.identity.plan == ""


async def test_tokens_are_kept_when_the_profile_does_not_know_them_yet():
    async with signing_in() as (service, drive):
        service.more = lambda call: (_ for _ in ()).throw(
            service.api_refusal(401, "authentication_error", "Invalid bearer token")
        )
        granted = await drive.sign_in()
    assert granted.credential.renewal
    assert granted.identity.name == "ada@example.test"


async def test_an_account_that_nobody_names_has_no_identity():
    async with signing_in() as (service, drive):
        answer = service.token_answer
        kept = ("access_token", "refresh_token", "expires_in")
        service.token_answer = lambda grant: {key: answer(grant)[key] for key in kept}
        service.more = lambda call: service.json({"account": {"uuid": ""}, "organization": None})
        granted = await drive.sign_in()
    assert granted.identity == Identity("")
    assert granted.credential.facts == {}


@pytest.mark.parametrize(
    ("account", "organization", "plan"),
    [
        ({}, {"organization_type": "claude_team"}, "team"),
        ({"has_claude_max": True, "has_claude_pro": True}, {}, "max"),
        ({"has_claude_pro": True}, {"organization_type": "other"}, "pro"),
        ({"has_claude_pro": "yes"}, None, ""),
        (None, {"organization_type": 5}, ""),
    ],
)
async def test_the_plan_is_read_where_the_profile_tells_it(account, organization, plan):
    async with signing_in() as (service, drive):
        told = {"account": account, "organization": organization}
        service.more = lambda call: service.json(told)
        assert (await drive.sign_in()).identity.plan == plan


async def test_a_suspended_account_is_not_taken():
    async with signing_in() as (service, drive):
        service.more = lambda call: (_ for _ in ()).throw(
            service.api_refusal(403, "permission_error", "This account has been suspended.")
        )
        with pytest.raises(AccountError, match="suspended") as caught:
            await drive.sign_in()
    assert caught.value.code == NOT_ALLOWED


async def test_two_organisations_of_one_person_are_two_accounts():
    async with signing_in() as (service, drive):
        first = await drive.sign_in()
        service.person = replace(service.person, account="3" * 8, plan="pro")
        second = await drive.sign_in()
    assert first.identity.name == second.identity.name
    assert first.identity.id != second.identity.id
    assert second.identity.plan == "pro"


# A long-lived token


async def test_a_long_lived_token_that_may_not_read_its_profile_is_good():
    async with signing_in() as (service, drive):
        token = service.long_lived().access
        take = drive.provider.sign_ins["token"].run
        granted = await drive.run(take(f"  {token[:30]}\n{token[30:]} ", ""))
        again = await drive.run(take(token, ""))
        other = await drive.run(take(service.long_lived().access, ""))
    credential = granted.credential
    assert (credential.secret, credential.renewal) == (token, "")
    assert (credential.kind, credential.expires_at) == ("oauth", None)
    assert granted.identity.id == again.identity.id != other.identity.id
    assert token not in repr(granted)


async def test_a_token_that_may_read_its_profile_is_named_by_it():
    async with signing_in() as (service, drive):
        token = service.grant().access
        granted = await drive.run(drive.provider.sign_ins["token"].run(token, ""))
    assert granted.identity.name == "ada@example.test"
    assert granted.credential.facts["account_id"] == granted.identity.id


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no long-lived Claude token"),
        ("sk-ant-oat01-", "no long-lived Claude token"),
        ("hello sk-ant-oat01-" + "x" * 40, "no long-lived Claude token"),
        ("sk-ant-api03-" + "x" * 40, "This is an API key"),
    ],
)
async def test_a_text_that_is_no_such_token_is_not_sent(text, words):
    async with signing_in() as (_, drive):
        error = await refused(drive, drive.provider.sign_ins["token"].run(text, ""))
    assert isinstance(error, RequestError)
    assert words in error.message
    assert drive.sent == []


async def test_a_token_that_nobody_knows_is_refused():
    async with signing_in() as (_, drive):
        steps = drive.provider.sign_ins["token"].run("sk-ant-oat01-" + "x" * 40, "")
        error = await refused(drive, steps)
    assert (type(error), error.code) == (AccountError, SIGN_IN_AGAIN)


async def test_a_token_that_cannot_be_checked_is_not_called_bad():
    page = (403, {"content-type": "text/html"}, b"<html>Just a moment</html>")
    async with signing_in() as (service, drive):
        service.more = lambda call: Reply(*page)
        steps = drive.provider.sign_ins["token"].run("sk-ant-oat01-" + "x" * 40, "")
        error = await refused(drive, steps)
    assert isinstance(error, UpstreamError)


# Renewal


async def test_a_renewal_replaces_both_tokens():
    async with signing_in() as (service, drive):
        old = (await drive.sign_in()).credential
        drive.clock.advance(5 * 3600)
        new = await drive.run(drive.provider.renew(old))
        (grant,) = service.grants
    assert (new.secret, new.renewal) == (grant.access, grant.refresh)
    assert new.secret != old.secret
    assert new.renewal != old.renewal
    assert new.expires_at == NOW + 13 * 3600
    assert (new.facts, new.obtained_at) == (old.facts, NOW + 5 * 3600)
    assert json.loads(drive.sent[-1].body)["scope"] == ClaudeIdentity.scope


@pytest.mark.parametrize("missing", [None, ""])
async def test_without_a_new_refresh_token_the_old_one_stays(missing):
    async with signing_in() as (service, drive):
        answer = service.token_answer
        service.token_answer = lambda grant: {**answer(grant), "refresh_token": missing}
        old = Credential("a", "oauth", NOW, service.grant().refresh)
        new = await drive.run(drive.provider.renew(old))
    assert new.renewal == old.renewal


async def test_a_refresh_token_that_was_used_before_ends_the_sign_in():
    async with signing_in() as (_, drive):
        old = (await drive.sign_in()).credential
        await drive.run(drive.provider.renew(old))
        error = await refused(drive, drive.provider.renew(old))
    assert (type(error), error.code) == (AccountError, SIGN_IN_AGAIN)
    assert old.renewal not in error.text


async def test_a_renewal_survives_a_short_outage():
    async with signing_in() as (service, drive):
        old = (await drive.sign_in()).credential
        service.fail_tokens((500, {"error": "server_error"}))
        drive.broken = 1
        new = await drive.run(drive.provider.renew(old))
        assert service.renewals == 1
    assert drive.waits == [1.0, 2.0]
    assert new.secret != old.secret


async def test_a_long_outage_is_not_the_end_of_the_sign_in():
    async with signing_in() as (service, drive):
        old = (await drive.sign_in()).credential
        service.fail_tokens(*[(503, {"error": "unavailable"})] * 3)
        error = await refused(drive, drive.provider.renew(old))
        assert isinstance(error, UpstreamError)
        assert (await drive.run(drive.provider.renew(old))).secret


@pytest.mark.parametrize("status", [429, 403])
async def test_a_renewal_that_is_refused_is_final(status):
    async with signing_in() as (service, drive):
        old = (await drive.sign_in()).credential
        sent = len(drive.sent)
        service.fail_tokens((status, {"error": {"type": "rate_limit_error"}}, {"retry-after": "9"}))
        error = await refused(drive, drive.provider.renew(old))
    assert (type(error), error.code) == (AccountError, NOT_ALLOWED)
    assert len(drive.sent) == sent + 1


async def test_a_token_without_renewal_asks_for_a_new_one():
    async with signing_in() as (_, drive):
        error = await refused(drive, drive.provider.renew(Credential("sk-ant-oat01-x", "oauth")))
    assert error.code == SIGN_IN_AGAIN
    assert "setup-token" in error.hint
    assert drive.sent == []


async def test_steps_send_to_no_host_but_the_providers():
    async with signing_in() as (_, drive):
        assert CLAUDE.hosts == {"platform.claude.com", "api.anthropic.com"}
        drive.provider = replace(drive.provider, hosts=CLAUDE.hosts)
        old = Credential("a", "oauth", NOW, "r")
        error = await refused(drive, drive.provider.renew(old))
    assert error.code == "host_not_allowed"
    assert drive.sent == []
