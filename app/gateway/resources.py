"""What every exchange works with: the state that outlives it, and the ways out of the process."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from app.accounts.account import Account
from app.accounts.affinity import Affinity
from app.accounts.pace import Pacer
from app.accounts.roster import AccountState, Roster
from app.accounts.traffic import Traffic
from app.canonical.failure import Failure, failure_of
from app.canonical.parts import DialectName
from app.canonical.request import ChatRequest
from app.config import Upstream
from app.dialects.base import Dialect, Peek, ReplyContext
from app.errors import UpstreamError
from app.extensions import NO_EXTENSIONS, Extensions
from app.gateway.call import Call, Outcome
from app.gateway.memory import ResponseMemory
from app.gateway.replay import ReplayCache
from app.gateway.usage_support import UsageSupport
from app.http import Headers, HttpReply, Limits, Send, StreamedReply
from app.routing.catalog import Catalog
from app.routing.failover import cooldown_for
from app.routing.plan import Candidate, Rank, RankOf
from app.routing.rules import NO_RULES, RuleSet

__all__ = ["Counter", "GatewayLimits", "Resources", "kept_headers", "local_time"]

_log = logging.getLogger("dragoman.gateway")

_MAX_ERROR_BYTES = 1024 * 1024
_KEPT = frozenset(
    (
        "retry-after",
        "retry-after-ms",
        "request-id",
        "openai-model",
        "openai-processing-ms",
        "openai-version",
        "x-should-retry",
    )
)
_UNSAFE = re.compile(r"[^!-~]|[;,=]")
"""What may not stand in a value of our route header."""
_KEPT_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-", "x-codex-")

Counter: TypeAlias = Callable[[str], Awaitable[int]]
"""Number of tokens of a text; loads its table on first need, off the loop."""


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Time limits in seconds, from the settings."""

    connect_s: float = 10.0
    first_byte_s: float = 120.0
    reasoning_first_byte_s: float = 300.0
    """Deep thought may keep the first byte back for minutes."""
    idle_s: float = 300.0
    total_s: float = 600.0
    """Of a call that is not streamed."""
    ping_s: float = 15.0
    """A stream that is silent for this long gets a sign of life."""

    @classmethod
    def of(cls, upstream: Upstream) -> GatewayLimits:
        """Return the limits of the settings."""
        return cls(
            connect_s=upstream.connect_timeout_s,
            first_byte_s=upstream.first_byte_timeout_s,
            reasoning_first_byte_s=max(300.0, upstream.first_byte_timeout_s),
            idle_s=upstream.idle_timeout_s,
            total_s=upstream.total_timeout_s,
        )


async def _as_it_is(account: Account) -> Account:
    return account


async def _no_other(_account: Account) -> Account | None:
    return None


async def _nowhere_to_look() -> bool:
    return False


def _unknown(_account_id: str, _model: str) -> float | None:
    return None


def _unproved(_account: Account) -> None:
    return None


def _none_of_its_own(_headers: Headers, _dialect: str, _model: str) -> Account | None:
    return None


def _unspent(_account_id: str, _model: str) -> str:
    return ""


def local_time(at: float, now: float) -> str:
    """Return a time in epoch seconds as people here read it: ``14:20``, with the day if not today."""
    then, today = time.localtime(at), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    return time.strftime("%a %H:%M" if at - now < 6 * 86_400 else "%d %b %H:%M", then)


def _unnoticed(_account: Account, _headers: Headers) -> None:
    return None


