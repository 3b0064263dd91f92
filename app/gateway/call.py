"""One client request and where its answer goes, as the gateway sees them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from app.accounts.account import Account
from app.canonical.failure import Failure
from app.canonical.loss import Loss
from app.canonical.usage import Usage
from app.dialects.base import Dialect, Route
from app.dialects.translate import ClientSide, Grade
from app.http import Headers
from app.ledger.entry import AttemptEntry
from app.providers.base import Extra
from app.routing.facts import RequestFacts

__all__ = ["Call", "ClientGone", "Outcome", "Sink", "since_ms"]


class ClientGone(Exception):
    """The client has left: nobody reads the answer. Raised by a sink's ``write``."""


def since_ms(began: float) -> int:
    """Return the milliseconds since a moment in monotonic seconds."""
    return round((time.monotonic() - began) * 1000)


@dataclass(slots=True)
class Call:
    """What a client sent, read whole."""

    dialect: Dialect
    """The caller's dialect."""
    route: Route
    path: str
    query: str
    headers: Headers
    raw: bytes
    request_id: str
    owner: str
    """Stable id of the caller, which scopes what is remembered for it."""
    allows: Callable[[Account, str], bool]
    """The caller's scope."""
    show_account: bool = True
    """Whether account labels may be named to the caller (keyless callers of the same user)."""
    client: str = ""
    """Name of the calling program (``claude``), where it is known."""
    key_id: str = ""
    """Id of the key that was used; empty for none."""
    key_label: str = ""
    """Its label."""
    means: Callable[[str], str] = str
    """Returns the model that the caller's key means by a name; the name itself for most."""
    surface: ClientSide | None = None
    """Encodes answers where that is not the dialect itself (completions)."""
    extra: Extra | None = None
    """Set for a call that is passed on as it is (embeddings, images, compaction)."""
    memory_scope: str = ""
    """Scope of remembered answers where it is narrower than the caller (one WebSocket, which
    remembers its own answers even when they are not to be stored)."""

    help_at: str = ""
    """Where this caller finds our help (``http://localhost:8317``); empty for nowhere."""

    facts: RequestFacts | None = None
    """The call as rules and hooks see it; None until it was routed."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """Under whose names answers may be remembered, the narrowest first."""
        return (self.memory_scope, self.owner) if self.memory_scope else (self.owner,)

    @property
    def client_side(self) -> ClientSide:
        """Who encodes the answers."""
        return self.surface or self.dialect


class Sink(Protocol):
    """Where an answer goes.

    ``start`` once, then ``write`` any number of times, then ``finish``; or ``reply`` alone. Only
    ``write`` tells that the client has gone; the others then do nothing.
    """

    @property
    def started(self) -> bool:
        """Whether the head was sent."""
        ...

    written_at: float
    """Loop time of the last write."""

    def start(self, status: int, headers: Headers) -> None:
        """Send the head of a streamed answer."""
        ...

    def write(self, data: bytes) -> Awaitable[None]:
        """Send a piece of a streamed answer; awaiting it gives back-pressure.

        Raises:
            ClientGone: nobody reads it.
        """
        ...

    def alive(self) -> bool:
        """Look whether the client is still there, beyond what the connection says by itself."""
        ...

    def ping(self, data: bytes) -> bool:
        """Send a sign of life without waiting; False when the client has gone."""
        ...

    def finish(self) -> None:
        """End a streamed answer."""
        ...

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        ...


@dataclass(slots=True)
class Outcome:
    """How an exchange ended: for the log, the ledger and status."""

    request_id: str
    model: str = ""
    """What the client asked for."""
    served: str = ""
    """The upstream's model name."""
    account: str = ""
    """Id of the account that answered, or of the last one tried."""
    dialect: str = ""
    """The upstream's dialect."""
    grade: Grade | None = None
    attempts: int = 0
    reason: str = ""
    """Why it went there."""
    losses: tuple[Loss, ...] = ()
    usage: Usage | None = None
    """What was counted on the way; see ``tokens``."""
    read_usage: Callable[[], Usage | None] | None = None
    """Reads the counts of a whole answer that was passed on unread."""
    failure: Failure | None = None
    status: int = 0
    """What the client saw."""
    failures: list[tuple[str, Failure]] = field(default_factory=list)
    """Account id and failure of each attempt that did not serve."""
    at: float = 0.0
    """When it came, epoch seconds."""
    began: float = 0.0
    """The same in monotonic seconds."""
    client: str = ""
    """Name of the calling program."""
    session: str = ""
    """Hash of the conversation's name; empty for none."""
    key_id: str = ""
    asked_dialect: str = ""
    """The caller's."""
    rule: str = ""
    """The rule that chose the route; empty when none did."""
    stop: str = ""
    """Why the answer ended, in the canon's words; empty when it did not tell."""
    first_ms: int | None = None
    """From its coming to the first content sent."""
    duration_ms: int = 0
    stream: bool = False
    cached: bool = False
    """Answered from the cache of whole answers."""
    trace: str = ""
    """JSON of how the route was chosen; empty when not kept."""
    tries: list[AttemptEntry] = field(default_factory=list)

    def tokens(self) -> Usage | None:
        """Return what the answer cost; an answer that was passed on is read only now."""
        if self.usage is None and self.read_usage is not None:
            self.usage, self.read_usage = self.read_usage(), None
        return self.usage
