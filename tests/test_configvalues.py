import pytest
from pydantic import TypeAdapter, ValidationError

from app.configsecret import SecretRef
from app.configvalues import (
    DatabaseUrl,
    HeaderMap,
    Host,
    HostHeader,
    ModelNames,
    Origin,
    Proxy,
    Regex,
    Url,
)


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        (Url, "https://h/v1/", "https://h/v1"),
        (Url, "http://[::1]:80", "http://[::1]:80"),
        (Host, "loopback", "loopback"),
        (Host, "0.0.0.0", "0.0.0.0"),
        (HostHeader, "Box.Local:8317", "box.local:8317"),
        (HostHeader, "[::1]:8317", "[::1]:8317"),
        (Origin, "https://app.example.com:8443", "https://app.example.com:8443"),
        (Regex, "^gpt-[45]", "^gpt-[45]"),
        (ModelNames, "discover", "discover"),
        (ModelNames, ["a", "b"], {"a": "a", "b": "b"}),
        (ModelNames, {"public": "inner"}, {"public": "inner"}),
        (HeaderMap, {"X-Title": "hello"}, {"X-Title": SecretRef("hello")}),
        (Proxy, "socks5h://h:1080", SecretRef("socks5h://h:1080")),
        (Proxy, "${PROXY}", SecretRef("${PROXY}")),
        (DatabaseUrl, "postgresql+psycopg://h/d", SecretRef("postgresql+psycopg://h/d")),
    ],
)
def test_a_value_is_read(kind, written, read):
    assert TypeAdapter(kind).validate_python(written) == read


@pytest.mark.parametrize(
    ("kind", "written", "words"),
    [
        (Url, "api.example.com", "expected a URL such as"),
        (Url, "https://h:99999", "expected a URL such as"),
        (Url, "https://u:p@h", "without user name and password"),
        (Url, "https://h?", "without query"),
        (Url, "https://h/a b", "without spaces"),
        (Host, "a b", "expected loopback"),
        (HostHeader, "http://h", "expected a host name"),
        (Origin, "https://h/path", "without a path"),
        (Regex, "(", "expected a regular expression"),
        (ModelNames, [""], "expected discover"),
        (ModelNames, {"a": 1}, "expected discover"),
        (HeaderMap, {"X Title": "hello"}, "name of a header field"),
        (Proxy, "ftp://h", "socks5"),
        (Proxy, "http://h:99999", "http://127.0.0.1:3128"),
        (DatabaseUrl, "mysql://h/d", "or null"),
    ],
)
def test_another_value_is_refused_with_what_was_expected(kind, written, words):
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(kind).validate_python(written)
