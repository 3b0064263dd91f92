"""OpenAI's API with an API key.

Source: https://platform.openai.com/docs/api-reference, read 2026-11. The ``-pro`` and ``-codex``
models and deep research answer only on Responses.
"""

import re

from app.providers.base import Provider
from app.providers.keyed import with_key
from app.providers.ratelimits import read_openai_limits

OPENAI = with_key(
    Provider(
        id="openai",
        title="OpenAI API",
        base_url="https://api.openai.com",
        # Responses first: for clients of other dialects it is the one that returns reasoning.
        dialects=("openai_responses", "openai_chat"),
        issuer="openai",
        family=re.compile(
            r"(gpt-|o[1-9](-|$)|chatgpt-|codex-|text-embedding-|dall-e-|computer-use-)"
        ),
        dialect_rules=(
            (re.compile(r"-pro(-|$)|codex|deep-research|computer-use"), ("openai_responses",)),
            (re.compile(r"-audio(-|$)|-search-preview|-transcribe"), ("openai_chat",)),
        ),
        forward=frozenset({"openai-beta", "openai-organization", "openai-project"}),
        vendors=frozenset({"openai_chat", "openai_responses"}),
        counts=frozenset({"openai_responses"}),
        extras=frozenset({"embeddings", "images", "compact"}),
        read_quota=read_openai_limits,
        manage_url="https://platform.openai.com/api-keys",
    )
)
