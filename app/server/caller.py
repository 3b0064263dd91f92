"""Access checks where requests arrive: the rules of ``guard`` with this server's state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from tornado.httputil import HTTPHeaders

from app.accounts.account import Account
from app.errors import AccessError
from app.http import Headers
from app.keys import KEY_PREFIX
from app.server.failedkeys import FailedKeys
from app.server.front import FrontContext
from app.server.guard import Call as Asked
from app.server.guard import Grant, KeyRing, Kind, cors_headers, judge
from app.server.policy import AccessPolicy

__all__ = ["Access", "account_scope", "cors"]


_log = logging.getLogger("dragoman.server")

_LOADING_S = 5.0
"""How long a call with a key waits at the start until the keys are read."""
_KEY_FIELDS = ("Authorization", "X-Api-Key", "X-Goog-Api-Key")


def _loaded() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Access:
    """Who may call; ``service`` swaps ``policy`` when the settings change."""

    policy: AccessPolicy
    keys: KeyRing
    local_token: str
    now: Callable[[], float]
    failed: FailedKeys = field(default_factory=FailedKeys)
    loaded: asyncio.Event = field(default_factory=_loaded)
    """Set once ``keys`` holds what is stored; the port listens before that."""
    session: Callable[[str], bool] | None = None
    """Tells whether a token is that of a live dashboard session."""

    def must_wait(self, context: object, query: str, headers: HTTPHeaders) -> bool:
        """Say whether ``ready`` has to be awaited before ``check``."""
        if isinstance(context, FrontContext) and context.slow:
            return True
        return not self.loaded.is_set() and (
            KEY_PREFIX in query or any(KEY_PREFIX in headers.get(name, "") for name in _KEY_FIELDS)
        )

    async def ready(self, context: object) -> None:
        """Wait until ``check`` knows the caller and the keys."""
        if isinstance(context, FrontContext):
            await context.identify()
        try:
            await asyncio.wait_for(self.loaded.wait(), _LOADING_S)
        except TimeoutError:
            _log.warning("the keys are still not read; calls are judged without them")

    def check(
        self, kind: Kind, context: object, method: str, path: str, query: str, headers: HTTPHeaders
    ) -> Grant:
        """Decide about one request.

        Raises:
            AccessError: the caller may not make it.
        """
        if not isinstance(context, FrontContext):
            raise AccessError("The connection is not known.", code="unknown_connection")
        return judge(
            kind,
            Asked(method, path, query, headers),
            context.caller,
            self.policy,
            self.keys,
            local_token=self.local_token,
            now=self.now(),
            failed=self.failed,
            session=self.session,
        )


def cors(grant: Grant, method: str, path: str, query: str, headers: HTTPHeaders) -> Headers:
    """Return the CORS fields of an answer: none, unless a listed origin's page made the call."""
    if grant.origin is None:
        return ()
    return cors_headers(grant, Asked(method, path, query, headers))


def account_scope(grant: Grant) -> Callable[[Account, str], bool]:
    """Return the caller's scope as routing asks for it."""
    if grant.key is None:
        return _everything

    def allows(account: Account, model: str) -> bool:
        if grant.allows(account.provider.id, model, account.id):
            return True
        # ``openai/gpt-5`` and ``openai/work/gpt-5`` ask just these accounts for ``gpt-5``.
        for prefix in (f"{account.id}/", f"{account.provider.id}/"):
            bare = model.removeprefix(prefix)
            if bare != model:
                return grant.allows(account.provider.id, bare, account.id)
        return False

    return allows


def _everything(_account: Account, _model: str) -> bool:
    return True
