"""The settings as the service would take them: shape and names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.errors import ConfigError

if TYPE_CHECKING:
    from app.config import Config
    from app.configfile import Located

__all__ = ["load_checked"]


def load_checked(located: Located, env: Mapping[str, str]) -> Config:
    """Read the settings and check what they name, too.

    Raises:
        ConfigError: with every fault of the shape, or else with every name that means nothing.
    """
    from app.accounts.configured import configured_accounts
    from app.configfile import load_file

    config = load_file(located, env)
    _, problems = configured_accounts(config, env, str(located.path))
    if problems:
        raise ConfigError(problems)
    return config
