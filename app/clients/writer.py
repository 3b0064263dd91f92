"""The one place that writes files of others.

A file is replaced in one step: a temporary file beside it, flushed to the disk, takes its name, with
its permissions, extended attributes and, where this user may, its owner. A symbolic link stays one:
what it points to is replaced. A content that is not the one a diff was shown for stops everything
before the first byte is written, and a failure half-way puts back what was written.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from app.clients.plan import FileEdit
from app.errors import AppError

__all__ = ["FileChanged", "read_file", "write_edits"]

_log = logging.getLogger("dragoman.clients")


class FileChanged(AppError):
    """Another program changed a file after its diff was shown."""

    status = 409
    code = "file_changed"

    def __init__(self, path: PurePath) -> None:
        super().__init__(
            f"{path} was changed by another program in the meantime; nothing was written.",
            hint="Look at the new diff: give the same command again.",
        )


def read_file(path: PurePath) -> bytes | None:
    """Return a file's content, or None where there is none.

    Raises:
        AppError: ``file_unreadable``: it may not be read, or is no plain file.
    """
    place = Path(path)
    try:
        if not stat.S_ISREG(place.stat().st_mode):
            raise _unreadable(path, "it is not a plain file")
        return place.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:  # also NotADirectoryError and a circle of links
        raise _unreadable(path, error.strerror or str(error)) from error


def write_edits(edits: Sequence[FileEdit]) -> dict[PurePath, tuple[PurePath, ...]]:
    """Write all edits or none.

    Args:
        edits: edits whose files still hold what they are for.

    Returns:
        For each path the folders that were made, outermost first.

    Raises:
        FileChanged: a file holds something else by now.
        AppError: ``file_unwritable``, ``file_unreadable``.
    """
    wanted = [edit for edit in edits if edit.changes]
    for edit in wanted:
        if read_file(edit.path) != edit.before:
            raise FileChanged(edit.path)
    made: dict[PurePath, tuple[PurePath, ...]] = {}
    done: list[FileEdit] = []
    try:
        for edit in wanted:
            made[edit.path] = _missing_folders(Path(edit.path)) if edit.after is not None else ()
            _write(edit)
            done.append(edit)
    except BaseException:
        for edit in reversed(done):
            _put_back(edit)
        _remove_folders([folder for folders in made.values() for folder in folders])
        raise
    for edit in wanted:
        if edit.after is None:
            _remove_folders(edit.folders)
    return made


def _write(edit: FileEdit) -> None:
    try:
        place = Path(edit.path).resolve()
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace(place, edit.path, edit.before, edit.after)
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links, before Python 3.13
        reason = error.strerror if isinstance(error, OSError) else None
        raise AppError(
            f"{edit.path} cannot be written: {reason or error}.",
            code="file_unwritable",
            status=409,
            hint="Check the permissions of the file and of its folder; nothing was changed.",
        ) from error


def _replace(place: Path, shown: PurePath, before: bytes | None, after: bytes | None) -> None:
    """Give a file its new content in one step; the last look at the old one is just before it."""
    if after is None:
        if read_file(place) != before:
            raise FileChanged(shown)
        with _writable(place):
            place.unlink()
        return
    handle, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            _copy_standing(place, temporary)
        if read_file(place) != before:
            raise FileChanged(shown)
        with _writable(place):
            os.replace(temporary, place)
    except BaseException:
        with contextlib.suppress(FileNotFoundError), _writable(temporary):
            temporary.unlink()
        raise


def _copy_standing(place: Path, temporary: Path) -> None:
    """Give a new file the permissions, attributes and owner of the one that it replaces."""
    found = place.stat()
    if sys.platform != "win32" and (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
        try:
            os.chown(temporary, found.st_uid, found.st_gid)
        except PermissionError:
            _log.info("the owner of %s is not kept: this user may not give files away", place)
    shutil.copystat(place, temporary)
    os.utime(temporary)  # programs that watch the file look at its time


@contextlib.contextmanager
def _writable(place: Path) -> Iterator[None]:
    """Lift Windows' read-only mark from a file that is about to go: elsewhere its folder decides."""
    if sys.platform == "win32" and place.exists() and not place.stat().st_mode & stat.S_IWRITE:
        place.chmod(stat.S_IWRITE | stat.S_IREAD)
    yield


def _missing_folders(place: Path) -> tuple[PurePath, ...]:
    missing: list[PurePath] = []
    folder = place.resolve().parent
    while not folder.exists():
        missing.insert(0, folder)
        folder = folder.parent
    return tuple(missing)


def _remove_folders(folders: Sequence[PurePath]) -> None:
    """Remove folders of ours, innermost first, as far as they are empty."""
    for folder in reversed(folders):
        try:
            Path(folder).rmdir()
        except OSError:
            return  # somebody else uses it by now, or it is gone


def _put_back(edit: FileEdit) -> None:
    """Undo one written edit after a later one failed."""
    try:
        place = Path(edit.path).resolve()
        _replace(place, edit.path, edit.after, edit.before)
    except (OSError, RuntimeError, AppError) as error:
        _log.warning("%s could not be put back: %s", edit.path, error)


def _unreadable(path: PurePath, reason: str) -> AppError:
    return AppError(
        f"{path} cannot be read: {reason}.",
        code="file_unreadable",
        status=409,
        hint="The file is left as it is.",
    )
