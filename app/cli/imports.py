"""``dragoman login --import``: sign-ins that other programs on this machine hold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer

from app.cli.agreement import ask_agreement
from app.cli.client import Client
from app.cli.terminal import note, say, show_json, show_table
from app.cli.typed import is_terminal
from app.errors import AppError, RequestError

__all__ = ["list_imports", "take_imports"]

_ROUTE = "/admin/imports"


def list_imports(client: Client, folder: Path | None, *, as_json: bool) -> None:
    """Show what there is to take, and what taking it would mean; takes nothing.

    Args:
        client: of the running instance.
        folder: one of CLIProxyAPI's; None for the usual places of all programs.
        as_json: print the instance's answer.
    """
    listing = _look(client, folder)
    if as_json:
        show_json(listing)
        return
    found = listing["found"]
    if not found:
        note("No other program here has a sign-in that is known.")
    else:
        rows = [
            (
                one["key"] if one["can_be_taken"] else "-",
                one["program"],
                one["what"],
                ", ".join(text for text in (one["name"], one["plan"]) if text),
                one["path"],
            )
            for one in found
        ]
        show_table(("KEY", "HELD BY", "WHAT", "WHO", "WHERE"), rows)
        _explain(found)
    for problem in listing["problems"]:
        note(f"{problem['path']} could not be read: {problem['reason']}.")
    if any(one["can_be_taken"] for one in found):
        more = "" if folder is None else f" --from {folder}"
        note(f"Nothing was taken. `dragoman login --import{more} KEY` takes what you name.")


def _explain(found: Sequence[dict[str, Any]]) -> None:
    """Say of each what speaks against it; what holds for several is said once."""
    texts: dict[str, list[str]] = {}
    for one in found:
        for text in (one["refusal"], one["warning"]):
            if text:
                name = one["key"] if one["can_be_taken"] else f"{one['program']}, {one['what']}"
                texts.setdefault(text, []).append(name)
    for text, names in texts.items():
        say()
        say(f"{', '.join(names)}: {text}")


def take_imports(
    client: Client,
    keys: Sequence[str],
    folder: Path | None,
    *,
    label: str | None,
    agreed: str,
    as_json: bool,
) -> None:
    """Take over the sign-ins that are named, one by one, each after its warning.

    Args:
        client: of the running instance.
        keys: as ``list_imports`` shows them.
        folder: as there.
        label: of the new account; for one key only.
        agreed: version of the provider's text that was agreed to on the command line.
        as_json: print what the instance answered for each.

    Raises:
        AppError: one could not be taken; those before it were.
    """
    if label is not None and len(keys) > 1:
        raise RequestError("A label is for one account.", hint="Name one KEY.", param="label")
    found = {one["key"]: one for one in _look(client, folder)["found"]}
    tell = note if as_json else say
    taken = []
    for key in keys:
        if key in found and (warning := found[key]["warning"]):
            tell(warning)
            if is_terminal(sys.stdin) and not typer.confirm(f"Take {key}?", err=True):
                raise AppError(f"{key} was not taken.", code="cancelled")
        wanted = {"key": key, "label": label, "consent": agreed}
        if folder is not None:
            wanted["from"] = str(folder)
        try:
            answer = client.post(_ROUTE, wanted)
        except AppError as error:
            if error.code != "consent_required":
                raise
            wanted["consent"] = ask_agreement(client, found[key]["provider"], tell)
            answer = client.post(_ROUTE, wanted)
        taken.append(answer)
        if not as_json:
            again = " again" if answer["repaired"] else ""
            say(f"Signed in{again}: {answer['account']['id']}.")
    if as_json:
        show_json({"taken": taken})


def _look(client: Client, folder: Path | None) -> dict[str, Any]:
    query = "" if folder is None else f"?from={quote(str(folder), safe='')}"
    listing: dict[str, Any] = client.get(_ROUTE + query)
    return listing
