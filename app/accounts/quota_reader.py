"""Where ``Quotas`` learns from: the heads of ordinary answers, and a usage call now and then.

The heads cost nothing, so they are preferred; services limit the usage calls themselves. An
account is asked when nothing is known of it yet, and after that only when it was used since, not
more often than every ten minutes by itself and every minute for a person who looks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from app.accounts.account import Account
from app.accounts.quota import Quotas
from app.accounts.steps import Driver, Reach
from app.errors import AppError
from app.http import Headers

__all__ = ["QuotaReader"]

_log = logging.getLogger("dragoman.accounts")

_LIMIT_S = 60.0
_BY_ITSELF_S = 600.0
_FOR_PEOPLE_S = 60.0
_AFTER_FAILURE_S = 900.0


class QuotaReader:
    """Reads what is left of accounts.

    Args:
        quotas: takes what is read.
        driver: runs the usage calls.
        fresh: gives an account a credential that is good now.
        now: epoch seconds UTC.
    """

    def __init__(
        self,
        quotas: Quotas,
        driver: Driver,
        fresh: Callable[[Account], Awaitable[Account]],
        now: Callable[[], float],
    ) -> None:
        self._quotas = quotas
        self._driver = driver
        self._fresh = fresh
        self._now = now
        self._asked_at: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._used: set[str] = set()
        self._troubles: dict[str, str] = {}

    def notice(self, account: Account, headers: Headers) -> None:
        """Look at the head of an answer."""
        self._used.add(account.id)
        read = account.provider.read_quota
        if read is not None and (quota := read(headers, self._now())) is not None:
            self._quotas.note(account.id, quota)

    def trouble(self, account_id: str) -> str:
        """Return why the last usage call failed; empty when it did not."""
        return self._troubles.get(account_id, "")

    def forget(self, account_id: str) -> None:
        """Drop what is known of an account that is gone, or is another one now."""
        self._quotas.forget(account_id)
        self._used.discard(account_id)
        for table in (self._asked_at, self._not_before, self._troubles):
            table.pop(account_id, None)

    async def read(self, accounts: Iterable[Account], *, for_people: bool = False) -> None:
        """Ask those accounts that can be asked and are due.

        Args:
            accounts: all that may be asked.
            for_people: somebody looks at the numbers now.
        """
        due = [account for account in accounts if self._is_due(account, for_people)]
        await asyncio.gather(*(self._read(account) for account in due))

    def _is_due(self, account: Account, for_people: bool) -> bool:
        if account.provider.quota_steps is None or not account.ready:
            return False
        now = self._now()
        if now < self._not_before.get(account.id, now):
            return False
        asked_at = self._asked_at.get(account.id)
        if asked_at is None:
            return True
        if for_people:
            return now - asked_at >= _FOR_PEOPLE_S
        return account.id in self._used and now - asked_at >= _BY_ITSELF_S

    async def _read(self, account: Account) -> None:
        self._asked_at[account.id] = self._now()
        self._used.discard(account.id)
        provider = account.provider
        try:
            account = await self._fresh(account)
            if provider.quota_steps is None or account.credential is None:
                return
            quota = await self._driver.run(
                provider.quota_steps(account.credential),
                reach_of(account),
                limit_s=_LIMIT_S,
                proxy=account.proxy,
            )
        except AppError as error:
            wait_s = max(_AFTER_FAILURE_S, error.retry_after_s or 0.0)
            self._not_before[account.id] = self._now() + wait_s
            self._troubles[account.id] = error.message
            _log.info("what is left of %s is not known: %s", account.id, error.message)
            return
        self._troubles.pop(account.id, None)
        self._quotas.note(account.id, quota)


def reach_of(account: Account) -> Reach:
    """Return where the steps of a signed-in account may send to."""
    facts = {} if account.credential is None else account.credential.facts
    base_url = "" if account.base_url == account.provider.base_url else account.base_url
    return Reach.of(account.provider, base_url, facts.get("host", ""))
