"""Agents whose settings only a person can change, and the truth about each."""

from __future__ import annotations

from typing import Final

from app.clients.agent import Agent, Fact

__all__ = ["CLINE", "CURSOR", "ROO"]

_DATE: Final = "2026-11-21"

CLINE = Agent(
    name="cline",
    title="Cline",
    traces=lambda machine: (machine.home / ".cline",),
    steps=(
        "Open the settings of Cline and choose the API provider OpenAI Compatible.",
        "Base URL: {v1}",
        "API key: any text, for instance dragoman",
        "Model ID: a name from `dragoman models`; Plan and Act can have models of their own.",
    ),
    limits=(
        "Cline keeps its settings in the store of Visual Studio Code and in files that it rewrites "
        "while it runs; neither is meant for others to write, so Dragoman leaves them alone.",
    ),
    facts=(
        Fact(
            "the extension keeps its provider in globalStorage, keys in the secret store; the "
            "command line in ~/.cline/data, rewritten while it runs",
            "https://github.com/cline/cline/issues/7778 and src/core/storage",
            _DATE,
        ),
    ),
)

ROO = Agent(
    name="roo",
    title="Roo Code",
    steps=(
        "Open the settings of Roo Code, Providers, and choose OpenAI Compatible.",
        "Base URL: {v1}",
        "API key: any text, for instance dragoman",
        "Model: a name from `dragoman models`; each mode can have a profile of its own.",
    ),
    limits=(
        "Roo Code keeps its settings in the store of Visual Studio Code, which is not meant for "
        "others to write, so Dragoman leaves them alone.",
    ),
    facts=(
        Fact(
            "provider profiles are kept in the secret store of the editor; unverified with an "
            "installed Roo Code",
            "https://docs.roocode.com/features/api-configuration-profiles",
            _DATE,
        ),
    ),
)

CURSOR = Agent(
    name="cursor",
    title="Cursor",
    traces=lambda machine: (machine.home / ".cursor",),
    steps=(
        "Cursor cannot use Dragoman on this machine: its servers make the call, and they cannot "
        "reach {url}.",
        "In the terminal of Cursor every agent that Dragoman connects works as elsewhere: Claude "
        "Code, Codex CLI, OpenCode and others.",
    ),
    limits=(
        "The setting Override OpenAI Base URL takes only an address that the servers of Cursor can "
        "reach from the internet. Do not put a tunnel to Dragoman there: whoever learns the address "
        "could spend your accounts.",
    ),
    facts=(
        Fact(
            "requests with an own key are sent through the servers of Cursor, which build the "
            "final prompt",
            "https://cursor.com/docs/settings/api-keys",
            _DATE,
        ),
    ),
)
