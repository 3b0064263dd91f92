"""Calls that bring their own sign-in along (``forward: true``).

Such a call is made with the caller's token, to the vendor's own host, and with nobody else's: the
token is neither stored nor logged, and when it is refused the caller hears so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from app.accounts.account import Account
from app.accounts.manner import Manner
from app.http import Headers, header
from app.providers.base import Provider
from app.providers.credential import Credential

__all__ = ["forwarding"]


def forwarding(
    providers: Iterable[Provider],
    manner_of: Callable[[str], Manner] = lambda _provider_id: Manner(),
) -> Callable[[Headers, str, str], Account | None]:
    """Return what recognises such calls.

    Args:
        providers: those that the settings say this of.
        manner_of: how the settings want a provider's accounts called; takes its id.

    Returns:
        A function of a call's head, dialect and model. It raises ``AccountError``
        (``account_not_ready``) where the settings name a proxy that is not there.
    """
    ready = [
        (provider.own_token, replace(provider, shape=provider.shape_own, renew=None))
        for provider in providers
        if provider.own_token is not None
    ]

    def find(headers: Headers, dialect: str, model: str) -> Account | None:
        if not ready:
            return None
        scheme, _, token = (header(headers, "authorization") or "").strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        for pattern, provider in ready:
            wanted = dialect in provider.dialects and provider.serves(model)
            if wanted and pattern.fullmatch(token.strip()):
                manner = manner_of(provider.id)
                return Account(
                    f"{provider.id}/forward",
                    provider,
                    "forward",
                    provider.base_url,
                    Credential(token.strip(), "oauth"),
                    headers=manner.headers,
                    proxy=manner.route(),
                )
        return None

    return find
