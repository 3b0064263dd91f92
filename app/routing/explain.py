"""From a decision to the accounts to try, and why each stands where it stands (pure).

``plan_decision`` is what the gateway plans with. ``explain`` calls the same functions and keeps what
they saw, so that an explanation cannot say anything else than what would happen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from app.accounts.account import Account
from app.accounts.roster import AccountState
from app.canonical.parts import DialectName
from app.errors import AppError, NoRouteError
from app.routing.catalog import Catalog
from app.routing.chains import Step
from app.routing.plan import Allows, Candidate, Plan, RankOf, StateOf, make_plan
from app.routing.rules import Decision, Verdict
from app.routing.suffix import render_level, split_suffix

__all__ = [
    "LeftOut",
    "Trace",
    "TraceCandidate",
    "explain",
    "left_out",
    "listed_names",
    "plan_decision",
    "trace_json",
    "trace_of",
]


@dataclass(frozen=True, slots=True)
class TraceCandidate:
    """One account that would be asked."""

    account: str
    model: str
    dialect: DialectName
    step: int
    why: str
    """How it was found and why it stands there."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One account that would not be asked, and why."""

    account: str
    why: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Why a call goes where it goes."""

    asked: str
    models: tuple[str, ...]
    """The models to try, with their reasoning where one is set."""
    rule: str = ""
    """Label of the rule that matched; empty for none."""
    rules: tuple[Verdict, ...] = ()
    """The rules that were asked, in order."""
    notes: tuple[str, ...] = ()
    candidates: tuple[TraceCandidate, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    error: str = ""
    """What the caller would be told in place of an answer; empty when it is served."""


def plan_decision(
    decision: Decision,
    client: DialectName,
    accounts: Sequence[Account],
    catalog: Catalog,
    state_of: StateOf,
    allows: Allows,
    rank_of: RankOf,
) -> Plan:
    """Return whom to ask for a decision's models; the arguments are those of ``make_plan``.

    Accounts are tried model by model. One that failed a moment ago is asked only when nobody else
    is left in the whole chain, and the demo only where it is what the first name means.

    Raises:
        NoRouteError: nobody serves any of the models; the words are about the first.
        AccountError: as ``make_plan``.
    """
    may = allows
    if decision.rule or len(decision.steps) > 1 or decision.model != decision.asked:

        def may(account: Account, model: str) -> bool:
            return decision.admits(account) and _in_scope(decision, account, model, allows)

    def plan_for(step: Step) -> Plan:
        plan = make_plan(step.model, client, accounts, catalog, state_of, may, rank_of)
        if not step.via:
            return plan
        rows = (replace(c, reason=f"{step.via}, {c.reason}") for c in plan.candidates)
        return replace(plan, candidates=tuple(rows))

    if len(decision.steps) > 1:
        return _plan_chain(decision, plan_for, state_of)
    plan = plan_for(decision.steps[0])
    if decision.asked and plan.model != decision.asked:
        plan = replace(plan, model=decision.asked)
    return plan


def _plan_chain(decision: Decision, plan_for: Callable[[Step], Plan], state_of: StateOf) -> Plan:
    """Return whom to ask for several models, each account and model once."""
    found: dict[tuple[str, str], Candidate] = {}
    waiting: dict[str, tuple[Account, AccountState]] = {}
    first_error: AppError | None = None
    planned = demo_is_meant = False
    for number, step in enumerate(decision.steps):
        try:
            plan = plan_for(step)
        except NoRouteError as error:
            first_error = first_error or error
            continue
        served = (*(c.account for c in plan.candidates), *(a for a, _ in plan.waiting))
        if number == 0:
            demo_is_meant = all(account.provider.demo for account in served)
        if not demo_is_meant and all(account.provider.demo for account in served):
            continue
        planned = True
        for candidate in plan.candidates:
            if candidate.account.provider.demo and not demo_is_meant:
                continue
            key = candidate.account.id, candidate.model
            found.setdefault(key, replace(candidate, step=number))
        for account, state in plan.waiting:
            waiting.setdefault(account.id, (account, state))
    if not planned:
        if first_error is None:  # every step was the demo's, and none of them is meant
            first_error = NoRouteError(f"No account serves the model {decision.asked[:200]!r}.")
        raise first_error
    return Plan(
        decision.asked or decision.model,
        tuple(_rested(list(found.values()), state_of)),
        tuple(waiting.values()),
    )


def _in_scope(decision: Decision, account: Account, model: str, allows: Allows) -> bool:
    """Say whether a caller may have a model: by its own name, or by the name that stands for it."""
    names = dict.fromkeys((*split_suffix(decision.asked)[:1], decision.asked, model))
    return any(allows(account, name) for name in names)


def _rested(rows: list[Candidate], state_of: StateOf) -> list[Candidate]:
    """Return the candidates that are ready; those that rest only where there are no others."""
    states = [state_of(candidate.account, candidate.model) for candidate in rows]
    ready = [row for row, state in zip(rows, states, strict=True) if state.health == "ready"]
    if ready:
        return ready
    soonest = sorted(
        zip(rows, states, strict=True), key=lambda pair: (pair[1].until or 0.0, pair[0].step)
    )
    return [row for row, _ in soonest]


def trace_of(decision: Decision, plan: Plan | None = None, error: str = "") -> Trace:
    """Return the trace of a call that was planned, as it is kept with the request.

    Args:
        decision: of the call.
        plan: whom to ask; None where planning failed or the call was refused.
        error: what the caller is told in place of an answer.
    """
    candidates = () if plan is None else plan.candidates
    return Trace(
        decision.asked,
        tuple(
            step.model
            if step.reasoning is None
            else f"{step.model}, {render_level(step.reasoning)}"
            for step in decision.steps
        ),
        decision.rule,
        decision.verdicts,
        decision.notes(),
        tuple(
            TraceCandidate(c.account.id, c.model, c.dialect, c.step, c.reason) for c in candidates
        ),
        () if plan is None else _waiting(plan),
        error,
    )


def _waiting(plan: Plan) -> tuple[LeftOut, ...]:
    asked = {candidate.account.id for candidate in plan.candidates}
    return tuple(
        LeftOut(account.id, state.reason or state.health)
        for account, state in plan.waiting
        if account.id not in asked
    )


def explain(
    decision: Decision,
    client: DialectName,
    accounts: Sequence[Account],
    catalog: Catalog,
    state_of: StateOf,
    allows: Allows,
    rank_of: RankOf,
    no_account: Callable[[Plan], AppError],
) -> Trace:
    """Return why a call would go where it would go, every account accounted for.

    Args:
        decision: what the rules say.
        client: the caller's dialect.
        accounts: all accounts.
        catalog: what is known of models.
        state_of: health of an account for an upstream model.
        allows: the caller's scope.
        rank_of: order among the accounts that serve the same name.
        no_account: the error for a plan without candidates.
    """
    if decision.reject is not None:
        return trace_of(decision, error=decision.reject.message)
    plan = None
    error = ""
    try:
        plan = plan_decision(decision, client, accounts, catalog, state_of, allows, rank_of)
        if not plan.candidates:
            error = no_account(plan).text
    except AppError as refused:
        error = refused.text
    trace = trace_of(decision, plan, error)
    others = left_out(decision, trace, accounts, allows, state_of)
    return replace(trace, left_out=(*trace.left_out, *others))


def left_out(
    decision: Decision,
    trace: Trace,
    accounts: Sequence[Account],
    allows: Allows,
    state_of: StateOf,
) -> tuple[LeftOut, ...]:
    """Return the accounts that a trace does not speak of yet, and why they are not asked."""
    named = {c.account for c in trace.candidates} | {row.account for row in trace.left_out}
    models = [step.model for step in decision.steps]
    rows = []
    for account in accounts:
        if account.id in named:
            continue
        if account.provider.demo:
            why = "the demo answers only under its own names"
        elif not decision.admits(account):
            why = f"{decision.rule} wants {decision.account or decision.provider} alone"
        elif not any(_in_scope(decision, account, model, allows) for model in models):
            why = "the caller's key may not use it"
        elif not account.enabled:
            why = state_of(account, models[0]).reason or "switched off"
        else:
            why = f"it is not known to serve {' or '.join(dict.fromkeys(models))}"
        rows.append(LeftOut(account.id, why))
    return tuple(rows)


def listed_names(accounts: Sequence[Account], catalog: Catalog) -> Callable[[str], bool]:
    """Return whether an account lists a model of just this name, for ``rules.decide``."""

    def known(name: str) -> bool:
        return any(catalog.upstream_name(account, name) is not None for account in accounts)

    return known


def trace_json(trace: Trace) -> bytes:
    """Return a trace as JSON, for the ledger; its fields are those of the control route, too."""
    return msgspec.json.encode(trace)
