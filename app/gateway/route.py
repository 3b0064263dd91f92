"""Where a call goes: the rules first, then the accounts.

``route`` leaves the decision and the plan in the work, and the body as rules and hooks want it.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from app.accounts.account import Account
from app.canonical.failure import Failure
from app.canonical.parts import DialectName
from app.canonical.request import ChatRequest
from app.dialects.base import dump, patch_object, read_head
from app.dialects.openai_responses_store import unknown_previous
from app.errors import AppError, NoRouteError
from app.gateway.call import Call, Outcome
from app.gateway.count import countable_text, media_tokens
from app.gateway.resources import Resources
from app.gateway.work import Work
from app.routing.actions import body_edits
from app.routing.chains import may_ask
from app.routing.explain import listed_names, plan_decision, trace_json, trace_of
from app.routing.facts import RequestFacts, readable
from app.routing.plan import Candidate, Plan, RankOf, no_account_error
from app.routing.rules import Decision, decide_counting, refusal
from app.routing.strategy import Standing, strategic

__all__ = ["decide_call", "may_follow", "plan_call", "ranking", "route", "tokens_of"]


async def route(gateway: Resources, work: Work, follows: str | None, outcome: Outcome) -> None:
    """Decide where a call goes.

    Args:
        gateway: what is known of accounts and models, and the rules.
        work: the call; gets the decision, the plan, and the body as it is to be sent.
        follows: id of an answer that the call goes on from and that is not remembered here.
        outcome: gets the rule and the trace.

    Raises:
        AppError: a rule refuses the call, or nobody can serve it.
    """
    call = work.call
    facts = call.facts = RequestFacts(
        call.means(work.peek.model),
        call.path,
        work.peek.stream,
        call.client,
        call.key_label,
        call.headers,
        work.conversation,
        readable(work.request),
    )
    try:
        await _place(gateway, work, facts, outcome)
    except NoRouteError as error:
        if error.code != "model_not_found" or not await gateway.look_again():
            raise
        await _place(gateway, work, facts, outcome)
    decision = work.decision
    if follows is not None:
        work.plan = _knowing(work.plan, follows)
    if work.peek.operation != "count_tokens" and (decision.edits or gateway.hooks):
        _edit(gateway, work, facts, outcome)


async def _place(gateway: Resources, work: Work, facts: RequestFacts, outcome: Outcome) -> None:
    """Decide and plan, with the models that are known now.

    Raises:
        AppError: a rule refuses the call, or nobody can serve it.
    """
    call = work.call
    decision = work.decision = await decide_call(gateway, facts, outcome)
    # A rule that names a provider or an account means just that, whoever calls.
    own = None
    if len(decision.steps) == 1 and decision.provider is None and decision.account is None:
        own = gateway.own_sign_in(call.headers, call.dialect.name, decision.model)
    if own is not None:
        work.own_sign_in = True
        work.plan = _only(own, decision.model, call.dialect.name)
        _keep(outcome, decision, work.plan)
    else:
        work.plan = plan_call(gateway, call, decision, work.conversation, outcome)


async def decide_call(gateway: Resources, facts: RequestFacts, outcome: Outcome) -> Decision:
    """Return what the rules say of a call.

    Raises:
        AppError: a rule refuses it.
    """
    known = listed_names(gateway.roster.accounts(), gateway.catalog)

    async def count() -> int:
        return await tokens_of(gateway, facts.request())

    decision = await decide_counting(facts, gateway.rules, count, known)
    outcome.rule = decision.rule
    if decision.reject is not None:
        error = refusal(decision)
        _keep(outcome, decision, None, error.text)
        raise error
    return decision


def plan_call(
    gateway: Resources, call: Call, decision: Decision, conversation: str, outcome: Outcome
) -> Plan:
    """Return whom to ask; at least one candidate.

    Raises:
        AppError: there is none.
    """
    now = gateway.now()
    plan: Plan | None = None
    try:
        plan = plan_decision(
            decision,
            call.dialect.name,
            gateway.roster.accounts(),
            gateway.catalog,
            lambda account, model: gateway.state(account, model, now),
            call.allows,
            ranking(gateway, decision, conversation),
        )
        if not plan.candidates:
            raise no_account_error(plan, now, call.show_account, gateway.clock)
    except AppError as error:
        _keep(outcome, decision, plan, error.text)
        raise
    _keep(outcome, decision, plan)
    if gateway.rules.strategies or decision.strategy:
        gateway.traffic.chose(plan.candidates[0].account.provider.id)
    return plan


def ranking(gateway: Resources, decision: Decision, conversation: str) -> RankOf:
    """Return the order among accounts: that of the conversation, then that of the strategy."""
    accounts = gateway.roster.accounts()

    def standing(account: Account, model: str) -> Standing:
        rules, traffic = gateway.rules, gateway.traffic
        return Standing(
            account.id,
            accounts.index(account),
            left_percent=gateway.left_percent(account.id, model),
            running=traffic.running(account.id),
            used=traffic.used(account.id),
            weight=rules.weights.get(account.id, 1.0),
        )

    return strategic(
        gateway.ranking(conversation),
        accounts,
        gateway.rules.strategies,
        decision.strategy,
        standing,
        gateway.traffic.turn,
    )


async def tokens_of(gateway: Resources, request: ChatRequest) -> int:
    """Return about how many tokens a prompt has: system, messages, tools and their results."""
    return await gateway.counter(countable_text(request)) + media_tokens(request)


def may_follow(decision: Decision, last: Candidate, following: Candidate, failure: Failure) -> bool:
    """Say whether a candidate may be asked after another one failed."""
    if following.step < last.step:
        return False
    return may_ask(decision.steps, last.step, following.step, failure)


def _edit(gateway: Resources, work: Work, facts: RequestFacts, outcome: Outcome) -> None:
    """Change the body as the rule and the hooks want it.

    Raises:
        RequestError: a field that is to be changed inside cannot be read.
    """
    raw = work.call.raw
    if edits := body_edits(work.head, work.decision.edits):
        raw = patch_object(work.head, edits)
    if gateway.hooks:
        head = read_head(raw)
        wishes, notes = gateway.extensions.edits(gateway.hooks, facts, head)
        if wishes:
            raw = patch_object(head, wishes)
        if notes:
            _note(outcome, notes)
    if raw is not work.call.raw:
        work.edited(raw)


def _keep(outcome: Outcome, decision: Decision, plan: Plan | None, error: str = "") -> None:
    outcome.trace = trace_json(trace_of(decision, plan, error)).decode()


def _note(outcome: Outcome, notes: tuple[str, ...]) -> None:
    """Add what went wrong in hooks to the trace."""
    trace = msgspec.json.decode(outcome.trace or b"{}")
    trace["notes"] = [*trace.get("notes", ()), *notes]
    outcome.trace = dump(trace).decode()


def _only(account: Account, model: str, dialect: DialectName) -> Plan:
    candidate = Candidate(account, model, model, dialect, "the caller's own sign-in")
    return Plan(model, (candidate,))


def _knowing(plan: Plan, name: str) -> Plan:
    """Return the candidates that may know an answer that is not remembered here.

    Raises:
        AppError: there are none; in the service's words.
    """
    knowing = tuple(
        c
        for c in plan.candidates
        if c.dialect == "openai_responses"
        and c.account.provider.official
        and not c.account.provider.demo
    )
    if not knowing:
        raise unknown_previous(name)
    return replace(plan, candidates=knowing)
