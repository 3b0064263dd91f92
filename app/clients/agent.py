"""What is known about an agent: where its settings are and what points them at Dragoman.

An ``Agent`` is facts and pure functions. It reads and writes nothing and starts nothing; paths are
``PurePath`` of the system that is asked about, so that each system's places can be tested on any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final, Literal, TypeAlias

from app.clients.change import Change
from app.clients.formats import FormatName
from app.errors import RequestError

__all__ = [
    "PLACEHOLDER_KEY",
    "PROVIDER",
    "Address",
    "Agent",
    "Extra",
    "Fact",
    "Machine",
    "Models",
    "Offered",
    "Role",
    "System",
    "Target",
    "Trial",
]

System: TypeAlias = Literal["linux", "macos", "windows"]
Role: TypeAlias = Literal["main", "small", "planning"]
"""``main`` answers, ``small`` does titles and summaries, ``planning`` plans before work."""

Extra: TypeAlias = Literal["comments", "commas", "mark"]
"""What readers of settings may take or not: comments, a comma after the last value, a byte order
mark."""

PROVIDER: Final = "dragoman"
"""Our name in the settings of agents that know several providers."""

PLACEHOLDER_KEY: Final = "dragoman"
"""Sent by agents that must send a key; on loopback the same user needs none."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What agents' places depend on."""

    system: System
    home: PurePath
    env: Mapping[str, str]
    data: PurePath
    """Dragoman's own folder for agents: files that its shell integration reads."""

    def at(self, variable: str, *default: str) -> PurePath:
        """Return the folder that a variable names, or one below home."""
        value = self.env.get(variable)
        return type(self.home)(value) if value else self.home.joinpath(*default)

    def config(self) -> PurePath:
        """Return where programs that follow the XDG rules on every system keep settings."""
        return self.at("XDG_CONFIG_HOME", ".config")

    def roaming(self) -> PurePath:
        """Return Windows' folder for settings."""
        return self.at("APPDATA", "AppData", "Roaming")

    def local(self) -> PurePath:
        """Return Windows' folder for a machine's own data."""
        return self.at("LOCALAPPDATA", "AppData", "Local")


@dataclass(frozen=True, slots=True)
class Address:
    """Where agents are to go."""

    url: str
    """``http://127.0.0.1:8317``, without a slash at the end."""
    key: str = PLACEHOLDER_KEY

    @property
    def v1(self) -> str:
        """The base address for clients that expect the version in it."""
        return f"{self.url}/v1"


@dataclass(frozen=True, slots=True)
class Offered:
    """A model that the proxy serves; token counts are None where they are unknown."""

    id: str
    context: int | None = None
    output: int | None = None


@dataclass(frozen=True, slots=True)
class Models:
    """Which models an agent is to use."""

    roles: Mapping[Role, str] = field(default_factory=dict)
    """Role → model; a role that is absent keeps the agent's own choice."""
    offered: tuple[Offered, ...] = ()
    """For agents that must be given a list."""

    def get(self, role: Role) -> str | None:
        """Return the model of a role."""
        return self.roles.get(role)

    def context(self, role: Role) -> int | None:
        """Return how many tokens the model of a role takes, or None where that is not known."""
        name = self.roles.get(role)
        return next((model.context for model in self.offered if model.id == name), None)

    def listed(self) -> tuple[Offered, ...]:
        """Return what is offered, with the chosen models among it, each once."""
        known = {model.id for model in self.offered}
        more = dict.fromkeys(name for name in self.roles.values() if name not in known)
        return (*self.offered, *(Offered(name) for name in more))


@dataclass(frozen=True, slots=True)
class Target:
    """One file of an agent and what is to stand in it."""

    path: PurePath
    format: FormatName
    changes: tuple[Change, ...]
    rather: tuple[PurePath, ...] = ()
    """Files of the same meaning that are taken instead where one is there."""
    refused: frozenset[Extra] = frozenset()
    """What other readers of the format take and the agent does not: with one of these it reads
    nothing of the file."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that an agent's file relies on."""

    text: str
    source: str
    """A public page, or ``observed`` with the version; ``unverified`` says so."""
    date: str
    """Day on which it was read or seen: ``2026-11-21``."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How an agent answers one question without a person, and without leave to change anything."""

    arguments: Callable[[str], tuple[str, ...]]
    """The question → words after its program's name."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that keep it quiet: no updates, no telemetry, no tools."""


def _no_targets(machine: Machine, address: Address, models: Models) -> tuple[Target, ...]:
    return ()


def _no_environment(address: Address, models: Models) -> Mapping[str, str]:
    return {}


def _no_arguments(address: Address, models: Models) -> tuple[str, ...]:
    return ()


def _nowhere(machine: Machine) -> tuple[PurePath, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Agent:
    """One tool that can be pointed at Dragoman."""

    name: str
    """The word for the command line."""
    title: str
    programs: tuple[str, ...] = ()
    """Names of its program; empty where there is none to run."""
    roles: Mapping[Role, str] = field(default_factory=dict)
    """The roles that it has → what it uses them for."""
    needs: tuple[Role, ...] = ()
    """Roles without which it cannot be connected."""
    targets: Callable[[Machine, Address, Models], tuple[Target, ...]] = _no_targets
    environment: Callable[[Address, Models], Mapping[str, str]] = _no_environment
    """For ``run``: variables of one process; empty where it takes none."""
    arguments: Callable[[Address, Models], tuple[str, ...]] = _no_arguments
    """For ``run``: words before the user's own; never a key."""
    trial: Trial | None = None
    """For ``test``; None where it cannot be asked without a person."""
    traces: Callable[[Machine], tuple[PurePath, ...]] = _nowhere
    """Places that are there when it has been used on this machine."""
    steps: tuple[str, ...] = ()
    """What a person does by hand; ``{url}`` and ``{v1}`` stand for the address."""
    limits: tuple[str, ...] = ()
    """What will not work, in plain sentences."""
    facts: tuple[Fact, ...] = ()

    @property
    def editable(self) -> bool:
        """Whether ``connect`` can write its settings."""
        return self.targets is not _no_targets

    @property
    def runnable(self) -> bool:
        """Whether ``run`` can point one process of it here."""
        return self.environment is not _no_environment

    def check(self, models: Models) -> None:
        """Check the roles of a choice of models.

        Raises:
            RequestError: it has no such role, or lacks one that it needs.
        """
        for role in models.roles:
            if role not in self.roles:
                known = ", ".join(self.roles) or "none"
                raise RequestError(
                    f"{self.title} has no model for the role {role}.",
                    code="unknown_role",
                    hint=f"Its roles: {known}.",
                )
        for role in self.needs:
            if role not in models.roles:
                option = "--model NAME" if role == "main" else f"--role {role}=NAME"
                raise RequestError(
                    f"{self.title} must be told a model for its role {role}.",
                    code="model_needed",
                    hint=f"Add {option}; `dragoman models` lists the names.",
                )
