"""Rules of ccproxy as rules of ours.

Source: starbased-co/ccproxy 1.2.0, ``ccproxy.yaml`` and LiteLLM's ``config.yaml`` beside it, read
2026-08. A label of a rule names an entry of LiteLLM's ``model_list``; what ccproxy found out only
when a call came, or never, is reported here: labels without an entry, rules that cannot be made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.configtext import render_path
from app.errors import ConfigProblem
from app.routing.ccproxy import CALLS, ccproxy_condition, ccproxy_type
from app.yamltree import KeyPath, Tree, parse_yaml

__all__ = ["Imported", "import_ccproxy"]

_OWN_NAMES = {"anthropic": "", "openai": "", "gemini": "", "github_copilot": "copilot/"}
"""LiteLLM's name of a service before a model → what stands there here. Names of the large families
need nothing: they go to whichever account serves them."""

_PROVIDER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

_INSTEAD = {
    "hooks": "what these hooks do, Dragoman does by itself; hooks of your own are written anew",
    "oat_sources": "tokens come from `dragoman login claude`, or from credential_command of a "
    "provider",
    "handler": "is not needed",
}
"""Keys of ccproxy's section that are not taken over → what there is instead."""


@dataclass(slots=True)
class Imported:
    """What came of a file; ``problems`` are complete, and with any of them nothing is usable."""

    rules: list[dict[str, Any]] = field(default_factory=list)
    """Entries for ``models.rules``."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Labels that callers may ask for, for ``models.aliases``."""
    default: str | None = None
    """For ``models.default``."""
    notes: list[str] = field(default_factory=list)
    """What was not taken over, and what there is instead."""
    problems: list[ConfigProblem] = field(default_factory=list)


def import_ccproxy(text: str, file: str, models_text: str | None, models_file: str) -> Imported:
    """Return the rules of a ``ccproxy.yaml`` as entries of our settings.

    Args:
        text: of ``ccproxy.yaml``.
        file: its name, for messages.
        models_text: of LiteLLM's ``config.yaml``; None when there is none.
        models_file: its name, for messages.
    """
    return _Import(file, models_file).read(text, models_text)


class _Import:
    def __init__(self, file: str, models_file: str) -> None:
        self.done = Imported()
        self._file = file
        self._models_file = models_file
        self._tree = Tree()
        self._targets: dict[str, str] = {}

    def read(self, text: str, models_text: str | None) -> Imported:
        self._tree = parse_yaml(text)
        self._faults(self._file, self._tree)
        if models_text is not None:
            self._read_models(models_text)
        value = self._tree.value
        section = value.get("ccproxy") if isinstance(value, dict) else None
        if isinstance(section, dict):
            self._read_section(section, models_text is not None)
        elif not self.done.problems:
            self._problem((), "expected the section ccproxy")
        return self.done

    def _faults(self, file: str, tree: Tree) -> None:
        self.done.problems += [
            ConfigProblem(file, fault.line, render_path(fault.path), fault.message)
            for fault in tree.faults
        ]

    def _problem(self, path: KeyPath, message: str) -> None:
        line = self._tree.line(path)
        self.done.problems.append(ConfigProblem(self._file, line, render_path(path), message))

    # LiteLLM's list.

    def _read_models(self, text: str) -> None:
        tree = parse_yaml(text)
        self._faults(self._models_file, tree)
        listed = tree.value.get("model_list") if isinstance(tree.value, dict) else None
        if not isinstance(listed, list):
            if not tree.faults:
                row = ConfigProblem(self._models_file, 0, "model_list", "expected a list of models")
                self.done.problems.append(row)
            return
        for i, entry in enumerate(listed):
            label, model = _entry(entry)
            if label is None or model is None:
                path: KeyPath = ("model_list", i)
                message = "expected model_name and litellm_params with model"
                self.done.problems.append(
                    ConfigProblem(self._models_file, tree.line(path), render_path(path), message)
                )
            else:
                self._targets[label] = self._target(model)  # of two, the last counts there, too
        for label, target in self._targets.items():
            if label not in ("default", target):
                self.done.aliases[label] = target

    def _target(self, model: str) -> str:
        service, slash, rest = model.partition("/")
        if not slash:
            return model
        if service in _OWN_NAMES:
            return _OWN_NAMES[service] + rest
        if _PROVIDER.fullmatch(service):
            note = f"{model} needs the provider {service} in the settings (kind: compatible)"
            if note not in self.done.notes:
                self.done.notes.append(note)
        return model

    # ccproxy's section.

    def _read_section(self, section: Mapping[str, Any], has_models: bool) -> None:
        for key, instead in _INSTEAD.items():
            if section.get(key):
                self.done.notes.append(f"ccproxy.{key} is left out: {instead}")
        rules = section.get("rules")
        if rules is None:
            rules = []
        if not isinstance(rules, list):
            self._problem(("ccproxy", "rules"), "expected a list")
            return
        for i, entry in enumerate(rules):
            self.done.rules += self._rule(("ccproxy", "rules", i), entry, has_models)
        self._default(section)

    def _rule(self, path: KeyPath, entry: Any, has_models: bool) -> Iterator[dict[str, Any]]:
        if not isinstance(entry, dict):
            self._problem(path, "expected name, rule and params")
            return
        label, rule = entry.get("name"), entry.get("rule")
        if not isinstance(label, str) or not label:
            self._problem((*path, "name"), "expected the label of the rule")
            return
        if not isinstance(rule, str) or not rule:
            self._problem((*path, "rule"), "expected the rule's class")
            return
        if rule.rpartition(".")[2] == "DefaultRule":
            self.done.notes.append(f"the rule {label} is left out: DefaultRule matches nothing")
            return
        short = ccproxy_type(rule)
        when: dict[str, Any] = {}
        if short is None:
            self._problem(
                (*path, "rule"),
                f"{rule} is none of {', '.join(sorted(CALLS))}; write a class of your own as a "
                "rule in a file of models.extensions",
            )
        else:
            try:
                condition = ccproxy_condition(short, entry.get("params"))
                when = condition.model_dump(exclude_defaults=True, by_alias=True, mode="json")
            except ValueError as error:
                self._problem((*path, "params"), str(error))
        target = self._targets.get(label)
        if target is None:
            where = (
                f"{self._models_file} has no model_list entry of this name"
                if has_models
                else f"its model stands in LiteLLM's file, and there is no {self._models_file}"
            )
            self._problem((*path, "name"), f"the label {label!r} leads nowhere: {where}")
        elif when:
            yield {"name": self._name(label), "when": when, "then": {"model": target}}

    def _name(self, label: str) -> str:
        """Return a label that no rule before has; two of ccproxy's rules may share one."""
        taken = {rule["name"] for rule in self.done.rules}
        number = 2
        name = label
        while name in taken:
            name = f"{label} {number}"
            number += 1
        return name

    def _default(self, section: Mapping[str, Any]) -> None:
        target = self._targets.get("default")
        if target is None:
            return
        self.done.default = target
        if section.get("default_model_passthrough", True) is False:
            self.done.rules.append({"name": "default", "when": {}, "then": {"model": target}})


def _entry(entry: Any) -> tuple[str | None, str | None]:
    if not isinstance(entry, dict):
        return None, None
    params = entry.get("litellm_params")
    model = params.get("model") if isinstance(params, dict) else None
    label = entry.get("model_name")
    return (
        label if isinstance(label, str) and label else None,
        model if isinstance(model, str) and model else None,
    )
