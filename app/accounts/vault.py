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

What can be used stays so when ``open`` is called again and finds less.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from app.accounts.disk import Disk
from app.accounts.keychain import Keychain, Keyring, SystemKeyring
from app.accounts.record import Record
from app.accounts.shelf import Shelf
from app.accounts.vaultkeys import Ask, Found, VaultKeys, Wish
from app.accounts.vaultstate import LOST_KEY, MEMORY_ONLY, NOT_OPENED, Trouble, VaultState
from app.errors import AccountError, AppError
from app.log import redact

__all__ = ["Ask", "Trouble", "Vault", "VaultState"]

_T = TypeVar("_T")
_P = ParamSpec("_P")

_LIMIT_S = 10.0
"""A keyring answers in some 20 ms; one that has not in this time waits for a person, or hangs."""


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
        keychain = Keychain(keyring if keyring is not None else SystemKeyring(), limit_s)
        self._keys = VaultKeys(keychain, passphrase_file, now)
        self._shelf = Shelf(folder, disk if disk is not None else Disk())
        self._now = now
        self._worker = ThreadPoolExecutor(1, "vault")
        self._opening = asyncio.Lock()
        self._wish = Wish()
        self._found = Found(NOT_OPENED)
        self._memory: dict[str, Record] = {}
        self._troubles: tuple[Trouble, ...] = ()
        self._closed = False

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
        return tuple(sorted(self._shelf.held_ids() | self._memory.keys()))

    def trouble(self) -> str:
        """Return why sign-ins cannot be stored, for people; empty when they can.

        It is empty over a lost key of the keyring, too: signing in again makes a new one.
        """
        state = self.state
        return "" if state.usable or self._is_lost else f"{state.message} {state.hint}".strip()

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
            return await self._open(Wish(ask, memory_only, new_key), late=False)

    async def answered(self) -> VaultState:
        """Wait for a keyring that was too slow, however long, and open with what it says.

        Returns at once where no answer is owed. Cancel it when the program ends.
        """
        if not self.state.durable and await self._keys.answer():
            async with self._opening:
                if not self.state.durable:
                    return await self._open(replace(self._wish, memory_only=False), late=True)
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
        if self._is_lost:
            async with self._opening:
                if self._is_lost:
                    await self._open(Wish(new_key=True), late=False)
        await self._work(self._put, record)

    async def delete(self, account_id: str) -> None:
        """Remove an account with all its versions; a missing one is no error.

        Raises:
            AppError: as ``open``.
        """
        await self._work(self._delete, account_id)

    async def confirm(self, account_id: str) -> None:
        """Note that the newest version has worked: the one before it is not needed any more.

        Raises:
            AppError: as ``open``.
        """
        await self._work(self._confirm, account_id)

    async def previous(self, account_id: str) -> Record | None:
        """Return the version before the newest, while that has not been confirmed.

        Raises:
            AccountError: it is there and cannot be read.
            AppError: as ``open``.
        """
        return await self._work(self._shelf.previous, account_id, self._key_of)

    async def close(self) -> None:
        """Finish what is being written and let go of the folder; safe to call again.

        A keyring that hangs is left alone; its thread holds nothing up.
        """
        if not self._closed:
            self._closed = True
            await self._work(self._let_go)
            self._worker.shutdown(wait=False)

    async def _open(self, wish: Wish, *, late: bool) -> VaultState:
        await self._work(self._shelf.claim)
        old = self._found
        plain = not (wish.memory_only or wish.new_key)
        if plain and old.state.durable and not old.closed:
            return self.state
        self._wish = wish
        survey = await self._work(self._shelf.survey)
        if wish.memory_only:
            found = Found(MEMORY_ONLY)
            why = NOT_OPENED if old.state.usable else old.state
        else:
            found = await self._keys.look(survey, wish, late=late)
            if _is_worse(old.state, found.state):
                return self.state  # what is open stays open
            found.keys = {**old.keys, **found.keys}
            why = LOST_KEY if found.state.usable else found.state
        for name in survey.needed - found.keys.keys():
            found.closed.setdefault(name, why)
        found.state = replace(found.state, since=self._now())
        await self._work(self._settle, found)
        return self.state

    @property
    def _is_lost(self) -> bool:
        return self.state == replace(LOST_KEY, since=self.state.since)

    # What follows runs on the worker's thread.

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

    def _let_go(self) -> None:
        self._found = Found(NOT_OPENED)
        self._memory.clear()
        self._shelf.release()

    def _settle(self, found: Found) -> None:
        """Take over the keys that were found, and store what waited for them."""
        if found.made is not None:
            self._shelf.add_slot(found.made)
        self._found = found
        if found.state.durable:
            for account in list(self._memory):
                self._put(self._memory[account])
                del self._memory[account]

    def _load(self) -> tuple[Record, ...]:
        self._shelf.claim()
        stored, troubles = self._shelf.load(self._key_of)
        records = {record.id: record for record in stored} | self._memory
        for record in records.values():
            _redact(record)
        troubles = [trouble for trouble in troubles if trouble.account not in self._memory]
        self._troubles = tuple(sorted(troubles, key=lambda trouble: trouble.account))
        return tuple(records[name] for name in sorted(records))

    def _put(self, record: Record) -> None:
        _redact(record)
        found = self._found
        if found.state.name == "memory_only":
            self._memory[record.id] = record
            return
        if not found.state.durable:
            raise _closed_by(found.state)
        self._shelf.put(record, found.keys[found.seal])
        self._forget_trouble(record.id)

    def _confirm(self, account: str) -> None:
        self._shelf.claim()
        self._shelf.confirm(account, self._key_of)

    def _delete(self, account: str) -> None:
        self._shelf.claim()
        self._memory.pop(account, None)
        self._shelf.delete(account)
        self._forget_trouble(account)

    def _forget_trouble(self, account: str) -> None:
        self._troubles = tuple(one for one in self._troubles if one.account != account)

    def _key_of(self, name: str) -> bytes:
        key = self._found.keys.get(name)
        if key is None:
            raise _closed_by(self._found.closed.get(name, self._found.state))
        return key


def _is_worse(old: VaultState, new: VaultState) -> bool:
    """Say whether a vault that can be used would lose by a change of state.

    Memory gives way to a lost key, since signing in then makes one that lasts.
    """
    return not new.durable and (old.durable or (old.usable and new != LOST_KEY))


def _closed_by(state: VaultState) -> AccountError:
    return AccountError(state.message, code=f"vault_{state.name}", hint=state.hint)


def _redact(record: Record) -> None:
    for secret in record.credential.secrets:
        redact(secret)
