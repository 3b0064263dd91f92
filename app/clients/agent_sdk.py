"""Any program that uses an official SDK of OpenAI, Anthropic or Google: its environment."""

from __future__ import annotations

from collections.abc import Mapping

from app.clients.agent import Address, Agent, Fact, Models

__all__ = ["SDK", "sdk_environment"]


def sdk_environment(address: Address) -> dict[str, str]:
    """Return the variables that the official SDKs read; a key is a placeholder."""
    return {
        "OPENAI_BASE_URL": address.v1,
        "OPENAI_API_BASE": address.v1,
        "OPENAI_API_KEY": address.key,
        "ANTHROPIC_BASE_URL": address.url,
        "ANTHROPIC_AUTH_TOKEN": address.key,
        "GOOGLE_GEMINI_BASE_URL": address.url,
        "GEMINI_API_KEY": address.key,
    }


def _environment(address: Address, models: Models) -> Mapping[str, str]:
    return sdk_environment(address)


SDK = Agent(
    name="sdk",
    title="Programs with an SDK",
    environment=_environment,
    steps=(
        "For one program: dragoman run sdk -- python program.py",
        "For every shell: dragoman shell-integration SHELL --install",
        "OpenAI: base address {v1}. Anthropic and Google: base address {url}. The key is any text.",
    ),
    limits=(
        "A program that names its own base address or client options does not read these variables.",
        "The model is the program's own choice; an alias can send it elsewhere.",
    ),
    facts=(
        Fact(
            "OPENAI_BASE_URL and OPENAI_API_KEY; ANTHROPIC_BASE_URL and ANTHROPIC_AUTH_TOKEN "
            "(Bearer); GOOGLE_GEMINI_BASE_URL and GEMINI_API_KEY are read by the official SDKs; "
            "OPENAI_API_BASE by older clients and litellm",
            "observed with openai 3.51, anthropic 2.10 and google-genai 3.3",
            "2026-11-21",
        ),
    ),
)
