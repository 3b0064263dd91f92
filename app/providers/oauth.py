"""OAuth as request and answer, without I/O: what several sign-ins have in common.

A token endpoint says no in many ways, and what matters is who must act:

- *sign in again*: the refresh token is revoked, expired, or was used by another program
  (``invalid_grant``, ``refresh_token_reused``); the code was used, or is too old;
- *not allowed*: the service refuses this program or this account (policy texts, 403, and 429,
  which token endpoints answer to programs that they do not want: opencode issues 18329 and 18342,
  2026-03); nothing is tried again;
- *later*: 5xx, a bot check, something that is no token answer.

Sources: RFC 6749, RFC 7636; the error codes as Codex CLI and CLIProxyAPI 7.2 read them (2026-08).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from app.canonical.parts import Json, JsonObject
from app.errors import AccountError, AppError, RequestError, UpstreamError
from app.http import Headers, HttpReply, HttpRequest
from app.providers.base import USER_AGENT
from app.providers.moment import read_number
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN, Answered, Steps, ask, wait

__all__ = [
    "Tokens",
    "ask_tokens",
    "authorize_url",
    "bearer_request",
    "form_request",
    "is_web_page",
    "json_request",
    "parse_pasted",
    "parse_tokens",
    "read_claims",
    "read_object",
    "speaks_of_policy",
    "token_refusal",
]

RENEWAL_WAITS_S = (1.0, 2.0)
"""Pauses between three attempts to renew; only 5xx and a broken network are tried again."""
_DEFAULT_LIFETIME_S = 3600.0
"""Of an access token whose answer tells none: the least that services give (RFC 6749, 5.1)."""
_MAX_PASTED = 16_384
_MAX_WORDS = 300


# --- requests ------------------------------------------------------------------------------------


def authorize_url(base: str, parameters: Mapping[str, str]) -> str:
    """Return the address that the browser opens; parameters in their order, spaces as ``%20``."""
    joiner = "&" if "?" in base else "?"
    return base + joiner + urlencode(parameters, quote_via=quote)


def form_request(url: str, fields: Mapping[str, str], headers: Headers = ()) -> HttpRequest:
    """Return a form-encoded POST that asks for JSON, under our own name."""
    return HttpRequest(
        "POST",
        url,
        (
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "application/json"),
            ("User-Agent", USER_AGENT),
            *headers,
        ),
        urlencode(fields, quote_via=quote).encode("ascii"),
    )


def json_request(url: str, fields: Mapping[str, Json], headers: Headers = ()) -> HttpRequest:
    """Return a JSON POST that asks for JSON, under our own name."""
    return HttpRequest(
        "POST",
        url,
        (
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
            ("User-Agent", USER_AGENT),
            *headers,
        ),
        msgspec.json.encode(fields),
    )


def bearer_request(url: str, token: str, headers: Headers = ()) -> HttpRequest:
    """Return a GET with a Bearer token that asks for JSON, under our own name."""
    return HttpRequest(
        "GET",
        url,
        (
            ("Authorization", f"Bearer {token}"),
            ("Accept", "application/json"),
            ("User-Agent", USER_AGENT),
            *headers,
        ),
    )


# --- what the user pastes ------------------------------------------------------------------------

_NAMED = re.compile(r"(?:^|[?&#])(?:code|state|error|error_description)=")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


def parse_pasted(text: str) -> tuple[str, str]:
    """Read code and state from what the user copied out of the browser.

    Taken are the full address of the page that the browser ended on (also without scheme, also
    with the parameters behind ``#``), its query alone with or without ``?``, ``code#state``, and a
    bare code. Line breaks that a terminal put in, quotes and angle brackets around it are dropped.

    Returns:
        Code and state; the state is empty where the text has none.

    Raises:
        RequestError: there is no code in it, or two different ones.
        AccountError: it is the address of a page on which the service or the user said no.
    """
    text = re.sub(r"\s+", "", text[:_MAX_PASTED]).strip("\"'`<>")
    head, _, fragment = text.partition("#")
    query = head.partition("?")[2] if "?" in head else head
    pairs: list[tuple[str, str]] = []
    if _NAMED.search(query):
        pairs += parse_qsl(query, keep_blank_values=True)
    if _NAMED.search(fragment):
        pairs += parse_qsl(fragment, keep_blank_values=True)
        fragment = ""
    if not pairs and not re.search(r"[/?=&:]", head.rstrip("=")):
        pairs = [("code", head)]
    error = _one(pairs, "error")
    if error:
        said = _one(pairs, "error_description") or error
        raise AccountError(
            f"The sign-in page answered: {said[:_MAX_WORDS]}.",
            hint="Start the sign-in again and agree on that page.",
            code=SIGN_IN_AGAIN,
        )
    # A plus sign that nobody encoded reads as a space, and no code or state has spaces.
    code, _, tail = _one(pairs, "code").replace(" ", "+").partition("#")
    state = _one(pairs, "state").replace(" ", "+") or tail or fragment
    if not _PRINTABLE.fullmatch(code) or (state and not _PRINTABLE.fullmatch(state)):
        raise RequestError(
            "There is no sign-in code in this text.",
            hint="Copy the whole address of the page that the browser ended on, or the code that "
            "the page shows.",
            code="no_sign_in_code",
        )
    return code, state


def _one(pairs: Iterable[tuple[str, str]], name: str) -> str:
    values = list(dict.fromkeys(value for key, value in pairs if key == name and value))
    if len(values) > 1:
        raise RequestError(
            f"This text has {name} twice, with different values.", code="no_sign_in_code"
        )
    return values[0] if values else ""


# --- token answers -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """What a token endpoint gave; no secret shows in ``repr``."""

    access: str
    expires_at: float
    """Epoch seconds UTC."""
    refresh: str = ""
    """Empty when the answer had none: the old one stays good."""
    id_token: str = ""
    body: Mapping[str, Json] | None = None
    """The whole answer, for what a service adds to it."""

    def __repr__(self) -> str:
        return f"Tokens(expires_at={self.expires_at!r})"


def parse_tokens(reply: HttpReply, now: float, title: str) -> Tokens:
    """Read a token endpoint's answer.

    A lifetime that is missing or odd is taken from the token itself where that is a JWT, else it
    is an hour.

    Raises:
        UpstreamError: the answer has no access token.
    """
    body = read_object(reply.body)
    access = body.get("access_token")
    if not isinstance(access, str) or not access:
        raise UpstreamError(
            f"{title} answered the sign-in with something that is no token.",
            code="upstream_protocol",
        )
    lifetime = read_number(body.get("expires_in"))
    expires_at = now + lifetime if lifetime is not None and lifetime > 0 else None
    if expires_at is None:
        expires_at = read_number(read_claims(access).get("exp"))
    return Tokens(
        access,
        expires_at if expires_at is not None else now + _DEFAULT_LIFETIME_S,
        _string(body.get("refresh_token")),
        _string(body.get("id_token")),
        body,
    )


def ask_tokens(
    request: HttpRequest,
    title: str,
    *,
    renewing: bool,
    secrets: Iterable[str] = (),
) -> Steps[tuple[Tokens, float]]:
    """Ask a token endpoint; return its tokens and the time.

    A renewal is tried up to three times when the network or the service failed. The exchange of a
    code is asked for once: the code is used up by the first call.

    Raises:
        AccountError: the service refused; see the module.
        UpstreamError: it failed, or could not be understood.
    """
    for pause in RENEWAL_WAITS_S if renewing else ():
        try:
            answered = yield from ask(request)
        except UpstreamError:
            answered = None  # the network broke
        if answered is not None and answered.reply.status < 500:
            return _tokens_in(answered, title, renewing, secrets)
        yield from wait(pause)
    return _tokens_in((yield from ask(request)), title, renewing, secrets)


def _tokens_in(
    answered: Answered, title: str, renewing: bool, secrets: Iterable[str]
) -> tuple[Tokens, float]:
    if 200 <= answered.reply.status < 300:
        return parse_tokens(answered.reply, answered.now, title), answered.now
    raise token_refusal(answered.reply, title, renewing=renewing, secrets=secrets)


# --- refusals ------------------------------------------------------------------------------------

_OVER = frozenset(
    {
        "invalid_grant",
        "refresh_token_expired",
        "refresh_token_invalidated",
        "refresh_token_reused",
        "token_expired",
        "token_invalidated",
        "token_revoked",
        "expired_token",
    }
)
_REFUSED = frozenset(
    {
        "access_denied",
        "account_deactivated",
        "invalid_client",
        "invalid_scope",
        "permission_error",
        "unauthorized_client",
        "unsupported_country_region_territory",
        "unsupported_grant_type",
    }
)
_POLICY = re.compile(
    r"only authorized for use with|not (?:allowed|permitted|authorized) (?:for|to|in)\b"
    r"|request not allowed|third[- ]party|terms of (?:service|use)|usage polic"
    r"|(?:account|organization) (?:has been |was |is )?(?:disabled|suspended|banned|deactivated)",
    re.IGNORECASE,
)


def speaks_of_policy(text: str) -> bool:
    """Say whether a service's words mean "not allowed", and not "something is wrong"."""
    return bool(_POLICY.search(text))


def token_refusal(
    reply: HttpReply, title: str, *, renewing: bool, secrets: Iterable[str] = ()
) -> AppError:
    """Say what an answer of a token endpoint other than 2xx means.

    Args:
        reply: the answer.
        title: the service's name for people.
        renewing: whether a sign-in was to be renewed; else a code was to be exchanged.
        secrets: what went along; cut out of the service's words should it repeat them.
    """
    codes, words = _said(reply, secrets)
    status = reply.status
    told = f" It said: {words}" if words else ""
    policy = status == 429 or bool(codes & _REFUSED) or speaks_of_policy(words)
    if is_web_page(reply) or status >= 500 or status < 400 or status in (404, 405, 408):
        return UpstreamError(
            f"{title} could not be asked for a token (HTTP {status}).{told}",
            hint="It is tried again later.",
            code="token_endpoint_failed",
        )
    if "refresh_token_reused" in codes:
        return AccountError(
            f"{title} ended this sign-in: another program used the same refresh token.",
            hint="Sign in again here, and do not share one sign-in between two programs.",
            code=SIGN_IN_AGAIN,
        )
    if not policy and (codes & _OVER or status in (400, 401)):
        over = (
            f"{title} no longer takes this sign-in: it was revoked, has expired, or another "
            f"program renewed it."
            if renewing
            else f"{title} did not accept the code: it was used before, is too old, or belongs to "
            f"another sign-in."
        )
        return AccountError(over + told, hint="Sign in again.", code=SIGN_IN_AGAIN)
    return AccountError(
        f"{title} refuses sign-ins of this program or account (HTTP {status}).{told}",
        hint="This is not tried again. An API key is the way beside it.",
        code=NOT_ALLOWED,
    )


def _said(reply: HttpReply, secrets: Iterable[str]) -> tuple[frozenset[str], str]:
    """Return the machine-readable words of an error answer, and its text for people."""
    body = read_object(reply.body)
    error = body.get("error")
    inner: Mapping[str, Json] = error if isinstance(error, dict) else {}
    found = (error, body.get("code"), inner.get("code"), inner.get("type"), inner.get("error"))
    codes = {word.lower() for word in found if isinstance(word, str)}
    texts = (
        body.get("error_description"),
        inner.get("message"),
        body.get("message"),
        body.get("detail"),
        inner.get("error_description"),
        error,
    )
    words = next((text for text in texts if isinstance(text, str) and text), "")
    for known in ("invalid_grant", "refresh_token_reused"):
        if known in words:
            codes.add(known)
    for secret in secrets:
        if secret:
            words = words.replace(secret, "***")
    words = " ".join(words.split())[:_MAX_WORDS]
    return frozenset(codes), words if not words or words.endswith((".", "!", "?")) else f"{words}."


def is_web_page(reply: HttpReply) -> bool:
    """Say whether an answer is a page for people (a bot check), no word of the service."""
    kind = (reply.header("content-type") or "").lower()
    return "html" in kind or reply.body[:64].lstrip().lower().startswith((b"<!doctype", b"<html"))


# --- reading -------------------------------------------------------------------------------------


def read_object(raw: bytes) -> JsonObject:
    """Decode a JSON object; an empty one for anything else."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_claims(token: str) -> JsonObject:
    """Return the claims of a JSON Web Token, not verified; empty when it is none.

    They come from the service itself over TLS, and only say who signed in.
    """
    pieces = token.split(".")
    if len(pieces) != 3:
        return {}
    payload = pieces[1] + "=" * (-len(pieces[1]) % 4)
    try:
        return read_object(base64.urlsafe_b64decode(payload.encode("ascii")))
    except (binascii.Error, ValueError):
        return {}


def _string(value: Json) -> str:
    return value if isinstance(value, str) else ""
