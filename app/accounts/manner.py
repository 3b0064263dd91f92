"""How the settings want the accounts called that were signed in to.

A key or a sign-in lies in the vault; what else belongs to a call of its service (a proxy, header
fields, names of models) stands in the provider's entry of the settings and holds for it as for the
accounts that are written there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.config import Config
from app.config import Provider as Section
from app.errors import AccountError, Retry
from app.http import Headers
from app.providers import PROVIDERS
from app.providers.base import Provider
from app.providers.compatible import compatible

__all__ = ["Manner", "known_providers", "manners", "own_provider"]


@dataclass(frozen=True, slots=True, repr=False)
class Manner:
    """What a provider's entry says of each of its signed-in accounts."""

    headers: Headers = ()
    proxy: str | None = None
    """Proxy URL for its calls, its sign-ins and renewals; None for the general one."""
    enabled: bool = True
    models: Mapping[str, str] | None = None
    """Public name to upstream name; None: whatever the service lists."""
    trouble: str = ""
    """Why it cannot be called; a proxy or a header that is missing must not be left out."""

    def route(self) -> str | None:
        """Return the proxy for a sign-in, a renewal or a revocation; None for the general one.

        Raises:
            AccountError: ``account_not_ready``: what the settings name is not there.
        """
        if self.trouble:
            raise AccountError(
                f"Nothing is sent to this service now: {self.trouble}.",
                hint="Set the variable before the start, or change the entry with "
                "`dragoman config edit`.",
                status=400,
                code="account_not_ready",
                retry=Retry.NEVER,
            )
        return self.proxy


def manners(config: Config, env: Mapping[str, str]) -> dict[str, Manner]:
    """Return the manner of each provider that the settings have an entry for, by id.

    Args:
        config: the settings.
        env: where ``${NAME}`` references are looked up.
    """
    return {name: _manner(section, env) for name, section in config.providers.items()}


def _manner(section: Section, env: Mapping[str, str]) -> Manner:
    missing: list[str] = []
    headers: list[tuple[str, str]] = []
    for key, ref in section.headers.items():
        value = ref.resolve(env)
        if value is None:
            missing += ref.missing(env)
        else:
            headers.append((key, value))
    if section.proxy is not None:
        missing += section.proxy.missing(env)
    return Manner(
        tuple(headers),
        None if section.proxy is None else section.proxy.resolve(env),
        section.enabled,
        None if section.models == "discover" else dict(section.models),
        f"{', '.join(dict.fromkeys(missing))} is not set in this session" if missing else "",
    )


def known_providers(config: Config) -> dict[str, Provider]:
    """Return every service by id: the built-in ones as the settings want them, and their own.

    The address of a service with keys is the one that the user wrote. That of a service whose
    sign-in tokens may only go to its own hosts is never another.
    """
    known = dict(PROVIDERS)
    for name, section in config.providers.items():
        provider = own_provider(name, section)
        if provider is None and (provider := PROVIDERS.get(name)) is not None:
            if section.base_url is not None and not provider.hosts:
                provider = replace(provider, base_url=section.base_url)
            if section.renew_lead_s is not None:
                provider = replace(provider, renew_lead_s=section.renew_lead_s)
        if provider is not None:
            known[name] = provider
    return known


def own_provider(name: str, section: Section) -> Provider | None:
    """Return the service that an entry of the settings describes; None for a built-in one."""
    if section.kind != "compatible":
        return None
    base_urls = [section.base_url, *(account.base_url for account in section.accounts)]
    base_url = next((url for url in base_urls if url is not None), None)
    if section.dialect is None or base_url is None:
        return None  # reported by the settings' own checks
    return compatible(name, section.dialect, base_url)
