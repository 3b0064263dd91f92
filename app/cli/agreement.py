"""A provider's terms on the screen, before its accounts are used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from app.cli.client import Client
from app.cli.typed import is_terminal
from app.errors import AppError, RequestError

__all__ = ["ask_agreement"]


def ask_agreement(client: Client, provider: str, tell: Callable[[str], None]) -> str:
    """Show the provider's text, and return its version once the user agreed to it.

    Args:
        client: of the running instance.
        provider: id of the provider, which has such a text.
        tell: prints a line.

    Raises:
        RequestError: ``consent_required``: nobody is there to agree.
        AppError: ``cancelled``: the user does not agree.
    """
    listed: list[dict[str, Any]] = client.get("/admin/accounts")["providers"]
    consent = next(one["consent"] for one in listed if one["id"] == provider)
    version: str = consent["version"]
    tell(f"{consent['text']}\n\n{consent['instead']}\n")
    if not is_terminal(sys.stdin):
        raise RequestError(
            "This has to be agreed to first.",
            code="consent_required",
            hint=f"If you do, add `--agree {version}`.",
        )
    answer = typer.prompt("Type yes to agree", default="no", err=True)
    if answer.strip().lower() != "yes":
        raise AppError("Nothing was signed in to.", code="cancelled")
    return version
