import sys

import pytest

from app.config import BUILT_IN_PROVIDERS, Config, SecretRef
from app.configtext import is_loopback, load
from app.errors import ConfigError

CANARY = "canary-7f3a9c-secret"


def problems(text, env=None):
    with pytest.raises(ConfigError) as caught:
        load(text, "config.yaml", env or {})
    return [(problem.line, problem.key, problem.message) for problem in caught.value.problems]


def problem(text, env=None):
    (only,) = problems(text, env)
    return only


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing\n", "---\n", "server:\nproviders:\nmodels:\n"]
)
def test_nothing_is_a_working_set_up(text):
    assert load(text, "f", {}) == Config()


def test_documented_example_is_read_whole():
    config = load(
        """
server:    {host: loopback, port: 8317}
access:    {keyless: same_user, hosts: [], origins: []}
providers:
  anthropic: {api_key: "${ANTHROPIC_API_KEY}"}
  openai:
    accounts:
      - {label: work, api_key: "${OPENAI_WORK}", base_url: https://api.openai.com/v1, proxy: null, enabled: true}
  openrouter:
    kind: compatible
    dialect: openai_chat
    base_url: https://openrouter.ai/api/v1
    api_key: "${OPENROUTER_API_KEY}"
    models: discover
models:
  default: null
  aliases: {fast: gpt-5-mini}
  patterns: [{match: "gemini-.*-aistudio$", provider: aistudio, priority: 10}]
  capabilities: {my-model: {context: 128000, tools: true, images: false, reasoning: none}}
  chains:  {}
  rules:   []
upstream:  {transport: fast, connect_timeout_s: 10, first_byte_timeout_s: 120, idle_timeout_s: 300, total_timeout_s: 600, proxy: null, ca_file: null}
websocket: {relay_max_frame_mb: 64}
database:  {url: null}
ledger:    {bodies: false, retention_days: 400}
logging:   {level: info, json: false}
services:  {webai: {enabled: false, port: 8406}}
advanced:  {max_body_mb: 64, demo: true}
""",
        "f",
        {},
    )
    assert config.providers["openai"].accounts[0].label == "work"
    assert config.models.aliases == {"fast": "gpt-5-mini"}
    assert config.models.patterns[0].priority == 10
    assert config.models.capabilities["my-model"].context == 128_000
    assert config.logging == Config().logging


@pytest.mark.parametrize("name", BUILT_IN_PROVIDERS)
def test_built_in_providers_need_nothing(name):
    assert load(f"providers: {{{name}: null}}", "f", {}).providers[name].enabled


# Unknown keys

UNKNOWN = [
    ("servr: {}", 1, "servr", "server"),
    ("server:\n  prot: 1", 2, "server.prot", "port"),
    ("access:\n  keyles: x", 2, "access.keyles", "keyless"),
    ("providers:\n  openai:\n    api-key: x", 3, "providers.openai.api-key", "api_key"),
    (
        "providers:\n  openai:\n    accounts:\n      - lable: x",
        4,
        "providers.openai.accounts[0].lable",
        "label",
    ),
    ("models:\n  alias: {}", 2, "models.alias", "aliases"),
    (
        "models:\n  patterns:\n    - {match: a, provider: b, prio: 1}",
        3,
        "models.patterns[0].prio",
        "priority",
    ),
    (
        "models:\n  capabilities:\n    m:\n      tool: true",
        4,
        "models.capabilities.m.tool",
        "tools",
    ),
    ("upstream:\n  idle_timeout: 1", 2, "upstream.idle_timeout", "idle_timeout_s"),
    ("websocket:\n  max_frame_mb: 1", 2, "websocket.max_frame_mb", "relay_max_frame_mb"),
    ("database:\n  uri: x", 2, "database.uri", "url"),
    ("ledger:\n  body: true", 2, "ledger.body", "bodies"),
    ("logging:\n  Json: true", 2, "logging.Json", "json"),
    ("logging:\n  as_jsn: true", 2, "logging.as_jsn", "json"),
    ("services:\n  webui: {}", 2, "services.webui", "webai"),
    ("services:\n  webai:\n    prt: 1", 3, "services.webai.prt", "port"),
    ("advanced:\n  max_body: 1", 2, "advanced.max_body", "max_body_mb"),
]


