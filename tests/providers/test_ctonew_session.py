import json

import pytest

from app.errors import AccountError, RequestError, UpstreamError
from app.http import HttpReply
from app.providers.credential import Credential
from app.providers.ctonew import ctonew
from app.providers.ctonew_session import Sites, parse_cli_file, parse_cookie, renew
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN, Answered, Keep
from tests.fakes.basic import Clock
from tests.fakes.clerk import LIFE_S, Clerk, jwt
from tests.fakes.enginelabs import CLI_LIFE_S, CtoNew, EngineLabs
from tests.providers.github_driving import driving

COOKIE = jwt({"id": "client_1", "rotating_token": "r"})
SESSION = jwt({"sub": "user_1", "sid": "sess_1", "exp": 1})


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def clerk(clock):
    return Clerk(clock)


@pytest.fixture
def labs(clerk):
    return EngineLabs(clerk)


class World:
    def __init__(self, drive, provider, sites):
        self.drive = drive
        self.provider = provider
        self.sites = sites

    async def sign_in(self, way, typed):
        return await self.drive.run(self.provider.sign_ins[way].run(typed, ""))

    async def renew(self, credential):
        return await self.drive.run(self.provider.renew(credential))


@pytest.fixture
def world(clock, clerk, labs):
    class Opened:
        async def __aenter__(self):
            self.server = CtoNew(clerk, labs)
            await self.server.start()
            sites = Sites(clerk=self.server.url, api=self.server.url)
            provider = ctonew(sites)
            self.driving = driving(clock, provider)
            return World(await self.driving.__aenter__(), provider, sites)

        async def __aexit__(self, *args):
            await self.driving.__aexit__(*args)
            await self.server.stop()
            assert not self.server.faulty

    return Opened


# What is pasted


@pytest.mark.parametrize(
    "typed",
    [
        COOKIE,
        f"  {COOKIE}\n",
        f'"{COOKIE}"',
        f"__client={COOKIE}",
        f"__client={COOKIE};",
        f"Cookie: __client_uat=1770000000; __client={COOKIE}; __session={SESSION}",
        f"cookie: a=b; __session={SESSION}; __client={COOKIE}",
        f"-H 'Cookie: __client={COOKIE}'",
        f"__client\t{COOKIE}\t.clerk.cto.new",
        f"__client: {COOKIE}",
        f"{COOKIE[:20]}\n{COOKIE[20:]}",
    ],
)
def test_the_cookie_is_found_in_whatever_was_copied(typed):
    assert parse_cookie(typed) == COOKIE


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "three parts"),
        ("hello", "three parts"),
        ("a.b.c", "cannot be read"),
        ("a.b", "three parts"),
        (f"__client_uat=1770000000; __session={SESSION}", "ends within a minute"),
        (f"__client_uat={COOKIE}", "no __client"),
        (f"other={COOKIE}", "no __client"),
        (f"__client={COOKIE[:-30]}%%", "three parts"),
        (SESSION, "__session"),
        (f"__client={SESSION}", "__session"),
    ],
)
def test_what_is_no_such_cookie_is_refused_with_the_reason(typed, why):
    with pytest.raises(RequestError, match=why) as caught:
        parse_cookie(typed)
    assert caught.value.code == "invalid_cookie"
    assert "clerk.cto.new" in caught.value.hint
    assert COOKIE not in caught.value.message


def test_the_command_lines_file_is_read():
    text = '{"accessToken":"a","refreshToken":"r","expiresAt":1770000900000}'
    credential = parse_cli_file(text)
    assert (credential.secret, credential.renewal) == ("a", "r")
    assert 1_770_000_600 < credential.expires_at < 1_770_000_900
    assert parse_cli_file('{"accessToken":"a","refreshToken":"r"}').expires_at is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"accessToken":"a"}', "~/.cto/credentials"])
def test_another_file_is_refused(text):
    with pytest.raises(RequestError, match="not the credentials file"):
        parse_cli_file(text)


# Signing in by cookie


async def test_a_cookie_signs_in_and_what_replaced_it_is_kept(world, clerk, clock):
    browser = clerk.sign_in()
    pasted = browser.cookie
    async with world() as w:
        granted = await w.sign_in("cookie", f"__client={pasted}")
    credential, identity = granted.credential, granted.identity
    assert credential.renewal == browser.cookie != pasted
    assert credential.secret in clerk.issued
    assert credential.expires_at == clock.now + LIFE_S
    assert credential.facts == {
        "route": "web",
        "session_id": "sess_1",
        "user_id": "user_1",
        "organization_id": "org_1",
    }
    assert (identity.id, identity.name) == ("user_1", "someone@example.com")
    assert clerk.replayed == 0


