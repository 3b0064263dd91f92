"""Looking at agents, changing and trying them, for the control routes and the tray.

Imported with the first question about agents: what it brings is needed by nobody else.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from app.clients.agent import Address, Machine, Models, Offered, Role
from app.clients.connections import AgentState, Connections, Proposal
from app.clients.described import describe_agent, describe_proposal
from app.clients.detect import machine_here
from app.clients.trial import DEMO_MODEL, LIMIT_S, Finding, demo_models, try_agent
from app.clients.writer import FileChanged
from app.errors import AppError, RequestError
from app.ledger.query import list_query
from app.paths import Paths
from app.server.guard import Grant
from app.server.models import ModelRow

__all__ = ["AgentDesk", "Program", "digest_of"]

_T = TypeVar("_T")


class Program(Protocol):
    """What this asks of the program; ``service.Service`` is one."""

    port: int

    @property
    def paths(self) -> Paths:
        """Return the folders of this installation."""
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """Return the program's environment."""
        ...

    @property
    def ledger(self) -> Any:
        """Return the ledger."""
        ...

    def models(self, grant: Grant, *, demo: bool) -> list[ModelRow]:
        """Return the models that are served."""
        ...


def digest_of(proposal: Proposal) -> str:
    """Return what stands for all that a proposal shows."""
    told = hashlib.sha256()
    for edit in proposal.edits:
        told.update(msgspec.json.encode((str(edit.path), edit.diff())))
    return told.hexdigest()


