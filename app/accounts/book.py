"""Every account there is: those of the settings and those that were signed in to.

The book owns the records that the vault keeps, decides what of them is in force, and gives the
roster its accounts. Nobody else writes records. Two locks keep it whole:

- one for writing, held while a record is changed and stored, so that a change always starts from
  the newest record;
- one per account (``exclusive``) for what takes time and must not overlap: a renewal, a repair, a
  logout. Whoever gets it reads the record then, which may be gone or called otherwise by now.

A vault that is locked is a normal state: its accounts are there, and say what they wait for.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, Protocol

from app.accounts.account import Account
from app.accounts.held import LOST, Held, Need, sealed_account
from app.accounts.identity import known_identity, same_identity
from app.accounts.manner import Manner
from app.accounts.record import Record
from app.accounts.roster import Roster
from app.accounts.vaultstate import Trouble
from app.errors import AccountError, AppError, RequestError
from app.log import cut, redact
from app.providers.base import Provider
from app.providers.credential import Credential, Identity
from app.tasks import spawn

__all__ = ["AccountBook", "Vault", "check_label"]

_log = logging.getLogger("dragoman.accounts")

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_MOST_RENAMED = 256
_PLAIN: Final = Manner()


class Vault(Protocol):
    """What the book asks of the place where records are kept; ``accounts.vault`` is one."""

    @property
    def troubles(self) -> Sequence[Trouble]:
        """Return why single accounts could not be read, or what else is to be said of them."""
        ...

    def trouble(self) -> str:
        """Return why records cannot be stored, for people; empty when they can."""
        ...

    def held_ids(self) -> Sequence[str]:
        """Return the ids of all accounts that are kept, readable or not."""
        ...

    async def load(self) -> Sequence[Record]:
        """Return the records that can be read."""
        ...

    async def put(self, record: Record) -> None:
        """Store a record; the version before it is kept until ``confirm``."""
        ...

    async def delete(self, account_id: str) -> None:
        """Forget an account, readable or not."""
        ...

    async def confirm(self, account_id: str) -> None:
        """Note that the newest version works."""
        ...


def check_label(label: str) -> str:
    """Return a label as it may be used in an id.

    Raises:
        RequestError: it has other characters than names of files and paths may have.
    """
    label = label.strip()
    if not _LABEL.fullmatch(label):
        raise RequestError(
            "A label is 1 to 64 letters, digits and . _ @ + - and begins with a letter or digit.",
            code="invalid_label",
        )
    return label


def _unchanged() -> None:
    return None


def _not_renamed(_old_id: str, _new_id: str) -> None:
    return None


async def _not_carried(_old_id: str, _new_id: str) -> None:
    return None


def _is_empty(account: Account) -> bool:
    """Say whether an entry of the settings only names its service: a sign-in to it fills it."""
    return account.credential is None and account.command is None


class AccountBook:
    """All accounts by id; see the module for its locks.

    Args:
        vault: keeps the records.
        roster: is given the accounts in force after each change.
        providers: the services by id.
        now: epoch seconds.
        changed: called after each change of the accounts in force.
    """

    def __init__(
        self,
        vault: Vault,
        roster: Roster,
        providers: Mapping[str, Provider],
        now: Callable[[], float],
        changed: Callable[[], None] = _unchanged,
    ) -> None:
        self._vault = vault
        self._roster = roster
        self._providers = providers
        self._now = now
        self._changed = changed
        self._configured: tuple[Account, ...] = ()
        self._manners: dict[str, Manner] = {}
        self.attached: Callable[[], Sequence[Account]] = tuple
        """Gives the accounts that are there by a connection; ``publish`` when they change."""
        self.renamed: Callable[[str, str], None] = _not_renamed
        """Told the old and the new id of an account before it is in force under the new one."""
        self.carry: Callable[[str, str], Awaitable[None]] = _not_carried
        """Lets what names an account elsewhere follow it from its old id to its new one; an
        ``AppError`` of it leaves the account its name."""
        self._held: dict[str, Held] = {}
        self._sealed: tuple[str, ...] = ()
        self._moved: dict[str, str] = {}
        self._writing = asyncio.Lock()
        self._busy: dict[str, asyncio.Lock] = {}

    # --- reading ---------------------------------------------------------------------------------

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Return the services by id."""
        return self._providers

    def records(self) -> tuple[Record, ...]:
        """Return all records that can be read, in the order of use."""
        held = [held.record for held in self._held.values()]
        return tuple(sorted(held, key=_rank))

    def sealed_ids(self) -> tuple[str, ...]:
        """Return the ids of accounts that are kept but cannot be read now."""
        return tuple(account_id for account_id in self._sealed if account_id not in self._held)

    def is_configured(self, account_id: str) -> bool:
        """Say whether an account is written in the settings."""
        return any(account.id == account_id for account in self._configured)

    def find(self, account_id: str) -> Record | None:
        """Return a record by id, also by one that it had before it was renamed."""
        held = self._held.get(self.current_id(account_id))
        return None if held is None else held.record

    def get(self, account_id: str) -> Record:
        """Return a record by id.

        Raises:
            RequestError: 404 ``unknown_account``; 409 ``account_in_settings`` or
                ``account_sealed`` for one that is there but has no record that can be read.
        """
        record = self.find(account_id)
        if record is not None:
            return record
        if self.is_configured(account_id):
            raise RequestError(
                f"The account {account_id} is written in the settings.",
                hint="Change it there: `dragoman config edit`.",
                status=409,
                code="account_in_settings",
            )
        if account_id in self._sealed:
            raise RequestError(
                f"The account {account_id} cannot be read: {self._sealed_text(account_id)}",
                status=409,
                code="account_sealed",
            )
        raise RequestError(
            f"There is no account {account_id!r}.",
            hint="`dragoman accounts` lists them.",
            status=404,
            code="unknown_account",
        )

    def current_id(self, account_id: str) -> str:
        """Return the id that an account has now."""
        for _ in range(_MOST_RENAMED):
            if account_id in self._held or account_id not in self._moved:
                break
            account_id = self._moved[account_id]
        return account_id

    def choose(self, provider_id: str, name: str) -> Record | None:
        """Return the record that people mean by an id, a label, or the name at the service."""
        records = [record for record in self.records() if record.provider == provider_id]
        wanted = name.strip().casefold()
        by_name: dict[str, Record] = {}
        for said in (
            [(record.id, record) for record in records],
            [(record.label, record) for record in records],
            [(record.identity.name, record) for record in records],
        ):
            for text, record in said:
                by_name.setdefault(text.casefold(), record)
        return by_name.get(wanted) if wanted else None

    def twin(self, provider_id: str, identity: Identity) -> Record | None:
        """Return the record of the account that an identity belongs to, if it is known."""
        if not known_identity(identity):
            return None
        for record in self.records():
            if (
                record.provider == provider_id
                and known_identity(record.identity)
                and same_identity(record.identity, identity)
            ):
                return record
        return None

    def provider_of(self, record: Record) -> Provider | None:
        """Return a record's service; None for one that this version does not know."""
        return self._providers.get(record.provider)

    def account(self, account_id: str) -> Account | None:
        """Return an account in force."""
        return self._roster.get(self.current_id(account_id))

    def trouble(self, account_id: str) -> str:
        """Return why a signed-in account cannot be called, or what else is wrong with it."""
        held = self._held.get(self.current_id(account_id))
        return "" if held is None else held.trouble

    def need(self, account_id: str) -> Need:
        """Return what a person has to do for a signed-in account that cannot be called."""
        account_id = self.current_id(account_id)
        held = self._held.get(account_id)
        if held is not None:
            return held.needed(self.provider_of(held.record))
        if account_id not in self._sealed:
            return ""
        if self._vault.trouble():
            return "vault"
        codes = {one.code for one in self._vault.troubles if one.account == account_id}
        return "sign_in" if codes & LOST else ""

    def unsaved(self, account_id: str) -> str:
        """Return why an account's newest version is in memory only; empty when it is stored."""
        held = self._held.get(self.current_id(account_id))
        return "" if held is None else held.unsaved

    def vault_trouble(self, account_id: str = "") -> str:
        """Return why nothing can be stored, or what the vault says of one account."""
        if not account_id:
            return self._vault.trouble()
        for one in self._vault.troubles:
            if one.account == account_id:
                return f"{one.message} {one.hint}".strip()
        return ""

    def require_vault(self) -> None:
        """Refuse what needs a vault while there is none.

        Raises:
            AccountError: ``vault_unusable``.
        """
        trouble = self._vault.trouble()
        if trouble:
            raise AccountError(f"Sign-ins cannot be kept now: {trouble}", code="vault_unusable")

    def next_label(self, provider_id: str) -> str:
        """Return the first free label of the form ``claude-1``."""
        number = 1
        while not self.is_free(f"{provider_id}/{provider_id}-{number}"):
            number += 1
        return f"{provider_id}-{number}"

    def free_label(self, provider_id: str, label: str) -> str:
        """Return a label that the user chose for a new account.

        Raises:
            RequestError: ``invalid_label``; 409 ``label_taken``.
        """
        label = check_label(label)
        if not self.is_free(f"{provider_id}/{label}"):
            raise RequestError(
                f"There is an account {provider_id}/{label} already.",
                hint=f"To sign in to it again: `dragoman login {provider_id} --account {label}`.",
                status=409,
                code="label_taken",
            )
        return label

    def is_free(self, account_id: str) -> bool:
        """Say whether a new account may have this id."""
        return not (
            account_id in self._held or account_id in self._sealed or self.is_configured(account_id)
        )

    # --- what is in force ------------------------------------------------------------------------

    def show_sealed(self) -> None:
        """Put the accounts in force that are kept, as ones that wait for the vault to open."""
        self._sealed = tuple(self._vault.held_ids())
        self.publish()

    async def load(self) -> None:
        """Read the records; call it again when the vault's state has changed.

        A vault that cannot be read leaves its accounts unusable, with the reason.
        """
        async with self._writing:
            try:
                records = await self._vault.load()
            except AppError as error:
                _log.error("the signed-in accounts cannot be read: %s", error.text)
                records = ()
            for record in records:
                for secret in record.credential.secrets:
                    redact(secret)
                # What is only in memory is newer than what is stored.
                old = self._held.get(record.id)
                if old is None or not old.unsaved:
                    self._held[record.id] = Held(record, unconfirmed=True)
            self._sealed = tuple(self._vault.held_ids())
        self.publish()

    def configure(
        self, accounts: Sequence[Account], manners: Mapping[str, Manner] | None = None
    ) -> None:
        """Take the accounts of the settings.

        Args:
            accounts: those that are written there.
            manners: how those are called that are not, by provider; None for as ever.
        """
        self._configured = tuple(accounts)
        self._manners = dict(manners or {})
        self.publish()

    def manner(self, provider_id: str) -> Manner:
        """Return how the settings want a provider's signed-in accounts called."""
        return self._manners.get(provider_id, _PLAIN)

    def publish(self) -> None:
        """Give the roster the accounts in force."""
        kept = {record.provider for record in self.records()}
        accounts = {
            account.id: account
            for account in self._configured
            if not (_is_empty(account) and account.provider.id in kept)
        }
        first = len(accounts)
        for place, record in enumerate(self.records(), first):
            provider = self.provider_of(record)
            if provider is None:
                continue
            account = self._held[record.id].account(provider, self.manner(provider.id), place)
            if account.id in accounts:
                _log.warning(
                    "the account %s of the settings hides the sign-in of the same name", account.id
                )
                continue
            accounts[account.id] = account
        for account_id in self.sealed_ids():
            name, _, label = account_id.partition("/")
            provider = self._providers.get(name)
            if provider is not None and label:
                manner, reason = self.manner(name), self._sealed_text(account_id)
                account = sealed_account(account_id, provider, manner, reason, first)
                accounts.setdefault(account_id, account)
        for account in self.attached():
            accounts.setdefault(account.id, account)
        self._roster.replace(accounts.values(), self._now())
        self._changed()

    def _sealed_text(self, account_id: str) -> str:
        told = self.vault_trouble(account_id) or self._vault.trouble()
        return told or "its sign-in cannot be read now"

    # --- changing --------------------------------------------------------------------------------

    @asynccontextmanager
    async def exclusive(self, account_id: str) -> AsyncIterator[Record]:
        """Keep others from what takes time with an account; gives its newest record.

        Raises:
            RequestError: as ``get``.
        """
        lock = self._busy.setdefault(self.current_id(account_id), asyncio.Lock())
        async with lock:
            yield self.get(account_id)

    async def put(self, record: Record) -> Record:
        """Store a new record, or one that replaces all of an old one, and put it in force.

        Raises:
            AppError: the vault cannot store it; nothing has changed then.
        """
        async with self._writing:
            await self._vault.put(record)
            self._held[record.id] = Held(record, unconfirmed=True)
            self._sealed = tuple(self._vault.held_ids())
        self.publish()
        return record

    async def change(self, account_id: str, **fields: Any) -> Record:
        """Store a record with other values of some fields, and put it in force.

        Raises:
            RequestError: as ``get``.
            AppError: the vault cannot store it; nothing has changed then.
        """
        async with self._writing:
            record = await self._rewrite(self.get(account_id).id, **fields)
        self.publish()
        return record

    async def _rewrite(self, account_id: str, **fields: Any) -> Record:
        """Store a record with other values of some fields, while the lock is held."""
        held = self._held[account_id]
        record = replace(held.record, **fields)
        await self._vault.put(record)
        held.record = record
        held.unsaved = ""
        return record

    async def store(
        self, account_id: str, credential: Credential, *, renewed_at: float | None = None
    ) -> None:
        """Store an account's new credential, then put it in force.

        Raises:
            RequestError: as ``get``.
            AppError: the vault cannot store it. It is in force all the same, since what it
                replaces may be used up; ``unsaved`` says so until ``save`` succeeds.
        """
        async with self._writing:
            held = self._held[self.get(account_id).id]
            record = replace(held.record, credential=credential)
            if renewed_at is not None:
                record = replace(record, renewed_at=renewed_at)
            try:
                await self._vault.put(record)
                held.unsaved = ""
            except AppError as error:
                held.unsaved = error.text
                raise
            finally:
                held.record = record
                held.unconfirmed = True
                self.publish()

    async def save(self, account_id: str) -> None:
        """Store again what could not be stored.

        Raises:
            AppError: it still cannot.
        """
        async with self._writing:
            held = self._held.get(self.current_id(account_id))
            if held is None or not held.unsaved:
                return
            await self._vault.put(held.record)
            held.unsaved = ""
        self.publish()

    def set_trouble(self, account_id: str, text: str, need: Need = "sign_in") -> None:
        """Say why an account cannot be called, and what helps; an empty text takes it back."""
        text = cut(text)  # services repeat what they were sent
        held = self._held.get(self.current_id(account_id))
        if held is not None and held.trouble != text:
            held.trouble, held.need = text, need
            self.publish()

    def worked(self, account_id: str, secret: str) -> None:
        """Note that a call with this secret succeeded; the version before it is let go of."""
        held = self._held.get(account_id)
        if held is None or not held.unconfirmed or held.record.credential.secret != secret:
            return
        held.unconfirmed = False
        spawn(self._confirm(account_id), f"confirm {account_id}")

    async def _confirm(self, account_id: str) -> None:
        try:
            await self._vault.confirm(account_id)
        except AppError as error:
            _log.warning("an old version of %s stays: %s", account_id, error.text)

    async def make_primary(self, account_id: str) -> Record:
        """Let an account be tried first among those of its provider, and no other."""
        async with self._writing:
            chosen = self.get(account_id)
            for record in self.records():
                if record.provider == chosen.provider and record.primary and record.id != chosen.id:
                    await self._rewrite(record.id, primary=False)
            chosen = await self._rewrite(chosen.id, primary=True)
        self.publish()
        return chosen

    async def pause(self, account_id: str, *, paused: bool) -> Record:
        """Leave an account alone, or use it again."""
        return await self.change(account_id, paused=paused)

    async def agree(self, account_id: str, version: str) -> Record:
        """Note that the user agreed to the text that is in force.

        Raises:
            RequestError: ``consent_required``: there is no such text, or it is another one.
        """
        record = self.get(account_id)
        provider = self.provider_of(record)
        consent = None if provider is None else provider.consent
        if consent is None or consent.version != version:
            raise RequestError(
                "This is not the text that has to be agreed to.",
                hint=f"`dragoman accounts agree {record.label}` shows the one in force.",
                status=409,
                code="consent_required",
            )
        return await self.change(record.id, consent=version, consented_at=self._now())

    async def rename(self, account_id: str, label: str) -> Record:
        """Give an account another label, and with it another id.

        Raises:
            RequestError: ``invalid_label``, 409 ``label_taken``, or as ``get``.
            AppError: the vault cannot store it, or what names it cannot follow; nothing has
                changed then.
        """
        label = check_label(label)
        async with self.exclusive(account_id) as old, self._writing:
            held = self._held[old.id]
            record = replace(held.record, label=label)
            if record.id == old.id:
                return record
            if not self.is_free(record.id):
                raise RequestError(
                    f"There is an account {record.id} already.", status=409, code="label_taken"
                )
            await self._vault.put(record)
            try:
                await self.carry(old.id, record.id)
            except AppError:
                await self._forget(record.id)
                raise
            self._held[record.id] = Held(record, held.trouble, held.need, unconfirmed=True)
            del self._held[old.id]
            await self._forget(old.id)
            while len(self._moved) >= _MOST_RENAMED:
                del self._moved[next(iter(self._moved))]
            self._moved[old.id] = record.id
            self._moved.pop(record.id, None)
            self._busy[record.id] = self._busy.pop(old.id)
            self._roster.rename(old.id, record.id)
            self.renamed(old.id, record.id)
        self.publish()
        return record

    async def _forget(self, account_id: str) -> None:
        """Delete a name that is no longer used; what stays behind is told, and harms nobody."""
        try:
            await self._vault.delete(account_id)
        except AppError as error:
            _log.error("the file of %s could not be deleted: %s", account_id, error.text)
        self._sealed = tuple(self._vault.held_ids())

    async def remove(self, account_id: str) -> None:
        """Delete an account without a word to its service.

        Raises:
            RequestError: as ``get``, but an account that cannot be read can be removed.
            AppError: the vault cannot delete it.
        """
        account_id = self.current_id(account_id)
        if account_id not in self.sealed_ids():
            account_id = self.get(account_id).id
        async with self._writing:
            await self._vault.delete(account_id)
            self._held.pop(account_id, None)
            self._sealed = tuple(self._vault.held_ids())
        self.publish()


def _rank(record: Record) -> tuple[str, bool, int, float, str]:
    return record.provider, not record.primary, record.order, record.created_at, record.label
