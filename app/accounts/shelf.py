"""The folder of sealed files: its names, its versions, and what may happen between two steps.

See ``vault.py`` for the rules. Everything here blocks and belongs on the vault's one thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from filelock import BaseFileLock, FileLock, Timeout

from app.accounts.disk import Disk
from app.accounts.passphrase import Recipe
from app.accounts.record import Record
from app.accounts.sealed import DAMAGED, Envelope, account_in, read_envelope, seal, stem_of, unseal
from app.accounts.vaultstate import Trouble
from app.errors import AccountError, AppError
from app.paths import private_dir

__all__ = ["KeyOf", "Shelf", "Slot", "Survey"]

_log = logging.getLogger("dragoman.vault")

KeyOf: TypeAlias = Callable[[str], bytes]
"""Gives the key of an id. Raises ``AccountError`` when it is not at hand, which says why."""

_LARGEST_BYTES = 1_000_000
"""A record takes some 10 KB; a larger file is none and is not read."""
_HEADER_FORMAT = 1

_SEALED: Final = ".sealed"
_PREVIOUS: Final = ".previous"
_NEW: Final = ".new"
_HEADER: Final = "vault.json"
_LOCK: Final = "vault.lock"


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One key: its id, and where it comes from (None: the keyring)."""

    key: str
    recipe: Recipe | None = None
    made_at: float = 0.0


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``vault.json``; slots in the order in which they were made."""

    format: int = _HEADER_FORMAT
    slots: tuple[Slot, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What is on the disk that asks for keys."""

    slots: tuple[Slot, ...]
    needed: frozenset[str]
    """Ids of the keys that seal the files that are held."""

    @property
    def recipes(self) -> dict[str, Recipe]:
        """Keys that are needed and come from a passphrase."""
        return {
            slot.key: slot.recipe
            for slot in self.slots
            if slot.recipe is not None and slot.key in self.needed
        }

    @property
    def spare(self) -> dict[str, Recipe]:
        """The newest key from a passphrase, where nothing is held: it may serve again."""
        slots = [(slot.key, slot.recipe) for slot in self.slots if slot.recipe is not None]
        return dict(slots[-1:]) if not self.needed else {}

    @property
    def in_keyring(self) -> tuple[str, ...]:
        """Keys that are looked for in the keyring: those that are needed, or all when none is."""
        known = {slot.key: slot.recipe for slot in self.slots}
        order = [slot.key for slot in self.slots if slot.recipe is None]
        order += sorted(self.needed - known.keys())
        return tuple(name for name in order if name in self.needed or not self.needed)


