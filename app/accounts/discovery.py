"""Which models each account's service lists. The one owner of that knowledge."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from app.accounts.account import Account
from app.canonical.parts import DialectName
from app.dialects.base import Dialect
from app.errors import AppError, UpstreamError
from app.http import HttpReply, HttpRequest, Limits
from app.providers.base import ModelFacts
from app.tasks import spawn

__all__ = ["Discovery"]

_log = logging.getLogger("dragoman.accounts")

_TROUBLE_COOL_S = 5.0
"""A list that could not be read may be there by now: a local server is started when it is needed."""
_LIMITS = Limits(connect_s=10.0, first_byte_s=20.0, idle_s=20.0, total_s=30.0)


class Discovery:
    """Reads model lists.

    An account whose list cannot be read keeps the list that it had, or what the provider knows
    without asking. Of several that want an account's list at once one asks, and all get its answer.

    Args:
        fetch: sends a request and returns the whole answer.
        fresh: gives an account a credential that is good now.
        dialects: read the errors of services.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        fetch: Callable[[HttpRequest, Limits], Awaitable[HttpReply]],
        fresh: Callable[[Account], Awaitable[Account]],
        dialects: Mapping[DialectName, Dialect],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._asked_at: dict[str, float] = {}
        self._running: dict[str, tuple[Account, asyncio.Task[None]]] = {}
        self._fetch = fetch
        self._fresh = fresh
        self._dialects = dialects
        self._listed: dict[str, dict[str, ModelFacts]] = {}
        self._troubles: dict[str, str] = {}

    def listed(self, accounts: Iterable[Account]) -> dict[str, dict[str, ModelFacts]]:
        """Return account id to upstream model to its facts, for accounts of which any are known."""
        found: dict[str, dict[str, ModelFacts]] = {}
        for account in accounts:
            rows = self._listed.get(account.id)
            known = account.provider.known_models
            if rows is None and known is not None:
                rows = {facts.id: facts for facts in known(account.credential)}
            if rows is not None:
                found[account.id] = rows
        return found

    def trouble(self, account_id: str) -> str:
        """Return why an account's list could not be read; empty when it could."""
        return self._troubles.get(account_id, "")

    def begin_anew(self, accounts: Iterable[Account]) -> None:
        """Forget accounts that are gone, and every trouble: the settings have changed."""
        ids = {account.id for account in accounts}
        self._listed = {key: rows for key, rows in self._listed.items() if key in ids}
        self._troubles = {}
        self._asked_at = {}

    async def read(self, accounts: Iterable[Account], *, unless_within_s: float = 0.0) -> None:
        """Read the lists of all accounts that can be called and have none written down.

        Args:
            accounts: whose lists are wanted.
            unless_within_s: accounts whose list was read so many seconds ago or less are left alone.
        """
        tasks = [self._task(account) for account in self.due(accounts, unless_within_s)]
        # Whoever waits may leave; the others want the answer still.
        await asyncio.gather(*(asyncio.shield(task) for task in tasks))

    def due(self, accounts: Iterable[Account], unless_within_s: float) -> list[Account]:
        """Return the accounts that ``read`` would ask, or is asking."""
        return [
            account
            for account in accounts
            if _has_list(account) and not self._was_asked(account, unless_within_s)
        ]

    def _was_asked(self, account: Account, within_s: float) -> bool:
        at = self._asked_at.get(account.id)
        if at is None or not within_s or account.id in self._running:
            return False
        if account.id in self._troubles:
            within_s = min(within_s, _TROUBLE_COOL_S)
        return self._clock() - at < within_s

    def _task(self, account: Account) -> asyncio.Task[None]:
        """Return what reads an account's list now, begun here or before."""
        running = self._running.get(account.id)
        if running is not None and running[0] == account:
            return running[1]
        self._asked_at[account.id] = self._clock()
        task = spawn(self._read(account), f"models of {account.id}")
        self._running[account.id] = (account, task)

        def ended(done: asyncio.Task[None]) -> None:
            current = self._running.get(account.id)
            if current is not None and current[1] is done:
                del self._running[account.id]

        task.add_done_callback(ended)
        return task

    async def _read(self, account: Account) -> None:
        provider = account.provider
        dialect = provider.dialects[0]
        try:
            account = await self._fresh(account)
            request = provider.prepare(
                provider.list_models(account.base_url, account.credential),
                account.credential,
                dialect,
                (),
                account.headers,
            )
            if account.proxy is not None:
                request = HttpRequest(
                    request.method, request.url, request.headers, request.body, account.proxy
                )
            reply = await self._fetch(request, _LIMITS)
            if reply.status != 200:
                failure = self._dialects[dialect].decode_failure(
                    reply.status, reply.headers, reply.body
                )
                raise UpstreamError(failure.message)
            rows = provider.parse_models(reply)
        except AppError as error:
            self._troubles[account.id] = error.message
            _log.warning("the models of %s are not known: %s", account.id, error.message)
            return
        self._troubles.pop(account.id, None)
        self._listed[account.id] = {row.id: row for row in rows}


def _has_list(account: Account) -> bool:
    provider = account.provider
    return account.ready and account.models is None and not provider.demo and _asks(account)


def _asks(account: Account) -> bool:
    return bool(account.provider.models_path) or account.provider.ask_models is not None
