"""Which hosts and web origins are ours or listed, and the refusals of all others."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn
from urllib.parse import urlsplit

from app.errors import AccessError

__all__ = [
    "CREATE_KEY",
    "AccessPolicy",
    "foreign_origin",
    "refuse_host",
    "refuse_origin",
    "refuses_bind",
    "token_shell",
]

CREATE_KEY = "`dragoman keys create`"


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The access rules in force; built once per configuration.

    Attributes:
        keyless: ``same_user`` lets a proven same-user caller in without a key; ``never`` asks
            everyone for one.
        hosts: further names accepted in ``Host``, as ``name`` (any port) or ``name:port``.
        origins: web origins whose pages may call with a key (``https://app.example``).
        ports: the ports that we listen on.
        loopback_names: host names that mean this machine; all of 127.0.0.0/8 and ``::1`` do too.
        token_shell: text that gives the local token in the user's shell, for the ``curl`` line
            of a control route's 401; see ``token_shell``.
    """

    keyless: Literal["same_user", "never"] = "same_user"
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset({8317})
    loopback_names: frozenset[str] = frozenset({"localhost", "127.0.0.1", "[::1]"})
    token_shell: str = "<token>"  # noqa: S105 - a placeholder for people to read
    _accepted: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())
    """Spellings of ``Host`` that need no closer look: nearly every request has one of them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", frozenset(host.lower() for host in self.hosts))
        object.__setattr__(self, "origins", frozenset(origin_of(o) for o in self.origins))
        plain = {f"{name}:{port}" for name in self.loopback_names for port in self.ports}
        object.__setattr__(self, "_accepted", frozenset(plain))

    def accepts_host(self, host: str) -> bool:
        """Tell whether a ``Host`` value names us: a loopback name with our port, or a listed one.

        Without a port the value means port 80, as in any URL of scheme http.
        """
        if host in self._accepted:
            return True
        host = host.lower()
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name, port = match["name"].rstrip("."), int(match["port"] or 80)
        if name in self.hosts or f"{name}:{port}" in self.hosts:
            return True
        return port in self.ports and (name in self.loopback_names or _is_loopback(name))

    def address_for(self, host: str) -> str:
        """Return where a caller reaches us: by the ``Host`` that it used, if that is one of ours."""
        if self.accepts_host(host):
            return f"http://{host}"
        return f"http://localhost:{min(self.ports, default=80)}"


_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


def _is_loopback(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def origin_of(text: str) -> str:
    return text.strip().rstrip("/").lower()


def foreign_origin(headers: Mapping[str, str], host: str) -> str | None:
    """Return the origin of the foreign web page that makes the call, or None if none does.

    A page that does not say its origin has the origin ``null``, as in the Fetch standard
    (https://fetch.spec.whatwg.org/#origin-header); our own origin is ``http://`` plus ``Host``.
    """
    origin = referer = None
    if "Origin" in headers:
        origin = origin_of(headers["Origin"])
    if "Referer" in headers:
        referer = _referer_origin(headers["Referer"])
    cross = "Sec-Fetch-Site" in headers and headers["Sec-Fetch-Site"].strip().lower() not in (
        "none",
        "same-origin",
    )
    if origin is None and referer is None and not cross:
        return None
    own = ("http://" + host.lower(), "https://" + host.lower())
    if not cross and (origin is None or origin in own) and (referer is None or referer in own):
        return None
    if origin is not None and origin not in own:
        return origin
    if referer is not None and referer not in own:
        return referer
    return "null"


def _referer_origin(referer: str) -> str:
    try:
        parts = urlsplit(referer.strip())
    except ValueError:
        return "null"
    if not parts.scheme or not parts.netloc:
        return "null"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def refuse_host(host: str, policy: AccessPolicy) -> NoReturn:
    """Refuse a ``Host`` that is not ours, and say how to allow it.

    Raises:
        AccessError: always, ``bad_host``.
    """
    port = min(policy.ports, default=80)
    if not host:
        raise AccessError(
            "The request does not say which host it is for.", status=403, code="bad_host"
        )
    match = _HOST.fullmatch(host.lower())
    hint = f"Call http://127.0.0.1:{port}/"
    if match is not None:
        hint += f', or add this to the settings: `access: {{hosts: ["{match["name"]}"]}}`'
    raise AccessError(
        f"{_shown(host)} is not a name of this server.",
        hint=hint + ".",
        status=403,
        code="bad_host",
    )


def refuse_origin(origin: str) -> NoReturn:
    """Refuse the page of an origin that is not listed, and say how to allow it.

    Raises:
        AccessError: always, ``origin_not_allowed``.
    """
    if not _ORIGIN.fullmatch(origin):
        raise AccessError(
            "A web page that does not say its origin may not call Dragoman.",
            hint="Serve the page from an address of its own and list that under `access: origins`.",
            status=403,
            code="origin_not_allowed",
        )
    raise AccessError(
        f"Pages of {_shown(origin)} may not call Dragoman.",
        hint=f'To allow it, add this to the settings: `access: {{origins: ["{origin}"]}}`; '
        "the page needs a Dragoman key, too.",
        status=403,
        code="origin_not_allowed",
    )


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]{1,253}")


def _shown(text: str) -> str:
    """Quote what a client sent for a message, cut to a length that fits one."""
    return repr(text if len(text) <= 100 else text[:100] + "…")


def refuses_bind(hosts: Iterable[str], keys_exist: bool) -> str | None:
    """Return why these addresses may not be bound, or None if they may.

    An address that other machines can reach is refused while there is no key: nobody could call
    it, and a first key made later would silently open it.
    """
    if keys_exist:
        return None
    outside = [
        host
        for host in hosts
        if host.lower() not in ("loopback", "localhost") and not _is_loopback(host)
    ]
    if not outside:
        return None
    return (
        f"{', '.join(outside)} can be reached from other machines, and there is no key yet. "
        f"Make one with {CREATE_KEY} first, or use `server: {{host: loopback}}`."
    )


def token_shell(path: str, windows: bool) -> str:
    """Return a shell expression that gives the local token stored in ``instance.json``.

    Args:
        path: where the file is; its key ``token`` holds the token.
        windows: write it for PowerShell instead of a POSIX shell.
    """
    if windows:
        quoted = path.replace("'", "''")
        return f"$((Get-Content '{quoted}' | ConvertFrom-Json).token)"
    pattern = r's/.*"token": *"\([^"]*\)".*/\1/p'
    return f"$(sed -n '{pattern}' {shlex.quote(path)})"
