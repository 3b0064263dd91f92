"""``dragoman accounts``: every account, how it is, when it is tried again; and changing one."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli.agreement import ask_agreement
from app.cli.client import Client
from app.cli.running import client_of, connect, find_running, places
from app.cli.status import JsonOption
from app.cli.terminal import NotRunning, note, render_span, say, show_json, show_table
from app.errors import RequestError

__all__ = ["AccountName", "ask_account", "choose", "commands"]

_ANSWER_S = 130.0
"""A renewal that runs comes to its end first, and the service is asked."""

_MOST_MODELS = 3
"""That rest, of one account; more would fill the screen."""

commands = typer.Typer(help="List the accounts, and change one.", invoke_without_command=True)

AccountName = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="claude-1, or claude when there is only one.")
]


@commands.callback()
def accounts(
    context: typer.Context,
    who: Annotated[bool, typer.Option("--who", help="Show e-mail addresses, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the accounts, and change one."""
    if context.invoked_subcommand is not None:
        return
    answer: dict[str, Any] = connect().get("/admin/accounts")
    if as_json:
        show_json(answer)
        return
    now = time.time()
    rows = [_row(account, now, who=who) for account in answer["accounts"]]
    if rows:
        show_table(("ACCOUNT", "WHO", "PLAN", "STATE", "SINCE", "AGAIN", "RENEWED", "REASON"), rows)
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


@commands.command()
def pause(name: AccountName) -> None:
    """Leave an account out until it is resumed."""
    _change(name, "pause", "{id} is paused; `dragoman accounts resume {id}` takes it back in.")


@commands.command()
def resume(name: AccountName) -> None:
    """Use an account again."""
    _change(name, "resume", "{id} is used again.")


@commands.command()
def primary(name: AccountName) -> None:
    """Ask an account before the others of its provider."""
    _change(name, "primary", "{id} is asked first.")


@commands.command()
def order(
    name: AccountName,
    place: Annotated[int, typer.Argument(metavar="PLACE", help="A whole number; 0 is first.")],
) -> None:
    """Give an account its place after the primary one.

    Lower comes first.
    """
    _change(name, "order", f"{{id}} has place {place} now.", {"order": place})


@commands.command()
def refresh(name: AccountName) -> None:
    """Renew a sign-in now."""
    _change(name, "refresh", "{id} is renewed.")


@commands.command()
def rename(
    name: AccountName, label: Annotated[str, typer.Argument(metavar="LABEL", help="The new one.")]
) -> None:
    """Give an account another label."""
    _change(name, "rename", "It is called {id} now.", {"label": label})


@commands.command()
def agree(
    name: AccountName,
    date: Annotated[
        str, typer.Option("--agree", metavar="DATE", help="Agree to the text of this date.")
    ] = "",
) -> None:
    """Read the terms of an account's provider, and agree."""
    client, account = _find(name)
    services = client.get("/admin/accounts")["providers"]
    if not any(one["id"] == account["provider"] and one["consent"] for one in services):
        raise RequestError(f"{account['id']} asks for no agreement.", code="no_terms")
    version = date or ask_agreement(client, account["provider"], say)
    _act(client, account["id"], "consent", {"version": version})
    say(f"You have agreed to the terms of {account['id']}.")


def _change(name: str, action: str, sentence: str, body: dict[str, object] | None = None) -> None:
    answer = ask_account(name, action, body)
    say(sentence.format(id=answer["account"]["id"]))


def ask_account(name: str, action: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    """Have the running instance do something with an account; return its answer.

    Raises:
        NotRunning: there is no instance.
        RequestError: none or several accounts are meant.
        AppError: the instance refuses.
    """
    client, account = _find(name)
    return _act(client, account["id"], action, body)


def _find(name: str) -> tuple[Client, dict[str, Any]]:
    record = find_running(places())
    if record is None:
        raise NotRunning
    client = client_of(record, timeout_s=_ANSWER_S)
    listed = client.get("/admin/accounts")["accounts"]
    account_id = choose(listed, name)
    return client, next(account for account in listed if account["id"] == account_id)


def _act(
    client: Client, account_id: str, action: str, body: dict[str, object] | None
) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(
        f"/admin/accounts/{quote(account_id, safe='')}/{action}", body
    )
    return answer


def choose(accounts: list[dict[str, Any]], name: str) -> str:
    """Return the id of the account that a word means: an id, a label, or a provider.

    Raises:
        RequestError: none or several are meant.
    """
    meant = [account for account in accounts if account["id"] == name]
    meant = meant or [account for account in accounts if account["label"] == name]
    if not meant:
        of_provider = [account for account in accounts if account["provider"] == name]
        # What is written in the settings is changed there; it is meant only where nothing else is.
        meant = [account for account in of_provider if not account["configured"]] or of_provider
    if len(meant) == 1:
        account_id: str = meant[0]["id"]
        return account_id
    if meant:
        ids = ", ".join(account["id"] for account in meant)
        raise RequestError(
            f"{name!r} may mean {ids}.", hint="Write one of them.", code="account_needed"
        )
    raise RequestError(
        f"There is no account {name!r}.",
        hint="`dragoman accounts` lists them.",
        status=404,
        code="unknown_account",
    )


def _row(account: dict[str, Any], now: float, *, who: bool) -> tuple[str, ...]:
    until, renewed_at, since = account["until"], account["renewed_at"], account["since"]
    return (
        account["id"] + (" (primary)" if account["primary"] else ""),
        account["name"] if who else "",
        account["plan"],
        account["state"],
        "" if since is None else f"{render_span(now - since)} ago",
        "" if until is None else f"in {render_span(until - now)}",
        f"{render_span(now - renewed_at)} ago" if renewed_at else "",
        " ".join(
            text for text in (account["reason"], account["warning"], _resting(account, now)) if text
        ),
    )


def _resting(account: dict[str, Any], now: float) -> str:
    """Say which models an account leaves alone although it serves others."""
    told = []
    for one in account["resting"][:_MOST_MODELS]:
        until = one["until"]
        again = "" if until is None else f", again in {render_span(until - now)}"
        told.append(f"{one['model']}: {one['reason']}{again}.")
    more = len(account["resting"]) - len(told)
    return " ".join([*told, f"{more} more models rest."] if more else told)
