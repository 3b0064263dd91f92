"""One sign-in that is under way, as values; ``login`` has its states."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from app.accounts.record import Record
from app.errors import AccountError, RequestError
from app.providers.base import Provider
from app.providers.signin import (
    CodeSignIn,
    Consent,
    DeviceSignIn,
    Granted,
    Listen,
    Pkce,
    SignIn,
)

__all__ = ["Attempt", "ConsentNeeded", "Flow", "FlowKind", "FlowState", "Listeners", "Timer"]

FlowState: TypeAlias = Literal[
    "waiting", "working", "done", "failed", "expired", "cancelled", "other_identity"
]
FlowKind: TypeAlias = Literal["browser", "device", "secret"]

_HOST = re.compile(r"(?=.{4,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_ERROR_WORD = re.compile(r"[^A-Za-z0-9 _.,:;!?'()/-]")


class ConsentNeeded(RequestError):
    """The user has to read and agree to ``consent`` first."""

    status = 409
    code = "consent_required"

    def __init__(self, provider: Provider, consent: Consent) -> None:
        super().__init__(
            f"{provider.title} asks for your agreement first. {consent.text}",
            hint=f"{consent.instead} To agree, sign in with `dragoman login {provider.id}`.",
        )
        self.consent = consent


class Timer(Protocol):
    """What can be called off; ``asyncio.TimerHandle`` is one."""

    def cancel(self) -> None:
        """Do not call."""
        ...


class Listeners(Protocol):
    """Opens the ports that services send browsers back to; ``server.callback`` is one."""

    async def open(self, listen: Listen) -> str:
        """Listen for one more flow; returns why that cannot be, empty when it is done."""
        ...

    async def close(self, listen: Listen) -> None:
        """Listen for one flow less."""
        ...


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as people see it; holds no secret but the address with its one-use ``state``."""

    id: str
    provider: str
    way: str
    kind: FlowKind
    state: FlowState
    started_at: float
    """Epoch seconds, as is the next."""
    expires_at: float
    url: str = field(default="", repr=False)
    """What the browser opens; for a device code the page on which to type it."""
    user_code: str = field(default="", repr=False)
    prompt: str = ""
    """What to type, for a secret."""
    listening: bool = False
    """The browser's return is noticed by itself."""
    notice: str = ""
    """Why it is not, and what to do instead."""
    account: str = ""
    """Id of the account: the one to repair, later the one that was made or repaired."""
    name: str = ""
    """Who signed in, once that is known."""
    plan: str = ""
    repaired: bool = False
    error: str = ""
    """What went wrong, and what to do about it."""
    code: str = ""
    """Stable name of the error."""

    @property
    def live(self) -> bool:
        """Whether something may still come of it."""
        return self.state in ("waiting", "working", "other_identity")

    def expires_in(self, now: float) -> int:
        """Return the whole seconds that are left; 0 when it has ended."""
        return max(0, round(self.expires_at - now)) if self.live else 0


@dataclass(slots=True)
class Attempt:
    """A flow with what is not for show."""

    view: Flow
    provider: Provider
    sign_in: SignIn
    label: str
    host: str
    base_url: str
    consent: str
    consented_at: float
    pkce: Pkce | None = None
    token: str = ""
    """Its ``state``; empty once it was taken."""
    listen: Listen | None = None
    """The listener that it holds open."""
    granted: Granted | None = None
    task: asyncio.Task[None] | None = None
    timer: Timer | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


def find_way(
    providers: Mapping[str, Provider], provider: str, way: str | None
) -> tuple[Provider, str, SignIn]:
    """Return the service that is meant, the name of a way to sign in to it, and the way.

    Args:
        providers: the services by id.
        provider: id of one.
        way: a key of its ``sign_ins``; None for the best.

    Raises:
        RequestError: 404 ``unknown_provider`` or ``unknown_way``.
    """
    service = providers.get(provider)
    if service is None or not service.sign_ins:
        known = ", ".join(p.id for p in providers.values() if p.sign_ins)
        raise RequestError(
            f"There is no sign-in to {provider[:100]!r}.",
            hint=f"There is one to: {known}." if known else "",
            status=404,
            code="unknown_provider",
        )
    way = way or next(iter(service.sign_ins))
    sign_in = service.sign_ins.get(way)
    if sign_in is None:
        raise RequestError(
            f"{service.title} has no way to sign in that is called {way[:100]!r}.",
            hint=f"There are: {', '.join(service.sign_ins)}.",
            status=404,
            code="unknown_way",
        )
    return service, way, sign_in


def agreed(
    provider: Provider, account: Record | None, consent: str, now: float
) -> tuple[str, float]:
    """Return the version of a provider's text that was agreed to, and when.

    Args:
        provider: whose text it is; one without a text gives an empty version.
        account: to be repaired, which may have been agreed to before.
        consent: version that the user has just agreed to; empty for none.
        now: epoch seconds.

    Raises:
        ConsentNeeded: 409; the text in force was not agreed to.
    """
    asked = provider.consent
    if asked is None:
        return "", 0.0
    if account is not None and account.consent == asked.version and consent != asked.version:
        return account.consent, account.consented_at
    if consent == asked.version:
        return consent, now
    raise ConsentNeeded(provider, asked)


def kind_of(sign_in: SignIn) -> FlowKind:
    """Return the kind of a way to sign in."""
    match sign_in:
        case CodeSignIn():
            return "browser"
        case DeviceSignIn():
            return "device"
    return "secret"


def new_pkce(random: Callable[[int], bytes]) -> Pkce:
    """Return a proof key with a verifier of 128 characters (RFC 7636, section 4)."""
    verifier = base64.urlsafe_b64encode(random(96)).rstrip(b"=")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=")
    return Pkce(verifier.decode("ascii"), challenge.decode("ascii"))


def came_to(attempt: Attempt, at: Listen | str | None) -> bool:
    """Say whether a browser that came to ``at`` may bring a flow's code."""
    if at is None:
        return True
    if isinstance(at, str):
        return attempt.provider.id == at
    return isinstance(attempt.sign_in, CodeSignIn) and attempt.sign_in.listen == at


def check_host(host: str) -> str:
    """Return a host name as people write it, without scheme and path.

    Raises:
        RequestError: ``invalid_host``.
    """
    text = re.sub(r"^https?://", "", host.strip().lower()).partition("/")[0]
    if text and not _HOST.fullmatch(text):
        raise RequestError(
            f"{host.strip()[:100]!r} is no host name.",
            hint="Write the server's domain alone, like company.ghe.com.",
            code="invalid_host",
        )
    return text


def declined(provider: Provider, error: str) -> AccountError:
    """Return the error of a browser that came back without a code."""
    word = _ERROR_WORD.sub("", error)[:200] or "no code"
    return AccountError(
        f"{provider.title} sent the browser back without a sign-in: {word}.",
        hint="Start it again, and agree on the service's page.",
        code="sign_in_declined",
    )


def slow(provider: Provider) -> AccountError:
    """Return the error of a service that gave out no device code."""
    return AccountError(
        f"{provider.title} gave out no code in time.", hint="Try again.", code="sign_in_slow"
    )
