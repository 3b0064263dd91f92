"""From a model name to the accounts to try, in order, and why.

A name is resolved by the first step that finds an account: the alias of the settings; an exact
entry of an account's model list; ``provider/model`` (or ``provider/label/model``); the patterns of
the settings by priority; the families (``claude-*``, ``gpt-*``, ``gemini-*`` …). A step counts
also when its accounts are all cooling: the answer then says so, instead of going elsewhere
unasked. Names that stand for several models are written out before (``chains.expand``).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from app.accounts.account import Account
from app.accounts.roster import AccountState
from app.canonical.parts import DialectName
from app.errors import AccountError, AppError, NoRouteError
from app.routing.catalog import Catalog

__all__ = ["Candidate", "Plan", "make_plan", "nearest_models", "no_account_error"]

_DEMO_MODEL = "demo-chat"
"""Answers without any account; the hint for a first request."""

StateOf = Callable[[Account, str], AccountState]
"""State of an account for an upstream model, now."""
Allows = Callable[[Account, str], bool]
"""Whether the caller's key may use an account for a public model."""


Rank: TypeAlias = tuple[int, str]
"""Where an account stands among those that serve the same name, lower first, and why in words for
people; ``(0, "")`` for most."""
RankOf = Callable[[Account, str], Rank]
"""Rank of an account for an upstream model, now."""


