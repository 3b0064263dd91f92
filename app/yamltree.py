"""YAML text as plain values, with the line of every key.

The text is composed into nodes and converted here rather than by the library's constructors: every
fault is collected instead of the first, no tag can build an object, and an alias is expanded only
while the whole stays small (a few nested aliases can stand for billions of values).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

__all__ = ["MAX_BYTES", "Fault", "KeyPath", "Tree", "parse_yaml"]

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the document."""

MAX_BYTES = 1_000_000
"""Larger files are refused: settings written by people are a thousand times smaller."""

_MAX_VALUES = 100_000
"""Values after expansion of aliases."""

_MAX_DEPTH = 32
"""Levels of nesting; the deepest setting has seven."""

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the text: 1-based ``line``, ``path`` of the key (may be empty), ``message``."""

    line: int
    path: KeyPath
    message: str


@dataclass(slots=True)
class Tree:
    """What a text holds: ``value`` of plain Python types, and where each key stands."""

    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """Return the line of a key or of the nearest one above it that is there; 0: neither."""
        while path:
            if (line := self.lines.get(path)) is not None:
                return line
            path = path[:-1]
        return 0


def parse_yaml(text: str) -> Tree:
    """Read one YAML 1.2 document.

    Returns:
        The tree. ``value`` is None for an empty document and where the text cannot be read at
        all; keys with a fault are left out of it. Dates stay text.
    """
    tree = Tree()
    if len(text) > MAX_BYTES:
        tree.faults.append(Fault(0, (), f"the file is longer than {MAX_BYTES} characters"))
        return tree
    try:
        reader = YAML(typ="safe", pure=True)
        reader.composer.warn_double_anchors = False  # legal YAML: the later anchor holds
        node = reader.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        tree.faults.append(Fault(mark.line + 1 if mark else 0, (), _syntax(error)))
        return tree
    except YAMLError as error:
        tree.faults.append(Fault(0, (), f"this is not YAML text: {error}"))
        return tree
    except RecursionError:
        tree.faults.append(Fault(0, (), "the values are nested too deeply"))
        return tree
    if node is not None:
        tree.value = _Converter(tree).convert(node, ())
    return tree


def _syntax(error: MarkedYAMLError) -> str:
    problem = error.problem or "it cannot be read"
    if "\\t" in problem or "'\t'" in problem:
        return "a tab is used for indentation; YAML takes spaces only"
    if "another document" in problem:
        return "a second document begins here (---); the settings are one document"
    return f"this is not valid YAML: {problem}"


class _TooLarge(Exception):
    """Ends the walk; never leaves this file."""


class _Converter:
    """Turns nodes into values; the counters bound the work."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._values = 0

    def convert(self, node: Node, path: KeyPath) -> Any:
        """Return the document's value, or None where it grows past all bounds."""
        try:
            return self._value(node, path)
        except _TooLarge as error:
            self._fault(node, (), str(error))
            return None

    def _fault(self, node: Node, path: KeyPath, message: str) -> None:
        self._tree.faults.append(Fault(node.start_mark.line + 1, path, message))

    def _value(self, node: Node, path: KeyPath) -> Any:
        self._values += 1
        if self._values > _MAX_VALUES:
            raise _TooLarge(f"the aliases expand to more than {_MAX_VALUES} values")
        if len(path) > _MAX_DEPTH:
            raise _TooLarge("the values are nested too deeply")
        self._tree.lines.setdefault(path, node.start_mark.line + 1)
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
            case _:
                return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._fault(key_node, path, "a key must be plain text")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key_node.tag == f"{_TAG}merge":
                self._fault(key_node, here, "merge keys are not supported; write the keys out")
            elif key in result:
                first = self._tree.lines[here]
                self._fault(key_node, here, f"the key is there twice; the first is in line {first}")
            else:
                self._tree.lines[here] = key_node.start_mark.line + 1
                result[key] = self._value(value_node, here)
        return result

    def _scalar(self, node: Node, path: KeyPath) -> Any:
        text = str(node.value)
        match str(node.tag).removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return _number(text, int)
            case "float":
                return _number(text, float)
            case "str" | "timestamp":
                return text
            case _:
                self._fault(node, path, "tags (!) are not supported")
                return None


def _number(text: str, kind: type[int] | type[float]) -> int | float | str:
    """Return the number, or the text where YAML's idea of a number is not ours (``1_000``, .inf)."""
    if not text.isascii() or "_" in text:
        return text
    try:
        return int(text, 0) if kind is int else float(text)
    except ValueError:
        return text
