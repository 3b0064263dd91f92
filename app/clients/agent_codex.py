"""Codex CLI: a provider of its own in ``config.toml``, over the Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from app.clients.agent import PROVIDER, Address, Agent, Fact, Machine, Models, Target, Trial
from app.clients.change import Change
from app.clients.jsonc import render_inline

__all__ = ["CODEX"]


def _folder(machine: Machine) -> PurePath:
    return machine.at("CODEX_HOME", ".codex")


def _provider(address: Address) -> dict[str, Any]:
    return {"name": "Dragoman", "base_url": address.v1, "wire_api": "responses"}


_ASSUMED: Final = 272_000
"""Tokens that Codex counts on with a model that it does not know."""


def _models(models: Models) -> dict[str, Any]:
    main, context = models.get("main"), models.context("main")
    if main is None:
        return {}
    if context is None or context >= _ASSUMED:  # it knows its own models better than a catalog
        return {"model": main}
    return {"model": main, "model_context_window": context}


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    changes = (
        *(Change((key,), model) for key, model in _models(models).items()),
        Change(("model_provider",), PROVIDER),
        Change(("model_providers", PROVIDER), _provider(address)),
    )
    return (Target(_folder(machine) / "config.toml", "toml", changes),)


def _environment(address: Address, models: Models) -> Mapping[str, str]:
    return {"OPENAI_API_KEY": address.key}


def _arguments(address: Address, models: Models) -> tuple[str, ...]:
    fields = ", ".join(f"{key} = {render_inline(v)}" for key, v in _provider(address).items())
    settings = {
        **{key: render_inline(model) for key, model in _models(models).items()},
        "model_provider": render_inline(PROVIDER),
        f"model_providers.{PROVIDER}": f"{{{fields}}}",
    }
    return tuple(word for key, value in settings.items() for word in ("-c", f"{key}={value}"))


CODEX = Agent(
    name="codex",
    title="Codex CLI",
    programs=("codex",),
    roles={"main": "everything"},
    targets=_targets,
    environment=_environment,
    arguments=_arguments,
    trial=Trial(
        lambda prompt: (
            *("exec", "--skip-git-repo-check", "--ephemeral", "--sandbox", "read-only"),
            *("--color", "never", prompt),
        ),
    ),
    traces=lambda machine: (_folder(machine),),
    limits=(
        "A profile, a project or the option -c that names another model_provider goes before ours.",
        "Without --model it goes on asking for its own default model, which an account or an alias "
        "must then serve.",
        "Cloud tasks (codex cloud) run on the servers of OpenAI and never reach this machine.",
        "Conversations of another provider are not offered by codex resume while it is connected.",
    ),
    facts=(
        Fact(
            "config.toml in ~/.codex, or in CODEX_HOME; model, model_provider and "
            "model_providers.NAME with name, base_url and wire_api",
            "https://developers.openai.com/codex/config-reference",
            "2026-11-21",
        ),
        Fact(
            "a model that it does not know counts as one of 272,000 tokens; model_context_window "
            "tells another number",
            "https://github.com/quickbeard/codev-hub/pull/171",
            "2026-11-21",
        ),
        Fact(
            "a provider of its own without env_key sends no key and posts over HTTP at once; the "
            "built-in one with another base address tries a WebSocket first",
            "observed with codex 0.169.0",
            "2026-11-21",
        ),
    ),
)
