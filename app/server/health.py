"""Accounts in the answer of ``GET /v1/health``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from app.accounts.account import Account
from app.accounts.quota import WindowView
from app.accounts.roster import AccountState
from app.server.quota import render_tightest

__all__ = ["render_account", "render_providers"]


def render_providers(
    accounts: Iterable[Account], render: Callable[[Account], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the providers of some accounts, each with its accounts' rows, in order.

    Args:
        accounts: those in the caller's scope.
        render: gives an account's row.
    """
    providers: dict[str, dict[str, Any]] = {}
    for account in accounts:
        provider = account.provider
        entry = providers.setdefault(
            provider.id, {"id": provider.id, "title": provider.title, "accounts": []}
        )
        entry["accounts"].append(render(account))
    return list(providers.values())


def render_account(
    account: Account,
    state: AccountState,
    *,
    trouble: str,
    window: WindowView | None,
    warning: str,
    configured: bool,
    models: int,
) -> dict[str, Any]:
    """Return one account's row; times in epoch seconds, and no word of whose account it is.

    Args:
        account: whose row it is.
        state: how it is as a whole.
        trouble: why its models could not be listed, told where nothing else is wrong.
        window: the quota window of which least is left.
        warning: what is wrong although it serves.
        configured: whether it is written in the settings; else it was signed in to.
        models: how many models it lists.
    """
    return {
        "id": account.id,
        "label": account.label,
        "state": state.health,
        "reason": state.reason or trouble,
        "since": state.since,
        "until": state.until,
        "quota": render_tightest(window),
        "warning": warning,
        "configured": configured,
        "models": models,
    }
