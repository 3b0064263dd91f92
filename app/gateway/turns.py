"""The candidates of one call, each when its account has room for it."""

from __future__ import annotations

from types import TracebackType

from app.accounts.account import Account
from app.accounts.pace import Permit
from app.accounts.roster import AccountState
from app.errors import AppError
from app.gateway.resources import Resources
from app.routing.plan import Candidate, Plan, no_account_error

__all__ = ["Turns"]


class Turns:
    """Hands out candidates one after the other, and holds the room that the present one takes.

    A candidate whose account has no room comes after those that have some; when only such are left,
    the call waits in order. Accounts without a pace cost nothing here. Use it as a context, which
    lets go of the room however the call ends::

        with Turns(gateway, candidates, model, show_labels=True) as turns:
            while (candidate := turns.take() or await turns.wait()) is not None:
                …

    Args:
        gateway: its pacer gives out the room.
        candidates: in the order of the plan.
        model: as the client named it.
        show_labels: whether the caller may see names of accounts.
        paced: False for a call that goes on with the caller's own sign-in.
    """

    __slots__ = (
        "_gateway",
        "_labels",
        "_left",
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
    ) -> None:
        self._gateway = gateway
        self._left = list(candidates)
        self._model = model
        self._labels = show_labels
        self._paced = paced
        self._permit: Permit | None = None
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
        if not self._paced:
            return self._left.pop(0) if self._left else None
        for place, candidate in enumerate(self._left):
            permit = self._gateway.pacer.claim(candidate.account)
            if permit is False:
                self.passed_over = True
                continue
            if permit is not True:
                self._permit = permit
            return self._left.pop(place)
        return None

    async def wait(self) -> Candidate | None:
        """Return the next candidate once its account has room; None when there are no more turns."""
        passed: list[tuple[Account, AccountState]] = []
        while self._left:
            gateway = self._gateway
            accounts = [candidate.account for candidate in self._left]
            given = await gateway.pacer.wait(accounts)
            if given is None:
                self.refusal = gateway.pacer.refusal(
                    accounts, self._model, show_labels=self._labels
                )
                self._left.clear()
                return None
            place, self._permit = given
            candidate = self._left.pop(place)
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
