import json

import pytest
from pydantic import ValidationError

from app.config import (
    Account,
    Config,
    Provider,
    SecretRef,
    json_schema,
    warnings,
)
from app.configfile import init_text
from app.configtext import load

CANARY = "canary-7f3a9c-secret"


def test_defaults_are_those_that_the_documentation_states():
    assert Config().model_dump(by_alias=True) == {
        "server": {"host": "loopback", "port": 8317},
        "access": {"keyless": "same_user", "hosts": (), "origins": ()},
        "providers": {},
        "models": {
            "default": None,
            "aliases": {},
            "patterns": (),
            "capabilities": {},
            "prices": {},
            "chains": {},
            "moves": {},
            "rules": (),
            "strategies": {},
            "weights": {},
            "retry": {
                "attempts": 2,
                "first_wait_s": 0.5,
                "longest_wait_s": 8.0,
                "budget_s": 20.0,
            },
            "registry": True,
            "extensions": (),
            "hooks": (),
        },
        "upstream": {
            "transport": "fast",
            "connect_timeout_s": 10.0,
            "first_byte_timeout_s": 120.0,
            "idle_timeout_s": 300.0,
            "total_timeout_s": 600.0,
            "proxy": None,
            "ca_file": None,
        },
        "websocket": {"relay_max_frame_mb": 64},
        "database": {"url": None},
        "ledger": {
            "bodies": False,
            "bodies_days": 7.0,
            "bodies_each_kb": 1_024,
            "bodies_mb": 512,
            "retention_days": 400,
            "max_mb": 2048,
            "budgets": (),
        },
        "cache": {"enabled": False, "ttl_s": 3_600.0, "max_mb": 32},
        "traces": {"enabled": False, "endpoint": None},
        "quota": {"low_percent": 5.0, "ask": True},
        "logging": {"level": "info", "json": False},
        "services": {"webai": {"enabled": False, "port": 8406, "url": None, "api_key": None}},
        "advanced": {"max_body_mb": 64, "demo": True},
    }


def test_defaults_of_entries():
    assert Provider().model_dump() == {
        "kind": None,
        "dialect": None,
        "api_key": None,
        "credential_command": None,
        "forward": False,
        "base_url": None,
        "proxy": None,
        "headers": {},
        "enabled": True,
        "insecure_http": False,
        "models": "discover",
        "pace": None,
        "renew_lead_s": None,
        "accounts": (),
    }
    account = Account().model_dump()
    assert (account.pop("headers"), account.pop("enabled")) == ({}, True)
    assert set(account.values()) == {None}


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(ValidationError):
        Config().server.port = 1


# Pace


@pytest.mark.parametrize("wrong", [{"at_once": 0}, {"per_minute": -1}, {"per_hour": 3}, 4, "slow"])
def test_what_is_no_pace_is_refused(wrong):
    with pytest.raises(ValidationError):
        Provider.model_validate({"pace": wrong})


def test_a_pace_may_say_one_thing_only():
    pace = Provider.model_validate({"pace": {"at_once": 2}}).pace
    assert (pace.at_once, pace.per_minute) == (2, None)


# Credential commands


@pytest.mark.parametrize(
    "written",
    [
        ["op", "read", "key with blanks"],
        {"command": ["op", "read", "key with blanks"]},
    ],
)
def test_a_command_is_a_list_or_a_section(written):
    account = Account.model_validate({"credential_command": written})
    command = account.credential_command
    assert command.command == ("op", "read", "key with blanks")
    assert (command.shell, command.timeout_s, command.lifetime_s) == (False, 30.0, 900.0)


@pytest.mark.parametrize(
    "written",
    ["op read key", [], [""], ["a\0b"], [1], {"command": ["a"], "timeout_s": 0}, {"shell": True}],
)
def test_what_is_no_command_is_refused(written):
    with pytest.raises(ValidationError):
        Account.model_validate({"credential_command": written})


def test_a_command_alone_makes_an_account():
    section = Provider.model_validate({"credential_command": ["show-key"]})
    (account,) = section.keyed_accounts("openai")
    assert account.label == "openai-1"
    assert account.credential_command.command == ("show-key",)


# Secrets


FULL = f"""
providers:
  openai:
    api_key: {CANARY}
    headers: {{X-Secret: {CANARY}}}
    proxy: http://user:{CANARY}@127.0.0.1:3128
  gemini:
    accounts:
      - {{label: a, api_key: {CANARY}, headers: {{Cookie: {CANARY}}}}}
upstream: {{proxy: "socks5://u:{CANARY}@127.0.0.1:1"}}
database: {{url: "postgresql+psycopg://u:{CANARY}@h/d"}}
"""


def test_no_secret_is_in_any_form_of_the_settings():
    config = load(FULL, "f", {})
    forms = [
        repr(config),
        str(config),
        str(config.model_dump()),
        str(config.model_dump(mode="json")),
        config.model_dump_json(),
        repr(config.providers["gemini"].keyed_accounts("gemini")),
        str(warnings(config, {})),
        json.dumps(config.model_dump(mode="json", by_alias=True)),
    ]
    assert [form for form in forms if CANARY in form] == []
    assert '"api_key":"***"' in config.model_dump_json()


