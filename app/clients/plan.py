"""What connecting and disconnecting change, worked out from contents alone.

Connecting starts from the file as it would be without us: the kept original where nobody else
changed the file, else the present text with our values taken out. So connecting again with another
model is one edit, and connecting twice the same is none.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal, TypeAlias

from app.clients.agent import Address, Agent, Machine, Models, Target
from app.clients.change import ABSENT, NotEditable, SyntaxFault, get, render_place, same
from app.clients.formats import FORMATS, FormatName, Former, changed, reverted
from app.clients.jsonc import refuse
from app.clients.textfile import TextFile, decode
from app.errors import AppError, ConfigError, ConfigProblem

__all__ = [
    "FileEdit",
    "FileState",
    "Files",
    "Written",
    "candidates",
    "digest",
    "look",
    "plan",
    "plan_undo",
]

Files: TypeAlias = Mapping[PurePath, bytes | None]
"""Path → content; None where there is no file."""


def digest(content: bytes | None) -> str:
    """Return the SHA-256 of a content, empty for a file that is not there."""
    return "" if content is None else hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Written:
    """One file as an earlier connecting left it."""

    path: PurePath
    format: FormatName
    after: str
    """Digest of what was written."""
    before: str
    """Digest of what stood there."""
    original: bytes | None
    """What stood there, where ``kept``."""
    kept: bool
    """Whether the original is known: its copy is there and whole, or there was no file."""
    former: tuple[Former, ...]
    folders: tuple[PurePath, ...] = ()
    """Folders that were made for it, outermost first."""


@dataclass(frozen=True, slots=True)
class FileEdit:
    """One file to change, with everything that its diff and its undoing need."""

    path: PurePath
    before: bytes | None
    """The content that the edit is for; another one at the time of writing stops it."""
    after: bytes | None
    """The new content; None removes the file."""
    original: bytes | None = None
    """After connecting: what disconnecting brings back."""
    format: FormatName = "jsonc"
    former: tuple[Former, ...] = ()
    left: tuple[str, ...] = ()
    """After disconnecting: places that somebody else changed and that stay as they are."""
    exact: bool = True
    """Whether disconnecting brings back every byte; else only our values are taken out."""
    folders: tuple[PurePath, ...] = field(default=())
    """Folders of ours; disconnecting removes those that are empty then."""

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        return self.before != self.after

    @property
    def action(self) -> Literal["create", "change", "remove", "keep"]:
        """What writing would do."""
        if not self.changes:
            return "keep"
        if self.before is None:
            return "create"
        return "remove" if self.after is None else "change"

    def diff(self) -> str:
        """Return the change as a unified diff; empty where there is none."""
        if not self.changes:
            return ""
        old = "/dev/null" if self.before is None else str(self.path)
        new = "/dev/null" if self.after is None else str(self.path)
        lines: list[str] = []
        for line in difflib.unified_diff(_lines(self.before), _lines(self.after), old, new):
            ends = line.endswith("\n")
            lines.append(line.rstrip("\r\n"))
            if not ends:
                lines.append("\\ No newline at end of file")
        if not lines:
            return f"--- {old}\n+++ {new}\n"  # an empty file comes or goes
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class FileState:
    """How a file that we wrote is now.

    ``written``: as we left it. ``edited``: something else in it changed, our values stand.
    ``overridden``: somebody changed our values; ``places`` names them. ``undone``: it is as it was
    before us. ``missing``: it is gone. ``unreadable``: it cannot be read now; ``reason`` says why.
    """

    path: PurePath
    state: Literal["written", "edited", "overridden", "undone", "missing", "unreadable"]
    places: tuple[str, ...] = ()
    reason: str = ""


def candidates(
    agent: Agent, machine: Machine, address: Address, models: Models
) -> tuple[PurePath, ...]:
    """Return every file whose content ``plan`` needs."""
    targets = agent.targets(machine, address, models)
    return tuple(path for target in targets for path in (target.path, *target.rather))


def plan(
    agent: Agent,
    machine: Machine,
    address: Address,
    models: Models,
    files: Files,
    written: Sequence[Written] = (),
) -> tuple[FileEdit, ...]:
    """Return the edits that point an agent here, one for each of its files.

    Args:
        agent: what is known about it.
        machine: where its files are.
        address: where it is to go.
        models: which models it is to use.
        files: contents of ``candidates`` and of the paths in ``written``.
        written: what an earlier connecting left; files that are no longer needed are undone.

    Raises:
        RequestError: the choice of models does not fit the agent.
        ConfigError: a file is not in its format; it says where.
        NotEditable: a file cannot be changed without changing something else in it.
    """
    agent.check(models)
    known = {entry.path: entry for entry in written}
    edits = []
    for target in agent.targets(machine, address, models):
        path = _chosen(target, files)
        edits.append(_connected(path, target, files.get(path), known.pop(path, None)))
    return (*edits, *plan_undo(files, tuple(known.values())))


def plan_undo(files: Files, written: Iterable[Written]) -> tuple[FileEdit, ...]:
    """Return the edits that take our values out of files again.

    Raises:
        ConfigError: a file is no longer in its format; it says where.
        NotEditable: our values cannot be taken out without changing something else.
    """
    return tuple(_undone(files.get(entry.path), entry) for entry in written)


def look(content: bytes | None, entry: Written) -> FileState:
    """Say how a file that we wrote is now."""
    now = digest(content)
    if now == entry.after:
        return FileState(entry.path, "written")
    if now == entry.before:
        return FileState(entry.path, "undone")
    if content is None:
        return FileState(entry.path, "missing")
    try:
        value = FORMATS[entry.format](decode(content).text).value
    except SyntaxFault as fault:
        reason = f"line {fault.line}: {fault.message}" if fault.line else fault.message
        return FileState(entry.path, "unreadable", reason=reason)
    except NotEditable as error:
        return FileState(entry.path, "unreadable", reason=error.message)
    places = tuple(
        render_place(former.path)
        for former in entry.former
        if (found := get(value, former.path)) is ABSENT or not same(found, former.value)
    )
    return FileState(entry.path, "overridden" if places else "edited", places)


def _chosen(target: Target, files: Files) -> PurePath:
    return next((path for path in target.rather if files.get(path) is not None), target.path)


def _connected(
    path: PurePath, target: Target, content: bytes | None, entry: Written | None
) -> FileEdit:
    original = content if entry is None else _undone(content, entry).after
    try:
        file = decode(original or b"")
        if file.mark and "mark" in target.refused:
            message = "the agent does not read this file while it begins with a byte order mark"
            raise SyntaxFault(message, 1)
        text, former = changed(target.format, file.text, target.changes)
        if target.format == "jsonc":
            refuse(file.text, target.refused)
    except SyntaxFault as fault:
        raise _unreadable(path, fault) from fault
    except NotEditable as error:
        raise _named(path, error) from error
    after = original if text == file.text else file.encode(text)
    return FileEdit(
        path,
        content,
        after,
        original,
        target.format,
        former,
        folders=() if entry is None else entry.folders,
    )


def _undone(content: bytes | None, entry: Written) -> FileEdit:
    now = digest(content)
    if now == entry.before or content is None:
        return FileEdit(entry.path, content, content, folders=entry.folders)
    if now == entry.after and entry.kept:
        return FileEdit(entry.path, content, entry.original, folders=entry.folders)
    try:
        file = decode(content)
        result = reverted(entry.format, file.text, entry.former)
    except SyntaxFault as fault:
        raise _unreadable(entry.path, fault) from fault
    except NotEditable as error:
        raise _named(entry.path, error) from error
    after: bytes | None = content if result.text == file.text else file.encode(result.text)
    if not entry.before and _is_bare(result.text):
        after = None  # we made the file, and nobody put anything else into it
    return FileEdit(
        entry.path, content, after, left=result.left, exact=False, folders=entry.folders
    )


def _is_bare(text: str) -> bool:
    return text.strip() in ("", "{}", "[]")


def _lines(content: bytes | None) -> list[str]:
    if content is None:
        return []
    try:
        text = decode(content).text
    except SyntaxFault:  # only the old side of a diff: show what can be shown
        text = TextFile(content.decode("utf-8", "replace")).text
    return text.splitlines(keepends=True)


def _unreadable(path: PurePath, fault: SyntaxFault) -> AppError:
    message = fault.message
    if fault.column:
        message = f"column {fault.column}: {message}"
    error = ConfigError([ConfigProblem(str(path), fault.line, "", message)])
    error.hint = "The file is left as it is; correct this place and try again."
    return error


def _named(path: PurePath, error: NotEditable) -> NotEditable:
    return NotEditable(
        f"{path}: {error.message}", hint="The file is left as it is; change it by hand."
    )
