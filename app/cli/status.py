"""``dragoman status``: what runs, and how its accounts are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connected import connected, note_stranded
from app.cli.health import AccountHealth, accounts_of, describe_accounts, window_name
from app.cli.running import address_of, client_of, find_running, places
from app.cli.terminal import NOT_RUNNING, NotRunning, render_span, say, show_json, show_table
from app.errors import AppError

if TYPE_CHECKING:
    from app.clients.connections import AgentState

__all__ = ["JsonOption", "status"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def status(as_json: JsonOption = False) -> None:
    """Show what runs, with accounts and warnings.

    Exit code 3 means that nothing runs.
    """
    record = find_running(places())
    agents, trouble = _agents()
    if record is None:
        if not as_json:
            note_stranded(agents)
            raise NotRunning
        show_json({"running": False})
        raise typer.Exit(NOT_RUNNING)
    health: dict[str, Any] = client_of(record).get("/v1/health")
    url = f"http://127.0.0.1:{record.port}"
    if as_json:
        from app.clients.described import describe_state

        told = [describe_state(state, url) for state in agents]
        answer = {"running": True, "pid": record.pid, "port": record.port, **health}
        show_json({**answer, "agents": told})
        return
    address = health.get("address") or address_of(record)
    say(
        f"Dragoman {health['version']} runs at {address} "
        f"(process {record.pid}, for {render_span(health['uptime_s'])}): {health['state']}."
    )
    _show_accounts(health)
    _show_parts(health)
    _show_budgets(health.get("budgets", []))
    _show_agents(agents, url, trouble)
    _show_config(health["config"])
    if health.get("keys", "ready") != "ready":
        say(f"Problem: keys: {health['keys']}")


def _show_accounts(health: dict[str, Any]) -> None:
    now = time.time()
    accounts = accounts_of(health)
    say()
    if not accounts:
        say(describe_accounts(health))
        return
    show_table(
        ("ACCOUNT", "STATE", "SINCE", "AGAIN", "LEFT", "REASON"),
        [_row(account, now) for account in accounts],
    )
    for account in accounts:
        if account.warning:
            say(f"Warning: {account.id}: {account.warning}")


def _row(account: AccountHealth, now: float) -> tuple[str, ...]:
    return (
        account.id,
        account.state,
        "" if account.since is None else f"{render_span(now - account.since)} ago",
        "" if account.until is None else f"in {render_span(account.until - now)}",
        _left(account, now),
        account.reason,
    )


def _left(account: AccountHealth, now: float) -> str:
    """Return what is left of the tightest window: ``37 % of 5 hours, new in 2 h``."""
    if account.left_percent is None:
        return ""
    text = f"{account.left_percent:.0f} % of {window_name(account.window)}"
    if account.resets_at is None:
        return text
    return f"{text}, new in {render_span(account.resets_at - now)}"


def _agents() -> tuple[tuple[AgentState, ...], str]:
    """Return the connected agents, and why they are not known where they are not."""
    from app.cli.connect import connections

    try:
        return connected(connections()), ""
    except AppError as error:
        return (), error.text


def _show_budgets(budgets: Sequence[dict[str, Any]]) -> None:
    now = time.time()
    if budgets:
        say()
    for budget in budgets:
        stopped = budget["level"] == "stop"
        again = f" Calls are refused; new in {render_span(budget['resets_at'] - now)}."
        say(f"{budget['text']}{again if stopped else ''}")


def _show_agents(agents: Sequence[AgentState], url: str, trouble: str) -> None:
    if trouble:
        say()
        say(f"Problem: agents: {trouble}")
    if agents:
        say()
        from app.clients.described import state_text

        rows = [(state.agent.name, state.agent.title, state_text(state, url)) for state in agents]
        show_table(("AGENT", "TITLE", "STATE"), rows)


def _show_parts(health: dict[str, Any]) -> None:
    """Show the router, pages, windows and helper programs; those that are off say nothing."""
    now = time.time()
    parts = [one for one in health.get("parts", ()) if one["state"] not in ("off", "not_installed")]
    if not parts:
        return
    say()
    show_table(
        ("PART", "STATE", "FOR", "MEMORY", "AGAIN", "REASON"),
        [
            (
                one["title"],
                one["state"].replace("_", " "),
                "" if one["uptime_s"] is None else render_span(one["uptime_s"]),
                "" if one["memory_bytes"] is None else f"{one['memory_bytes'] >> 20} MB",
                "" if one["until"] is None else f"in {render_span(one['until'] - now)}",
                one["reason"],
            )
            for one in parts
        ],
    )


def _show_config(config: dict[str, Any]) -> None:
    named_by = {"option": " (by --config)", "environment": " (by DRAGOMAN_CONFIG)"}
    say()
    say(f"Settings: {config['path']}{named_by.get(config['why'], '')}")
    for problem in config["problems"]:
        say(f"Problem: {problem}")
    for warning in config["warnings"]:
        say(f"Warning: {warning}")
