"""Zed: a compatible provider in its settings, over Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from app.clients.agent import Address, Agent, Fact, Machine, Models, Offered, Role, Target
from app.clients.change import Change

__all__ = ["ZED"]

_NAME: Final = "Dragoman"
_CONTEXT: Final = 128_000
"""Tokens; Zed requires the number. Where the catalog has none, one that agents' models all have."""

_PLACES: Final[Mapping[Role, tuple[str, ...]]] = {
    "main": ("default_model",),
    "small": ("thread_summary_model", "commit_message_model"),
}


def _folder(machine: Machine) -> PurePath:
    return machine.roaming() / "Zed" if machine.system == "windows" else machine.config() / "zed"


def _model(model: Offered) -> dict[str, Any]:
    limits: dict[str, Any] = {"max_tokens": model.context or _CONTEXT}
    if model.output is not None:
        limits["max_output_tokens"] = model.output
    return {"name": model.id, "display_name": model.id, **limits}


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    provider = {
        "api_url": address.v1,
        "available_models": [_model(model) for model in models.listed()],
    }
    changes = [Change(("language_models", "openai_compatible", _NAME), provider)]
    changes += [
        Change(("agent", key), {"provider": _NAME, "model": name})
        for role, name in models.roles.items()
        for key in _PLACES[role]
    ]
    return (Target(_folder(machine) / "settings.json", "jsonc", tuple(changes)),)


ZED = Agent(
    name="zed",
    title="Zed",
    programs=("zed", "zeditor"),
    roles={"main": "the agent panel", "small": "summaries and commit messages"},
    needs=("main",),
    targets=_targets,
    traces=lambda machine: (_folder(machine),),
    limits=(
        "Zed asks for a key once, in the agent panel's settings: any text will do. It takes "
        "DRAGOMAN_API_KEY from the environment instead when it is started from a shell that has it.",
        "Edit predictions and models of a Zed account go on to the servers of Zed; other agents "
        "that run inside Zed have settings of their own.",
        "Only models that are served at the moment of connecting are offered.",
    ),
    facts=(
        Fact(
            "language_models.openai_compatible.NAME with api_url and available_models (name, "
            "max_tokens); the key comes from NAME_API_KEY or the keychain, never from the file",
            "https://zed.dev/docs/ai/use-a-local-model",
            "2026-11-21",
        ),
        Fact(
            "settings.json with comments in ~/.config/zed, on Windows in %APPDATA%\\Zed",
            "https://zed.dev/docs/configuring-zed",
            "2026-11-21",
        ),
    ),
)
