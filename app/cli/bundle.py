"""A support bundle: what somebody who helps needs, and nothing that is private.

Everything in it is chosen, not filtered: settings by key, log lines by level with what services
said cut off, failed requests by their numbers. What is chosen then goes through the log's redaction
and loses home folder, user, machine and e-mail addresses. No prompt, no answer, no secret, no body
and no account's name is among it; sentences that came from a service are left out, since a service
may repeat what it was sent.
"""

from __future__ import annotations

import getpass
import importlib.metadata
import io
import platform
import re
import socket
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from app import __version__, log
from app.build import find_build
from app.cli.checks import Check
from app.errors import AppError

if TYPE_CHECKING:
    from app.cli.client import Client
    from app.clients.connections import Connections
    from app.config import Config

__all__ = [
    "Anonymous",
    "Member",
    "agents_member",
    "checks_member",
    "file_name",
    "log_member",
    "pack",
    "requests_member",
    "settings_member",
    "shown_settings",
    "status_member",
    "versions_member",
]

_LINES: Final = 300
_LONGEST_LINE: Final = 400
_LOOKED_AT: Final = 20_000
_REQUESTS: Final = 100
_LIBRARIES: Final = (
    *("tornado", "httpx", "msgspec", "pydantic", "ruamel.yaml", "sqlalchemy", "alembic"),
    *("keyring", "cryptography", "typer", "rich", "pystray", "pywebview", "dbus-fast", "filelock"),
)

_MASK: Final = "***"
_SECRET_KEYS: Final = frozenset(
    {"api_key", "headers", "header", "command", "set", "override", "params", "message", "url"}
    | {"label", "account", "key"}
)
"""Keys of the settings below which every text is left out: secrets, names of accounts and keys, and
texts of the user's own."""
_URL_KEYS: Final = frozenset({"base_url", "proxy"})
_WORD: Final = re.compile(r"[\w.:/@*+~,^$|()\[\]{}\\?-]{1,120}")
"""Texts without a space: names, patterns, paths. Sentences of the user's own are left out."""

_LINE: Final = re.compile(r"(\S+Z) (WARNING|ERROR|CRITICAL) (\S+): (.*)")
_FRAME: Final = re.compile(r"  \|\s+File \"[^\"]*?((?:[\w.-]+/){0,2}[\w.-]+)\", line \d+, in \S+")
_RAISED: Final = re.compile(r"  \| ([A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning))\b")
_OWN_WORDS: Final = frozenset(
    {"clients", "desktop", "extensions", "log", "models", "service", "services", "store", "tokens"}
    | {"watch"}
)
"""Parts of the program whose lines are about this machine alone; of all others only the sentence's
beginning is taken, before the colon after which it quotes somebody."""

_REQUEST_FIELDS: Final = (
    *("at", "dialect", "asked", "model", "provider", "upstream", "grade", "status", "stop"),
    *("error", "attempts", "first_ms", "duration_ms", "stream"),
)
_EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the bundle."""

    name: str
    about: str
    """What it holds, for the list that is shown before it is written."""
    content: bytes


class Anonymous:
    """Takes out of texts who the user is and where: the same words for the same thing.

    Args:
        home: the home folder.
        user: the user's name at the system; common ones that are also words are left.
        host: the machine's name.
    """

    def __init__(self, home: str, user: str, host: str) -> None:
        self._labels: dict[str, str] = {}
        self._words = [(word, put) for word, put in ((home, "~"),) if len(word) > 1]
        named = [(user, "<user>"), (host, "<host>"), (host.partition(".")[0], "<host>")]
        common = {"root", "user", "admin", "localhost", "home", "dragoman"}
        self._patterns = [
            (re.compile(rf"(?<![\w]){re.escape(word)}(?![\w])"), put)
            for word, put in named
            if len(word) > 2 and word.lower() not in common
        ]

    @classmethod
    def here(cls, env: Mapping[str, str]) -> Anonymous:
        """Return one for whoever runs this."""
        home = env.get("USERPROFILE" if sys.platform == "win32" else "HOME") or str(Path.home())
        try:
            user = getpass.getuser()
        except (KeyError, OSError, ImportError):
            user = ""  # a user without a name
        return cls(home, user, socket.gethostname())

    def account(self, account_id: str) -> str:
        """Return another name for an account, and use it everywhere from now on."""
        if account_id and account_id not in self._labels:
            provider = account_id.partition("/")[0]
            self._labels[account_id] = f"{provider}/account-{len(self._labels) + 1}"
        return self._labels.get(account_id, "")

    def text(self, text: str) -> str:
        """Return a text without secrets and names."""
        text = log.scrub(text)
        for account_id in sorted(self._labels, key=len, reverse=True):
            text = text.replace(account_id, self._labels[account_id])
        for word, put in self._words:
            text = text.replace(word, put)
        for pattern, put in self._patterns:
            text = pattern.sub(put, text)
        return _EMAIL.sub("<e-mail>", text)

    def json(self, value: Any) -> bytes:
        """Return a value as indented JSON without secrets and names."""
        # Strings are cleaned one by one: a pattern must not run from one into the next.
        clean = self._clean(msgspec.to_builtins(value))
        return msgspec.json.format(msgspec.json.encode(clean), indent=2) + b"\n"

    def _clean(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(str(key)): self._clean(item) for key, item in value.items()}
            case list() | tuple():
                return [self._clean(item) for item in value]
            case _:
                return value


def file_name(now: float) -> str:
    """Return a bundle's usual name."""
    return time.strftime("dragoman-support-%Y%m%d-%H%M%S.zip", time.localtime(now))