def _equal(_account: Account, _model: str) -> Rank:
    return 0, ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve the call."""

    account: Account
    model: str
    """The upstream's name."""
    public: str
    """The name it was found under."""
    dialect: DialectName
    reason: str
    """How it was found, in words for people."""
    step: int = 0
    """Which of the models to try it serves: index into ``rules.Decision.steps``."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The candidates in the order of trying, and those left out with why."""

    model: str
    candidates: tuple[Candidate, ...]
    waiting: tuple[tuple[Account, AccountState], ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    account: Account
    model: str
    public: str
    reason: str


def make_plan(
    model: str,
    client: DialectName,
    accounts: Sequence[Account],
    catalog: Catalog,
    state_of: StateOf,
    allows: Allows,
    rank_of: RankOf = _equal,
) -> Plan:
    """Return whom to ask for a model.

    Args:
        model: the name that the client sent; empty means the default of the settings.
        client: the caller's dialect; kept where the provider speaks it.
        accounts: all accounts.
        catalog: what is known of models.
        state_of: health of an account for an upstream model.
        allows: the caller's scope.
        rank_of: order among the accounts; equals stay in the order of ``accounts``.

    Raises:
        NoRouteError: nobody serves the model (404), or the client named none and there is no
            default (400).
        AccountError: all who serve it are cooling (429 with the soonest time) or need a person
            (503).
    """
    if not model:
        if catalog.default is None:
            raise NoRouteError(
                "The request names no model.",
                hint="Put a model into the request, or set models.default in the settings.",
                status=400,
                code="model_missing",
            )
        model = catalog.default
    visible = [account for account in accounts if allows(account, model)]
    ids = [account.id for account in accounts]
    # An account that is switched off stands in nobody's way; it only helps to say what is wrong.
    found = _find(model, [account for account in visible if account.enabled], catalog, ids)
    ranked: list[tuple[int, Candidate]] = []
    resting: list[tuple[float, Candidate]] = []
    waiting: list[tuple[Account, AccountState]] = []
    for item in found or _find(model, visible, catalog, ids):
        state = state_of(item.account, item.model)
        if state.health != "ready":
            waiting.append((item.account, state))
            if not state.soft:
                continue
        facts = catalog.facts(item.account, item.model)
        dialect = item.account.provider.dialect_for(item.model, client, facts)
        rank, why = rank_of(item.account, item.model)
        reason = f"{item.reason}, {why}" if why else item.reason
        if state.health == "ready":
            candidate = Candidate(item.account, item.model, item.public, dialect, reason)
            ranked.append((rank, candidate))
        else:
            reason += ", which failed a moment ago, but nobody else is left"
            candidate = Candidate(item.account, item.model, item.public, dialect, reason)
            resting.append((state.until or 0.0, candidate))
    ranked.sort(key=lambda row: row[0])
    # A failure a moment ago is no reason to refuse a call that nobody else can serve.
    resting.sort(key=lambda row: row[0])
    if ranked or waiting:
        return Plan(model, tuple(row[1] for row in ranked or resting), tuple(waiting))
    raise _unknown(model, accounts, catalog, allows)


def _find(
    model: str, accounts: Sequence[Account], catalog: Catalog, ids: Sequence[str]
) -> list[_Found]:
    """Return who serves a name; the demo only where nobody else does, so never as a fallback."""
    items = _resolve(model, accounts, catalog, ids)
    return [item for item in items if not item.account.provider.demo] or items


def _aliased(name: str, catalog: Catalog) -> str:
    """Return what a name stands for in the end; a circle of aliases ends where it closes."""
    seen: set[str] = set()
    while name in catalog.aliases and name not in seen:
        seen.add(name)
        name = catalog.aliases[name]
    return name


def _resolve(
    name: str, accounts: Sequence[Account], catalog: Catalog, ids: Sequence[str]
) -> list[_Found]:
    alias = f"alias {name}, " if name in catalog.aliases else ""
    name = _aliased(name, catalog)
    found = (
        _exact(name, accounts, catalog)
        or _prefixed(name, accounts, catalog, ids)
        or _patterned(name, accounts, catalog)
        or _family(name, accounts)
    )
    if alias:
        found = [replace(item, reason=alias + item.reason) for item in found]
    return found


def _exact(name: str, accounts: Iterable[Account], catalog: Catalog) -> list[_Found]:
    found = []
    for account in accounts:
        upstream = catalog.upstream_name(account, name)
        if upstream is not None:
            found.append(_Found(account, upstream, name, f"listed by {account.provider.id}"))
    return found


def _prefixed(
    name: str, accounts: Iterable[Account], catalog: Catalog, ids: Sequence[str]
) -> list[_Found]:
    """Return who is named by the prefix, ``provider/`` or ``provider/label/``.

    A name that begins with the id of an account means that one alone, even where it may not be
    asked; another account of the provider is meant only if it lists the rest, label and all
    (OpenRouter's ``vendor/model``).
    """
    named = max((i for i in ids if name.startswith(f"{i}/")), key=len, default=None)
    found = []
    for account in accounts:
        for prefix in (f"{account.id}/", f"{account.provider.id}/"):
            rest = name.removeprefix(prefix)
            if rest == name or not rest:
                continue
            upstream = catalog.upstream_name(account, rest)
            if upstream is None and account.models is None and named in (None, prefix[:-1]):
                upstream = rest
            if upstream is not None:
                found.append(_Found(account, upstream, rest, f"prefix {prefix}"))
                break
    return found


def _patterned(name: str, accounts: Sequence[Account], catalog: Catalog) -> list[_Found]:
    for pattern in sorted(catalog.patterns, key=lambda p: -p.priority):
        if pattern.match.search(name) is None:
            continue
        found = [
            _Found(account, name, name, f"pattern {pattern.match.pattern}")
            for account in accounts
            if account.provider.id == pattern.provider and account.models is None
        ]
        if found:
            return found
    return []


def _family(name: str, accounts: Iterable[Account]) -> list[_Found]:
    return [
        _Found(account, name, name, f"family of {account.provider.id}")
        for account in accounts
        if account.provider.serves(name) and account.models is None
    ]


def nearest_models(
    model: str, accounts: Sequence[Account], catalog: Catalog, allows: Allows
) -> list[str]:
    """Return up to three names in the caller's scope that are close to a mistyped one."""
    known = {n for account in accounts for n in catalog.names(account) if allows(account, n)}
    known.update(
        name
        for name in (*catalog.aliases, *catalog.chains)
        if any(allows(account, name) for account in accounts)
    )
    return difflib.get_close_matches(model, sorted(known), n=3, cutoff=0.5)


def _unknown(model: str, accounts: Sequence[Account], catalog: Catalog, allows: Allows) -> AppError:
    near = nearest_models(model, accounts, catalog, allows)
    demos = [account for account in accounts if account.provider.demo]
    if near:
        hint = f"Did you mean {', '.join(near)}?"
    elif len(demos) == len(accounts):
        hint = (
            "No account is set up yet: sign in with `dragoman login PROVIDER`, add a key under "
            "providers in the settings (`dragoman config edit`)"
        )
        offered = any(allows(account, _DEMO_MODEL) for account in demos)
        hint += f", or try the model {_DEMO_MODEL}." if offered else "."
    else:
        hint = "`dragoman models` lists what is served."
    return NoRouteError(f"No account serves the model {model[:200]!r}.", hint=hint)


def no_account_error(
    plan: Plan, now: float, show_labels: bool, clock: Callable[[float, float], str]
) -> AppError:
    """Return the error for a model whose accounts can all not serve now.

    Args:
        plan: a plan without candidates.
        now: epoch seconds.
        show_labels: False names providers only (callers with a key).
        clock: renders a time of day for people; takes it and now, in epoch seconds.
    """
    lines = []
    soonest: float | None = None
    for account, state in plan.waiting:
        name = account.label if show_labels else account.provider.id
        line = f"{name}: {_brief(account, state.reason, show_labels)}"
        if state.until is not None:
            wait = max(1.0, state.until - now)
            line += (
                f", back {clock(state.until, now)}" if wait >= 60.0 else f", back in {wait:.0f} s"
            )
            soonest = wait if soonest is None else min(soonest, wait)
        lines.append(line)
    text = "; ".join(dict.fromkeys(lines))
    message = f"No account can serve {plan.model} right now ({text})."
    if soonest is not None:
        return AccountError(message, status=429, code="accounts_cooling", retry_after_s=soonest)
    return AccountError(
        message,
        status=503,
        code="accounts_unavailable",
        hint="`dragoman doctor` says what each account needs.",
    )


_SENTENCE = re.compile(r"(?<=[^.\s][.!])\s")
_LONGEST_REASON = 200


def _brief(account: Account, reason: str, show_labels: bool) -> str:
    """Return the first sentence of why an account cannot serve; the status has all of it."""
    text = _SENTENCE.split(reason, 1)[0].rstrip(".! ")
    if not show_labels:  # a label may be a person's name
        text = text.replace(account.id, account.provider.title)
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
