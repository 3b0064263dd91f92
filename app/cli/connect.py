"""``dragoman connect``: point agents here, after showing every change."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connected import connected
from app.cli.running import client_of, find_running, places
from app.cli.status import JsonOption
from app.cli.terminal import FAILED, note, render_error, say, show_json, show_table
from app.cli.typed import is_terminal
from app.errors import AppError, RequestError

if TYPE_CHECKING:
    from app.clients.agent import Address, Models, Offered, Role
    from app.clients.connections import Connections, Proposal

__all__ = [
    "AgentArgument",
    "AllOption",
    "DryRunOption",
    "ModelOption",
    "RoleOption",
    "YesOption",
    "carry_out",
    "connect",
    "connections",
    "find_address",
    "find_models",
    "parse_roles",
    "show_results",
]

AgentArgument = Annotated[
    str | None, typer.Argument(metavar="[AGENT]", help="Its name.", show_default=False)
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", metavar="M", help="The model that it works with.")
]
RoleOption = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="ROLE=M", help="Another model for small or planning work."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the change, write nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every agent that this concerns.")]


def connect(
    agent: AgentArgument = None,
    model: ModelOption = None,
    role: RoleOption = None,
    every: AllOption = False,
    update: Annotated[
        bool, typer.Option("--update", help="Agents that point to a former address of it.")
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Point an agent here; without a name: list all.

    Shows the exact change of each file and asks before it writes. With --json it writes only with
    --yes. --update keeps the models that were chosen.
    """
    if (agent is not None) + every + update > 1:
        raise typer.BadParameter("Name an agent, or give --all, or --update.")
    if update and (model is not None or role):
        raise typer.BadParameter("--update keeps the models; name the agent to choose others.")
    known = connections()
    address, offered = find_address()
    if update:
        _update(known, address, offered, dry_run=dry_run, yes=yes, as_json=as_json)
        return
    if agent is None and not every:
        _list(known, address, as_json)
        return
    models = find_models(parse_roles(model, role or ()), offered or ())
    if offered is None:
        note("Dragoman does not run now; the models that it serves are not known.")
    elif not as_json:
        _warn_of_unknown(models, offered)
    names = [agent] if agent is not None else _installed(known)
    if every:
        propose = _lenient(known, address, models)
    else:
        propose = lambda name: known.propose(name, address, models)  # noqa: E731
    results = [
        carry_out(known, name, propose, write=not dry_run, yes=yes, as_json=as_json, must_ask=True)
        for name in names
    ]
    show_results(results, as_json)


