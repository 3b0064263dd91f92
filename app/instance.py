"""One running instance per data folder, and how others find and address it.

The lock in the data folder says whether an instance runs: the kernel lets go of it when a process
ends in whatever way. ``instance.json`` in the runtime folder says how to reach it. The file is
written only by the holder of the lock, which removes an old one first, so that a file beside a held
lock is the holder's.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from filelock import BaseFileLock, FileLock, Timeout

from app import __version__
from app.errors import AppError
from app.paths import private_dir, write_private

__all__ = ["Instance", "InstanceRecord", "Sighting", "read"]

_LOCK = "dragoman.lock"
_FILE = "instance.json"

_PROBE_S = 0.5
"""A starting program waits this long for the lock: ``read`` of another one may hold it, for a
millisecond, to see that it is free."""


class InstanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a running instance: the content of ``instance.json``."""

    pid: int
    port: int
    token: str
    """Opens the control routes; new at each start."""
    started_at: float
    """Epoch seconds."""
    version: str

    def __repr__(self) -> str:
        return f"InstanceRecord(pid={self.pid}, port={self.port}, version={self.version!r})"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What ``read`` found.

    ``none``: nothing runs. ``live``: ``record`` says where. ``stale``: nothing runs, and the file
    of an instance that was killed has been removed; ``record`` is what it said. ``foreign``:
    something holds the data folder and cannot be reached: it is still starting, or runs in another
    session, or under another user.
    """

    state: Literal["none", "live", "stale", "foreign"]
    record: InstanceRecord | None = None


class Instance:
    """This process as the one instance. States: acquired → published → released."""

    def __init__(self, lock: BaseFileLock, file: Path, started_at: float) -> None:
        """Use ``acquire``."""
        self._lock = lock
        self._file = file
        self._started_at = started_at
        self.token = secrets.token_urlsafe(32)
        """The local token of this start."""

    @classmethod
    def acquire(
        cls, data_dir: Path, runtime_dir: Path, *, now: Callable[[], float] = time.time
    ) -> Instance:
        """Become the instance of a data folder; a dead one's file is removed.

        Raises:
            AppError: ``already_running``, or ``data_dir_unusable``.
        """
        try:
            private_dir(data_dir)
            private_dir(runtime_dir)
            lock = _lock(data_dir)
            lock.acquire(timeout=_PROBE_S)
        except Timeout:
            raise AppError(
                f"Dragoman already runs with the data folder {data_dir}.",
                code="already_running",
                status=409,
                hint="`dragoman status` shows it, `dragoman stop` ends it.",
            ) from None
        except OSError as error:
            raise AppError(
                f"The data folder {data_dir} cannot be used: {error.strerror or error}.",
                code="data_dir_unusable",
                status=503,
                hint="Check its owner and permissions, or set DRAGOMAN_HOME to another folder.",
            ) from error
        file = runtime_dir / _FILE
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            lock.release()
            raise AppError(
                f"The file {file} cannot be replaced: {error.strerror or error}.",
                code="data_dir_unusable",
                status=503,
            ) from error
        return cls(lock, file, now())

    def publish(self, port: int) -> InstanceRecord:
        """Tell others the port, once it listens; called again when the port changes.

        Raises:
            OSError: the runtime folder cannot be written.
        """
        record = InstanceRecord(
            pid=os.getpid(),
            port=port,
            token=self.token,
            started_at=self._started_at,
            version=__version__,
        )
        write_private(self._file, msgspec.json.encode(record))
        return record

    def release(self) -> None:
        """Remove the file, then let go of the data folder. Safe to call again."""
        if self._lock.is_locked:
            try:
                self._file.unlink(missing_ok=True)
            finally:
                self._lock.release()


def read(data_dir: Path, runtime_dir: Path) -> Sighting:
    """Say what runs with a data folder; remove the file of an instance that was killed.

    Neither folder is created.

    Raises:
        AppError: ``data_dir_unusable``: the lock cannot be looked at.
    """
    file = runtime_dir / _FILE
    record = _record(file)
    if not data_dir.is_dir():
        return Sighting("none")
    lock = _lock(data_dir)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        record = _record(file) or record  # it may have been written meanwhile
        return Sighting("live", record) if record and _alive(record.pid) else Sighting("foreign")
    except OSError as error:
        raise AppError(
            f"The data folder {data_dir} cannot be used: {error.strerror or error}.",
            code="data_dir_unusable",
            status=503,
        ) from error
    try:
        if not file.exists():
            return Sighting("none")
        file.unlink(missing_ok=True)
        return Sighting("stale", record)
    finally:
        lock.release()


def _lock(data_dir: Path) -> BaseFileLock:
    # Acquired on one thread and released on another: the tray's and the proxy's.
    return FileLock(data_dir / _LOCK, mode=0o600, thread_local=False, fallback_to_soft=False)


def _record(file: Path) -> InstanceRecord | None:
    """Return the content, or None where it is missing, cut off, or not ours to read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=InstanceRecord)
    except (OSError, msgspec.DecodeError):
        return None


def _alive(pid: int) -> bool:
    """Say whether a process runs. The lock tells more; this tells a late file from a live one."""
    if sys.platform == "win32":
        return True  # signal 0 would end the process there; the held lock is proof enough
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
