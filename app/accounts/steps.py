"""Doing what a generator of steps asks for (``providers.signin``): the one place with its I/O.

``Driver.run`` sends each request, waits, shows and stores, and sends the outcome back in. A step
that fails is raised inside the generator, which may live without it (a profile that cannot be
read must not lose the tokens that were just given out); what it does not catch ends the run.

Secrets leave in one direction only: a request goes to the hosts in ``Reach`` or not at all, a
redirect is an answer like any other, and every credential that passes is registered for
redaction before anything else can speak of it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import traceback
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from app import log
from app.errors import AppError, BugError, UpstreamError
from app.http import HttpReply, HttpRequest, Limits, Send
from app.providers.base import Provider
from app.providers.credential import Credential
from app.providers.signin import Answered, Granted, Keep, Show, Step, Wait

__all__ = ["Driver", "Reach"]

_log = logging.getLogger("dragoman.accounts")

T = TypeVar("T")

_LIMITS = Limits(
    connect_s=10.0, first_byte_s=30.0, idle_s=30.0, total_s=30.0, max_body_bytes=1024 * 1024
)
"""Of one request. Token endpoints answer within a second; a page of a megabyte is no token."""
_MOST_STEPS = 2_000
"""A device code that is asked for each second for half an hour; more is a loop without an end."""
_NOTHING = HttpReply(0)


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the steps of one account may send to.

    A name without a port means port 443; a loopback address may have any port, and may be spoken
    to without TLS. No real service's table holds one.
    """

    hosts: frozenset[str] = frozenset()
    """Host names, or ``host:port``."""
    base_url: str = ""
    """Address that the account's calls go to: its very host and port may be reached, too."""
    own: str = ""
    """The user's own server as a host name, with all names below it."""

    @classmethod
    def of(cls, provider: Provider, base_url: str = "", host: str = "") -> Reach:
        """Return the reach of an account.

        Args:
            provider: its own table counts; where it has none (services with keys), its address.
            base_url: the account's, as the user's settings have it; empty for the provider's.
            host: the user's own server.
        """
        if not base_url and not provider.hosts:
            base_url = provider.base_url
        return cls(provider.hosts, base_url, host)

    def allows(self, url: str) -> bool:
        """Say whether a request may go to this address."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return False
        if not host or "@" in parts.netloc:
            return False
        local = _is_loopback(host)
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            return False
        port = port or (443 if parts.scheme == "https" else 80)
        if f"{host}:{port}" in self.hosts or (host in self.hosts and (local or port == 443)):
            return True
        if self.own and (host == self.own or host.endswith(f".{self.own}")):
            return local or port == 443
        return bool(self.base_url) and _origin(self.base_url) == (parts.scheme, host, port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    return parts.scheme, (parts.hostname or "").rstrip("."), port


async def _keep_nothing(_credential: Credential) -> None:
    return None


def _show_nothing(_shown: Show) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Driver:
    """Runs steps with the means of this process."""

    send: Send
    now: Callable[[], float]
    """Epoch seconds UTC."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(
        self,
        steps: Generator[Step, Answered, T],
        reach: Reach,
        *,
        limit_s: float,
        proxy: str | None = None,
        keep: Callable[[Credential], Awaitable[None]] = _keep_nothing,
        show: Callable[[Show], None] = _show_nothing,
    ) -> T:
        """Run a generator to its end and return its value.

        Args:
            steps: it is closed in every case.
            reach: where its requests may go.
            limit_s: seconds after which no further step is begun; a wait that would end later is
                cut there. A code that is shown moves the end to its own.
            proxy: proxy URL for its requests; None for the general setting.
            keep: stores a credential before the next step.
            show: tells the user a code.

        Raises:
            AccountError: the service refused, in the generator's words.
            RequestError: what the user typed cannot be it.
            UpstreamError: the service failed, was not understood or took too long
                (``sign_in_slow``), or the steps wanted to leave ``reach``
                (``host_not_allowed``).
            BugError: the generator failed; nothing that it was given is in the text.
        """
        run = _Run(self, reach, proxy, keep, show, self.now() + limit_s)
        try:
            value = await run.through(steps)
        except AppError as error:
            raise _scrubbed(error) from None
        finally:
            steps.close()
        _register(value)
        return value


@dataclass(slots=True)
class _Run:
    """The arguments of one ``Driver.run``."""

    driver: Driver
    reach: Reach
    proxy: str | None
    keep: Callable[[Credential], Awaitable[None]]
    show: Callable[[Show], None]
    end: float

    async def through(self, steps: Generator[Step, Answered, T]) -> T:
        outcome: Answered | AppError | None = None
        for _ in range(_MOST_STEPS):
            try:
                if isinstance(outcome, AppError):
                    step = steps.throw(outcome)
                else:
                    # A generator begins with None; its type does not know that.
                    step = next(steps) if outcome is None else steps.send(outcome)
            except StopIteration as stopped:
                value: T = stopped.value
                return value
            except AppError:
                raise
            except Exception as error:
                raise _bug(error) from None
            if self.driver.now() >= self.end:
                raise _slow()
            try:
                reply = await self._do(step)
            except AppError as error:
                outcome = error
            else:
                outcome = Answered(reply, self.driver.now())
        raise UpstreamError("The service kept asking for more steps.", code="sign_in_slow")

    async def _do(self, step: Step) -> HttpReply:
        match step:
            case HttpRequest():
                return await self._ask(step)
            case Wait():
                left = self.end - self.driver.now()
                await self.driver.sleep(max(0.0, min(step.seconds, left)))
                if step.seconds > left:
                    raise _slow()
            case Show():
                self.end = max(self.end, step.expires_at)
                self.show(step)
            case Keep():
                _register(step.credential)
                await self.keep(step.credential)
        return _NOTHING

    async def _ask(self, request: HttpRequest) -> HttpReply:
        if not self.reach.allows(request.url):
            raise UpstreamError(
                f"A sign-in was about to be sent to {_shown_host(request.url)}, which is not a "
                "host of this service; it was stopped.",
                code="host_not_allowed",
            )
        if request.proxy is None and self.proxy is not None:
            request = replace(request, proxy=self.proxy)
        reply = await self.driver.send(request, _LIMITS)
        try:
            body = await reply.read(_LIMITS.max_body_bytes)
        finally:
            await reply.aclose()
        return HttpReply(reply.status, reply.headers, body)


def _slow() -> UpstreamError:
    return UpstreamError("The service took too long.", code="sign_in_slow", status=504)


def _shown_host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "an address without a host"
    except ValueError:
        return "an address that cannot be read"


def _register(value: object) -> None:
    credential = value.credential if isinstance(value, Granted) else value
    if isinstance(credential, Credential):
        for secret in credential.secrets:
            log.redact(secret)


def _scrubbed(error: AppError) -> AppError:
    """Cut secrets out of an error: services repeat in their texts what they were sent."""
    error.message = log.scrub(error.message)
    error.hint = log.scrub(error.hint)
    error.args = (error.message,)
    return error


def _bug(error: Exception) -> BugError:
    # The error's own text may hold what it stumbled over, which may be a token.
    places = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    _log.error("sign-in steps failed with %s\n%s", type(error).__name__, places)
    return BugError("An answer of the service could not be worked on.", code="sign_in_failed")