def _update(
    known: Connections,
    address: Address,
    offered: list[dict[str, Any]] | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Point agents that were connected to another address to the one that holds now."""
    states = [state for state in connected(known) if state.points_elsewhere(address.url)]

    def propose(name: str) -> Proposal:
        record = known.state(name).record
        roles: Any = {} if record is None else record.roles
        return known.propose(name, address, find_models(roles, offered or ()))

    show_results(
        [
            carry_out(
                known,
                state.agent.name,
                propose,
                write=not dry_run,
                yes=yes,
                as_json=as_json,
                must_ask=True,
            )
            for state in states
        ],
        as_json,
    )


def connections() -> Connections:
    """Return the agents of this machine."""
    from app.clients.connections import Connections
    from app.clients.detect import machine_here

    return Connections(machine_here(places()))


def find_address() -> tuple[Address, list[dict[str, Any]] | None]:
    """Return where agents are to go, and the models that are served; None where nothing runs.

    Raises:
        AppError: the running instance does not answer.
        ConfigError: nothing runs, and the settings that name the port cannot be read.
    """
    from app.clients.agent import Address

    record = find_running(places())
    if record is not None:
        answer: dict[str, Any] = client_of(record).get("/v1/models")
        return Address(f"http://127.0.0.1:{record.port}"), list(answer["data"])
    from app.configfile import load_file, locate

    port = load_file(locate(None, os.environ), os.environ).server.port
    return Address(f"http://127.0.0.1:{port}"), None


def parse_roles(model: str | None, roles: Sequence[str]) -> dict[Role, str]:
    """Return the models of the roles that were given.

    Raises:
        typer.BadParameter: no ``ROLE=MODEL``, an unknown role, or one that is there twice.
    """
    found: dict[Role, str] = {} if model is None else {"main": model}
    for text in roles:
        name, equals, value = text.partition("=")
        if not equals or not value or name not in ("main", "small", "planning"):
            raise typer.BadParameter(
                f"--role: expected main=MODEL, small=MODEL or planning=MODEL, not {text}."
            )
        if name in found:
            raise typer.BadParameter(f"--role: {name} is there twice.")
        found[name] = value  # type: ignore[index]  # one of the three, as checked
    return found


def find_models(roles: Mapping[Role, str], offered: Sequence[dict[str, Any]]) -> Models:
    """Return a choice of models with what the instance serves."""
    from app.clients.agent import Models, Offered

    def described(model: dict[str, Any]) -> Offered:
        return Offered(model["id"], model.get("max_input_tokens"), model.get("max_tokens"))

    return Models(roles, tuple(map(described, offered)))


def carry_out(
    known: Connections,
    name: str,
    propose: Callable[[str], Proposal],
    *,
    write: bool,
    yes: bool,
    as_json: bool,
    must_ask: bool,
) -> dict[str, Any]:
    """Show one change, ask, and write it.

    Args:
        known: the agents.
        name: which one.
        propose: works out the change.
        write: False only shows it.
        yes: write without asking.
        as_json: say nothing; what happened is in the result.
        must_ask: whether nothing may be written where nobody can be asked.

    Returns:
        ``agent``, ``state`` (``planned``, ``written``, ``unchanged``, ``declined``, ``failed``),
        ``files`` with path, action and diff, ``left``, ``copies`` and ``limits``; a failure has
        ``error``.
    """
    from app.clients.described import describe_proposal

    result: dict[str, Any] = {"agent": name, "state": "failed", "files": [], "left": []}
    try:
        proposal = propose(name)
        result |= describe_proposal(proposal)
        if not as_json:
            _show(proposal)
        result["state"] = _decide(proposal, write=write, yes=yes, as_json=as_json, ask=must_ask)
        if result["state"] == "written":
            known.apply(proposal)
    except AppError as error:
        result |= {"state": "failed", "error": {"code": error.code, "message": error.text}}
        if not as_json:
            note(render_error(error))
    if not as_json:
        _tell(result)
    return result


def _decide(proposal: Proposal, *, write: bool, yes: bool, as_json: bool, ask: bool) -> str:
    nothing = not proposal.changes and (proposal.record is not None)
    if nothing:
        return "unchanged"
    if not write or (as_json and not yes):
        return "planned"
    if yes:
        return "written"
    if is_terminal(sys.stdin):
        return "written" if typer.confirm("Write this?", default=False, err=True) else "declined"
    if ask:
        raise RequestError(
            "Nobody can be asked here, so nothing was written.",
            code="not_confirmed",
            hint="Add --yes, or --dry-run to see the change only.",
        )
    return "written"


def show_results(results: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print the results as JSON, and end with exit code 1 where one failed or was declined."""
    if as_json:
        show_json({"agents": list(results)})
    elif not results:
        say("There is nothing to do.")
    if any(result["state"] in ("failed", "declined") for result in results):
        raise typer.Exit(FAILED)


def _show(proposal: Proposal) -> None:
    if proposal.changes:
        sys.stdout.write(proposal.diff())
        sys.stdout.flush()
    for edit in proposal.changes:
        if not edit.exact:
            note(
                f"{edit.path} was changed by somebody else since: only Dragoman's values are "
                "taken out."
            )
    for place in proposal.left:
        note(f"Left as it is, since somebody else changed it: {place}")
    for path, copy in proposal.copies.items():
        note(f"The original of {path} is kept as {copy}")
    if proposal.record is not None and proposal.changes:
        for limit in proposal.agent.limits:
            note(f"Note: {limit}")


def _tell(result: dict[str, Any]) -> None:
    said = {
        "written": "done",
        "unchanged": "is as it should be",
        "declined": "nothing was written",
        "planned": "nothing was written, as asked",
    }
    if result["state"] in said:
        say(f"{result['agent']}: {said[result['state']]}.")


def _lenient(known: Connections, address: Address, models: Models) -> Callable[[str], Proposal]:
    """Return a way to connect each agent with those of the chosen roles that it has."""
    from app.clients.agent import Models
    from app.clients.connections import agent_named

    def propose(name: str) -> Proposal:
        roles = agent_named(name).roles
        fitting = {role: model for role, model in models.roles.items() if role in roles}
        return known.propose(name, address, Models(fitting, models.offered))

    return propose


def _installed(known: Connections) -> list[str]:
    states = known.states()
    return [state.agent.name for state in states if state.found.installed and state.agent.editable]


def _warn_of_unknown(models: Models, offered: Sequence[dict[str, Any]]) -> None:
    served = {model["id"] for model in offered}
    for name in dict.fromkeys(models.roles.values()):
        if name not in served:
            note(f"Warning: {name} is not among the models that are served now.")


def _list(known: Connections, address: Address, as_json: bool) -> None:
    from app.clients.described import describe_agent, state_text

    states = known.states()
    with ThreadPoolExecutor(max_workers=4) as pool:  # a version may take a program's start
        versions = list(pool.map(known.version, states))
    if as_json:
        described = [
            describe_agent(state, version, address)
            for state, version in zip(states, versions, strict=True)
        ]
        show_json({"address": address.url, "agents": described})
        return
    rows = [
        (
            state.agent.name,
            state.agent.title,
            version or ("installed" if state.found.installed else ""),
            state_text(state, address.url),
        )
        for state, version in zip(states, versions, strict=True)
    ]
    show_table(("AGENT", "TITLE", "VERSION", "STATE"), rows)
