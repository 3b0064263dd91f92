"""The requests of now and of a moment ago, for the dashboard; in memory only, and bounded.

The gateway tells of each request three times: when it begins, whenever a piece of its answer goes
out, and when it has ended. While nobody looks this costs less than a microsecond each. What an
answer's pieces say is only looked at for somebody who looks: then the text in them is counted, for
the number of tokens so far, which no service tells before the end.

No prompts, no answers and no credentials are kept: of a request that has ended there remain its
outcome and the name of the program that made it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from app.canonical.events import ArgumentsDelta, ReasoningDelta, TextDelta
from app.dialects.base import StreamDecoder
from app.gateway.call import Call, Outcome, Sink
from app.http import Headers

__all__ = ["Recent", "Watched"]

_FINISHED = 300
_CHARACTERS_PER_TOKEN = 4.0
"""About what tokenizers make of English and of code; good enough for a number that moves."""


class _Request:
    """One request: running while ``call`` is set.

    What most requests never change, or change late, stands in the class: every request is made
    here while it waits.
    """

    dialect = ""
    """The caller's, once it has ended."""
    first = 0.0
    """When the first piece of its answer went out."""
    ended = 0.0
    sent = 0
    """Bytes."""
    characters = 0
    """Of text in the pieces that were looked at."""
    decoder: StreamDecoder | None = None

    def __init__(
        self, call: Call, outcome: Outcome, agent: str, at: float, began: float, whole: bool
    ) -> None:
        self.call: Call | None = call
        self.outcome = outcome
        self.agent = agent
        self.at = at
        self.began = began
        self.whole = whole
        """Every piece was looked at, so that ``characters`` is the whole truth."""


