from dataclasses import replace

import pytest

from app.accounts.flow import ConsentNeeded, Flow, agreed, find_way, kind_of, new_pkce
from app.errors import RequestError
from app.providers.signin import CodeSignIn, DeviceSignIn, SecretSignIn
from tests.accounts.services import CONSENT, PROVIDERS, WEB, record


def flow(state="waiting"):
    return Flow("id", "web", "browser", "browser", state, 100.0, 400.0, url="https://x/?state=s3")


@pytest.mark.parametrize(
    ("state", "live", "left_s"),
    [
        ("waiting", True, 250),
        ("working", True, 250),
        ("other_identity", True, 250),
        ("done", False, 0),
        ("failed", False, 0),
        ("expired", False, 0),
        ("cancelled", False, 0),
    ],
)
def test_time_runs_only_while_something_may_come_of_it(state, live, left_s):
    assert flow(state).live is live
    assert flow(state).expires_in(150.0) == left_s
    assert flow(state).expires_in(500.0) == 0


def test_flow_does_not_show_its_address():
    assert "s3" not in repr(flow())


def test_kinds_of_ways():
    assert kind_of(CodeSignIn(None, None)) == "browser"
    assert kind_of(DeviceSignIn(None)) == "device"
    assert kind_of(SecretSignIn("key", None)) == "secret"


def test_proof_key_is_a_verifier_of_128_characters_and_its_hash():
    pkce = new_pkce(lambda count: bytes(count))
    assert pkce.verifier == "A" * 128
    assert pkce.challenge == "tqw8wQOGMxx2XwTwQcFH0PJ48q7Y6qAh4tAFf8b2_54"
    assert "A" * 128 not in repr(pkce)


@pytest.mark.parametrize(
    ("provider", "way", "code", "hint"),
    [
        ("none", None, "unknown_provider", "There is one to: web, strict, keyed."),
        ("web", "none", "unknown_way", "There are: browser, paste, device."),
    ],
)
def test_way_that_is_not_there_names_those_that_are(provider, way, code, hint):
    with pytest.raises(RequestError) as caught:
        find_way(PROVIDERS, provider, way)
    assert (caught.value.status, caught.value.code, caught.value.hint) == (404, code, hint)


def test_best_way_is_the_first():
    assert find_way(PROVIDERS, "web", None)[1] == "browser"
    assert find_way(PROVIDERS, "web", "device")[2] is WEB.sign_ins["device"]


def test_agreement_is_to_the_text_in_force_and_keeps_its_time():
    strict, now = PROVIDERS["strict"], 900.0
    old = record("s", "strict", consent=CONSENT.version, consented_at=5.0)
    assert agreed(WEB, None, "", now) == ("", 0.0)
    assert agreed(strict, None, CONSENT.version, now) == (CONSENT.version, now)
    assert agreed(strict, old, "", now) == (CONSENT.version, 5.0)
    assert agreed(strict, old, CONSENT.version, now) == (CONSENT.version, now)
    for account, consent in ((None, ""), (None, "2020"), (replace(old, consent="2020"), "")):
        with pytest.raises(ConsentNeeded) as caught:
            agreed(strict, account, consent, now)
        assert (caught.value.status, caught.value.consent) == (409, CONSENT)
