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
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from urllib.parse import quote

import typer

from app.cli.running import client_of, find_running, places
from app.cli.status import JsonOption
from app.cli.terminal import note, say, show_json, show_table
from app.errors import AppError, RequestError
from app.keys import KEY_PREFIX, KeyKind, parse_limit

if TYPE_CHECKING:
    from app.keys import KeyRecord
    from app.ledger.meter import Meter
    from app.store.keys import Keys

__all__ = ["commands", "parse_expiry", "parse_time"]

commands = typer.Typer(
    help="Make, list, limit, rotate and revoke client keys.", no_args_is_help=True
)

_SCOPES = ("providers", "models", "accounts")
_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_NONE = "none"
"""Takes something away from a key."""

_Names: TypeAlias = list[str] | None
_Provider = Annotated[
    _Names,
    typer.Option("--provider", help="Only these providers; may be given again, as may the rest."),
]
_Model = Annotated[
    _Names, typer.Option("--model", help="Only these models; * stands for any text.")
]
_Account = Annotated[
    _Names, typer.Option("--account", help="Only these accounts: provider/label, or provider/*.")
]
_Limit = Annotated[
    _Names,
    typer.Option(
        "--limit",
        help="60 requests/minute, 2m tokens/day, 5 usd/month: one for each unit and period.",
    ),
]
_Default = Annotated[
    str | None,
    typer.Option("--default-model", help="Model, alias or chain for calls that name none."),
]
_Alias = Annotated[
    _Names, typer.Option("--alias", help="NAME=MODEL: what calls with this key mean by a name.")
]
_Name = Annotated[str, typer.Argument(metavar="ID", help="Its id, first letters, or label.")]


def parse_expiry(text: str, now: float) -> float:
    """Return when a key ends, in epoch seconds.

    Args:
        text: a length of time (``12h``, ``30d``, ``4w``), or a day (``2026-12-31``), which is
            then the last one, by this machine's time zone.
        now: epoch seconds.

    Raises:
        ValueError: neither of the two, or not in the future.
    """
    if (length := parse_time(text)) is not None:
        end = now + length
    else:
        try:
            day = datetime.strptime(text.strip(), "%Y-%m-%d")  # noqa: DTZ007 - a local day
            end = (day + timedelta(days=1)).timestamp()
        except (ValueError, OverflowError, OSError):
            raise ValueError("expected 12h, 30d, 4w or a day such as 2030-12-31") from None
    if end <= now:
        raise ValueError("expected a time in the future")
    return end


