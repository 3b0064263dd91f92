"""What is wrong with rules, chains and aliases before any call meets them (pure).

The shape was checked when the settings were read. Here are the names that mean nothing, the rules
that no call can reach, and the names that stand for themselves in a circle.

Whether a model exists can be said for certain only where the lists of all accounts are known; a name
that could be meant is never reported as a fault, at most as a doubt.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from app.accounts.account import Account
from app.accounts.roster import AccountState
from app.config import Models
from app.configrules import Condition, Rule
from app.errors import AccountError, NoRouteError
from app.providers.base import Provider
from app.routing.catalog import Catalog
from app.routing.ccproxy import CALLS, ccproxy_condition, ccproxy_type
from app.routing.conditions import implies
from app.routing.plan import make_plan
from app.routing.rules import label_of
from app.routing.strategy import SPREADING
from app.routing.suffix import has_suffix, split_suffix

__all__ = ["Fault", "KeyPath", "Known", "known_of", "rule_faults"]

KeyPath: TypeAlias = tuple[str | int, ...]

_READY = AccountState("ready")

_MOST_COMPARED = 200


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong; ``doubt``: it may be right, and the settings hold all the same."""

    path: KeyPath
    """From ``models`` on."""
    message: str
    doubt: bool = False


def _cannot_say(_name: str) -> bool | None:
    return None


@dataclass(frozen=True, slots=True)
class Known:
    """What the names in rules may mean."""

    providers: frozenset[str] = frozenset()
    labels: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    """Provider to the labels of its accounts; None or missing: they cannot be known now."""
    serves: Callable[[str], bool | None] = _cannot_say
    """Whether anybody serves a model; None: it cannot be said."""
    models: tuple[str, ...] = ()
    """Names to suggest."""
    rules: frozenset[str] | None = frozenset()
    """Rules of the user's own; None: their files were not read, so any name may be one."""
    hooks: frozenset[str] | None = frozenset()
    keys: frozenset[str] | None = None
    """Labels of keys; None: they cannot be known now."""
    subscriptions: frozenset[str] = frozenset()
    """Providers whose accounts are one person's plan."""


def known_of(
    accounts: Sequence[Account],
    catalog: Catalog,
    providers: Mapping[str, Provider],
    *,
    complete: bool,
    rules: Collection[str] | None = (),
    hooks: Collection[str] | None = (),
    keys: Collection[str] | None = None,
) -> Known:
    """Return what names may mean, as far as it can be told.

    Args:
        accounts: those that are known.
        catalog: what is known of models; its aliases and chains are not looked at.
        providers: services that are built in, by id.
        complete: whether ``accounts`` are all there are, those of the vault included.
        rules: names of the user's own rules; None where they were not read.
        hooks: likewise of hooks.
        keys: labels of keys; None where they were not read.
    """
    by_provider: dict[str, set[str]] = {}
    for account in accounts:
        by_provider.setdefault(account.provider.id, set()).add(account.label)
    of_all = {**providers, **{account.provider.id: account.provider for account in accounts}}
    labels = {
        name: frozenset(by_provider.get(name, ())) if _is_settled(provider, complete) else None
        for name, provider in of_all.items()
    }
    return Known(
        frozenset(of_all),
        labels,
        _serves_of(accounts, catalog, providers, complete),
        tuple(sorted({name for account in accounts for name in catalog.names(account)})),
        None if rules is None else frozenset(rules),
        None if hooks is None else frozenset(hooks),
        None if keys is None else frozenset(keys),
        frozenset(name for name, provider in of_all.items() if provider.subscription),
    )


def _is_settled(provider: Provider, complete: bool) -> bool:
    """Say whether all accounts of a provider are known.

    Accounts with keys stand in the settings; those that were signed in to stand in the vault.
    """
    return complete or not (provider.sign_ins or provider.hosts)


