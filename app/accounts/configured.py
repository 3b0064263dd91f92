"""Keyed accounts as the settings describe them."""

from __future__ import annotations

from collections.abc import Mapping

from app.accounts.account import Account
from app.accounts.manner import own_provider
from app.config import BUILT_IN_PROVIDERS, Config
from app.config import Account as Entry
from app.config import Provider as Section
from app.errors import ConfigProblem
from app.providers import DEMO, PROVIDERS
from app.providers.base import Credential, Provider

__all__ = ["configured_accounts"]


def configured_accounts(
    config: Config, env: Mapping[str, str], file: str
) -> tuple[tuple[Account, ...], list[ConfigProblem]]:
    """Return the accounts of the settings, and what is wrong with them.

    Args:
        config: the settings.
        env: where ``${NAME}`` references are looked up. An unset one is no problem of the
            settings: the account is there and says what it needs.
        file: named in problems.
    """
    accounts: list[Account] = []
    problems: list[ConfigProblem] = []
    for name, section in config.providers.items():
        provider = _provider(name, section)
        if provider is None:
            if section.kind is None and section.base_url is not None and name in PROVIDERS:
                problems.append(
                    ConfigProblem(
                        file,
                        0,
                        f"providers.{name}.base_url",
                        "sign-ins of this provider go to its own hosts only; leave it out",
                    )
                )
            if section.kind is None and section.keyed_accounts(name):
                problems.append(
                    ConfigProblem(
                        file,
                        0,
                        f"providers.{name}",
                        "this provider is signed in to, it takes no api_key here",
                    )
                )
            continue
        seen: set[str] = set()
        for entry in section.keyed_accounts(name):
            account = _account(provider, entry, env, len(accounts))
            if account.label in seen:
                problems.append(
                    ConfigProblem(
                        file,
                        0,
                        f"providers.{name}.accounts",
                        f"two accounts are called {account.label!r}; labels must differ",
                    )
                )
            seen.add(account.label)
            accounts.append(account)
    if config.advanced.demo:
        accounts.append(_demo(len(accounts)))
    known = {account.provider.id for account in accounts} | set(BUILT_IN_PROVIDERS)
    problems.extend(
        ConfigProblem(
            file,
            0,
            f"models.patterns[{number}].provider",
            f"there is no provider {pattern.provider!r}; known are {', '.join(sorted(known))}",
        )
        for number, pattern in enumerate(config.models.patterns)
        if pattern.provider not in known
    )
    return tuple(accounts), problems


def _provider(name: str, section: Section) -> Provider | None:
    if section.kind == "compatible":
        return own_provider(name, section)
    provider = PROVIDERS.get(name)
    # A service whose tokens may only go to its own hosts is signed in to: it takes no key.
    return None if provider is None or provider.hosts else provider


def _account(provider: Provider, entry: Entry, env: Mapping[str, str], order: int) -> Account:
    label = entry.label or provider.id
    secret = entry.api_key.resolve(env) if entry.api_key is not None else None
    trouble = ""
    if entry.api_key is not None and secret is None:
        names = ", ".join(entry.api_key.missing(env))
        trouble = (
            f"{names} is not set in this session; store it with `dragoman login {provider.id}`, or "
            "set the variable before the start"
        )
    elif secret is None and entry.credential_command is None and not provider.keyless:
        trouble = "it has no api_key"
    headers: list[tuple[str, str]] = []
    for key, ref in entry.headers.items():
        value = ref.resolve(env)
        if value is None:
            trouble = trouble or f"{', '.join(ref.missing(env))} is not set in this session"
        else:
            headers.append((key, value))
    proxy = entry.proxy.resolve(env) if entry.proxy is not None else None
    if entry.proxy is not None and proxy is None:
        # Without its proxy the account must not call at all, least of all directly.
        trouble = trouble or f"{', '.join(entry.proxy.missing(env))} is not set in this session"
    models = None if entry.models is None or entry.models == "discover" else dict(entry.models)
    return Account(
        id=f"{provider.id}/{label}",
        provider=provider,
        label=label,
        base_url=entry.base_url or provider.base_url,
        credential=Credential(secret) if secret is not None else None,
        command=entry.credential_command if secret is None else None,
        headers=tuple(headers),
        proxy=proxy,
        enabled=entry.enabled,
        models=models,
        trouble=trouble,
        order=order,
    )


def _demo(order: int) -> Account:
    return Account(
        id="demo/demo",
        provider=DEMO,
        label="demo",
        base_url=DEMO.base_url,
        credential=None,
        order=order,
    )
