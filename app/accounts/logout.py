"""Ending a sign-in: revoked at its service where that has a call for it, then deleted here.

What cannot be revoked from here is said, with the page on which a person can: a token that was
deleted here alone stays good for whoever else may have it.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from app.accounts.book import AccountBook
from app.accounts.imports import IMPORT
from app.accounts.manner import Manner
from app.accounts.record import Record
from app.accounts.steps import Driver, Reach
from app.errors import AppError
from app.providers.base import Provider

__all__ = ["log_out"]

_log = logging.getLogger("dragoman.accounts")

_REVOKE_S = 20.0


async def log_out(book: AccountBook, driver: Driver, account_id: str) -> str:
    """Revoke a sign-in at its service where that is possible, then delete it.

    A renewal of the account that runs comes to its end first, so that the newest token is revoked.

    Returns:
        What was done and what is left to do by hand, in a few sentences.

    Raises:
        RequestError: unknown account, or one of the settings.
        AppError: the vault cannot delete it.
    """
    account_id = book.current_id(account_id)
    if account_id in book.sealed_ids():
        await book.remove(account_id)
        provider = book.providers.get(account_id.partition("/")[0])
        return (
            f"{account_id} was removed; it could not be read, so nothing was revoked. "
            f"{_by_hand(_page(provider))}"
        )
    async with book.exclusive(account_id) as record:
        provider = book.provider_of(record)
        failed = await _revoke(record, provider, driver, book.manner(record.provider))
        await book.remove(record.id)
    if failed == "":
        return f"{record.id} was revoked and removed."
    page = _page(provider, record.host)
    if failed is not None:
        return (
            f"{record.id} was removed, but could not be revoked at its service: {failed} "
            f"{_by_hand(page)}"
        )
    if record.credential.kind == "api_key":
        return (
            f"{record.id} was removed here. The key itself stays good until you delete it at its "
            f"service{f' ({page})' if page else ''}."
        )
    if provider is not None and provider.revoke is not None:
        return (
            f"{record.id} was removed here. It came from another program, which may still use it, "
            f"so it was not revoked. {_by_hand(page)}"
        )
    who = record.provider if provider is None else provider.title
    return (
        f"{record.id} was removed here. {who} offers no call by which Dragoman could revoke it. "
        f"{_by_hand(page)}"
    )


async def _revoke(
    record: Record, provider: Provider | None, driver: Driver, manner: Manner
) -> str | None:
    """Return why revoking failed, an empty text when it succeeded, None when nobody was asked."""
    if provider is None or provider.revoke is None or record.way == IMPORT:
        return None
    try:
        await driver.run(
            provider.revoke(record.credential),
            Reach.of(provider, record.base_url, record.host),
            limit_s=_REVOKE_S,
            proxy=manner.route(),
        )
    except AppError as error:
        _log.warning("%s could not be revoked: %s", record.id, error.text)
        return error.message
    return ""


def _page(provider: Provider | None, host: str = "") -> str:
    """Return the page for doing it by hand, at the user's own server where that is one."""
    if provider is None or not provider.manage_url:
        return ""
    return urlsplit(provider.manage_url)._replace(**({"netloc": host} if host else {})).geturl()


def _by_hand(page: str) -> str:
    return f"End it by hand on the service's own page{f' ({page})' if page else ''}."