@pytest.mark.parametrize("rotates", [set(), {"client", "memberships", "tokens"}])
async def test_a_cookie_may_rotate_at_each_call_or_at_none(world, clerk, rotates):
    browser = clerk.sign_in()
    clerk.rotates = rotates
    async with world() as w:
        granted = await w.sign_in("cookie", browser.cookie)
        assert granted.credential.renewal == browser.cookie
        renewed = await w.renew(granted.credential)
        assert renewed.renewal == browser.cookie
    assert clerk.replayed == 0


async def test_an_account_without_an_organization_signs_in(world, clerk):
    browser = clerk.sign_in(organization="")
    async with world() as w:
        granted = await w.sign_in("cookie", browser.cookie)
    assert granted.credential.facts["organization_id"] == ""


async def test_a_cookie_that_is_signed_out_says_so(world, clerk):
    browser = clerk.sign_in()
    cookie = browser.cookie
    clerk.sign_out(browser)
    async with world() as w:
        with pytest.raises(AccountError, match="signed this browser session out") as caught:
            await w.sign_in("cookie", cookie)
    assert caught.value.code == SIGN_IN_AGAIN


# Renewing by cookie


async def test_a_renewal_is_kept_before_its_token_is_used(world, clerk, clock):
    browser = clerk.sign_in()
    async with world() as w:
        old = (await w.sign_in("cookie", browser.cookie)).credential
        clock.advance(50)
        new = await w.renew(old)
        assert w.drive.kept == [new]
        assert new.renewal == browser.cookie != old.renewal
        assert new.secret != old.secret
        assert new.expires_at == clock.now + LIFE_S
        assert new.facts == old.facts
        for _ in range(3):
            new = await w.renew(new)
    assert clerk.replayed == 0


async def test_an_old_cookie_is_refused_for_good(world, clerk):
    browser = clerk.sign_in()
    async with world() as w:
        old = (await w.sign_in("cookie", browser.cookie)).credential
        await w.renew(old)
        with pytest.raises(AccountError) as caught:
            await w.renew(old)
    assert caught.value.code == SIGN_IN_AGAIN


async def test_a_session_that_has_another_id_now_is_found_again(world, clerk):
    browser = clerk.sign_in()
    clerk.rotates = {"client", "tokens"}
    async with world() as w:
        old = (await w.sign_in("cookie", browser.cookie)).credential
        browser.session = "sess_2"
        new = await w.renew(old)
        assert new.facts["session_id"] == "sess_2"
        assert new.renewal == browser.cookie
        assert [kept.renewal for kept in w.drive.kept][-1] == browser.cookie
        assert len(w.drive.kept) == 2
    assert clerk.replayed == 0


def clerk_says(status, body=b"{}", *headers):
    return Answered(HttpReply(status, headers, body), 100.0)


def renewing():
    facts = {"session_id": "sess_1", "organization_id": "org_1"}
    steps = renew(Sites(), Credential("old", "oauth", 0, COOKIE, facts))
    next(steps)
    return steps


def test_a_refusal_that_rotates_the_cookie_is_kept_too():
    steps = renewing()
    other = jwt({"rotating_token": "s"})
    step = steps.send(clerk_says(500, b"", ("Set-Cookie", f"__client={other}; Path=/")))
    assert isinstance(step, Keep)
    assert (step.credential.secret, step.credential.renewal) == ("old", other)
    with pytest.raises(UpstreamError):
        steps.send(Answered(HttpReply(0), 100.0))


def test_a_look_up_that_fails_keeps_the_cookie_that_came_with_it():
    steps = renewing()
    steps.send(clerk_says(404))
    other = jwt({"rotating_token": "s"})
    step = steps.send(clerk_says(503, b"", ("set-cookie", f"__client={other}")))
    assert step.credential.renewal == other
    with pytest.raises(UpstreamError, match="tell the session"):
        steps.send(Answered(HttpReply(0), 100.0))


