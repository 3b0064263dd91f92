"""One client request from its bytes to its answer.

``Gateway.handle`` reads as the request flows: peek, plan, and for each candidate an attempt
(``attempt.py``), until one has begun to answer. Until the first content-bearing event nothing of
an answer reaches the client but signs of life, so that another candidate can still take over;
after that, a failure is sent as the client dialect's own error event.

The gateway keeps no state of a request. What outlives it has its own owners: the roster (account
health), the replay cache (thoughts for dialects without a slot) and the response memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.canonical.events import Failed
from app.canonical.failure import Failure, failure_of
from app.dialects.base import read_head
from app.dialects.openai_responses_store import previous_id, unknown_previous
from app.errors import AppError, BugError
from app.gateway.attempt import Attempt, Served
from app.gateway.call import Call, Outcome, Sink
from app.gateway.count import count
from app.gateway.pinger import Pinger
from app.gateway.resources import GatewayLimits, Resources, without_id
from app.gateway.work import Work
from app.routing.failover import cooldown_for, may_try_next
from app.routing.plan import Candidate, Plan, make_plan, no_account_error

__all__ = ["Gateway", "GatewayLimits"]

_log = logging.getLogger("dragoman.gateway")

MAX_ATTEMPTS = 8
"""Candidates tried for one request; more would only keep the client waiting."""


@dataclass(slots=True)
class Gateway(Resources):
    """Serves requests with what ``service`` gave it."""

    settled: Callable[[Outcome], None] | None = None
    """Told of every outcome (ledger, status)."""
    paused: str = ""
    """Why new calls are refused, or empty."""

    async def handle(self, call: Call, sink: Sink) -> Outcome:
        """Serve one request.

        The client always gets an answer, and nothing is raised but cancellation.
        """
        outcome = Outcome(call.request_id)
        try:
            await self._serve(call, sink, outcome)
        except AppError as error:
            outcome.failure = failure_of(error)
            await self._refuse(call, sink, outcome, outcome.failure)
        except asyncio.CancelledError:
            outcome.status = 499
            raise
        except Exception:
            _log.exception("request %s failed inside Dragoman", call.request_id)
            bug = BugError(
                "Dragoman failed on this request.",
                hint=f"The log has the details under {call.request_id}.",
            )
            outcome.failure = failure_of(bug)
            await self._refuse(call, sink, outcome, outcome.failure)
        finally:
            if self.settled is not None:
                self.settled(outcome)
        return outcome

    async def _serve(self, call: Call, sink: Sink, outcome: Outcome) -> None:
        if self.paused:
            raise AppError(self.paused, status=503, code="paused", hint="Resume it in the menu.")
        head = read_head(call.raw)
        peek = call.dialect.peek(call.raw, call.path, call.query, call.route)
        follows = previous_id(head) if call.dialect.name == "openai_responses" else None
        if follows is not None:
            for scope in {call.remembers_for, call.owner}:
                call.raw, head = self.memory.join(scope, call.raw, head)
        outcome.model = peek.model
        now = self.now()
        plan = make_plan(
            peek.model,
            call.dialect.name,
            self.roster.accounts(),
            self.catalog,
            lambda account, model: self.roster.state(account, model, now),
            call.allows,
        )
        if not plan.candidates:
            raise no_account_error(plan, now, call.show_account)
        if follows is not None and "previous_response_id" in head:
            plan = _knowing(plan, follows)
        work = Work(call, peek, plan, head)
        if peek.operation == "count_tokens":
            await count(self, work, sink, outcome)
        else:
            await self._generate(work, sink, outcome)

    async def _generate(self, work: Work, sink: Sink, outcome: Outcome) -> None:
        call = work.call
        with Pinger(sink, work.ping, self.limits.ping_s if work.peek.stream else 0.0) as pinger:
            failure: Failure | None = None
            for candidate in work.plan.candidates[:MAX_ATTEMPTS]:
                outcome.attempts += 1
                attempt = Attempt(self, work, candidate, sink, outcome, pinger)
                try:
                    result = await attempt.run()
                except AppError as error:
                    result = failure_of(error)
                if isinstance(result, Served):
                    self._settle(candidate, result.failure)
                    outcome.failure = result.failure
                    return
                self._settle(candidate, result)
                outcome.failures.append((candidate.account.id, result))
                failure = _better(failure, result)
                if not may_try_next(result):
                    break
        assert failure is not None  # noqa: S101 - a plan with candidates ran at least once
        outcome.failure = failure
        await self._refuse(call, sink, outcome, failure)

    def _settle(self, candidate: Candidate, failure: Failure | None) -> None:
        account = candidate.account
        if failure is None:
            self.roster.succeeded(account.id, candidate.model)
            return
        pause = cooldown_for(failure, self.roster.level(account.id, candidate.model))
        if pause is None or account.provider.demo:
            return
        self.roster.pause(
            account.id,
            None if pause.whole_account else candidate.model,
            pause.seconds,
            failure.message[:300],
            self.now(),
            refused=failure.final,
        )
        _log.warning(
            "account %s cannot serve %s for %.0f s: %s",
            account.id,
            candidate.model,
            pause.seconds,
            failure.message[:300],
        )

    async def _refuse(self, call: Call, sink: Sink, outcome: Outcome, failure: Failure) -> None:
        """Tell the client of a failure, in its stream when that has begun."""
        if sink.started:
            encoder = call.client_side.stream_encoder(self.reply_context(call, None, None))
            await sink.write(encoder.encode([Failed(failure)]))
            sink.finish()
            outcome.status = 200
            return
        reply = call.dialect.encode_failure(upstream_shown(failure), call.request_id)
        outcome.status = reply.status
        sink.reply(
            reply.status, (*without_id(reply.headers), *self.own_headers(call, outcome)), reply.body
        )


def _knowing(plan: Plan, name: str) -> Plan:
    """Return the candidates that may know an answer that is not remembered here.

    Raises:
        AppError: there are none; in the service's words.
    """
    knowing = tuple(
        c
        for c in plan.candidates
        if c.dialect == "openai_responses" and c.account.provider.official
    )
    if not knowing or knowing[0].account.provider.demo:
        raise unknown_previous(name)
    return replace(plan, candidates=knowing)


def _better(old: Failure | None, new: Failure) -> Failure:
    """Return the failure that helps the client more.

    A request fault wins over trouble of accounts, a known wait over an unknown one.
    """
    if old is None or new.scope == "request":
        return new
    if old.retry_after_s is not None and (
        new.retry_after_s is None or new.retry_after_s > old.retry_after_s
    ):
        return old
    return new


def upstream_shown(failure: Failure) -> Failure:
    """Return a failure as a client should see it.

    A refused upstream credential must not reach a client as 401: agents would take it for their
    own key, drop it and ask the user for another.
    """
    if failure.kind != "authentication" or failure.hint:
        return failure
    return replace(
        failure,
        status=503,
        kind="unavailable",
        type=None,
        native=None,
        message=f"The account behind Dragoman was refused: {failure.message}",
        hint="`dragoman doctor` says which one; renew its key.",
    )
