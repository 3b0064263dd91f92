"""How one signs in to a service, renews a sign-in, and reads what is left of it: without I/O.

Each way is one generator that reads from top to bottom: it yields what it needs done and is sent
the outcome. Whoever drives it (``accounts.login``, ``accounts.refresh``, ``accounts.quota``) does
the I/O, keeps the time limits and sends requests only to the hosts in the provider's own table::

    def finish(code: str, state: str, pkce: Pkce) -> Steps[Granted]:
        tokens = yield from ask(HttpRequest("POST", TOKEN_URL, …))
        profile = yield from ask(HttpRequest("GET", PROFILE_URL, …))
        return Granted(credential, identity)

A generator raises ``AccountError`` when the service refuses (``code`` as in ``REFUSALS``) and
``UpstreamError`` when it failed or could not be understood, which is worth another try later.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from app.http import HttpReply, HttpRequest
from app.providers.credential import Credential, Identity

__all__ = [
    "NOT_ALLOWED",
    "SIGN_IN_AGAIN",
    "Answered",
    "CodeSignIn",
    "Consent",
    "CookiePage",
    "DeviceSignIn",
    "Granted",
    "Keep",
    "Listen",
    "Pkce",
    "SecretSignIn",
    "Show",
    "SignIn",
    "Step",
    "Steps",
    "Wait",
    "ask",
    "keep",
    "show",
    "wait",
]

SIGN_IN_AGAIN: Final = "sign_in_again"
"""Code of the ``AccountError`` for a sign-in that is over: revoked, expired, used by another."""
NOT_ALLOWED: Final = "not_allowed"
"""Code of the ``AccountError`` for a refusal by policy: nothing is tried again after it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for a time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Show:
    """Show the user a code and the page on which to type it."""

    user_code: str
    url: str
    expires_at: float
    """Epoch seconds UTC."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Store a credential before going on: what it replaces may already be used up."""

    credential: Credential


Step: TypeAlias = HttpRequest | Wait | Show | Keep


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome of a step: the answer to a request (else an empty one), and the time then."""

    reply: HttpReply
    now: float
    """Epoch seconds UTC."""


Steps: TypeAlias = Generator[Step, Answered, T]


def ask(request: HttpRequest) -> Steps[Answered]:
    """Send a request; returns the answer, whatever its status."""
    return (yield request)


def wait(seconds: float) -> Steps[float]:
    """Wait; returns the time after it in epoch seconds."""
    return (yield Wait(seconds)).now


def show(user_code: str, url: str, expires_at: float) -> Steps[float]:
    """Show a code to the user and go on at once; returns the time in epoch seconds."""
    return (yield Show(user_code, url, expires_at)).now


def keep(credential: Credential) -> Steps[None]:
    """Store a credential before going on."""
    yield Keep(credential)


@dataclass(frozen=True, slots=True)
class Granted:
    """A sign-in that succeeded."""

    credential: Credential
    identity: Identity


@dataclass(frozen=True, slots=True, repr=False)
class Pkce:
    """One proof key (RFC 7636, method S256): made by the driver, since it is random."""

    verifier: str
    challenge: str


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the service sends the browser back to: a loopback port and path of the redirect URI."""

    port: int
    path: str


@dataclass(frozen=True, slots=True)
class CodeSignIn:
    """Authorisation code with PKCE, in a browser."""

    begin: Callable[[Pkce, str], str]
    """PKCE and state to the address that the browser opens."""
    finish: Callable[[str, str, Pkce], Steps[Granted]]
    """Code, state and PKCE to the account."""
    listen: Listen | None = None
    """None: the user pastes the code."""


@dataclass(frozen=True, slots=True)
class DeviceSignIn:
    """The user types a code on a page of the service, on any device."""

    run: Callable[[str], Steps[Granted]]
    """Takes the host of the user's own server (GitHub Enterprise), or an empty text."""


@dataclass(frozen=True, slots=True)
class CookiePage:
    """A page to sign in on, and the cookie that is left when that is done."""

    url: str
    name: str
    """Of the cookie."""
    host: str
    """Whose cookie it is."""
    at: str
    """A page of ``host``: a window can read the cookies of the page that it shows."""
    mark: str = ""
    """Cookie of the host of ``url`` that tells of the sign-in, unless it is empty or 0; without
    it, ``name`` alone does."""


@dataclass(frozen=True, slots=True)
class SecretSignIn:
    """The user types or pastes a key, a token or a cookie."""

    prompt: str
    """What is asked for, in a few words."""
    run: Callable[[str, str], Steps[Granted]]
    """Takes the text as typed and the account's base URL; checks it with one cheap call.

    Raises ``RequestError`` when the text cannot be what is asked for."""
    cookie: CookiePage | None = None
    """Where a window comes by the secret without anybody typing it."""


SignIn: TypeAlias = CodeSignIn | DeviceSignIn | SecretSignIn


@dataclass(frozen=True, slots=True)
class Consent:
    """What the user reads and agrees to before a provider may be turned on."""

    version: str
    """Date of the text; another version asks anew."""
    text: str
    instead: str
    """The way beside it, in one sentence."""
