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
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from app.accounts.account import Account
from app.canonical.events import Failed
from app.canonical.failure import Failure, failure_of
from app.canonical.stale import blames_signature
from app.dialects.base import read_head
from app.dialects.openai_responses_store import previous_id
from app.errors import AppError, BugError, Retry, TranslationError
from app.gateway.answers import Answers
from app.gateway.asking import conversation_of, session_of
from app.gateway.attempt import Attempt, Served
from app.gateway.call import Call, ClientGone, Outcome, Sink, since_ms
from app.gateway.count import count
from app.gateway.naming import name_model
from app.gateway.passthrough import pass_on
from app.gateway.pinger import Pinger
from app.gateway.recent import Recent, Watched
from app.gateway.refusal import helps_more, upstream_shown, with_help, without_secrets
from app.gateway.resources import GatewayLimits, Resources
from app.gateway.route import may_follow, route
from app.gateway.turns import Turns
from app.gateway.work import Work
from app.http import Headers
from app.ledger.entry import attempt_of
from app.routing.plan import Candidate

__all__ = ["Gateway", "GatewayLimits"]

_log = logging.getLogger("dragoman.gateway")

MAX_ATTEMPTS = 8
"""Candidates tried for one request; more would only keep the client waiting."""


@dataclass(slots=True)
class Gateway(Resources):
    """Serves requests with what ``service`` gave it."""

    admit: Callable[[Outcome], None] | None = None
    """Asked before a call is served; raises ``AppError`` when a limit or a budget forbids it."""
    answers: Answers = field(default_factory=Answers)
    """Answers given before, for those who ask the same again; off by default."""
    settled: Callable[[Outcome], None] | None = None
    """Told of every outcome (ledger, status)."""
    recent: Recent | None = None
    """Remembers what runs and what ran, for the dashboard."""
    paused: str = ""
    """Why new calls are refused, in words for people; empty when they are not."""

    async def handle(self, call: Call, sink: Sink) -> Outcome:
        """Serve one request.

        The client always gets an answer, and nothing is raised but cancellation.
        """
        outcome = Outcome(
            call.request_id,
            at=self.now(),
            began=time.monotonic(),
            client=call.client,
            key_id=call.key_id,
            asked_dialect=call.dialect.name,
        )
        if self.recent is not None:
            self.recent.began(call, outcome, call.client)
            sink = Watched(sink, self.recent, call.request_id)
        try:
            await self._answer(call, sink, outcome)
        except ClientGone:
            outcome.status = 499
        except asyncio.CancelledError:
            outcome.status = 499
            raise
        finally:
            outcome.duration_ms = since_ms(outcome.began)
            if self.settled is not None:
                self.settled(outcome)
            if self.recent is not None:
                self.recent.settled(outcome)
            if self.hooks and call.facts is not None:
                self.extensions.answered(self.hooks, call.facts, _told(outcome))
        return outcome

    async def _answer(self, call: Call, sink: Sink, outcome: Outcome) -> None:
        try:
            await self._serve(call, sink, outcome)
        except AppError as error:
            await self._refuse(call, sink, outcome, failure_of(error))
        except ClientGone:
            raise
        except Exception:
            _log.exception("request %s failed inside Dragoman", call.request_id)
            bug = BugError(
                "Dragoman failed on this request.",
                hint=f"The log has the details under {call.request_id}.",
            )
            await self._refuse(call, sink, outcome, failure_of(bug))

    async def _serve(self, call: Call, sink: Sink, outcome: Outcome) -> None:
        if self.paused:
            raise AppError(self.paused, status=503, code="paused")
        if self.admit is not None:
            self.admit(outcome)
        if call.extra is not None:
            refusal = await pass_on(self, call, call.extra, sink, outcome)
            if refusal is not None:
                await self._refuse(call, sink, outcome, *refusal)
            return
        head = name_model(call, read_head(call.raw), self.catalog.default)
        peek = call.dialect.peek(head, call.path, call.query, call.route)
        follows = previous_id(head) if call.dialect.name == "openai_responses" else None
        if follows is not None:
            for scope in call.scopes:
                call.raw, head = self.memory.join(scope, call.raw, head)
        outcome.model, outcome.stream = peek.model, peek.stream
        work = Work(call, peek, head, conversation_of(call, peek))
        outcome.session = session_of(call, head, work.conversation)
        await route(self, work, follows if "previous_response_id" in head else None, outcome)
        if peek.operation == "count_tokens":
            await count(self, work, sink, outcome)
        else:
            await self.answers.serve(self, work, sink, outcome, self._generate)

    async def _generate(self, work: Work, sink: Sink, outcome: Outcome) -> None:
        failure: Failure | None = None
        kept: Headers = ()
        ping = work.ping if work.peek.stream else None
        turns = Turns(
            self,
            work.plan.candidates[:MAX_ATTEMPTS],
            work.peek.model,
            show_labels=work.call.show_account,
            paced=not work.own_sign_in,
            may_follow=partial(may_follow, work.decision),
        )
        with turns, Pinger(sink, ping, self.limits.ping_s) as pinger:
            while (candidate := turns.take() or await turns.wait()) is not None:
                tried = 0
                while True:
                    attempt, result = await self._ask(work, candidate, sink, outcome, pinger)
                    tried += 1
                    failed = result.failure if isinstance(result, Served) else result
                    if not work.own_sign_in:
                        self.settle(candidate, failed)
                    if isinstance(result, Served):
                        if work.conversation and failed is None:
                            self._bind(work.conversation, candidate, turns)
                        outcome.failure = failed
                        return
                    outcome.failures.append((candidate.account.id, result))
                    if helps_more(result, failure):
                        failure, kept = result, attempt.kept
                    if turns.others_after(candidate, result):
                        break
                    wait_s = self._patience(work, candidate, result, tried, outcome)
                    if wait_s is None:
                        break
                    await asyncio.sleep(wait_s)
                turns.failed(candidate, result)
        if turns.refusal is not None and helps_more(full := failure_of(turns.refusal), failure):
            failure, kept = full, ()
        assert failure is not None  # noqa: S101 - each candidate was asked, or has no room
        await self._refuse(
            work.call, sink, outcome, failure, kept, work.peek.variant, own=work.own_sign_in
        )

    def _patience(
        self, work: Work, candidate: Candidate, failure: Failure, tried: int, outcome: Outcome
    ) -> float | None:
        """Return how long to wait before the same candidate is asked again; None: it is not.

        The demo fails because it was asked to, and a caller with its own sign-in hears at once.
        """
        if work.own_sign_in or candidate.account.provider.demo:
            return None
        elapsed_s = time.monotonic() - outcome.began
        return self.rules.retry.wait_s(failure, tried, elapsed_s, self.random())

    async def _ask(
        self, work: Work, candidate: Candidate, sink: Sink, outcome: Outcome, pinger: Pinger
    ) -> tuple[Attempt, Served | Failure]:
        """Ask a candidate; once more at once where a credential or a signature was the trouble."""
        attempt, result = await self._attempt(work, candidate, sink, outcome, pinger)
        if _signed_out(result) and attempt.asked is not None:
            renewed = await self._renewed(attempt.asked)
            if renewed is not None:
                again = replace(candidate, account=renewed)
                attempt, result = await self._attempt(work, again, sink, outcome, pinger)
        if isinstance(result, Failure) and blames_signature(result):
            attempt, result = await self._attempt(work, candidate, sink, outcome, pinger, bare=True)
        if isinstance(result, Failure) and self._blames_question(attempt, candidate, result):
            attempt, result = await self._attempt(
                work, candidate, sink, outcome, pinger, ask_usage=False
            )
            if isinstance(result, Served):
                self.usage_support.learn(candidate.account.id, takes=False)
        return attempt, result

    def _blames_question(self, attempt: Attempt, candidate: Candidate, failure: Failure) -> bool:
        """Say whether an attempt may have failed for asking what the stream used."""
        return attempt.asks_usage and self.usage_support.may_blame(candidate.account.id, failure)

    def _bind(self, conversation: str, candidate: Candidate, turns: Turns) -> None:
        """Keep a conversation with the account that served it, where its prompt cache is now.

        An account that only helped out while the conversation's own had no room does not get it.
        """
        if not (turns.passed_over and self.affinity.get(conversation)):
            self.affinity.bind(conversation, candidate.account.id)

    async def _attempt(
        self,
        work: Work,
        candidate: Candidate,
        sink: Sink,
        outcome: Outcome,
        pinger: Pinger,
        *,
        bare: bool = False,
        ask_usage: bool = True,
    ) -> tuple[Attempt, Served | Failure]:
        outcome.attempts += 1
        at, began = self.now(), time.monotonic()
        attempt = Attempt(
            self, work, candidate, sink, outcome, pinger, bare=bare, ask_usage=ask_usage
        )
        result: Served | Failure
        self.traffic.began(candidate.account.id)
        try:
            result = await attempt.run()
        except TranslationError as error:  # another dialect may be able to say it
            result = replace(failure_of(error), retry=Retry.NEXT_ACCOUNT)
        except AppError as error:
            result = failure_of(error)
        finally:
            self.traffic.ended(candidate.account.id)
        if isinstance(result, Failure):
            result = without_secrets(result)
        failure = result.failure if isinstance(result, Served) else result
        first = attempt.first_at
        first_ms = None if first is None else round((first - began) * 1000)
        outcome.tries.append(
            attempt_of(outcome, failure, attempt.status, at, first_ms, since_ms(began))
        )
        return attempt, result

    async def _renewed(self, asked: Account) -> Account | None:
        """Return the account with a new credential after the service refused the one it had."""
        try:
            return await self.rejected(asked)
        except AppError:
            return None  # the refusal itself says more to the client

    async def _refuse(
        self,
        call: Call,
        sink: Sink,
        outcome: Outcome,
        failure: Failure,
        kept: Headers = (),
        variant: str = "",
        *,
        own: bool = False,
    ) -> None:
        """Tell the client of a failure, in its stream when that has begun.

        ``own``: the sign-in is the client's, which has to hear what became of it.
        """
        outcome.failure = failure
        shown = with_help(failure if own else upstream_shown(failure), call.help_at)
        if sink.started:
            context = replace(self.reply_context(call, None, None), variant=variant)
            outcome.status = 200
            await sink.write(call.client_side.stream_encoder(context).encode([Failed(shown)]))
            sink.finish()
            return
        reply = call.dialect.encode_failure(shown, call.request_id)
        outcome.status = reply.status
        fields = {
            key.lower(): (key, value) for key, value in kept if shown.status == failure.status
        }
        fields.update((key.lower(), (key, value)) for key, value in reply.headers)
        ours = self.own_headers(call, outcome)
        fields.update((key.lower(), (key, value)) for key, value in ours)
        sink.reply(reply.status, tuple(fields.values()), reply.body)


def _signed_out(result: Served | Failure) -> bool:
    return isinstance(result, Failure) and result.kind == "authentication" and not result.final


def _told(outcome: Outcome) -> dict[str, object]:
    """Return what hooks hear of the end of a request; see ``Extensions.answered``."""
    tokens = outcome.tokens()
    failure = outcome.failure
    return {
        "status": outcome.status,
        "model": outcome.served,
        "provider": outcome.account.partition("/")[0],
        "account": outcome.account,
        "error": None if failure is None else failure.message,
        "input_tokens": None if tokens is None else tokens.prompt,
        "output_tokens": None if tokens is None else tokens.output,
        "duration_s": outcome.duration_ms / 1000,
    }
