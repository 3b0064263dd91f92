"""``dragoman test``: ask an installed agent something harmless, and say what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.client import Client
from app.cli.connect import (
    AgentArgument,
    AllOption,
    ModelOption,
    RoleOption,
    connections,
    find_models,
    parse_roles,
)
from app.cli.running import client_of, find_running, places
from app.cli.status import JsonOption
from app.cli.terminal import FAILED, NotRunning, advice, say, show_json, show_verdict
from app.errors import AppError, RequestError

if TYPE_CHECKING:
    from app.clients.agent import Address, Machine, Models
    from app.clients.connections import AgentState, Connections
    from app.clients.trial import Finding

__all__ = ["ask_agent"]


def ask_agent(
    agent: AgentArgument = None,
    model: ModelOption = None,
    role: RoleOption = None,
    every: AllOption = False,
    limit_s: Annotated[
        float, typer.Option("--limit", metavar="S", min=1.0, help="Seconds for each answer.")
    ] = 120.0,
    as_json: JsonOption = False,
) -> None:
    """Ask an agent something, and say what came.

    It runs in an empty home and an empty folder, connected as `connect` does it, first with the
    demo's model, then with the one that it is connected to or that --model names; the second may
    cost a few tokens. Nothing of yours is changed. --all tests every connected agent. Exit code 1
    means that one failed.
    """
    if (agent is None) is not every:
        raise typer.BadParameter("Name an agent, or give --all.")
    from app.clients.agent import Address
    from app.clients.detect import machine_here

    record = find_running(places())
    if record is None:
        raise NotRunning
    known = connections()
    client = client_of(record)
    address = Address(f"http://127.0.0.1:{record.port}")
    served = list(client.get("/v1/models?demo=1")["data"])
    trier = _Trier(known, machine_here(places()), client, address, served, limit_s)
    roles = parse_roles(model, role or ())
    names = list(known.names()) if agent is None else [agent]
    results = [_show(trier.test(name, roles), as_json) for name in names]
    if as_json:
        show_json({"agents": results})
    elif not results:
        say("No agent is connected; `dragoman test NAME` tests one that is not.")
    if any(not result["ok"] for result in results):
        raise typer.Exit(FAILED)


class _Trier:
    """Tests agents against one running instance."""

    def __init__(
        self,
        known: Connections,
        machine: Machine,
        client: Client,
        address: Address,
        served: Sequence[dict[str, Any]],
        limit_s: float,
    ) -> None:
        self._known = known
        self._machine = machine
        self._client = client
        self._address = address
        self._served = served
        self._limit_s = limit_s

    def test(self, name: str, roles: Mapping[Any, str]) -> Iterator[dict[str, Any] | Finding]:
        """Yield what is known of an agent, then each finding as soon as it is there."""
        from app.clients.trial import DEMO_MODEL, demo_models

        state = self._known.state(name)
        program = state.found.program
        if state.agent.trial is not None and program is None:
            raise RequestError(
                f"{state.agent.title} is not on this machine, or not on PATH.",
                code="program_missing",
            )
        yield {
            "agent": name,
            "version": self._known.version(state),
            "program": None if program is None else str(program),
            "settings": _describe(state, self._address),
        }
        chosen = roles or ({} if state.record is None else state.record.roles)
        models = find_models(chosen, self._served)  # type: ignore[arg-type]  # names of roles
        if any(row["id"] == DEMO_MODEL for row in self._served):
            yield self._ask(state, program, demo_models(state.agent, models))
        if chosen.get("main") != DEMO_MODEL and (chosen or state.connected):
            yield self._ask(state, program, models)

    def _ask(self, state: AgentState, program: Path | None, models: Models) -> Finding:
        from app.clients.trial import Finding, try_agent

        try:
            return try_agent(
                state.agent,
                program or Path(),
                self._machine,
                self._address,
                models,
                self._requests(),
                limit_s=self._limit_s,
            )
        except RequestError:
            raise  # a wrong call, not a finding
        except AppError as error:
            return Finding(models.get("main") or "", "failed", error.message, advice(error))

    def _requests(self) -> Callable[[float], Sequence[Mapping[str, Any]] | None]:
        def rows(since: float) -> Sequence[Mapping[str, Any]] | None:
            answer = self._client.get(f"/admin/requests?since={since:.3f}&limit=100")
            return None if answer.get("trouble") else list(answer["requests"])

        return rows


def _describe(state: AgentState, address: Address) -> str:
    if not state.connected:
        return "It is not connected; its own settings say where it goes."
    if state.points_elsewhere(address.url) and state.record is not None:
        return (
            f"It is connected to {state.record.url}, but Dragoman listens at {address.url}: "
            "`dragoman connect --update`."
        )
    if state.drifted:
        return "It is connected, but its settings were changed since: `dragoman connect` says how."
    return "It is connected, and its settings are as they were written."


def _show(found: Iterator[dict[str, Any] | Finding], as_json: bool) -> dict[str, Any]:
    """Print what is found as it comes; return it as JSON."""
    result: dict[str, Any] = {}
    findings: list[Finding] = []
    for one in found:
        if isinstance(one, dict):
            result = one
            if not as_json:
                version = f" {one['version']}" if one["version"] else ""
                say(f"{one['agent']}{version}: {one['settings']}")
            continue
        findings.append(one)
        if not as_json:
            who = one.model or "its own model"
            show_verdict(one.verdict, f"{who}: {one.text}", one.hint)
    ok = all(finding.verdict == "ok" for finding in findings)
    return {**result, "ok": ok, "findings": findings}
