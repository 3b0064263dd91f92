"""One sign-in at one service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.config import CredentialCommand
from app.http import Headers
from app.providers.base import Credential, Provider

__all__ = ["Account"]


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """An account as configured; what happens to it is kept by the roster.

    ``credential`` is None while it has none; ``trouble`` then says why in words for people.
    """

    id: str
    """``provider/label``, unique and stable."""
    provider: Provider
    label: str
    base_url: str
    credential: Credential | None = None
    headers: Headers = field(default=())
    proxy: str | None = None
    """Proxy URL for this account; None for the general one."""
    enabled: bool = True
    models: Mapping[str, str] | None = None
    """Public name to upstream name; None: whatever the service lists, and any name it knows."""
    trouble: str = ""
    order: int = 0
    """Lower is tried first among equals."""
    command: CredentialCommand | None = None
    """Prints the credential, which then is none of the settings'."""
    paused: bool = False
    """The user wants it left alone for now."""

    def __repr__(self) -> str:
        return f"Account({self.id!r}, enabled={self.enabled})"

    @property
    def ready(self) -> bool:
        """Whether it can be called at all, its health aside."""
        return self.enabled and not self.paused and not self.trouble
