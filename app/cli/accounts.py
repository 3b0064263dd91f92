"""``dragoman accounts``: every account, how it is, and when it is tried again."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from app.cli.running import connect
from app.cli.status import JsonOption
from app.cli.terminal import note, render_span, say, show_json, show_table

__all__ = ["accounts"]


def accounts(
    who: Annotated[bool, typer.Option("--who", help="Show e-mail addresses, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the accounts."""
    answer: dict[str, Any] = connect().get("/admin/accounts")
    if as_json:
        show_json(answer)
        return
    now = time.time()
    rows = [_row(account, now, who=who) for account in answer["accounts"]]
    if rows:
        show_table(("ACCOUNT", "WHO", "PLAN", "STATE", "AGAIN", "RENEWED", "REASON"), rows)
    else:
        ids = ", ".join(service["id"] for service in answer["providers"])
        note("There is no account yet.")
        note(
            f"`dragoman login PROVIDER` adds one: {ids}." if ids else "See `dragoman config edit`."
        )
    vault = answer["vault"]
    kept = any(not account["configured"] for account in answer["accounts"])
    if kept and vault["state"] not in ("open", "passphrase"):  # else it waits for a first sign-in
        say()
        say(f"{vault['message']} {vault['hint']}".strip())


def _row(account: dict[str, Any], now: float, *, who: bool) -> tuple[str, ...]:
    until, renewed_at = account["until"], account["renewed_at"]
    return (
        account["id"] + (" (primary)" if account["primary"] else ""),
        account["name"] if who else "",
        account["plan"],
        account["state"],
        "" if until is None else f"in {render_span(until - now)}",
        f"{render_span(now - renewed_at)} ago" if renewed_at else "",
        " ".join(text for text in (account["reason"], account["warning"]) if text),
    )
