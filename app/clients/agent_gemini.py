"""Gemini CLI: variables in its own ``.env``, and the way of signing in and model in settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from app.clients.agent import Address, Agent, Fact, Machine, Models, Target, Trial
from app.clients.change import Change

__all__ = ["GEMINI_CLI"]


def _folder(machine: Machine) -> PurePath:
    return machine.at("GEMINI_CLI_HOME") / ".gemini"


def _address(address: Address) -> dict[str, str]:
    return {"GEMINI_API_KEY": address.key, "GOOGLE_GEMINI_BASE_URL": address.url}


def _environment(address: Address, models: Models) -> Mapping[str, str]:
    main = models.get("main")
    return _address(address) | ({} if main is None else {"GEMINI_MODEL": main})


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    variables = tuple(Change((name,), value) for name, value in _address(address).items())
    settings = [Change(("security", "auth", "selectedType"), "gemini-api-key")]
    if (main := models.get("main")) is not None:
        settings.append(Change(("model", "name"), main))
    return (
        Target(_folder(machine) / ".env", "env", variables),
        Target(
            _folder(machine) / "settings.json",
            "jsonc",
            tuple(settings),
            refused=frozenset({"commas", "mark"}),
        ),
    )


GEMINI_CLI = Agent(
    name="gemini",
    title="Gemini CLI",
    programs=("gemini",),
    roles={"main": "everything it lets you choose"},
    targets=_targets,
    environment=_environment,
    trial=Trial(lambda prompt: ("-p", prompt, "--skip-trust")),
    traces=lambda machine: (_folder(machine),),
    limits=(
        "It reads one .env file only: one in the project or above it hides ours. In a folder that "
        "it does not trust it reads no .gemini/.env at all; `dragoman run gemini` works there.",
        "An API key that Gemini CLI keeps in the keyring is sent in place of ours and is ignored "
        "here.",
        "It asks for its own small models for some work; aliases can send those elsewhere.",
        "It calls gemini-3-pro-preview by its newer name gemini-3.1-pro-preview.",
    ),
    facts=(
        Fact(
            "the first of .gemini/.env and .env from the working folder upward, then in the home "
            "folder, is read; in an untrusted folder only .env and only some variables",
            "observed in @google/gemini-cli 0.61.0",
            "2026-11-21",
        ),
        Fact(
            "settings.json: security.auth.selectedType gemini-api-key, model.name; comments are "
            "allowed",
            "https://geminicli.com/docs/reference/configuration",
            "2026-11-21",
        ),
        Fact(
            "a settings.json with a comma after the last value, or with a byte order mark, stops it",
            "observed in @google/gemini-cli 0.61.0",
            "2026-11-21",
        ),
        Fact(
            "GOOGLE_GEMINI_BASE_URL moves every call for answers; GEMINI_CLI_HOME stands for the "
            "home folder",
            "observed in @google/gemini-cli 0.61.0",
            "2026-11-21",
        ),
    ),
)
