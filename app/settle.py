"""Turns the settings into what the rooms take; each is made anew whenever the settings change."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping

import msgspec

from app.config import Config, Pace
from app.paths import Paths, asset
from app.providers.base import ModelFacts
from app.routing.catalog import Capabilities, Catalog, NamePattern
from app.routing.snapshot import Snapshot, parse_snapshot
from app.server.listen import LOOPBACK
from app.server.policy import AccessPolicy, token_shell
from app.upstream.client import ClientSettings

__all__ = ["access_policy", "catalog", "client_settings", "hosts", "paces", "read_snapshot"]

_log = logging.getLogger("dragoman.service")

_OWN_NAMES = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - refused as a target


def hosts(config: Config) -> tuple[str, ...]:
    """Return the addresses to listen on."""
    return LOOPBACK if config.server.host == "loopback" else (config.server.host,)


def client_settings(config: Config, env: Mapping[str, str], port: int) -> ClientSettings:
    """Return how services are reached; our own port is never one of them."""
    upstream = config.upstream
    return ClientSettings(
        transport=upstream.transport,
        proxy=upstream.proxy.resolve(env) if upstream.proxy is not None else None,
        ca_file=upstream.ca_file,
        forbidden=frozenset((host, port) for host in (*_OWN_NAMES, *hosts(config))),
    )


def access_policy(config: Config, paths: Paths, port: int) -> AccessPolicy:
    """Return who may call."""
    access = config.access
    return AccessPolicy(
        keyless=access.keyless,
        hosts=frozenset(access.hosts),
        origins=frozenset(access.origins),
        ports=frozenset({port}),
        token_shell=token_shell(str(paths.runtime / "instance.json"), sys.platform == "win32"),
    )


def catalog(
    config: Config, listed: Mapping[str, Mapping[str, ModelFacts]], snapshot: Snapshot
) -> Catalog:
    """Return what model names mean.

    Args:
        config: the settings.
        listed: models by account id and name, as their services list them.
        snapshot: what is known of models.
    """
    models = config.models
    return Catalog(
        listed=listed,
        aliases=dict(models.aliases),
        patterns=tuple(
            NamePattern(re.compile(p.match), p.provider, p.priority) for p in models.patterns
        ),
        capabilities={
            name: Capabilities(c.context, c.tools, c.images, c.reasoning, c.max_output)
            for name, c in models.capabilities.items()
        },
        chains=dict(models.chains),
        default=models.default,
        snapshot=snapshot,
    )


def paces(config: Config) -> dict[str, Pace]:
    """Return the pace of each provider whose settings name one."""
    sections = config.providers.items()
    return {name: section.pace for name, section in sections if section.pace is not None}


def read_snapshot() -> Snapshot:
    """Return the shipped facts about models; empty, and logged, where they cannot be read."""
    try:
        return parse_snapshot(asset("models.json").read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("the shipped model data cannot be read: %s", error)
        return {}
