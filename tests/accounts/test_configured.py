import pytest

from app.accounts.configured import configured_accounts
from app.config import Config
from app.providers import ANTHROPIC, DEMO, OPENAI
from app.providers.base import Credential

ENV = {"KEY": "sk-1", "KEY2": " sk-2 ", "EMPTY": " ", "ORG": "org-1", "PROXY": "http://p.test:1"}


def read(providers=None, *, demo=False, models=None, env=ENV):
    settings = {"providers": providers or {}, "advanced": {"demo": demo}, "models": models or {}}
    return configured_accounts(Config.model_validate(settings), env, "config.yaml")


def only(providers, **changes):
    (account,), problems = read(providers, **changes)
    assert problems == []
    return account


def test_no_settings_give_the_demo_alone():
    (account,), problems = configured_accounts(Config(), {}, "config.yaml")
    assert problems == []
    assert (account.id, account.provider, account.ready) == ("demo/demo", DEMO, True)
    assert account.credential is None


def test_the_demo_can_be_switched_off_and_comes_last():
    assert read() == ((), [])
    accounts, _ = read({"openai": {"api_key": "${KEY}"}}, demo=True)
    assert [a.id for a in accounts] == ["openai/openai-1", "demo/demo"]
    assert [a.order for a in accounts] == [0, 1]


def test_a_key_makes_an_account_at_the_services_own_address():
    account = only({"openai": {"api_key": "${KEY}"}})
    assert account.id == "openai/openai-1"
    assert account.provider is OPENAI
    assert account.base_url == OPENAI.base_url
    assert account.credential == Credential("sk-1")
    assert account.models is None
    assert account.ready


@pytest.mark.parametrize(
    ("text", "secret"),
    [("${KEY2}", "sk-2"), ("sk-literal", "sk-literal"), ("a-${KEY}-b", "a-sk-1-b")],
)
def test_a_key_is_a_reference_a_literal_or_text_around_references(text, secret):
    assert only({"openai": {"api_key": text}}).credential.secret == secret


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"api_key": "${UNSET}"},
            "UNSET is not set in this session; store it with `dragoman login",
        ),
        ({"api_key": "${EMPTY}"}, "EMPTY is not set"),
        ({"api_key": "${UNSET}${EMPTY}"}, "UNSET, EMPTY is not set"),
        ({"accounts": [{"label": "a"}]}, "it has no api_key"),
        ({"api_key": "${KEY}", "headers": {"x-org": "${UNSET}"}}, "UNSET is not set"),
        ({"api_key": "${KEY}", "proxy": "${UNSET}"}, "UNSET is not set"),
        (
            {"api_key": "${UNSET}", "proxy": "${EMPTY}", "headers": {"x": "${EMPTY}"}},
            "UNSET is not set",
        ),
    ],
)
def test_an_account_that_lacks_something_is_there_and_says_what(entry, words):
    account = only({"openai": entry})
    assert not account.ready
    assert account.enabled
    assert account.trouble.startswith(words)
    assert "sk-1" not in account.trouble


def test_an_account_without_its_key_has_no_credential():
    assert only({"openai": {"api_key": "${UNSET}"}}).credential is None


def test_an_account_without_its_proxy_is_not_called_directly():
    account = only({"openai": {"api_key": "${KEY}", "proxy": "${UNSET}"}})
    assert not account.ready


def test_header_fields_and_proxy_are_resolved():
    entry = {"api_key": "${KEY}", "headers": {"OpenAI-Organization": "${ORG}"}, "proxy": "${PROXY}"}
    account = only({"openai": entry})
    assert account.headers == (("OpenAI-Organization", "org-1"),)
    assert account.proxy == "http://p.test:1"


def test_several_accounts_keep_their_order_and_fall_back_to_the_entry():
    accounts, problems = read(
        {
            "openai": {
                "base_url": "https://eu.test/v1/",
                "headers": {"x-a": "1", "x-b": "1"},
                "models": ["gpt-5"],
                "accounts": [
                    {"label": "home", "api_key": "${KEY}", "headers": {"x-b": "2"}},
                    {"api_key": "${KEY2}", "base_url": "https://us.test", "models": "discover"},
                ],
            },
            "anthropic": {"api_key": "${KEY}"},
        }
    )
    assert problems == []
    home, second, claude = accounts
    assert [a.id for a in accounts] == ["openai/home", "openai/openai-2", "anthropic/anthropic-1"]
    assert [a.order for a in accounts] == [0, 1, 2]
    assert (home.base_url, second.base_url) == ("https://eu.test/v1", "https://us.test")
    assert home.headers == (("x-a", "1"), ("x-b", "2"))
    assert (home.models, second.models) == ({"gpt-5": "gpt-5"}, None)
    assert claude.provider is ANTHROPIC


