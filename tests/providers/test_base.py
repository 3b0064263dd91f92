import re
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canonical.failure import Failure
from app.errors import UpstreamError
from app.http import HttpReply, HttpRequest
from app.providers import ANTHROPIC, DEMO, GEMINI, OPENAI, PROVIDERS, compatible, join_url
from app.providers.base import USER_AGENT, Credential, ModelFacts, Provider

KEY = Credential("sk-secret")
CREDENTIAL_FIELDS = (
    *("authorization", "cookie", "proxy-authorization", "x-api-key", "x-dragoman-token"),
    "x-goog-api-key",
)
CALL = HttpRequest("POST", "https://host.test/v1/x", (("Content-Type", "application/json"),), b"{}")


# Addresses


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://h", "/v1/chat/completions", "https://h/v1/chat/completions"),
        ("https://h/", "/v1/messages", "https://h/v1/messages"),
        ("https://h//", "/v1/messages", "https://h/v1/messages"),
        ("https://h/v1", "/v1/messages", "https://h/v1/messages"),
        ("https://h/v1/", "/v1/messages", "https://h/v1/messages"),
        ("https://h/api/v1", "/v1/models?limit=1", "https://h/api/v1/models?limit=1"),
        (
            "https://h/api/coding/paas/v4",
            "/v1/chat/completions",
            "https://h/api/coding/paas/v4/chat/completions",
        ),
        (
            "https://h/v1beta/openai",
            "/v1/chat/completions",
            "https://h/v1beta/openai/chat/completions",
        ),
        ("https://h/v1alpha2", "/v1beta/models/m", "https://h/v1alpha2/models/m"),
        (
            "https://h/v1beta",
            "/v1beta/models/v1:generateContent",
            "https://h/v1beta/models/v1:generateContent",
        ),
        ("https://v1.test", "/v1/messages", "https://v1.test/v1/messages"),
        ("https://v1", "/v1/messages", "https://v1/v1/messages"),
        ("https://h/v1x", "/v1/messages", "https://h/v1x/v1/messages"),
        ("https://h/dev1", "/v1/messages", "https://h/dev1/v1/messages"),
        (
            "http://127.0.0.1:8080/anthropic",
            "/v1/messages",
            "http://127.0.0.1:8080/anthropic/v1/messages",
        ),
        ("demo://demo", "/v1/messages", "demo://demo/v1/messages"),
    ],
)
def test_a_base_that_names_a_version_replaces_that_of_the_path(base, path, url):
    assert join_url(base, path) == url


@given(st.sampled_from(["https://h", "https://h/a/b", "http://[::1]:1"]))
def test_a_base_with_and_without_its_version_means_the_same(base):
    assert join_url(base, "/v1/messages") == join_url(f"{base}/v1", "/v1/messages")


# Which dialect and which models


@pytest.mark.parametrize("provider", [*PROVIDERS.values(), compatible("x", "gemini", "https://x")])
@pytest.mark.parametrize("client", ["openai_chat", "openai_responses", "anthropic", "gemini"])
@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-pro", "gpt-4o-audio-preview", "claude-x", ""])
def test_a_call_is_always_made_in_a_dialect_that_is_spoken(provider, client, model):
    dialect = provider.dialect_for(model, client)
    assert dialect in provider.dialects


@pytest.mark.parametrize(
    ("model", "client", "dialect"),
    [
        ("gpt-5", "openai_chat", "openai_chat"),
        ("gpt-5", "openai_responses", "openai_responses"),
        ("gpt-5", "anthropic", "openai_responses"),
        ("gpt-5-pro", "openai_chat", "openai_responses"),
        ("gpt-5-pro-2025-10-06", "openai_chat", "openai_responses"),
        ("gpt-5-codex", "openai_chat", "openai_responses"),
        ("o3-deep-research", "openai_chat", "openai_responses"),
        ("gpt-5-prose", "openai_chat", "openai_chat"),
        ("gpt-4o-search-preview", "openai_responses", "openai_chat"),
        ("gpt-4o-audio-preview", "openai_responses", "openai_chat"),
        ("gpt-audio", "anthropic", "openai_chat"),
        ("gpt-audio-mini", "openai_responses", "openai_chat"),
    ],
)
def test_openai_is_called_in_the_dialect_that_a_model_speaks(model, client, dialect):
    assert OPENAI.dialect_for(model, client) == dialect


