"""Connecting and disconnecting agents: propose, show, apply.

A proposal is worked out without writing anything and can be shown for as long as somebody reads.
Applying it takes a lock, looks at the files once more, keeps the originals, notes what will be
written, and writes: after a crash at any point disconnecting still knows the way back. Nothing here
runs at start-up, and nothing changes a file unasked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from app.clients import AGENTS
from app.clients.agent import Address, Agent, Machine, Models
from app.clients.detect import Found, Run, ask, detect, version_of
from app.clients.manifest import AgentRecord, Book, Manifest, record_file
from app.clients.plan import (
    FileEdit,
    Files,
    FileState,
    Written,
    candidates,
    look,
    plan,
    plan_undo,
)
from app.clients.writer import FileChanged, read_file, write_edits
from app.errors import AppError, RequestError
from app.paths import private_dir

__all__ = ["AgentState", "Connections", "Proposal", "agent_named"]

_LOCK_S: Final = 10.0
"""Another command writes a few small files; longer means that it hangs."""


def agent_named(name: str) -> Agent:
    """Return an agent.

    Raises:
        RequestError: there is none of this name.
    """
    try:
        return AGENTS[name]
    except KeyError:
        from app.configtext import nearest  # brings the models of all settings

        hint = nearest(name, list(AGENTS))
        raise RequestError(
            f"There is no agent called {name}.", code="unknown_agent", hint=f"{hint.capitalize()}."
        ) from None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would be written. ``record`` is None for disconnecting."""

    agent: Agent
    edits: tuple[FileEdit, ...]
    record: AgentRecord | None
    """What is noted when it is applied; its files are filled in then."""
    planned_on: AgentRecord | None
    """What was noted when it was worked out."""
    copies: Mapping[str, str] = field(default_factory=dict)
    """Path → where the copy of its original lies, for files that are not given back whole."""

    @property
    def changes(self) -> tuple[FileEdit, ...]:
        """The edits that would write something."""
        return tuple(edit for edit in self.edits if edit.changes)

    @property
    def left(self) -> tuple[str, ...]:
        """Places that somebody else changed and that stay, as ``file: place``."""
        return tuple(f"{edit.path}: {place}" for edit in self.edits for place in edit.left)

    def diff(self) -> str:
        """Return the unified diffs of all files."""
        return "".join(edit.diff() for edit in self.edits)


@dataclass(frozen=True, slots=True)
class AgentState:
    """How one agent stands; ``record`` and ``files`` are there while it is connected."""

    agent: Agent
    found: Found
    record: AgentRecord | None = None
    files: tuple[FileState, ...] = ()

    @property
    def connected(self) -> bool:
        """Whether Dragoman connected it and did not disconnect it."""
        return self.record is not None

    def points_elsewhere(self, url: str) -> bool:
        """Say whether it was connected to another address than this one."""
        return self.record is not None and self.record.url != url

    @property
    def drifted(self) -> tuple[FileState, ...]:
        """Files in which our values no longer stand."""
        return tuple(file for file in self.files if file.state not in ("written", "edited"))