def _serves_of(
    accounts: Sequence[Account],
    catalog: Catalog,
    providers: Mapping[str, Provider],
    complete: bool,
) -> Callable[[str], bool | None]:
    plain = Catalog(listed=catalog.listed, patterns=catalog.patterns)
    real = [account for account in accounts if not account.provider.demo]
    certain = complete and bool(real) and all(plain.knows(a) for a in real if a.enabled)

    def serves(name: str) -> bool | None:
        try:
            make_plan(name, "openai_chat", accounts, plain, lambda *_: _READY, lambda *_: True)
        except NoRouteError:
            named = [a for a in real if name.startswith(f"{a.provider.id}/")]
            if named and all(_is_settled(a.provider, complete) and plain.knows(a) for a in named):
                return False  # whatever other services may turn up, this one was meant
            if any(provider.serves(name) for provider in providers.values()):
                return None  # an account for it may be added at any time
            return False if certain else None
        except AccountError:
            return True
        return True

    return serves


def rule_faults(models: Models, known: Known) -> tuple[Fault, ...]:
    """Return all that is wrong with the rules, and what belongs to them, in the order of the file.

    Args:
        models: the section of the settings.
        known: what names may mean.
    """
    return (
        *_circles(models),
        *_alias_faults(models, known),
        *_chain_faults(models, known),
        *_move_faults(models),
        *_rules(models, known),
        *_unreachable(models.rules),
        *_strategy_faults(models, known),
        *_hook_faults(models, known),
    )


# Names.


