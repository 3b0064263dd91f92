"""The ``llm`` tool of Simon Willison: a list of further models in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from app.clients.agent import PROVIDER, Address, Agent, Fact, Machine, Models, Target, Trial
from app.clients.change import Change, Entry

__all__ = ["LLM"]


def _folder(machine: Machine) -> PurePath:
    name = "io.datasette.llm"
    if machine.env.get("LLM_USER_PATH"):
        return machine.at("LLM_USER_PATH")
    if machine.system == "windows":
        return machine.roaming() / name
    if machine.system == "macos":
        return machine.home / "Library" / "Application Support" / name
    return machine.config() / name


def _entry(name: str, address: Address) -> dict[str, Any]:
    return {
        "model_id": f"{PROVIDER}/{name}",
        "model_name": name,
        "api_base": address.v1,
        "can_stream": True,
        "supports_tools": True,
        "supports_schema": True,
        "vision": True,
    }


def _targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    entries = tuple(
        Change((Entry("model_id", f"{PROVIDER}/{model.id}"),), _entry(model.id, address))
        for model in models.listed()
    )
    targets = [Target(_folder(machine) / "extra-openai-models.yaml", "yaml", entries)]
    if (main := models.get("main")) is not None:
        chosen = Change(("value",), f"{PROVIDER}/{main}")
        targets.append(Target(_folder(machine) / "default_model.txt", "line", (chosen,)))
    return tuple(targets)


def _environment(address: Address, models: Models) -> Mapping[str, str]:
    return {"OPENAI_BASE_URL": address.v1, "OPENAI_API_KEY": address.key}


LLM = Agent(
    name="llm",
    title="llm",
    programs=("llm",),
    roles={"main": "the default model"},
    needs=("main",),
    targets=_targets,
    environment=_environment,
    trial=Trial(lambda prompt: (prompt, "--no-log")),
    traces=lambda machine: (_folder(machine),),
    limits=(
        "Models are offered as dragoman/NAME, those that are served at the moment of connecting.",
        "`dragoman run llm` moves only the models of OpenAI that llm knows by itself.",
        "Models of its plugins go on to their own services.",
    ),
    facts=(
        Fact(
            "extra-openai-models.yaml in its folder: model_id, model_name, api_base; with api_base "
            "no key is needed; an empty file makes llm fail, so a file of ours is removed again",
            "https://llm.datasette.io/en/stable/other-models.html and observed in llm 0.36",
            "2026-11-21",
        ),
        Fact(
            "the default model is the text of default_model.txt; LLM_USER_PATH moves the folder",
            "observed in llm 0.36",
            "2026-11-21",
        ),
    ),
)