class Recent:
    """Remembers what runs and the last requests that have ended.

    Args:
        now: epoch seconds UTC.
        clock: seconds that only go forward, for durations.
        keep: how many that have ended are remembered.
    """

    def __init__(
        self, now: Callable[[], float], clock: Callable[[], float], *, keep: int = _FINISHED
    ) -> None:
        self._now = now
        self._clock = clock
        self._running: dict[str, _Request] = {}
        self._finished: deque[_Request] = deque(maxlen=keep)
        self._watchers: list[Callable[[], None]] = []

    # --- what the gateway tells ------------------------------------------------------------------

    def began(self, call: Call, outcome: Outcome, client: str = "") -> None:
        """Take in a request; its outcome is read while it grows.

        Args:
            call: what the client sent; let go of when the request ends.
            outcome: the one that the exchange fills in.
            client: the calling program's name where it is known; else its user agent is shown.
        """
        watchers = self._watchers
        self._running[call.request_id] = _Request(
            call, outcome, client, self._now(), self._clock(), bool(watchers)
        )
        if watchers:
            self._tell()

    def progress(self, request_id: str, data: bytes) -> None:
        """Take note of a piece of an answer, as it goes out to the client."""
        request = self._running.get(request_id)
        if request is None:
            return
        if not request.sent:
            request.first = self._clock()
        request.sent += len(data)
        if self._watchers:
            if request.whole:
                _count(request, data)
        else:
            request.whole = False

    def settled(self, outcome: Outcome) -> None:
        """Take note of a request's end; its tokens are read now, and its body let go of."""
        request = self._running.pop(outcome.request_id, None)
        if request is None:
            return
        request.ended = self._clock()
        call = request.call
        if call is not None:
            request.dialect = call.dialect.name
            request.agent = request.agent or _user_agent(call.headers)
            request.call = None
            request.decoder = None
        if outcome.read_usage is not None:
            outcome.tokens()
        self._finished.append(request)
        if self._watchers:
            self._tell()

    def sizes(self, request_id: str) -> tuple[int, int]:
        """Return the bytes that a running request came with and was answered with so far."""
        request = self._running.get(request_id)
        if request is None or request.call is None:
            return 0, 0
        return len(request.call.raw), request.sent

    # --- what the dashboard asks -----------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether any request runs."""
        return bool(self._running)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` when a request begins or ends; returns what ends that."""
        self._watchers.append(changed)

        def end() -> None:
            if changed in self._watchers:
                self._watchers.remove(changed)

        return end

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the requests that run, then those that have ended, the newest first.

        Each has ``id``, ``at`` (epoch seconds), ``state`` (``running``, ``done``, ``failed`` or
        ``left``), ``agent``, ``dialect``, ``model``, ``served``, ``account``, ``upstream``,
        ``grade``, ``reason``, ``attempts``, ``failures`` (account, status, code and message of
        each), ``losses`` (path and reason of each), ``error``, ``status``,
        ``sent_bytes``, ``tokens`` (see ``_tokens``), ``first_ms`` and ``duration_ms`` (None where
        there is none yet) and ``tokens_per_s``.
        """
        for request in reversed(self._running.values()):
            yield self._row(request)
        for request in reversed(self._finished):
            yield self._row(request)

    def _tell(self) -> None:
        for changed in tuple(self._watchers):
            changed()

    def _row(self, request: _Request) -> dict[str, Any]:
        outcome = request.outcome
        running = request.call is not None
        until = self._clock() if running else request.ended
        tokens = _tokens(request)
        failure = outcome.failure
        agent, dialect = request.agent, request.dialect
        if request.call is not None:
            agent = agent or _user_agent(request.call.headers)
            dialect = request.call.dialect.name
        return {
            "id": outcome.request_id,
            "at": request.at,
            "state": _state(outcome, running=running),
            "agent": agent[:100],
            "dialect": dialect,
            "model": outcome.model[:200],
            "served": outcome.served,
            "account": outcome.account,
            "upstream": outcome.dialect,
            "grade": outcome.grade or "",
            "reason": outcome.reason,
            "attempts": outcome.attempts,
            "failures": [
                {
                    "account": account,
                    "status": failed.status,
                    "code": failed.code or failed.kind,
                    "message": failed.message[:500],
                }
                for account, failed in outcome.failures[:20]
            ],
            "losses": [[loss.path, loss.reason] for loss in outcome.losses[:50]],
            "error": "" if failure is None else failure.message[:500],
            "status": outcome.status,
            "sent_bytes": request.sent,
            "tokens": tokens,
            "first_ms": _ms(request.first - request.began) if request.sent else None,
            "duration_ms": None if running else _ms(request.ended - request.began),
            "tokens_per_s": _speed(request, tokens, until),
        }


class Watched:
    """A sink that tells what goes through it."""

    __slots__ = ("_recent", "_request_id", "_sink")

    def __init__(self, sink: Sink, recent: Recent, request_id: str) -> None:
        self._sink = sink
        self._recent = recent
        self._request_id = request_id

    @property
    def started(self) -> bool:
        """Whether the head was sent."""
        return self._sink.started

    @property
    def written_at(self) -> float:
        """Loop time of the last write."""
        return self._sink.written_at

    @written_at.setter
    def written_at(self, moment: float) -> None:
        self._sink.written_at = moment

    def start(self, status: int, headers: Headers) -> None:
        """Send the head."""
        self._sink.start(status, headers)

    def write(self, data: bytes) -> Awaitable[None]:
        """Send a piece."""
        self._recent.progress(self._request_id, data)
        return self._sink.write(data)

    def alive(self) -> bool:
        """Look whether the client is still there."""
        return self._sink.alive()

    def ping(self, data: bytes) -> bool:
        """Send a sign of life."""
        return self._sink.ping(data)

    def finish(self) -> None:
        """End the answer."""
        self._sink.finish()

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self._recent.progress(self._request_id, body)
        self._sink.reply(status, headers, body)


def _count(request: _Request, data: bytes) -> None:
    """Count the characters of an answer's text in a piece of its stream."""
    call = request.call
    if call is None or call.surface is not None:
        request.whole = False  # another form of answer than its dialect's
        return
    if request.decoder is None:
        request.decoder = call.dialect.stream_decoder(call.dialect.issuer)
    for event in request.decoder.feed(data):
        if isinstance(event, TextDelta | ReasoningDelta | ArgumentsDelta):
            request.characters += len(event.text)


def _tokens(request: _Request) -> dict[str, Any] | None:
    """Return token counts: those of the service once it tells them, before that an estimate.

    Returns:
        ``input``, ``cache_read``, ``cache_write``, ``output``, ``reasoning`` and ``estimated``;
        of an estimate only ``output`` and ``estimated``. None when nothing is known.
    """
    usage = request.outcome.usage
    if usage is not None:
        return {
            "input": usage.input,
            "cache_read": usage.cache_read,
            "cache_write": usage.cache_write,
            "output": usage.output,
            "reasoning": usage.reasoning,
            "estimated": False,
        }
    if request.whole and request.characters:
        return {"output": round(request.characters / _CHARACTERS_PER_TOKEN), "estimated": True}
    return None


def _speed(request: _Request, tokens: dict[str, Any] | None, until: float) -> float | None:
    """Return the tokens per second since the answer began; None where that says nothing."""
    took = until - request.first
    if tokens is None or not request.sent or took < 0.05:
        return None
    return round(float(tokens["output"]) / took, 1)


def _state(outcome: Outcome, *, running: bool) -> str:
    if running:
        return "running"
    if outcome.status == 499:
        return "left"
    return "done" if outcome.failure is None else "failed"


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _user_agent(headers: Headers) -> str:
    """Return the first product of a user agent, ``name/version``; all browsers say the same."""
    for key, value in headers:
        if key == "User-Agent" or key.lower() == "user-agent":
            return "browser" if value.startswith("Mozilla/") else value.partition(" ")[0]
    return ""
