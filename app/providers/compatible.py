"""Any server that speaks one of the dialects: pure configuration, no code.

OpenRouter, Ollama, LM Studio, vLLM, llama.cpp, LiteLLM and many more are entries under
``providers:`` in the user's settings.
"""

from __future__ import annotations

from app.canonical.parts import DialectName
from app.providers.base import Provider
from app.providers.keyed import with_key
from app.providers.ratelimits import read_anthropic_limits, read_openai_limits

__all__ = ["compatible"]

_AUTH = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}


def compatible(name: str, dialect: DialectName, base_url: str) -> Provider:
    """Return the provider for an entry of the settings.

    Args:
        name: the entry's key; also the issuer of its signatures and the model prefix.
        dialect: what the server speaks.
        base_url: its address, with or without a version.
    """
    provider = Provider(
        id=name,
        title=name,
        base_url=base_url,
        dialects=(dialect,),
        issuer=name,
        official=False,
        keyless=True,
        auth={dialect: _AUTH[dialect]} if dialect in _AUTH else {},
        fixed_headers=(
            {"anthropic": (("anthropic-version", "2023-06-01"),)} if dialect == "anthropic" else {}
        ),
        forward=frozenset({"anthropic-beta", "anthropic-version"})
        if dialect == "anthropic"
        else frozenset(),
        extras=frozenset({"embeddings", "images"}) if dialect == "openai_chat" else frozenset(),
        models_path="/v1beta/models" if dialect == "gemini" else "/v1/models",
        read_quota=read_anthropic_limits if dialect == "anthropic" else read_openai_limits,
    )
    return with_key(provider)
