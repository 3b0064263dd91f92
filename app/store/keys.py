"""Keys at rest: making, listing, changing and revoking them. The secret itself is never stored."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import RowMapping

from app.errors import AppError, RequestError
from app.keys import (
    KEY_PREFIX,
    KeyIndex,
    KeyKind,
    KeyRecord,
    Limit,
    hash_key,
    is_named,
    new_key,
    parse_limit,
)
from app.store.database import Database
from app.store.tables import keys

__all__ = ["CHANGEABLE", "Keys"]

CHANGEABLE = (
    *("label", "expires_at", "providers", "models", "accounts", "limits", "default_model"),
    "aliases",
)
"""What ``edit`` takes."""

_SCOPES = ("providers", "models", "accounts")
_LEAST_PREFIX = 4
"""Letters of an id that are enough to name a key; fewer hit another by accident."""
_LONGEST_NAME = 300
_MOST_NAMES = 200
_LONGEST_KEEP_S = 30 * 86_400.0


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
        terms: Mapping[str, Any] | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key and return it with its secret, which cannot be had again.

        Args:
            kind: what the key is for.
            label: a name for people; may be used again.
            expires_at: epoch seconds in the future, or None.
            scopes: allowed names under ``providers``, ``models`` and ``accounts``; what is absent
                is not limited. A relay key takes exactly one account and nothing else.
            terms: ``limits``, ``default_model`` and ``aliases`` as ``edit`` takes them.

        Raises:
            RequestError: a value is wrong; ``param`` says which.
            AppError: the database cannot be used.
        """
        unknown = set(scopes or {}) - set(_SCOPES)
        if unknown:
            name = min(unknown)
            raise RequestError(f"A scope is one of {', '.join(_SCOPES)}.", param=f"scopes.{name}")
        plain = new_key()
        now = self._now()
        blank = KeyRecord(secrets.token_hex(6), "", kind, hash_key(plain), now)
        changes = {"label": label, "expires_at": expires_at, **(scopes or {}), **(terms or {})}
        record = _changed(blank, changes, now)
        with self._database.write() as connection:
            connection.execute(keys.insert().values(_row(record)))
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

    def edit(self, name: str, changes: Mapping[str, Any]) -> KeyRecord:
        """Change a key; what is not named stays. A revoked key stays as it is.

        Args:
            name: see ``revoke``.
            changes: some of ``CHANGEABLE``. None takes a scope, an end, the limits or the routes
                away. ``limits`` is a list of texts as ``parse_limit`` reads them, ``aliases`` maps
                names to models, and ``default_model`` is a model's name.

        Raises:
            RequestError: as ``revoke`` and ``create``, or ``key_revoked``.
            AppError: the database cannot be used.
        """
        record = self._usable(name)
        if record.kind == "relay" and set(changes) - {"label", "expires_at"}:
            raise RequestError("A relay key has a label and an end, and nothing else to change.")
        return self._put(record, _changed(record, changes, self._now()))

    def rotate(self, name: str, keep_s: float = 0.0) -> tuple[KeyRecord, str]:
        """Give a key a new secret and return both; its id, scopes, limits and use stay.

        Args:
            name: see ``revoke``.
            keep_s: how long the former secret is still taken, in seconds; at most 30 days. The one
                before that ends at once.

        Raises:
            RequestError: as ``edit``.
            AppError: the database cannot be used.
        """
        if not 0 <= keep_s <= _LONGEST_KEEP_S:
            raise RequestError("A former secret is taken for 30 days at most.", param="keep_s")
        record = self._usable(name)
        plain, now = new_key(), self._now()
        kept = keep_s > 0
        fresh = replace(
            record,
            sha256=hash_key(plain),
            old_sha256=record.sha256 if kept else None,
            old_until=now + keep_s if kept else None,
        )
        return self._put(record, fresh), plain

    def rename_account(self, old_id: str, new_id: str) -> bool:
        """Let the keys that are for an account follow it to its new id, all of them or none.

        Only the id itself is replaced; a pattern such as ``claude/*`` stays as it was written.

        Returns:
            Whether any key names the account.

        Raises:
            AppError: the database cannot be used.
        """
        with self._database.write() as connection:
            named = [
                record
                for row in connection.execute(sqlalchemy.select(keys)).mappings()
                if old_id in ((record := _record(row)).accounts or ())
            ]
            for record in named:
                accounts = (new_id if one == old_id else one for one in record.accounts or ())
                fresh = replace(record, accounts=tuple(dict.fromkeys(accounts)))
                connection.execute(
                    keys.update().where(keys.c.id == record.id).values(scopes=_row(fresh)["scopes"])
                )
        if named:
            self.load_all()
        return bool(named)

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
            return self._put(record, replace(record, revoked_at=self._now()))
        return record

    def _put(self, old: KeyRecord, new: KeyRecord) -> KeyRecord:
        """Write a changed record and return it as it is then."""
        row = _row(new)
        with self._database.write() as connection:
            connection.execute(
                keys.update().where(keys.c.id == old.id, keys.c.revoked_at.is_(None)).values(row)
            )
        found = self.load_all().get(old.id)
        if found is None:  # another program removed it meanwhile
            raise _not_found()
        return found

    def _usable(self, name: str) -> KeyRecord:
        record = self._named(name.strip())
        if record.revoked_at is not None:
            raise RequestError(
                f"The key {record.label!r} is revoked.",
                code="key_revoked",
                status=409,
                hint="Make a new one: `dragoman keys create`.",
            )
        return record

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


