"""The steps of signing in: what a generator asks of whoever drives it, and what it gets."""

import pytest

from app.http import HttpReply, HttpRequest
from app.providers.credential import Credential, Identity
from app.providers.signin import (
    NOT_ALLOWED,
    SIGN_IN_AGAIN,
    Answered,
    CodeSignIn,
    DeviceSignIn,
    Granted,
    Keep,
    Listen,
    Pkce,
    SecretSignIn,
    Show,
    Wait,
    ask,
    keep,
    show,
    wait,
)

CANARY = "canary-4f1d9a7e2b"
REQUEST = HttpRequest("GET", "https://id.test/me")
CREDENTIAL = Credential(f"{CANARY}-access", "oauth", 9.0, f"{CANARY}-refresh")


def answered(status=204, now=0.0):
    return Answered(HttpReply(status), now)


def drive(steps, *answers):
    """Run steps with these answers; return what they asked for, and what came out."""
    asked, waiting = [], list(answers)
    try:
        asked.append(next(steps))
        while True:
            asked.append(steps.send(waiting.pop(0)))
    except StopIteration as ended:
        assert waiting == []
        return asked, ended.value


@pytest.mark.parametrize("status", [200, 302, 401, 503])
def test_request_is_answered_whatever_its_status(status):
    reply = answered(status, 7.0)
    asked, out = drive(ask(REQUEST), reply)
    assert asked == [REQUEST]
    assert out is reply


def test_waiting_tells_the_time_after_it():
    assert drive(wait(5.0), answered(now=12.5)) == ([Wait(5.0)], 12.5)


def test_showing_a_code_goes_on_at_once_and_tells_the_time():
    step = Show("AB-CD", "https://id.test/device", 900.0)
    assert drive(show("AB-CD", "https://id.test/device", 900.0), answered(now=3.0)) == ([step], 3.0)


def test_keeping_gives_the_credential_and_gets_nothing():
    assert drive(keep(CREDENTIAL), answered()) == ([Keep(CREDENTIAL)], None)


def test_steps_read_from_top_to_bottom():
    def sign_in():
        now = yield from show("AB-CD", "https://id.test/device", 900.0)
        while (yield from ask(REQUEST)).reply.status == 202:
            now = yield from wait(5.0)
        yield from keep(CREDENTIAL)
        return Granted(CREDENTIAL, Identity("a")), now

    asked, (granted, now) = drive(
        sign_in(), answered(), answered(202), answered(now=5.0), answered(200), answered()
    )
    kinds = [type(step) for step in asked]
    assert kinds == [Show, HttpRequest, Wait, HttpRequest, Keep]
    assert (granted.identity.id, now) == ("a", 5.0)


def test_steps_that_their_driver_gives_up_go_no_further():
    went_on = []

    def sign_in():
        yield from ask(REQUEST)
        went_on.append("asked")

    steps = sign_in()
    next(steps)
    steps.close()
    assert went_on == []
    with pytest.raises(StopIteration):
        next(steps)


def test_refusals_are_told_apart():
    assert SIGN_IN_AGAIN != NOT_ALLOWED


@pytest.mark.parametrize(
    "value",
    [
        Pkce(f"{CANARY}-verifier", "challenge"),
        Keep(CREDENTIAL),
        Granted(CREDENTIAL, Identity("a")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_secret_is_in_what_a_log_would_show(value):
    assert CANARY not in repr(value)
    assert CANARY not in str(value)


def test_ways_are_what_their_flows_need():
    pkce = Pkce("v", "c")
    code = CodeSignIn(
        lambda p, state: f"https://id.test/?c={p.challenge}&s={state}",
        lambda code, state, p: ask(HttpRequest("POST", f"https://id.test/{code}/{p.verifier}")),
        Listen(1455, "/auth/callback"),
    )
    assert code.begin(pkce, "st") == "https://id.test/?c=c&s=st"
    asked, _ = drive(code.finish("the-code", "st", pkce), answered())
    assert asked[0].url == "https://id.test/the-code/v"
    assert CodeSignIn(code.begin, code.finish).listen is None
    host, _ = drive(
        DeviceSignIn(lambda host: ask(HttpRequest("POST", f"https://{host}/"))).run("h.test"),
        answered(),
    )
    assert host[0].url == "https://h.test/"
    typed, _ = drive(
        SecretSignIn("Key", lambda text, base: ask(HttpRequest("GET", f"{base}/{text}"))).run(
            "k", "https://api.test"
        ),
        answered(),
    )
    assert typed[0].url == "https://api.test/k"
