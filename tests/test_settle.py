import pytest

from app import settle
from app.configtext import load
from app.paths import Paths
from app.routing.catalog import NamePattern


def config(text="{}"):
    return load(text, "f", {})


def test_loopback_means_both_families_and_another_address_only_itself():
    assert set(settle.hosts(config())) == {"127.0.0.1", "::1"}
    assert settle.hosts(config("server: {host: 10.0.0.7}")) == ("10.0.0.7",)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "0.0.0.0", "10.0.0.7"])
def test_own_port_is_never_called_under_any_of_its_names(host):
    found = settle.client_settings(config("server: {host: 10.0.0.7}"), {}, 8317)
    assert (host, 8317) in found.forbidden
    assert (host, 8318) not in found.forbidden


def test_proxy_is_read_from_the_variable_it_names():
    text = "upstream: {proxy: '${P}', transport: httpx}"
    found = settle.client_settings(config(text), {"P": "http://127.0.0.1:3128"}, 1)
    assert (found.proxy, found.transport) == ("http://127.0.0.1:3128", "httpx")


def test_policy_holds_what_the_settings_allow_at_the_port_in_use(tmp_path):
    paths = Paths.find({"DRAGOMAN_HOME": str(tmp_path)})
    text = "access: {hosts: [box.lan], origins: ['https://a.example']}"
    policy = settle.access_policy(config(text), paths, 9000)
    assert policy.ports == {9000}
    assert policy.hosts == {"box.lan"}
    assert policy.origins == {"https://a.example"}
    assert str(paths.runtime / "instance.json") in policy.token_shell


def test_catalog_takes_names_patterns_and_chains():
    text = """
models:
  default: big
  aliases: {big: gpt-5}
  patterns: [{match: "^x-", provider: openai, priority: 3}]
  chains: {careful: [a, b]}
  capabilities: {gpt-5: {context: 10}}
"""
    found = settle.catalog(config(text), {"openai/work": {}}, {})
    assert (found.default, found.aliases, found.chains) == (
        "big",
        {"big": "gpt-5"},
        {"careful": ("a", "b")},
    )
    (pattern,) = found.patterns
    assert isinstance(pattern, NamePattern)
    assert (pattern.provider, pattern.priority) == ("openai", 3)
    assert found.capabilities["gpt-5"].context == 10
    assert found.listed == {"openai/work": {}}


def test_only_written_paces_count():
    assert settle.paces(config()) == {}
    found = settle.paces(config("providers: {codex: {pace: {at_once: 2}}}"))
    assert found["codex"].at_once == 2


def test_shipped_facts_can_be_read(caplog):
    assert settle.read_snapshot()
    assert not caplog.records


@pytest.mark.parametrize("content", [None, b"{", b"[]"])
def test_unreadable_facts_are_logged_and_the_program_goes_on(
    monkeypatch, tmp_path, caplog, content
):
    file = tmp_path / "models.json"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(settle, "asset", lambda name: file)
    assert settle.read_snapshot() == {}
    assert "cannot be read" in caplog.text
