"""The candidates of one call, each when its account has room for it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias

from app.accounts.account import Account
from app.accounts.pace import Permit
from app.accounts.roster import AccountState
from app.canonical.failure import Failure
from app.errors import AppError, Retry
from app.gateway.resources import Resources
from app.routing.failover import may_try_next
from app.routing.plan import Candidate, Plan, no_account_error

__all__ = ["MayFollow", "Turns"]

MayFollow: TypeAlias = Callable[[Candidate, Candidate, Failure], bool]
"""Whether the second may be asked after the first failed."""

_NO_ROOM = Failure(429, "The account has no room.", "rate_limit", retry=Retry.NEXT_ACCOUNT)
"""What it means for others that an account must wait: nothing was asked yet."""


def _whenever_it_may_help(_last: Candidate, _following: Candidate, failure: Failure) -> bool:
    return may_try_next(failure)


class Turns:
    """Hands out candidates one after the other, and holds the room that the present one takes.

    A candidate whose account has no room comes after those that have some; when only such are left,
    the call waits in order. Accounts without a pace cost nothing here. Use it as a context, which
    lets go of the room however the call ends::

        with Turns(gateway, candidates, model, show_labels=True) as turns:
            while (candidate := turns.take() or await turns.wait()) is not None:
                …
                turns.failed(candidate, failure)

    Args:
        gateway: its pacer gives out the room.
        candidates: in the order of the plan.
        model: as the client named it.
        show_labels: whether the caller may see names of accounts.
        paced: False for a call that goes on with the caller's own sign-in.
        may_follow: whether a candidate may be asked after another one failed.
    """

    __slots__ = (
        "_gateway",
        "_labels",
        "_last",
        "_left",
        "_may_follow",
        "_model",
        "_paced",
        "_permit",
        "passed_over",
        "refusal",
    )

    def __init__(
        self,
        gateway: Resources,
        candidates: tuple[Candidate, ...],
        model: str,
        *,
        show_labels: bool,
        paced: bool = True,
        may_follow: MayFollow = _whenever_it_may_help,
    ) -> None:
        self._gateway = gateway
        self._left = list(candidates)
        self._model = model
        self._labels = show_labels
        self._paced = paced
        self._permit: Permit | None = None
        self._may_follow = may_follow
        self._last: tuple[Candidate, Failure] | None = None
        self.passed_over = False
        """Whether a better candidate had no room for a moment."""
        self.refusal: AppError | None = None
        """Why candidates were left over that were never asked; set when there are no more turns."""

    def __enter__(self) -> Turns:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._release()

    def take(self) -> Candidate | None:
        """Return the next candidate whose account has room now, if there is one."""
        self._release()
        for candidate in self._eligible():
            permit = self._gateway.pacer.claim(candidate.account) if self._paced else True
            if permit is False:
                self.passed_over = True
                continue
            if permit is not True:
                self._permit = permit
            self._left.remove(candidate)
            return candidate
        return None

    def failed(self, candidate: Candidate, failure: Failure) -> None:
        """Note how a candidate ended: not all of the others may follow it."""
        self._last = candidate, failure

    def others_after(self, candidate: Candidate, failure: Failure) -> bool:
        """Say whether somebody else may be asked after a candidate failed."""
        return any(self._may_follow(candidate, other, failure) for other in self._left)

    def _eligible(self) -> list[Candidate]:
        """Return the next candidate, and those that may be asked when it has no room."""
        left = self._left
        if self._last is not None:
            last, failure = self._last
            left = [other for other in left if self._may_follow(last, other, failure)]
        return [c for c in left if c is left[0] or self._may_follow(left[0], c, _NO_ROOM)]

    async def wait(self) -> Candidate | None:
        """Return the next candidate once its account has room; None when there are no more turns."""
        passed: list[tuple[Account, AccountState]] = []
        while eligible := self._eligible():
            gateway = self._gateway
            accounts = [candidate.account for candidate in eligible]
            given = await gateway.pacer.wait(accounts)
            if given is None:
                self.refusal = gateway.pacer.refusal(
                    accounts, self._model, show_labels=self._labels
                )
                self._left.clear()
                return None
            place, self._permit = given
            candidate = eligible[place]
            self._left.remove(candidate)
            # What the account did meanwhile for others may have ended its use.
            state = gateway.state(candidate.account, candidate.model, gateway.now())
            if state.health == "ready" or state.soft:
                return candidate
            self._release()
            passed.append((candidate.account, state))
        if passed:
            plan = Plan(self._model, (), tuple(passed))
            self.refusal = no_account_error(
                plan, self._gateway.now(), self._labels, self._gateway.clock
            )
        return None

    def _release(self) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.release()
