"""The settings as the service would take them: shape and names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.errors import ConfigError

if TYPE_CHECKING:
    from app.config import Config
    from app.configfile import Located
    from app.errors import ConfigProblem

__all__ = ["doubts", "load_checked"]


def load_checked(located: Located, env: Mapping[str, str]) -> Config:
    """Read the settings and check what they name, too.

    Raises:
        ConfigError: with every fault of the shape, or else with every name that means nothing.
    """
    config, found, _ = _read(located, env)
    if found:
        raise ConfigError(found)
    return config


def doubts(located: Located, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is probably not as meant in settings that are taken all the same, a line each.

    Raises:
        ConfigError: as ``load_checked``.
    """
    return tuple(str(doubt) for doubt in _read(located, env)[2])


def _read(
    located: Located, env: Mapping[str, str]
) -> tuple[Config, list[ConfigProblem], tuple[ConfigProblem, ...]]:
    from app.accounts.configured import configured_accounts
    from app.configfile import load_file, read
    from app.providers import PROVIDERS
    from app.routing.catalog import Catalog
    from app.rulesets.loading import load_routing

    config = load_file(located, env)
    file = str(located.path)
    accounts, problems = configured_accounts(config, env, file)
    routing = load_routing(
        config, accounts, Catalog(), PROVIDERS, text=read(located), file=file, complete=False
    )
    return config, [*problems, *routing.problems], routing.doubts
