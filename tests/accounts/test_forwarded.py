"""Calls that bring their own sign-in along."""

import pytest

from app.accounts.forwarded import forwarding
from app.accounts.manner import Manner
from app.errors import AccountError, Retry
from app.providers import ANTHROPIC, CLAUDE

TOKEN = "sk-ant-oat01-" + "x" * 40
OWN = (("User-Agent", "a"), ("authorization", f"Bearer {TOKEN}"))


def test_a_call_with_the_vendors_own_token_is_an_account_of_its_own():
    account = forwarding([CLAUDE])(OWN, "anthropic", "claude-opus-5")
    assert account.credential.secret == TOKEN
    assert account.base_url == "https://api.anthropic.com"
    assert account.provider.renew is None
    assert account.provider.shape is CLAUDE.shape_own
    assert TOKEN not in repr(account) + repr(account.credential)


@pytest.mark.parametrize(
    ("headers", "dialect", "model"),
    [
        ((), "anthropic", "claude-opus-5"),
        ((("authorization", "Bearer sk-ant-api03-xxxxxxxxxxxxxxxxxxxx"),), "anthropic", "claude-x"),
        ((("authorization", "Bearer dg-xxxxxxxxxxxxxxxxxxxx"),), "anthropic", "claude-x"),
        ((("authorization", f"Basic {TOKEN}"),), "anthropic", "claude-x"),
        ((("authorization", f"Bearer {TOKEN} more"),), "anthropic", "claude-x"),
        ((("x-api-key", TOKEN),), "anthropic", "claude-x"),
        (OWN, "openai_chat", "claude-opus-5"),
        (OWN, "anthropic", "gpt-5"),
    ],
)
def test_every_other_call_is_none(headers, dialect, model):
    assert forwarding([CLAUDE])(headers, dialect, model) is None


def test_nothing_is_forwarded_where_the_settings_do_not_say_so():
    assert forwarding([])(OWN, "anthropic", "claude-opus-5") is None
    assert forwarding([ANTHROPIC])(OWN, "anthropic", "claude-opus-5") is None


def test_the_call_goes_by_the_providers_proxy_and_not_without_it():
    manner = Manner((("X-A", "1"),), "http://p.test:1")
    account = forwarding([CLAUDE], {"claude": manner}.get)(OWN, "anthropic", "claude-opus-5")
    assert (account.proxy, account.headers) == (manner.proxy, manner.headers)
    lacking = {"claude": Manner(trouble="PROXY is not set in this session")}
    with pytest.raises(AccountError, match="PROXY is not set") as caught:
        forwarding([CLAUDE], lacking.get)(OWN, "anthropic", "claude-opus-5")
    assert (caught.value.status, caught.value.retry) == (400, Retry.NEVER)
    assert TOKEN not in caught.value.text