@dataclass(slots=True)
class Resources:
    """Everything that an exchange needs, given by ``service``."""

    dialects: Mapping[DialectName, Dialect]
    roster: Roster
    send: Send
    now: Callable[[], float]
    """Epoch seconds."""
    new_id: Callable[[str], str]
    counter: Counter
    """Estimates tokens where a service has no count call."""
    catalog: Catalog = field(default_factory=Catalog)
    limits: GatewayLimits = field(default_factory=GatewayLimits)
    memory: ResponseMemory = field(default_factory=ResponseMemory)
    replay: ReplayCache = field(default_factory=ReplayCache)
    fresh: Callable[[Account], Awaitable[Account]] = _as_it_is
    """Returns an account with a credential that is good now; ``AccountError`` when it has none."""
    rejected: Callable[[Account], Awaitable[Account | None]] = _no_other
    """Told that a service refused the credential of an account; returns the account with another
    one, or None when there is none."""
    affinity: Affinity = field(default_factory=lambda: Affinity(time.monotonic))
    left_percent: Callable[[str, str], float | None] = _unknown
    """What is left of an account (id) for a model (the upstream's name), in percent, now."""
    spent_window: Callable[[str, str], str] = _unspent
    """Which quota window of an account (id) is used up for a model (the upstream's name), in words;
    empty for none."""
    clock: Callable[[float, float], str] = local_time
    """Renders a time of day for people; takes it and now."""
    pacer: Pacer = field(default_factory=Pacer)
    """Says which account may begin another call."""
    rules: RuleSet = NO_RULES
    """Of the settings: rules, chains, strategies and how often to ask again."""
    extensions: Extensions = NO_EXTENSIONS
    hooks: tuple[str, ...] = ()
    """Names of the hooks to ask, in order."""
    usage_support: UsageSupport = field(default_factory=lambda: UsageSupport(time.monotonic))
    """Which servers may be asked the usage of a stream."""
    traffic: Traffic = field(default_factory=lambda: Traffic(time.monotonic))
    random: Callable[[], float] = random.random
    """From 0 up to 1: spreads the waits before another try."""
    low_percent: float = 5.0
    """An account with no more than this left comes after those with more."""
    proved: Callable[[Account], None] = _unproved
    """Told of every account whose credential a service has just accepted."""
    look_again: Callable[[], Awaitable[bool]] = _nowhere_to_look
    """Looks for models that are not known yet; returns whether there may be some now."""
    own_sign_in: Callable[[Headers, str, str], Account | None] = _none_of_its_own
    """Returns the account that a call brings along itself, from its head, its dialect and its
    model; None for most. Such a call goes to that account and nowhere else."""
    noticed: Callable[[Account, Headers], None] = _unnoticed
    """Shown the head of every answer, which may tell what is left of the account."""

    def own_headers(self, call: Call, outcome: Outcome) -> tuple[tuple[str, str], ...]:
        """Return the header fields that every answer of ours carries."""
        route = f"attempts={outcome.attempts}"
        if outcome.grade is not None:
            route = f"model={_field(outcome.served)}; grade={outcome.grade}; {route}"
            account = self.roster.get(outcome.account)
            if account is not None:
                route = f"provider={account.provider.id}; {route}"
                if call.show_account:
                    route = f"{route}; account={_field(account.label)}"
        return (("x-request-id", call.request_id), ("x-dragoman-route", route))

    def state(self, account: Account, model: str, now: float) -> AccountState:
        """Return whether an account can serve a model (the upstream's name) now, and why not."""
        state = self.roster.state(account, model, now)
        if state.health != "cooling" or state.soft:
            return state
        window = self.spent_window(account.id, model)
        return replace(state, reason=f"{window} used up") if window else state

    def ranking(self, conversation: str) -> RankOf:
        """Return the order among accounts: the conversation's, those with room, those without.

        An account's prompt cache is worth more than its last few percent, but not more than an
        answer.
        """
        bound = self.affinity.get(conversation) if conversation else ()

        def rank_of(account: Account, model: str) -> Rank:
            left = self.left_percent(account.id, model)
            if left is not None and left <= 0.0:
                return 4, "its quota is used up"
            if account.id in bound:
                return bound.index(account.id), "same conversation"
            if left is not None and left <= self.low_percent:
                return 3, f"{left:.0f} % of its quota left"
            return 2, ""

        return rank_of

    def reply_context(
        self, call: Call, peek: Peek | None, request: ChatRequest | None
    ) -> ReplyContext:
        """Return what an encoder needs to answer this call."""
        return ReplyContext(
            model=peek.model if peek is not None else "",
            request=request,
            created=self.now(),
            new_id=self.new_id,
            include_usage=request.include_usage if request is not None else True,
            variant=peek.variant if peek is not None else "",
        )

    def call_limits(self, peek: Peek) -> Limits:
        """Return the time limits of an upstream call."""
        limits = self.limits
        if not peek.stream:
            return Limits(limits.connect_s, limits.total_s, limits.total_s, limits.total_s)
        first = limits.reasoning_first_byte_s if peek.reasoning else limits.first_byte_s
        return Limits(limits.connect_s, first, limits.idle_s)

    def settle(self, candidate: Candidate, failure: Failure | None) -> None:
        """Tell the roster how an attempt ended; a failure that speaks of the account pauses it."""
        account = candidate.account
        if failure is None:
            self.roster.succeeded(account.id, candidate.model)
            return
        pause = cooldown_for(failure, self.roster.level(account.id, candidate.model))
        if pause is None or account.provider.demo:
            return
        reason = failure.message[:300]
        is_news = self.roster.pause(
            account.id,
            None if pause.whole_account else candidate.model,
            pause.seconds,
            reason,
            self.now(),
            # A bad key needs a person as much as a ban does; only the pause is shorter.
            refused=failure.final or failure.kind == "authentication",
            soft=pause.soft,
        )
        if not is_news:  # of a burst of parallel calls one line is enough
            return
        _log.warning(
            "account %s cannot serve %s for %.0f s: %s",
            account.id,
            candidate.model,
            pause.seconds,
            reason,
        )

    async def read_failure(
        self, candidate: Candidate, dialect: Dialect, reply: StreamedReply
    ) -> Failure:
        """Return why a candidate answered with a status other than 2xx."""
        provider = candidate.account.provider
        try:
            body = await reply.read(_MAX_ERROR_BYTES)
        except UpstreamError:
            body = b""  # the status alone says enough to go on with
        if reply.status < 400:
            return failure_of(
                UpstreamError(
                    f"{provider.title} answered with a redirect ({reply.status}), which is not "
                    "followed.",
                    hint="Check base_url in the settings.",
                    code="upstream_redirect",
                )
            )
        failure = dialect.decode_failure(reply.status, reply.headers, body)
        return provider.classify(failure, HttpReply(reply.status, reply.headers, body))


def kept_headers(upstream: Headers) -> Headers:
    """Return the fields of a service's answer that clients read; its request id is renamed."""
    kept: list[tuple[str, str]] = []
    for key, value in upstream:
        lower = key.lower()
        if lower in _KEPT or lower.startswith(_KEPT_PREFIXES):
            kept.append((key, value))
        elif lower == "x-request-id":
            kept.append(("x-upstream-request-id", value))
    return tuple(kept)


def _field(text: str) -> str:
    return _UNSAFE.sub("_", text)[:100]
