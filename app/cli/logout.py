"""``dragoman logout``: end a sign-in at its service, and forget it."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli.running import client_of, find_running, places
from app.cli.terminal import NotRunning, say
from app.errors import RequestError

__all__ = ["logout"]

_ANSWER_S = 130.0
"""A renewal that runs comes to its end first, and the service is asked."""


def logout(
    name: Annotated[
        str, typer.Argument(metavar="ACCOUNT", help="claude-1, or claude when there is only one.")
    ],
) -> None:
    """Revoke a sign-in where that is possible, then delete it."""
    record = find_running(places())
    if record is None:
        raise NotRunning
    client = client_of(record, timeout_s=_ANSWER_S)
    accounts: list[dict[str, Any]] = client.get("/admin/accounts")["accounts"]
    account_id = choose(accounts, name)
    say(client.post(f"/admin/accounts/{quote(account_id, safe='')}/logout")["message"])


def choose(accounts: list[dict[str, Any]], name: str) -> str:
    """Return the id of the account that a word means: an id, a label, or a provider.

    Raises:
        RequestError: none or several are meant.
    """
    meant = [account for account in accounts if account["id"] == name]
    meant = meant or [account for account in accounts if account["label"] == name]
    if not meant:
        meant = [
            account
            for account in accounts
            if account["provider"] == name and not account["configured"]
        ]
    if len(meant) == 1:
        account_id: str = meant[0]["id"]
        return account_id
    if meant:
        ids = ", ".join(account["id"] for account in meant)
        raise RequestError(
            f"{name!r} may mean {ids}.", hint="Write one of them.", code="account_needed"
        )
    raise RequestError(
        f"There is no account {name!r}.",
        hint="`dragoman accounts` lists them.",
        status=404,
        code="unknown_account",
    )
