"""Which account a sign-in becomes: a new one, one that is repaired in place, or none yet.

What was granted is compared with the accounts there are. An account that is signed in to again is
repaired under its label. A sign-in that was to repair one account and turns out to be of another is
put aside until somebody confirms it. One at a time: two sign-ins of one person must not make two
accounts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.accounts.book import AccountBook
from app.accounts.identity import known_identity, same_identity
from app.accounts.record import Record
from app.providers.credential import Identity
from app.providers.signin import Granted

__all__ = ["Admission", "Admitted", "Aside", "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was wanted of a sign-in before anybody knew whose it would be."""

    provider: str
    way: str
    account: str = ""
    """Id of the account to repair; empty for whoever signs in."""
    label: str = ""
    """Of a new account; empty for the next free one."""
    host: str = ""
    consent: str = ""
    consented_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The account that a sign-in has become."""

    record: Record
    repaired: bool
    """It was there before."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A sign-in of somebody else than the account that was to be repaired; nothing has changed."""

    message: str
    """Who it is, whose account it is, and what may be done, for people."""


class Admission:
    """Stores what was granted.

    Args:
        book: takes the records.
        now: epoch seconds.
    """

    def __init__(self, book: AccountBook, now: Callable[[], float]) -> None:
        self._book = book
        self._now = now
        self._one = asyncio.Lock()

    async def admit(
        self, wanted: Wanted, granted: Granted, *, confirmed: bool = False
    ) -> Admitted | Aside:
        """Store a sign-in as a new account, or in the place of an old one.

        Args:
            wanted: what the sign-in was begun for.
            granted: what came of it.
            confirmed: another identity than that of the account to repair was accepted. One that
                has an account of its own repairs that one instead.

        Raises:
            AppError: the vault cannot store it; nothing has changed then.
        """
        async with self._one:
            target = self._book.find(wanted.account) if wanted.account else None
            twin = self._book.twin(wanted.provider, granted.identity)
            if target is not None and not confirmed and _differs(target.identity, granted.identity):
                return _aside(granted.identity, target, twin)
            if target is None or (confirmed and twin is not None):
                target = twin
            if target is None:
                return Admitted(await self._book.put(self._new(wanted, granted)), repaired=False)
            return Admitted(await self._repair(wanted, granted, target), repaired=True)

    def _new(self, wanted: Wanted, granted: Granted) -> Record:
        label = wanted.label
        if not label or not self._book.is_free(f"{wanted.provider}/{label}"):
            label = self._book.next_label(wanted.provider)
        orders = [r.order for r in self._book.records() if r.provider == wanted.provider]
        return Record(
            provider=wanted.provider,
            label=label,
            credential=granted.credential,
            identity=granted.identity,
            way=wanted.way,
            created_at=self._now(),
            consent=wanted.consent,
            consented_at=wanted.consented_at,
            order=max(orders, default=-1) + 1,
            host=wanted.host,
        )

    async def _repair(self, wanted: Wanted, granted: Granted, target: Record) -> Record:
        async with self._book.exclusive(target.id) as old:
            return await self._book.put(
                replace(
                    old,
                    credential=granted.credential,
                    identity=granted.identity if known_identity(granted.identity) else old.identity,
                    way=wanted.way,
                    consent=wanted.consent or old.consent,
                    consented_at=wanted.consented_at or old.consented_at,
                    host=wanted.host,
                    renewed_at=0.0,
                )
            )


def _differs(old: Identity, new: Identity) -> bool:
    """Say whether two sign-ins are known to be of different accounts."""
    return known_identity(old) and known_identity(new) and not same_identity(old, new)


def _aside(identity: Identity, target: Record, twin: Record | None) -> Aside:
    who = identity.name or "somebody else"
    owner = f"{target.label} ({target.identity.name})" if target.identity.name else target.label
    then = f"repair {twin.label}, which is theirs" if twin else f"make {target.label} theirs"
    return Aside(
        f"You signed in as {who}, but wanted to repair {owner}. Nothing was changed. "
        f"Confirm to {then}, or cancel and sign in as the right person."
    )
