import pytest

from app.accounts.manner import Manner, known_providers, manners
from app.config import Config
from app.errors import AccountError
from app.providers import CLAUDE, CTONEW, PROVIDERS

MINE = {"kind": "compatible", "dialect": "openai_chat", "base_url": "https://mine.test/v1"}


def config(providers):
    return Config.model_validate({"providers": providers})


def test_provider_without_an_entry_is_called_as_ever():
    assert manners(Config(), {}) == {}
    assert manners(config({"openai": {}}), {}) == {"openai": Manner()}


def test_entry_says_how_its_signed_in_accounts_are_called():
    entry = {
        "proxy": "http://${USER_}:pw@p.test:1",
        "headers": {"X-Team": "${TEAM}", "X-Plain": "a"},
        "models": {"fast": "gpt-5-mini"},
        "enabled": False,
    }
    told = manners(config({"openai": entry}), {"USER_": "ada", "TEAM": "red"})["openai"]
    assert told.proxy == "http://ada:pw@p.test:1"
    assert told.headers == (("X-Team", "red"), ("X-Plain", "a"))
    assert (dict(told.models), told.enabled, told.trouble) == ({"fast": "gpt-5-mini"}, False, "")
    assert "pw" not in repr(told)


@pytest.mark.parametrize("entry", [{"proxy": "${GONE}"}, {"headers": {"X-A": "${GONE}"}}])
def test_proxy_or_header_that_is_not_there_keeps_accounts_from_being_called(entry):
    told = manners(config({"codex": entry}), {})["codex"]
    assert told.trouble == "GONE is not set in this session"
    with pytest.raises(AccountError, match="GONE is not set") as caught:
        told.route()
    assert (caught.value.status, caught.value.code) == (400, "account_not_ready")
    assert Manner(proxy="http://p.test:1").route() == "http://p.test:1"


def test_service_with_keys_is_where_the_user_wrote_and_any_other_where_it_is():
    known = known_providers(config({"gemini": {"base_url": "https://relay.test"}, "mine": MINE}))
    assert known["gemini"].base_url == "https://relay.test"
    assert known["mine"].base_url == "https://mine.test/v1"
    assert known["claude"] is CLAUDE
    assert list(known)[: len(PROVIDERS)] == list(PROVIDERS)


def test_sign_in_tokens_go_to_no_address_of_the_settings():
    known = known_providers(config({"claude": {"base_url": "https://relay.test"}}))
    assert (known["claude"].base_url, known["claude"].hosts) == (CLAUDE.base_url, CLAUDE.hosts)


def test_lead_of_renewals_may_be_another():
    assert CTONEW.renew_lead_s == 10.0
    known = known_providers(config({"ctonew": {"renew_lead_s": 25}}))
    assert known["ctonew"].renew_lead_s == 25.0
    assert known["codex"].renew_lead_s == PROVIDERS["codex"].renew_lead_s


def test_compatible_server_has_the_address_of_its_first_account_that_has_one():
    entry = {
        "kind": "compatible",
        "dialect": "anthropic",
        "accounts": [{"label": "a", "api_key": "k", "base_url": "https://a.test"}],
    }
    assert known_providers(config({"mine": entry}))["mine"].base_url == "https://a.test"
