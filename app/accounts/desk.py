"""All that has to do with accounts, put together once: book, renewals, sign-ins.

``service`` builds one desk and hands it to the routes; everything below it is given the means of
this process here (clock, randomness, timers) and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.accounts.account import Account
from app.accounts.admission import Admitted, Wanted
from app.accounts.book import AccountBook, Vault
from app.accounts.flow import Flow, Listeners, Timer, agreed
from app.accounts.held import Need
from app.accounts.imports import Found
from app.accounts.login import Logins
from app.accounts.logout import log_out
from app.accounts.manner import Manner
from app.accounts.record import Record
from app.accounts.refresh import Refresher, can_renew
from app.accounts.roster import Health, Roster
from app.accounts.steps import Driver
from app.accounts.vaultstate import VaultState
from app.errors import AppError, RequestError
from app.http import Send
from app.log import cut
from app.providers.base import Provider
from app.providers.signin import Granted
from app.tasks import spawn

__all__ = ["AccountView", "Desk", "ModelRest", "OpenedVault"]

_log = logging.getLogger("dragoman.accounts")


class OpenedVault(Vault, Protocol):
    """A vault that can be opened."""

    @property
    def state(self) -> VaultState:
        """Return whether sign-ins can be kept."""
        ...

    async def open(self, *, memory_only: bool = False) -> VaultState:
        """Look for the key, or keep nothing from now on; may be called again."""
        ...

    async def answered(self) -> VaultState:
        """Wait for a keyring that was too slow."""
        ...

    async def close(self) -> None:
        """Let go of the vault."""
        ...


@dataclass(frozen=True, slots=True)
class ModelRest:
    """One model that an account leaves alone although it serves others."""

    model: str
    """The service's name of it."""
    state: Health
    reason: str
    until: float | None
    """Epoch seconds, as is the next; None: not before somebody acts."""
    since: float | None


@dataclass(frozen=True, slots=True)
class AccountView:
    """One account as people see it; times in epoch seconds, 0 or None where there is none."""

    id: str
    provider: str
    title: str
    """The service's name."""
    label: str
    state: Health
    reason: str
    """Why it cannot serve; empty when it can."""
    until: float | None
    since: float | None
    """When it became so."""
    configured: bool
    """Written in the settings; else it was signed in to."""
    need: Need = ""
    """What a person has to do while it is ``unusable``."""
    resting: tuple[ModelRest, ...] = ()
    """Models that it leaves alone for a time."""
    name: str = ""
    plan: str = ""
    organization: str = ""
    way: str = ""
    primary: bool = False
    paused: bool = False
    order: int = 0
    created_at: float = 0.0
    consented_at: float = 0.0
    expires_at: float | None = None
    """End of the present token, which is renewed before."""
    renewable: bool = False
    renewed_at: float = 0.0
    renewing: bool = False
    next_renewal_at: float | None = None
    warning: str = ""
    """What is wrong although it serves: a renewal that failed, a sign-in that is not stored."""
    warning_since: float = 0.0


def _unchanged() -> None:
    return None


def _tell_nobody(_account_id: str, _text: str) -> None:
    return None


def _jitter() -> float:
    """Return a number from -1 to 1."""
    return secrets.randbelow(2_001) / 1_000 - 1


def _call_later(delay_s: float, call: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, call)


