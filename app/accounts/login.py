"""Signing in: flows from the first click to a stored account.

A flow is one attempt of one person. Its states::

    waiting ─→ working ─→ done
       │          ├─────→ failed
       │          └─────→ other_identity ─→ done    (confirmed)
       ├────────→ cancelled
       └────────→ expired                           (also from other_identity)

*Browser*: the service sends the browser back with a code, to a listener that lives only meanwhile,
or the user pastes what the browser shows. The ``state`` in it is random, belongs to one flow and
is taken once; with PKCE, a code is worth nothing to anybody else, and somebody else's code is
worth nothing here. *Device*: a code is shown, and the service is asked until it was typed.
*Secret*: what the user types is checked with one call.

What comes out becomes an account as ``admission`` says. Nothing is stored before the provider's text
was agreed to, where it has one.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from app.accounts.admission import Admission, Aside, Wanted
from app.accounts.book import AccountBook
from app.accounts.flow import (
    Attempt,
    Flow,
    FlowState,
    Listeners,
    Timer,
    agreed,
    check_host,
    declined,
    find_way,
    kind_of,
    new_pkce,
    slow,
)
from app.accounts.record import Record
from app.accounts.state import States
from app.accounts.steps import Driver, Reach
from app.errors import AccountError, AppError, BugError, RequestError
from app.log import redact
from app.providers.base import Provider
from app.providers.oauth import parse_pasted
from app.providers.signin import (
    CodeSignIn,
    DeviceSignIn,
    Granted,
    Listen,
    SecretSignIn,
    Show,
    SignIn,
    Steps,
)
from app.tasks import spawn

__all__ = ["Logins"]

_log = logging.getLogger("dragoman.accounts")
_T = TypeVar("_T")

CODE_S: Final = 300.0
"""How long the user has to come back from the browser, in seconds."""
_DEVICE_S = 1_800.0
"""Until a service has said how long its code lives."""
_BEGIN_S = 45.0
"""How long a service may take to give out a device code."""
_FINISH_S = 90.0
_KEPT_S = 600.0
"""How long an ended flow can still be asked about."""
_MOST_LIVE = 16
_MOST_LIVE_PER_PROVIDER = 4
_MOST_KEPT = 64
_LONGEST_SECRET = 65_536
_LONGEST_CODE = 4_096


def _call_later(delay_s: float, call: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, call)


def _nothing(_account_id: str) -> None:
    return None


class Logins:
    """All flows; see the module for their states.

    Args:
        book: takes what comes out.
        driver: runs the providers' steps.
        now: epoch seconds.
        listeners: opens callback ports; None where nothing may listen, so that codes are pasted.
        signed_in: told the id of an account that was made or repaired.
        random: gives that many random bytes.
        call_later: sets a timer; takes seconds and what to call.
    """

    def __init__(
        self,
        book: AccountBook,
        driver: Driver,
        now: Callable[[], float],
        *,
        listeners: Listeners | None = None,
        signed_in: Callable[[str], None] = _nothing,
        random: Callable[[int], bytes] = secrets.token_bytes,
        call_later: Callable[[float, Callable[[], None]], Timer] = _call_later,
    ) -> None:
        self.listeners = listeners
        self._book = book
        self._driver = driver
        self._now = now
        self._signed_in = signed_in
        self._random = random
        self._call_later = call_later
        self._attempts: dict[str, Attempt] = {}
        self.admission = Admission(book, now)
        self._closing: set[asyncio.Task[None]] = set()
        self._states = States()

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Return the services by id."""
        return self._book.providers

    def flows(self) -> tuple[Flow, ...]:
        """Return all flows that are remembered, oldest first."""
        return tuple(attempt.view for attempt in self._attempts.values())

    def get(self, flow_id: str) -> Flow:
        """Return a flow.

        Raises:
            RequestError: 404 ``unknown_sign_in``.
        """
        return self._attempt(flow_id).view

    # --- the beginning ---------------------------------------------------------------------------

    async def start(
        self,
        provider: str,
        way: str | None = None,
        *,
        account: str | None = None,
        label: str | None = None,
        consent: str = "",
        host: str = "",
    ) -> Flow:
        """Begin a flow.

        Args:
            provider: id of the service.
            way: a key of ``Provider.sign_ins``; None for the best.
            account: id, label or name of the account to repair; None for whoever signs in.
            label: of a new account.
            consent: version of the text that the user has just agreed to.
            host: the user's own server, for a device code.

        Returns:
            The flow, waiting: with ``url`` for a browser, ``url`` and ``user_code`` for a device,
            ``prompt`` for a secret. A device flow that failed at once is returned as failed.

        Raises:
            ConsentNeeded: 409; the provider's text must be agreed to first.
            RequestError: 404 ``unknown_provider``, ``unknown_way`` or ``unknown_account``; 400
                ``invalid_label`` or ``invalid_host``; 409 ``label_taken``; 429
                ``too_many_sign_ins``.
            AccountError: ``vault_unusable``: there is nowhere to keep a sign-in;
                ``account_not_ready``: the settings name a proxy that is not there.
        """
        service, way, sign_in = find_way(self.providers, provider, way)
        target = self._target(service, account)
        label = self._book.free_label(service.id, label) if label else ""
        version, consented_at = agreed(service, target, consent, self._now())
        host = check_host(host)
        self._book.require_vault()
        self._book.manner(service.id).route()
        self._make_room(service)
        now = self._now()
        kind = kind_of(sign_in)
        view = Flow(
            id=self._random(16).hex(),
            provider=service.id,
            way=way,
            kind=kind,
            state="waiting",
            started_at=now,
            expires_at=now + (_DEVICE_S if kind == "device" else CODE_S),
            account="" if target is None else target.id,
        )
        attempt = Attempt(
            view,
            service,
            sign_in,
            label,
            host or ("" if target is None else target.host),
            "" if target is None else target.base_url,
            version,
            consented_at,
        )
        self._attempts[view.id] = attempt
        self._set_timer(attempt)
        match sign_in:
            case CodeSignIn():
                await self._begin_code(attempt, sign_in)
            case DeviceSignIn():
                await self._begin_device(attempt, sign_in)
            case SecretSignIn():
                self._show(attempt, prompt=sign_in.prompt)
        return attempt.view

    def _target(self, provider: Provider, account: str | None) -> Record | None:
        if not account:
            return None
        record = self._book.choose(provider.id, account)
        if record is None:
            raise RequestError(
                f"{provider.title} has no signed-in account {account[:200]!r}.",
                hint="`dragoman accounts` lists them; leave the account out to add one.",
                status=404,
                code="unknown_account",
            )
        return record

    def _make_room(self, provider: Provider) -> None:
        self._forget_old()
        live = [a.view for a in self._attempts.values() if a.view.live]
        here = [view for view in live if view.provider == provider.id]
        if len(live) >= _MOST_LIVE or len(here) >= _MOST_LIVE_PER_PROVIDER:
            soonest = min(live if len(live) >= _MOST_LIVE else here, key=lambda f: f.expires_at)
            left_s = max(1, soonest.expires_in(self._now()))
            raise RequestError(
                f"{len(here)} sign-ins to {provider.title} are waiting already.",
                hint=f"Finish or cancel one; the next ends by itself in {left_s} s.",
                status=429,
                code="too_many_sign_ins",
                retry_after_s=float(left_s),
            )

    async def _begin_code(self, attempt: Attempt, sign_in: CodeSignIn) -> None:
        attempt.pkce = new_pkce(self._random)
        attempt.token = self._random(16).hex()
        redact(attempt.pkce.verifier)
        redact(attempt.token)
        url = sign_in.begin(attempt.pkce, attempt.token)
        notice = "Paste the code that the page shows."
        if sign_in.listen is not None:
            notice = await self._listen(attempt, sign_in.listen)
        if attempt.view.live:
            self._show(attempt, url=url, listening=not notice, notice=notice)

    async def _listen(self, attempt: Attempt, listen: Listen) -> str:
        if self.listeners is None:
            return "Paste the address of the page that the browser ends on."
        reason = await self.listeners.open(listen)
        if reason:
            return (
                f"{reason} After signing in, the browser ends on a page that it cannot show, or "
                "on a foreign one: copy its whole address and paste it here."
            )
        if not attempt.view.live:
            await self.listeners.close(listen)
        else:
            attempt.listen = listen
        return ""

    async def _begin_device(self, attempt: Attempt, sign_in: DeviceSignIn) -> None:
        self._work(attempt, sign_in.run(attempt.host), _DEVICE_S, waiting=True)
        late = functools.partial(self._fail, attempt, slow(attempt.provider))
        timer = self._call_later(_BEGIN_S, late)
        try:
            while attempt.view.live and not attempt.view.user_code:
                await attempt.changed.wait()
                attempt.changed.clear()
        finally:
            timer.cancel()

    # --- what comes back -------------------------------------------------------------------------

    async def callback(
        self, state: str, code: str = "", error: str = "", *, at: Listen | str | None = None
    ) -> Flow:
        """Take what the browser brought back.

        Args:
            state: as it came; the flow takes it once.
            code: as it came.
            error: the service's word for why there is no code.
            at: the listener or the provider's id in the path that it came to; a state that was
                given out for another one is foreign.

        Returns:
            The flow once it has ended, or asks for a confirmation.

        Raises:
            RequestError: 404 ``unknown_state`` for a wrong, foreign, expired or reused state.
        """
        attempt = self._states.take(self._attempts.values(), state, at)
        self._close_listener(attempt)
        if error or not code:
            self._fail(attempt, declined(attempt.provider, error))
            return attempt.view
        return await self._finish_code(attempt, code[:_LONGEST_CODE], state)

    async def paste(self, flow_id: str, text: str) -> Flow:
        """Take what the user copied out of the browser.

        Returns:
            The flow once it has ended, or asks for a confirmation.

        Raises:
            RequestError: 404 ``unknown_sign_in``; 409 ``sign_in_over`` or ``wrong_way``; 400
                ``no_sign_in_code``; 400 ``unknown_state`` when it is of another sign-in. The flow
                goes on waiting.
        """
        attempt = self._attempt(flow_id)
        self._require_waiting(attempt, CodeSignIn)
        try:
            code, state = parse_pasted(text)
        except AccountError as error:
            self._fail(attempt, error)
            return attempt.view
        redact(code)
        self._states.check(attempt, state)
        state = attempt.token  # a bare code has none; PKCE binds it all the same
        self._states.use_up(attempt)
        self._close_listener(attempt)
        return await self._finish_code(attempt, code, state)

    async def submit(self, flow_id: str, secret: str) -> Flow:
        """Take what the user typed: a key, a token or a cookie.

        Returns:
            The flow once it has ended, or asks for a confirmation.

        Raises:
            RequestError: 404 ``unknown_sign_in``; 409 ``sign_in_over`` or ``wrong_way``; 400 when
                the text cannot be what is asked for. The flow goes on waiting.
        """
        attempt = self._attempt(flow_id)
        sign_in = attempt.sign_in
        self._require_waiting(attempt, SecretSignIn)
        secret = secret.strip()
        if not secret or len(secret) > _LONGEST_SECRET:
            raise RequestError("Nothing was typed, or far too much.", code="no_secret")
        redact(secret)
        if isinstance(sign_in, SecretSignIn):
            base_url = attempt.base_url or attempt.provider.base_url
            self._work(attempt, sign_in.run(secret, base_url), _FINISH_S)
        await self._ended(attempt)
        if attempt.view.state == "waiting":
            raise RequestError(attempt.view.error, code=attempt.view.code or "no_secret")
        return attempt.view

    async def confirm(self, flow_id: str) -> Flow:
        """Accept that another identity has signed in: it replaces the one to be repaired.

        An identity that has an account of its own repairs that one instead.

        Raises:
            RequestError: 404 ``unknown_sign_in``; 409 ``nothing_to_confirm``.
        """
        attempt = self._attempt(flow_id)
        granted = attempt.granted
        if attempt.view.state != "other_identity" or granted is None:
            raise RequestError(
                "This sign-in has nothing to confirm.", status=409, code="nothing_to_confirm"
            )
        attempt.granted = None
        self._show(attempt, state="working", error="", code="")
        try:
            await self._admit(attempt, granted, confirmed=True)
        except AppError as error:
            self._fail(attempt, error)
        return attempt.view

    def cancel(self, flow_id: str) -> Flow:
        """End a flow; one that has ended, or ends in a moment, stays as it is.

        Raises:
            RequestError: 404 ``unknown_sign_in``.
        """
        attempt = self._attempt(flow_id)
        if attempt.view.state in ("waiting", "other_identity"):
            self._end(attempt, "cancelled", "The sign-in was cancelled.", "cancelled")
        return attempt.view

    async def close(self, grace_s: float = 10.0) -> None:
        """End all flows; those that are being finished get some time for it."""
        working = [
            attempt.task
            for attempt in self._attempts.values()
            if attempt.task is not None and attempt.view.state == "working"
        ]
        if working:
            await asyncio.wait(working, timeout=grace_s)
        for attempt in self._attempts.values():
            if attempt.view.live:
                self._end(attempt, "cancelled", "Dragoman is stopping.", "cancelled")
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=grace_s)

    # --- inside ----------------------------------------------------------------------------------

    def _attempt(self, flow_id: str) -> Attempt:
        attempt = self._attempts.get(flow_id)
        if attempt is None:
            raise RequestError(
                "This sign-in is not known, or ended some time ago.",
                hint="Start it again.",
                status=404,
                code="unknown_sign_in",
            )
        return attempt

    def _require_waiting(self, attempt: Attempt, kind: type[SignIn]) -> None:
        if attempt.view.state != "waiting":
            raise RequestError(
                attempt.view.error or "This sign-in is not waiting for anything any more.",
                status=409,
                code="sign_in_over",
            )
        if not isinstance(attempt.sign_in, kind):
            raise RequestError(
                "This sign-in goes another way; it takes no such text.",
                status=409,
                code="wrong_way",
            )

    async def _finish_code(self, attempt: Attempt, code: str, state: str) -> Flow:
        redact(code)
        sign_in, pkce = attempt.sign_in, attempt.pkce
        if isinstance(sign_in, CodeSignIn) and pkce is not None:
            self._work(attempt, sign_in.finish(code, state, pkce), _FINISH_S)
        await self._ended(attempt)
        return attempt.view

    def _work(
        self, attempt: Attempt, steps: Steps[Granted], limit_s: float, *, waiting: bool = False
    ) -> None:
        """Run the rest of a flow in a task of its own: whoever waits for it may leave."""
        if not waiting:
            self._show(attempt, state="working", error="", code="")
        attempt.task = spawn(
            self._finish(attempt, steps, limit_s), f"sign-in to {attempt.provider.id}"
        )

    async def _finish(self, attempt: Attempt, steps: Steps[Granted], limit_s: float) -> None:
        provider = attempt.provider
        try:
            granted = await self._driver.run(
                steps,
                Reach.of(provider, attempt.base_url, attempt.host),
                limit_s=limit_s,
                proxy=self._book.manner(provider.id).route(),
                show=functools.partial(self._show_code, attempt),
            )
            if attempt.view.live:
                self._show(attempt, state="working")
                await self._admit(attempt, granted)
        except RequestError as error:
            if isinstance(attempt.sign_in, SecretSignIn) and attempt.view.state == "working":
                # A slip of the hand: the same flow takes the next attempt.
                self._show(attempt, state="waiting", error=error.text, code=error.code)
            else:
                self._fail(attempt, error)
        except AppError as error:
            self._fail(attempt, error)
        except Exception:
            self._fail(attempt, BugError("The sign-in failed by a fault of Dragoman's."))
            raise

    def _show_code(self, attempt: Attempt, shown: Show) -> None:
        if attempt.view.live:
            self._show(
                attempt, url=shown.url, user_code=shown.user_code, expires_at=shown.expires_at
            )
            self._set_timer(attempt)

    async def _ended(self, attempt: Attempt) -> None:
        if attempt.task is not None:
            await asyncio.wait([attempt.task])

    async def _admit(self, attempt: Attempt, granted: Granted, *, confirmed: bool = False) -> None:
        """Make an account of what was granted, or ask whether it is the right one."""
        identity = granted.identity
        self._show(attempt, name=identity.name, plan=identity.plan)
        wanted = Wanted(
            attempt.provider.id,
            attempt.view.way,
            attempt.view.account,
            attempt.label,
            attempt.host,
            attempt.consent,
            attempt.consented_at,
        )
        outcome = await self.admission.admit(wanted, granted, confirmed=confirmed)
        if isinstance(outcome, Aside):
            self._put_aside(attempt, granted, outcome)
            return
        record = outcome.record
        self._signed_in(record.id)
        self._show(attempt, account=record.id, repaired=outcome.repaired)
        _log.info("%s is signed in", record.id)
        self._end(attempt, "done")

    def _put_aside(self, attempt: Attempt, granted: Granted, aside: Aside) -> None:
        attempt.granted = granted
        self._show(
            attempt,
            state="other_identity",
            error=aside.message,
            code="other_identity",
            expires_at=self._now() + CODE_S,
        )
        self._set_timer(attempt)

    def _show(self, attempt: Attempt, **fields: object) -> None:
        attempt.view = replace(attempt.view, **fields)  # type: ignore[arg-type] # of Flow
        attempt.changed.set()

    def _fail(self, attempt: Attempt, error: AppError) -> None:
        if attempt.view.live:
            _log.warning("the sign-in to %s failed: %s", attempt.provider.id, error.text)
            self._end(attempt, "failed", error.text, error.code)

    def _end(self, attempt: Attempt, state: FlowState, error: str = "", code: str = "") -> None:
        """Let go of everything that a flow holds."""
        self._states.use_up(attempt)
        attempt.pkce = attempt.granted = None
        if attempt.timer is not None:
            attempt.timer.cancel()
            attempt.timer = None
        task = attempt.task
        if task is not None and not task.done() and task is not asyncio.current_task():
            task.cancel()
        self._show(
            attempt, state=state, error=error, code=code, url="", user_code="", listening=False
        )
        self._close_listener(attempt)

    def _close_listener(self, attempt: Attempt) -> None:
        listen, attempt.listen = attempt.listen, None
        if listen is not None and self.listeners is not None:
            task = spawn(self.listeners.close(listen), "callback listener")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _set_timer(self, attempt: Attempt) -> None:
        if attempt.timer is not None:
            attempt.timer.cancel()
        left_s = max(0.0, attempt.view.expires_at - self._now())
        attempt.timer = self._call_later(left_s, functools.partial(self._expire, attempt))

    def _expire(self, attempt: Attempt) -> None:
        attempt.timer = None
        if attempt.view.state == "working":
            return  # limited by the driver; what was granted must not be thrown away
        if attempt.view.live:
            self._end(
                attempt,
                "expired",
                "Nobody finished the sign-in in time. Start it again.",
                "expired",
            )

    def _forget_old(self) -> None:
        now = self._now()
        ended = [flow for flow in self.flows() if not flow.live]
        for number, flow in enumerate(ended):
            if now - flow.expires_at > _KEPT_S or number < len(ended) - _MOST_KEPT:
                del self._attempts[flow.id]