def versions_member(who: Anonymous, env: Mapping[str, str]) -> Member:
    """Return what runs where."""
    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            libraries[name] = ""
    names = ("XDG_SESSION_TYPE", "XDG_CURRENT_DESKTOP", "LANG")
    proxies = sorted(n for n in env if n.lower() in ("http_proxy", "https_proxy", "all_proxy"))
    about = {
        "dragoman": __version__,
        "commit": find_build().commit,
        "build": find_build().kind,
        "python": platform.python_version(),
        "system": platform.platform(),
        "frozen": bool(getattr(sys, "frozen", False)),
        "libraries": libraries,
        "session": {name: env[name] for name in names if name in env},
        "variables": sorted(n for n in env if n.startswith("DRAGOMAN_")) + proxies,
    }
    told = "versions of Dragoman, Python, the system and libraries; names of variables"
    return Member("versions.json", told, who.json(about))


def checks_member(who: Anonymous, checks: Sequence[Check]) -> Member:
    """Return what the doctor found, without what services said to accounts."""
    rows = []
    for check in checks:
        name, text = check.name, check.text
        if name.startswith("account "):
            name = f"account {who.account(name.removeprefix('account '))}"
            text = text.partition(": ")[0] if check.verdict != "ok" else text
        rows.append({"name": name, "verdict": check.verdict, "text": text, "hint": check.hint})
    return Member("checks.json", "what the checks above found", who.json(rows))


def settings_member(who: Anonymous, config: Config | None, problems: Sequence[str]) -> Member:
    """Return the settings in force; where they are wrong, what is wrong with them."""
    shown = None if config is None else shown_settings(config)
    body = {"settings": shown, "problems": list(problems)}
    told = "settings without keys, header fields, commands and texts of your own"
    return Member("settings.json", told, who.json(body))


def shown_settings(config: Config) -> Any:
    """Return settings as JSON values in which every secret and every free text is ``***``."""
    return _shown(config.model_dump(mode="json", by_alias=True), "", False)


def _shown(value: Any, key: str, secret: bool) -> Any:
    match value:
        case dict():
            return {
                name: _shown(item, name, secret or name in _SECRET_KEYS)
                for name, item in value.items()
            }
        case list() | tuple():
            return [_shown(item, key, secret) for item in value]
        case str() if secret:
            return value if re.fullmatch(r"(?:\$\{\w+\})?", value) else _MASK
        case str() if key in _URL_KEYS:
            return _address(value)
        case str():
            return value if _WORD.fullmatch(value) or not value else _MASK
        case _:
            return value


def _address(url: str) -> str:
    """Return scheme, host, port and path; who signs in there, and a query, are left out."""
    match = re.match(r"(\w+://)(?:[^/@\s]*@)?([^/?#\s]*)([^?#\s]*)", url)
    return "".join(match.groups()) if match is not None else _MASK


def status_member(who: Anonymous, health: Mapping[str, Any] | None) -> Member:
    """Return how the running instance is; without one, that there is none."""
    if health is None:
        return Member("status.json", "that nothing runs now", who.json({"running": False}))
    accounts = [
        {
            "account": who.account(account["id"]),
            **{
                key: account.get(key)
                for key in ("state", "since", "until", "configured", "models", "quota")
            },
        }
        for provider in health["providers"]
        for account in provider["accounts"]
    ]
    body = {
        **{key: health.get(key) for key in ("version", "state", "uptime_s", "requests")},
        "keys": "ready" if health.get("keys") == "ready" else "in trouble",
        "accounts": accounts,
    }
    told = "state of the running program and of its accounts, without their names"
    return Member("status.json", told, who.json(body))


