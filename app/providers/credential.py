"""What proves an account to its service, and who the account is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Credential", "CredentialKind", "Identity"]

CredentialKind: TypeAlias = Literal["api_key", "oauth", "none"]


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """What proves an account to its service; no secret ever shows in ``repr``."""

    secret: str
    """What goes with calls: the key, or the access token."""
    kind: CredentialKind = "api_key"
    expires_at: float | None = None
    """Epoch seconds UTC at which ``secret`` ends; None when it does not, or nobody knows."""
    renewal: str = ""
    """What a new ``secret`` is made from: a refresh token, a long-lived sign-in token, a cookie.
    Often good for one use only. Empty when there is none."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else the service needs with each call and is no secret of its own (``account_id``,
    ``api`` for the address that belongs to the account, ``session_id`` …)."""
    obtained_at: float = 0.0
    """Epoch seconds UTC at which the service gave it out; 0 when nobody knows."""

    def __repr__(self) -> str:
        return f"Credential(kind={self.kind!r}, expires_at={self.expires_at!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything in it that must not be shown, for redaction."""
        return tuple(text for text in (self.secret, self.renewal) if text)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an account is at its service; shown in menu and dashboard only."""

    id: str
    """The service's stable id of account and workspace; empty when it tells none."""
    name: str = ""
    """E-mail address or login name, for people."""
    plan: str = ""
    """The service's word for the plan (``max``, ``plus``, ``business``)."""
    organization: str = ""
