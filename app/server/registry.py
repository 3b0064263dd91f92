"""The models as a registry in models.dev's form, which OpenCode and its like read.

``GET /models/api.json`` and ``/api.json`` answer with the registry of models.dev as it was last
fetched, and in it one more provider, ``dragoman``, with every model that the caller can use now.
Programs that read it (``OPENCODE_MODELS_URL``) send no key with that request. So there is a form per
key, ``/models/{token}/api.json`` and ``/api/{token}/api.json``: the token stands for a key's scope, is
made of what is stored of the key, ends with it, and opens nothing but this list.
``GET /admin/models/address?key=LABEL`` tells it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from app.errors import AccessError, RequestError
from app.keys import KeyRecord
from app.ledger.price import Rates
from app.server.front import FrontContext
from app.server.guard import Grant
from app.server.models import ModelRow
from app.server.pages import Page
from app.upstream.modelsdev import entries_of, with_provider

__all__ = ["models_token", "registry_routes", "render_provider"]

PROVIDER: Final = "dragoman"
_KEY_VARIABLE: Final = "DRAGOMAN_API_KEY"
_PACKAGES: Final = {
    "anthropic": ("@ai-sdk/anthropic", "/v1"),
    "openai_responses": ("@ai-sdk/openai", "/v1"),
    "gemini": ("@ai-sdk/google", "/v1beta"),
}
"""Dialect to the package that speaks it and the path below which it calls; others speak Chat."""
_CHAT: Final = ("@ai-sdk/openai-compatible", "/v1")
_CONTEXT: Final = 128_000
_OUTPUT: Final = 16_384
"""Tokens, where nobody knows: without a limit OpenCode never shortens a conversation."""


def models_token(record: KeyRecord) -> str:
    """Return the token that stands for a key's scope in the list's address: 32 hex digits."""
    secret = record.sha256.encode()
    return hmac.new(secret, b"dragoman models", hashlib.sha256).hexdigest()[:32]


def _record_of(token: str, records: Iterable[KeyRecord], now: float) -> KeyRecord | None:
    found = None
    for record in records:  # all of them, whichever it is
        if (
            hmac.compare_digest(models_token(record), token)
            and record.kind != "relay"
            and record.state(now) == "active"
        ):
            found = record
    return found


def render_provider(
    rows: Sequence[ModelRow], known: Mapping[str, Mapping[str, Any]], origin: str
) -> dict[str, Any]:
    """Return our entry in the registry.

    Args:
        rows: what the caller can use.
        known: the registry's own entries by the services' names for models.
        origin: scheme, host and port by which the caller reaches us.
    """
    package, path = _CHAT
    return {
        "id": PROVIDER,
        "name": "Dragoman",
        "env": [_KEY_VARIABLE],
        "npm": package,
        "api": origin + path,
        "doc": f"{origin}/admin",
        "models": {
            row.id: _model(row, known.get(row.upstream, {}), origin)
            for row in rows
            if not row.writes or "text" in row.writes
        },
    }


def _model(row: ModelRow, known: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return a model: the registry's entry, with what is known better here."""
    day = datetime.fromtimestamp(row.created, UTC).strftime("%Y-%m-%d")
    reads = list(row.reads) or ["text"]
    model: dict[str, Any] = {
        "open_weights": False,
        "release_date": day,
        "last_updated": day,
        "temperature": True,
        **known,
    }
    package, path = _PACKAGES.get(row.dialect, _CHAT)
    own = known.get("provider")
    limit = known.get("limit")
    model |= {
        "id": row.id,
        "name": row.display_name or row.id,
        "attachment": any(kind != "text" for kind in reads),
        "reasoning": bool(row.reasoning),
        "tool_call": row.tools is not False,
        "modalities": {"input": reads, "output": list(row.writes) or ["text"]},
        "limit": (dict(limit) if isinstance(limit, dict) else {})
        | {"context": row.context or _CONTEXT, "output": row.max_output or _OUTPUT},
        "provider": (dict(own) if isinstance(own, dict) else {})
        | {"npm": package, "api": origin + path},
    }
    if cost := _cost(row, known.get("cost")):
        model["cost"] = cost
    return model


