"""Goose: a declared provider in a file of its own, chosen in its settings."""

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
    Target,
    Trial,
)
from app.clients.change import Change, Path

__all__ = ["GOOSE"]

_CONTEXT: Final = 128_000
"""Tokens, where the catalog has no number."""


def _folder(machine: Machine) -> PurePath:
    if machine.system == "windows":
        return machine.roaming() / "Block" / "goose" / "config"
    return machine.config() / "goose"


def _model(model: Offered) -> dict[str, Any]:
    return {"name": model.id, "context_limit": model.context or _CONTEXT}


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    declared: dict[str, Any] = {
        "name": PROVIDER,
        "engine": "openai",
        "display_name": "Dragoman",
        "description": "Local proxy",
        "api_key_env": "",
        "base_url": address.v1,
        "models": [_model(model) for model in models.listed()],
        "requires_auth": False,
        "supports_streaming": True,
    }
    chosen: dict[Path, Any] = {
        ("active_provider",): PROVIDER,
        ("providers", PROVIDER): {
            "enabled": True,
            "model": models.roles["main"],
            "configured": True,
        },
    }
    if (small := models.get("small")) is not None:
        chosen["GOOSE_FAST_MODEL",] = small
    if (planning := models.get("planning")) is not None:
        chosen["GOOSE_PLANNER_PROVIDER",] = PROVIDER
        chosen["GOOSE_PLANNER_MODEL",] = planning
    return (
        Target(
            _folder(machine) / "custom_providers" / f"{PROVIDER}.json",
            "jsonc",
            tuple(Change((key,), value) for key, value in declared.items()),
        ),
        Target(
            _folder(machine) / "config.yaml",
            "yaml",
            tuple(Change(path, value) for path, value in chosen.items()),
        ),
    )


def _environment(address: Address, models: Models) -> Mapping[str, str]:
    names = {"main": "GOOSE_MODEL", "small": "GOOSE_FAST_MODEL", "planning": "GOOSE_PLANNER_MODEL"}
    chosen = {names[role]: model for role, model in models.roles.items()}
    return {
        "GOOSE_PROVIDER": "openai",
        "OPENAI_HOST": address.url,
        "OPENAI_API_KEY": address.key,
        **chosen,
    }


GOOSE = Agent(
    name="goose",
    title="Goose",
    programs=("goose",),
    roles={"main": "answers", "small": "session names and tool choice", "planning": "/plan"},
    needs=("main",),
    targets=_targets,
    environment=_environment,
    trial=Trial(
        lambda prompt: ("run", "--no-session", "--quiet", "--text", prompt),
        {"GOOSE_MODE": "chat", "GOOSE_DISABLE_KEYRING": "1"},
    ),
    traces=lambda machine: (_folder(machine),),
    limits=(
        "GOOSE_PROVIDER and GOOSE_MODEL in the environment go before its settings.",
        "Versions before active_provider (2026) read GOOSE_PROVIDER and GOOSE_MODEL of their "
        "settings instead: choose Dragoman once with goose configure there.",
    ),
    facts=(
        Fact(
            "config.yaml in ~/.config/goose, on Windows in %APPDATA%\\Block\\goose\\config; "
            "active_provider and providers.NAME with enabled, model, configured",
            "https://github.com/aaif-goose/goose documentation/docs/guides/config-files.md",
            "2026-11-21",
        ),
        Fact(
            "a provider is declared in custom_providers/NAME.json: engine openai, base_url, "
            "models, requires_auth; unverified with an installed Goose",
            "https://www.mintlify.com/block/goose/api/providers/custom",
            "2026-11-21",
        ),
        Fact(
            "goose run --no-session --quiet --text asks one thing; GOOSE_MODE=chat forbids tools; "
            "unverified with an installed Goose",
            "https://github.com/aaif-goose/goose documentation/docs/guides/running-tasks.md",
            "2026-11-21",
        ),
        Fact(
            "GOOSE_FAST_MODEL and GOOSE_PLANNER_MODEL are read from the settings, too",
            "https://github.com/aaif-goose/goose/issues/9646 and pull 2525",
            "2026-11-21",
        ),
    ),
)
