"""``dragoman keys``: who may call from elsewhere.

A running instance is asked, since it keeps the keys in memory; otherwise the store is opened here.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from app.cli.running import client_of, find_running, places
from app.cli.status import JsonOption
from app.cli.terminal import note, say, show_json, show_table
from app.errors import AppError, RequestError
from app.keys import KEY_PREFIX, KeyKind

if TYPE_CHECKING:
    from app.keys import KeyRecord
    from app.store.keys import Keys

__all__ = ["commands", "parse_expiry"]

commands = typer.Typer(help="Make, list and revoke client keys.", no_args_is_help=True)

_SCOPES = ("providers", "models", "accounts")
_UNITS_S = {"h": 3_600, "d": 86_400, "w": 604_800}


def parse_expiry(text: str, now: float) -> float:
    """Return when a key ends, in epoch seconds.

    Args:
        text: a length of time (``12h``, ``30d``, ``4w``), or a day (``2026-12-31``), which is
            then the last one, by this machine's time zone.
        now: epoch seconds.

    Raises:
        ValueError: neither of the two, or not in the future.
    """
    if match := re.fullmatch(r"(\d{1,6})([hdw])", text.strip()):
        end = now + int(match[1]) * _UNITS_S[match[2]]
    else:
        try:
            day = datetime.strptime(text.strip(), "%Y-%m-%d")  # noqa: DTZ007 - a local day
            end = (day + timedelta(days=1)).timestamp()
        except (ValueError, OverflowError, OSError):
            raise ValueError("expected 12h, 30d, 4w or a day such as 2030-12-31") from None
    if end <= now:
        raise ValueError("expected a time in the future")
    return end


@commands.command("create")
def create(
    admin: Annotated[
        bool, typer.Option("--admin", help="May use the control routes, too.")
    ] = False,
    relay: Annotated[
        str | None,
        typer.Option("--relay", metavar="ACCOUNT", help="Only for the relay socket of an account."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="A name for people.  [default: kind and day]")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="30d, 12h, 4w, or the last day: 2030-12-31.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, this once."""
    if admin and relay is not None:
        raise typer.BadParameter(
            "A key is for control or for the relay, not both: --admin, --relay."
        )
    kind: KeyKind = "admin" if admin else "client" if relay is None else "relay"
    now = time.time()
    try:
        expires_at = None if expires is None else parse_expiry(expires, now)
    except ValueError as error:
        raise typer.BadParameter(f"--expires: {error}.") from None
    body: dict[str, Any] = {
        "kind": kind,
        "label": label or f"{kind} {time.strftime('%Y-%m-%d', time.localtime(now))}",
        "expires_at": expires_at,
    }
    if relay is not None:
        body["accounts"] = [relay]
    answer = _ask(lambda keys: _create_here(keys, body), "POST", "/admin/keys", body)
    if as_json:
        show_json(answer)
        return
    record = answer["record"]
    say(answer["key"])  # alone on standard output, so that a script can take it
    note(
        f"Key {record['id']} ({record['kind']}, {record['label']}, {_end_of(record)}). "
        "Keep it: it is not shown again."
    )


@commands.command("list")
def list_keys(as_json: JsonOption = False) -> None:
    """List the keys, without their secrets."""
    answer = _ask(
        lambda keys: {"keys": [_shown(record) for record in keys.list()]}, "GET", "/admin/keys"
    )
    if as_json:
        show_json(answer["keys"])
        return
    if not answer["keys"]:
        note("There is no key yet; `dragoman keys create` makes one.")
        return
    show_table(
        ("ID", "KIND", "LABEL", "CREATED", "STATE", "ONLY FOR"),
        [
            (
                record["id"],
                record["kind"],
                record["label"],
                _day(record["created_at"]),
                _end_of(record),
                _scope_of(record),
            )
            for record in answer["keys"]
        ],
    )


@commands.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="ID", help="Its id, first letters, or label.")],
    as_json: JsonOption = False,
) -> None:
    """Revoke a key, at once and for good."""
    if name.startswith(KEY_PREFIX):
        # Other programs of this machine can read the words of a command.
        raise RequestError(
            "That is a key itself; keep it out of commands.",
            code="key_in_command",
            hint="`dragoman keys list` shows the id to use.",
        )
    answer = _ask(
        lambda keys: {"record": _shown(keys.revoke(name))},
        "POST",
        f"/admin/keys/{quote(name, safe='')}/revoke",
    )
    if as_json:
        show_json(answer["record"])
    else:
        say(f"Key {answer['record']['id']} ({answer['record']['label']}) is revoked.")


def _ask(here: Callable[[Keys], Any], method: str, path: str, body: Any = None) -> Any:
    """Ask the running instance, or do it on the store; both answer in the same shape."""
    record = find_running(places())
    if record is None:
        with _store() as keys:
            return here(keys)
    client = client_of(record)
    return client.get(path) if method == "GET" else client.post(path, body)


@contextmanager
def _store() -> Iterator[Keys]:
    from app.configfile import load_file, locate
    from app.store.database import Database
    from app.store.keys import Keys

    url = load_file(locate(None, os.environ), os.environ).database.url
    if url is not None and (missing := url.missing(os.environ)):
        raise AppError(
            f"The database is not known: {', '.join(missing)} is not set in this session.",
            code="store_unavailable",
            status=503,
            hint="Set it, or start Dragoman where it is set; it is then asked.",
        )
    database = Database(None if url is None else url.resolve(os.environ), places().data)
    try:
        database.migrate()
        yield Keys(database)
    finally:
        database.close()


def _create_here(keys: Keys, body: dict[str, Any]) -> dict[str, Any]:
    scopes = {name: body[name] for name in _SCOPES if name in body}
    record, plain = keys.create(body["kind"], body["label"], body["expires_at"], scopes)
    return {"key": plain, "record": _shown(record)}


def _shown(record: KeyRecord) -> dict[str, Any]:
    """Return a record as ``/admin/keys`` shows it."""
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(record)
    del fields["sha256"]
    return fields


def _end_of(record: dict[str, Any]) -> str:
    now = time.time()
    revoked, expires = record.get("revoked_at"), record.get("expires_at")
    if revoked is not None:
        return f"revoked {_day(revoked)}"
    if expires is None:
        return "active"
    return f"{'expired' if expires <= now else 'active until'} {_day(expires, minutes=True)}"


def _scope_of(record: dict[str, Any]) -> str:
    parts = (f"{name} {', '.join(record[name])}" for name in _SCOPES if record.get(name))
    return "; ".join(parts)


def _day(moment: float, *, minutes: bool = False) -> str:
    form = "%Y-%m-%d %H:%M" if minutes else "%Y-%m-%d"
    return time.strftime(form, time.localtime(moment))
