from urllib.parse import urlsplit

import pytest

from app.errors import AccountError, RequestError, UpstreamError
from app.http import HttpReply
from app.providers.base import Provider
from app.providers.github import (
    GitHub,
    authorize_device,
    enterprise,
    refused,
    server_name,
    who,
)
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN, Answered, Show, Wait
from tests.fakes.basic import Clock
from tests.fakes.github import OPENCODE, VSCODE, User
from tests.fakes.github import GitHub as Fake
from tests.fakes.upstream import DROP, PASS, Upstream
from tests.providers.github_driving import driving


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def fake(clock):
    return Fake(clock)


def server(url):
    return GitHub("github.com", url, url, url)


def provider(url):
    hosts = frozenset({urlsplit(url).netloc})
    return Provider("x", "X", url, ("openai_chat",), "x", hosts=hosts)


@pytest.fixture
def signing_in(clock, fake):
    """Return a function that runs the device sign-in with a user who acts by ``acting``."""

    async def sign_in(
        acting=None, *, client_id=OPENCODE, waiting=None, script=(), scope="read:user"
    ):
        async with Upstream(fake) as up, driving(clock, provider(up.url)) as drive:
            fake.base = up.url
            up.script(*script)
            drive.on_show = lambda shown: acting and acting(shown.user_code)
            drive.on_wait = lambda count: waiting and waiting(count, drive)
            sign_in.drive = drive
            return await drive.run(authorize_device(server(up.url), client_id, scope))

    return sign_in


# Server names


@pytest.mark.parametrize("typed", ["", " ", "github.com", "https://github.com/", "WWW.GitHub.com"])
def test_no_server_means_the_public_one(typed):
    assert server_name(typed) == "github.com"


@pytest.mark.parametrize(
    "typed", ["company.ghe.com", " https://company.ghe.com/ ", "http://Company.GHE.com/org/repo"]
)
def test_a_server_is_read_as_people_write_it(typed):
    assert server_name(typed) == "company.ghe.com"


@pytest.mark.parametrize(
    "typed",
    ["my server", "user@host.com", "localhost", "host.com:8443", "-a.com", "a..com", "x" * 300],
)
def test_what_is_no_server_is_refused(typed):
    with pytest.raises(RequestError, match="no GitHub server"):
        server_name(typed)


def test_a_server_of_ones_own_has_all_its_parts_below_its_domain():
    own = enterprise("company.ghe.com")
    assert own.hosts == {"company.ghe.com", "api.company.ghe.com", "copilot-api.company.ghe.com"}


# The device sign-in


async def test_a_code_is_shown_and_the_token_taken_once_it_was_typed(signing_in, fake, clock):
    begun = clock.now
    token = await signing_in(fake.approve)
    assert token in fake.tokens
    (shown,) = signing_in.drive.shown
    assert shown.url.endswith("/login/device")
    assert shown.expires_at == begun + 900
    assert signing_in.drive.waits == [8.0]


async def test_polling_goes_on_while_the_code_is_not_typed(signing_in, fake):
    def waiting(count, drive):
        if count == 4:
            fake.approve(drive.shown[0].user_code)

    assert await signing_in(waiting=waiting) in fake.tokens
    assert signing_in.drive.waits == [8.0] * 4
    assert fake.early == 0


@pytest.mark.parametrize(
    ("named", "waits"), [(True, [8.0, 13.0, 13.0]), (False, [8.0, 13.0, 13.0])]
)
async def test_a_poll_that_is_told_to_slow_down_keeps_the_longer_interval(
    signing_in, fake, clock, named, waits
):
    fake.names_interval = named

    def waiting(count, drive):
        if count == 1:
            device = next(iter(fake.devices.values()))
            device.polled_at = clock.now - 1  # as after a jump of the clock
        if count == 3:
            fake.approve(drive.shown[0].user_code)

    assert await signing_in(waiting=waiting) in fake.tokens
    assert signing_in.drive.waits == waits
    assert fake.early == 1


async def test_a_user_who_refuses_ends_the_sign_in(signing_in, fake):
    with pytest.raises(AccountError, match="refused") as caught:
        await signing_in(fake.deny)
    assert caught.value.code == SIGN_IN_AGAIN


async def test_a_code_that_nobody_types_ends_the_sign_in(signing_in):
    with pytest.raises((AccountError, UpstreamError)) as caught:
        await signing_in()
    assert caught.value.code in (SIGN_IN_AGAIN, "sign_in_slow")
    assert sum(signing_in.drive.waits) <= 900


