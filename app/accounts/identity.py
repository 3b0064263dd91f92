"""Whether two sign-ins are of one account."""

from __future__ import annotations

from app.providers.credential import Identity

__all__ = ["known_identity", "same_identity"]


def same_identity(one: Identity, other: Identity) -> bool:
    """Say whether two sign-ins are of one account, as far as the service tells who it is."""
    if one.id and other.id:
        return one.id == other.id
    return one.name == other.name


def known_identity(identity: Identity) -> bool:
    """Say whether the service told who an account is."""
    return bool(identity.id or identity.name)
