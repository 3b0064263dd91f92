"""Answers remembered for ``previous_response_id`` and ``GET /v1/responses/{id}``.

In memory only: 64 MB, 24 hours, scoped to the caller, and only what the client did not ask to
forget (``store: false``). After a restart an id is unknown, and the caller gets the service's own
not-found error, upon which clients send the whole conversation again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from app.dialects.openai_responses_store import (
    final_response,
    join_turn,
    previous_id,
    response_id,
    turn_items,
    wants_store,
)
from app.errors import AppError, RequestError

__all__ = ["ResponseMemory"]

_log = logging.getLogger("dragoman.gateway")

MAX_BYTES = 64 * 1024 * 1024
MAX_AGE_S = 24 * 3_600.0


@dataclass(slots=True)
class _Turn:
    body: bytes
    """The answer as the client saw it."""
    items: bytes
    """JSON list: the whole conversation so far, this answer included."""
    at: float


@dataclass(slots=True)
class ResponseMemory:
    """Remembers Responses answers by caller and id."""

    clock: Callable[[], float] = field(default=lambda: 0.0)
    """Seconds, any epoch."""
    _turns: OrderedDict[tuple[str, str], _Turn] = field(default_factory=OrderedDict)
    _size: int = 0

    def wants(self, dialect: str, head: Mapping[str, msgspec.Raw]) -> bool:
        """Say whether the answer to a request is to be remembered."""
        return dialect == "openai_responses" and wants_store(head)

    def remember(self, owner: str, head: Mapping[str, msgspec.Raw], body: bytes) -> None:
        """Keep an answer; ``head`` is the request's, already joined with what went before."""
        name = response_id(body)
        if name is None:
            return
        try:
            items = turn_items(head, body)
        except (AppError, msgspec.MsgspecError, RecursionError):
            # What cannot be read back is not remembered; a follow-up is told so.
            _log.debug("an answer cannot be remembered", exc_info=True)
            return
        size = len(body) + len(items)
        if size > MAX_BYTES // 4:
            return
        self.forget(owner, name)
        self._turns[owner, name] = _Turn(body, items, self.clock())
        self._size += size
        while self._size > MAX_BYTES:
            self._drop(next(iter(self._turns)))

    def remember_event(self, owner: str, head: Mapping[str, msgspec.Raw], stream: bytes) -> None:
        """Keep the answer that a piece of a client's stream ends with, if it ends one."""
        body = final_response(stream)
        if body is not None:
            self.remember(owner, head, body)

    def join(
        self, owner: str, raw: bytes, head: dict[str, msgspec.Raw]
    ) -> tuple[bytes, dict[str, msgspec.Raw]]:
        """Return the request with the remembered conversation before its input.

        A request whose id is unknown here is returned as it is: the upstream may know it.
        """
        name = previous_id(head)
        turn = self._find(owner, name) if name is not None else None
        if turn is None:
            return raw, head
        return join_turn(head, turn.items)

    def knows(self, owner: str, name: str) -> bool:
        """Say whether an answer is remembered."""
        return self._find(owner, name) is not None

    def get(self, owner: str, name: str) -> bytes:
        """Return a remembered answer.

        Raises:
            RequestError: 404, in the service's words.
        """
        turn = self._find(owner, name)
        if turn is None:
            raise _not_found(name)
        return turn.body

    def forget(self, owner: str, name: str) -> bool:
        """Drop a remembered answer; return whether there was one."""
        return self._drop((owner, name))

    def forget_all(self, owner: str) -> None:
        """Drop everything of one caller (a WebSocket that was closed)."""
        for key in [key for key in self._turns if key[0] == owner]:
            self._drop(key)

    def _find(self, owner: str, name: str) -> _Turn | None:
        turn = self._turns.get((owner, name))
        if turn is not None and turn.at < self.clock() - MAX_AGE_S:
            self._drop((owner, name))
            return None
        return turn

    def _drop(self, key: tuple[str, str]) -> bool:
        turn = self._turns.pop(key, None)
        if turn is None:
            return False
        self._size -= len(turn.body) + len(turn.items)
        return True


def _not_found(name: str) -> RequestError:
    return RequestError(
        f"Response with id '{name[:100]}' not found.", status=404, code="response_not_found"
    )
