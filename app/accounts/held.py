"""One signed-in account while the program runs: its record, its troubles, and how it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from app.accounts.account import Account
from app.accounts.manner import Manner
from app.accounts.record import Record
from app.providers.base import Provider

__all__ = ["LOST", "Held", "Need", "sealed_account"]

Need: TypeAlias = Literal["", "sign_in", "consent", "vault"]
"""What a person has to do for an account: sign in again, agree to its terms, open the vault; empty
where none of these is it."""
LOST: Final = frozenset({"damaged", "wrong_key"})
"""Codes of ``Trouble`` for a sign-in that is not coming back by itself."""


@dataclass(slots=True)
class Held:
    """A record with what was found out about it."""

    record: Record
    trouble: str = ""
    """Why it cannot be called; set by whoever found out."""
    need: Need = ""
    """What helps against the trouble."""
    unsaved: str = ""
    """Why its newest version is in memory only."""
    unconfirmed: bool = False
    """Nothing tells yet that its newest version works."""

    def needed(self, provider: Provider | None) -> Need:
        """Return what a person has to do for it."""
        if self.trouble:
            return self.need
        return "" if provider is None or self._agreed(provider) else "consent"

    def account(self, provider: Provider, manner: Manner, order: int) -> Account:
        """Return it as an account in force.

        Args:
            provider: its service.
            manner: how the settings want it called.
            order: lower is tried first.
        """
        record, trouble = self.record, self.trouble
        if not trouble and not self._agreed(provider):
            trouble = (
                f"its terms of use must be agreed to; `dragoman accounts agree {record.label}` "
                "shows them"
            )
        return Account(
            id=record.id,
            provider=provider,
            label=record.label,
            base_url=record.base_url or provider.base_url,
            credential=record.credential if record.credential.secret else None,
            headers=manner.headers,
            proxy=manner.proxy,
            enabled=manner.enabled,
            models=manner.models,
            trouble=trouble or manner.trouble,
            order=order,
            paused=record.paused,
        )

    def _agreed(self, provider: Provider) -> bool:
        """Say whether the text in force was agreed to, where the provider has one."""
        consent = provider.consent
        return consent is None or self.record.consent == consent.version


def sealed_account(
    account_id: str, provider: Provider, manner: Manner, trouble: str, order: int
) -> Account:
    """Return an account that is kept but cannot be read, as one that waits.

    Args:
        account_id: as the vault holds it.
        provider: its service.
        manner: how the settings want it called.
        trouble: why it cannot be read.
        order: lower is tried first.
    """
    return Account(
        account_id,
        provider,
        account_id.partition("/")[2],
        provider.base_url,
        enabled=manner.enabled,
        trouble=trouble,
        order=order,
    )
