"""Renewing sign-ins before they end, so that no request waits for it and nobody thinks of it.

Per account: resting → due → renewing → resting, with two ways out of the circle:

- *backing off*: the service failed or could not be reached. The next try is later each time, up to
  a quarter of an hour; the token that is there goes on being used until it ends.
- *over*: the service refused (revoked, used by another program, not allowed). Nothing is tried
  again until somebody signs in or asks for it; the token that is there still goes on being used
  until it ends or is refused, and then the account says why it cannot serve.

Time. A token's end is a time of the wall clock, which people and time servers move; a computer
that sleeps stops the monotonic clock on some systems. So both are asked, and whichever says less
is left is believed: too early a renewal costs one call. One timer waits for whatever is due
soonest. It is set for a quarter of an hour at most, because it stands still while the computer
sleeps.

Tokens that live for less than an hour are renewed ahead only while they are in use; else an idle
program would call a service all day. A renewal runs once for all who wait for it, is never
cancelled by one of them, and its result is stored before it is used.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from app.accounts.account import Account
from app.accounts.book import AccountBook
from app.accounts.record import Record
from app.accounts.steps import Driver, Reach
from app.errors import AccountError, AppError, RequestError
from app.providers.base import Provider
from app.providers.credential import Credential
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN
from app.tasks import spawn

__all__ = ["Refresher", "Renewal", "Timer", "can_renew"]

_log = logging.getLogger("dragoman.accounts")

_MARGIN_S = 60.0
"""A token with less left than this is not sent any more: calls take time to get there. Half the
lead where that is less, so that a renewal in the background comes first."""
_SHORT_S = 3_600.0
"""A life below this is too short for renewals that nobody has asked for."""
_BACKOFF_S = 30.0
_LONGEST_BACKOFF_S = 900.0
_LONGEST_NAP_S = 900.0
_LIMIT_S = 60.0
"""Of one try."""
_WAIT_S = 45.0
"""How long a request waits for a renewal that it cannot do without."""
_JUST_NOW_S = 60.0
"""A token that is refused so soon after it was given out is not refused for its age."""
_JITTER = 0.1


class Timer(Protocol):
    """What can be called off; ``asyncio.TimerHandle`` is one."""

    def cancel(self) -> None:
        """Do not call."""
        ...


def _call_later(delay_s: float, call: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, call)


def _tell_nobody(_account_id: str, _text: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Renewal:
    """How the renewals of an account go, for people."""

    next_at: float | None
    """Epoch seconds of the next try; None when there is none ahead."""
    running: bool
    error: str
    """Why the last one failed; empty when it did not."""
    error_at: float
    """Epoch seconds; 0 when it did not."""
    over: bool
    """Nothing is tried again before somebody acts."""


@dataclass(slots=True)
class _Course:
    """What is known of one account's renewals."""

    failures: int = 0
    not_before: float = float("-inf")
    """Monotonic seconds."""
    error: AppError | None = None
    error_at: float = 0.0
    over: bool = False
    refused: bool = False
    """The token that is there was refused, too."""
    renewed: float = float("-inf")
    """Monotonic seconds of the last success."""
    used: bool = False
    """Asked for since the last success."""
    anchor: tuple[float, float] = (0.0, 0.0)
    """The end that was read, in epoch seconds, and what it was in monotonic seconds then."""
    lead_s: float = 0.0
    """How long before the end it is due; drawn anew for each token."""
    short: bool = False


