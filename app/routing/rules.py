"""Which rule of the settings a call meets, and what follows from it (pure).

``decide`` is the one entry point. It runs between ``Dialect.peek`` and the planning: rules are asked
in their order, and the first whose conditions all hold decides. Without one the asked model is
kept. What comes out is a ``Decision``: the models to plan for, in order, with how much each is to
think; which accounts may serve; what to change in the body; and how all that came about.

A fact that cannot be had (a body that cannot be read, a rule of the user's own that failed) makes
no rule match: the rule is passed over, and the trace says why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from app.accounts.account import Account
from app.config import Models
from app.configrules import Action, Rejection, Strategy
from app.errors import AppError, RequestError
from app.routing.actions import NO_EDITS, Edits
from app.routing.chains import Names, Step, expand
from app.routing.conditions import CustomRule, Test, compile_condition
from app.routing.facts import FactsMissing, RequestFacts, TokensWanted
from app.routing.retry import RetryPolicy
from app.routing.split import Share, choose_share
from app.routing.suffix import Level, render_level, split_suffix

__all__ = [
    "NO_RULES",
    "Decision",
    "RouteRule",
    "RuleSet",
    "Verdict",
    "compile_rules",
    "decide",
    "decide_counting",
    "label_of",
    "refusal",
]


@dataclass(frozen=True, slots=True)
class RouteRule:
    """A rule, ready to be asked."""

    label: str
    tests: tuple[Test, ...]
    action: Action


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All of the settings that decides where calls go: an immutable value that is swapped whole."""

    rules: tuple[RouteRule, ...] = ()
    names: Names = field(default_factory=Names)
    strategies: Mapping[str, Strategy] = field(default_factory=dict)
    """Provider, or ``*``, to the order of its accounts."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Account id to its weight."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)


NO_RULES = RuleSet()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one rule."""

    name: str
    matched: bool
    why: str
    """The condition that failed, or what hindered asking; empty where all hold."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a call goes, before accounts are looked at."""

    asked: str
    """What the client asked for; the default where it named nothing."""
    steps: tuple[Step, ...]
    """Models to try in order; at least one."""
    rule: str = ""
    """Label of the rule that matched; empty for none."""
    reject: Rejection | None = None
    """The call is refused; ``refusal`` makes the error."""
    provider: str | None = None
    """Only this provider's accounts may serve."""
    account: str | None = None
    """Only this account (id) may serve."""
    strategy: Strategy | None = None
    """Order among accounts; None: the settings' own."""
    edits: Edits = NO_EDITS
    share: Share | None = None
    """What a split chose."""
    verdicts: tuple[Verdict, ...] = ()
    """The rules that were asked, in order; the last one matched where ``rule`` is set."""

    @property
    def model(self) -> str:
        """The first name to plan for."""
        return self.steps[0].model

    def admits(self, account: Account) -> bool:
        """Say whether the rule lets an account serve."""
        if self.account is not None:
            return account.id == self.account
        return self.provider is None or account.provider.id == self.provider

    def notes(self) -> tuple[str, ...]:
        """Return how the models were chosen, one sentence each."""
        return tuple(_notes(self))


def label_of(number: int, name: str | None) -> str:
    """Return what a rule is called; ``number`` counts from 0."""
    return name or f"rule {number + 1}"


def compile_rules(models: Models, custom: Mapping[str, CustomRule] | None = None) -> RuleSet:
    """Return the rules of the settings, ready to be asked.

    Args:
        models: settings without faults (``checks.rule_faults`` finds none).
        custom: rules of the user's own by name.

    Raises:
        ValueError: a rule names a rule type that there is not, or the wrong params.
    """
    rules = tuple(
        RouteRule(label_of(i, rule.name), compile_condition(rule.when, custom or {}), rule.then)
        for i, rule in enumerate(models.rules)
    )
    retry = models.retry
    return RuleSet(
        rules,
        Names(dict(models.aliases), dict(models.chains), dict(models.moves), models.default),
        dict(models.strategies),
        dict(models.weights),
        RetryPolicy(retry.attempts, retry.first_wait_s, retry.longest_wait_s, retry.budget_s),
    )


