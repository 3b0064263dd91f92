"""``dragoman logout``: end a sign-in at its service, and forget it."""

from __future__ import annotations

from app.cli.accounts import AccountName, ask_account
from app.cli.terminal import say

__all__ = ["logout"]


def logout(name: AccountName) -> None:
    """Revoke a sign-in where that is possible, then delete it."""
    say(ask_account(name, "logout")["message"])