@dataclass(slots=True)
class Refresher:
    """Keeps every signed-in account's credential good.

    Args:
        book: holds the records and puts new credentials in force.
        driver: runs a provider's steps.
        now: epoch seconds.
        monotonic: seconds of a clock that nobody sets.
        jitter: draws a number from -1 to 1, which moves each delay by up to a tenth.
        call_later: sets the timer; takes seconds and what to call.
        tell: is given an account's id and what is wrong, once per trouble (for a notification).
    """

    book: AccountBook
    driver: Driver
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = lambda: 0.0
    call_later: Callable[[float, Callable[[], None]], Timer] = _call_later
    tell: Callable[[str, str], None] = _tell_nobody
    _courses: dict[str, _Course] = field(default_factory=dict)
    _flights: dict[str, asyncio.Task[AppError | None]] = field(default_factory=dict)
    _timer: Timer | None = None
    _closed: bool = False

    # --- what requests ask -----------------------------------------------------------------------

    async def fresh(self, account: Account) -> Account:
        """Return the account with a credential that can be sent.

        Returns at once when there is one, and begins a renewal in the background when that is due.

        Raises:
            AccountError: there is none and none can be had now; ``code`` is ``sign_in_again``,
                ``not_allowed`` or ``renewal_failed``, the last with ``retry_after_s``.
        """
        record = self.book.find(account.id)
        if record is None:
            return account
        provider = self.book.provider_of(record)
        if provider is None:
            return account
        course = self._course(record, provider)
        if course.short and not course.used:
            course.used = True
            self.arm()
        else:
            course.used = True
        left_s = self._left_s(record, course)
        if record.credential.secret and left_s > min(_MARGIN_S, course.lead_s / 2):
            if left_s <= course.lead_s and self._may_try(record, course, provider):
                self._begin(record.id)
            return self.book.account(record.id) or account
        error = await self._renewed(record.id, course, provider)
        current = self.book.find(record.id)
        if error is not None:
            works = current is not None and self._still_works(current, provider)
            if not works:
                raise _again(error)
        return self.book.account(record.id) or account

    async def rejected(self, account: Account, used_secret: str) -> Account:
        """Return the account with another credential than the one that was just refused with 401.

        The one in force is returned when it is another one already.

        Raises:
            AccountError: there is none to be had; ``key_refused`` for what cannot be renewed,
                ``token_refused`` when a token is refused that was given out a moment ago, else as
                ``fresh``.
        """
        record = self.book.find(account.id)
        provider = None if record is None else self.book.provider_of(record)
        if record is None or provider is None or not can_renew(record, provider):
            raise AccountError(
                f"The service does not accept the key of {account.id}.",
                hint="It may be revoked, mistyped, or of another service.",
                code="key_refused",
            )
        if record.credential.secret and record.credential.secret != used_secret:
            return self.book.account(record.id) or account
        course = self._course(record, provider)
        if self.monotonic() - course.renewed < _JUST_NOW_S:
            raise AccountError(
                f"The service refuses a token of {record.id} that it gave out a moment ago.",
                code="token_refused",
            )
        course.refused = True
        error = await self._renewed(record.id, course, provider)
        if error is not None:
            raise _again(error)
        return self.book.account(record.id) or account

    async def renew(self, account_id: str) -> Record:
        """Renew now because somebody asks for it, whatever happened before.

        Raises:
            RequestError: unknown account, or ``not_renewable``.
            AppError: why it failed.
        """
        record = self.book.get(account_id)
        provider = self.book.provider_of(record)
        if provider is None or not can_renew(record, provider):
            raise RequestError(
                f"The sign-in of {record.id} has nothing to renew.",
                hint="A key or a long-lived token is good until its service refuses it; "
                f"`dragoman login {record.provider} --account {record.label}` stores another.",
                status=409,
                code="not_renewable",
            )
        course = self._course(record, provider)
        course.over = False
        course.not_before = float("-inf")
        error = await asyncio.shield(self._begin(record.id))
        if error is not None:
            raise _again(error)
        return self.book.get(record.id)

    # --- what others tell ------------------------------------------------------------------------

    def signed_in(self, account_id: str) -> None:
        """Forget what was wrong with an account: somebody has signed in to it."""
        self._courses.pop(account_id, None)
        self.book.set_trouble(account_id, "")
        self.arm()

    def renamed(self, old_id: str, new_id: str) -> None:
        """Let what is known of an account's renewals go on under its new id."""
        course = self._courses.pop(old_id, None)
        if course is not None:
            self._courses[new_id] = course

    def woke(self) -> None:
        """Look at all accounts: the computer has slept, the clock was set, or the net is back."""
        for course in self._courses.values():
            asked_to_wait = course.error is not None and course.error.retry_after_s is not None
            if not asked_to_wait:
                course.not_before = float("-inf")
        self._tick()

    def renewal(self, account_id: str) -> Renewal:
        """Return how the renewals of an account go."""
        record = self.book.find(account_id)
        provider = None if record is None else self.book.provider_of(record)
        if record is None or provider is None:
            return Renewal(None, False, "", 0.0, False)
        course = self._course(record, provider)
        delay_s = self._delay_s(record, provider)
        return Renewal(
            None if delay_s is None or course.over else self.now() + delay_s,
            record.id in self._flights,
            "" if course.error is None else course.error.text,
            course.error_at,
            course.over,
        )

    async def close(self, grace_s: float = 10.0) -> None:
        """Stop the timer and let running renewals end: a token that was used up needs its heir."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        flights = list(self._flights.values())
        if flights:
            _, late = await asyncio.wait(flights, timeout=grace_s)
            if late:
                _log.warning("%d renewals were still running at the end", len(late))

    # --- time ------------------------------------------------------------------------------------

    def arm(self) -> None:
        """Set the timer for whatever is due soonest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        delays = []
        for record in self.book.records():
            provider = self.book.provider_of(record)
            if provider is None or record.id in self._flights:
                continue
            delay_s = self._delay_s(record, provider)
            if delay_s is not None:
                delays.append(delay_s)
        if delays:
            delay_s = min(max(0.0, min(delays)), _LONGEST_NAP_S)
            self._timer = self.call_later(delay_s, self._tick)

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        known = {record.id for record in self.book.records()}
        for account_id in [name for name in self._courses if name not in known]:
            del self._courses[account_id]
        for record in self.book.records():
            provider = self.book.provider_of(record)
            if provider is None or record.id in self._flights:
                continue
            delay_s = self._delay_s(record, provider)
            if delay_s is not None and delay_s <= 0:
                self._act(record, provider)
        self.arm()

    def _act(self, record: Record, provider: Provider) -> None:
        course = self._course(record, provider)
        if course.over or not can_renew(record, provider):
            self._end(record, course)
        else:
            self._begin(record.id)

    def _delay_s(self, record: Record, provider: Provider) -> float | None:
        """Return in how many seconds something has to be done for an account, None for never."""
        course = self._course(record, provider)
        wait_s = course.not_before - self.monotonic()
        if self.book.unsaved(record.id):
            return wait_s
        if record.credential.expires_at is None:
            return None
        left_s = self._left_s(record, course)
        if course.over or not can_renew(record, provider):
            return None if self.book.trouble(record.id) else left_s
        if course.short and not course.used:
            return None
        return max(left_s - course.lead_s, wait_s)

    def _course(self, record: Record, provider: Provider) -> _Course:
        """Return an account's course, with the end of its present token."""
        course = self._courses.get(record.id)
        if course is None:
            course = self._courses[record.id] = _Course()
        expires_at = record.credential.expires_at
        if expires_at is None or course.anchor[0] == expires_at:
            return course
        now = self.now()
        course.anchor = (expires_at, self.monotonic() + expires_at - now)
        obtained_at = record.credential.obtained_at
        life_s = max(0.0, expires_at - (obtained_at if 0 < obtained_at < expires_at else now))
        course.short = 0 < life_s < _SHORT_S
        # A lead longer than half a life would renew all the time.
        lead_s = min(provider.renew_lead_s, life_s / 2) if life_s else provider.renew_lead_s
        course.lead_s = lead_s * (1 + _JITTER * self.jitter())
        return course

    def _left_s(self, record: Record, course: _Course) -> float:
        """Return how many seconds a token has left; infinite when it does not end."""
        expires_at = record.credential.expires_at
        if expires_at is None:
            return float("inf")
        return min(expires_at - self.now(), course.anchor[1] - self.monotonic())

    def _still_works(self, record: Record, provider: Provider) -> bool:
        course = self._course(record, provider)
        left_s = self._left_s(record, course)
        return bool(record.credential.secret) and left_s > 0 and not course.refused

    def _may_try(self, record: Record, course: _Course, provider: Provider) -> bool:
        return (
            can_renew(record, provider)
            and not course.over
            and not self._closed
            and course.not_before <= self.monotonic()
        )

    # --- one renewal -----------------------------------------------------------------------------

    async def _renewed(
        self, account_id: str, course: _Course, provider: Provider
    ) -> AppError | None:
        """Wait for a renewal, of which there is one at a time; returns why it failed."""
        running = self._flights.get(account_id)
        if running is None:
            record = self.book.find(account_id)
            if record is None or not can_renew(record, provider):
                return _ended(account_id, provider)
            if not self._may_try(record, course, provider):
                return self._held_back(account_id, course)
            running = self._begin(account_id)
        try:
            return await asyncio.wait_for(asyncio.shield(running), _WAIT_S)
        except TimeoutError:
            return AccountError(
                f"The sign-in of {account_id} is being renewed, which takes long.",
                code="renewal_failed",
                retry_after_s=5.0,
            )

    def _held_back(self, account_id: str, course: _Course) -> AppError:
        record = self.book.find(account_id)
        if course.over and record is not None and course.error is not None:
            provider = self.book.provider_of(record)
            if provider is not None and not self._still_works(record, provider):
                self._end(record, course)
            return course.error
        reason = "" if course.error is None else f" {course.error.message}"
        return AccountError(
            f"The sign-in of {account_id} could not be renewed.{reason}",
            code="renewal_failed",
            retry_after_s=max(1.0, course.not_before - self.monotonic()),
        )

    def _begin(self, account_id: str) -> asyncio.Task[AppError | None]:
        task = self._flights.get(account_id)
        if task is None:
            record = self.book.get(account_id)
            task = spawn(self._renew(record), f"renew {account_id}")
            self._flights[account_id] = task
            task.add_done_callback(functools.partial(self._landed, account_id))
        return task

    def _landed(self, account_id: str, _task: asyncio.Task[AppError | None]) -> None:
        self._flights.pop(account_id, None)
        if not self._closed:
            self.arm()

    async def _renew(self, begun: Record) -> AppError | None:
        try:
            async with self.book.exclusive(begun.id) as record:
                provider = self.book.provider_of(record)
                if provider is None:
                    return None
                if record.credential != begun.credential:
                    return None  # somebody signed in while this waited
                course = self._course(record, provider)
                if self.book.unsaved(record.id) and self._still_works(record, provider):
                    return await self._save(record, course)
                return await self._try(record, provider, course)
        except RequestError as error:
            # Removed while this waited, or while its service answered.
            return AccountError(error.message, hint=error.hint, code="account_removed")

    async def _save(self, record: Record, course: _Course) -> AppError | None:
        try:
            await self.book.save(record.id)
        except AppError as error:
            self._failed(record, course, error)
            return error
        _log.info("the sign-in of %s is stored", record.id)
        self._went_well(course)
        return None

    async def _try(self, record: Record, provider: Provider, course: _Course) -> AppError | None:
        """Run the provider's steps; quick tries over a shaky network are among them."""
        try:
            credential = await self._run(record, provider)
        except AccountError as error:
            return self._refused(record, course, error)
        except AppError as error:
            self._failed(record, course, error)
            return error
        return await self._succeeded(record, course, credential)

    async def _run(self, record: Record, provider: Provider) -> Credential:
        assert provider.renew is not None  # noqa: S101 - nobody begins without one
        return await self.driver.run(
            provider.renew(record.credential),
            Reach.of(provider, record.base_url, record.host),
            limit_s=_LIMIT_S,
            proxy=self.book.manner(provider.id).route(),
            keep=functools.partial(self.book.store, record.id),
        )

    async def _succeeded(
        self, record: Record, course: _Course, credential: Credential
    ) -> AppError | None:
        self._went_well(course)
        course.renewed = self.monotonic()
        course.used = False
        self.book.set_trouble(record.id, "")
        try:
            await self.book.store(record.id, credential, renewed_at=self.now())
        except AppError as error:
            # It is in force all the same; a stop before it is stored would lose it.
            self._failed(record, course, error)
            return None
        provider = self.book.provider_of(record)
        if provider is not None:
            self._mind_progress(record, provider, course)
        _log.info("the sign-in of %s was renewed", record.id)
        return None

    def _mind_progress(self, record: Record, provider: Provider, course: _Course) -> None:
        """Wait before the next renewal where this one did not move the end."""
        fresh = self.book.get(record.id)
        course = self._course(fresh, provider)
        if self._left_s(fresh, course) <= course.lead_s:
            course.not_before = self.monotonic() + _BACKOFF_S

    def _went_well(self, course: _Course) -> None:
        course.failures = 0
        course.not_before = float("-inf")
        course.error = None
        course.error_at = 0.0
        course.over = course.refused = False

    def _failed(self, record: Record, course: _Course, error: AppError) -> None:
        """Note what may pass, and when to try again."""
        course.failures += 1
        delay_s = min(_BACKOFF_S * 2.0 ** (min(course.failures, 16) - 1), _LONGEST_BACKOFF_S)
        delay_s *= 1 + _JITTER * self.jitter()
        course.not_before = self.monotonic() + max(delay_s, error.retry_after_s or 0.0)
        course.error, course.error_at = error, self.now()
        what = "stored" if self.book.unsaved(record.id) else "renewed"
        _log.warning(
            "the sign-in of %s could not be %s, again in %d s: %s",
            record.id,
            what,
            course.not_before - self.monotonic(),
            error.text,
        )
        if course.failures == 1 and what == "stored":
            self.tell(record.id, f"Its sign-in could not be stored: {error.text}")

    def _refused(self, record: Record, course: _Course, error: AccountError) -> AppError:
        """Note that nothing is to be tried again, or later where the service only said later."""
        if error.code not in (SIGN_IN_AGAIN, NOT_ALLOWED):
            self._failed(record, course, error)
            return error
        course.over = True
        course.error, course.error_at = error, self.now()
        _log.error("the sign-in of %s cannot be renewed: %s", record.id, error.text)
        self.tell(record.id, error.text)
        provider = self.book.provider_of(record)
        if provider is not None and not self._still_works(record, provider):
            self._end(record, course)
        return error

    def _end(self, record: Record, course: _Course) -> None:
        """Take an account out of use whose token has ended."""
        provider = self.book.provider_of(record)
        error = course.error
        if error is None and provider is not None:
            error = _ended(record.id, provider)
        if error is not None:
            if error.code == NOT_ALLOWED:
                self.book.set_trouble(record.id, f"not allowed. {error.text}", need="")
            else:
                self.book.set_trouble(record.id, f"not signed in any more. {error.text}")


def can_renew(record: Record, provider: Provider) -> bool:
    """Say whether a sign-in can be renewed: long-lived tokens and keys cannot."""
    return provider.renew is not None and bool(record.credential.renewal)


def _ended(account_id: str, provider: Provider) -> AccountError:
    return AccountError(
        f"The sign-in of {account_id} has ended.",
        hint=f"Sign in again: `dragoman login {provider.id}`.",
        code=SIGN_IN_AGAIN,
    )


def _again(error: AppError) -> AccountError:
    """Return an error for one more caller: each needs an object, for its traceback.

    A service that could not renew a token is, to a request, an account that cannot serve.
    """
    return AccountError(
        error.message,
        hint=error.hint,
        status=error.status if isinstance(error, AccountError) else None,
        code=error.code if isinstance(error, AccountError) else "renewal_failed",
        retry=error.retry,
        retry_after_s=error.retry_after_s,
    )
