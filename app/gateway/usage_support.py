"""Which servers may be asked the usage of a stream.

OpenAI's own service and most others take ``stream_options``; a few compatible servers refuse a
request that holds it. A server is asked until it refuses: the request is then sent once more
without the question, and when that is answered, the server is not asked again for a day.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from app.canonical.failure import Failure

__all__ = ["UsageSupport"]

_KEPT_S = 24 * 3_600.0
"""Servers are updated; once a day the question may cost one more request."""
_MOST = 1_000
_REFUSALS = (400, 422)


class UsageSupport:
    """What is known of each account's server; in memory only.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    def may_ask(self, account_id: str) -> bool:
        """Say whether the server may be asked; True until it refused."""
        return self._get(account_id) is not False

    def may_blame(self, account_id: str, failure: Failure) -> bool:
        """Say whether a request may have failed because it asked.

        A server that says what else was wrong is believed.
        """
        vague = failure.kind == "invalid_request" and "stream" in (failure.param or "stream")
        return vague and failure.status in _REFUSALS and self._get(account_id) is None

    def learn(self, account_id: str, *, takes: bool) -> None:
        """Note that a server took the question, or answered only without it."""
        self._known[account_id] = (takes, self._now())
        self._known.move_to_end(account_id)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    def _get(self, account_id: str) -> bool | None:
        takes, at = self._known.get(account_id, (None, 0.0))
        return takes if self._now() - at < _KEPT_S else None
