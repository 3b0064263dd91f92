"""``dragoman open``: show the dashboard of the running instance in the browser."""

from __future__ import annotations

import webbrowser
from typing import Annotated, Any

import typer

from app.cli.running import connect
from app.cli.terminal import note, say

__all__ = ["open_dashboard"]


def open_dashboard(
    only_print: Annotated[
        bool,
        typer.Option(
            "--print", help="Print the address in place of opening it; it works once, for 30 s."
        ),
    ] = False,
) -> None:
    """Open the dashboard in the browser."""
    answer: dict[str, Any] = connect().post("/admin/ticket")
    url = str(answer["url"])
    if only_print:
        say(url)
        return
    if webbrowser.open(url):
        say("The dashboard opens in the browser.")
        return
    note("No browser could be started. Open this address in one within 30 seconds:")
    say(url)
