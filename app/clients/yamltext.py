"""YAML changed in place: nodes say where values stand, and only their characters are replaced.

The library's own writer would lay out the whole file anew (indentation of lists, long lines,
quotation marks), so it is used for reading only. An anchor that several places share, a document
in flow form with comments and the like are refused rather than guessed at: ``formats.changed``
compares what the result holds. Source: yaml.org/spec/1.2.2.
"""

from __future__ import annotations

import re
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from app.clients.change import (
    Entry,
    NotEditable,
    Path,
    SyntaxFault,
    dropped,
    get,
    nested,
    placed,
    render_place,
)
from app.clients.jsonc import render_inline
from app.clients.textfile import newline_of

__all__ = ["YamlDocument"]

_TAG: Final = "tag:yaml.org,2002:"
_MAX_VALUES: Final = 200_000
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_AMBIGUOUS: Final = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"))
"""Words that some reader of YAML 1.1 or 1.2 takes for something other than text."""


class YamlDocument:
    """One text and what it holds; an edit returns a new document."""

    def __init__(self, text: str) -> None:
        """Read a text of one document; it may be empty.

        Raises:
            SyntaxFault: it is not YAML, or holds several documents.
        """
        self.text = text
        self._newline = newline_of(text)
        try:
            reader = YAML(typ="safe", pure=True)
            reader.composer.warn_double_anchors = False  # legal: the later anchor holds
            self._root: Node | None = reader.compose(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            raise SyntaxFault(error.problem or "it cannot be read", *place) from error
        except (YAMLError, RecursionError) as error:
            raise SyntaxFault(f"this is not YAML: {error}") from error
        self.value: Any = None if self._root is None else _Values().of(self._root)
        """The document as plain values; None where it is empty."""

    def put(self, path: Path, value: Any) -> YamlDocument:
        """Return the document with a value at a place.

        Raises:
            NotEditable: something on the way is no container of the needed kind.
        """
        wanted = placed(self.value, path, value)  # refuses what is in the way
        if self._root is None:
            return self._appended(nested(path, value))
        node = self._root
        for depth in range(len(path)):
            if _is_flow(node):
                return self._flow_replaced(node, path[:depth], wanted)
            if _is_empty(node):
                return self._null_filled(node, path[:depth], nested(path[depth:], value))
            child = _find(node, path[depth])
            if child is None:
                return self._inserted(node, path[depth:], value)
            node = child
        return self._replaced(node, path, value)

    def drop(self, path: Path) -> YamlDocument:
        """Return the document without what stands at a place.

        Raises:
            NotEditable: its lines hold something else, too.
        """
        parent, node = None, self._root
        for depth in range(len(path)):
            if node is None:
                return self
            if depth and _is_flow(node):
                return self._flow_replaced(node, path[:depth], dropped(self.value, path))
            parent, node = node, _find(node, path[depth])
        if parent is None or node is None:
            return self
        if _is_flow(parent):
            return self._flow_replaced(parent, (), dropped(self.value, path))
        start, least = _start_of(parent, node, path[-1])
        line = self.text.rfind("\n", 0, start) + 1
        lead = self.text[line:start]
        if lead.strip(" ") and not (isinstance(path[-1], Entry) and lead.strip() == "-"):
            raise NotEditable(f"{render_place(path)} shares its line with something else.")
        end = self._line_after(self._content_end(node, least))
        return YamlDocument(self._joined(self.text[:line], self.text[end:]))

    # Positions

    def _content_end(self, node: Node, at_least: int = 0) -> int:
        """Return where a value's last character stands, comments after it left out."""
        if isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
            last = node.value[-1]
            if isinstance(last, tuple):
                return self._content_end(last[1], last[0].end_mark.index + 1)
            return self._content_end(last)
        end = int(node.end_mark.index)
        if end == node.start_mark.index and at_least:
            return at_least  # the mark of nothing can stand after comments that follow
        while end > at_least and self.text[end - 1] in " \t\r\n":
            end -= 1
        return max(end, at_least)

    def _line_end(self, index: int) -> int:
        """Return where the line of a position ends, its line end left out."""
        end = self.text.find("\n", index)
        end = len(self.text) if end < 0 else end
        return end - 1 if end > index and self.text[end - 1] == "\r" else end

    def _line_after(self, index: int) -> int:
        end = self.text.find("\n", index)
        return len(self.text) if end < 0 else end + 1

    # Edits

    def _joined(self, head: str, tail: str) -> str:
        """Put two parts together; a text without a last line end stays one."""
        if not tail and not self.text.endswith("\n"):
            return head.removesuffix("\n").removesuffix("\r")
        return head + tail

    def _appended(self, value: Any) -> YamlDocument:
        lines = self._newline.join(_block(value, ""))
        if self.text and not self.text.endswith("\n"):
            return YamlDocument(self.text + self._newline + lines)
        return YamlDocument(self.text + lines + self._newline)

    def _below(self, index: int, lines: list[str]) -> YamlDocument:
        """Return the document with lines after the line of a position."""
        end = self._line_end(index)
        added = "".join(self._newline + line for line in lines)
        return YamlDocument(self.text[:end] + added + self.text[end:])

    def _inserted(self, node: Node, path: Path, value: Any) -> YamlDocument:
        """Return the document with a new last child of a block."""
        column = " " * _column_of(node)
        return self._below(self._content_end(node), _block(nested(path, value), column))

    def _null_filled(self, node: Node, path: Path, value: Any) -> YamlDocument:
        """Return the document with a block in place of nothing: ``key:`` or ``key: []``."""
        if not path:
            start, end = node.start_mark.index, node.end_mark.index
            lines = self._newline.join(_block(value, ""))
            return YamlDocument(self.text[:start] + lines + self.text[end:])
        parent = self._root
        for step in path[:-1]:
            parent = None if parent is None else _find(parent, step)
        if parent is None:
            raise NotEditable(f"{render_place(path)} cannot be filled here.")
        start, _ = _start_of(parent, node, path[-1])
        indent = " " * (_column_of(parent) + 2)
        head = self.text[: node.start_mark.index].rstrip(" \t")
        document = YamlDocument(head + self.text[node.end_mark.index :])
        return document._below(start, _block(value, indent))

    def _replaced(self, node: Node, path: Path, value: Any) -> YamlDocument:
        if isinstance(value, dict | list) or not isinstance(node, ScalarNode):
            if _is_flow(node):
                return self._spliced(node, render_inline(value))
            wanted = MappingNode if isinstance(value, dict) else SequenceNode
            if isinstance(value, dict | list) and isinstance(node, wanted) and value:
                return self._block_replaced(node, value, " " * _column_of(node))
            return self.drop(path).put(path, value)
        return self._spliced(node, _scalar(value))

    def _block_replaced(self, node: Node, value: Any, column: str) -> YamlDocument:
        start, end = node.start_mark.index, self._content_end(node)
        lines = _block(value, column)
        text = self._newline.join(lines)[len(column) :]
        return YamlDocument(self.text[:start] + text + self.text[end:])

    def _spliced(self, node: Node, rendered: str) -> YamlDocument:
        start = node.start_mark.index
        end = max(self._content_end(node, start), start)
        gap = " " if start and self.text[start - 1] not in " \n[{,(" else ""
        return YamlDocument(self.text[:start] + gap + rendered + self.text[end:])

    def _flow_replaced(self, node: Node, path: Path, wanted: Any) -> YamlDocument:
        """Return the document with a value in flow form written anew."""
        start, end = node.start_mark.index, node.end_mark.index
        if re.search(r"(?:^|\s)#", self.text[start:end]) or "&" in self.text[start:end]:
            place = render_place(path) or "the document"
            raise NotEditable(f"{place} is in brackets and has comments or anchors in it.")
        value = get(wanted, path) if path else wanted
        return YamlDocument(self.text[:start] + render_inline(value) + self.text[end:])


class _Values:
    """Turns nodes into plain values; a count bounds what aliases can expand to."""

    def __init__(self) -> None:
        self._count = 0

    def of(self, node: Node) -> Any:
        self._count += 1
        if self._count > _MAX_VALUES:
            raise SyntaxFault("the aliases expand to too many values")
        match node:
            case MappingNode():
                return {self._key(key): self.of(value) for key, value in node.value}
            case SequenceNode():
                return [self.of(item) for item in node.value]
            case _:
                return _plain(str(node.tag), str(node.value))

    def _key(self, node: Node) -> str:
        return str(node.value) if isinstance(node, ScalarNode) else repr(self.of(node))


def _plain(tag: str, text: str) -> Any:
    match tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int" if re.fullmatch(r"[-+]?[0-9]+", text):
            return int(text)
        case "float" if re.fullmatch(r"[-+]?[0-9]+\.[0-9]+", text):
            return float(text)
        case "str":
            return text
        case _:
            return (tag, text)  # kept apart from text: only compared, never written


def _find(node: Node, step: str | Entry) -> Node | None:
    if isinstance(step, Entry):
        if isinstance(node, SequenceNode):
            for item in node.value:
                field = _find(item, step.field) if isinstance(item, MappingNode) else None
                if isinstance(field, ScalarNode) and field.value == step.value:
                    return item  # type: ignore[no-any-return]  # the library has no types
        return None
    found = None
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == step:
                found = value
    return found


def _start_of(parent: Node, child: Node, step: str | Entry) -> tuple[int, int]:
    """Return where a child begins, and where it ends at the least: with its key and colon."""
    if isinstance(parent, MappingNode):
        for key, value in parent.value:
            if value is child and key.value == step:
                return int(key.start_mark.index), int(key.end_mark.index) + 1
    return int(child.start_mark.index), int(child.start_mark.index)


def _column_of(node: Node) -> int:
    """Return the column of a block's keys or dashes."""
    if isinstance(node, MappingNode) and node.value:
        return int(node.value[0][0].start_mark.column)
    return int(node.start_mark.column)


def _is_flow(node: Node) -> bool:
    """Say whether a container is in brackets and not empty."""
    if not isinstance(node, MappingNode | SequenceNode):
        return False
    return bool(node.flow_style) and bool(node.value)


def _is_empty(node: Node) -> bool:
    if isinstance(node, ScalarNode):
        return bool(node.tag == f"{_TAG}null")
    return not node.value


def _block(value: Any, indent: str) -> list[str]:
    """Return the lines of a value in block form."""
    if isinstance(value, dict):
        lines = []
        for key, item in value.items():
            if isinstance(item, dict | list) and item:
                lines += [f"{indent}{_scalar(key)}:", *_block(item, indent + "  ")]
            else:
                lines.append(f"{indent}{_scalar(key)}: {_scalar(item)}")
        return lines
    if isinstance(value, list):
        lines = []
        for item in value:
            first, *rest = _block(item, indent + "  ")
            lines += [f"{indent}- {first[len(indent) + 2 :]}", *rest]
        return lines
    return [indent + _scalar(value)]


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _AMBIGUOUS:
        return value
    return render_inline(value)
