"""A signed-in account as the vault keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from app.providers.credential import Credential, Identity

__all__ = ["Record"]


@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """One sign-in with everything about it that outlives the process."""

    provider: str
    """Id of the provider."""
    label: str
    """Unique within the provider; ``claude-1`` unless the user chose another."""
    credential: Credential
    identity: Identity
    way: str
    """The way it was signed in by, a key of ``Provider.sign_ins``, or ``import``."""
    created_at: float
    """Epoch seconds UTC of the first sign-in."""
    consent: str = ""
    """Version of the text that the user agreed to; empty where none is asked for."""
    consented_at: float = 0.0
    primary: bool = False
    """Tried first among the accounts of its provider."""
    paused: bool = False
    order: int = 0
    """Lower is tried first among equals."""
    base_url: str = ""
    """Empty: the provider's."""
    host: str = ""
    """The user's own server, as a host name, where the service has such (GitHub Enterprise)."""
    renewed_at: float = 0.0
    """Epoch seconds UTC of the last renewal; 0 before the first."""

    def __repr__(self) -> str:
        return f"Record({self.id!r})"

    @property
    def id(self) -> str:
        """``provider/label``, as of the account that is made of it."""
        return f"{self.provider}/{self.label}"
