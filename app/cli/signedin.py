"""What the doctor asks of the vault, of sign-ins, and of the programs that print keys."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from app.cli.checks import Check
from app.cli.client import Client
from app.cli.terminal import advice, render_span
from app.errors import AppError

if TYPE_CHECKING:
    from app.config import Config

__all__ = ["check_commands", "check_sign_ins"]

_SOON_S = 14 * 86_400.0
"""Time enough to sign in again before a token that cannot be renewed ends."""
_LOOK_S = 0.25
_LOOKS = 48
"""Twelve seconds: the vault itself waits ten for its keyring."""


def check_sign_ins(
    client: Client,
    *,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Check]:
    """Yield the state of the vault, where there is anything in it, and of each sign-in.

    Whether an account answers is another question, which is asked after this one.
    """
    try:
        answer = client.get("/admin/accounts")
        for _ in range(_LOOKS):
            if answer["vault"]["since"] or not _signed_in(answer):
                break
            sleep(_LOOK_S)  # a keyring that is asked right after the start has not answered yet
            answer = client.get("/admin/accounts")
    except AppError as error:
        yield Check("vault", "failed", error.message, advice(error))
        return
    signed_in = _signed_in(answer)
    if not signed_in:
        return
    yield _vault(answer["vault"], len(signed_in))
    for account in signed_in:
        if (check := _sign_in(account, now())) is not None:
            yield check


def _signed_in(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [account for account in answer["accounts"] if not account["configured"]]


def _vault(vault: dict[str, Any], kept: int) -> Check:
    state, text = vault["state"], vault["message"]
    if state in ("open", "passphrase"):
        return Check("vault", "ok", f"{text} There {'is 1' if kept == 1 else f'are {kept}'}.")
    return Check("vault", "warning" if state == "memory_only" else "failed", text, vault["hint"])


def _sign_in(account: dict[str, Any], now: float) -> Check | None:
    """Return what is wrong with a sign-in although its account may answer; None for nothing."""
    name, who = f"sign-in {account['id']}", f"The sign-in of {account['id']}"
    again = f"Sign in again: `dragoman login {account['provider']} --account {account['label']}`."
    if account["warning"]:
        return Check(name, "warning", f"{who}: {account['warning']}", again)
    ends = account["expires_at"]
    if ends is None or account["renewable"]:
        return None
    if ends <= now:
        return Check(name, "failed", f"{who} has ended.", again)
    if ends - now < _SOON_S:
        text = f"{who} ends in {render_span(ends - now)} and cannot be renewed."
        return Check(name, "warning", text, again)
    return None


def check_commands(config: Config, find: Callable[[str], str | None] = shutil.which) -> list[Check]:
    """Return which programs of ``credential_command`` are not there; none is run here.

    The account's own check runs it: a password manager that asks for a finger is asked once.
    """
    missing = []
    for provider, section in config.providers.items():
        for account in section.keyed_accounts(provider):
            command = account.credential_command
            if command is None or command.shell or not account.enabled or account.api_key:
                continue
            program = command.command[0]
            if find(program) is None:
                missing.append(
                    Check(
                        f"command {provider}/{account.label}",
                        "failed",
                        f"The credential_command of {provider}/{account.label} names {program}, "
                        "which is not there, or may not be run.",
                        "Install it, or correct it with `dragoman config edit`.",
                    )
                )
    return missing
