import logging

import pytest

from app.accounts.steps import Driver, Reach
from app.errors import AccountError, BugError, UpstreamError
from app.http import HttpRequest
from app.log import scrub
from app.providers.credential import Credential, Identity
from app.providers.signin import Granted, ask, keep, show, wait
from tests.accounts.services import CANARY, KEYED, START, WEB
from tests.fakes.basic import Answered, Clock, ScriptedSend, unreachable

HERE = Reach(frozenset({"id.test"}))


class Means:
    def __init__(self, *steps):
        self.clock = Clock(START)
        self.send = ScriptedSend(*steps)
        self.slept = []
        self.driver = Driver(self.send, self.clock, self.sleep)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.clock.advance(seconds)

    async def run(self, steps, reach=HERE, **more):
        return await self.driver.run(steps, reach, **({"limit_s": 60.0} | more))


def get(url="https://id.test/x"):
    return HttpRequest("GET", url)


# Steps


async def test_answer_and_time_are_sent_back_and_the_value_is_returned():
    means = Means(Answered(200, {"a": "b"}, [b"one", b"two"]), Answered(404, {}, b""))

    def steps():
        first = yield from ask(get())
        second = yield from ask(get())
        return first.reply.body, first.reply.header("a"), second.reply.status, second.now

    assert await means.run(steps()) == (b"onetwo", "b", 404, START)
    means.send.assert_settled()


async def test_waiting_sleeps_and_tells_the_time_after_it():
    means = Means()

    def steps():
        return (yield from wait(7))

    assert await means.run(steps()) == START + 7
    assert means.slept == [7]


async def test_showing_goes_on_at_once_and_moves_the_end():
    means, shown = Means(), []

    def steps():
        yield from show("AB-CD", "https://web.test/device", START + 900)
        return (yield from wait(800))

    assert await means.run(steps(), show=shown.append) == START + 800
    assert [(s.user_code, s.url) for s in shown] == [("AB-CD", "https://web.test/device")]


async def test_credential_is_kept_before_the_next_step():
    means, order = Means(lambda _request: order.append("asked") or Answered()), []

    async def store(credential):
        order.append(credential.secret)

    def steps():
        yield from keep(Credential("first-secret"))
        yield from ask(get())

    await means.run(steps(), keep=store)
    assert order == ["first-secret", "asked"]


async def test_failed_request_is_raised_inside_where_it_may_be_lived_with():
    means = Means(unreachable())

    def steps():
        try:
            yield from ask(get())
        except UpstreamError as error:
            return error.code

    assert await means.run(steps()) == "upstream_unreachable"


async def test_failed_storing_is_raised_inside():
    means = Means()

    async def store(_credential):
        raise AccountError("The disk is full.", code="vault_unusable")

    def steps():
        yield from keep(Credential("s"))

    with pytest.raises(AccountError, match="disk"):
        await means.run(steps(), keep=store)


async def test_body_that_breaks_off_closes_the_answer():
    means = Means(Answered(200, {}, [b"x", unreachable()]))

    def steps():
        yield from ask(get())

    with pytest.raises(UpstreamError):
        await means.run(steps())
    means.send.assert_settled()


async def test_page_instead_of_a_token_is_not_read_to_its_end():
    answer = Answered(200, {}, [b"x" * 600_000] * 10)
    means = Means(answer)

    def steps():
        yield from ask(get())

    with pytest.raises(UpstreamError, match="longer"):
        await means.run(steps())
    assert answer.read == 2


async def test_proxy_of_the_account_is_used():
    means = Means(Answered())

    def steps():
        yield from ask(get())

    await means.run(steps(), proxy="http://proxy.test:3128")
    assert means.send.requests[0].proxy == "http://proxy.test:3128"


async def test_generator_is_closed_when_it_fails():
    closed, means = [], Means(unreachable())

    def steps():
        try:
            yield from ask(get())
        finally:
            closed.append(True)

    with pytest.raises(UpstreamError):
        await means.run(steps())
    assert closed == [True]


# Time


async def test_no_step_is_begun_after_the_limit():
    means = Means()

    def steps():
        yield from wait(40)
        yield from wait(40)

    with pytest.raises(UpstreamError, match="too long") as caught:
        await means.run(steps())
    assert (caught.value.code, caught.value.status) == ("sign_in_slow", 504)
    assert means.slept == [40, 20]


async def test_steps_without_an_end_are_ended():
    means = Means()

    def steps():
        while True:
            yield from show("A", "https://web.test", START)

    with pytest.raises(UpstreamError, match="more steps"):
        await means.run(steps())


