"""Rules of the settings, checked against what there is, with the line of every fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.config import Models
from app.configtext import render_path
from app.errors import ConfigProblem
from app.routing.checks import Fault, Known, rule_faults
from app.routing.conditions import CustomRule
from app.routing.rules import NO_RULES, RuleSet, compile_rules

__all__ = ["LoadedRules", "load_rules"]


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """Rules, and what is wrong with them."""

    rules: RuleSet
    """Empty where there are problems."""
    problems: tuple[ConfigProblem, ...] = ()
    """Why the settings cannot be taken."""
    doubts: tuple[ConfigProblem, ...] = ()
    """What is probably not as meant; the settings hold all the same."""


def load_rules(
    models: Models,
    known: Known,
    custom: Mapping[str, CustomRule],
    *,
    text: str = "",
    file: str = "",
) -> LoadedRules:
    """Return the rules of the settings, or all that is wrong with them.

    Args:
        models: the section of the settings.
        known: what names may mean.
        custom: rules of the user's own, by name.
        text: of the settings file; only looked at for the lines of faults.
        file: its name, for messages.
    """
    faults = rule_faults(models, known)
    located = _located(faults, text, file)
    problems = tuple(row for row, fault in zip(located, faults, strict=True) if not fault.doubt)
    doubts = tuple(row for row, fault in zip(located, faults, strict=True) if fault.doubt)
    rules = NO_RULES if problems else compile_rules(models, custom)
    return LoadedRules(rules, _by_line(problems), _by_line(doubts))


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
