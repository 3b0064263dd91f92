"""Claude Code: variables in the ``env`` object of its user settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from app.clients.agent import Address, Agent, Extra, Fact, Machine, Models, Role, Target, Trial
from app.clients.change import Change

__all__ = ["CLAUDE_CODE"]

_MODELS: Final[Mapping[Role, tuple[str, ...]]] = {
    "main": ("ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL"),
    "small": ("ANTHROPIC_DEFAULT_HAIKU_MODEL",),
    "planning": ("ANTHROPIC_DEFAULT_OPUS_MODEL",),
}


def _folder(machine: Machine) -> PurePath:
    return machine.at("CLAUDE_CONFIG_DIR", ".claude")


def _environment(address: Address, models: Models) -> Mapping[str, str]:
    names = {variable: model for role, model in models.roles.items() for variable in _MODELS[role]}
    context = models.context("main")
    if context is not None:  # it takes a model that it does not know for one of a million tokens
        names["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] = str(context)
    return {"ANTHROPIC_BASE_URL": address.url, "ANTHROPIC_AUTH_TOKEN": address.key, **names}


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    variables = _environment(address, models)
    changes = tuple(Change(("env", name), value) for name, value in variables.items())
    refused: frozenset[Extra] = frozenset({"comments", "commas"})
    return (Target(_folder(machine) / "settings.json", "jsonc", changes, refused=refused),)


CLAUDE_CODE = Agent(
    name="claude",
    title="Claude Code",
    programs=("claude",),
    roles={
        "main": "answers, and what it calls Sonnet",
        "small": "titles and other small work, what it calls Haiku",
        "planning": "plans with the model setting opusplan, what it calls Opus",
    },
    targets=_targets,
    environment=_environment,
    trial=Trial(
        lambda prompt: ("-p", prompt, "--output-format", "text", "--no-session-persistence"),
        {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
    ),
    traces=lambda machine: (_folder(machine),),
    limits=(
        "Settings of a project or of a company (managed settings) go before the user's.",
        "The claude.ai sign-in of Claude Code is not used while it is connected; web search runs "
        "only where the model's own service offers it.",
        "A model that it does not know counts as one of a million tokens; where the catalog knows "
        "the number, it is told to shorten conversations in time.",
        "A model that is chosen with /model or --model goes before the one that is named here.",
    ),
    facts=(
        Fact(
            "settings.json in ~/.claude, or in CLAUDE_CONFIG_DIR; its env object sets variables",
            "https://code.claude.com/docs/en/settings",
            "2026-11-21",
        ),
        Fact(
            "a settings.json with a comment or a comma after the last value is not read at all; a "
            "byte order mark is taken",
            "observed in claude-code 2.1.330",
            "2026-11-21",
        ),
        Fact(
            "ANTHROPIC_BASE_URL, ANTHROPIC_AUTH_TOKEN (sent as Bearer), ANTHROPIC_MODEL and "
            "ANTHROPIC_DEFAULT_{HAIKU,SONNET,OPUS}_MODEL are read",
            "observed in claude-code 2.1.330",
            "2026-11-21",
        ),
        Fact(
            "conversations are compacted at the smaller of the model's window as it believes it to "
            "be and CLAUDE_CODE_AUTO_COMPACT_WINDOW, for any model name",
            "https://github.com/s-ference/sference-switch/releases/tag/v0.1.4",
            "2026-11-21",
        ),
    ),
)