def parse_time(text: str) -> int | None:
    """Return a length of time (``30m``, ``12h``, ``30d``, ``4w``) in seconds; None for no such."""
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    return None if match is None else int(match[1]) * _UNITS_S[match[2]]


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
    provider: _Provider = None,
    model: _Model = None,
    account: _Account = None,
    limit: _Limit = None,
    default_model: _Default = None,
    alias: _Alias = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, this once."""
    if admin and relay is not None:
        raise typer.BadParameter(
            "A key is for control or for the relay, not both: --admin, --relay."
        )
    kind: KeyKind = "admin" if admin else "client" if relay is None else "relay"
    now = time.time()
    expires_at = None if expires is None else _ends(expires, now)
    body: dict[str, Any] = {
        "kind": kind,
        "label": label or f"{kind} {time.strftime('%Y-%m-%d', time.localtime(now))}",
        "expires_at": expires_at,
    }
    body |= _terms(provider, model, account, limit, default_model, alias)
    if relay is not None:
        if len(body) > 3:
            raise typer.BadParameter("A relay key is for one account; it takes a label and an end.")
        body["accounts"] = [relay]
    answer = _ask(lambda keys, meter: _create_here(keys, meter, body), "POST", "/admin/keys", body)
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
        lambda keys, meter: {"keys": [_shown(record, meter) for record in keys.list()]},
        "GET",
        "/admin/keys",
    )
    if as_json:
        show_json(answer["keys"])
        return
    if not answer["keys"]:
        note("There is no key yet; `dragoman keys create` makes one.")
        return
    show_table(
        ("ID", "KIND", "LABEL", "CREATED", "STATE", "ONLY FOR", "USED"),
        [
            (
                record["id"],
                record["kind"],
                record["label"],
                _day(record["created_at"]),
                _end_of(record),
                _scope_of(record),
                _use_of(record),
            )
            for record in answer["keys"]
        ],
    )


@commands.command("edit")
def edit(
    name: _Name,
    expires: Annotated[
        str | None, typer.Option("--expires", help="30d, 12h, 4w, a last day, or none.")
    ] = None,
    provider: _Provider = None,
    model: _Model = None,
    account: _Account = None,
    limit: _Limit = None,
    default_model: _Default = None,
    alias: _Alias = None,
    as_json: JsonOption = False,
) -> None:
    """Change a key: each option replaces what it had.

    The word none takes it away.
    """
    body = _terms(provider, model, account, limit, default_model, alias)
    if expires is not None:
        body["expires_at"] = None if expires == _NONE else _ends(expires, time.time())
    if not body:
        raise typer.BadParameter("Say what to change; --help lists it.")
    _change(name, body, as_json)


@commands.command("rename")
def rename(
    name: _Name,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="Its new name for people.")],
    as_json: JsonOption = False,
) -> None:
    """Give a key another label."""
    _change(name, {"label": label}, as_json)


@commands.command("rotate")
def rotate(
    name: _Name,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", help="Take the former secret for so long: 30m, 1h, 7d.  [default: no]"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Give a key a new secret, and print it this once.

    All else of it stays.
    """
    _keep_out(name)
    keep_s = 0 if keep is None else parse_time(keep)
    if keep_s is None:
        raise typer.BadParameter("--keep: expected a time such as 30m, 1h or 7d.")

    def here(keys: Keys, meter: Meter) -> Any:
        record, plain = keys.rotate(name, keep_s)
        return {"key": plain, "record": _shown(record, meter)}

    answer = _ask(here, "POST", f"/admin/keys/{quote(name, safe='')}/rotate", {"keep_s": keep_s})
    if as_json:
        show_json(answer)
        return
    record = answer["record"]
    say(answer["key"])  # alone on standard output, so that a script can take it
    until = record.get("old_until")
    old = "no longer taken" if until is None else f"taken until {_day(until, minutes=True)}"
    note(f"New secret of the key {record['id']} ({record['label']}). The former one is {old}.")


@commands.command("revoke")
def revoke(name: _Name, as_json: JsonOption = False) -> None:
    """Revoke a key, at once and for good."""
    _keep_out(name)
    answer = _ask(
        lambda keys, meter: {"record": _shown(keys.revoke(name), meter)},
        "POST",
        f"/admin/keys/{quote(name, safe='')}/revoke",
    )
    if as_json:
        show_json(answer["record"])
    else:
        say(f"Key {answer['record']['id']} ({answer['record']['label']}) is revoked.")


def _keep_out(name: str) -> None:
    if name.startswith(KEY_PREFIX):
        # Other programs of this machine can read the words of a command.
        raise RequestError(
            "That is a key itself; keep it out of commands.",
            code="key_in_command",
            hint="`dragoman keys list` shows the id to use.",
        )


def _ends(text: str, now: float) -> float:
    try:
        return parse_expiry(text, now)
    except ValueError as error:
        raise typer.BadParameter(f"--expires: {error}.") from None