def test_every_secret_is_listed_with_its_key():
    config = load(FULL, "f", {})
    assert [key for key, _ in config.secrets()] == [
        "providers.openai.api_key",
        "providers.openai.proxy",
        "providers.openai.headers.X-Secret",
        "providers.gemini.accounts[0].api_key",
        "providers.gemini.accounts[0].headers.Cookie",
        "upstream.proxy",
        "database.url",
    ]
    assert all(CANARY in (ref.resolve({}) or "") for _, ref in config.secrets())


def test_variables_that_hold_secrets_are_named():
    text = (
        "providers: {openai: {api_key: '${A}', headers: {x: 'v ${B}'}}}\nupstream: {proxy: '${C}'}"
    )
    assert load(text, "f", {}).secret_variables() == {"A", "B", "C"}


# Accounts


def accounts(text, name):
    return load(text, "f", {}).providers[name].keyed_accounts(name)


def test_one_account_in_place_has_the_values_of_its_provider():
    (account,) = accounts(
        "providers: {openai: {api_key: '${K}', base_url: https://h/v1/, models: [a]}}", "openai"
    )
    assert account.label == "openai-1"
    assert account.api_key == SecretRef("${K}")
    assert account.base_url == "https://h/v1"
    assert account.models == {"a": "a"}
    assert account.insecure_http is False


def test_accounts_take_what_they_lack_from_the_provider():
    first, second = accounts(
        """
providers:
  box:
    kind: compatible
    dialect: anthropic
    base_url: https://one
    headers: {a: "1", b: "1"}
    models: {public: inner}
    accounts:
      - {label: work, base_url: "http://two", insecure_http: true, headers: {b: "2"}}
      - {api_key: k, enabled: false, models: discover}
""",
        "box",
    )
    assert (first.label, second.label) == ("work", "box-2")
    assert (first.base_url, second.base_url) == ("http://two", "https://one")
    assert {name: ref.resolve({}) for name, ref in first.headers.items()} == {"a": "1", "b": "2"}
    assert (first.models, second.models) == ({"public": "inner"}, "discover")
    assert (first.enabled, second.enabled) == (True, False)


def test_disabled_provider_disables_its_accounts():
    (account,) = accounts("providers: {openai: {enabled: false, api_key: k}}", "openai")
    assert account.enabled is False


def test_built_in_provider_without_key_has_no_account_here():
    assert accounts("providers: {claude: {}}", "claude") == ()


def test_compatible_server_without_key_is_one_account():
    text = "providers: {ollama: {kind: compatible, dialect: openai_chat, base_url: http://localhost:1}}"
    (account,) = accounts(text, "ollama")
    assert (account.label, account.api_key) == ("ollama-1", None)


# Warnings


def test_literal_key_is_warned_of_with_the_command_that_moves_it():
    (warning,) = warnings(load(f"providers: {{openai: {{api_key: {CANARY}}}}}", "f", {}))
    assert warning == (
        "providers.openai.api_key holds a key in the file; "
        "`dragoman login openai` moves it to the vault."
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("providers: {openai: {api_key: '${K}'}}", []),
        ("providers: {openai: {headers: {X-Title: hello}}}", []),
        ("providers: {openai: {headers: {Authorization: Bearer x}}}", ["headers.Authorization"]),
        ("upstream: {proxy: 'http://127.0.0.1:3128'}", []),
        ("upstream: {proxy: 'http://u:p@127.0.0.1:3128'}", ["upstream.proxy"]),
        ("database: {url: 'postgresql+psycopg://h/d'}", []),
        ("database: {url: 'postgresql+psycopg://u:p@h/d'}", ["DRAGOMAN_DATABASE__URL"]),
    ],
)
def test_only_secrets_in_the_file_are_warned_of(text, expected):
    found = warnings(load(text, "f", {}))
    assert len(found) == len(expected)
    assert all(words in warning for words, warning in zip(expected, found, strict=True))


def test_a_settings_file_with_the_defaults_written_out_is_not_warned_of():
    assert warnings(load(init_text(), "f", {})) == ()


def test_unset_variable_is_told_with_the_way_out():
    config = load("providers: {openai: {api_key: '${K}'}}", "f", {})
    assert warnings(config, {"K": "x"}) == ()
    assert warnings(config, {}) == (
        "providers.openai.api_key: K is not set in this session; "
        "store the key with `dragoman login openai`.",
    )


# Schema


def test_schema_describes_every_section_and_refuses_unknown_keys():
    schema = json_schema()
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False
    provider = schema["$defs"]["Provider"]["properties"]
    kinds = {option.get("type") for option in provider["models"]["anyOf"]}
    assert kinds == {"string", "array", "object"}
    assert {option["type"] for option in provider["api_key"]["anyOf"]} == {"string", "null"}
    assert "json" in schema["$defs"]["Logging"]["properties"]
    json.dumps(schema)
