"""``dragoman status``: what runs, and how its accounts are."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from app.cli.health import accounts_of, describe_accounts
from app.cli.running import address_of, client_of, find_running, places
from app.cli.terminal import NOT_RUNNING, NotRunning, render_span, say, show_json, show_table

__all__ = ["JsonOption", "status"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def status(as_json: JsonOption = False) -> None:
    """Show what runs, with accounts and warnings.

    Exit code 3 means that nothing runs.
    """
    record = find_running(places())
    if record is None:
        if not as_json:
            raise NotRunning
        show_json({"running": False})
        raise typer.Exit(NOT_RUNNING)
    health: dict[str, Any] = client_of(record).get("/v1/health")
    if as_json:
        show_json({"running": True, "pid": record.pid, "port": record.port, **health})
        return
    address = health.get("address") or address_of(record)
    say(
        f"Dragoman {health['version']} runs at {address} "
        f"(process {record.pid}, for {render_span(health['uptime_s'])}): {health['state']}."
    )
    _show_accounts(health)
    _show_config(health["config"])
    if health.get("keys", "ready") != "ready":
        say(f"Problem: keys: {health['keys']}")


def _show_accounts(health: dict[str, Any]) -> None:
    now = time.time()
    rows = [
        (
            account.id,
            account.state,
            "" if account.until is None else f"in {render_span(account.until - now)}",
            account.reason,
        )
        for account in accounts_of(health)
    ]
    say()
    if rows:
        show_table(("ACCOUNT", "STATE", "AGAIN", "REASON"), rows)
    else:
        say(describe_accounts(health))


def _show_config(config: dict[str, Any]) -> None:
    named_by = {"option": " (by --config)", "environment": " (by DRAGOMAN_CONFIG)"}
    say()
    say(f"Settings: {config['path']}{named_by.get(config['why'], '')}")
    for problem in config["problems"]:
        say(f"Problem: {problem}")
    for warning in config["warnings"]:
        say(f"Warning: {warning}")