def decide(
    facts: RequestFacts, rules: RuleSet, known: Callable[[str], bool] | None = None
) -> Decision:
    """Return where a call goes.

    Args:
        facts: of the call.
        rules: of the settings.
        known: whether a service has a model of just this name, which then keeps what looks like a
            suffix.

    Raises:
        TokensWanted: a rule asks for the number of tokens, and ``facts`` does not have it yet.
    """
    names = rules.names
    if not facts.model:
        facts = replace(facts, model=names.default or "")
    verdicts: list[Verdict] = []
    for rule in rules.rules:
        why = _failing(rule, facts)
        verdicts.append(Verdict(rule.label, why is None, why or ""))
        if why is None:
            return _decided(rule, facts, names, known, tuple(verdicts))
    return Decision(facts.model, expand(facts.model, names, known), verdicts=tuple(verdicts))


async def decide_counting(
    facts: RequestFacts,
    rules: RuleSet,
    count: Callable[[], Awaitable[int]],
    known: Callable[[str], bool] | None = None,
) -> Decision:
    """Return where a call goes; its tokens are counted when a rule asks, and only then.

    Args:
        facts: of the call.
        rules: of the settings.
        count: counts the tokens of the prompt; raises ``FactsMissing`` when it cannot.
        known: see ``decide``.
    """
    try:
        return decide(facts, rules, known)
    except TokensWanted:
        pass
    try:
        facts = facts.counted(await count())
    except FactsMissing as error:
        facts = replace(facts, tokens=_missing(error))
    return decide(facts, rules, known)


def _missing(error: FactsMissing) -> Callable[[], int]:
    def tokens() -> int:
        raise error

    return tokens


def refusal(decision: Decision) -> AppError:
    """Return the error for a call that a rule refuses."""
    assert decision.reject is not None  # noqa: S101 - asked only of such decisions
    error = RequestError(
        decision.reject.message, status=decision.reject.status, code="refused_by_rule"
    )
    error.passed_on = True  # in the words of the user's own rule
    return error


def _failing(rule: RouteRule, facts: RequestFacts) -> str | None:
    """Return the first condition that does not hold, or None when the rule matches."""
    for test in rule.tests:
        try:
            if not test.holds(facts):
                return f"does not hold: {test.text}"
        except FactsMissing as error:
            return f"cannot be told: {test.text} ({error})"
    return None


def _decided(
    rule: RouteRule,
    facts: RequestFacts,
    names: Names,
    known: Callable[[str], bool] | None,
    verdicts: tuple[Verdict, ...],
) -> Decision:
    action = rule.action
    share = None
    if action.split is not None:
        share = choose_share(action.split, rule.label, facts.seed())
    target = action.model or action.chain or (share.model if share else None)
    steps = expand(target or facts.model, names, known)
    if target is not None:
        # What the client wrote behind its model's name holds where the rule says nothing.
        _, wish = split_suffix(facts.model, known)
        if wish is not None:
            steps = tuple(_thinking(step, step.reasoning or wish) for step in steps)
    if action.reasoning is not None:
        steps = tuple(_thinking(step, action.reasoning) for step in steps)
    prefix = action.account or action.provider
    if prefix is not None:
        steps = tuple(replace(step, model=_prefixed(step.model, prefix)) for step in steps)
    return Decision(
        facts.model,
        steps,
        rule.label,
        action.reject,
        action.provider,
        action.account,
        action.strategy,
        Edits(action.set, action.override, action.remove),
        share,
        verdicts,
    )


def _thinking(step: Step, level: Level) -> Step:
    return replace(step, reasoning=level)


def _prefixed(model: str, prefix: str) -> str:
    """Return a model's name with the provider or account before it, which it may have already."""
    if not model:
        return model
    provider = prefix.partition("/")[0]
    for there in (f"{prefix}/", f"{provider}/"):
        if model.startswith(there):
            return f"{prefix}/{model.removeprefix(there)}"
    return f"{prefix}/{model}"


def _notes(decision: Decision) -> list[str]:
    notes = []
    if decision.rule:
        notes.append(f"{decision.rule} matched")
    elif decision.verdicts:
        notes.append("no rule matched, so the asked model is kept")
    if decision.share is not None:
        share = decision.share
        notes.append(f"the split chose {share.model} ({share.part:.0%} of the conversations)")
    for step in decision.steps:
        if step.via:
            notes.append(f"{step.model} by {step.via}")
        if step.reasoning is not None:
            notes.append(f"{step.model}: {render_level(step.reasoning)}")
    if decision.account or decision.provider:
        notes.append(f"only {decision.account or decision.provider} may serve")
    if decision.strategy is not None:
        notes.append(f"accounts in the order {decision.strategy}")
    if decision.edits:
        changed = (*decision.edits.absent, *decision.edits.override, *decision.edits.remove)
        notes.append(f"fields of the body changed: {', '.join(changed)}")
    return notes
