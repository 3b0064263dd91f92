"""GitHub as the one who knows the user: its servers, the device sign-in, and who signed in.

A device sign-in (RFC 8628) shows a code, and polls until the user has typed it. GitHub tells what
became of it with status 200 in every case, so the body decides::

    authorization_pending → poll again after ``interval`` and a margin
    slow_down             → the same, with the longer interval that the answer names, or 5 s more
    expired_token         → over: a new code is needed
    access_denied         → over: the user said no
    access_token          → done

Sources: https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
(device flow) and public clients as gathered in the protocol notes, read 2026-11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from app.errors import AccountError, RequestError, UpstreamError
from app.http import Headers, HttpReply, HttpRequest
from app.providers.base import USER_AGENT
from app.providers.credential import Identity
from app.providers.replies import number_in, read_object, text_in, trouble_with, words_in
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN, Steps, ask, show, wait

__all__ = ["PUBLIC", "GitHub", "authorize_device", "enterprise", "refused", "server_name", "who"]

PUBLIC = "github.com"
_SERVER = re.compile(
    r"(?=.{4,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+"
)
_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_MARGIN_S = 3.0
"""Waited on top of the interval: clocks in virtual machines drift, and a poll that comes early
costs five more seconds each time (opencode does the same)."""
_DEFAULT_INTERVAL_S = 5.0
_DEFAULT_LIFE_S = 900.0
_MOST_MISSES = 5
"""Polls in a row that may fail by the network or the service before the sign-in is given up."""
_FORM: Headers = (
    ("Accept", "application/json"),
    ("Content-Type", "application/x-www-form-urlencoded"),
    ("User-Agent", USER_AGENT),
)


@dataclass(frozen=True, slots=True)
class GitHub:
    """Where one GitHub server is reached."""

    host: str
    """``github.com``, or the domain of an organisation's own server."""
    web: str
    """Base of the pages and of the sign-in."""
    rest: str
    """Base of the REST API."""
    copilot: str
    """Base of the Copilot API for accounts whose own is not known."""
    plans: tuple[tuple[str, str], ...] = ()
    """Copilot API base by the leading words of a plan's name."""
    apis: tuple[tuple[str, str], ...] = ()
    """Copilot API base by the host name that an exchanged token may point to."""

    @property
    def hosts(self) -> frozenset[str]:
        """Every host that its tokens may go to, with the port where that is no standard one."""
        bases = (self.web, self.rest, self.copilot, *(base for _, base in self.plans + self.apis))
        return frozenset(urlsplit(base).netloc for base in bases)


def enterprise(domain: str) -> GitHub:
    """Return the server of an organisation with a domain of its own."""
    return GitHub(
        domain, f"https://{domain}", f"https://api.{domain}", f"https://copilot-api.{domain}"
    )


def server_name(typed: str) -> str:
    """Return the host name of a GitHub server as people write it.

    Scheme, path and slashes are dropped; an empty text means ``github.com``.

    Raises:
        RequestError: this is no host name.
    """
    text = typed.strip().lower()
    text = re.sub(r"^https?://", "", text).partition("/")[0]
    if text in ("", PUBLIC, f"www.{PUBLIC}"):
        return PUBLIC
    if not _SERVER.fullmatch(text):
        raise RequestError(
            f"{typed.strip()[:100]!r} is no GitHub server.",
            hint="Write its domain alone, like company.ghe.com; leave it empty for github.com.",
            code="invalid_host",
        )
    return text


def authorize_device(github: GitHub, client_id: str, scope: str) -> Steps[str]:
    """Sign in with a code that the user types on a page of the server; returns the token.

    Raises:
        AccountError: the user refused, or did not type the code in time.
        UpstreamError: the server failed, or does not know the application.
    """
    form = urlencode({"client_id": client_id, "scope": scope}).encode()
    begun = yield from ask(HttpRequest("POST", f"{github.web}/login/device/code", _FORM, form))
    if begun.reply.status == 404:
        raise UpstreamError(
            f"{github.host} has no sign-in with a code for this application.",
            hint="Check the server's name; an administrator may have to allow the application.",
            code="device_flow_unknown",
        )
    if begun.reply.status != 200:
        raise trouble_with(github.host, "begin the sign-in", begun.reply)
    body = read_object(begun.reply, github.host)
    device_code, user_code = text_in(body, "device_code"), text_in(body, "user_code")
    if not device_code or not user_code:
        raise _unexpected(github, begun.reply)
    expires_at = begun.now + (number_in(body, "expires_in") or _DEFAULT_LIFE_S)
    yield from show(user_code, _page(github, text_in(body, "verification_uri")), expires_at)
    interval_s = max(1.0, number_in(body, "interval") or _DEFAULT_INTERVAL_S)
    form = urlencode(
        {"client_id": client_id, "device_code": device_code, "grant_type": _GRANT}
    ).encode()
    return (yield from _poll(github, form, interval_s, expires_at))