@pytest.mark.parametrize(
    ("listed", "client", "dialect"),
    [
        (("openai_chat",), "openai_responses", "openai_chat"),
        (("openai_chat", "openai_responses"), "openai_responses", "openai_responses"),
        (("openai_responses", "openai_chat"), "anthropic", "openai_responses"),
        ((), "openai_chat", "openai_responses"),
    ],
)
def test_what_the_service_lists_for_a_model_counts_more_than_a_rule(listed, client, dialect):
    facts = ModelFacts("gpt-5-pro", dialects=listed)
    assert OPENAI.dialect_for("gpt-5-pro", client, facts) == dialect


@pytest.mark.parametrize(
    ("model", "owner"),
    [
        ("claude-sonnet-4-5", ANTHROPIC),
        ("gpt-5", OPENAI),
        ("o1", OPENAI),
        ("o4-mini", OPENAI),
        ("chatgpt-4o-latest", OPENAI),
        ("codex-mini-latest", OPENAI),
        ("text-embedding-3-small", OPENAI),
        ("computer-use-preview", OPENAI),
        ("gemini-3-pro", GEMINI),
        ("gemma-3", GEMINI),
        ("learnlm-2", GEMINI),
        ("gemini-3-pro-aistudio", None),
        ("gemini-3-pro-webai", None),
        ("demo-chat", None),
        ("o10", None),
        ("o1x", None),
        ("my-gpt-5", None),
        ("anthropic/claude-sonnet-4-5", None),
        ("", None),
    ],
)
def test_a_model_belongs_to_at_most_one_keyed_service_by_its_name(model, owner):
    keyed = [provider for provider in PROVIDERS.values() if not provider.subscription]
    owners = [provider for provider in keyed if provider.serves(model)]
    assert owners == ([] if owner is None else [owner])


def test_a_compatible_server_owns_no_family():
    assert not compatible("x", "anthropic", "https://x.test").serves("claude-sonnet-4-5")


# Header fields


def prepared(provider, dialect, credential=KEY, client=(), own=(), call=CALL):
    made = provider.prepare(call, credential, dialect, client, own)
    assert (made.method, made.url, made.body) == (call.method, call.url, call.body)
    names = [name.lower() for name, _ in made.headers]
    assert len(names) == len(set(names)), "a field is sent twice"
    return {name.lower(): value for name, value in made.headers}


@pytest.mark.parametrize(
    ("provider", "dialect", "name", "value"),
    [
        (ANTHROPIC, "anthropic", "x-api-key", "sk-secret"),
        (OPENAI, "openai_chat", "authorization", "Bearer sk-secret"),
        (OPENAI, "openai_responses", "authorization", "Bearer sk-secret"),
        (GEMINI, "gemini", "x-goog-api-key", "sk-secret"),
        (
            compatible("x", "openai_chat", "https://x"),
            "openai_chat",
            "authorization",
            "Bearer sk-secret",
        ),
        (compatible("x", "anthropic", "https://x"), "anthropic", "x-api-key", "sk-secret"),
        (compatible("x", "gemini", "https://x"), "gemini", "x-goog-api-key", "sk-secret"),
    ],
)
def test_the_key_travels_in_the_services_own_field_and_nowhere_else(provider, dialect, name, value):
    fields = prepared(provider, dialect)
    assert [n for n, v in fields.items() if "sk-secret" in v] == [name]
    assert fields[name] == value
    assert fields["content-type"] == "application/json"
    assert fields["user-agent"] == USER_AGENT


@pytest.mark.parametrize("credential", [None, Credential("", "none")])
def test_a_service_without_a_key_is_called_without_one(credential):
    fields = prepared(compatible("x", "openai_chat", "https://x"), "openai_chat", credential)
    assert "authorization" not in fields


def test_a_calls_proxy_is_kept():
    call = HttpRequest("GET", "https://h", proxy="direct")
    assert OPENAI.prepare(call, KEY, "openai_chat", ()).proxy == "direct"