class AgentDesk:
    """Looks at agents and changes them, in threads. Its only state: versions that were asked for.

    Args:
        program: the running program; looked at when something is asked, not before.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._versions: dict[str, tuple[float, str]] = {}
        """By program: when its file was changed, and its version; one for each agent."""

    @property
    def address(self) -> Address:
        """Where agents are to go."""
        return Address(f"http://127.0.0.1:{self._program.port}")

    def _machine(self) -> Machine:
        return machine_here(self._program.paths, self._program.env)

    def _known(self) -> Connections:
        return Connections(self._machine())

    def _rows(self, *, demo: bool = False) -> list[ModelRow]:
        return self._program.models(Grant("local_token"), demo=demo)

    def _models(self, roles: Mapping[str, str]) -> Models:
        offered = tuple(Offered(row.id, row.context, row.max_output) for row in self._rows())
        chosen: dict[Role, str] = {role: model for role, model in roles.items() if model}  # type: ignore[misc]  # checked with the agent
        return Models(chosen, offered)

    async def show(self) -> dict[str, Any]:
        """Return every agent: ``address``, ``offered`` (names of models) and ``agents``.

        Raises:
            AppError: ``manifest_unreadable``.
        """
        offered = [row.id for row in self._rows()]
        agents = await asyncio.to_thread(self._described)
        return {"address": self.address.url, "offered": offered, "agents": agents}

    def _described(self) -> list[dict[str, Any]]:
        known = self._known()
        return [
            describe_agent(state, self._version(known, state), self.address)
            for state in known.states()
        ]

    def _version(self, known: Connections, state: AgentState) -> str:
        program = state.found.program
        if program is None:
            return ""
        try:
            changed_at = program.stat().st_mtime
        except OSError:
            return ""  # it went away just now
        seen = self._versions.get(str(program))
        if seen is None or seen[0] != changed_at:
            seen = self._versions[str(program)] = (changed_at, known.version(state))
        return seen[1]

    async def states(self) -> tuple[AgentState, ...]:
        """Return how every agent stands, without versions: nothing is started.

        Raises:
            AppError: ``manifest_unreadable``.
        """
        return await asyncio.to_thread(lambda: self._known().states())

    async def plan(
        self, name: str, roles: Mapping[str, str] | None = None, *, undo: bool = False
    ) -> dict[str, Any]:
        """Return what connecting or disconnecting an agent would write; nothing is written.

        Args:
            name: the agent.
            roles: role → model; None keeps those that it is connected with.
            undo: disconnect.

        Returns:
            As ``describe_proposal``, with ``shown`` (what making it has to name) and ``models``.

        Raises:
            AppError: as ``Connections.propose`` and ``propose_undo``.
        """
        models = None if undo else await self._chosen(name, roles)
        proposal = await asyncio.to_thread(self._propose, self._known(), name, models)
        return {
            **describe_proposal(proposal),
            "shown": digest_of(proposal),
            "models": {} if models is None else dict(models.roles),
        }

    async def write(
        self, name: str, roles: Mapping[str, str] | None, shown: str, *, undo: bool = False
    ) -> None:
        """Make what a plan has shown.

        Raises:
            FileChanged: it would no longer be what was shown.
            AppError: as ``plan``, and as ``Connections.apply``.
        """
        models = None if undo else await self._chosen(name, roles)
        known = self._known()

        def make() -> None:
            proposal = self._propose(known, name, models)
            if digest_of(proposal) != shown:
                raise FileChanged(next((e.path for e in proposal.changes), Path(name)))
            known.apply(proposal)

        await asyncio.to_thread(make)

    async def disconnect(self, names: Sequence[str]) -> None:
        """Give agents their own settings back, without showing the change first.

        Raises:
            AppError: as ``Connections.propose_undo`` and ``apply``; those before it are done.
        """
        known = self._known()

        def undo() -> None:
            for name in names:
                known.apply(known.propose_undo(name))

        await asyncio.to_thread(undo)

    async def _chosen(self, name: str, roles: Mapping[str, str] | None) -> Models:
        if roles is None:
            record = (await asyncio.to_thread(self._known().state, name)).record
            roles = {} if record is None else record.roles
        return self._models(roles)

    def _propose(self, known: Connections, name: str, models: Models | None) -> Proposal:
        if models is None:
            return known.propose_undo(name)
        return known.propose(name, self.address, models)

    async def test(
        self, name: str, roles: Mapping[str, str] | None = None, *, limit_s: float = LIMIT_S
    ) -> list[Finding]:
        """Ask an agent something, through the demo and through the chosen model; takes a while.

        Args:
            name: the agent.
            roles: role → model; None takes those that it is connected with.
            limit_s: seconds for each answer.

        Raises:
            AppError: ``program_missing``; as ``trial.run_trial``.
        """
        known = self._known()
        state = await asyncio.to_thread(known.state, name)
        program = state.found.program
        if state.agent.trial is not None and program is None:
            raise RequestError(
                f"{state.agent.title} is not on this machine, or not on PATH.",
                code="program_missing",
            )
        models = await self._chosen(name, roles)
        wanted = []
        if any(row.id == DEMO_MODEL for row in self._rows(demo=True)):
            wanted.append(demo_models(state.agent, models))
        if models.get("main") != DEMO_MODEL and (models.roles or state.connected):
            wanted.append(models)
        ask = partial(self._try, state, program or Path(), limit_s)
        return [await _stoppable(partial(ask, one)) for one in wanted]

    def _try(
        self,
        state: AgentState,
        program: Path,
        limit_s: float,
        models: Models,
        stop: threading.Event,
    ) -> Finding:
        try:
            return try_agent(
                state.agent,
                program,
                self._machine(),
                self.address,
                models,
                self._requests,
                limit_s=limit_s,
                stop=stop,
            )
        except RequestError:
            raise  # a wrong call, not a finding
        except AppError as error:
            return Finding(models.get("main") or "", "failed", error.message, error.hint)

    def _requests(self, since: float) -> Sequence[Mapping[str, Any]] | None:
        ledger = self._program.ledger
        query = list_query({"since": f"{since:.3f}", "limit": "100"}, since)
        try:
            rows: list[dict[str, Any]] = ledger.page(query)["requests"]
        except AppError:
            return None
        return None if ledger.state.sentence else rows


async def _stoppable(work: Callable[[threading.Event], _T]) -> _T:
    """Run what blocks in a thread; it is told to stop when whoever waits for it leaves."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(work, stop)
    finally:
        stop.set()