def _poll(github: GitHub, form: bytes, interval_s: float, expires_at: float) -> Steps[str]:
    request = HttpRequest("POST", f"{github.web}/login/oauth/access_token", _FORM, form)
    misses = 0
    while True:
        now = yield from wait(interval_s + _MARGIN_S)
        if now >= expires_at:
            raise _too_late(github)
        try:
            polled = yield from ask(request)
            if polled.reply.status >= 500 or polled.reply.status == 429:
                raise trouble_with(github.host, "say whether the code was typed", polled.reply)
            body = read_object(polled.reply, github.host)
        except UpstreamError:
            misses += 1
            if misses >= _MOST_MISSES:
                raise
            continue
        misses = 0
        token = text_in(body, "access_token")
        if token:
            return token
        interval_s = _next_interval(github, polled.reply, interval_s)


def _next_interval(github: GitHub, reply: HttpReply, interval_s: float) -> float:
    """Return the seconds until the next poll; raises when there is none."""
    body = read_object(reply, github.host)
    match text_in(body, "error"):
        case "authorization_pending":
            return interval_s
        case "slow_down":
            told = number_in(body, "interval")
            wanted = told if told is not None and told > 0 else interval_s + 5.0
            return max(interval_s, wanted)
        case "expired_token":
            raise _too_late(github)
        case "access_denied":
            raise AccountError(
                f"The sign-in was refused on the page of {github.host}.",
                hint="Start it again if that was a mistake.",
                code=SIGN_IN_AGAIN,
            )
    raise _unexpected(github, reply)


def _too_late(github: GitHub) -> AccountError:
    return AccountError(
        f"The code for {github.host} was not typed in time.",
        hint="Start the sign-in again for a new code.",
        code=SIGN_IN_AGAIN,
    )


def _unexpected(github: GitHub, reply: HttpReply) -> UpstreamError:
    words = words_in(reply)
    return UpstreamError(
        f"{github.host} ended the sign-in" + (f": {words}." if words else " without a reason."),
        hint="Start it again; if it fails the same way, this server does not allow it.",
        code="sign_in_failed",
    )


def _page(github: GitHub, told: str) -> str:
    """Return the page for the code: the server's own word, if it is a page of that server."""
    try:
        parts = urlsplit(told)
    except ValueError:
        parts = urlsplit("")
    home = urlsplit(github.web)
    if (parts.scheme, parts.netloc) == (home.scheme, home.netloc):
        return told
    return f"{github.web}/login/device"


def who(github: GitHub, token: str) -> Steps[Identity]:
    """Ask whose token it is; the identity has no plan.

    Raises:
        AccountError: the token is not good.
        UpstreamError: the server failed.
    """
    asked = yield from ask(
        HttpRequest(
            "GET",
            f"{github.rest}/user",
            (
                ("Accept", "application/vnd.github+json"),
                ("Authorization", f"Bearer {token}"),
                ("User-Agent", USER_AGENT),
            ),
        )
    )
    if asked.reply.status != 200:
        raise refused(github, "tell whose account it is", asked.reply)
    body = read_object(asked.reply, github.host)
    number = number_in(body, "id")
    if number is None:
        raise _unexpected(github, asked.reply)
    account = f"{int(number)}" if github.host == PUBLIC else f"{int(number)}@{github.host}"
    return Identity(account, text_in(body, "login", "email"))


def refused(github: GitHub, doing: str, reply: HttpReply) -> AccountError | UpstreamError:
    """Return the error for an answer of the REST API that is not the one hoped for.

    401 means that the token is over. 403 and 404 mean that the account may not do this, except
    where GitHub says by them that there were too many calls.
    """
    if reply.status == 401:
        return AccountError(
            f"{github.host} no longer accepts this sign-in.",
            hint="Sign in again.",
            code=SIGN_IN_AGAIN,
        )
    spent = reply.header("x-ratelimit-remaining") == "0" or reply.header("retry-after") is not None
    if reply.status in (403, 404) and not spent:
        words = words_in(reply)
        return AccountError(
            f"{github.host} does not allow this account to use Copilot"
            + (f": {words}." if words else "."),
            hint="Copilot needs a plan or a seat; an organisation's administrator may have to "
            "allow it.",
            code=NOT_ALLOWED,
        )
    return trouble_with(github.host, doing, reply)
