import pytest

from app.canonical.failure import Failure
from app.gateway.refusal import helps_more, upstream_shown

WAIT_9 = Failure(429, "busy", "rate_limit", retry_after_s=9.0, scope="model")
WAIT_3 = Failure(429, "busy", "rate_limit", retry_after_s=3.0, scope="model")
DOWN = Failure(502, "down", "server", scope="service")
FAULT = Failure(400, "wrong", "invalid_request")


@pytest.mark.parametrize(
    ("new", "old", "better"),
    [
        (DOWN, None, True),
        (WAIT_9, DOWN, True),
        (DOWN, WAIT_9, False),
        (WAIT_3, WAIT_9, True),
        (WAIT_9, WAIT_3, False),
        (FAULT, WAIT_3, True),
        (DOWN, DOWN, True),
    ],
)
def test_which_failure_helps_more(new, old, better):
    assert helps_more(new, old) is better


@pytest.mark.parametrize(
    "failure",
    [
        Failure(401, "bad key", "authentication", hint="renew"),
        Failure(401, "odd", "permission"),
        Failure(400, "API key not valid", "authentication"),
    ],
)
def test_refused_account_is_unavailable_in_the_services_words(failure):
    shown = upstream_shown(failure)
    assert shown.status == 503
    assert failure.message in shown.message
    assert shown.code == "account_refused"


def test_other_failures_are_shown_as_they_are():
    assert upstream_shown(WAIT_9) is WAIT_9