def test_only_named_fields_of_the_client_travel_on():
    client = (
        ("Authorization", "Bearer theirs"),
        ("X-Api-Key", "theirs"),
        ("Cookie", "c"),
        ("User-Agent", "theirs"),
        ("Anthropic-Beta", "a"),
        ("anthropic-beta", "b"),
        ("anthropic-version", "2024-01-01"),
        ("x-stainless-os", "Linux"),
    )
    fields = prepared(ANTHROPIC, "anthropic", client=client)
    assert fields["anthropic-beta"] == "a, b"
    assert fields["anthropic-version"] == "2024-01-01"
    assert "theirs" not in " ".join(fields.values())
    assert not {"cookie", "x-stainless-os", "authorization"} & set(fields)


def test_a_needed_field_is_sent_where_the_client_sent_none():
    assert prepared(ANTHROPIC, "anthropic")["anthropic-version"] == "2023-06-01"


def test_fields_of_the_settings_win_over_all_others():
    own = (("Anthropic-Version", "own"), ("X-API-Key", "own-key"), ("user-agent", "own-agent"))
    fields = prepared(ANTHROPIC, "anthropic", client=(("anthropic-version", "c"),), own=own)
    assert fields["anthropic-version"] == "own"
    assert fields["x-api-key"] == "own-key"
    assert fields["user-agent"] == "own-agent"


def test_facts_of_a_sign_in_travel_in_their_fields():
    provider = replace(OPENAI, fact_headers={"account_id": "Account-Id", "absent": "x-absent"})
    signed_in = Credential("sk-secret", "oauth", facts={"account_id": "a1", "plan": "pro"})
    fields = prepared(provider, "openai_chat", signed_in)
    assert fields["account-id"] == "a1"
    assert not {"x-absent", "plan"} & set(fields)


names = st.sampled_from(
    ["Anthropic-Beta", "anthropic-version", "X-Api-Key", "Host", "x", "User-Agent"]
)
fields = st.lists(st.tuples(names, st.text("abc", max_size=3)), max_size=6).map(tuple)


@given(st.sampled_from(list(PROVIDERS.values())), fields, fields)
def test_no_field_is_ever_sent_twice_and_our_key_survives_the_client(provider, client, own):
    dialect = provider.dialects[0]
    sent = prepared(provider, dialect, client=client, own=own)
    name = provider.auth.get(dialect, "authorization")
    if name not in {key.lower() for key, _ in own}:
        assert sent[name].endswith("sk-secret")
    for key, value in own:
        assert sent[key.lower()] in [v for k, v in own if k.lower() == key.lower()] + [value]


def test_a_secret_never_shows():
    assert "sk-secret" not in repr(KEY) + str(KEY)
    assert repr(Credential("s", "oauth", 5.0)) == "Credential(kind='oauth', expires_at=5.0)"


# Model lists


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        (OPENAI, "https://api.openai.com/v1/models"),
        (ANTHROPIC, "https://api.anthropic.com/v1/models?limit=1000"),
        (GEMINI, "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000"),
        (compatible("x", "openai_chat", "https://x.test/api/v1"), "https://x.test/api/v1/models"),
        (compatible("x", "gemini", "https://x.test"), "https://x.test/v1beta/models"),
    ],
)
def test_the_list_is_asked_for_where_the_service_has_it(provider, url):
    assert provider.list_models(provider.base_url) == HttpRequest("GET", url)


def listed(body):
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return OPENAI.parse_models(HttpReply(200, (), raw))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"object": "list", "data": [{"id": "gpt-5", "object": "model"}]}, [ModelFacts("gpt-5")]),
        (
            {"data": [{"type": "model", "id": "claude-x", "display_name": "Claude X"}]},
            [ModelFacts("claude-x", "Claude X")],
        ),
        (
            {
                "models": [
                    {
                        "name": "models/gemini-x",
                        "displayName": "Gemini X",
                        "inputTokenLimit": 1000,
                        "outputTokenLimit": 10,
                        "supportedGenerationMethods": ["generateContent", "countTokens"],
                    },
                    {"name": "models/embedding", "supportedGenerationMethods": ["embedContent"]},
                ]
            },
            [ModelFacts("gemini-x", "Gemini X", 1000, 10)],
        ),
        (
            {"data": [{"id": "a/b:free", "context_length": 5, "max_tokens": 2}]},
            [ModelFacts("a/b:free", None, 5, 2)],
        ),
        ({"models": [{"model": "llama3", "name": "llama3:8b"}]}, [ModelFacts("llama3:8b")]),
        ({"models": [{"model": "llama3"}]}, [ModelFacts("llama3")]),
        (
            {
                "models": [
                    {"slug": "gpt-x", "display_name": "GPT X", "context_window": 9},
                    {"slug": "gpt-x-review", "visibility": "hide"},
                ]
            },
            [ModelFacts("gpt-x", "GPT X", 9)],
        ),
        ([{"id": "a"}, "b"], [ModelFacts("a"), ModelFacts("b")]),
        ({"data": None}, []),
        ({"object": "list", "data": []}, []),
        ([], []),
    ],
)
def test_lists_are_read_in_every_services_form(body, expected):
    assert listed(body) == tuple(expected)


