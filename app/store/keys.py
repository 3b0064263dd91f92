"""Keys at rest: making, listing and revoking them. The secret itself is never stored."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import RowMapping

from app.errors import AppError, RequestError
from app.keys import KEY_PREFIX, KeyIndex, KeyKind, KeyRecord, hash_key, new_key
from app.store.database import Database
from app.store.tables import keys

__all__ = ["Keys"]

_SCOPES = ("providers", "models", "accounts")
_LEAST_PREFIX = 4
"""Letters of an id that are enough to name a key; fewer hit another by accident."""


class Keys:
    """The keys of a database. Each change is put into ``index``, which requests are checked by."""

    def __init__(
        self,
        database: Database,
        index: KeyIndex | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take a migrated database.

        Args:
            database: where the keys are.
            index: what to keep up to date; a new one by default.
            now: the clock, epoch seconds.
        """
        self._database = database
        self._now = now
        self.index = KeyIndex() if index is None else index
        """Every key by its hash; filled by ``load_all``."""

    def create(
        self,
        kind: KeyKind,
        label: str,
        expires_at: float | None = None,
        scopes: Mapping[str, Sequence[str]] | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key and return it with its secret, which cannot be had again.

        Args:
            kind: what the key is for.
            label: a name for people; may be used again.
            expires_at: epoch seconds in the future, or None.
            scopes: allowed names under ``providers``, ``models`` and ``accounts``; what is absent
                is not limited. A relay key takes exactly one account and nothing else.

        Raises:
            RequestError: a value is wrong; ``param`` says which.
            AppError: the database cannot be used.
        """
        now = self._now()
        label = label.strip()
        _check(kind, label, expires_at, scopes or {}, now)
        limits = {name: tuple(names) for name, names in (scopes or {}).items()}
        plain = new_key()
        record = KeyRecord(
            id=secrets.token_hex(6),
            label=label,
            kind=kind,
            sha256=hash_key(plain),
            created_at=now,
            expires_at=expires_at,
            providers=limits.get("providers"),
            models=limits.get("models"),
            accounts=limits.get("accounts"),
        )
        with self._database.write() as connection:
            connection.execute(
                keys.insert().values(
                    id=record.id,
                    label=record.label,
                    kind=record.kind,
                    sha256=record.sha256,
                    created_at=record.created_at,
                    expires_at=record.expires_at,
                    revoked_at=None,
                    scopes=msgspec.json.encode(limits).decode(),
                )
            )
        self.load_all()
        return record, plain

    def list(self) -> tuple[KeyRecord, ...]:
        """Return all keys, oldest first, revoked and expired ones included.

        Raises:
            AppError: the database cannot be used.
        """
        order = (keys.c.created_at, keys.c.id)
        with self._database.read() as connection:
            rows = connection.execute(sqlalchemy.select(keys).order_by(*order)).mappings().all()
        return tuple(_record(row) for row in rows)

    def load_all(self) -> KeyIndex:
        """Fill the index from the database and return it.

        Raises:
            AppError: the database cannot be used; the index then stays as it was.
        """
        self.index.replace(self.list())
        return self.index

    def revoke(self, name: str) -> KeyRecord:
        """Revoke a key from now on; one that is revoked already stays as it is.

        Args:
            name: the id, four or more of its first letters, the label, or the key itself.

        Raises:
            RequestError: ``key_not_found``, or ``key_ambiguous`` when several keys that can still
                be used go by that name.
            AppError: the database cannot be used.
        """
        record = self._named(name.strip())
        if record.revoked_at is None:
            with self._database.write() as connection:
                connection.execute(
                    keys.update()
                    .where(keys.c.id == record.id, keys.c.revoked_at.is_(None))
                    .values(revoked_at=self._now())
                )
        self.load_all()
        found = self.index.find(record.sha256)
        if found is None:  # another program removed it meanwhile
            raise _not_found()
        return found

    def _named(self, name: str) -> KeyRecord:
        records = self.list()
        exact = [record for record in records if record.id == name]
        if not exact and name.startswith(KEY_PREFIX):
            digest = hash_key(name)
            exact = [record for record in records if record.sha256 == digest]
        found = exact or [record for record in records if record.label == name]
        if not found and len(name) >= _LEAST_PREFIX:
            found = [record for record in records if record.id.startswith(name)]
        if not found:
            raise _not_found()
        usable = [record for record in found if record.revoked_at is None]
        if len(usable) > 1:
            raise RequestError(
                "Several keys go by that name.",
                code="key_ambiguous",
                status=409,
                hint=f"Use one of the ids: {', '.join(record.id for record in usable)}.",
            )
        return (usable or found)[0]


def _not_found() -> AppError:
    # The name is not repeated: it may be a whole key.
    return RequestError(
        "No key has this id or label.",
        code="key_not_found",
        status=404,
        hint="`dragoman keys list` shows all.",
    )


def _check(
    kind: KeyKind,
    label: str,
    expires_at: float | None,
    scopes: Mapping[str, Sequence[str]],
    now: float,
) -> None:
    if kind not in ("client", "admin", "relay"):
        raise RequestError("A key is of the kind client, admin or relay.", param="kind")
    if not label or len(label) > 100 or not label.isprintable():
        raise RequestError("A label has 1 to 100 printable characters.", param="label")
    if label.startswith(KEY_PREFIX):
        raise RequestError("A label cannot begin as a key does.", param="label")
    if expires_at is not None and not now < expires_at < float("inf"):
        raise RequestError("A key expires in the future, or never.", param="expires_at")
    for name, names in scopes.items():
        if name not in _SCOPES:
            raise RequestError(f"A scope is one of {', '.join(_SCOPES)}.", param=f"scopes.{name}")
        if isinstance(names, str) or not names or not all(names):
            raise RequestError("A scope is a list of names.", param=f"scopes.{name}")
    if kind == "relay" and (set(scopes) != {"accounts"} or len(scopes["accounts"]) != 1):
        raise RequestError("A relay key is for exactly one account.", param="scopes.accounts")


def _record(row: RowMapping) -> KeyRecord:
    scopes: dict[str, Any] = msgspec.json.decode(row["scopes"])
    limits = {name: tuple(scopes[name]) for name in _SCOPES if scopes.get(name) is not None}
    return KeyRecord(
        id=row["id"],
        label=row["label"],
        kind=row["kind"],
        sha256=row["sha256"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        **limits,
    )