@pytest.mark.parametrize(("text", "line", "key", "near"), UNKNOWN)
def test_unknown_key_is_reported_with_line_and_nearest_name(text, line, key, near):
    found = problem(text)
    assert found[:2] == (line, key)
    assert found[2] == f"unknown key; did you mean {near}?"


def test_unknown_key_that_is_near_nothing_lists_what_there_is():
    assert problem("server: {zzzzz: 1}")[2] == "unknown key; expected one of host, port"


# Wrong values


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("server: {port: x}", "server.port", "expected a whole number"),
        ("server: {port: 70000}", "server.port", "expected a value less than or equal to 65535"),
        ("server: {port: 1.5}", "server.port", "expected a whole number"),
        ("server: {host: 'a b'}", "server.host", "expected loopback"),
        ("server: 5", "server", "expected keys and values"),
        ("access: {keyless: all}", "access.keyless", "expected 'same_user' or 'never'"),
        ("access: {hosts: a}", "access.hosts", "expected a list"),
        ("access: {hosts: ['a/b']}", "access.hosts[0]", "expected a host name"),
        ("access: {origins: ['https://a/b']}", "access.origins[0]", "expected an origin"),
        ("access: {origins: ['*']}", "access.origins[0]", "expected an origin"),
        ("advanced: {demo: 5}", "advanced.demo", "expected true or false"),
        ("ledger: {retention_days: 0}", "ledger.retention_days", "greater than or equal to 1"),
        ("upstream: {idle_timeout_s: 0}", "upstream.idle_timeout_s", "greater than 0"),
        ("upstream: {idle_timeout_s: .nan}", "upstream.idle_timeout_s", "expected a number"),
        ("upstream: {transport: h2}", "upstream.transport", "expected 'fast' or 'httpx'"),
        ("upstream: {proxy: 'ftp://h'}", "upstream.proxy", "socks5"),
        ("upstream: {proxy: 'http://h:x'}", "upstream.proxy", "expected a URL such as"),
        ("database: {url: 'mysql://h/d'}", "database.url", "expected postgresql+psycopg://"),
        ("logging: {level: loud}", "logging.level", "expected 'debug', 'info'"),
        ("models: {default: 5}", "models.default", "expected text"),
        ("models: {default: ''}", "models.default", "expected some text"),
        ("models: {aliases: [a]}", "models.aliases", "expected keys and values"),
        ("models: {chains: {a: []}}", "models.chains.a", "expected at least one entry"),
        ("models: {chains: {a: b}}", "models.chains.a", "expected a list"),
        ("models: {rules: [a]}", "models.rules[0]", "expected keys and values"),
        (
            "models: {patterns: [{match: '(', provider: a}]}",
            "models.patterns[0].match",
            "expected a regular expression",
        ),
        ("models: {patterns: [{match: a}]}", "models.patterns[0].provider", "is required"),
        (
            "models: {capabilities: {m: {reasoning: lots}}}",
            "models.capabilities.m.reasoning",
            "expected 'none', 'effort'",
        ),
        ("providers: {openai: {api_key: 5}}", "providers.openai.api_key", "in quotes"),
        ("providers: {openai: {api_key: ''}}", "providers.openai.api_key", "null for none"),
        ("providers: {openai: {api_key: '${a-b}'}}", "providers.openai.api_key", "${NAME}"),
        ("providers: {openai: {headers: {'a b': x}}}", "providers.openai.headers.a b", "header"),
        ("providers: {openai: {headers: {a: 1}}}", "providers.openai.headers.a", "in quotes"),
        ("providers: {openai: {models: 5}}", "providers.openai.models", "expected discover"),
        ("providers: {openai: {models: [5]}}", "providers.openai.models", "expected discover"),
        ("providers: {openai: 5}", "providers.openai", "expected keys and values"),
        ("providers: [openai]", "providers", "expected keys and values"),
        ("- server", "", "expected sections"),
    ],
)
def test_wrong_value_is_reported_with_what_was_expected(text, key, message):
    found = problem(text)
    assert found[0] == 1
    assert found[1] == key
    assert message in found[2]


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com",
        "https://api.example.com/v1",
        "https://api.example.com:8443/a/b/v1/",
        "http://localhost:11434/v1",
        "http://127.8.8.8:1",
        "http://[::1]:1/v1",
    ],
)
def test_base_url_with_or_without_version_is_taken(url):
    config = load(f"providers: {{openai: {{base_url: '{url}'}}}}", "f", {})
    assert config.providers["openai"].base_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("api.example.com", "a URL such as"),
        ("ftp://h", "a URL such as"),
        ("https://", "a URL such as"),
        ("https://h:99999", "a URL such as"),
        ("https://[::1", "a URL such as"),
        (f"https://u:{CANARY}@h", "without user name"),
        ("https://h/v1?x=1", "without query"),
        ("https://h/v1?", "without query"),
        ("https://h/#x", "without query"),
        ("https://h/a b", "without spaces"),
        ("http://h/v1", "insecure_http: true"),
        ("http://localhost.evil.example/v1", "insecure_http: true"),
    ],
)
def test_base_url_that_would_leak_or_fail_is_refused(url, words):
    found = problem(f"providers: {{openai: {{base_url: '{url}'}}}}")
    assert found[1] == "providers.openai.base_url"
    assert words in found[2]
    assert CANARY not in found[2]