@pytest.mark.parametrize(
    "set_cookie",
    ["__client=; Max-Age=0", "__client_uat=17; Path=/", "__client=garbage; Path=/", "x"],
)
def test_a_cookie_that_is_taken_away_replaces_nothing(set_cookie):
    steps = renewing()
    with pytest.raises(AccountError) as caught:
        steps.send(clerk_says(401, b"{}", ("set-cookie", set_cookie)))
    assert caught.value.code == SIGN_IN_AGAIN


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (401, b"{}", AccountError, SIGN_IN_AGAIN),
        (403, b'{"errors":[{"message":"banned"}]}', AccountError, NOT_ALLOWED),
        (403, b"<html>check", UpstreamError, "upstream_error"),
        (429, b"{}", UpstreamError, "rate_limited"),
        (500, b"", UpstreamError, "upstream_error"),
        (200, b"{}", UpstreamError, "upstream_error"),
        (200, b"<html>", UpstreamError, "upstream_protocol"),
    ],
)
def test_refusals_are_told_from_failures(status, body, kind, code):
    with pytest.raises(kind) as caught:
        renewing().send(clerk_says(status, body))
    assert caught.value.code == code


def test_a_session_that_stays_unknown_is_looked_up_once():
    steps = renewing()
    looked = steps.send(clerk_says(404))
    assert "/v1/client?" in looked.url
    found = b'{"response":{"sessions":[{"id":"sess_9"}],"last_active_session_id":null}}'
    assert "/sess_9/tokens" in steps.send(clerk_says(200, found)).url
    with pytest.raises(UpstreamError):
        steps.send(clerk_says(404))


@pytest.mark.parametrize("body", [b'{"response":null}', b'{"response":{"sessions":[]}}'])
def test_a_client_without_a_session_is_signed_out(body):
    steps = renewing()
    steps.send(clerk_says(404))
    with pytest.raises(AccountError):
        steps.send(clerk_says(200, body))


@pytest.mark.parametrize(
    ("claims", "ends"),
    [
        ({"iat": 5_000, "exp": 5_060}, 160.0),
        ({"exp": 130}, 130.0),
        ({"iat": 9, "exp": 3}, 3.0),
        ({}, 160.0),
    ],
)
def test_how_long_a_token_lives_is_told_by_its_own_length(claims, ends):
    steps = renewing()
    body = json.dumps({"jwt": jwt(claims)}).encode()
    kept = steps.send(clerk_says(200, body))
    assert kept.credential.expires_at == ends


# The command line


async def test_the_command_lines_sign_in_is_checked_and_taken(world, labs):
    async with world() as w:
        granted = await w.sign_in("cli", labs.cli_file())
    assert granted.credential.secret in labs.cli_tokens
    assert granted.credential.facts == {"route": "cli"}
    assert (granted.identity.id, granted.identity.name) == ("user_cli", "cli@example.com")


async def test_a_sign_in_that_has_expired_is_renewed_first(world, labs, clock):
    text = labs.cli_file()
    clock.advance(CLI_LIFE_S)
    async with world() as w:
        granted = await w.sign_in("cli", text)
    assert labs.cli_tokens[granted.credential.secret] > clock.now
    assert granted.credential.renewal in labs.refresh_tokens


async def test_a_renewal_of_the_command_line_comes_two_minutes_early_and_is_kept(
    world, labs, clock
):
    async with world() as w:
        old = (await w.sign_in("cli", labs.cli_file())).credential
        new = await w.renew(old)
        assert w.drive.kept == [new]
        begins = new.expires_at - w.provider.renew_lead_s
        assert clock.now + CLI_LIFE_S - begins == 120
        with pytest.raises(AccountError) as caught:
            await w.renew(old)
    assert caught.value.code == SIGN_IN_AGAIN


def test_a_refresh_token_that_is_not_replaced_stays_and_a_missing_life_is_a_quarter_hour():
    credential = parse_cli_file('{"accessToken":"a","refreshToken":"r"}')
    steps = renew(Sites(), credential)
    asked = next(steps)
    assert asked.url == "https://api.enginelabs.ai/oauth/token"
    kept = steps.send(Answered(HttpReply(200, (), b'{"access_token":"b"}'), 100.0))
    assert (kept.credential.secret, kept.credential.renewal) == ("b", "r")
    assert kept.credential.expires_at == 100.0 + 900.0 - 110.0


async def test_a_service_that_fails_does_not_pass_for_a_wrong_file(world, labs):
    labs.refuses["/models"] = (500, {"message": "down"})
    async with world() as w:
        with pytest.raises(UpstreamError, match="down"):
            await w.sign_in("cli", labs.cli_file())