def agents_member(who: Anonymous, known: Connections) -> Member:
    """Return which agents are there and how the connected ones stand; no content of their files."""
    try:
        rows = [
            {
                "name": state.agent.name,
                "version": known.version(state),
                "url": None if state.record is None else state.record.url,
                "models": {} if state.record is None else dict(state.record.roles),
                "files": [
                    {"path": str(file.path), "state": file.state, "places": list(file.places)}
                    for file in state.files
                ],
            }
            for state in known.states()
            if state.found.installed or state.connected
        ]
        body: Any = {"agents": rows}
    except AppError as error:
        body = {"problem": error.text}
    return Member("agents.json", "agents, their versions and connections", who.json(body))


def log_member(who: Anonymous, file: Path, providers: Iterable[str]) -> Member:
    """Return the last warnings and errors of the log; nothing that a service said.

    Args:
        who: takes the names out.
        file: the log.
        providers: ids of services: with a label after them they name accounts, also former ones.
    """
    kept = [line for line in map(_kept, log.tail(file, _LOOKED_AT)) if line][-_LINES:]
    ids = "|".join(map(re.escape, sorted(providers, key=len, reverse=True)))
    named = re.compile(rf"(?<![\w/.-])(?:{ids})/[^\s:,;)'\"]+")
    told_of = (named.sub(lambda match: who.account(match[0]), line) for line in kept)
    text = "".join(f"{who.text(line)}\n" for line in told_of)
    told = f"{len(kept)} lines of the last warnings and errors, without what services said"
    return Member("errors.log", told, text.encode())


def _kept(line: str) -> str:
    """Return as much of a line of the log as may be shown; empty for nothing."""
    if frame := _FRAME.match(line):
        number = line[frame.end(1) :].split(",")[1].strip()
        return f"  | File {frame[1]}, {number}"
    if raised := _RAISED.match(line):
        return f"  | {raised[1]}"
    told = _LINE.match(line) or _json_line(line)
    if told is None:
        return ""
    at, level, logger, message = told.groups() if isinstance(told, re.Match) else told
    if logger.removeprefix("dragoman.") not in _OWN_WORDS:
        message = message.partition(": ")[0]
    return f"{at} {level.upper()} {logger}: {message}"[:_LONGEST_LINE]


def _json_line(line: str) -> tuple[str, str, str, str] | None:
    """Read a line of a log that is written as JSON."""
    if not line.startswith("{"):
        return None
    try:
        entry = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    if not isinstance(entry, dict) or entry.get("level") not in ("warning", "error", "critical"):
        return None
    fields = (str(entry.get(key, "")) for key in ("time", "level", "logger", "message"))
    return tuple(fields)  # type: ignore[return-value]  # four of them


def requests_member(who: Anonymous, client: Client | None) -> Member:
    """Return the last failed requests in numbers."""
    told = "the last failed requests: times, models, codes; no contents"
    if client is None:
        return Member("requests.json", told, who.json({"requests": []}))
    try:
        answer = client.get(f"/admin/requests?failed=1&limit={_REQUESTS}")
    except AppError as error:
        return Member("requests.json", told, who.json({"problem": error.code}))
    rows = [
        {"account": who.account(str(row.get("account", "")))}
        | {key: _plain(row.get(key)) for key in _REQUEST_FIELDS}
        for row in answer["requests"]
    ]
    return Member("requests.json", told, who.json({"requests": rows}))


def _plain(value: Any) -> Any:
    """Return a value of the ledger; a text that is no name came from a caller."""
    return value if not isinstance(value, str) or _WORD.fullmatch(value) or not value else _MASK


def pack(members: Sequence[Member], now: Callable[[], float] = time.time) -> bytes:
    """Return the archive, with a list of what is in it."""
    lines = [
        f"Support bundle of Dragoman {__version__}.",
        "",
        *(f"{member.name}: {member.about}" for member in members),
        "",
        "It holds no prompts, no answers, no keys and no names of accounts.",
        "",
    ]
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        moment = time.localtime(now())[:6]
        for name, content in (
            ("README.txt", "\n".join(lines).encode()),
            *((member.name, member.content) for member in members),
        ):
            info = zipfile.ZipInfo(f"dragoman-support/{name}", moment)
            info.external_attr = 0o600 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return held.getvalue()