def _near(name: str, valid: Collection[str]) -> str:
    close = difflib.get_close_matches(name, sorted(valid), 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _model_faults(path: KeyPath, name: str, models: Models, known: Known) -> Iterator[Fault]:
    """Check a name that may be a model, an alias or a chain, with a suffix."""
    base, level = split_suffix(name)
    there = {*models.aliases, *models.chains}
    if name in there or base in there:
        return
    if level is None and has_suffix(name) and name not in known.models:
        inside = name[name.rindex("(") + 1 : -1]
        yield Fault(
            path,
            f"{inside!r} is no level of reasoning; expected none, minimal, low, medium, high, "
            "xhigh, max, auto, or a number of tokens",
        )
        return
    serves = known.serves(base)
    prefix, slash, rest = base.partition("/")
    if slash and prefix in known.providers and serves is not True:
        yield from _account_faults(path, prefix, rest, known)
        return
    near = _near(base, {*there, *known.models})
    if serves is False:
        yield Fault(path, f"no account serves the model {base}{near}")
    elif near and base not in known.models and prefix not in known.providers:
        # Close to a name that there is, and itself in no list: most likely mistyped.
        yield Fault(path, f"no list of an account has the model {base}{near}", doubt=True)


def _account_faults(path: KeyPath, provider: str, rest: str, known: Known) -> Iterator[Fault]:
    """Check ``provider/…`` where nobody is known to serve it."""
    labels = known.labels.get(provider)
    if labels is not None and not labels:
        yield Fault(path, f"there is no account of {provider}", doubt=True)
        return
    names = [name for name in known.models if not name.startswith(f"{provider}/")]
    near = _near(rest, names)
    if known.serves(f"{provider}/{rest}") is False:
        yield Fault(path, f"no account of {provider} has the model {rest}{near}")
    elif near and rest not in names:
        yield Fault(path, f"no list of an account has the model {rest}{near}", doubt=True)


def _provider_faults(path: KeyPath, name: str, known: Known) -> Iterator[Fault]:
    if name not in known.providers:
        words = _near(name, known.providers) or f"; known are {', '.join(sorted(known.providers))}"
        yield Fault(path, f"there is no provider {name!r}{words}")


def _account_id_faults(path: KeyPath, name: str, known: Known) -> Iterator[Fault]:
    provider, slash, label = name.partition("/")
    if not slash or not label:
        yield Fault(path, f"expected provider/label, not {name!r}")
    elif provider not in known.providers:
        yield from _provider_faults(path, provider, known)
    else:
        labels = known.labels.get(provider)
        if labels is not None and label not in labels:
            words = _near(label, labels) or (
                f"; there are {', '.join(sorted(labels))}" if labels else "; it has none"
            )
            yield Fault(path, f"{provider} has no account {label!r}{words}")


# Circles.


def _circles(models: Models) -> Iterator[Fault]:
    """Find chains and aliases that lead back to themselves; each circle is told once.

    A chain may hold the model of its own name, and an alias may add a suffix to its own.
    """
    done: set[str] = set()
    told: set[frozenset[str]] = set()
    for start in (*models.aliases, *models.chains):
        for circle in _walk(start, models, done):
            if frozenset(circle) not in told:
                told.add(frozenset(circle))
                name = circle[0]
                section = "chains" if name in models.chains else "aliases"
                yield Fault(
                    (section, name), f"it leads back to itself: {' → '.join((*circle, name))}"
                )


def _walk(start: str, models: Models, done: set[str]) -> Iterator[list[str]]:
    """Yield the circles that can be reached from a name, without recursion: names are hostile."""
    if start in done:
        return
    trail: list[str] = []
    stack: list[tuple[str, Iterator[str]]] = [(start, iter(_leads_to(start, models)))]
    trail.append(start)
    while stack:
        name, targets = stack[-1]
        target = next(targets, None)
        if target is None:
            stack.pop()
            trail.pop()
            done.add(name)
        elif target in trail:
            if target != name:
                yield trail[trail.index(target) :]
        elif target not in done:
            stack.append((target, iter(_leads_to(target, models))))
            trail.append(target)


def _leads_to(name: str, models: Models) -> list[str]:
    entries: Sequence[str] = models.chains.get(name, ())
    if not entries and name in models.aliases:
        entries = (models.aliases[name],)
    found = []
    for entry in entries:
        there = entry in models.chains or entry in models.aliases
        found.append(entry if there else split_suffix(entry)[0])
    return [entry for entry in found if entry in models.chains or entry in models.aliases]


# The parts of the section.


def _alias_faults(models: Models, known: Known) -> Iterator[Fault]:
    for name, target in models.aliases.items():
        if name in models.chains:
            yield Fault(("aliases", name), "a chain has this name, too, and hides the alias")
        yield from _model_faults(("aliases", name), target, models, known)


def _chain_faults(models: Models, known: Known) -> Iterator[Fault]:
    for name, entries in models.chains.items():
        for i, entry in enumerate(entries):
            path: KeyPath = ("chains", name, i)
            if entry in entries[:i]:
                yield Fault(path, f"{entry} is in this chain already")
            elif entry != name:
                yield from _model_faults(path, entry, models, known)


def _move_faults(models: Models) -> Iterator[Fault]:
    for name, moves in models.moves.items():
        entries = models.chains.get(name)
        if entries is None:
            near = _near(name, models.chains)
            yield Fault(("moves", name), f"there is no chain {name!r}{near}")
            continue
        for model in moves:
            if model not in entries:
                near = _near(model, entries)
                yield Fault(("moves", name, model), f"the chain has no entry {model!r}{near}")
            elif model == entries[0]:
                yield Fault(
                    ("moves", name, model), "it is the first of the chain: nothing moves on to it"
                )


def _rules(models: Models, known: Known) -> Iterator[Fault]:
    labels: dict[str, int] = {}
    for i, rule in enumerate(models.rules):
        path: KeyPath = ("rules", i)
        if rule.name is not None and labels.setdefault(rule.name, i) != i:
            yield Fault((*path, "name"), f"rule {labels[rule.name] + 1} is called so, too")
        yield from _condition_faults((*path, "when"), rule.when, known)
        yield from _action_faults((*path, "then"), rule, models, known)


def _condition_faults(path: KeyPath, condition: Condition, known: Known) -> Iterator[Fault]:
    if condition.rule is not None:
        yield from _type_faults(path, condition, known)
    for i, key in enumerate(condition.key or ()):
        plain = not any(letter in key for letter in "*?/")
        if known.keys is not None and plain and key not in known.keys:
            near = _near(key, known.keys)
            yield Fault((*path, "key", i), f"no key is called {key!r}{near}", doubt=True)
    for i, choice in enumerate(condition.any or ()):
        yield from _condition_faults((*path, "any", i), choice, known)
    if condition.not_ is not None:
        if condition.not_ == Condition():
            yield Fault((*path, "not"), "nothing is asked for here, so the rule never matches")
        yield from _condition_faults((*path, "not"), condition.not_, known)


def _type_faults(path: KeyPath, condition: Condition, known: Known) -> Iterator[Fault]:
    name = condition.rule or ""
    if known.rules is not None and name in known.rules:
        return
    short = ccproxy_type(name)
    if short is not None:
        try:
            ccproxy_condition(short, condition.params)
        except ValueError as error:
            yield Fault((*path, "params"), str(error))
    elif known.rules is not None:
        there = {*CALLS, *known.rules}
        words = _near(name, there) or f"; known are {', '.join(sorted(there))}"
        yield Fault((*path, "rule"), f"there is no rule {name!r}{words}")


def _action_faults(path: KeyPath, rule: Rule, models: Models, known: Known) -> Iterator[Fault]:
    action = rule.then
    if action.provider is not None:
        yield from _provider_faults((*path, "provider"), action.provider, known)
    if action.account is not None:
        yield from _account_id_faults((*path, "account"), action.account, known)
    if action.model is not None:
        fixed = action.account or action.provider
        # With its provider before it, the name is what will be looked for.
        name = action.model if fixed is None else f"{fixed}/{action.model}"
        if fixed is None or action.model in models.aliases:
            yield from _model_faults((*path, "model"), action.model, models, known)
        elif known.serves(split_suffix(name)[0]) is False:
            yield Fault((*path, "model"), f"{fixed} does not serve {action.model}")
    if action.chain is not None and action.chain not in models.chains:
        words = _near(action.chain, models.chains)
        yield Fault((*path, "chain"), f"there is no chain {action.chain!r}{words}")
    for name in action.split or ():
        yield from _model_faults((*path, "split", name), name, models, known)
    if action.strategy in SPREADING:
        provider = action.provider or (action.account or "").partition("/")[0]
        yield from _spreading_faults((*path, "strategy"), provider, action.strategy or "", known)


def _spreading_faults(path: KeyPath, provider: str, strategy: str, known: Known) -> Iterator[Fault]:
    if provider in known.subscriptions:
        yield Fault(
            path,
            f"{strategy} is for accounts with keys; the sign-ins of {provider} are used one after "
            "the other (primary_first, fill_first, most_left)",
        )


def _strategy_faults(models: Models, known: Known) -> Iterator[Fault]:
    for name, strategy in models.strategies.items():
        path: KeyPath = ("strategies", name)
        if name != "*":
            yield from _provider_faults(path, name, known)
        if strategy in SPREADING:
            yield from _spreading_faults(path, name, strategy, known)
    for name in models.weights:
        yield from _account_id_faults(("weights", name), name, known)


def _hook_faults(models: Models, known: Known) -> Iterator[Fault]:
    for i, name in enumerate(models.hooks):
        if name in models.hooks[:i]:
            yield Fault(("hooks", i), f"{name} is in this list already")
        elif known.hooks is not None and name not in known.hooks:
            words = _near(name, known.hooks)
            yield Fault(("hooks", i), f"there is no hook {name!r}{words}")


# Rules that no call reaches.


def _unreachable(rules: Sequence[Rule]) -> Iterator[Fault]:
    """Find rules whose calls are all taken by an earlier one, where that can be decided.

    Rules are compared with the first of the file; thousands would take longer than it is worth.
    """
    for i, rule in enumerate(rules):
        for j, earlier in enumerate(rules[: min(i, _MOST_COMPARED)]):
            if implies(rule.when, earlier.when):
                yield Fault(
                    ("rules", i),
                    f"no call reaches this rule: {label_of(j, earlier.name)} matches all that it "
                    "would match",
                )
                break
