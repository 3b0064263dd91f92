"""Values of the settings that are more than text and numbers: addresses, names, patterns.

Each is a type whose check says what was expected, in words for the person who wrote the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator

from app.configsecret import SecretRef

__all__ = [
    "DatabaseUrl",
    "HeaderMap",
    "Host",
    "HostHeader",
    "ModelNames",
    "Origin",
    "Proxy",
    "Regex",
    "Seconds",
    "Text",
    "Url",
]

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _check_url(value: str) -> str:
    """Accept an absolute http(s) URL; return it without a slash at its end."""
    try:
        url = urlsplit(value)
        port_is_valid = url.port is None or url.port > 0
    except ValueError:
        raise ValueError("expected a URL such as https://api.example.com/v1") from None
    if url.scheme not in ("https", "http") or not url.hostname or not port_is_valid:
        raise ValueError("expected a URL such as https://api.example.com/v1")
    if url.username is not None or url.password is not None:
        raise ValueError("expected a URL without user name and password; use api_key or headers")
    if url.query or url.fragment or "?" in value or "#" in value:
        raise ValueError("expected a URL without query and fragment")
    if _CONTROL.search(value) or " " in value:
        raise ValueError("expected a URL without spaces")
    return value.rstrip("/")


def _check_proxy(value: SecretRef) -> SecretRef:
    literal = value.resolve({})
    if literal is not None:
        _check_scheme(literal, ("http", "https", "socks5", "socks5h"), "http://127.0.0.1:3128")
    return value


def _check_database_url(value: SecretRef) -> SecretRef:
    literal = value.resolve({})
    if literal is not None and not literal.startswith(("postgresql+psycopg://", "sqlite:///")):
        raise ValueError("expected postgresql+psycopg://user:password@host/name, or null")
    return value


def _check_scheme(value: str, schemes: tuple[str, ...], example: str) -> None:
    try:
        url = urlsplit(value)
        valid = url.scheme in schemes and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"expected a URL such as {example} ({', '.join(schemes)})")


def _check_host(value: str) -> str:
    if value != "loopback" and not re.fullmatch(r"[A-Za-z0-9.:_-]+", value):
        raise ValueError("expected loopback, an address such as 0.0.0.0, or a host name")
    return value


def _check_host_header(value: str) -> str:
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", value):
        raise ValueError("expected a host name, with :port where it is not ours")
    return value.lower()


def _check_origin(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/?#@]+", value):
        raise ValueError("expected an origin such as https://app.example.com, without a path")
    return value


def _check_regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from None
    return value


def _check_header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError("expected the name of a header field")
    return value


_Names: TypeAlias = Literal["discover"] | Mapping[str, str]


def _parse_model_names(value: object) -> _Names:
    if value == "discover":
        return "discover"
    match value:
        case list() | tuple() if all(isinstance(name, str) and name for name in value):
            return {name: name for name in value}
        case dict() if all(isinstance(v, str) and v for v in value.values()):
            return dict(value)
    raise ValueError("expected discover, a list of names, or a mapping of public to service names")


ModelNames: TypeAlias = Annotated[
    _Names,
    PlainValidator(
        _parse_model_names,
        json_schema_input_type=Literal["discover"] | list[str] | dict[str, str],
    ),
]
"""``discover``, or public name → the service's own name; a list is names that are the same."""

Text: TypeAlias = Annotated[str, Field(min_length=1)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Url: TypeAlias = Annotated[str, AfterValidator(_check_url)]
Proxy: TypeAlias = Annotated[SecretRef, AfterValidator(_check_proxy)]
DatabaseUrl: TypeAlias = Annotated[SecretRef, AfterValidator(_check_database_url)]
Host: TypeAlias = Annotated[str, AfterValidator(_check_host)]
HostHeader: TypeAlias = Annotated[str, AfterValidator(_check_host_header)]
Origin: TypeAlias = Annotated[str, AfterValidator(_check_origin)]
Regex: TypeAlias = Annotated[Text, AfterValidator(_check_regex)]
HeaderMap: TypeAlias = Mapping[Annotated[str, AfterValidator(_check_header_name)], SecretRef]
