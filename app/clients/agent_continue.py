"""Continue: models in its ``config.yaml``, over Chat Completions."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from app.clients.agent import Address, Agent, Fact, Machine, Models, Target
from app.clients.change import Change, Entry

__all__ = ["CONTINUE"]


def _folder(machine: Machine) -> PurePath:
    return machine.at("CONTINUE_GLOBAL_DIR", ".continue")


def _entry(name: str, model: str, address: Address, roles: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "provider": "openai",
        "model": model,
        "apiBase": address.v1,
        "apiKey": address.key,
        "roles": roles,
    }


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    entries = []
    main, small = models.roles["main"], models.get("small")
    work = ["chat", "edit", "apply"] + ([] if small else ["summarize"])
    entries.append(_entry("Dragoman", main, address, work))
    if small is not None:
        entries.append(_entry("Dragoman small", small, address, ["summarize"]))
    changes = [
        Change(("name",), "Local config", optional=True),
        Change(("version",), "1.0.0", optional=True),
        Change(("schema",), "v1", optional=True),
    ]
    changes += [Change(("models", Entry("name", entry["name"])), entry) for entry in entries]
    return (Target(_folder(machine) / "config.yaml", "yaml", tuple(changes)),)


CONTINUE = Agent(
    name="continue",
    title="Continue",
    programs=("cn",),
    roles={"main": "chat, edit and apply", "small": "summaries"},
    needs=("main",),
    targets=_targets,
    traces=lambda machine: (_folder(machine),),
    limits=(
        "The model is offered as Dragoman in its list; which one a chat uses is chosen there.",
        "Autocomplete wants a model made for filling in and is left as it is.",
        "An assistant from the hub of Continue does not read this file.",
        "An old config.json beside it is no longer read once config.yaml exists.",
    ),
    facts=(
        Fact(
            "config.yaml in ~/.continue with name, version, schema and models: name, provider, "
            "model, apiBase, apiKey, roles; it goes before config.json",
            "https://docs.continue.dev/reference and https://docs.continue.dev/yaml-migration",
            "2026-11-21",
        ),
    ),
)
