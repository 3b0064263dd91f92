from dataclasses import replace

import pytest

from app.accounts.held import Held, sealed_account
from app.accounts.manner import Manner
from app.providers.credential import Credential
from tests.accounts.services import CANARY, CONSENT, PROVIDERS, WEB, record

STRICT = PROVIDERS["strict"]


def test_record_is_called_as_its_service_and_the_settings_say():
    manner = Manner((("X-A", "1"),), "http://p.test:1", models={"fast": "m"})
    account = Held(record(paused=True)).account(WEB, manner, 7)
    assert (account.id, account.label, account.provider) == ("web/web-1", "web-1", WEB)
    assert (account.base_url, account.order, account.paused) == (WEB.base_url, 7, True)
    assert (account.headers, account.proxy, account.models) == (
        manner.headers,
        manner.proxy,
        manner.models,
    )
    assert account.credential.secret == f"{CANARY}-access-web-1"
    assert account.trouble == ""


def test_own_address_of_a_record_wins():
    held = Held(record(base_url="https://mine.test"))
    assert held.account(WEB, Manner(), 0).base_url == "https://mine.test"


def test_credential_without_a_secret_is_none():
    held = Held(record(credential=Credential("", "oauth", renewal="r")))
    assert held.account(WEB, Manner(), 0).credential is None


@pytest.mark.parametrize(
    ("trouble", "consent", "manner", "told"),
    [
        ("Signed out.", "", "PROXY is missing", "Signed out."),
        ("", "2020-01-01", "PROXY is missing", "its terms of use must be agreed to; "),
        ("", CONSENT.version, "PROXY is missing", "PROXY is missing"),
        ("", CONSENT.version, "", ""),
    ],
)
def test_trouble_of_the_account_comes_before_terms_and_these_before_the_settings(
    trouble, consent, manner, told
):
    held = Held(record("s", "strict", consent=consent), trouble)
    account = held.account(STRICT, Manner(trouble=manner), 0)
    assert account.trouble.startswith(told)
    assert account.ready is (told == "")


def test_what_helps_is_that_against_the_trouble_else_the_agreement():
    held = Held(record("s", "strict", consent="2020-01-01"))
    assert held.needed(STRICT) == "consent"
    assert held.needed(WEB) == held.needed(None) == ""
    signed_out = replace(held, trouble="Signed out.", need="sign_in")
    assert signed_out.needed(STRICT) == signed_out.needed(None) == "sign_in"
    assert replace(held, trouble="Not allowed.").needed(STRICT) == ""


def test_account_that_cannot_be_read_waits_with_the_reason():
    account = sealed_account("web/a/b", WEB, Manner(enabled=False), "The keyring is locked.", 3)
    assert (account.id, account.label, account.order) == ("web/a/b", "a/b", 3)
    assert (account.credential, account.enabled) == (None, False)
    assert account.trouble == "The keyring is locked."
