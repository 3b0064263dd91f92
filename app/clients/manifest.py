"""Memory of what was written for which agent, with a copy of every original.

``manifest.json`` and ``originals/`` lie in Dragoman's data folder and are readable by this user
only: originals can hold keys of other services. A copy is named by the digest of its content, so
equal ones are kept once and a damaged one is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any, Final

import msgspec

from app.clients.change import ABSENT, Entry
from app.clients.change import Path as Place
from app.clients.formats import FormatName, Former
from app.clients.plan import Written, digest
from app.errors import AppError
from app.paths import private_dir, write_private

__all__ = ["AgentRecord", "Book", "FileRecord", "Manifest", "record_file"]

_VERSION: Final = 1


class _Former(msgspec.Struct, frozen=True, omit_defaults=True):
    path: list[str | list[str]]
    """A step is a key, or field and value of an entry."""
    value: Any
    made: int
    old: Any = None
    absent: bool = False


class FileRecord(msgspec.Struct, frozen=True):
    """One file of an agent."""

    path: str
    format: FormatName
    before: str
    """Digest of the original; empty where there was no file."""
    after: str
    former: list[_Former]
    folders: list[str]


class AgentRecord(msgspec.Struct, frozen=True):
    """One connected agent."""

    url: str
    roles: dict[str, str]
    connected_at: float
    """Epoch seconds."""
    files: list[FileRecord]


class Manifest(msgspec.Struct, frozen=True):
    """Every connected agent, by name."""

    version: int = _VERSION
    agents: dict[str, AgentRecord] = {}

    def without(self, name: str) -> Manifest:
        """Return the manifest without an agent."""
        return Manifest(agents={k: v for k, v in self.agents.items() if k != name})

    def including(self, name: str, record: AgentRecord) -> Manifest:
        """Return the manifest with an agent."""
        return Manifest(agents={**self.agents, name: record})


class Book:
    """The files of the memory in one folder; nothing is kept in this object."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "manifest.json"
        self._originals = folder / "originals"

    def load(self) -> Manifest:
        """Read the manifest; an empty one where there is none.

        Raises:
            AppError: ``manifest_unreadable``: it is damaged, or of a newer version.
        """
        try:
            manifest = msgspec.json.decode(self._file.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return Manifest()
        except (OSError, msgspec.DecodeError) as error:
            raise self._unreadable(str(error)) from error
        if manifest.version != _VERSION:
            raise self._unreadable("it is of a newer version of Dragoman")
        return manifest

    def save(self, manifest: Manifest) -> None:
        """Replace the manifest in one step.

        Raises:
            OSError: the folder cannot be written.
        """
        write_private(self._file, msgspec.json.format(msgspec.json.encode(manifest), indent=2))

    def keep(self, content: bytes | None) -> None:
        """Keep a copy of an original.

        Raises:
            OSError: the folder cannot be written.
        """
        if content is not None and not self._copy(digest(content)).exists():
            private_dir(self._originals)
            write_private(self._copy(digest(content)), content)

    def sweep(self, manifest: Manifest, done: Iterable[bytes | None]) -> None:
        """Remove copies that were given back whole and that no agent needs any more."""
        needed = {file.before for record in manifest.agents.values() for file in record.files}
        for content in done:
            if content is not None and digest(content) not in needed:
                self._copy(digest(content)).unlink(missing_ok=True)

    def copy_of(self, entry: Written) -> Path | None:
        """Return where the copy of an original lies, or None where there was no file."""
        return self._copy(entry.before) if entry.before else None

    def written(self, record: AgentRecord) -> tuple[Written, ...]:
        """Return an agent's files with their originals."""
        return tuple(map(self._written, record.files))

    def _written(self, file: FileRecord) -> Written:
        original = self._original(file.before) if file.before else None
        return Written(
            path=Path(file.path),
            format=file.format,
            after=file.after,
            before=file.before,
            original=original,
            kept=not file.before or original is not None,
            former=tuple(map(_decode_former, file.former)),
            folders=tuple(map(Path, file.folders)),
        )

    def _original(self, name: str) -> bytes | None:
        """Return a copy, or None where it is gone or damaged: our values are then taken out."""
        try:
            content = self._copy(name).read_bytes()
        except OSError:
            return None
        return content if digest(content) == name else None

    def _copy(self, name: str) -> Path:
        return self._originals / name

    def _unreadable(self, reason: str) -> AppError:
        return AppError(
            f"The list of connected agents {self._file} cannot be read: {reason}.",
            code="manifest_unreadable",
            hint=f"Copies of the original files lie in {self._originals}.",
        )


def record_file(
    path: PurePath,
    format_name: FormatName,
    original: bytes | None,
    after: bytes | None,
    former: Sequence[Former],
    folders: Sequence[PurePath],
) -> FileRecord:
    """Return the record of one written file."""
    return FileRecord(
        path=str(path),
        format=format_name,
        before=digest(original),
        after=digest(after),
        former=[_encode_former(entry) for entry in former],
        folders=[str(folder) for folder in folders],
    )


def _encode_former(entry: Former) -> _Former:
    absent = entry.old is ABSENT
    return _Former(
        path=[[s.field, s.value] if isinstance(s, Entry) else s for s in entry.path],
        value=entry.value,
        made=entry.made,
        old=None if absent else entry.old,
        absent=absent,
    )


def _decode_former(entry: _Former) -> Former:
    path: Place = tuple(
        step if isinstance(step, str) else Entry(step[0], step[1]) for step in entry.path
    )
    return Former(path, entry.value, ABSENT if entry.absent else entry.old, entry.made)
