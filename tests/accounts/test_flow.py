import pytest

from app.accounts.flow import Flow, kind_of, new_pkce
from app.providers.signin import CodeSignIn, DeviceSignIn, SecretSignIn


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
