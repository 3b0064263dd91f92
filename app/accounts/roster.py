"""What happens to accounts: who is cooling, why, and until when. The one owner of that state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from app.accounts.account import Account

__all__ = ["AccountState", "Health", "Roster"]

_MOST_PAUSES = 4_096
"""Names of models come from clients; what they can fill is bounded."""

Health: TypeAlias = Literal["ready", "cooling", "refused", "unusable", "disabled"]


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account's health at one moment, for planning, status and error texts."""

    health: Health
    reason: str = ""
    """Why it cannot serve, in words for people; empty when ready."""
    until: float | None = None
    """Epoch seconds at which it is tried again; None: not before someone acts."""
    soft: bool = False
    """It is only left alone because it failed a moment ago: better than nobody."""
    since: float | None = field(default=None, compare=False)
    """Epoch seconds at which it became so; None for ready, and where nobody noted it."""


_READY = AccountState("ready")


@dataclass(slots=True)
class _Pause:
    until: float
    reason: str
    level: int
    refused: bool = False
    soft: bool = False
    since: float | None = None


class Roster:
    """Accounts by id, with the pauses of each account and of each model on it.

    State per (account, model) and per whole account: ready → paused (``pause``) → ready again
    when the time has passed. ``succeeded`` forgets the pauses and the level of repetition, but no
    refusal by the provider: an answer that was under way when it came says nothing against it.
    ``replace`` swaps the accounts after a reload and keeps the state of those that stay.
    """

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._accounts: dict[str, Account] = {}
        self._pauses: dict[tuple[str, str], _Pause] = {}
        self._stopped: dict[str, float] = {}
        """When accounts became such that they cannot be called at all."""
        self.barred: Callable[[str], tuple[str, float] | None] | None = None
        """Says of a provider (id) why the user lets none of its accounts be called now, and until
        when, in epoch seconds: a budget that is used up."""
        self.replace(accounts)

    def replace(self, accounts: Iterable[Account], now: float | None = None) -> None:
        """Take a new set of accounts; what stands against one that calls otherwise is forgotten.

        Args:
            accounts: all of them.
            now: epoch seconds, from which on they are so; None where nobody knows.
        """
        fresh = {account.id: account for account in accounts}
        self._stopped = {
            account.id: since
            for account in fresh.values()
            if not account.ready and (since := self._since(account, now)) is not None
        }
        for key in list(self._pauses):
            old, new = self._accounts.get(key[0]), fresh.get(key[0])
            if new is None or old is None or _way(old) != _way(new):
                del self._pauses[key]
        self._accounts = fresh

    def _since(self, account: Account, now: float | None) -> float | None:
        old = self._accounts.get(account.id)
        same = old is not None and _hindrance(old) == _hindrance(account)
        return self._stopped.get(account.id, now) if same else now

    def accounts(self) -> tuple[Account, ...]:
        """Return every account in the order of the settings."""
        return tuple(self._accounts.values())

    def get(self, account_id: str) -> Account | None:
        """Return one account."""
        return self._accounts.get(account_id)

    def state(self, account: Account, model: str, now: float) -> AccountState:
        """Return whether an account can serve a model (the upstream's name) now."""
        if not account.ready:
            since = self._stopped.get(account.id)
            if not account.enabled:
                return AccountState("disabled", "switched off in the settings", since=since)
            if account.paused:
                return AccountState("disabled", "paused by you", since=since)
            return AccountState("unusable", account.trouble, since=since)
        barred = None if self.barred is None else self.barred(account.provider.id)
        if barred is not None:
            return AccountState("cooling", *barred)
        if not self._pauses:
            return _READY
        found = (self._pauses.get(key) for key in ((account.id, ""), (account.id, model)))
        running = [pause for pause in found if pause is not None and pause.until > now]
        if not running:
            return _READY
        worst = max(running, key=lambda pause: (pause.refused, pause.until))
        if worst.refused:
            return AccountState("refused", worst.reason, since=worst.since)
        soft = all(pause.soft for pause in running)
        return AccountState("cooling", worst.reason, worst.until, soft, worst.since)

    def overall(self, account: Account, now: float) -> AccountState:
        """Return the account's state as a whole, for status."""
        return self.state(account, "", now)

    def resting(self, account_id: str, now: float) -> tuple[tuple[str, AccountState], ...]:
        """Return the models that an account leaves alone although it serves others, by name."""
        found = (
            (model, AccountState("cooling", one.reason, one.until, one.soft, one.since))
            if not one.refused
            else (model, AccountState("refused", one.reason, since=one.since))
            for (held, model), one in self._pauses.items()
            if held == account_id and model and one.until > now
        )
        return tuple(sorted(found, key=lambda pair: pair[0]))

    def level(self, account_id: str, model: str) -> int:
        """Return how many pauses in a row there were without a success."""
        pause = self._pauses.get((account_id, model)) or self._pauses.get((account_id, ""))
        return 0 if pause is None else pause.level

    def pause(
        self,
        account_id: str,
        model: str | None,
        seconds: float,
        reason: str,
        now: float,
        *,
        refused: bool = False,
        soft: bool = False,
    ) -> bool:
        """Leave an account, or one model on it, alone for a time; say whether that is news.

        A pause that is running is lengthened, never shortened, and its level rises only when a
        new one begins, so that a burst of parallel failures counts once. ``refused`` holds until
        somebody acts, ``soft`` says that nothing is known against the account but a failure.
        """
        key = (account_id, model or "")
        old = self._pauses.get(key)
        until = now + seconds
        if old is not None and old.until > now:
            if (refused, until) > (old.refused, old.until):
                old.reason = reason
            old.until = max(old.until, until)
            old.refused = old.refused or refused
            old.soft = old.soft and soft
            return False
        level = 1 if old is None else old.level + 1
        self._pauses[key] = _Pause(until, reason, level, refused, soft, now)
        if len(self._pauses) > _MOST_PAUSES:
            self._forget(now)
        return True

    def succeeded(self, account_id: str, model: str) -> None:
        """Forget what stood against an account and model that just answered."""
        for key in ((account_id, model), (account_id, "")):
            pause = self._pauses.get(key)
            if pause is not None and not pause.refused:
                del self._pauses[key]

    def rename(self, old_id: str, new_id: str) -> None:
        """Let what stands against an account go on under its new id, before ``replace``."""
        account = self._accounts.pop(old_id, None)
        if account is not None:
            self._accounts[new_id] = account
        if old_id in self._stopped:
            self._stopped[new_id] = self._stopped.pop(old_id)
        for key in [key for key in self._pauses if key[0] == old_id]:
            self._pauses[new_id, key[1]] = self._pauses.pop(key)

    def forget(self, account_id: str) -> None:
        """Forget all that stands against an account, refusals too: somebody has acted."""
        for key in [key for key in self._pauses if key[0] == account_id]:
            del self._pauses[key]

    def _forget(self, now: float) -> None:
        for key in [key for key, pause in self._pauses.items() if pause.until <= now]:
            del self._pauses[key]
        running = {key: pause.until for key, pause in self._pauses.items() if not pause.refused}
        if len(self._pauses) > _MOST_PAUSES and running:
            del self._pauses[min(running, key=running.__getitem__)]


def _hindrance(account: Account) -> tuple[object, ...]:
    return account.enabled, account.paused, account.trouble


def _way(account: Account) -> tuple[object, ...]:
    credential = account.credential
    # A renewed token is the same sign-in: what the service said of the account still holds.
    secret = credential.secret if credential is not None and credential.kind != "oauth" else ""
    return secret, account.base_url, account.headers, account.proxy