@pytest.mark.parametrize(
    ("entry", "enabled"),
    [
        ({"enabled": False, "accounts": [{"api_key": "k"}]}, False),
        ({"accounts": [{"api_key": "k", "enabled": False}]}, False),
        ({"enabled": False, "accounts": [{"api_key": "k", "enabled": True}]}, False),
        ({"accounts": [{"api_key": "k"}]}, True),
    ],
)
def test_an_account_that_is_switched_off_is_listed_but_not_ready(entry, enabled):
    account = only({"openai": entry})
    assert (account.enabled, account.ready) == (enabled, enabled)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("discover", None),
        (["a", "b/c"], {"a": "a", "b/c": "b/c"}),
        ({"fast": "gpt-5-mini"}, {"fast": "gpt-5-mini"}),
        ([], {}),
    ],
)
def test_models_are_discovered_listed_or_mapped(models, expected):
    assert only({"openai": {"api_key": "k", "models": models}}).models == expected


def test_a_compatible_server_needs_no_key():
    entry = {
        "kind": "compatible",
        "dialect": "openai_chat",
        "base_url": "http://127.0.0.1:11434/v1",
    }
    account = only({"ollama": entry})
    assert account.ready
    assert account.credential is None
    assert account.provider.id == "ollama"
    assert account.provider.dialects == ("openai_chat",)
    assert not account.provider.official


def test_a_compatible_server_may_have_its_address_at_the_accounts():
    accounts, problems = read(
        {
            "mine": {
                "kind": "compatible",
                "dialect": "anthropic",
                "accounts": [{"base_url": "https://a.test"}, {"base_url": "https://b.test"}],
            }
        }
    )
    assert problems == []
    assert [a.base_url for a in accounts] == ["https://a.test", "https://b.test"]
    assert accounts[0].provider == accounts[1].provider


@pytest.mark.parametrize(
    "missing", [{"dialect": None}, {"base_url": None}, {"dialect": None, "base_url": None}]
)
def test_a_compatible_server_that_says_too_little_is_left_to_the_settings_own_checks(missing):
    entry = {"kind": "compatible", "dialect": "gemini", "base_url": "https://a.test"} | missing
    assert read({"mine": entry}) == ((), [])


@pytest.mark.parametrize("name", ["claude", "codex"])
def test_a_provider_that_is_signed_in_to_takes_no_key(name):
    accounts, (problem,) = read({name: {"api_key": "${KEY}"}})
    assert accounts == ()
    assert (problem.file, problem.key) == ("config.yaml", f"providers.{name}")
    assert "takes no api_key" in problem.message


@pytest.mark.parametrize("name", ["claude", "codex", "copilot", "ctonew"])
def test_a_provider_that_is_signed_in_to_has_no_other_address(name):
    accounts, (problem,) = read({name: {"base_url": "https://elsewhere.test"}})
    assert accounts == ()
    assert problem.key == f"providers.{name}.base_url"
    assert "its own hosts only" in problem.message


@pytest.mark.parametrize("name", ["openai", "claude"])
def test_an_entry_without_a_key_makes_no_account_and_is_no_problem(name):
    assert read({name: {"enabled": True}}) == ((), [])


def test_two_accounts_of_one_label_are_a_problem():
    twice = [{"label": "a", "api_key": "1"}, {"label": "a", "api_key": "2"}]
    _, (problem,) = read({"openai": {"accounts": twice}})
    assert problem.key == "providers.openai.accounts"
    assert "'a'" in problem.message


def test_a_label_that_looks_like_the_number_of_another_is_a_problem():
    accounts = [{"label": "openai-2", "api_key": "1"}, {"api_key": "2"}]
    _, (problem,) = read({"openai": {"accounts": accounts}})
    assert "'openai-2'" in problem.message


def test_the_same_label_at_two_providers_is_fine():
    accounts, problems = read(
        {name: {"accounts": [{"label": "a", "api_key": "1"}]} for name in ("openai", "gemini")}
    )
    assert problems == []
    assert [a.id for a in accounts] == ["openai/a", "gemini/a"]


def test_patterns_name_providers_that_are_known():
    patterns = [
        {"match": "a", "provider": "aistudio"},
        {"match": "b", "provider": "nowhere"},
        {"match": "c", "provider": "mine"},
        {"match": "d", "provider": "elsewhere"},
    ]
    mine = {"kind": "compatible", "dialect": "openai_chat", "base_url": "https://a.test"}
    _, problems = read({"mine": mine}, models={"patterns": patterns})
    assert [p.key for p in problems] == [
        "models.patterns[1].provider",
        "models.patterns[3].provider",
    ]
    assert "mine" in problems[0].message
