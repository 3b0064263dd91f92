"""Crush: a compatible provider in its global settings, over Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from app.clients.agent import (
    PROVIDER,
    Address,
    Agent,
    Fact,
    Machine,
    Models,
    Offered,
    Role,
    Target,
    Trial,
)
from app.clients.change import Change

__all__ = ["CRUSH"]

_SIZES: Final[Mapping[Role, str]] = {"main": "large", "small": "small"}
_CONTEXT: Final = 128_000
_OUTPUT: Final = 8_192
"""Tokens, where the catalog has no number: Crush requires both."""


def _file(machine: Machine) -> PurePath:
    if machine.env.get("CRUSH_GLOBAL_CONFIG"):
        return machine.at("CRUSH_GLOBAL_CONFIG") / "crush.json"
    folder = machine.local() if machine.system == "windows" else machine.config()
    return folder / "crush" / "crush.json"


def _model(model: Offered) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.id,
        "context_window": model.context or _CONTEXT,
        "default_max_tokens": model.output or _OUTPUT,
    }


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    provider = {
        "name": "Dragoman",
        "type": "openai-compat",
        "base_url": address.v1,
        "api_key": address.key,
        "models": [_model(model) for model in models.listed()],
    }
    changes = [Change(("providers", PROVIDER), provider)]
    for role, name in models.roles.items():
        chosen = {"provider": PROVIDER, "model": name}
        changes.append(Change(("models", _SIZES[role]), chosen))
    return (Target(_file(machine), "jsonc", tuple(changes)),)


CRUSH = Agent(
    name="crush",
    title="Crush",
    programs=("crush",),
    roles={"main": "its large model", "small": "its small model"},
    needs=("main",),
    targets=_targets,
    trial=Trial(
        lambda prompt: ("run", "--quiet", prompt),
        {"CRUSH_DISABLE_METRICS": "1", "CRUSH_DISABLE_PROVIDER_AUTO_UPDATE": "1"},
    ),
    traces=lambda machine: (_file(machine).parent,),
    limits=(
        "A crush.json or .crush.json of a project goes before the global one, and so does a model "
        "that was chosen inside Crush: it keeps that in its data folder.",
        "It has no variables for another address: `dragoman run` cannot point it here.",
    ),
    facts=(
        Fact(
            "providers.NAME with type openai-compat, base_url, api_key and models (id, name, "
            "context_window, default_max_tokens); models.large and models.small",
            "https://github.com/charmbracelet/crush README",
            "2026-11-21",
        ),
        Fact(
            "crush run --quiet asks one thing; unverified with an installed Crush",
            "https://github.com/charmbracelet/crush README",
            "2026-11-21",
        ),
        Fact(
            "crush.json in ~/.config/crush, on Windows in %LOCALAPPDATA%\\crush; "
            "CRUSH_GLOBAL_CONFIG moves the folder",
            "https://github.com/charmbracelet/crush README",
            "2026-11-21",
        ),
    ),
)