def _changed(record: KeyRecord, changes: Mapping[str, Any], now: float) -> KeyRecord:
    """Return a record with other fields, all of them checked."""
    for name in changes:
        if name not in CHANGEABLE:
            raise RequestError(f"A key has {', '.join(CHANGEABLE)}.", param=name)
    fields: dict[str, Any] = dict(changes)
    if "label" in fields:
        fields["label"] = _label(fields["label"])
    if fields.get("expires_at") is not None and not now < fields["expires_at"] < float("inf"):
        raise RequestError("A key expires in the future, or never.", param="expires_at")
    for name in _SCOPES:
        if name in fields:
            # A relay key without an account would be one for all.
            fields[name] = _scope(name, fields[name], required=record.kind == "relay")
    if "limits" in fields:
        fields["limits"] = _limits(fields["limits"])
    if "aliases" in fields:
        fields["aliases"] = _aliases(fields["aliases"])
    if fields.get("default_model") is not None:
        _model_name(fields["default_model"], "default_model")
    changed = replace(record, **fields)
    _check_whole(changed)
    return changed


def _label(label: object) -> str:
    label = label.strip() if isinstance(label, str) else ""
    if not label or len(label) > 100 or not label.isprintable():
        raise RequestError("A label has 1 to 100 printable characters.", param="label")
    if label.startswith(KEY_PREFIX):
        raise RequestError("A label cannot begin as a key does.", param="label")
    return label


def _scope(name: str, names: Any, *, required: bool) -> tuple[str, ...] | None:
    if names is None and not required:
        return None
    param = f"scopes.{name}"
    if isinstance(names, str) or not names or len(names) > _MOST_NAMES:
        raise RequestError("A scope is a list of names.", param=param)
    if not all(isinstance(one, str) and 0 < len(one) <= _LONGEST_NAME for one in names):
        raise RequestError("A scope is a list of names.", param=param)
    return tuple(dict.fromkeys(names))


def _limits(texts: Any) -> tuple[Limit, ...]:
    limits: dict[tuple[str, str], Limit] = {}
    for text in texts or ():
        try:
            limit = parse_limit(text)
        except ValueError as error:
            raise RequestError(f"{text!r:.60}: {error}.", param="limits") from None
        if (limit.unit, limit.period) in limits:
            raise RequestError(
                f"There are two limits of {limit.unit} for a {limit.period}.", param="limits"
            )
        limits[limit.unit, limit.period] = limit
    return tuple(limits.values())


def _aliases(aliases: Any) -> tuple[tuple[str, str], ...]:
    pairs = tuple((aliases or {}).items())
    if len(pairs) > _MOST_NAMES:
        raise RequestError(f"A key has at most {_MOST_NAMES} aliases.", param="aliases")
    for name, goal in pairs:
        _model_name(name, "aliases")
        _model_name(goal, "aliases")
    return pairs


def _model_name(name: object, param: str) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise RequestError("The name of a model is a text.", param=param)


def _check_whole(record: KeyRecord) -> None:
    """Check what concerns several fields."""
    if record.kind not in ("client", "admin", "relay"):
        raise RequestError("A key is of the kind client, admin or relay.", param="kind")
    if record.kind == "relay":
        if len(record.accounts or ()) != 1 or record.providers or record.models:
            raise RequestError("A relay key is for exactly one account.", param="scopes.accounts")
        if record.limits or record.default_model or record.aliases:
            raise RequestError("A relay key has no limits and no models.", param="limits")
    goals = [goal for _, goal in record.aliases]
    for goal in (record.default_model, *goals):
        if goal is not None and not is_named(record.models, goal):
            param = "default_model" if goal == record.default_model else "aliases"
            raise RequestError(f"The key may not use {goal[:100]!r} itself.", param=param)


def _row(record: KeyRecord) -> dict[str, Any]:
    scopes = {name: getattr(record, name) for name in _SCOPES}
    named = {name: names for name, names in scopes.items() if names is not None}
    routes: dict[str, Any] = {}
    if record.default_model is not None:
        routes["default"] = record.default_model
    if record.aliases:
        routes["aliases"] = record.aliases
    limits = [(limit.amount, limit.unit, limit.period) for limit in record.limits]
    return {
        "id": record.id,
        "label": record.label,
        "kind": record.kind,
        "sha256": record.sha256,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "revoked_at": record.revoked_at,
        "scopes": msgspec.json.encode(named).decode(),
        "limits": msgspec.json.encode(limits).decode(),
        "routes": msgspec.json.encode(routes).decode(),
        "old_sha256": record.old_sha256,
        "old_until": record.old_until,
    }


def _record(row: RowMapping) -> KeyRecord:
    scopes: dict[str, Any] = msgspec.json.decode(row["scopes"])
    named = {name: tuple(scopes[name]) for name in _SCOPES if scopes.get(name) is not None}
    limits: list[tuple[int, Any, Any]] = msgspec.json.decode(row["limits"])
    routes: dict[str, Any] = msgspec.json.decode(row["routes"])
    return KeyRecord(
        id=row["id"],
        label=row["label"],
        kind=row["kind"],
        sha256=row["sha256"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        **named,
        limits=tuple(Limit(amount, unit, period) for amount, unit, period in limits),
        default_model=routes.get("default"),
        aliases=tuple((name, goal) for name, goal in routes.get("aliases", ())),
        old_sha256=row["old_sha256"],
        old_until=row["old_until"],
    )
