"""Client keys as values: how they look, what they allow, and the index that the guard asks.

A key is ``dg-`` and 32 random characters of base62 (190 bits); only its SHA-256 is ever stored.
A slow hash would add nothing: the secret is random, not chosen by a person.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["KEY_PREFIX", "KeyIndex", "KeyKind", "KeyRecord", "hash_key", "new_key"]

KEY_PREFIX = "dg-"
"""Begins every key; a secret on a request that begins otherwise is not one of ours."""

KeyKind: TypeAlias = Literal["client", "admin", "relay"]
"""``client``: inference; ``admin``: control routes, too; ``relay``: the relay socket alone."""

_BASE62 = string.digits + string.ascii_letters


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key, without its secret. Scopes that are None allow everything."""

    id: str
    """Twelve hexadecimal digits; safe to show."""
    label: str
    kind: KeyKind
    sha256: str
    """SHA-256 of the whole key in lower-case hexadecimal."""
    created_at: float
    """Epoch seconds, as are the two below."""
    expires_at: float | None = None
    revoked_at: float | None = None
    providers: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    accounts: tuple[str, ...] | None = None

    def state(self, now: float) -> Literal["active", "expired", "revoked"]:
        """Say whether the key may be used at ``now`` (epoch seconds), and if not, why."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active"


class KeyIndex:
    """Every known key by its hash, in memory, so that a request never waits for the database.

    Revoked and expired keys are in it: a caller is told which of the two its key is. ``replace``
    swaps the whole table, so that readers on other threads see the old one or the new one.
    """

    def __init__(self, records: Iterable[KeyRecord] = ()) -> None:
        self._by_hash = {record.sha256: record for record in records}

    def __len__(self) -> int:
        return len(self._by_hash)

    def find(self, sha256_hex: str) -> KeyRecord | None:
        """Return the key with this hash (lower-case hexadecimal), or None."""
        return self._by_hash.get(sha256_hex)

    def any_active(self, now: float) -> bool:
        """Say whether any key may be used; a non-loopback address needs one to start."""
        return any(record.state(now) == "active" for record in self._by_hash.values())

    def replace(self, records: Iterable[KeyRecord]) -> None:
        """Take these records for all that there are."""
        self._by_hash = {record.sha256: record for record in records}


def hash_key(plain: str) -> str:
    """Return the SHA-256 of a key in lower-case hexadecimal."""
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def new_key() -> str:
    """Return a fresh random key."""
    return KEY_PREFIX + "".join(secrets.choice(_BASE62) for _ in range(32))