def test_open_http_is_taken_where_the_user_says_so():
    text = """
providers:
  openai: {base_url: "http://h", insecure_http: true}
  gemini: {insecure_http: true, accounts: [{base_url: "http://h"}]}
  anthropic: {accounts: [{base_url: "http://h", insecure_http: true}]}
"""
    assert len(load(text, "f", {}).providers) == 3


def test_account_can_refuse_what_its_provider_allows():
    text = "providers: {openai: {insecure_http: true, accounts: [{base_url: 'http://h', insecure_http: false}]}}"
    assert problem(text)[1] == "providers.openai.accounts[0].base_url"


# Rules for several values


@pytest.mark.parametrize(
    ("entry", "key", "words"),
    [
        ("opnai: {}", "opnai", "did you mean openai?"),
        ("box: {}", "box", "has no kind: compatible"),
        ("demo: {}", "demo", "taken by the demo"),
        ("'A b': {}", "A b", "small letters"),
        ("openai: {kind: compatible}", "openai.kind", "is built in"),
        ("openai: {dialect: gemini}", "openai.dialect", "is built in"),
        ("box: {kind: other, dialect: gemini, base_url: 'https://h'}", "box.kind", "'compatible'"),
        ("box: {kind: compatible, base_url: 'https://h'}", "box.dialect", "is required: one of"),
        ("box: {kind: compatible, dialect: gemini}", "box.base_url", "is required"),
        (
            "box: {kind: compatible, dialect: gemini, accounts: [{label: a}]}",
            "box.accounts[0].base_url",
            "is required here or beside",
        ),
        ("openai: {api_key: k, accounts: [{label: a}]}", "openai.api_key", "not both"),
        (
            "openai: {accounts: [{label: a}, {label: a}]}",
            "openai.accounts[1].label",
            "is called a",
        ),
        (
            "openai: {accounts: [{label: openai-2}, {}]}",
            "openai.accounts[1].label",
            "is called openai-2",
        ),
    ],
)
def test_provider_entry_must_make_sense_as_a_whole(entry, key, words):
    found = problem(f"providers: {{{entry}}}")
    assert found[1] == f"providers.{key}"
    assert words in found[2]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("server: {host: '${HOST}'}", "server.host"),
        ("providers: {openai: {base_url: 'https://${HOST}'}}", "providers.openai.base_url"),
        ("models: {chains: {a: ['${M}']}}", "models.chains.a[0]"),
        ("database: {url: '${URL}'}", "database.url"),
    ],
)
def test_reference_outside_of_secrets_is_reported(text, key):
    found = problems(text, {"HOST": "h"})
    assert (1, key, "${NAME} is replaced only in api_key, headers and proxy") in found