class Connections:
    """The agents of this machine. Holds no state: what is connected is read each time."""

    def __init__(
        self,
        machine: Machine,
        *,
        now: Callable[[], float] = time.time,
        run: Run = ask,
    ) -> None:
        """Take the machine.

        Args:
            machine: as ``detect.machine_here`` says; ``data`` is where the memory lies.
            now: epoch seconds.
            run: asks a program for its version.
        """
        self._machine = machine
        self._book = Book(Path(machine.data))
        self._now = now
        self._run = run

    def names(self) -> tuple[str, ...]:
        """Return the connected agents.

        Raises:
            AppError: ``manifest_unreadable``.
        """
        return tuple(self._book.load().agents)

    def states(self) -> tuple[AgentState, ...]:
        """Return how every agent stands; nothing is started or written.

        Raises:
            AppError: ``manifest_unreadable``.
        """
        manifest = self._book.load()
        return tuple(self._state(agent, manifest) for agent in AGENTS.values())

    def state(self, name: str) -> AgentState:
        """Return how one agent stands.

        Raises:
            RequestError: there is none of this name.
            AppError: ``manifest_unreadable``.
        """
        return self._state(agent_named(name), self._book.load())

    def version(self, state: AgentState) -> str:
        """Return an agent's version; may start its program for a moment."""
        return "" if state.found.program is None else version_of(state.found.program, self._run)

    def propose(self, name: str, address: Address, models: Models) -> Proposal:
        """Work out what connecting an agent would write.

        Raises:
            RequestError: there is none of this name, it is connected by hand only, or the choice
                of models does not fit it.
            ConfigError: one of its files is not in its format.
            AppError: ``not_editable``, ``file_unreadable``, ``manifest_unreadable``.
        """
        agent = agent_named(name)
        if not agent.editable:
            steps = " ".join(step.format(url=address.url, v1=address.v1) for step in agent.steps)
            raise RequestError(
                f"{agent.title} cannot be connected by a program.",
                code="by_hand",
                hint=steps,
            )
        agent.check(models)
        known = self._book.load().agents.get(name)
        written = () if known is None else self._book.written(known)
        needed = candidates(agent, self._machine, address, models)
        files = {path: read_file(path) for path in (*needed, *(entry.path for entry in written))}
        edits = plan(agent, self._machine, address, models, files, written)
        roles = {str(role): model for role, model in models.roles.items()}
        record = AgentRecord(address.url, roles, self._now(), [])
        return Proposal(agent, edits, record, known)

    def propose_undo(self, name: str) -> Proposal:
        """Work out what disconnecting an agent would write.

        Raises:
            RequestError: it is not connected, or there is none of this name.
            ConfigError: one of its files is no longer in its format.
            AppError: ``not_editable``, ``file_unreadable``, ``manifest_unreadable``.
        """
        agent = agent_named(name)
        known = self._book.load().agents.get(name)
        if known is None:
            raise RequestError(
                f"{agent.title} is not connected.",
                code="not_connected",
                hint="`dragoman connect` lists what is.",
            )
        written = self._book.written(known)
        edits = plan_undo(_read(written), written)
        copies = {
            str(entry.path): str(copy)
            for entry, edit in zip(written, edits, strict=True)
            if not edit.exact and (copy := self._book.copy_of(entry)) is not None
        }
        return Proposal(agent, edits, None, known, copies)

    def apply(self, proposal: Proposal) -> None:
        """Write a proposal, whole or not at all.

        Raises:
            FileChanged: a file, or the list of connected agents, changed since it was worked out.
            AppError: ``file_unwritable``, ``file_unreadable``, ``clients_busy``,
                ``manifest_unreadable``.
        """
        name = proposal.agent.name
        with self._locked():
            manifest = self._book.load()
            if manifest.agents.get(name) != proposal.planned_on:
                raise FileChanged(self._book.folder / "manifest.json")
            for edit in proposal.edits:
                if edit.changes and read_file(edit.path) != edit.before:
                    raise FileChanged(edit.path)
            if proposal.record is None:
                write_edits(proposal.edits)
                self._save(manifest.without(name))
                whole = [edit.after for edit in proposal.edits if edit.exact]
                self._book.sweep(manifest.without(name), whole)
            else:
                self._connect(proposal, manifest)

    def _connect(self, proposal: Proposal, manifest: Manifest) -> None:
        name, made = proposal.agent.name, {}
        for edit in proposal.edits:
            self._keep(edit.original)
        # Noted before anything is written: a crash in between leaves files that equal their
        # originals or what is noted, and disconnecting knows both.
        self._save(manifest.including(name, _recorded(proposal, {})))
        try:
            made = write_edits(proposal.edits)
        except BaseException:
            self._save(manifest)
            raise
        if any(made.values()):
            self._save(manifest.including(name, _recorded(proposal, made)))

    def _state(self, agent: Agent, manifest: Manifest) -> AgentState:
        record = manifest.agents.get(agent.name)
        found = detect(agent, self._machine)
        if record is None:
            return AgentState(agent, found)
        files = tuple(map(_look, self._book.written(record)))
        return AgentState(agent, found, record, files)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            private_dir(self._book.folder)
            lock = FileLock(self._book.folder / "lock", timeout=_LOCK_S, mode=0o600)
            with lock:
                yield
        except Timeout as error:
            raise AppError(
                "Another command is changing agents now.",
                code="clients_busy",
                status=409,
                hint="Try again in a moment.",
            ) from error

    def _keep(self, original: bytes | None) -> None:
        with self._storing():
            self._book.keep(original)

    def _save(self, manifest: Manifest) -> None:
        with self._storing():
            self._book.save(manifest)

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Name the folder when the memory cannot be written; agents' files are then untouched."""
        try:
            yield
        except OSError as error:
            raise AppError(
                f"The folder {self._book.folder} cannot be written: {error.strerror or error}.",
                code="data_dir_unusable",
                status=503,
            ) from error


def _recorded(proposal: Proposal, made: Mapping[Any, Any]) -> AgentRecord:
    """Return the record with its files; those that are only given back are left out."""
    assert proposal.record is not None  # noqa: S101 - connecting has one
    files = [
        record_file(
            edit.path,
            edit.format,
            edit.original,
            edit.after,
            edit.former,
            made.get(edit.path) or edit.folders,
        )
        for edit in proposal.edits
        if edit.former
    ]
    record = proposal.record
    return AgentRecord(record.url, record.roles, record.connected_at, files)


def _read(written: tuple[Written, ...]) -> Files:
    return {entry.path: read_file(entry.path) for entry in written}


def _look(entry: Written) -> FileState:
    try:
        return look(read_file(entry.path), entry)
    except AppError as error:
        return FileState(entry.path, "unreadable", reason=error.message)