class Shelf:
    """The files of one vault. Errors of the disk come as ``OSError`` unless said otherwise."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self._lock: BaseFileLock | None = None

    def claim(self) -> None:
        """Make the folder private and lock it; does nothing when that is done.

        Raises:
            AppError: ``vault_in_use``.
        """
        if self._lock is not None:
            return
        private_dir(self._folder)
        if os.name != "nt" and self._folder.stat().st_mode & 0o077:
            self._folder.chmod(0o700)
        lock = FileLock(
            self._folder / _LOCK, mode=0o600, thread_local=False, fallback_to_soft=False
        )
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise AppError(
                f"Another program has the stored sign-ins in {self._folder} open.",
                code="vault_in_use",
                status=409,
                hint="`dragoman status` shows what runs; `dragoman stop` ends it.",
            ) from None
        self._lock = lock

    def release(self) -> None:
        """Let go of the folder; safe to call again."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def survey(self) -> Survey:
        """Return which keys the files need.

        Raises:
            AppError: ``vault_unusable``: a later version of Dragoman keeps this folder.
        """
        needed = set()
        for stem in self._stems(_SEALED, _PREVIOUS, _NEW):
            for ending in (_SEALED, _PREVIOUS, _NEW):
                envelope = self._envelope_or_none(stem, ending)
                if envelope is not None:
                    needed.add(envelope.key)
        return Survey(self._header().slots, frozenset(needed))

    def add_slot(self, slot: Slot) -> None:
        """Note a new key in the header; the disk has it when this returns."""
        header = _Header(slots=(*self._header().slots, slot))
        fresh = self._folder / f"{_HEADER}{_NEW}"
        self._disk.write(fresh, msgspec.json.encode(header))
        self._disk.replace(fresh, self._folder / _HEADER)
        self._disk.settle(self._folder)

    def held_ids(self) -> set[str]:
        """Return the ids of the accounts that are held, as their files' names tell them."""
        return {self._account(stem) for stem in self._stems(_SEALED, _PREVIOUS)}

    def load(self, key_of: KeyOf) -> tuple[list[Record], list[Trouble]]:
        """Return what can be read and what cannot, after finishing what was interrupted."""
        records, troubles = [], []
        for stem in self._stems(_SEALED, _PREVIOUS, _NEW):
            record, trouble = self._read(stem, key_of)
            if record is not None:
                records.append(record)
            if trouble is not None:
                troubles.append(trouble)
        return records, troubles

    def put(self, record: Record, key: bytes) -> None:
        """Store a version; the disk has it when this returns.

        Raises:
            OSError: what was there before is whole.
        """
        stem = stem_of(record.id)
        content = seal(record, self._version(stem, _NEW) + 1, key)
        self._disk.write(self._folder / f"{stem}{_NEW}", content)
        self._advance(stem)

    def confirm(self, account: str, key_of: KeyOf) -> None:
        """Remove the version before the newest, if the newest can be read."""
        stem = stem_of(account)
        try:
            proven = self._unsealed(stem, _SEALED, key_of) is not None
        except AccountError:
            proven = False  # what worked was the version before; it must stay
        if proven:
            self._disk.remove(self._folder / f"{stem}{_PREVIOUS}")

    def previous(self, account: str, key_of: KeyOf) -> Record | None:
        """Return the version before the newest; None where there is none.

        Raises:
            AccountError: it cannot be read.
        """
        found = self._unsealed(stem_of(account), _PREVIOUS, key_of)
        return found[1] if found is not None else None

    def delete(self, account: str) -> None:
        """Remove all versions of an account."""
        stem = stem_of(account)
        # The newest goes last: interrupted before, the account is still there as it was.
        for ending in (_NEW, _PREVIOUS, _SEALED):
            self._disk.remove(self._folder / f"{stem}{ending}")
        self._disk.settle(self._folder)

    def _header(self) -> _Header:
        path = self._folder / _HEADER
        content = self._content(path)
        if content is None:
            return _Header()
        try:
            header = msgspec.json.decode(content, type=_Header)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            # The keys of the keyring are found without it; those of a passphrase are lost with it,
            # so a copy is left for whoever can mend it.
            _log.warning("%s is damaged; it is kept as %s.damaged", path, _HEADER)
            self._disk.replace(path, path.with_name(f"{_HEADER}.damaged"))
            return _Header()
        if header.format > _HEADER_FORMAT:
            raise AppError(
                "The stored sign-ins are those of a later version of Dragoman.",
                code="vault_unusable",
                status=503,
                hint="Update Dragoman.",
            )
        return header

    def _read(self, stem: str, key_of: KeyOf) -> tuple[Record | None, Trouble | None]:
        try:
            self._finish(stem, key_of)
        except OSError as error:
            # A newer version is there; what it replaces must not be used.
            failed = _unreadable(self._folder / f"{stem}{_NEW}", error)
            return None, Trouble(self._account(stem), "unreadable", failed.message, failed.hint)
        problem: AccountError | None = None
        for ending in (_SEALED, _PREVIOUS):
            try:
                found = self._unsealed(stem, ending, key_of)
            except AccountError as error:
                problem = problem or error
                if error.code != DAMAGED:
                    # The version before may be used up at its service, and using it again can
                    # revoke the newest one, which is whole.
                    break
                continue
            if found is None:
                continue
            if problem is None:
                return found[1], None
            _log.warning("the newest stored version of %s is damaged", found[1].id)
            return found[1], Trouble(
                found[1].id,
                "restored",
                "The newest stored version of this sign-in is damaged; the one before it is used.",
                "Sign in again if the service does not take it any more.",
            )
        if problem is None:
            return None, None  # only an unfinished `.new` was there
        code = problem.code.removeprefix("record_").removeprefix("vault_")
        return None, Trouble(self._account(stem), code, problem.message, problem.hint)

    def _advance(self, stem: str) -> None:
        """Make the finished ``.new`` the newest version."""
        newest, previous = self._folder / f"{stem}{_SEALED}", self._folder / f"{stem}{_PREVIOUS}"
        if newest.exists() and not previous.exists():
            self._disk.keep(newest, previous)
        self._disk.replace(self._folder / f"{stem}{_NEW}", newest)
        self._disk.settle(self._folder)

    def _finish(self, stem: str, key_of: KeyOf) -> None:
        """Take up or remove what a killed process was writing."""
        try:
            found = self._unsealed(stem, _NEW, key_of)
        except AccountError as error:
            if error.code != DAMAGED:
                return
            found = None
        path = self._folder / f"{stem}{_NEW}"
        if found is not None and found[0].version > self._version(stem):
            _log.info("finishing the interrupted storing of %s", found[1].id)
            self._advance(stem)
        else:
            self._disk.remove(path)

    def _version(self, stem: str, *more: str) -> int:
        """Return the highest version on the disk; 0 without any."""
        envelopes = [self._envelope_or_none(stem, end) for end in (_SEALED, _PREVIOUS, *more)]
        return max((envelope.version for envelope in envelopes if envelope), default=0)

    def _unsealed(self, stem: str, ending: str, key_of: KeyOf) -> tuple[Envelope, Record] | None:
        """Return one version of an account; None where there is none.

        Raises:
            AccountError: it cannot be read; ``code`` says why.
        """
        envelope = self._envelope(stem, ending)
        if envelope is None:
            return None
        return envelope, unseal(envelope, key_of(envelope.key))

    def _envelope(self, stem: str, ending: str) -> Envelope | None:
        path = self._folder / f"{stem}{ending}"
        try:
            content = self._content(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        return read_envelope(content, stem) if content is not None else None

    def _envelope_or_none(self, stem: str, ending: str) -> Envelope | None:
        try:
            return self._envelope(stem, ending)
        except AccountError:
            return None  # `load` reports it

    def _content(self, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST_BYTES + 1)
        except FileNotFoundError:
            return None
        return content[:_LARGEST_BYTES]

    def _stems(self, *endings: str) -> list[str]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        stems = {
            name.removesuffix(ending)
            for name in names
            for ending in endings
            if name.endswith(ending)
        }
        return sorted(stem for stem in stems if "~~" in stem or account_in(stem) is not None)

    def _account(self, stem: str) -> str:
        """Return the id that a file's name tells, or its content where the name is shortened."""
        account = account_in(stem)
        if account is not None:
            return account
        for ending in (_SEALED, _PREVIOUS):
            envelope = self._envelope_or_none(stem, ending)
            if envelope is not None:
                return envelope.account
        return stem


def _unreadable(path: Path, error: OSError) -> AccountError:
    return AccountError(
        f"The stored sign-in cannot be read: {error.strerror or error}.",
        code="record_unreadable",
        hint=f"Check the file {path}.",
    )
