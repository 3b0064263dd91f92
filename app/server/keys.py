"""Control routes of keys: making, listing, changing, rotating and revoking them.

``GET /admin/keys`` lists them with their limits and what is used of each. ``POST /admin/keys``
makes one, ``POST /admin/keys/{id}`` changes what its body names, ``/rotate`` gives a new secret and
``/revoke`` ends one. ``{id}`` may be the first letters of an id, or a label. A secret is in the
answer that made it, and nowhere else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from app.errors import RequestError
from app.keys import KeyKind, KeyRecord
from app.ledger.limits import shown_use
from app.server.pages import Page, Takes
from app.server.spending import Spending
from app.store.opening import Opening

__all__ = ["KeyDesk", "key_routes"]

_T = TypeVar("_T")
_SCOPES = ("providers", "models", "accounts")
_TERMS = ("limits", "default_model", "aliases")


class _NewKey(msgspec.Struct, forbid_unknown_fields=True):
    label: str = ""
    kind: KeyKind = "client"
    expires_at: float | None = None
    providers: list[str] | None = None
    models: list[str] | None = None
    accounts: list[str] | None = None
    limits: list[str] | None = None
    default_model: str | None = None
    aliases: dict[str, str] | None = None


class _KeyChanges(msgspec.Struct, forbid_unknown_fields=True):
    label: str | UnsetType = UNSET
    expires_at: float | UnsetType | None = UNSET
    providers: list[str] | UnsetType | None = UNSET
    models: list[str] | UnsetType | None = UNSET
    accounts: list[str] | UnsetType | None = UNSET
    limits: list[str] | UnsetType | None = UNSET
    default_model: str | UnsetType | None = UNSET
    aliases: dict[str, str] | UnsetType | None = UNSET


class _KeyRotation(msgspec.Struct, forbid_unknown_fields=True):
    keep_s: float = 0.0


class KeyDesk:
    """The store's work off the loop, and what is used of limits.

    Every method raises ``AppError`` when the store cannot be used, and ``RequestError`` for a body
    or a name that is wrong.

    Args:
        opening: the store.
        spending: knows what is used, and whose budgets there are.
        changed: told after each change.
        now: the clock, epoch seconds.
    """

    def __init__(
        self,
        opening: Opening,
        spending: Spending,
        changed: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._opening = opening
        self._spending = spending
        self._tell = changed
        self._now = now

    async def list(self) -> list[KeyRecord]:
        """Return all keys."""
        store = await self._opening.keys()
        return list(await asyncio.to_thread(store.list))

    async def create(self, body: bytes) -> tuple[KeyRecord, str]:
        """Make a key from a JSON body and return it with its secret.

        Args:
            body: ``label``, ``kind``, ``expires_at``, the scopes ``providers``, ``models`` and
                ``accounts``, ``limits``, ``default_model`` and ``aliases``; see ``Keys.create``.
        """
        wanted = _decode(body, _NewKey)
        scopes, terms = (
            {name: value for name in names if (value := getattr(wanted, name)) is not None}
            for names in (_SCOPES, _TERMS)
        )
        self._check(scopes.get("providers"))
        store = await self._opening.keys()
        made = await asyncio.to_thread(
            store.create, wanted.kind, wanted.label, wanted.expires_at, scopes, terms
        )
        self._changed()
        return made

    async def edit(self, name: str, body: bytes) -> KeyRecord:
        """Change what a JSON body names; null takes a scope, an end or limits away."""
        wanted = _decode(body, _KeyChanges)
        changes = {
            field: value
            for field in wanted.__struct_fields__
            if (value := getattr(wanted, field)) is not UNSET
        }
        self._check(changes.get("providers"))
        store = await self._opening.keys()
        record = await asyncio.to_thread(store.edit, name, changes)
        self._changed()
        return record

    async def rotate(self, name: str, body: bytes) -> tuple[KeyRecord, str]:
        """Give a key a new secret; the body may say for how long the old one is still taken."""
        wanted = _decode(body, _KeyRotation) if body else _KeyRotation()
        store = await self._opening.keys()
        made = await asyncio.to_thread(store.rotate, name, wanted.keep_s)
        self._changed()
        return made

    async def revoke(self, name: str) -> KeyRecord:
        """Revoke a key."""
        store = await self._opening.keys()
        record = await asyncio.to_thread(store.revoke, name)
        self._changed()
        return record

    async def rename_account(self, old_id: str, new_id: str) -> None:
        """Let the keys that are for an account follow it to its new id."""
        store = await self._opening.keys()
        if await asyncio.to_thread(store.rename_account, old_id, new_id):
            self._changed()

    def _check(self, providers: Iterable[str] | None) -> None:
        for name in providers or ():
            if doubt := self._spending.doubt(name):
                raise RequestError(
                    f"{doubt[0].upper()}{doubt[1:]}", code="unknown_provider", param="providers"
                )

    def _changed(self) -> None:
        self._spending.configure()
        self._tell()

    def shown(self, record: KeyRecord) -> dict[str, Any]:
        """Return a key with its state and the use of its limits, as plain values for JSON."""
        uses = [shown_use(use) for use in self._spending.meter.uses(record)]
        return record.shown() | {"state": record.state(self._now()), "limits": uses}


def _decode(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"The body is wrong: {error}.", code="invalid_json") from error


class _KeyPage(Page):
    kind = "control"

    def initialize(self, control: Any, keys: KeyDesk) -> None:  # type: ignore[override]
        super().initialize(control)
        self.keys = keys

    def send_key(self, record: KeyRecord, plain: str | None = None, status: int = 200) -> None:
        """Answer with a key, and with its secret where it has just been made."""
        secret = {} if plain is None else {"key": plain}
        self.send_json({**secret, "record": self.keys.shown(record)}, status)


class _Keys(_KeyPage):
    takes: ClassVar[Takes] = {"post": _NewKey}

    async def get(self) -> None:
        records = await self.keys.list()
        self.send_json({"keys": [self.keys.shown(record) for record in records]})

    async def post(self) -> None:
        self.send_key(*await self.keys.create(self.request.body), status=201)


class _Key(_KeyPage):
    takes: ClassVar[Takes] = {"post": _KeyChanges}

    async def post(self, name: str) -> None:
        self.send_key(await self.keys.edit(name, self.request.body))


class _Rotate(_KeyPage):
    takes: ClassVar[Takes] = {"post": _KeyRotation}

    async def post(self, name: str) -> None:
        self.send_key(*await self.keys.rotate(name, self.request.body))


class _Revoke(_KeyPage):
    async def post(self, name: str) -> None:
        self.send_key(await self.keys.revoke(name))


def key_routes(control: Any, keys: KeyDesk) -> list[Any]:
    """Return the routes.

    Args:
        control: what all pages share.
        keys: does the work.
    """
    shared = {"control": control, "keys": keys}
    return [
        (r"/admin/keys", _Keys, shared),
        (r"/admin/keys/(?P<name>[^/]+)", _Key, shared),
        (r"/admin/keys/(?P<name>[^/]+)/rotate", _Rotate, shared),
        (r"/admin/keys/(?P<name>[^/]+)/revoke", _Revoke, shared),
    ]