@pytest.mark.parametrize(
    "row",
    [
        None,
        5,
        "",
        [],
        {},
        {"id": ""},
        {"id": 5},
        {"id": None, "name": ["x"]},
        {"name": "models/"},
        {"id": "m", "supportedGenerationMethods": []},
    ],
)
def test_an_odd_row_is_left_out_and_the_others_stay(row):
    assert listed({"data": [row, {"id": "good"}]}) == (ModelFacts("good"),)


@pytest.mark.parametrize("size", [0, -1, True, "5", 5.0, None, [], {"a": 1}])
def test_an_odd_size_is_not_known(size):
    assert listed([{"id": "m", "context_length": size, "max_tokens": size}]) == (ModelFacts("m"),)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b"\xff\xfe",
        b"null",
        b"5",
        b'"text"',
        b"{}",
        b'{"data": {}}',
        b'{"data": "x"}',
        b'{"error": {"message": "no"}}',
        b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_list_is_an_error(body):
    with pytest.raises(UpstreamError, match="OpenAI API answered no model list"):
        listed(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "models", "id", "name", "context_length", "max_tokens", "display_name"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_list_of_models_or_an_error(body):
    try:
        rows = listed(body)
    except UpstreamError:
        return
    for row in rows:
        assert row.id
        assert isinstance(row.name, str | None)
        for size in (row.context, row.max_output):
            assert size is None or (type(size) is int and size > 0)


# The registry


def test_a_failure_stays_as_it_was_decoded_unless_the_service_says_more():
    failure = Failure(500, "x", "server")
    assert OPENAI.classify(failure, HttpReply(500)) is failure


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_every_service_is_described_without_contradictions(provider):
    assert PROVIDERS[provider.id] is provider
    assert re.fullmatch(r"[a-z][a-z0-9]*", provider.id)
    spoken = set(provider.dialects)
    assert set(provider.auth) | set(provider.fixed_headers) <= spoken
    assert provider.vendors | provider.counts <= spoken
    assert all(set(only) <= spoken and only for _, only in provider.dialect_rules)
    assert all(name == name.lower() for name in (*provider.forward, *provider.auth.values()))
    assert provider.demo is (provider is DEMO)


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_no_service_is_sent_a_credential_of_the_caller(provider):
    theirs = tuple((name, "the-callers-own") for name in CREDENTIAL_FIELDS)
    for dialect in provider.dialects:
        asked = HttpRequest("POST", "https://x/", ())
        sent = provider.prepare(asked, Credential("of-the-account"), dialect, theirs)
        assert "the-callers-own" not in str(sent.headers)


def test_a_provider_is_a_plain_value():
    facts = {
        "id": "x",
        "title": "X",
        "base_url": "https://x",
        "dialects": ("gemini",),
        "issuer": "x",
    }
    assert Provider(**facts).dialect_for("m", "anthropic") == "gemini"
    assert not Provider(**facts).serves("m")


def test_a_service_may_ask_for_its_models_and_read_them_in_its_own_way():
    asked = HttpRequest("GET", "https://x/adapters", (("x-account", "7"),))
    own = Provider(
        id="x",
        title="X",
        base_url="https://x",
        dialects=("openai_chat",),
        issuer="x",
        ask_models=lambda base_url, credential: asked,
        read_models=lambda reply: (ModelFacts(reply.body.decode(), tools=False),),
    )
    assert own.list_models("https://x", Credential("secret")) is asked
    assert own.parse_models(HttpReply(200, (), b"one")) == (ModelFacts("one", tools=False),)
