import pytest

from app.errors import UpstreamError
from app.upstream import proxies
from app.upstream.proxies import Environment, is_local, is_own, parse_proxy, read_environment


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "api.localhost",
        "127.0.0.1",
        "127.255.1.2",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "0",
        "::1",
        "[::1]",
        "::",
        "0:0:0:0:0:0:0:1",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
    ],
)
def test_every_spelling_of_this_machine_is_known(host):
    assert is_local(host)


@pytest.mark.parametrize(
    "host",
    ["api.test", "128.0.0.1", "10.0.0.1", "localhost.test", "notlocalhost", "::2", "fe80::1%eth0"],
)
def test_other_machines_are_not_local(host):
    assert not is_local(host)


def test_own_addresses_are_met_by_every_local_name_at_the_same_port():
    own = frozenset({("127.0.0.1", 8317)})
    assert is_own("localhost", 8317, own)
    assert is_own("::1", 8317, own)
    assert is_own("0.0.0.0", 8317, own)
    assert not is_own("localhost", 8318, own)
    assert not is_own("10.0.0.9", 8317, own)
    assert is_own("Proxy.Test.", 8317, frozenset({("proxy.test", 8317)}))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("proxy.test:3128", "http://proxy.test:3128"),
        ("http://proxy.test", "http://proxy.test"),
        ("https://u:p@proxy.test:1", "https://u:p@proxy.test:1"),
        ("socks5://proxy.test:1080", "socks5://proxy.test:1080"),
        ("socks5h://proxy.test:1080", "socks5h://proxy.test:1080"),
        ("socks://proxy.test:1080", "socks5://proxy.test:1080"),
    ],
)
def test_proxy_addresses_are_read(text, url):
    assert parse_proxy(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "ftp://secret:pass@proxy.test",
        "http://secret@:80",
        "http://secret:99999999",
        "socks4://secret",
    ],
)
def test_bad_proxy_addresses_are_refused_without_being_repeated(text):
    with pytest.raises(UpstreamError) as caught:
        parse_proxy(text)
    assert caught.value.code == "proxy_invalid"
    assert "secret" not in caught.value.text


def test_the_scheme_decides_then_all_then_socks():
    def choose(found, scheme):
        return Environment(found, lambda host: False).choose(scheme, "api.test")

    assert choose({"https": "a", "all": "b"}, "https") == "a"
    assert choose({"https": "a", "all": "b"}, "http") == "b"
    assert choose({"socks": "c"}, "http") == "c"
    assert choose({"http": "a"}, "https") is None


def test_choices_are_remembered_within_bounds(monkeypatch):
    monkeypatch.setattr(proxies, "_MAX_CACHED", 3)
    environment = Environment({"all": "p"}, lambda host: host == "direct.test")
    assert environment.choose("https", "direct.test") is None
    assert environment.known == {("https", "direct.test"): None}
    for number in range(9):
        environment.choose("https", f"{number}.test")
    assert len(environment.known) <= 3


def test_environment_and_no_proxy_are_read(monkeypatch):
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "inside.test,.corp.test")
    environment = read_environment()
    assert environment.choose("https", "api.test") == "http://proxy.test:3128"
    assert environment.choose("https", "inside.test") is None
    assert environment.choose("https", "a.corp.test") is None
    assert environment.choose("http", "api.test") is None
