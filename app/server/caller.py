"""Access checks where requests arrive: the rules of ``guard`` with this server's state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tornado.httputil import HTTPHeaders

from app.accounts.account import Account
from app.errors import AccessError
from app.server.front import FrontContext
from app.server.guard import AccessPolicy, FailedKeys, Grant, KeyRing, Kind, judge
from app.server.guard import Call as Asked

__all__ = ["Access", "account_scope"]


@dataclass(slots=True)
class Access:
    """Who may call; ``service`` swaps ``policy`` when the settings change."""

    policy: AccessPolicy
    keys: KeyRing
    local_token: str
    now: Callable[[], float]
    failed: FailedKeys = field(default_factory=FailedKeys)

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
        )


def account_scope(grant: Grant) -> Callable[[Account, str], bool]:
    """Return the caller's scope as routing asks for it."""
    if grant.key is None:
        return _everything

    def allows(account: Account, model: str) -> bool:
        return grant.allows(account.provider.id, model, account.id)

    return allows


def _everything(_account: Account, _model: str) -> bool:
    return True
