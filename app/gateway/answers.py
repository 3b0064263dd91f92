"""The optional cache of whole answers: the same question, the same answer, at no cost.

Off unless the settings switch it on. Only what leaves nothing to chance is kept: a request with
temperature 0 or a seed, for one answer, without tools that the service runs (a search finds other
things tomorrow). Two requests are the same when their canonical forms are, for the same caller, by
the same dialect and form of answer, and to the same service and model. Answers are kept as the
client saw them, in memory alone, for a time, and up to a size; the least recently used go first.

A client's ``cache-control: no-cache`` asks anew and keeps the new answer, ``no-store`` keeps none.
A hit says ``cache=hit`` in the route header, and the ledger has it as an answer of the cache.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from app.canonical.request import ChatRequest, ServerTool
from app.errors import AppError
from app.gateway.call import Outcome, Sink
from app.gateway.resources import Resources
from app.gateway.takendown import TakenDown
from app.gateway.work import Work
from app.http import Headers, header

__all__ = ["AnswerRules", "Answers", "is_deterministic", "key_of"]

Generate: TypeAlias = Callable[[Work, Sink, Outcome], Awaitable[None]]

_ROUTE: Final = "x-dragoman-route"
_PART: Final = 8
"""One answer takes no more than this part of the room."""
_OWN_FIELDS: Final = frozenset(("content-type", "cache-control", "x-accel-buffering"))
"""Header fields that belong to the answer rather than to the call that made it."""
_UNFINISHED: Final = frozenset(("pause", "content_filter", "refusal"))
"""Ends after which the next try may go another way."""


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """What is kept; from the settings."""

    enabled: bool = False
    ttl_s: float = 3_600.0
    max_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Headers
    body: bytes
    streamed: bool
    outcome: Outcome
    """How the call ended that made it."""
    at: float
    size: int


def is_deterministic(request: ChatRequest) -> bool:
    """Say whether a request leaves nothing to chance, as far as the client can have that."""
    fixed = request.temperature == 0 or request.seed is not None
    served = any(isinstance(tool, ServerTool) for tool in request.tools)
    return fixed and request.choices == 1 and not served


def key_of(work: Work) -> str:
    """Return what two calls share that may have the same answer; empty for none.

    Raises:
        AppError: the body does not follow the caller's dialect.
    """
    call, plan = work.call, work.plan
    if work.own_sign_in or not plan.candidates:
        return ""
    request = work.request()
    if not is_deterministic(request):
        return ""
    first = plan.candidates[0]
    # Each part's own class is in its repr, so that no two requests look alike.
    parts = (
        call.owner,
        call.memory_scope,
        call.dialect.name,
        type(call.surface).__name__,
        work.peek.variant,
        str(work.peek.stream),
        first.account.provider.id,
        first.model,
        repr(_plain(request)),
    )
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


def _plain(request: ChatRequest) -> ChatRequest:
    """Return a request without what says nothing of the answer, and 0 for 0.0."""
    return replace(
        request,
        user=None,
        temperature=None if request.temperature is None else float(request.temperature),
        top_p=None if request.top_p is None else float(request.top_p),
    )


class Answers:
    """See the module.

    Args:
        clock: seconds that only go forward.
        rules: asked with every call.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        rules: Callable[[], AnswerRules] = AnswerRules,
    ) -> None:
        self._clock = clock
        self._rules = rules
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self.size = 0
        """Bytes of all answers."""
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._answers)

    async def serve(
        self, gateway: Resources, work: Work, sink: Sink, outcome: Outcome, generate: Generate
    ) -> None:
        """Answer a call from the cache, or have it generated and keep the answer.

        Args:
            gateway: makes the header fields of our own.
            work: the call after its route was chosen.
            sink: where the answer goes.
            outcome: how it ends; filled in for a hit.
            generate: answers what is not here.
        """
        rules = self._rules()
        if not rules.enabled:
            if self._answers:
                self.clear()
            await generate(work, sink, outcome)
            return
        wishes = (header(work.call.headers, "cache-control") or "").lower()
        key = "" if "no-store" in wishes else _key(work)
        if not key:
            await generate(work, sink, outcome)
            return
        if "no-cache" not in wishes and (found := self._find(key, rules)) is not None:
            self.hits += 1
            await _give(found, gateway, work, sink, outcome)
            return
        self.misses += 1
        taken = TakenDown(sink, rules.max_bytes // _PART)
        await generate(work, taken, outcome)
        self._keep(key, taken, outcome, rules)

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()
        self.size = 0

    def _find(self, key: str, rules: AnswerRules) -> _Answer | None:
        found = self._answers.get(key)
        if found is None:
            return None
        if self._clock() - found.at >= rules.ttl_s:
            self._drop(key)
            return None
        self._answers.move_to_end(key)
        return found

    def _keep(self, key: str, taken: TakenDown, outcome: Outcome, rules: AnswerRules) -> None:
        outcome.tokens()  # reads why the answer ended, where nobody has yet
        good = taken.status == 200 and taken.ended and not taken.cut and outcome.failure is None
        if not good or outcome.stop in _UNFINISHED:
            return
        self._drop(key)
        headers = tuple((k, v) for k, v in taken.headers if k.lower() in _OWN_FIELDS)
        size = taken.size + 1_024
        self._answers[key] = _Answer(
            taken.status, headers, taken.body, taken.streamed, outcome, self._clock(), size
        )
        self.size += size
        while self._answers and self.size > rules.max_bytes:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: str) -> None:
        old = self._answers.pop(key, None)
        if old is not None:
            self.size -= old.size


def _key(work: Work) -> str:
    try:
        return key_of(work)
    except AppError:  # whoever answers it says what is wrong
        return ""


async def _give(
    found: _Answer, gateway: Resources, work: Work, sink: Sink, outcome: Outcome
) -> None:
    """Send an answer again, and say whose it was."""
    first = found.outcome
    outcome.cached = True
    outcome.account, outcome.served = first.account, first.served
    outcome.dialect, outcome.grade = first.dialect, first.grade
    outcome.losses, outcome.stop = first.losses, first.stop
    outcome.reason = "answered before"
    outcome.status = found.status
    outcome.first_ms = 0
    ours = tuple(
        (name, f"{value}; cache=hit" if name == _ROUTE else value)
        for name, value in gateway.own_headers(work.call, outcome)
    )
    if found.streamed:
        sink.start(found.status, (*found.headers, *ours))
        await sink.write(found.body)
        sink.finish()
    else:
        sink.reply(found.status, (*found.headers, *ours), found.body)
