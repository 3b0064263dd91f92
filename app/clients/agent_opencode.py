"""OpenCode: a provider of its own in its global settings, over Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

import msgspec

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
from app.clients.change import Change, Path, placed

__all__ = ["OPENCODE"]


def _folder(machine: Machine) -> PurePath:
    return machine.config() / "opencode"


_CONTEXT: Final = 128_000
_OUTPUT: Final = 16_384
"""Tokens, where the catalog has no number: without a limit OpenCode never shortens a conversation."""


def _model(model: Offered) -> dict[str, Any]:
    limit = {"context": model.context or _CONTEXT, "output": model.output or _OUTPUT}
    return {"name": model.id, "limit": limit}


def _values(address: Address, models: Models) -> dict[Path, Any]:
    values: dict[Path, Any] = {
        ("provider", PROVIDER): {
            "npm": "@ai-sdk/openai-compatible",
            "name": "Dragoman",
            "options": {"baseURL": address.v1, "apiKey": address.key},
            "models": {model.id: _model(model) for model in models.listed()},
        }
    }
    places: Mapping[str, Path] = {
        "main": ("model",),
        "small": ("small_model",),
        "planning": ("agent", "plan", "model"),
    }
    for role, name in models.roles.items():
        values[places[role]] = f"{PROVIDER}/{name}"
    return values


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    schema = Change(("$schema",), "https://opencode.ai/config.json", optional=True)
    values = _values(address, models)
    changes = (schema, *(Change(path, value) for path, value in values.items()))
    folder = _folder(machine)
    rather = (folder / "opencode.jsonc",)  # is merged last
    return (Target(folder / "opencode.json", "jsonc", changes, rather),)


def _environment(address: Address, models: Models) -> Mapping[str, str]:
    config: Any = {}
    for path, value in _values(address, models).items():
        config = placed(config, path, value)
    return {"OPENCODE_CONFIG_CONTENT": msgspec.json.encode(config).decode()}


OPENCODE = Agent(
    name="opencode",
    title="OpenCode",
    programs=("opencode",),
    roles={"main": "answers", "small": "titles", "planning": "its plan agent"},
    needs=("main",),
    targets=_targets,
    environment=_environment,
    trial=Trial(
        # a word with a space in it would be put into quotation marks
        lambda prompt: ("run", *prompt.split(" ")),
        {
            "OPENCODE_CONFIG_CONTENT": '{"permission":{"edit":"deny","bash":"deny",'
            '"webfetch":"deny"},"share":"disabled","autoupdate":false}',
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
        },
    ),
    traces=lambda machine: (_folder(machine),),
    limits=(
        "It has no list of models of its own for us: only those that are served at the moment of "
        "connecting are offered; connect again after adding accounts.",
        "Settings of a project go before the global ones.",
    ),
    facts=(
        Fact(
            "global settings in ~/.config/opencode (XDG_CONFIG_HOME) on every system; files are "
            "merged; JSON with comments",
            "https://opencode.ai/v1/docs/config",
            "2026-11-21",
        ),
        Fact(
            "provider.NAME with npm, options.baseURL, options.apiKey and models; model, "
            "small_model and agent.plan.model as provider/model; OPENCODE_CONFIG_CONTENT for one "
            "process",
            "observed with opencode-ai 1.18.33",
            "2026-11-21",
        ),
        Fact(
            "a file without $schema is rewritten with one at the next start; a model without a "
            "limit counts as having no context, which turns compaction off",
            "observed with opencode-ai 1.18.33; https://github.com/quickbeard/codev-hub/pull/171",
            "2026-11-21",
        ),
    ),
)
