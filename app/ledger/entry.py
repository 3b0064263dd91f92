"""What the ledger keeps of a request and of its attempts. No prompts, no answers, no secrets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from app.canonical.failure import Failure
from app.canonical.loss import Loss
from app.canonical.usage import Usage

__all__ = ["AttemptEntry", "Entry", "Settled", "attempt_of", "entry_of"]


class AttemptEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One attempt: one account was asked."""

    at: float
    """When it began, epoch seconds."""
    provider: str
    account: str
    model: str
    """The upstream's name."""
    dialect: str
    """The upstream's."""
    grade: str = ""
    losses: tuple[tuple[str, str], ...] = ()
    """Path and reason of each."""
    reason: str = ""
    """Why this account."""
    status: int = 0
    """Of the upstream's answer; 0 when there was none."""
    error: str = ""
    """Code of the failure; empty for success."""
    first_ms: int | None = None
    """From its beginning to its first content."""
    duration_ms: int = 0


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request."""

    id: str
    at: float
    """When it came, epoch seconds."""
    client: str = ""
    """Name of the calling program (``claude``); empty when not known."""
    session: str = ""
    """Hash of the conversation's name; empty for none."""
    key_id: str = ""
    """Id of the key; empty for callers without one."""
    dialect: str = ""
    """The caller's."""
    asked: str = ""
    """The model as the client named it."""
    model: str = ""
    """The upstream's name of what answered, or was asked last."""
    provider: str = ""
    account: str = ""
    """Id of the account that answered, or was asked last."""
    upstream: str = ""
    """The upstream's dialect."""
    grade: str = ""
    losses: tuple[tuple[str, str], ...] = ()
    """Path and reason of each."""
    rule: str = ""
    """The rule that chose the route; empty when none did."""
    reason: str = ""
    """Why it went there."""
    status: int = 0
    """What the client saw; 499 when it left."""
    stop: str = ""
    """Why the answer ended, in the canon's words."""
    error: str = ""
    """Code of the failure; empty for success, and for a client that left."""
    tokens: Usage | None = None
    """None when the service did not say."""
    cost: int | None = None
    """In micro-dollars; None when there is no price."""
    worth: bool = False
    """The cost was not paid: a plan served it, and this is what it is worth at list price."""
    first_ms: int | None = None
    """From its coming to the first content sent."""
    duration_ms: int = 0
    stream: bool = False
    cached: bool = False
    """Answered from the cache of whole answers; costs nothing."""
    attempts: tuple[AttemptEntry, ...] = ()
    trace: str = ""
    """JSON of how the route was chosen; empty when not kept."""

    @property
    def failed(self) -> bool:
        """Whether the client got an error, or an answer that broke."""
        return self.error != ""

    @property
    def spent(self) -> int:
        """What was paid for it, in micro-dollars."""
        return 0 if self.worth or self.cost is None else self.cost


class Settled(Protocol):
    """What the gateway tells of a request that has ended; ``gateway.call.Outcome`` is one."""

    request_id: str
    at: float
    """When it came, epoch seconds."""
    client: str
    session: str
    key_id: str
    asked_dialect: str
    """The caller's."""
    model: str
    """What the client asked for."""
    served: str
    account: str
    dialect: str
    """The upstream's."""
    grade: Any
    """``translate.Grade``, or None before one was chosen."""
    losses: tuple[Loss, ...]
    rule: str
    reason: str
    status: int
    stop: str
    failure: Failure | None
    first_ms: int | None
    duration_ms: int
    stream: bool
    cached: bool
    trace: str

    @property
    def tries(self) -> Sequence[AttemptEntry]:
        """The attempts in their order."""
        ...

    def tokens(self) -> Usage | None:
        """Return what was counted."""
        ...


def entry_of(
    outcome: Settled,
    price: Callable[[str, Usage], int | None],
    is_plan: Callable[[str], bool],
) -> Entry:
    """Return the entry of a request.

    Args:
        outcome: how it ended.
        price: ``PriceList.cost``.
        is_plan: says of an account's id whether a subscription pays for its calls.
    """
    tokens = outcome.tokens()
    cost: int | None = None
    if outcome.cached:
        cost = 0
    elif tokens is not None and outcome.served:
        cost = price(outcome.served, tokens)
    account = outcome.account
    return Entry(
        id=outcome.request_id,
        at=outcome.at,
        client=outcome.client,
        session=outcome.session,
        key_id=outcome.key_id,
        dialect=outcome.asked_dialect,
        asked=outcome.model,
        model=outcome.served,
        provider=account.partition("/")[0],
        account=account,
        upstream=outcome.dialect,
        grade=outcome.grade or "",
        losses=_losses(outcome.losses),
        rule=outcome.rule,
        reason=outcome.reason,
        status=outcome.status,
        stop=outcome.stop,
        error=_error(outcome.failure),
        tokens=tokens,
        cost=cost,
        worth=account != "" and is_plan(account),
        first_ms=outcome.first_ms,
        duration_ms=outcome.duration_ms,
        stream=outcome.stream,
        cached=outcome.cached,
        attempts=tuple(outcome.tries),
        trace=outcome.trace,
    )


def attempt_of(
    outcome: Settled,
    failure: Failure | None,
    status: int,
    at: float,
    first_ms: int | None,
    duration_ms: int,
) -> AttemptEntry:
    """Return the entry of the attempt that an outcome tells of at its end.

    Args:
        outcome: as the attempt has left it (account, model, dialect, grade, reason, losses).
        failure: how the attempt failed; None for success.
        status: of the upstream's answer; 0 when there was none.
        at: when the attempt began, epoch seconds.
        first_ms: from its beginning to its first content.
        duration_ms: from its beginning to its end.
    """
    return AttemptEntry(
        at=at,
        provider=outcome.account.partition("/")[0],
        account=outcome.account,
        model=outcome.served,
        dialect=outcome.dialect,
        grade=outcome.grade or "",
        losses=_losses(outcome.losses),
        reason=outcome.reason,
        status=status,
        error=_error(failure),
        first_ms=first_ms,
        duration_ms=duration_ms,
    )


def _losses(losses: tuple[Loss, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((loss.path, loss.reason) for loss in losses) if losses else ()


def _error(failure: Failure | None) -> str:
    if failure is None or failure.kind == "cancelled":
        return ""
    return failure.code or failure.kind
