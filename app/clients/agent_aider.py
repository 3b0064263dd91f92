"""Aider: options in its YAML file in the home folder, over Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from app.clients.agent import Address, Agent, Fact, Machine, Models, Role, Target, Trial
from app.clients.change import Change

__all__ = ["AIDER"]

_OPTIONS: Final[Mapping[Role, str]] = {"main": "model", "small": "weak-model"}


def _file(machine: Machine) -> PurePath:
    return machine.home / ".aider.conf.yml"


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    changes = (
        Change(("openai-api-base",), address.v1),
        Change(("openai-api-key",), address.key),
        *(Change((_OPTIONS[role],), f"openai/{name}") for role, name in models.roles.items()),
    )
    return (Target(_file(machine), "yaml", changes),)


def _environment(address: Address, models: Models) -> Mapping[str, str]:
    names = {"main": "AIDER_MODEL", "small": "AIDER_WEAK_MODEL"}
    chosen = {names[role]: f"openai/{name}" for role, name in models.roles.items()}
    return {"OPENAI_API_BASE": address.v1, "OPENAI_API_KEY": address.key, **chosen}


AIDER = Agent(
    name="aider",
    title="Aider",
    programs=("aider",),
    roles={"main": "edits, and plans in architect mode", "small": "commit messages and summaries"},
    needs=("main",),
    targets=_targets,
    environment=_environment,
    trial=Trial(
        lambda prompt: (
            *("--message", prompt, "--chat-mode", "ask", "--dry-run", "--no-git"),
            *("--map-tokens", "0"),
            *("--no-pretty", "--no-check-update", "--no-show-release-notes"),
            *("--no-show-model-warnings", "--no-suggest-shell-commands", "--analytics-disable"),
        ),
        {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONUTF8": "1"},
    ),
    traces=lambda machine: (_file(machine), machine.home / ".aider"),
    limits=(
        "A file of a project (.aider.conf.yml, .env) goes before the one in the home folder.",
        "It warns about models that it does not know and guesses their context; "
        ".aider.model.metadata.json can tell it.",
    ),
    facts=(
        Fact(
            "~/.aider.conf.yml; options openai-api-base, openai-api-key, model, weak-model; models "
            "of a compatible server are called openai/NAME",
            "https://aider.chat/docs/config/aider_conf.html",
            "2026-11-21",
        ),
        Fact(
            "every option has a variable AIDER_NAME; OPENAI_API_BASE and OPENAI_API_KEY are read",
            "observed with aider 0.86.2",
            "2026-11-21",
        ),
    ),
)
