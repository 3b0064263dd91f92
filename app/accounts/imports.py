"""Sign-ins that other programs on this machine hold, to be taken over when the user says so.

``find`` only looks. Each parser turns the content of one kind of file into ``Found`` values; nothing
is taken, written or sent anywhere before ``Found.record`` is called for a choice and the record is
put into the vault. Files are written by other programs, so nothing in them is trusted: sizes, types
and characters are checked, and a file that makes no sense is one line in ``Listing.problems``.

A sign-in that renews itself has a refresh token that works once. Two programs that hold the same one
sign each other out, which ``Found.warning`` says.

Formats as seen in public code of the programs and their readers, 2026-11: Claude Code
(``claudeAiOauth``), Codex (``codex-rs/core/src/auth/storage.rs``), OpenCode (``src/auth/index.ts``),
Copilot (``apps.json``, ``hosts.json``), Gemini CLI, CLIProxyAPI (one file per account). The file of
cto.new's command line is known from a single third-party client.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from app.accounts.record import Record
from app.errors import RequestError
from app.providers.credential import Credential, Identity
from app.providers.ctonew_session import parse_cli_file
from app.providers.moment import read_moment, read_number
from app.providers.oauth import read_claims

__all__ = ["IMPORT", "Found", "Listing", "Problem", "StrangeFile", "find"]

IMPORT: Final = "import"
"""``Record.way`` of what was taken over."""

_LARGEST_BYTES = 4_000_000
_MOST_FILES = 200
"""Of one folder; more are no person's accounts."""
_LONGEST_SECRET = 16_384
_LONGEST_HINT = 200
_SECRET = re.compile(r"[\x21-\x7e]+")
"""What may stand in a header: a line break in a token would end it."""
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_OPENAI_CLAIM = "https://api.openai.com/auth"
_PUBLIC_HOST = "github.com"

_LATER = 1.0
"""``expires_at`` of what must be renewed before it can be used."""

_GEMINI_KEY: Final = (
    "This is Gemini CLI's own Google sign-in. Google allows it in Gemini CLI only, and it is no key "
    "for AI Studio, so it cannot be used here. A key is free at https://aistudio.google.com/apikey; "
    "then `dragoman login gemini`."
)


_NOBODY: Final = Identity("")


