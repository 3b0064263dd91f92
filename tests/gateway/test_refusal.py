from dataclasses import replace

import pytest

from app.canonical.failure import Failure, failure_of
from app.canonical.parts import Native
from app.errors import AccountError, UpstreamError
from app.gateway.refusal import helps_more, upstream_shown, with_help, without_secrets
from app.log import redact

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
def test_refused_account_is_told_once_in_the_services_words(failure):
    shown = upstream_shown(failure)
    assert (shown.status, shown.kind, shown.code) == (400, "payment", "account_refused")
    assert failure.message in shown.message
    assert "doctor" in shown.hint


def test_accounts_that_need_a_person_are_told_once():
    error = AccountError("No account.", code="accounts_unavailable", hint="See doctor.")
    shown = upstream_shown(failure_of(error))
    assert (shown.status, shown.kind, shown.code) == (400, "payment", "accounts_unavailable")
    assert shown.text == "No account. See doctor."


@pytest.mark.parametrize(("wait_s", "kind"), [(59, "rate_limit"), (60, "quota"), (9000, "quota")])
def test_a_long_wait_is_told_as_a_spent_quota(wait_s, kind):
    ours = AccountError("All rest.", status=429, code="accounts_cooling", retry_after_s=wait_s)
    theirs = Failure(429, "busy", "rate_limit", retry_after_s=wait_s)
    for failure in (failure_of(ours), theirs):
        shown = upstream_shown(failure)
        assert (shown.status, shown.kind, shown.retry_after_s) == (429, kind, wait_s)


def test_other_failures_are_shown_as_they_are():
    assert upstream_shown(WAIT_9) is WAIT_9


def test_credentials_that_a_service_repeats_are_cut_out():
    secret = "canary-4f1d9a7e2b-key"
    redact(secret)
    said = f"Incorrect API key provided: {secret}."
    native = Native("openai_chat", {"message": said, "param": None})
    words = {"code": secret, "type": secret, "param": f"keys[{secret}]"}
    clean = without_secrets(Failure(401, said, "authentication", native=native, hint=said, **words))
    assert (clean.code, clean.type, clean.param) == ("***", "***", "keys[***]")
    assert clean.message == clean.hint == "Incorrect API key provided: ***."
    assert clean.native == Native("openai_chat", {"message": clean.message, "param": None})
    other = Failure(400, "sk-looks-like-one is no model", "invalid_request", native=None)
    assert without_secrets(other) == other


AT = "http://localhost:8317"


@pytest.mark.parametrize("hint", ["", "Wait."])
def test_failures_of_ours_end_with_the_address_of_their_entry(hint):
    error = AccountError("All rest.", status=429, code="accounts_cooling", hint=hint)
    told = with_help(failure_of(error), AT)
    where = f"Help: {AT}/help/accounts_cooling"
    assert told.text == f"All rest. {hint} {where}".replace("  ", " ")
    assert told.message == "All rest."


def test_what_a_service_said_has_an_address_only_with_advice_of_ours():
    said = Failure(403, "Not for you.", "permission", code="not_allowed")
    assert with_help(said, AT) is said
    advised = replace(said, hint="Take a key.")
    assert with_help(advised, AT).hint == f"Take a key. Help: {AT}/help/not_allowed"
    error = UpstreamError("Out of order.")
    error.passed_on = True
    assert with_help(failure_of(error), AT).text == "Out of order."


def test_codes_of_others_and_callers_without_an_address_are_told_nothing_more():
    other = replace(failure_of(UpstreamError("x")), code="their_own_code")
    assert with_help(other, AT) is other
    ours = failure_of(UpstreamError("x"))
    assert with_help(ours, "") is ours


def test_a_full_context_keeps_the_words_that_agents_know():
    full = Failure(400, "too long", "context_full", code="context_length_exceeded", hint="Less.")
    assert with_help(full, AT) is full
