"""Rules of the settings, checked against what there is, with the line of every fault."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.accounts.account import Account
from app.config import Config, Models
from app.configrules import Condition
from app.configtext import render_path
from app.errors import ConfigProblem
from app.extensions import NO_EXTENSIONS, Extensions, load_extensions
from app.providers.base import Provider
from app.routing.catalog import Catalog
from app.routing.ccproxy import ccproxy_type
from app.routing.checks import Fault, Known, known_of, rule_faults
from app.routing.conditions import CustomRule
from app.routing.rules import NO_RULES, RuleSet, compile_rules

__all__ = ["LoadedRules", "Routing", "load_routing", "load_rules"]


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """Rules, and what is wrong with them."""

    rules: RuleSet
    """Empty where there are problems."""
    problems: tuple[ConfigProblem, ...] = ()
    """Why the settings cannot be taken."""
    doubts: tuple[ConfigProblem, ...] = ()
    """What is probably not as meant; the settings hold all the same."""


@dataclass(frozen=True, slots=True)
class Routing:
    """All of the settings that decides where calls go, and what is wrong with it."""

    rules: RuleSet = NO_RULES
    extensions: Extensions = NO_EXTENSIONS
    problems: tuple[ConfigProblem, ...] = ()
    doubts: tuple[ConfigProblem, ...] = ()


def load_routing(
    config: Config,
    accounts: Sequence[Account],
    catalog: Catalog,
    providers: Mapping[str, Provider],
    *,
    text: str,
    file: str,
    complete: bool,
    keys: Collection[str] | None = None,
) -> Routing:
    """Load the user's own rules and hooks, then the rules of the settings, and check all of it.

    Files of extensions are run. Only those are looked for that somebody named, in the settings or
    by installing a distribution.

    Args:
        config: the settings.
        accounts: those that are known.
        catalog: what is known of models.
        providers: services that are built in, by id.
        text: of the settings file, for the lines of faults.
        file: its name; extensions lie beside it.
        complete: whether ``accounts`` are all there are, those of the vault included.
        keys: labels of keys; None where they were not read.
    """
    models = config.models
    # Looking through all installed distributions takes a while: only where a name asks for it.
    needed = bool(models.hooks) or any(_names_own_rule(rule.when) for rule in models.rules)
    extensions = load_extensions(models.extensions, Path(file).parent, None if needed else ())
    broken = bool(extensions.problems)
    known = known_of(
        accounts,
        catalog,
        providers,
        complete=complete,
        # What is missing may stand in a file that could not be read, which is reported itself.
        rules=None if broken else extensions.rules,
        hooks=None if broken else extensions.hooks,
        keys=keys,
    )
    loaded = load_rules(models, known, extensions.rules, text=text, file=file, usable=not broken)
    return Routing(
        loaded.rules, extensions, (*extensions.problems, *loaded.problems), loaded.doubts
    )


def load_rules(
    models: Models,
    known: Known,
    custom: Mapping[str, CustomRule],
    *,
    text: str = "",
    file: str = "",
    usable: bool = True,
) -> LoadedRules:
    """Return the rules of the settings, or all that is wrong with them.

    Args:
        models: the section of the settings.
        known: what names may mean.
        custom: rules of the user's own, by name.
        text: of the settings file; only looked at for the lines of faults.
        file: its name, for messages.
        usable: whether rules are wanted at all; False where something else is wrong already.
    """
    faults = rule_faults(models, known)
    located = _located(faults, text, file)
    problems = tuple(row for row, fault in zip(located, faults, strict=True) if not fault.doubt)
    doubts = tuple(row for row, fault in zip(located, faults, strict=True) if fault.doubt)
    rules = NO_RULES if problems or not usable else compile_rules(models, custom)
    return LoadedRules(rules, _by_line(problems), _by_line(doubts))


def _names_own_rule(condition: Condition) -> bool:
    inner = (*(condition.any or ()), *((condition.not_,) if condition.not_ is not None else ()))
    own = condition.rule is not None and ccproxy_type(condition.rule) is None
    return own or any(_names_own_rule(one) for one in inner)


def _located(faults: tuple[Fault, ...], text: str, file: str) -> list[ConfigProblem]:
    if not faults:
        return []
    from app.yamltree import parse_yaml  # late: it brings the YAML library

    tree = parse_yaml(text) if text.strip() else None
    rows = []
    for fault in faults:
        path = ("models", *fault.path)
        line = 0 if tree is None else tree.line(path)
        rows.append(ConfigProblem(file, line, render_path(path), fault.message))
    return rows


def _by_line(rows: tuple[ConfigProblem, ...]) -> tuple[ConfigProblem, ...]:
    return tuple(sorted(rows, key=lambda row: (row.line, row.key)))