def _cost(row: ModelRow, known: Any) -> dict[str, Any]:
    rates = row.rates
    if rates.input is None or rates.output is None:
        return dict(known) if isinstance(known, dict) else {}
    ours: dict[str, Any] = _prices(rates)
    if rates.tiers:
        ours["tiers"] = [
            {"tier": {"type": "context", "size": tier.above}, **_prices(tier.rates)}
            for tier in rates.tiers
        ]
    return (dict(known) if isinstance(known, dict) else {}) | ours


def _prices(rates: Rates) -> dict[str, float]:
    prices = {
        "input": rates.input,
        "output": rates.output,
        "cache_read": rates.cache_read,
        "cache_write": rates.cache_write,
    }
    return {name: price for name, price in prices.items() if price is not None}


class _Registry(Page):
    def initialize(self, control: Any, document: Callable[[], bytes | None]) -> None:  # type: ignore[override]
        super().initialize(control)
        self.document = document

    async def get(self) -> None:
        await self.answer(self.grant)

    async def answer(self, grant: Grant) -> None:
        demo = self.get_query_argument("demo", "") not in ("", "0")
        rows = self.control.models(grant, demo=demo)
        origin = f"{self.request.protocol}://{self.request.headers.get('Host', '')}"
        self.send_json(await asyncio.to_thread(self._render, rows, origin))

    def _render(self, rows: Sequence[ModelRow], origin: str) -> bytes:
        document = self.document()
        known = {} if document is None else entries_of(document, {row.upstream for row in rows})
        return with_provider(document, PROVIDER, render_provider(rows, known, origin))


class _KeyRegistry(_Registry):
    kind = "open"  # the token is the key

    async def get(self, token: str) -> None:  # type: ignore[override]
        access = self.control.access
        record = _record_of(token, await self.control.list_keys(), access.now())
        if record is None:
            self._refuse_token()
        # An admin key's own scope is everything, as anywhere else.
        await self.answer(Grant("admin_key" if record.kind == "admin" else "key", record))

    def _refuse_token(self) -> NoReturn:
        context = getattr(self.request.connection, "context", None)
        wait_s = None
        if isinstance(context, FrontContext):
            access = self.control.access
            wait_s = access.failed.note(context.caller.source, access.now())
        raise AccessError(
            "No key that may be used has this list of models.",
            hint="`dragoman models --url --key LABEL` prints the address for a key.",
            status=401 if wait_s is None else 429,
            code="invalid_key" if wait_s is None else "too_many_failed_keys",
            retry_after_s=wait_s,
        )


class _Address(Page):
    kind = "control"

    async def get(self) -> None:
        name = self.get_query_argument("key")
        found = [
            record
            for record in await self.control.list_keys()
            if name in (record.id, record.label) and record.revoked_at is None
        ]
        if len(found) != 1:
            raise RequestError(
                f"{'More than one key' if found else 'No key'} is called {name[:100]!r}.",
                hint="`dragoman keys list` shows ids and labels.",
                status=404,
                code="key_not_found",
                param="key",
            )
        self.send_json({"path": f"/models/{models_token(found[0])}"})


def registry_routes(control: Any, document: Callable[[], bytes | None]) -> list[Any]:
    """Return the routes.

    Args:
        control: what all pages share.
        document: returns the registry as it was fetched, or None; asked in a thread.
    """
    shared = {"control": control, "document": document}
    return [
        (r"/(?:models/)?api\.json", _Registry, shared),
        (r"/admin/models/address", _Address, {"control": control}),
        (r"/(?:models|api)/(?P<token>[0-9a-f]{32})/api\.json", _KeyRegistry, shared),
    ]
