"""Which proxy a call takes, and which addresses are this machine.

A proxy named in the settings is used for every host but this machine. Without one the environment
counts (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, in either case), then, on
Windows and macOS, the system's settings. ``direct`` as a setting means no proxy at all.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from app.upstream import failures

__all__ = ["DIRECT", "Environment", "is_local", "is_own", "parse_proxy", "read_environment"]

DIRECT = "direct"
"""The proxy setting that turns proxies off."""
_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})
_MAX_CACHED = 512


@dataclass(frozen=True, slots=True)
class Environment:
    """The proxies of environment and system at one moment.

    Attributes:
        proxies: proxy URL by scheme (``http``, ``https``, ``all``, ``socks``).
        bypass: says whether a host is called directly; may be slow, so call ``choose`` in a thread.
        known: what ``choose`` found, by (scheme, host).
    """

    proxies: Mapping[str, str]
    bypass: Callable[[str], bool]
    known: dict[tuple[str, str], str | None] = field(default_factory=dict, compare=False)

    def choose(self, scheme: str, host: str) -> str | None:
        """Return the proxy URL for a host, or None for a direct connection."""
        proxy = self.proxies.get(scheme) or self.proxies.get("all") or self.proxies.get("socks")
        found = proxy if proxy and not self.bypass(host) else None
        if len(self.known) >= _MAX_CACHED:
            self.known.clear()
        self.known[scheme, host] = found
        return found


def read_environment() -> Environment:
    """Read proxies from the environment or the system; may be slow, so call it in a thread."""
    from urllib.request import getproxies, proxy_bypass

    def bypass(host: str) -> bool:
        return bool(proxy_bypass(host))

    return Environment(getproxies(), bypass)


def parse_proxy(text: str) -> str:
    """Return a proxy address as the URL that httpx takes; a missing scheme means ``http``.

    Raises:
        UpstreamError: the scheme is not one of http, https, socks5, socks5h, or there is no host
            (code ``proxy_invalid``). The message never repeats the text, which may hold a password.
    """
    url = text if "://" in text else f"http://{text}"
    if url.startswith("socks://"):
        url = f"socks5://{url[8:]}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise failures.proxy_invalid("its address cannot be read") from error
    if parts.scheme not in _SCHEMES:
        raise failures.proxy_invalid("its scheme is not known")
    if not host:
        raise failures.proxy_invalid("it names no host")
    return url


@functools.lru_cache(maxsize=256)  # asked for every call, and always of the same few hosts
def is_local(host: str) -> bool:
    """Say whether a host, as written, is this machine: loopback or unspecified, in any spelling.

    Knows ``localhost`` and names below it (RFC 6761), IPv4 in all forms that the C library takes
    (``127.1``, ``0x7f000001``, ``2130706433``), IPv6, and IPv4 inside IPv6. Other names that
    resolve to this machine are found after connecting, see ``app.upstream.pool``.
    """
    host = host.strip("[]").rstrip(".").lower()
    if host in ("", "localhost") or host.endswith(".localhost"):
        return True
    address = _address(host)
    if address is None:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def is_own(host: str, port: int, own: frozenset[tuple[str, int]]) -> bool:
    """Say whether an address is one of ours; ``own`` holds (host, port) as we listen on them.

    A loopback or unspecified listening address is met by every name of this machine.
    """
    ours = [own_host for own_host, own_port in own if own_port == port]
    if not ours:
        return False  # as nearly always, and asked for every call
    name = host.strip("[]").rstrip(".").lower()
    return is_local(host) or any(one.strip("[]").lower() == name for one in ours)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass  # not in the usual form; the C library takes more
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
