"""``dragoman services``: helper programs beside the proxy, such as WebAI."""

from __future__ import annotations

import re
import sys
import threading
import time
from typing import Annotated, Any

import typer

from app.cli.client import Client
from app.cli.running import connect, places
from app.cli.terminal import note, render_span, say, show_json, show_table
from app.cli.typed import is_terminal
from app.errors import AppError, RequestError

__all__ = ["commands"]

commands = typer.Typer(help="Helper programs beside the proxy.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the service: webai.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_LOOK_S = 0.5
_BUSY = ("starting", "stopping", "installing", "waiting")
_START_LIMIT_S = 90.0


@commands.command()
def install(name: NameArgument) -> None:
    """Install a service into an environment of its own."""
    client = connect()
    shown = client.post(f"/admin/services/{name}/install")
    note(f"{shown['title']} is being installed; this can take some minutes.")
    said = ""
    while shown["state"] == "installing":
        if shown["reason"] != said:
            said = shown["reason"]
            note(said)
        time.sleep(_LOOK_S)
        shown = client.get(f"/admin/services/{name}")
    if not shown["installed"]:
        raise AppError(
            shown["reason"],
            code="install_failed",
            hint=f"`dragoman services logs {name}` shows what was printed.",
        )
    say(f"{shown['title']} {shown['installed']} is installed.")
    if not shown["on"]:
        say(f"It is off until `dragoman services start {name}`.")


@commands.command()
def start(
    name: NameArgument,
    agree: Annotated[
        str, typer.Option(help="Version of the terms that you have read and agree to.")
    ] = "",
) -> None:
    """Turn a service on, after what it means is agreed to."""
    client = connect()
    shown = client.get(f"/admin/services/{name}")
    if not agree and not shown["agreed"]:
        agree = _ask(shown["consent"])
    shown = client.post(f"/admin/services/{name}/start", {"consent": agree})
    shown = _settled(client, name, shown)
    _show_one(shown)
    if shown["state"] not in ("ready", *_BUSY):
        raise typer.Exit(1)


def _ask(consent: dict[str, Any]) -> str:
    """Show the text, and return its version once the user agreed to it."""
    note(f"{consent['text']}\n\n{consent['instead']}\n")
    version: str = consent["version"]
    if not is_terminal(sys.stdin):
        raise RequestError(
            "This has to be agreed to first.",
            code="consent_required",
            hint=f"If you do, add `--agree {version}`.",
        )
    answer = typer.prompt("Type yes to agree", default="no", err=True)
    if answer.strip().lower() != "yes":
        raise AppError("Nothing was turned on.", code="cancelled")
    return version


def _settled(client: Client, name: str, shown: dict[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + _START_LIMIT_S
    while shown["state"] == "starting" and time.monotonic() < end:
        time.sleep(_LOOK_S)
        shown = client.get(f"/admin/services/{name}")
    return shown


@commands.command()
def stop(name: NameArgument) -> None:
    """Turn a service off, and leave it off."""
    shown = connect().post(f"/admin/services/{name}/stop")
    say(f"{shown['title']} is off.")


@commands.command()
def status(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Of one service; all without it.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Show how the services are."""
    client = connect()
    if name:
        shown = client.get(f"/admin/services/{name}")
        if as_json:
            show_json(shown)
        else:
            _show_one(shown)
        return
    listed = client.get("/admin/services")["services"]
    if as_json:
        show_json(listed)
        return
    now = time.time()
    show_table(
        ("SERVICE", "STATE", "FOR", "MEMORY", "AGAIN", "REASON"),
        [
            (
                one["name"],
                one["state"].replace("_", " "),
                "" if one["since"] is None else render_span(now - one["since"]),
                _megabytes(one["memory_bytes"]),
                "" if one["until"] is None else f"in {render_span(max(0, one['until'] - now))}",
                one["reason"],
            )
            for one in listed
        ],
    )


def _show_one(one: dict[str, Any]) -> None:
    now = time.time()
    say(f"{one['title']}: {one['state'].replace('_', ' ')}. {one['reason']}".rstrip())
    if one["outside"]:
        say(f"It is yours, at {one['address']}; Dragoman does not start or stop it.")
    elif one["installed"]:
        say(f"Version {one['installed']}, at {one['address']} on this machine only.")
    if one["since"] is not None:
        taken = _megabytes(one["memory_bytes"])
        say(
            f"Ready for {render_span(now - one['since'])}{f', {taken} of memory' if taken else ''}."
        )
    if one["until"] is not None:
        say(f"It is tried again in {render_span(max(0, one['until'] - now))}.")
    if one["restarts"]:
        say(f"Started again {one['restarts']} times.")
    if one["answered"]:
        told = ", ".join(f"{who} {count}" for who, count in one["answered"].items())
        say(f"Who answered: {told}.")


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1024 / 1024:.0f} MB"


@commands.command()
def logs(
    name: NameArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl+C.")
    ] = False,
    count: Annotated[int, typer.Option("-n", min=0, help="How many of the last lines.")] = 50,
) -> None:
    """Show what a service printed."""
    from app import log
    from app.services.journal import log_file

    if not re.fullmatch(r"[a-z0-9-]{1,60}", name):
        raise RequestError(f"There is no service {name[:60]!r}.")
    file = log_file(places(), name)
    if not file.exists() and not follow:
        raise AppError(
            f"There is no log yet: {file}.",
            code="no_log",
            hint=f"`dragoman services install {name}` comes first.",
        )
    for line in log.tail(file, count) if count and file.exists() else ():
        say(line)
    if follow:
        try:
            for line in log.follow(file, threading.Event()):
                say(line)
        except KeyboardInterrupt:
            return  # how one leaves it
