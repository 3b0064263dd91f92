"""Calls that bring their own sign-in along."""

import pytest

from app.accounts.forwarded import forwarding
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