def test_references_stand_in_api_key_headers_and_proxy():
    text = """
providers:
  openai: {api_key: "${A}", headers: {x: "Bearer ${B}"}, proxy: "${C}"}
  gemini: {accounts: [{api_key: "${A}", headers: {x: "${B}"}, proxy: "http://${C}"}]}
upstream: {proxy: "${C}"}
models: {patterns: [{match: "^${A}", provider: openai}]}
"""
    assert load(text, "f", {}).upstream.proxy == SecretRef("${C}")


def test_all_faults_are_reported_together_in_the_order_of_lines():
    text = f"""server:
  port: many
  hots: x
providers:
  opnai: {{api_key: {CANARY}}}
  box:
    kind: compatible
    base_url: http://h
  box: {{}}
models:
  patterns:
    - match: "["
      provider: openai
upstrem: {{}}
"""
    found = problems(text, {"DRAGOMAN_LEDGER__BODIES": "maybe"})
    assert [(line, key) for line, key, _ in found] == [
        (0, "ledger.bodies"),
        (2, "server.port"),
        (3, "server.hots"),
        (5, "providers.opnai"),
        (6, "providers.box.dialect"),
        (8, "providers.box.base_url"),
        (9, "providers.box"),
        (12, "models.patterns[0].match"),
        (14, "upstrem"),
    ]


def test_problem_reads_as_file_line_key_and_expectation():
    with pytest.raises(ConfigError) as caught:
        load("server:\n  port: x", "/etc/dragoman.yaml", {})
    assert str(caught.value) == "/etc/dragoman.yaml:2: server.port: expected a whole number"


def test_no_secret_is_in_an_error_or_its_causes():
    import traceback

    text = f"""
providers:
  openai: {{api_key: [{CANARY}], base_url: "https://u:{CANARY}@h", proxy: "ftp://{CANARY}"}}
  gemini: {{api_key: "${{x {CANARY}"}}
database: {{url: "mysql://u:{CANARY}@h"}}
server: {{port: {CANARY}}}
"""
    with pytest.raises(ConfigError) as caught:
        load(text, "f", {"DRAGOMAN_LEDGER__BODIES": CANARY})
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.problems)
    assert CANARY not in shown
    assert len(caught.value.problems) == 7


# Environment


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("DRAGOMAN_SERVER__PORT", "9000", lambda c: c.server.port == 9000),
        ("dragoman_server__port", "9000", lambda c: c.server.port == 9000),
        ("DRAGOMAN_LOGGING__JSON", "true", lambda c: c.logging.as_json is True),
        ("DRAGOMAN_UPSTREAM__IDLE_TIMEOUT_S", "1.5", lambda c: c.upstream.idle_timeout_s == 1.5),
        (
            "DRAGOMAN_ACCESS__HOSTS",
            "[a.lan, b.lan]",
            lambda c: c.access.hosts == ("a.lan", "b.lan"),
        ),
        ("DRAGOMAN_MODELS__ALIASES", "{a: b}", lambda c: c.models.aliases == {"a": "b"}),
        ("DRAGOMAN_MODELS__DEFAULT", "null", lambda c: c.models.default is None),
        ("DRAGOMAN_SERVICES__WEBAI__PORT", "1", lambda c: c.services.webai.port == 1),
        ("DRAGOMAN_MODELS__DEFAULT", "12", lambda c: c.models.default == "12"),
    ],
)
def test_environment_overrides_a_key(variable, value, read):
    assert read(load("models: {default: x}", "f", {variable: value}))


def test_other_variables_and_empty_ones_are_left_alone():
    env = {"DRAGOMAN_CONFIG": "x", "DRAGOMAN_HOME": "y", "DRAGOMAN_SERVER__PORT": "", "A__B": "1"}
    assert load("", "f", env) == Config()


