"""Which account a conversation was served by last: its prompt cache is there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Affinity"]

_MOST = 10_000


class Affinity:
    """Conversations by name, each with the account that served it last.

    A binding ends an hour after its last use: no service keeps a prompt cache for longer, so that
    a conversation that comes back then is served in the usual order again.

    Args:
        now: monotonic seconds.
        idle_s: how long an unused binding is kept.
    """

    def __init__(self, now: Callable[[], float], idle_s: float = 3_600.0) -> None:
        self._now = now
        self._idle_s = idle_s
        self._bound: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def get(self, conversation: str) -> str | None:
        """Return the account's id, or None."""
        found = self._bound.get(conversation)
        if found is None:
            return None
        if self._now() - found[1] > self._idle_s:
            del self._bound[conversation]
            return None
        return found[0]

    def bind(self, conversation: str, account_id: str) -> None:
        """Note who served a conversation."""
        self._bound[conversation] = (account_id, self._now())
        self._bound.move_to_end(conversation)
        while len(self._bound) > _MOST:
            self._bound.popitem(last=False)

    def forget(self, account_id: str) -> None:
        """Drop every binding to an account that is gone."""
        for conversation in [c for c, (held, _) in self._bound.items() if held == account_id]:
            del self._bound[conversation]