def _terms(
    providers: _Names,
    models: _Names,
    accounts: _Names,
    limits: _Names,
    default_model: str | None,
    aliases: _Names,
) -> dict[str, Any]:
    """Return the fields of a body for the options that were given."""
    body: dict[str, Any] = {}
    for field, names in zip(
        (*_SCOPES, "limits"), (providers, models, accounts, limits), strict=True
    ):
        if names:
            body[field] = None if names == [_NONE] else names
    try:
        for text in body.get("limits") or ():
            parse_limit(text)
    except ValueError as error:
        raise typer.BadParameter(f"--limit {text!r}: {error}.") from None
    if default_model is not None:
        body["default_model"] = None if default_model == _NONE else default_model
    if aliases:
        pairs = [alias.partition("=") for alias in aliases]
        if aliases != [_NONE] and not all(name and goal for name, _, goal in pairs):
            raise typer.BadParameter("--alias: expected NAME=MODEL.")
        body["aliases"] = None if aliases == [_NONE] else {name: goal for name, _, goal in pairs}
    return body


def _change(name: str, body: dict[str, Any], as_json: bool) -> None:
    _keep_out(name)
    answer = _ask(
        lambda keys, meter: {"record": _shown(keys.edit(name, body), meter)},
        "POST",
        f"/admin/keys/{quote(name, safe='')}",
        body,
    )
    record = answer["record"]
    if as_json:
        show_json(record)
        return
    say(f"Key {record['id']} ({record['label']}) is changed.")
    for text in (_scope_of(record), _use_of(record)):
        if text:
            note(text)


def _ask(here: Callable[[Keys, Meter], Any], method: str, path: str, body: Any = None) -> Any:
    """Ask the running instance, or do it on the store; both answer in the same shape."""
    record = find_running(places())
    if record is None:
        with _store() as (keys, meter):
            return here(keys, meter)
    client = client_of(record)
    return client.get(path) if method == "GET" else client.post(path, body)


@contextmanager
def _store() -> Iterator[tuple[Keys, Meter]]:
    """Open the store; the meter knows what was used until now."""
    from app.configfile import load_file, locate
    from app.ledger.meter import Meter
    from app.store.database import Database
    from app.store.keys import Keys
    from app.store.usage import UsageStore

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
        keys = Keys(database)
        meter = Meter(keys.load_all())
        meter.prime(UsageStore(database))
        yield keys, meter
    finally:
        database.close()


def _create_here(keys: Keys, meter: Meter, body: dict[str, Any]) -> dict[str, Any]:
    scopes = {name: body[name] for name in _SCOPES if body.get(name) is not None}
    terms = {
        name: body[name]
        for name in ("limits", "default_model", "aliases")
        if body.get(name) is not None
    }
    record, plain = keys.create(body["kind"], body["label"], body["expires_at"], scopes, terms)
    return {"key": plain, "record": _shown(record, meter)}


def _shown(record: KeyRecord, meter: Meter) -> dict[str, Any]:
    """Return a record as ``/admin/keys`` shows it."""
    from app.ledger.limits import shown_use

    uses = [shown_use(use) for use in meter.uses(record)]
    return record.shown() | {"state": record.state(time.time()), "limits": uses}


def _end_of(record: dict[str, Any]) -> str:
    now = time.time()
    revoked, expires = record.get("revoked_at"), record.get("expires_at")
    if revoked is not None:
        return f"revoked {_day(revoked)}"
    if expires is None:
        return "active"
    return f"{'expired' if expires <= now else 'active until'} {_day(expires, minutes=True)}"


def _scope_of(record: dict[str, Any]) -> str:
    parts = [f"{name} {', '.join(record[name])}" for name in _SCOPES if record.get(name)]
    if record.get("default_model"):
        parts.append(f"default {record['default_model']}")
    parts += [f"{name} = {goal}" for name, goal in (record.get("aliases") or {}).items()]
    return "; ".join(parts)


def _use_of(record: dict[str, Any]) -> str:
    return "; ".join(use["text"] for use in record.get("limits", ()))


def _day(moment: float, *, minutes: bool = False) -> str:
    form = "%Y-%m-%d %H:%M" if minutes else "%Y-%m-%d"
    return time.strftime(form, time.localtime(moment))