async def test_a_code_that_the_server_calls_expired_is_over(signing_in, fake, clock):
    def waiting(count, drive):
        fake.devices[next(iter(fake.devices))].expires_at = clock.now

    with pytest.raises(AccountError, match="in time") as caught:
        await signing_in(waiting=waiting)
    assert caught.value.code == SIGN_IN_AGAIN


async def test_an_unknown_application_is_named_as_the_reason(signing_in):
    with pytest.raises(UpstreamError, match="no sign-in with a code") as caught:
        await signing_in(client_id="unknown")
    assert caught.value.code == "device_flow_unknown"


@pytest.mark.parametrize("body", [b"{}", b'{"device_code":"d"}', b'{"user_code":"u"}'])
async def test_a_beginning_without_codes_is_a_failure(signing_in, body):
    with pytest.raises(UpstreamError, match="ended the sign-in") as caught:
        await signing_in(script=((200, {}, body),))
    assert caught.value.code == "sign_in_failed"


async def test_a_server_that_fails_at_the_beginning_is_named(signing_in):
    with pytest.raises(UpstreamError, match="could not begin the sign-in"):
        await signing_in(script=((502, {}, b"<html>"),))


async def test_another_error_is_shown_in_the_servers_words(signing_in):
    with pytest.raises(UpstreamError, match="invalid_scope"):
        await signing_in(scope="repo")


async def test_polls_that_fail_by_the_network_do_not_end_the_sign_in(signing_in, fake):
    fails = (503, {}, b"<html>")
    token = await signing_in(fake.approve, script=(PASS, DROP, DROP, fails))
    assert token in fake.tokens
    assert len(signing_in.drive.waits) == 3


async def test_polls_that_keep_failing_do(signing_in, fake):
    with pytest.raises(UpstreamError):
        await signing_in(fake.approve, script=(PASS, *[(500, {}, b"")] * 5))


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("https://github.com/login/device", "https://github.com/login/device"),
        ("https://evil.test/login/device", "https://github.com/login/device"),
        ("http://github.com/login/device", "https://github.com/login/device"),
        ("https://[", "https://github.com/login/device"),
    ],
)
def test_the_page_to_open_is_always_one_of_the_server(told, shown):
    github = GitHub("github.com", "https://github.com", "https://api.github.com", "")
    steps = authorize_device(github, OPENCODE, "read:user")
    next(steps)
    body = b'{"device_code":"d","user_code":"u","verification_uri":"%b"}' % told.encode()
    step = steps.send(Answered(HttpReply(200, (), body), 100.0))
    assert step == Show("u", shown, 1000.0)
    assert steps.send(Answered(HttpReply(0), 100.0)) == Wait(8.0)


# Who it is


async def test_the_account_is_told_by_number_and_name(clock, fake):
    token = fake.grant(VSCODE, User(login="mona", id=7))
    async with Upstream(fake) as up, driving(clock, provider(up.url)) as drive:
        identity = await drive.run(who(server(up.url), token))
        assert (identity.id, identity.name) == ("7", "mona")
        elsewhere = GitHub("company.ghe.com", up.url, up.url, up.url)
        assert (await drive.run(who(elsewhere, token))).id == "7@company.ghe.com"
        with pytest.raises(AccountError) as caught:
            await drive.run(who(server(up.url), "gho_unknown"))
        assert caught.value.code == SIGN_IN_AGAIN


def test_a_user_without_a_number_is_no_answer():
    steps = who(server("https://github.com"), "gho_x")
    next(steps)
    with pytest.raises(UpstreamError):
        steps.send(Answered(HttpReply(200, (), b'{"login":"x"}'), 0.0))


@pytest.mark.parametrize(
    ("status", "headers", "kind", "code"),
    [
        (401, (), AccountError, SIGN_IN_AGAIN),
        (403, (), AccountError, NOT_ALLOWED),
        (404, (), AccountError, NOT_ALLOWED),
        (403, (("x-ratelimit-remaining", "0"),), UpstreamError, "upstream_error"),
        (403, (("retry-after", "9"),), UpstreamError, "upstream_error"),
        (429, (("retry-after", "9"),), UpstreamError, "rate_limited"),
        (500, (), UpstreamError, "upstream_error"),
    ],
)
def test_a_refusal_is_told_from_a_failure(status, headers, kind, code):
    reply = HttpReply(status, headers, b'{"message":"why"}')
    error = refused(server("https://github.com"), "do it", reply)
    assert (type(error), error.code) == (kind, code)
    if "retry-after" in dict(headers):
        assert error.retry_after_s == 9.0