class Desk:
    """Owns the accounts of one running program.

    Args:
        vault: keeps the records; closed by ``close``.
        roster: is given all accounts, those of the settings too.
        providers: every service that can be signed in to, by id.
        send: sends one request.
        listeners: opens callback ports; None where codes are always pasted.
        changed: called after each change of the accounts in force.
        tell: is given an account's id and what is wrong with it, for a notification.
    """

    def __init__(
        self,
        vault: OpenedVault,
        roster: Roster,
        providers: Mapping[str, Provider],
        send: Send,
        *,
        listeners: Listeners | None = None,
        changed: Callable[[], None] = _unchanged,
        tell: Callable[[str, str], None] = _tell_nobody,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = _jitter,
        random: Callable[[int], bytes] = secrets.token_bytes,
        call_later: Callable[[float, Callable[[], None]], Timer] = _call_later,
    ) -> None:
        self._vault = vault
        self._roster = roster
        self._now = now
        self.driver = Driver(send, now, sleep)
        self.book = AccountBook(vault, roster, providers, now, changed)
        self.refresher = Refresher(self.book, self.driver, now, monotonic, jitter, call_later, tell)
        self.book.renamed = self.refresher.renamed
        self.logins = Logins(
            self.book,
            self.driver,
            now,
            listeners=listeners,
            signed_in=self._signed_in,
            random=random,
            call_later=call_later,
        )
        self._late: asyncio.Task[None] | None = None

    # --- life ------------------------------------------------------------------------------------

    def configure(
        self, accounts: Sequence[Account], manners: Mapping[str, Manner] | None = None
    ) -> None:
        """Take the accounts of the settings; those that are kept stand beside them.

        Args:
            accounts: as written there.
            manners: how those that are kept are called, by provider.
        """
        self.book.configure(accounts, manners)

    async def open(self, *, memory_only: bool = False) -> None:
        """Open the vault and put its accounts in force; safe to call again. Never raises.

        A keyring may take its time, and may ask the user; run this after the port listens.

        Args:
            memory_only: keep new sign-ins until the program ends, where the vault stays shut.
        """
        try:
            self.book.show_sealed()
            state = await self._vault.open()
            if memory_only and not state.usable:
                state = await self._vault.open(memory_only=True)
        except AppError as error:
            _log.error("the vault cannot be opened: %s", error.text)
            return
        await self._load()
        if state.name == "slow" and (self._late is None or self._late.done()):
            self._late = spawn(self._wait_for_keyring(), "keyring")

    async def _wait_for_keyring(self) -> None:
        await self._vault.answered()
        await self._load()

    async def _load(self) -> None:
        await self.book.load()
        self.refresher.arm()

    async def close(self, grace_s: float = 10.0) -> None:
        """Let renewals and sign-ins that run come to their end, then let go of the vault.

        Call it while requests can still be sent, and before tasks are cancelled.
        """
        if self._late is not None:
            self._late.cancel()
        await asyncio.gather(self.logins.close(grace_s), self.refresher.close(grace_s))
        await self._vault.close()

    def _signed_in(self, account_id: str) -> None:
        self._roster.forget(account_id)
        self.refresher.signed_in(account_id)

    # --- what routes ask -------------------------------------------------------------------------

    def now(self) -> float:
        """Return the time in epoch seconds."""
        return self._now()

    def vault_state(self) -> VaultState:
        """Return whether sign-ins can be kept."""
        return self._vault.state

    async def start(
        self,
        provider: str,
        way: str | None = None,
        *,
        account: str | None = None,
        label: str | None = None,
        consent: str = "",
        host: str = "",
        memory_only: bool = False,
    ) -> Flow:
        """Begin a sign-in; a vault that is shut is tried once more first.

        Args:
            provider: as the others, for ``Logins.start``.
            way: see there.
            account: see there.
            label: see there.
            consent: see there.
            host: see there.
            memory_only: where the vault stays shut, keep the sign-in until the program ends.

        Raises:
            AppError: as ``Logins.start``.
        """
        if self.book.vault_trouble():
            await self.open(memory_only=memory_only)
        return await self.logins.start(
            provider, way, account=account, label=label, consent=consent, host=host
        )

    async def take(
        self, found: Found, *, label: str | None = None, consent: str = ""
    ) -> tuple[AccountView, bool]:
        """Take over a sign-in of another program; of an account that is there, it repairs that.

        Args:
            found: what the user chose.
            label: of a new account.
            consent: version of the text that the user has just agreed to.

        Returns:
            The account, and whether it was there before.

        Raises:
            ConsentNeeded: 409; the provider's text must be agreed to first.
            RequestError: ``not_importable``, ``invalid_label`` or 409 ``label_taken``.
            AccountError: ``vault_unusable``: there is nowhere to keep it.
            AppError: the vault cannot store it.
        """
        provider = self.book.providers.get(found.provider)
        if found.credential is None or provider is None:
            raise RequestError(
                found.refusal or "Dragoman has no accounts of this kind.", code="not_importable"
            )
        if self.book.vault_trouble():
            await self.open()
        self.book.require_vault()
        known = self.book.twin(provider.id, found.identity) or self._holder(found)
        version, agreed_at = agreed(provider, known, consent, self._now())
        record = found.record(
            self.book.free_label(provider.id, label) if label else "", self._now(), consent=version
        )
        wanted = Wanted(
            record.provider,
            record.way,
            "" if known is None else known.id,
            record.label,
            record.host,
            version,
            agreed_at,
        )
        outcome = await self.logins.admission.admit(
            wanted, Granted(record.credential, record.identity), confirmed=True
        )
        assert isinstance(outcome, Admitted)  # noqa: S101 - only what is not confirmed is put aside
        kept = outcome.record
        self._signed_in(kept.id)
        _log.info("the sign-in of %s was taken over from %s", kept.id, found.program)
        return self.view(kept.id), outcome.repaired

    def _holder(self, found: Found) -> Record | None:
        """Return the account that has the very sign-in already, where nothing tells whose it is."""
        secrets_found = () if found.credential is None else found.credential.secrets
        for record in self.book.records():
            if record.provider == found.provider and set(secrets_found) & set(
                record.credential.secrets
            ):
                return record
        return None

    def choose(self, provider_id: str, name: str) -> str:
        """Return the id of the signed-in account that is meant; also of one that cannot be read.

        Args:
            provider_id: its service.
            name: id, label or name at the service; empty for the only one.

        Raises:
            RequestError: 404 ``unknown_account``; 400 ``account_needed``.
        """
        prefix = f"{provider_id}/"
        ids = [record.id for record in self.book.records() if record.provider == provider_id]
        ids += [held for held in self.book.sealed_ids() if held.startswith(prefix)]
        if name:
            record = self.book.choose(provider_id, name)
            if record is not None:
                return record.id
            if name in ids or prefix + name in ids:
                return name if name in ids else prefix + name
        elif len(ids) == 1:
            return ids[0]
        elif ids:
            labels = ", ".join(held.removeprefix(prefix) for held in ids)
            raise RequestError(
                f"There are several accounts: {labels}.",
                hint="Say which: `?account=LABEL`.",
                code="account_needed",
            )
        raise RequestError(
            "There is no such signed-in account.",
            hint="`dragoman accounts` lists them.",
            status=404,
            code="unknown_account",
        )

    async def logout(self, account_id: str) -> str:
        """Revoke and delete a sign-in, and return what was done; see ``log_out``."""
        said = await log_out(self.book, self.driver, account_id)
        self.refresher.arm()
        _log.info("%s", said)
        return said

    async def refresh(self, account_id: str) -> AccountView:
        """Renew a sign-in now; see ``Refresher.renew``."""
        record = await self.refresher.renew(account_id)
        return self.view(record.id)

    def view(self, account_id: str) -> AccountView:
        """Return one account.

        Raises:
            RequestError: 404 ``unknown_account``.
        """
        account_id = self.book.current_id(account_id)
        for view in self.views():
            if view.id == account_id:
                return view
        raise RequestError(
            f"There is no account {account_id!r}.",
            hint="`dragoman accounts` lists them.",
            status=404,
            code="unknown_account",
        )

    def warning(self, account_id: str) -> str:
        """Return what is wrong with a signed-in account although it serves; empty for nothing."""
        record = None if self.book.is_configured(account_id) else self.book.find(account_id)
        if record is None:
            return ""
        renewal = self.refresher.renewal(record.id)
        return self._warning(record.id, renewal.error, renewal.error_at)[0]

    def views(self) -> list[AccountView]:
        """Return all accounts but the demo's, in the order of the roster."""
        now = self._now()
        accounts = self._roster.accounts()
        return [self._view(account, now) for account in accounts if not account.provider.demo]

    def _view(self, account: Account, now: float) -> AccountView:
        state = self._roster.overall(account, now)
        record = None if self.book.is_configured(account.id) else self.book.find(account.id)
        told = {
            "id": account.id,
            "provider": account.provider.id,
            "title": account.provider.title,
            "label": account.label,
            "state": state.health,
            "reason": state.reason,
            "until": state.until,
            "since": state.since,
            "configured": self.book.is_configured(account.id),
            "order": account.order,
            "resting": tuple(
                ModelRest(model, rest.health, rest.reason, rest.until, rest.since)
                for model, rest in self._roster.resting(account.id, now)
            ),
        }
        if state.health == "unusable" and not told["configured"]:
            told["need"] = self.book.need(account.id)
        if record is None:
            return AccountView(**told)  # type: ignore[arg-type] # one field by one above
        renewal = self.refresher.renewal(record.id)
        warning, since = self._warning(record.id, renewal.error, renewal.error_at)
        return AccountView(
            **told,  # type: ignore[arg-type] # one field by one above
            name=record.identity.name,
            plan=record.identity.plan,
            organization=record.identity.organization,
            way=record.way,
            primary=record.primary,
            paused=record.paused,
            created_at=record.created_at,
            consented_at=record.consented_at,
            expires_at=record.credential.expires_at,
            renewable=can_renew(record, account.provider),
            renewed_at=record.renewed_at,
            renewing=renewal.running,
            next_renewal_at=renewal.next_at,
            warning=warning,
            warning_since=since,
        )

    def _warning(self, account_id: str, error: str, error_at: float) -> tuple[str, float]:
        unsaved = self.book.unsaved(account_id)
        if unsaved:
            return (
                f"Its sign-in is not stored, and would be lost when Dragoman stops: {unsaved}",
                error_at,
            )
        if error:
            return f"It could not be renewed: {cut(error)}", error_at
        return self.book.vault_trouble(account_id), 0.0
