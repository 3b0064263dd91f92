"""``dragoman run``: one process of an agent, pointed here; nothing is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.cli.connect import ModelOption, RoleOption, find_address, find_models, parse_roles
from app.cli.running import places
from app.cli.terminal import NotRunning
from app.errors import RequestError

if TYPE_CHECKING:
    from app.clients.agent import Address, Agent, Models

__all__ = ["run"]


def run(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="An agent, or any program.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGS]...", show_default=False)
    ] = None,
    model: ModelOption = None,
    role: RoleOption = None,
) -> None:
    """Run an agent or a program with this address.

    Only the environment of that one process is changed. Its words follow after --. A program that
    is no agent gets the variables of the SDKs; so does the first word after `run sdk --`.
    """
    from app.clients import AGENTS
    from app.clients.agent_sdk import SDK

    words = list(arguments or ())
    known = AGENTS.get(agent, SDK)
    if agent not in AGENTS:
        words.insert(0, agent)
    address, offered = find_address()
    if offered is None:
        raise NotRunning
    models = find_models(parse_roles(model, role or ()), offered)
    command = _command(known, words, address, models)
    _become(command, {**os.environ, **known.environment(address, models)})


def _command(agent: Agent, words: Sequence[str], address: Address, models: Models) -> list[str]:
    """Return what to run: the program, our arguments, then the user's.

    Raises:
        RequestError: the agent takes no address from its environment, the models do not fit it,
            or its program is not there.
    """
    from app.clients.detect import find_program, machine_here

    if not agent.runnable:
        raise RequestError(
            f"{agent.title} takes no address from its environment.",
            code="not_runnable",
            hint=f"`dragoman connect {agent.name}` "
            + ("writes its settings." if agent.editable else "says what to do by hand."),
        )
    agent.check(models)
    if not agent.programs:
        if not words:
            raise typer.BadParameter("Name the program after --.")
        found = shutil.which(words[0])
        if found is None:
            raise _missing(words[0])
        return [found, *words[1:]]
    program = find_program(agent.programs, machine_here(places()))
    if program is None:
        raise _missing(agent.programs[0])
    return [str(program), *agent.arguments(address, models), *words]


def _missing(name: str) -> RequestError:
    return RequestError(
        f"The program {name} is not on this machine, or not on PATH.", code="program_missing"
    )


def _become(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Hand this process over to a program: its terminal, signals and exit code are then its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        os.execve(command[0], list(command), dict(environment))  # noqa: S606 - no shell wanted
    # Windows has no such thing: wait for a child and end as it ends.
    done = subprocess.run(list(command), env=dict(environment), check=False)  # noqa: S603
    raise typer.Exit(done.returncode)
