"""What the running instance says of its accounts and models, read for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "DEMO_MODEL",
    "AccountHealth",
    "accounts_of",
    "describe_accounts",
    "model_for",
    "window_name",
]

DEMO_MODEL = "demo-chat"
_DEMO_PROVIDER = "demo"

_NOT_FOR_CHAT = re.compile(
    r"(?i)embed|image|audio|speech|tts|whisper|transcri|moderation|realtime|rerank|video"
)
"""Words in names of models that do not chat; a service may list these first."""

_WINDOWS = {"5h": "5 hours", "7d": "7 days"}


@dataclass(frozen=True, slots=True)
class AccountHealth:
    """An account as ``/v1/health`` shows it; ``state`` is one of ``accounts.roster``'s."""

    id: str
    """``provider/label``."""
    provider: str
    label: str
    state: str
    reason: str
    until: float | None
    """Epoch seconds at which it is tried again."""
    since: float | None = None
    """Epoch seconds at which it became so."""
    window: str = ""
    """The quota window of which least is left; empty when nothing is known."""
    left_percent: float | None = None
    resets_at: float | None = None
    warning: str = ""
    """What is wrong although it serves."""
    configured: bool = True
    """Written in the settings; else it was signed in to."""


def accounts_of(health: dict[str, Any]) -> list[AccountHealth]:
    """Return the accounts in an answer of ``/v1/health``; the demo is none."""
    return [
        _account(account, provider["id"])
        for provider in health["providers"]
        if provider["id"] != _DEMO_PROVIDER
        for account in provider["accounts"]
    ]


def _account(account: dict[str, Any], provider: str) -> AccountHealth:
    quota = account.get("quota") or {}
    return AccountHealth(
        account["id"],
        provider,
        account["label"],
        account["state"],
        account.get("reason") or "",
        account.get("until"),
        account.get("since"),
        quota.get("window", ""),
        quota.get("left_percent"),
        quota.get("resets_at"),
        account.get("warning") or "",
        account.get("configured", True),
    )


def describe_accounts(health: dict[str, Any]) -> str:
    """Return one sentence about the accounts in an answer of ``/v1/health``."""
    accounts = accounts_of(health)
    if not accounts:
        if any(provider["id"] == _DEMO_PROVIDER for provider in health["providers"]):
            return "No account yet: the demo models answer."
        return "No account yet, and the demo models are switched off: nothing can answer."
    ready = sum(account.state == "ready" for account in accounts)
    noun = "account" if len(accounts) == 1 else "accounts"
    return f"{len(accounts)} {noun}, {ready} ready; `dragoman status` shows more."


def window_name(name: str) -> str:
    """Return a quota window's name for people."""
    return _WINDOWS.get(name, name.replace("_", " "))


def model_for(account: AccountHealth, models: Sequence[dict[str, Any]]) -> str | None:
    """Return a name under which exactly this account is asked, or None when it lists no model.

    Args:
        account: whom to ask.
        models: ``data`` of ``GET /v1/models``, whose ``x_dragoman.accounts`` hold ids, or labels,
            which two providers may share: the provider's own rows are then preferred.
    """
    names = [
        model["id"]
        for model in sorted(models, key=lambda model: model.get("owned_by") != account.provider)
        if {account.id, account.label} & set(model.get("x_dragoman", {}).get("accounts", ()))
    ]
    chats = [name for name in names if not _NOT_FOR_CHAT.search(name)]
    chosen = next(iter(chats or names), None)
    return None if chosen is None else f"{account.id}/{chosen}"
