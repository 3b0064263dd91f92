"""Where sign-ins are kept: one sealed file per account, and the keys that open them.

Theory of operation. The folder has mode 0700 and holds, each of mode 0600:

- ``<account>.sealed``: the newest version of an account (``sealed.py``);
- ``<account>.previous``: the last version that is known to have worked, while the newest has not
  proved itself (``confirm``);
- ``<account>.new``: a version that is being written;
- ``vault.json``: which keys there are, and how a passphrase becomes one. No key is in it;
- ``vault.lock``: held while a vault is open. The lock of the data folder (``app.instance``) already
  admits one program; this one stops whoever opens the folder by another way.

A change goes: write ``.new`` and wait for the disk; keep ``.sealed`` as ``.previous`` unless there
is one; rename ``.new`` to ``.sealed``; wait for the disk to have the names. A process that is
killed at any point leaves the old version whole, or the new one, or both: a ``.new`` that opens and
is newer is taken up by the next ``load``, because what it replaces may be used up at its service.

Each file names the key that seals it, so that several keys can be in use: the keyring's, one from a
passphrase, and one that was lost. Files whose key is not at hand stay where they are. Every account
that is held is either returned by ``load`` or in ``troubles``; one damaged file stops no other.

All file work runs on one thread, in order: a single writer, also when a caller is cancelled while
it waits. The keyring has threads of its own (``keychain.py``). The state goes::

    locked → open | passphrase | memory_only                    (open)
           → locked | absent | slow | denied | wrong_key        (open, and again after each)
    slow   → any                                                (answered)
    wrong_key → open                                            (put, by a new key in the keyring)
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, ParamSpec, TypeAlias, TypeVar

import msgspec
from filelock import BaseFileLock, FileLock, Timeout

from app.accounts.disk import Disk
from app.accounts.keychain import Fetched, Keychain, Keyring, KeyringFault, SystemKeyring, in_thread
from app.accounts.passphrase import Recipe, derive, read_file
from app.accounts.record import Record
from app.accounts.sealed import (
    DAMAGED,
    Envelope,
    account_in,
    key_id,
    read_envelope,
    seal,
    stem_of,
    unseal,
)
from app.accounts.vaultstate import (
    FROM_PASSPHRASE,
    LOST_KEY,
    MEMORY_ONLY,
    NEEDS_PASSPHRASE,
    NOT_OPENED,
    OPEN,
    WRONG_PASSPHRASE,
    Trouble,
    VaultState,
    closed_by,
    waiting_for_passphrase,
)
from app.errors import AccountError, AppError
from app.log import redact
from app.paths import private_dir

__all__ = ["Ask", "Vault"]

_log = logging.getLogger("dragoman.vault")
_T = TypeVar("_T")
_P = ParamSpec("_P")

Ask: TypeAlias = Callable[[], str | None]
"""Asks a person for the passphrase and may take its time; None: there is none."""

_LIMIT_S = 10.0
"""A keyring answers in some 20 ms; one that has not in this time waits for a person, or hangs."""
_LARGEST_BYTES = 1_000_000
"""A record takes some 10 KB; a larger file is none and is not read."""
_HEADER_FORMAT = 1

_SEALED: Final = ".sealed"
_PREVIOUS: Final = ".previous"
_NEW: Final = ".new"
_HEADER: Final = "vault.json"
_LOCK: Final = "vault.lock"


class _Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One key: its id, and where it comes from (None: the keyring)."""

    key: str
    recipe: Recipe | None = None
    made_at: float = 0.0


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``vault.json``; slots in the order in which they were made."""

    format: int = _HEADER_FORMAT
    slots: tuple[_Slot, ...] = ()


@dataclass(frozen=True, slots=True)
class _Survey:
    """What is on the disk that asks for keys."""

    slots: tuple[_Slot, ...]
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


@dataclass(frozen=True, slots=True)
class _Wish:
    """What ``open`` was asked for."""

    ask: Ask | None = None
    memory_only: bool = False
    new_key: bool = False


@dataclass(slots=True, repr=False)
class _Found:
    """The outcome of looking for keys."""

    state: VaultState
    keys: dict[str, bytes] = field(default_factory=dict)
    seal: str = ""
    """Id of the key that new versions are sealed with; empty when there is none."""
    made: _Slot | None = None
    """A key that is not in the header yet."""
    closed: dict[str, VaultState] = field(default_factory=dict)
    """Why keys are not at hand."""


class Vault:
    """The sign-ins of one installation.

    All methods but ``held_ids`` must be called on one event loop. ``put`` and ``delete`` are done
    when they return: the disk has them. Secrets that pass through are registered for redaction.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keyring: Keyring | None = None,
        passphrase_file: Path | None = None,
        now: Callable[[], float] = time.time,
        limit_s: float = _LIMIT_S,
        disk: Disk | None = None,
    ) -> None:
        """Make a vault over a folder; nothing is touched before ``open``.

        Args:
            folder: ``Paths.vault``; created when something is stored.
            keyring: where the key lies; None for the system's.
            passphrase_file: holds a passphrase, for where there is no keyring.
            now: epoch seconds UTC.
            limit_s: how long the keyring may take before the state is ``slow``.
            disk: the file operations.
        """
        self._folder = folder
        self._keychain = Keychain(keyring if keyring is not None else SystemKeyring(), limit_s)
        self._passphrase_file = passphrase_file
        self._now = now
        self._disk = disk if disk is not None else Disk()
        self._worker = ThreadPoolExecutor(1, "vault")
        self._opening = asyncio.Lock()
        self._lock: BaseFileLock | None = None
        self._wish = _Wish()
        self._found = _Found(NOT_OPENED)
        self._memory: dict[str, Record] = {}
        self._troubles: tuple[Trouble, ...] = ()

    @property
    def state(self) -> VaultState:
        """Whether sign-ins can be kept, and since when."""
        return self._found.state

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Accounts whose sign-in the last ``load`` could not read, ordered by id."""
        return self._troubles

    def held_ids(self) -> tuple[str, ...]:
        """Return the ids of all accounts that are held, in order; also while they are locked."""
        stems = self._stems(_SEALED, _PREVIOUS)
        return tuple(sorted({self._account(stem) for stem in stems} | self._memory.keys()))

    async def open(
        self, ask: Ask | None = None, *, memory_only: bool = False, new_key: bool = False
    ) -> VaultState:
        """Look for the key, or make the first one; safe to call again after any outcome.

        A keyring that cannot serve is a state, no error. Accounts that were kept in memory are
        stored as soon as the state allows it.

        Args:
            ask: asks for a passphrase; called only when one is needed, on a thread of its own.
            memory_only: keep nothing from now on.
            new_key: begin with another key, because the old one is lost: from the passphrase where
                one is given, else in the keyring. What is sealed stays.

        Raises:
            AppError: ``vault_in_use``: another vault has the folder open; ``vault_unusable``: the
                folder cannot be read or written.
        """
        async with self._opening:
            return await self._open(_Wish(ask, memory_only, new_key), late=False)

    async def answered(self) -> VaultState:
        """Wait for a keyring that was too slow, however long, and open with what it says.

        Returns at once in any other state. Cancel it when the program ends.
        """
        if self.state.name == "slow" and await self._keychain.answer():
            async with self._opening:
                if self.state.name == "slow":
                    return await self._open(self._wish, late=True)
        return self.state

    async def load(self) -> tuple[Record, ...]:
        """Return all sign-ins that can be read, ordered by id; ``troubles`` then has the others.

        Raises:
            AppError: as ``open``.
        """
        return await self._work(self._load)

    async def put(self, record: Record) -> None:
        """Store a new or changed sign-in; when this returns, a loss of power does not undo it.

        In the state ``wrong_key`` over a lost key of the keyring a new one is made.

        Raises:
            AccountError: ``vault_<state>``: nothing can be stored in this state.
            AppError: ``vault_unusable``: the disk is full or failed. What was stored before is
                whole, and the new version may be there, too.
        """
        if self.state == replace(LOST_KEY, since=self.state.since):
            async with self._opening:
                if self.state.name == "wrong_key":
                    await self._open(_Wish(new_key=True), late=False)
        await self._work(self._put, record)

    async def delete(self, account: str) -> None:
        """Remove an account with all its versions; a missing one is no error.

        Raises:
            AppError: as ``open``.
        """
        await self._work(self._delete, account)

    async def confirm(self, account: str) -> None:
        """Note that the newest version has worked: the one before it is not needed any more.

        Raises:
            AppError: as ``open``.
        """
        await self._work(self._confirm, account)

    async def previous(self, account: str) -> Record | None:
        """Return the version before the newest, while that has not been confirmed.

        Raises:
            AccountError: it is there and cannot be read.
            AppError: as ``open``.
        """
        found = await self._work(self._unsealed, stem_of(account), _PREVIOUS)
        return found[1] if found is not None else None

    async def close(self) -> None:
        """Finish what is being written and let go of the folder; safe to call again.

        A keyring that hangs is left alone; its thread holds nothing up.
        """
        if self._lock is not None:
            await self._work(self._let_go)
        self._worker.shutdown(wait=False)

    # Looking for keys, on the loop.

    async def _open(self, wish: _Wish, *, late: bool) -> VaultState:
        await self._work(self._claim)
        old = self._found
        if old.state.durable and not old.closed and wish in (self._wish, _Wish(wish.ask)):
            return self.state
        self._wish = wish
        survey = await self._work(self._survey)
        if wish.memory_only:
            found = _Found(MEMORY_ONLY)
            why = NOT_OPENED if old.state.usable else old.state
        else:
            found = await self._look(survey, wish, late)
            if old.state.durable and not found.state.durable:
                return self.state  # what is open stays open
            found.keys = {**old.keys, **found.keys}
            why = LOST_KEY if found.state.usable else found.state
        for name in survey.needed - found.keys.keys():
            found.closed.setdefault(name, why)
        found.state = replace(found.state, since=self._now())
        await self._work(self._settle, found)
        return self.state

    async def _look(self, survey: _Survey, wish: _Wish, late: bool) -> _Found:
        if wish.new_key:
            return await self._begin(wish)
        recipes = survey.recipes
        if not recipes:
            return await self._from_keyring(survey, wish, late)
        text, problem = await self._passphrase(wish)
        keys = await asyncio.to_thread(_derive_all, text, recipes) if text is not None else {}
        why = WRONG_PASSPHRASE if text is not None else problem or NEEDS_PASSPHRASE
        found = _Found(FROM_PASSPHRASE, keys, seal=list(keys)[-1]) if keys else _Found(why)
        found.closed = {name: why for name in recipes if name not in keys}
        return await self._add_keyring(found, survey, late)

    async def _from_keyring(self, survey: _Survey, wish: _Wish, late: bool) -> _Found:
        """Open with the keyring, or with a first passphrase where there is none."""
        try:
            got = await self._keychain.fetch(survey.in_keyring, make=not survey.needed, late=late)
        except KeyringFault as fault:
            closed = closed_by(fault)
            text, problem = await self._passphrase(wish)
            if text is None:
                return _Found(problem or closed)
            found = await self._from_passphrase(text, survey.spare)
            found.closed = dict.fromkeys(survey.in_keyring, closed)
            return found
        return self._opened(got, survey.in_keyring) if got.keys else _Found(LOST_KEY)

    async def _add_keyring(self, found: _Found, survey: _Survey, late: bool) -> _Found:
        """Fetch the keys that some files need beside the passphrase's."""
        names = survey.in_keyring if survey.needed else ()
        if not names:
            return found
        try:
            got = await self._keychain.fetch(names, make=False, late=late)
        except KeyringFault as fault:
            found.closed |= dict.fromkeys(names, closed_by(fault))
            return found
        if got.keys and not found.keys:
            opened = self._opened(got, names)
            opened.closed = found.closed
            return opened
        found.keys |= got.keys
        found.closed |= dict.fromkeys(set(names) - got.keys.keys(), LOST_KEY)
        return found

    async def _begin(self, wish: _Wish) -> _Found:
        """Make a new key."""
        text, problem = await self._passphrase(wish)
        if text is not None:
            return await self._from_passphrase(text, {})
        if problem is not None:
            return _Found(problem)
        try:
            return self._opened(await self._keychain.fetch((), make=True), ())
        except KeyringFault as fault:
            return _Found(closed_by(fault))

    def _opened(self, got: Fetched, names: Iterable[str]) -> _Found:
        made = _Slot(key=got.made, made_at=self._now()) if got.made else None
        newest = got.made or [name for name in names if name in got.keys][-1]
        return _Found(OPEN, dict(got.keys), seal=newest, made=made)

    async def _from_passphrase(self, text: str, spare: Mapping[str, Recipe]) -> _Found:
        keys = await asyncio.to_thread(_derive_all, text, spare)
        if keys:
            return _Found(FROM_PASSPHRASE, keys, seal=list(keys)[-1])
        recipe = Recipe.fresh()
        key = await asyncio.to_thread(derive, text, recipe)
        slot = _Slot(key=key_id(key), recipe=recipe, made_at=self._now())
        return _Found(FROM_PASSPHRASE, {slot.key: key}, seal=slot.key, made=slot)

    async def _passphrase(self, wish: _Wish) -> tuple[str | None, VaultState | None]:
        """Return the passphrase, from file or person, and what kept the file from giving it."""
        problem: VaultState | None = None
        text: str | None = None
        if self._passphrase_file is not None:
            try:
                text = await asyncio.to_thread(read_file, self._passphrase_file)
            except AccountError as error:
                problem = waiting_for_passphrase(error.message, error.hint)
        if text is None and wish.ask is not None:
            text = await in_thread(wish.ask, "passphrase") or None
        redact(text)
        return text, problem

    # File work, on the worker's thread.

    async def _work(self, job: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        call = functools.partial(self._guarded, functools.partial(job, *args, **kwargs))
        # Shielded: a renewed token must reach the disk although its caller is cancelled.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._worker, call))

    def _guarded(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except OSError as error:
            raise AppError(
                f"The folder of sign-ins {self._folder} cannot be used: {error.strerror or error}.",
                code="vault_unusable",
                status=503,
                hint="Check its owner and permissions, and whether the disk is full.",
            ) from error

    def _claim(self) -> None:
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

    def _let_go(self) -> None:
        self._found = _Found(NOT_OPENED)
        self._memory.clear()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _survey(self) -> _Survey:
        needed = set()
        for stem in self._stems(_SEALED, _PREVIOUS, _NEW):
            for ending in (_SEALED, _PREVIOUS, _NEW):
                envelope = self._envelope_or_none(stem, ending)
                if envelope is not None:
                    needed.add(envelope.key)
        return _Survey(self._header().slots, frozenset(needed))

    def _settle(self, found: _Found) -> None:
        """Take over the keys that were found, and store what waited for them."""
        if found.made is not None:
            header = self._header()
            header = _Header(slots=(*header.slots, found.made))
            fresh = self._folder / f"{_HEADER}{_NEW}"
            self._disk.write(fresh, msgspec.json.encode(header))
            self._disk.replace(fresh, self._folder / _HEADER)
            self._disk.settle(self._folder)
        self._found = found
        if found.state.durable:
            for account in list(self._memory):
                self._put(self._memory[account])
                del self._memory[account]

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

    def _load(self) -> tuple[Record, ...]:
        self._claim()
        records: dict[str, Record] = dict(self._memory)
        troubles = []
        for stem in self._stems(_SEALED, _PREVIOUS, _NEW):
            record, trouble = self._read(stem)
            if record is not None:
                records.setdefault(record.id, record)
            if trouble is not None and trouble.account not in self._memory:
                troubles.append(trouble)
        for record in records.values():
            _redact(record)
        self._troubles = tuple(sorted(troubles, key=lambda trouble: trouble.account))
        return tuple(records[name] for name in sorted(records))

    def _read(self, stem: str) -> tuple[Record | None, Trouble | None]:
        self._finish(stem)
        problem: AccountError | None = None
        for ending in (_SEALED, _PREVIOUS):
            try:
                found = self._unsealed(stem, ending)
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

    def _put(self, record: Record) -> None:
        _redact(record)
        found = self._found
        if found.state.name == "memory_only":
            self._memory[record.id] = record
            return
        if not found.seal or not found.state.usable:
            raise AccountError(
                found.state.message, code=f"vault_{found.state.name}", hint=found.state.hint
            )
        stem = stem_of(record.id)
        content = seal(record, self._version(stem, _NEW) + 1, found.keys[found.seal])
        self._disk.write(self._folder / f"{stem}{_NEW}", content)
        self._advance(stem)
        self._forget_trouble(record.id)

    def _advance(self, stem: str) -> None:
        """Make the finished ``.new`` the newest version."""
        newest, previous = self._folder / f"{stem}{_SEALED}", self._folder / f"{stem}{_PREVIOUS}"
        if newest.exists() and not previous.exists():
            self._disk.keep(newest, previous)
        self._disk.replace(self._folder / f"{stem}{_NEW}", newest)
        self._disk.settle(self._folder)

    def _finish(self, stem: str) -> None:
        """Take up or remove what a killed process was writing."""
        try:
            found = self._unsealed(stem, _NEW)
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

    def _confirm(self, account: str) -> None:
        self._claim()
        stem = stem_of(account)
        try:
            proven = self._unsealed(stem, _SEALED) is not None
        except AccountError:
            proven = False  # what worked was the version before; it must stay
        if proven:
            self._disk.remove(self._folder / f"{stem}{_PREVIOUS}")

    def _delete(self, account: str) -> None:
        self._claim()
        self._memory.pop(account, None)
        stem = stem_of(account)
        # The newest goes last: interrupted before, the account is still there as it was.
        for ending in (_NEW, _PREVIOUS, _SEALED):
            self._disk.remove(self._folder / f"{stem}{ending}")
        self._disk.settle(self._folder)
        self._forget_trouble(account)

    def _forget_trouble(self, account: str) -> None:
        self._troubles = tuple(one for one in self._troubles if one.account != account)

    def _version(self, stem: str, *more: str) -> int:
        """Return the highest version on the disk; 0 without any."""
        envelopes = [self._envelope_or_none(stem, end) for end in (_SEALED, _PREVIOUS, *more)]
        return max((envelope.version for envelope in envelopes if envelope), default=0)

    def _unsealed(self, stem: str, ending: str) -> tuple[Envelope, Record] | None:
        """Return one version of an account; None where there is none.

        Raises:
            AccountError: it cannot be read; ``code`` says why.
        """
        envelope = self._envelope(stem, ending)
        if envelope is None:
            return None
        key = self._found.keys.get(envelope.key)
        if key is None:
            why = self._found.closed.get(envelope.key, self._found.state)
            raise AccountError(why.message, code=f"vault_{why.name}", hint=why.hint)
        return envelope, unseal(envelope, key)

    def _envelope(self, stem: str, ending: str) -> Envelope | None:
        path = self._folder / f"{stem}{ending}"
        try:
            content = self._content(path)
        except OSError as error:
            raise AccountError(
                f"The stored sign-in cannot be read: {error.strerror or error}.",
                code="record_unreadable",
                hint=f"Check the file {path}.",
            ) from error
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


def _derive_all(text: str, recipes: Mapping[str, Recipe]) -> dict[str, bytes]:
    """Return the keys that a passphrase opens, by id, in the order of the recipes."""
    keys = {}
    for name, recipe in recipes.items():
        key = derive(text, recipe)
        if key_id(key) == name:
            keys[name] = key
    return keys


def _redact(record: Record) -> None:
    for secret in record.credential.secrets:
        redact(secret)
