"""Anthropic's API with an API key.

Source: https://docs.anthropic.com/en/api (header ``x-api-key``, version 2023-06-01, model list,
count call), read 2026-11.
"""

import re

from app.providers.base import Provider
from app.providers.keyed import with_key
from app.providers.ratelimits import read_anthropic_limits

ANTHROPIC = with_key(
    Provider(
        id="anthropic",
        title="Anthropic API",
        base_url="https://api.anthropic.com",
        dialects=("anthropic",),
        issuer="anthropic",
        family=re.compile(r"claude-"),
        auth={"anthropic": "x-api-key"},
        fixed_headers={"anthropic": (("anthropic-version", "2023-06-01"),)},
        forward=frozenset({"anthropic-beta", "anthropic-version"}),
        vendors=frozenset({"anthropic"}),
        counts=frozenset({"anthropic"}),
        models_path="/v1/models?limit=1000",
        read_quota=read_anthropic_limits,
        manage_url="https://console.anthropic.com/settings/keys",
    )
)
