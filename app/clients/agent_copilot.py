"""GitHub Copilot CLI: it takes another provider from variables only."""

from __future__ import annotations

from collections.abc import Mapping

from app.clients.agent import Address, Agent, Fact, Machine, Models, Target, Trial
from app.clients.change import Change

__all__ = ["COPILOT"]


def _environment(address: Address, models: Models) -> Mapping[str, str]:
    return {
        "COPILOT_PROVIDER_BASE_URL": address.v1,
        "COPILOT_PROVIDER_TYPE": "openai",
        "COPILOT_PROVIDER_API_KEY": address.key,
        "COPILOT_MODEL": models.roles["main"],
    }


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    variables = _environment(address, models)
    changes = tuple(Change((name,), value) for name, value in variables.items())
    return (Target(machine.data / "env" / "copilot.env", "env", changes),)


COPILOT = Agent(
    name="copilot",
    title="GitHub Copilot CLI",
    programs=("copilot",),
    roles={"main": "everything"},
    needs=("main",),
    targets=_targets,
    environment=_environment,
    trial=Trial(lambda prompt: ("-p", prompt, "--silent", "--no-color", "--no-auto-update")),
    traces=lambda machine: (machine.at("COPILOT_HOME", ".copilot"),),
    limits=(
        "It reads another provider from its environment only: connecting it works in shells that "
        "have `dragoman shell-integration SHELL --install`; elsewhere use `dragoman run copilot`.",
        "The model must call tools and stream. Copilot in editors and on github.com is another "
        "program and is not pointed here.",
    ),
    facts=(
        Fact(
            "COPILOT_PROVIDER_BASE_URL, COPILOT_PROVIDER_TYPE (openai, azure, anthropic), "
            "COPILOT_PROVIDER_API_KEY and COPILOT_MODEL; no setting in a file",
            "https://docs.github.com/en/copilot/how-tos/copilot-cli/customize-copilot/use-byok-models",
            "2026-11-21",
        ),
    ),
)
