"""``dragoman quota``: what is left of each account."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from app.cli.health import window_name
from app.cli.running import connect
from app.cli.status import JsonOption
from app.cli.terminal import note, render_span, say, show_json, show_table

__all__ = ["quota"]

RefreshOption = Annotated[
    bool, typer.Option("--refresh/--no-refresh", help="Ask the services first.")
]


def quota(refresh: RefreshOption = True, as_json: JsonOption = False) -> None:
    """Show what is left of each account."""
    answer: dict[str, Any] = connect().get(f"/v1/quota?refresh={int(refresh)}")
    if as_json:
        show_json(answer)
        return
    rows = [row for account in answer["accounts"] for row in _rows(account, time.time())]
    if not rows:
        note("No account tells what is left of it.")
        return
    show_table(("ACCOUNT", "PLAN", "WINDOW", "LEFT", "BACK IN", "AT THIS PACE", "READ"), rows)
    for account in answer["accounts"]:
        for text in (account["note"], account["trouble"]):
            if text:
                say(f"{account['id']}: {text}")


def _rows(account: dict[str, Any], now: float) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for window in account["windows"]:
        first = not rows
        name = window_name(window["name"])
        resets, runs_out = window["resets_in_s"], window["runs_out_at"]
        rows.append(
            (
                account["id"] if first else "",
                account["plan"] if first else "",
                name,
                _left(window),
                "" if resets is None else render_span(resets),
                "" if runs_out is None else f"used up in {render_span(runs_out - now)}",
                "now" if window["age_s"] < 5 else f"{render_span(window['age_s'])} ago",
            )
        )
    return rows


def _left(window: dict[str, Any]) -> str:
    if window["exhausted"]:
        return "used up"
    percent = window["left_percent"]
    text = "unknown" if percent is None else f"{percent:.0f} %"
    if window["left"] is not None and window["limit"] is not None:
        text = f"{text} ({window['left']:,.0f} of {window['limit']:,.0f})"
    return text
