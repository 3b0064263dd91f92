"""Who looks at the dashboard: tickets that open it, and the sessions that they are traded for.

A ticket travels in the fragment of an address, which a browser neither sends nor logs. It is good
for 30 seconds and for one use, and is only worth something on a connection that the kernel proves
to be the user's own. What it is traded for is a session token, which the page keeps for its tab
and sends as ``Authorization``. Neither is kept here: only their digests are.

States of a ticket: given → redeemed, or given → too old. States of a session: open → ended, by
leaving, by twelve hours without a use, or by a week's age.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Sessions"]

TICKET_S = 30.0
"""A browser takes a second or two to start; half a minute covers a slow one."""
IDLE_S = 12 * 3600.0
LONGEST_S = 7 * 24 * 3600.0
_MAX_TICKETS = 16
_MAX_SESSIONS = 32


@dataclass(slots=True)
class _Session:
    opened_at: float
    used_at: float


def _new_token() -> str:
    return secrets.token_urlsafe(32)


class Sessions:
    """Tickets and sessions of one running program; they end with it.

    Args:
        clock: seconds that only go forward.
        new_token: makes tickets and tokens; they must not begin like a client key.
        max_sessions: of more than this many, the one that was used least recently ends.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        new_token: Callable[[], str] = _new_token,
        *,
        max_sessions: int = _MAX_SESSIONS,
    ) -> None:
        self._clock = clock
        self._new_token = new_token
        self._max_sessions = max_sessions
        self._tickets: OrderedDict[bytes, float] = OrderedDict()
        """Digest to the time at which it is too old, oldest first."""
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()
        """By digest, the least recently used first."""

    def __len__(self) -> int:
        self._drop_old()
        return len(self._sessions)

    def new_ticket(self) -> str:
        """Return a ticket for one use within ``TICKET_S`` seconds."""
        self._drop_old()
        ticket = self._new_token()
        self._tickets[_digest(ticket)] = self._clock() + TICKET_S
        while len(self._tickets) > _MAX_TICKETS:
            self._tickets.popitem(last=False)
        return ticket

    def redeem(self, ticket: str) -> str | None:
        """Return a session's token for a ticket; None when it is unknown, used or too old."""
        until = self._tickets.pop(_digest(ticket), None)
        now = self._clock()
        if until is None or now >= until:
            return None
        self._drop_old()
        token = self._new_token()
        self._sessions[_digest(token)] = _Session(now, now)
        while len(self._sessions) > self._max_sessions:
            self._sessions.popitem(last=False)
        return token

    def accepts(self, token: str) -> bool:
        """Say whether a token is that of an open session, which counts as a use of it."""
        digest = _digest(token)
        session = self._sessions.get(digest)
        if session is None:
            return False
        now = self._clock()
        if _is_over(session, now):
            del self._sessions[digest]
            return False
        session.used_at = now
        self._sessions.move_to_end(digest)
        return True

    def end(self, token: str) -> bool:
        """End a session; returns whether there was one."""
        return self._sessions.pop(_digest(token), None) is not None

    def _drop_old(self) -> None:
        now = self._clock()
        for ticket in [t for t, until in self._tickets.items() if now >= until]:
            del self._tickets[ticket]
        for digest in [d for d, session in self._sessions.items() if _is_over(session, now)]:
            del self._sessions[digest]


def _is_over(session: _Session, now: float) -> bool:
    return now - session.used_at >= IDLE_S or now - session.opened_at >= LONGEST_S


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
