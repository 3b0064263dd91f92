"""Client keys as values: how they look, what they allow, and the index that the guard asks.

A key is ``dg-`` and 32 random characters of base62 (190 bits); only its SHA-256 is ever stored.
A slow hash would add nothing: the secret is random, not chosen by a person.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

__all__ = [
    "KEY_PREFIX",
    "KeyIndex",
    "KeyKind",
    "KeyRecord",
    "Limit",
    "LimitPeriod",
    "LimitUnit",
    "hash_key",
    "is_named",
    "new_key",
    "parse_limit",
]

KEY_PREFIX = "dg-"
"""Begins every key; a secret on a request that begins otherwise is not one of ours."""

KeyKind: TypeAlias = Literal["client", "admin", "relay"]
"""``client``: inference; ``admin``: control routes, too; ``relay``: the relay socket alone."""

LimitUnit: TypeAlias = Literal["requests", "tokens", "usd"]
LimitPeriod: TypeAlias = Literal["minute", "day", "month"]

_BASE62 = string.digits + string.ascii_letters
_PERIODS: tuple[LimitPeriod, ...] = ("minute", "day", "month")
_LARGEST = 10**15
"""Sums of tokens and micro-dollars stay within the database's 64 bits."""
_LIMIT = re.compile(
    r"(?P<dollar>\$)?(?P<number>\d[\d,_]*(?:\.\d+)?)(?P<scale>[km])?"
    r"\s*(?P<unit>requests?|tokens?|usd|dollars?)?\s*(?:/|per\s)\s*(?P<period>[a-z]+)"
)
_SECRETS = ("sha256", "old_sha256")


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of something a key may use in a minute, a day or a month."""

    amount: int
    """Requests, tokens, or micro-dollars; above 0."""
    unit: LimitUnit
    period: LimitPeriod

    @property
    def text(self) -> str:
        """The limit as people write it; ``parse_limit`` reads it back."""
        return f"{self.show(self.amount)}/{self.period}"

    def show(self, amount: int) -> str:
        """Return an amount in this limit's unit for people: ``5,000 tokens``, ``$2.50``."""
        if self.unit == "usd":
            dollars = f"{amount / 1e6:,.6f}"
            whole, _, cents = dollars.partition(".")
            return f"${whole}.{cents.rstrip('0'):0<2}"
        unit = self.unit[:-1] if amount == 1 else self.unit
        return f"{amount:,} {unit}"


def parse_limit(text: str) -> Limit:
    """Read a limit: ``100 requests/day``, ``60/minute``, ``2m tokens/month``, ``$5/month``.

    ``k`` and ``m`` stand for thousands and millions; a number alone means requests.

    Raises:
        ValueError: it is none; the message says what was expected.
    """
    match = _LIMIT.fullmatch(text.strip().lower())
    if match is None or match["period"] not in _PERIODS:
        raise ValueError("expected a limit such as 100 requests/day, 2m tokens/month or $5/month")
    word = (match["unit"] or "").rstrip("s")
    unit: LimitUnit = "usd" if match["dollar"] or word in ("usd", "dollar") else "requests"
    if match["dollar"] and word not in ("", "usd", "dollar"):
        raise ValueError("expected either dollars or a number of requests or tokens")
    if word == "token":
        unit = "tokens"
    number = float(match["number"].replace(",", "").replace("_", ""))
    number *= {"k": 1_000, "m": 1_000_000}.get(match["scale"] or "", 1)
    amount = round(number * 1_000_000 if unit == "usd" else number)
    if not 0 < amount <= _LARGEST or (unit != "usd" and amount != number):
        raise ValueError("expected a limit above 0, and whole requests and tokens")
    period = next(period for period in _PERIODS if period == match["period"])
    return Limit(amount, unit, period)


def is_named(scope: Iterable[str] | None, name: str) -> bool:
    """Say whether a scope holds a name.

    Args:
        scope: names, in which ``*`` stands for any letters and ``?`` for one (brackets are
            ordinary letters, since names of models have them); None holds everything.
        name: of a provider, a model or an account.
    """
    if scope is None:
        return True
    return any(
        item == name or (("*" in item or "?" in item) and _matches(item, name)) for item in scope
    )


def _matches(glob: str, name: str) -> bool:
    return fnmatchcase(name, glob.replace("[", "[[]"))


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
    """Ids of accounts, ``provider/label``."""
    limits: tuple[Limit, ...] = ()
    """At most one for each unit and period."""
    default_model: str | None = None
    """The model, alias or chain for requests that name none, or ask for ``default``."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Names that requests with this key may use, and what each means: a model, an alias of the
    settings or a chain. In order; the first that fits holds, and ``*`` stands for any letters."""
    old_sha256: str | None = None
    """Hash of the secret before the last rotation, while that is still taken."""
    old_until: float | None = None
    """When the former secret ends, epoch seconds."""

    def means(self, model: str) -> str:
        """Return the model that a request with this key means by a name; the name for most."""
        if self.default_model is not None and model in ("", "default"):
            return self.default_model
        return next((goal for name, goal in self.aliases if is_named((name,), model)), model)

    def shown(self) -> dict[str, Any]:
        """Return all fields but the hashes, as plain values for JSON; limits as texts."""
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in _SECRETS
        }
        return fields | {
            "limits": [limit.text for limit in self.limits],
            "aliases": dict(self.aliases),
        }

    def state(self, now: float) -> Literal["active", "expired", "revoked"]:
        """Say whether the key may be used at ``now`` (epoch seconds), and if not, why."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active"


class KeyIndex:
    """Every known key by its hash, in memory, so that a request never waits for the database.

    Revoked and expired keys are in it: a caller is told which of the two its key is. A key that was
    rotated is found under its former hash, too, as a record that ends when that secret does.
    ``replace`` swaps the whole table, so that readers on other threads see the old one or the new
    one.
    """

    def __init__(self, records: Iterable[KeyRecord] = ()) -> None:
        self.replace(records)

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, sha256_hex: str) -> KeyRecord | None:
        """Return the key with this hash (lower-case hexadecimal), or None."""
        return self._by_hash.get(sha256_hex)

    def get(self, key_id: str) -> KeyRecord | None:
        """Return the key with this id, or None."""
        return self._by_id.get(key_id)

    def records(self) -> tuple[KeyRecord, ...]:
        """Return all keys, once each."""
        return tuple(self._by_id.values())

    def any_active(self, now: float) -> bool:
        """Say whether any key may be used; a non-loopback address needs one to start."""
        return any(record.state(now) == "active" for record in self._by_id.values())

    def replace(self, records: Iterable[KeyRecord]) -> None:
        """Take these records for all that there are."""
        everyone = tuple(records)
        by_hash = {record.sha256: record for record in everyone}
        for record in everyone:
            if record.old_sha256 is not None and record.old_until is not None:
                by_hash[record.old_sha256] = replace(
                    record,
                    sha256=record.old_sha256,
                    expires_at=min(record.old_until, record.expires_at or record.old_until),
                )
        self._by_id = {record.id: record for record in everyone}
        self._by_hash = by_hash


def hash_key(plain: str) -> str:
    """Return the SHA-256 of a key in lower-case hexadecimal."""
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def new_key() -> str:
    """Return a fresh random key."""
    return KEY_PREFIX + "".join(secrets.choice(_BASE62) for _ in range(32))