def test_override_goes_before_the_file_and_into_its_entries():
    text = "providers: {my-box.1: {kind: compatible}, openai: {accounts: [{label: a}]}}"
    env = {
        "DRAGOMAN_PROVIDERS__MY_BOX_1__BASE_URL": "https://h",
        "DRAGOMAN_PROVIDERS__OPENAI__ACCOUNTS__0__LABEL": "b",
    }
    found = problems(text, env)
    assert [key for _, key, _ in found] == ["providers.my-box.1"]  # for its name alone
    text = text.replace("my-box.1: {", "my-box-1: {dialect: gemini, ")
    config = load(text, "f", env)
    assert config.providers["my-box-1"].base_url == "https://h"
    assert config.providers["openai"].accounts[0].label == "b"


def test_secret_of_the_environment_is_kept_as_a_reference():
    name = "DRAGOMAN_PROVIDERS__OPENAI__API_KEY"
    config = load("", "f", {name: CANARY})
    key = config.providers["openai"].api_key
    assert (key.literal, key.variables) == (False, (name,))
    assert key.resolve({name: CANARY}) == CANARY
    assert CANARY not in str(config.model_dump())


def test_database_of_the_environment_is_kept_as_a_reference():
    env = {"DRAGOMAN_DATABASE__URL": f"postgresql+psycopg://u:{CANARY}@h/d"}
    config = load("", "f", env)
    assert config.database.url.resolve(env) == env["DRAGOMAN_DATABASE__URL"]
    assert CANARY not in repr(config)


def test_reference_in_the_environment_stays_one():
    config = load("", "f", {"DRAGOMAN_PROVIDERS__OPENAI__API_KEY": "${WORK}"})
    assert config.providers["openai"].api_key == SecretRef("${WORK}")


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DRAGOMAN_SERVER__PORT", "x", "expected a whole number"),
        ("DRAGOMAN_SERVER__PRT", "1", "did you mean port?"),
        ("DRAGOMAN_SERVR__PORT", "1", "did you mean server?"),
        ("DRAGOMAN_SERVER__PORT__DEEP", "1", "port is a single value"),
        ("DRAGOMAN_ACCESS__HOSTS__5", "a", "the position of an entry"),
        ("DRAGOMAN_SERVER__", "1", "form DRAGOMAN_SECTION__KEY"),
        ("DRAGOMAN_ACCESS__HOSTS", "[a", "not valid YAML"),
    ],
)
def test_wrong_override_names_its_variable(variable, value, words):
    with pytest.raises(ConfigError) as caught:
        load("server: {port: 1}\naccess: {hosts: [a]}", "f", {variable: value})
    (found,) = caught.value.problems
    assert found.file == f"environment ({variable})"
    assert words in found.message


def test_fault_of_the_file_beside_an_override_is_the_files():
    with pytest.raises(ConfigError) as caught:
        load("server:\n  prot: 1\n", "f", {"DRAGOMAN_SERVER__PORT": "1"})
    assert str(caught.value).startswith("f:2: server.prot")


# Hostile text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server: {port: 1, port: 2}", "twice"),
        ("\tserver: {}", "tab"),
        ("server: [", "not valid YAML"),
        ("server: !!python/name:os.system", "tags"),
        ("a: &a [*a]", "nested too deeply"),
        ("#" * 1_000_001 + "\nserver: {}", "longer than"),
    ],
)
def test_hostile_or_broken_text_is_a_problem(text, words):
    assert any(words in message for _, _, message in problems(text))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.255.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_other_machines(host, expected):
    assert is_loopback(host) is expected


def test_yaml_reader_is_not_imported_without_a_file():
    import subprocess

    script = (
        "import sys; from app.configtext import load; load('', 'f', {});"
        "print('ruamel.yaml' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("url", ["http://127.0.0.1:6969", "https://webai.example"])
def test_helper_program_of_the_user_is_reached_here_or_over_https(url):
    text = f'services: {{webai: {{url: "{url}", api_key: "${{WEBAI_KEY}}"}}}}'
    service = load(text, "f", {}).services.webai
    assert service.url == url
    assert service.api_key.variables == ("WEBAI_KEY",)


def test_prompts_do_not_travel_to_a_helper_program_in_the_open():
    found = problem("services: {webai: {url: 'http://webai.example'}}")
    assert found[1:] == ("services.webai.url", "expected https, or http on this machine")
