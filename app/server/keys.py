"""What the key routes do: the store's work, off the loop."""

from __future__ import annotations

import asyncio

import msgspec

from app.errors import RequestError
from app.keys import KeyKind, KeyRecord
from app.store.opening import Opening

__all__ = ["create_key", "list_keys", "revoke_key"]


class _NewKey(msgspec.Struct, forbid_unknown_fields=True):
    label: str = ""
    kind: KeyKind = "client"
    expires_at: float | None = None
    providers: list[str] | None = None
    models: list[str] | None = None
    accounts: list[str] | None = None


async def list_keys(opening: Opening) -> list[KeyRecord]:
    """Return all keys.

    Raises:
        AppError: the store cannot be used.
    """
    store = await opening.keys()
    return list(await asyncio.to_thread(store.list))


async def create_key(opening: Opening, body: bytes) -> tuple[KeyRecord, str]:
    """Make a key from a JSON body (``label``, ``kind``, ``expires_at``, scopes).

    Raises:
        RequestError: the body is wrong.
        AppError: the store cannot be used.
    """
    try:
        wanted = msgspec.json.decode(body, type=_NewKey)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"The body is wrong: {error}.", code="invalid_json") from error
    scopes = {
        name: names
        for name in ("providers", "models", "accounts")
        if (names := getattr(wanted, name)) is not None
    }
    store = await opening.keys()
    return await asyncio.to_thread(
        store.create, wanted.kind, wanted.label, wanted.expires_at, scopes
    )


async def revoke_key(opening: Opening, name: str) -> KeyRecord:
    """Revoke a key by id, prefix or label.

    Raises:
        RequestError: there is no such key.
        AppError: the store cannot be used.
    """
    store = await opening.keys()
    return await asyncio.to_thread(store.revoke, name)
