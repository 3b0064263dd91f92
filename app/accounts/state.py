"""The ``state`` of sign-ins in a browser (RFC 6749, 10.12): random, of one flow, taken once."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from app.accounts.flow import Attempt, came_to
from app.errors import RequestError
from app.providers.signin import Listen

__all__ = ["States"]

_MOST_KEPT = 64


class States:
    """Tells the state of a waiting flow from one that is wrong, foreign, or was taken before.

    State: hashes of the last 64 that were taken, so that a second use can be told from a wrong one.
    """

    def __init__(self) -> None:
        self._taken: dict[bytes, None] = {}

    def take(self, attempts: Iterable[Attempt], state: str, at: Listen | str | None) -> Attempt:
        """Return the flow that a state belongs to, and use the state up.

        Args:
            attempts: all flows that there are.
            state: as the browser brought it.
            at: where the browser came to; see ``Logins.callback``.

        Raises:
            RequestError: 404 ``unknown_state``.
        """
        found = None
        given = state.encode("utf-8", "surrogatepass")
        for attempt in attempts:
            token = attempt.token.encode()
            if token and attempt.view.state == "waiting" and hmac.compare_digest(token, given):
                found = attempt
        if found is None or not came_to(found, at):
            reused = hashlib.sha256(given).digest() in self._taken
            raise RequestError(
                "This sign-in was finished or ended already."
                if reused
                else "This address belongs to no sign-in that is waiting here.",
                hint="Start the sign-in again.",
                status=404,
                code="unknown_state",
            )
        self.use_up(found)
        return found

    def check(self, attempt: Attempt, state: str) -> None:
        """Refuse a state that is of another flow than this one; a bare code brings none.

        Raises:
            RequestError: 400 ``unknown_state``.
        """
        if state and not hmac.compare_digest(state.encode(), attempt.token.encode()):
            raise RequestError(
                "This text belongs to another sign-in.",
                hint="Use the link of this one, and paste what the browser shows at its end.",
                code="unknown_state",
            )

    def use_up(self, attempt: Attempt) -> None:
        """Let a flow's state be taken no more; safe to call again."""
        if attempt.token:
            self._taken[hashlib.sha256(attempt.token.encode()).digest()] = None
            while len(self._taken) > _MOST_KEPT:
                del self._taken[next(iter(self._taken))]
        attempt.token = ""
