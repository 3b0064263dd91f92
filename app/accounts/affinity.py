"""Which accounts a conversation was served by: its prompt cache is there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Affinity"]

_MOST = 10_000


class Affinity:
    """Conversations by name, each with its own account and the one that helped out last.

    A conversation belongs to the account that served it first. Where that one cannot serve for a
    while, another helps out, and the conversation goes back when the first returns. Either is
    forgotten an hour after it last served: no service keeps a prompt cache for longer.

    Args:
        now: monotonic seconds.
        idle_s: how long an account is kept after it last served.
    """

    def __init__(self, now: Callable[[], float], idle_s: float = 3_600.0) -> None:
        self._now = now
        self._idle_s = idle_s
        self._bound: OrderedDict[str, tuple[tuple[str, float], ...]] = OrderedDict()

    def get(self, conversation: str) -> tuple[str, ...]:
        """Return the ids of its accounts, its own first; at most two."""
        found = self._bound.get(conversation)
        if found is None:
            return ()
        since = self._now() - self._idle_s
        return tuple(account_id for account_id, at in found if at >= since)

    def bind(self, conversation: str, account_id: str) -> None:
        """Note who served a conversation."""
        now = self._now()
        live = self.get(conversation)
        if not live or live[0] == account_id:
            kept = tuple(one for one in self._bound.get(conversation, ()) if one[0] in live[1:])
            bound = ((account_id, now), *kept)
        else:
            own = next(one for one in self._bound[conversation] if one[0] == live[0])
            bound = (own, (account_id, now))
        self._bound[conversation] = bound
        self._bound.move_to_end(conversation)
        while len(self._bound) > _MOST:
            self._bound.popitem(last=False)

    def forget(self, account_id: str) -> None:
        """Drop an account that is gone from every conversation."""
        for conversation, bound in list(self._bound.items()):
            if any(held == account_id for held, _ in bound):
                kept = tuple(one for one in bound if one[0] != account_id)
                if kept:
                    self._bound[conversation] = kept
                else:
                    del self._bound[conversation]