@dataclass(frozen=True, slots=True, repr=False)
class Found:
    """One sign-in of another program."""

    key: str
    """Names it in this listing, to choose by: ``claude-code``, ``opencode:openai``."""
    program: str
    """Who holds it, for people."""
    path: str
    """Where: a file, or ``$NAME`` for a variable."""
    provider: str
    """Id of the provider that it would be an account of; empty when it is of none."""
    what: str
    """What it is, for people."""
    identity: Identity = _NOBODY
    """Whose it seems to be; often only in part."""
    credential: Credential | None = None
    """None: it cannot be taken, and ``refusal`` says why."""
    refusal: str = ""
    warning: str = ""
    """What taking it would do to the other program; empty when nothing."""

    def __repr__(self) -> str:
        return f"Found({self.key!r}, {self.provider!r})"

    def record(self, label: str, now: float, *, consent: str = "") -> Record:
        """Return it as an account of ours, for the vault.

        Args:
            label: unique within the provider.
            now: epoch seconds UTC.
            consent: version of the text that the user agreed to, where the provider has one.

        Raises:
            RequestError: ``not_importable``: it cannot be taken.
        """
        if self.credential is None:
            raise RequestError(self.refusal, code="not_importable")
        return Record(
            provider=self.provider,
            label=label,
            credential=self.credential,
            identity=self.identity,
            way=IMPORT,
            created_at=now,
            consent=consent,
            consented_at=now if consent else 0.0,
            host=_own_host(self.credential),
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is there and could not be read; ``reason`` is for people."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All that was found, in the order of the programs."""

    found: tuple[Found, ...]
    problems: tuple[Problem, ...]


_Object: TypeAlias = dict[str, Any]
_Parse: TypeAlias = Callable[[bytes, str], Iterator[Found]]


# The parsers. Each takes a file's content and its path; they raise ``StrangeFile`` and nothing else.


class StrangeFile(Exception):
    """The content is not what the program writes."""


def parse_claude_code(content: bytes, path: str) -> Iterator[Found]:
    """``~/.claude/.credentials.json``: ``claudeAiOauth`` with times in milliseconds."""
    tokens = _inner(_object(content), "claudeAiOauth")
    access = _secret(tokens, "accessToken")
    if not access:
        return
    yield _claude(
        "claude-code",
        "Claude Code",
        path,
        access,
        _secret(tokens, "refreshToken"),
        _from_ms(tokens.get("expiresAt")),
        Identity("", plan=_hint(tokens, "subscriptionType")),
    )


def parse_claude_profile(content: bytes) -> Identity:
    """``~/.claude.json``: who is signed in to Claude Code; empty where it does not tell."""
    account = _inner(_object(content), "oauthAccount")
    ids = (_hint(account, "accountUuid"), _hint(account, "organizationUuid"))
    return Identity(
        "/".join(part for part in ids if part),
        _hint(account, "emailAddress"),
        organization=_hint(account, "organizationName"),
    )


def parse_codex(content: bytes, path: str) -> Iterator[Found]:
    """``~/.codex/auth.json``: ``tokens``, and an API key where one was used."""
    body = _object(content)
    tokens = _inner(body, "tokens")
    access = _secret(tokens, "access_token")
    if access:
        yield _codex("codex", "Codex", path, tokens, None)
    key = _secret(body, "OPENAI_API_KEY")
    if key:
        yield _api_key("codex:api-key", "Codex", path, "openai", key)


def parse_opencode(content: bytes, path: str) -> Iterator[Found]:
    """OpenCode's ``auth.json``: provider to ``{type: oauth or api, …}``."""
    for name, entry in _object(content).items():
        if not isinstance(entry, dict):
            continue
        found = _opencode_entry(_clean(name), entry, path)
        if found is not None:
            yield found


def _opencode_entry(name: str, entry: _Object, path: str) -> Found | None:
    key, kind = f"opencode:{name}", entry.get("type")
    if kind == "api":
        secret = _secret(entry, "key")
        provider = {"anthropic": "anthropic", "openai": "openai", "google": "gemini"}.get(name, "")
        return _api_key(key, "OpenCode", path, provider, secret, name) if secret else None
    if kind != "oauth":
        return None
    refresh, access = _secret(entry, "refresh"), _secret(entry, "access")
    ends = _from_ms(entry.get("expires"))
    if name == "anthropic" and (access or refresh):
        return _claude(key, "OpenCode", path, access, refresh, ends, _NOBODY)
    if name == "openai" and (access or refresh):
        told = {
            "access_token": access,
            "refresh_token": refresh,
            "account_id": entry.get("accountId"),
        }
        return _codex(key, "OpenCode", path, told, ends)
    if name.startswith("github-copilot") and refresh:
        return _copilot(key, "OpenCode", path, refresh, _host(entry.get("enterpriseUrl")), "")
    return _refused(
        key,
        "OpenCode",
        path,
        f"a sign-in to {name}",
        "Dragoman has no way to use this sign-in; sign in to the service's own account here.",
    )


def parse_copilot(content: bytes, path: str) -> Iterator[Found]:
    """``apps.json`` and ``hosts.json``: host, or ``host:application``, to token and user."""
    for number, (name, entry) in enumerate(_object(content).items()):
        if not isinstance(entry, dict):
            continue
        token, host = _secret(entry, "oauth_token"), _host(name.partition(":")[0])
        if token and host:
            key = f"copilot:{Path(path).stem}-{number + 1}"
            yield _copilot(key, "GitHub Copilot", path, token, host, _hint(entry, "user"))


def parse_gemini_cli(content: bytes, path: str) -> Iterator[Found]:
    """``~/.gemini/oauth_creds.json``: listed so that nobody wonders, and never taken."""
    body = _object(content)
    if _secret(body, "refresh_token") or _secret(body, "access_token"):
        claims = read_claims(_secret(body, "id_token"))
        yield replace(
            _refused("gemini-cli", "Gemini CLI", path, "Google sign-in", _GEMINI_KEY),
            identity=Identity("", _hint(claims, "email")),
        )


def parse_gemini_env(content: bytes, path: str) -> Iterator[Found]:
    """``~/.gemini/.env``: ``GEMINI_API_KEY=…``, with or without quotes and ``export``."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrangeFile from error
    for line in text.splitlines():
        name, mark, value = line.strip().removeprefix("export ").partition("=")
        secret = _checked(value.strip().strip("\"'"))
        if mark and name.strip() in _GEMINI_VARIABLES and secret:
            yield _api_key("gemini-cli:api-key", "Gemini CLI", path, "gemini", secret)
            return


def parse_cto(content: bytes, path: str) -> Iterator[Found]:
    """``~/.cto/credentials``."""
    try:
        credential = parse_cli_file(content.decode("utf-8", "replace"))
    except RequestError as error:
        raise StrangeFile from error
    if _checked(credential.secret) and _checked(credential.renewal):
        yield Found(
            "cto",
            "cto.new command line",
            path,
            "ctonew",
            "cto.new sign-in",
            credential=credential,
            warning=_shared("the cto.new command line", "ctonew"),
        )


def parse_cliproxyapi(content: bytes, path: str) -> Iterator[Found]:
    """One file of CLIProxyAPI's folder: ``type`` says of which service it is."""
    body = _object(content)
    kind, name = _hint(body, "type"), Path(path).stem
    key, program = f"cliproxyapi:{_clean(name)}", "CLIProxyAPI"
    if not kind:
        return
    ends = read_moment(body.get("expired"))
    if kind == "claude" and _secret(body, "access_token"):
        ids = (_hint(body, "account_uuid"), _hint(body, "organization_uuid"))
        identity = Identity(
            "/".join(part for part in ids if part),
            _hint(body, "email"),
            organization=_hint(body, "organization_name"),
        )
        access, refresh = _secret(body, "access_token"), _secret(body, "refresh_token")
        yield _claude(key, program, path, access, refresh, ends, identity)
    elif kind == "codex" and _secret(body, "access_token"):
        yield _codex(key, program, path, body, ends)
    else:
        reason = _GEMINI_KEY if kind.startswith("gemini") else _NO_SUCH_ACCOUNT
        yield _refused(key, program, path, f"a sign-in of kind {kind}", reason)


_NO_SUCH_ACCOUNT: Final = "Dragoman has no accounts of this kind."


# What the parsers make.


def _claude(
    key: str,
    program: str,
    path: str,
    access: str,
    refresh: str,
    expires_at: float | None,
    identity: Identity,
) -> Found:
    # A setup token has no refresh token and no end that is told.
    credential = Credential(access, "oauth", expires_at if access else _LATER, refresh)
    found = Found(key, program, path, "claude", "Claude subscription", credential=credential)
    found = _identified(found, identity)
    return replace(found, warning=_shared(program, "claude")) if refresh else found


def _codex(key: str, program: str, path: str, tokens: _Object, expires_at: float | None) -> Found:
    access, refresh = _secret(tokens, "access_token"), _secret(tokens, "refresh_token")
    claims = {**read_claims(access), **read_claims(_secret(tokens, "id_token"))}
    auth = _inner(read_claims(access), _OPENAI_CLAIM) | _inner(claims, _OPENAI_CLAIM)
    account = _hint(tokens, "account_id") or _hint(auth, "chatgpt_account_id")
    user = _hint(auth, "chatgpt_user_id") or _hint(auth, "user_id") or _hint(claims, "sub")
    plan = _hint(auth, "chatgpt_plan_type")
    name = _hint(claims, "email") or _hint(tokens, "email")
    told = {"account_id": account, "plan": plan, "user_id": user}
    ends = read_number(read_claims(access).get("exp")) or expires_at
    return Found(
        key,
        program,
        path,
        "codex",
        "ChatGPT sign-in",
        Identity("/".join(part for part in (account, user or name) if part), name, plan),
        Credential(
            access,
            "oauth",
            ends if access else _LATER,
            refresh,
            {fact: value for fact, value in told.items() if value},
        ),
        warning=_shared(program, "codex") if refresh else "",
    )


def _copilot(key: str, program: str, path: str, token: str, host: str, user: str) -> Found:
    # Tokens of the editors' GitHub apps begin with `ghu_` and are exchanged before use; those of
    # OAuth apps (`gho_`) go with the calls (GitHub, "About authentication", token prefixes).
    host = host or _PUBLIC_HOST
    if token.startswith("ghu_"):
        facts = {"family": "editor", "host": host}
        credential = Credential("", "oauth", _LATER, token, facts)
    else:
        credential = Credential(token, "oauth", None, "", {"family": "direct", "host": host})
    return Found(
        key,
        program,
        path,
        "copilot",
        "GitHub Copilot sign-in" + ("" if host == _PUBLIC_HOST else f" at {host}"),
        Identity("", user),
        credential,
        warning=f"Signing out in {program} can end it here, too.",
    )


def _api_key(
    key: str, program: str, path: str, provider: str, secret: str, name: str = ""
) -> Found:
    if not provider:
        return _refused(
            key,
            program,
            path,
            f"API key for {name}",
            f"Add {name} to config.yaml as a provider of kind compatible, with this key.",
        )
    return Found(key, program, path, provider, "API key", _NOBODY, Credential(secret, "api_key"))


def _refused(key: str, program: str, path: str, what: str, refusal: str) -> Found:
    return Found(key, program, path, "", what, refusal=refusal)


def _identified(found: Found, identity: Identity) -> Found:
    """Return it with who it is, as the provider's own sign-in would tell it."""
    if found.credential is None:
        return found
    facts = {"account_id": identity.id} if identity.id else {}
    return replace(found, identity=identity, credential=replace(found.credential, facts=facts))


def _own_host(credential: Credential) -> str:
    """Return the user's own server, as ``Record.host`` has it; empty for the public one."""
    host = credential.facts.get("host", "")
    return "" if host == _PUBLIC_HOST else host


def _shared(program: str, provider: str) -> str:
    return (
        f"{program} keeps this sign-in, too. It is renewed with a token that works once: when one "
        f"of the two renews it, the other is signed out. Sign out in {program} afterwards, or "
        f"leave it and sign in here anew with `dragoman login {provider}`."
    )


# Reading values that nobody vouches for.


def _object(content: bytes) -> _Object:
    try:
        body = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise StrangeFile from error
    if not isinstance(body, dict):
        raise StrangeFile
    return body


def _inner(body: Mapping[str, Any], name: str) -> _Object:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _checked(value: object) -> str:
    fits = isinstance(value, str) and len(value) <= _LONGEST_SECRET and _SECRET.fullmatch(value)
    return str(value) if fits else ""


def _secret(body: Mapping[str, Any], name: str) -> str:
    return _checked(body.get(name))


def _hint(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return _clean(value) if isinstance(value, str) else ""


def _clean(text: str) -> str:
    """Return text that can be shown: one short line without control characters."""
    return "".join(char for char in text if char.isprintable())[:_LONGEST_HINT].strip()


def _from_ms(value: object) -> float | None:
    number = read_number(value)
    return number / 1000.0 if number is not None and number > 0 else None


def _host(value: object) -> str:
    if not isinstance(value, str):
        return ""
    host = value.lower().removeprefix("https://").rstrip("/")
    return host if len(host) <= 253 and _HOST.fullmatch(host) else ""


# The reader.

_GEMINI_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")


def find(
    home: Path,
    env: Mapping[str, str],
    *,
    platform: str = sys.platform,
    folder: Path | None = None,
) -> Listing:
    """Look for sign-ins of other programs; reads files, so call it off the loop.

    Args:
        home: the user's home folder.
        env: the variables by which programs move their files, and in which keys stand.
        platform: as ``sys.platform``.
        folder: look in this folder of CLIProxyAPI's and nowhere else.
    """
    if folder is not None:
        if not folder.is_dir():
            return Listing((), (Problem(str(folder), "there is no such folder"),))
        return _look(_in_folder(folder))
    listing = _look(_places(home, env, platform))
    found = [
        _with_profile(one, home, env) if one.key == "claude-code" else one for one in listing.found
    ]
    for name in _GEMINI_VARIABLES:
        secret = _checked(env.get(name))
        if secret:
            found.append(_api_key(f"env:{name}", "the environment", f"${name}", "gemini", secret))
    return Listing(tuple(_distinct(found)), listing.problems)


def _look(places: Iterable[tuple[Path, _Parse]]) -> Listing:
    found: list[Found] = []
    problems: list[Problem] = []
    for path, parse in places:
        try:
            content = _read(path)
            if content is not None:
                found.extend(parse(content, str(path)))
        except OSError as error:
            problems.append(Problem(str(path), error.strerror or "it cannot be read"))
        except (StrangeFile, RecursionError):
            problems.append(Problem(str(path), "its content is not what the program writes"))
    return Listing(tuple(found), tuple(problems))


def _places(home: Path, env: Mapping[str, str], platform: str) -> Iterator[tuple[Path, _Parse]]:
    def under(variable: str, *default: str) -> Path:
        named = env.get(variable)
        return Path(named) if named else home.joinpath(*default)

    yield under("CLAUDE_CONFIG_DIR", ".claude") / ".credentials.json", parse_claude_code
    yield under("CODEX_HOME", ".codex") / "auth.json", parse_codex
    # OpenCode follows the XDG folders on every system.
    opencode = under("XDG_DATA_HOME", ".local", "share") / "opencode" / "auth.json"
    yield opencode, parse_opencode
    if platform == "win32":
        copilot = under("LOCALAPPDATA", "AppData", "Local") / "github-copilot"
    else:
        copilot = under("XDG_CONFIG_HOME", ".config") / "github-copilot"
    yield copilot / "apps.json", parse_copilot
    yield copilot / "hosts.json", parse_copilot
    yield home / ".gemini" / "oauth_creds.json", parse_gemini_cli
    yield home / ".gemini" / ".env", parse_gemini_env
    yield home / ".cto" / "credentials", parse_cto
    yield from _in_folder(home / ".cli-proxy-api")


def _in_folder(folder: Path) -> Iterator[tuple[Path, _Parse]]:
    """Return the files of CLIProxyAPI's folder, one per account."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except OSError:
        names = []  # most people have no such folder
    for name in names[:_MOST_FILES]:
        yield folder / name, parse_cliproxyapi


def _read(path: Path) -> bytes | None:
    """Return a file's content; None where there is none.

    Raises:
        OSError: it cannot be read, is no ordinary file (a pipe would hang), or is too large.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "it is no ordinary file")
        content = file.read(_LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise OSError(0, "it is too large")
    return content


def _with_profile(found: Found, home: Path, env: Mapping[str, str]) -> Found:
    """Add who is signed in to Claude Code, which another of its files tells."""
    moved = env.get("CLAUDE_CONFIG_DIR")
    path = (Path(moved) if moved else home) / ".claude.json"
    try:
        content = _read(path)
        told = parse_claude_profile(content) if content is not None else _NOBODY
    except (OSError, StrangeFile):
        return found  # a hint that is missing is no problem of the sign-in
    return _identified(found, replace(told, plan=found.identity.plan))


def _distinct(found: list[Found]) -> Iterator[Found]:
    """Leave out what two files hold alike (Copilot writes both of its own)."""
    seen = set()
    for one in found:
        secrets = one.credential.secrets if one.credential is not None else (one.key,)
        mark = (one.program, one.provider, secrets)
        if mark not in seen:
            seen.add(mark)
            yield one