# Hosts


@pytest.mark.parametrize(
    ("reach", "url", "allowed"),
    [
        (HERE, "https://id.test/token", True),
        (HERE, "https://ID.test:443/token", True),
        (HERE, "http://id.test/token", False),
        (HERE, "https://id.test:8443/token", False),
        (HERE, "https://evil.test/token", False),
        (HERE, "https://id.test.evil.test/token", False),
        (HERE, "https://user@id.test/token", False),
        (HERE, "https://id.test@evil.test/token", False),
        (HERE, "ftp://id.test/token", False),
        (HERE, "https://[::1/token", False),
        (HERE, "https://id.test:x/token", False),
        (HERE, "/token", False),
        (Reach(frozenset({"id.test:8443"})), "https://id.test:8443/", True),
        (Reach(frozenset({"id.test:8443"})), "https://id.test/", False),
        # Tests put a loopback address into a provider's table; nothing else opens plain http.
        (Reach(frozenset({"127.0.0.1"})), "http://127.0.0.1:9/", True),
        (Reach(frozenset({"127.0.0.1:9"})), "http://127.0.0.1:8/", False),
        (Reach(frozenset({"127.0.0.1:9"})), "http://127.0.0.1:9/", True),
        (HERE, "http://127.0.0.1:9/", False),
        (Reach(frozenset({"lan.test"})), "http://lan.test/", False),
        (Reach(own="git.corp.test"), "https://git.corp.test/login", True),
        (Reach(own="git.corp.test"), "https://api.git.corp.test/user", True),
        (Reach(own="git.corp.test"), "https://notgit.corp.test/", False),
        (Reach(own="git.corp.test"), "http://git.corp.test/", False),
        (Reach(base_url="https://keys.test:8443/v1"), "https://keys.test:8443/models", True),
        (Reach(base_url="https://keys.test:8443/v1"), "https://keys.test/models", False),
        (Reach(base_url="http://localhost:8000"), "http://localhost:8000/models", True),
        (Reach(base_url="http://localhost:8000"), "http://localhost:8001/models", False),
    ],
)
def test_requests_stay_within_reach(reach, url, allowed):
    assert reach.allows(url) is allowed


def test_reach_of_an_account():
    assert Reach.of(WEB) == Reach(WEB.hosts)
    assert Reach.of(WEB, "", "git.corp.test").own == "git.corp.test"
    assert Reach.of(KEYED).allows("https://api.keyed.test/me")
    assert not Reach.of(KEYED, "https://mine.test").allows("https://api.keyed.test/me")


async def test_request_beyond_reach_is_not_sent():
    means = Means()

    def steps():
        yield from ask(HttpRequest("POST", "https://evil.test/?t=1", body=CANARY.encode()))

    with pytest.raises(UpstreamError, match=r"evil\.test") as caught:
        await means.run(steps())
    assert caught.value.code == "host_not_allowed"
    assert means.send.requests == []


async def test_redirect_is_an_answer_like_any_other():
    means = Means(Answered(302, {"location": "https://evil.test/"}, b""))

    def steps():
        return (yield from ask(get())).reply.status

    assert await means.run(steps()) == 302
    assert len(means.send.requests) == 1


# Secrets


async def test_errors_repeat_no_secret_that_was_given_out():
    secret = f"{CANARY}-given-out"

    def steps():
        yield from keep(Credential(secret, renewal=f"{CANARY}-renewal"))
        raise AccountError(f"No good: {secret}", hint=f"Use {CANARY}-renewal", code="x")

    with pytest.raises(AccountError) as caught:
        await Means().run(steps())
    assert CANARY not in caught.value.text + str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: Granted(c, Identity("1"))])
async def test_what_comes_out_is_registered_for_redaction(wrap):
    secret = f"{CANARY}-returned-{id(wrap)}"

    def steps():
        yield from wait(0)
        return wrap(Credential(secret))

    await Means().run(steps())
    assert secret not in scrub(f"text with {secret}")


async def test_fault_of_the_steps_is_ours_and_tells_nothing_of_what_was_read(caplog):
    def steps():
        yield from wait(0)
        int(f"{CANARY}-unknown-to-redaction")

    with caplog.at_level(logging.ERROR), pytest.raises(BugError) as caught:
        await Means().run(steps())
    assert CANARY not in caught.value.text + caplog.text
    assert caught.value.__cause__ is None
    assert "ValueError" in caplog.text
