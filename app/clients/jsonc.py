"""JSON with comments and trailing commas, changed in place.

The text is read into nodes that know where they begin and end; an edit replaces or inserts only its
own characters and takes indentation, line ends and the habit of trailing commas from what stands
around it. Plain JSON is the same format without comments. Source: RFC 8259; comments and trailing
commas as Visual Studio Code reads its settings (code.visualstudio.com/docs/languages/json).
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from app.clients.change import Entry, NotEditable, Path, SyntaxFault, nested, render_place
from app.clients.textfile import newline_of

__all__ = ["JsonDocument", "refuse", "render_inline"]

_MAX_DEPTH: Final = 200

_TRIVIA = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*[\s\S]*?\*/)*")
_COMMENT = re.compile(r"//[^\r\n]*|/\*[\s\S]*?\*/")
_REST_OF_LINE = re.compile(r"[ \t]*(?:/\*[^\r\n]*?\*/[ \t]*)*(?://[^\r\n]*)?(?=\r?\n|\Z)")
"""What follows a value on its line and says something about it."""
_STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![\w.])")
_EXTRAS = re.compile(
    rf"{_STRING.pattern}|(?P<comments>{_COMMENT.pattern})"
    rf"|(?P<commas>,)(?={_TRIVIA.pattern}[}}\]])"
)
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_WORDS: Final = {"true": True, "false": False, "null": None}


_REFUSED: Final = {
    "comments": "the agent reads no comments in this file, and nothing of it while one is there",
    "commas": "the agent takes no comma after the last value, and reads nothing of a file with one",
}


def refuse(text: str, extras: Container[str]) -> None:
    """Check that a text has none of the additions to JSON that its reader does not take.

    Args:
        text: valid apart from that.
        extras: of ``comments`` and ``commas`` (after the last value), those that are refused.

    Raises:
        SyntaxFault: there is one; it says where.
    """
    for found in _EXTRAS.finditer(text):
        kind = found.lastgroup
        if kind is not None and kind in extras:
            raise SyntaxFault.at(text, found.start(), _REFUSED[kind])


@dataclass(slots=True)
class _Node:
    """A value; ``start`` and ``end`` are positions in the text, brackets included."""

    kind: Literal["object", "array", "scalar"]
    start: int
    end: int
    value: Any
    children: list[_Child] = field(default_factory=list)


@dataclass(slots=True)
class _Child:
    """A member of an object or an item of an array; ``key`` is empty for items."""

    key: str
    start: int
    node: _Node
    comma: int | None = None
    """Position of the comma that follows."""

    @property
    def end(self) -> int:
        """Where it ends, its comma included."""
        return self.node.end if self.comma is None else self.comma + 1


class _Reader:
    """Reads one document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def document(self) -> _Node | None:
        """Return the top value, or None where there are only space and comments."""
        self._skip()
        if self._at == len(self._text):
            return None
        node = self._value(0)
        self._skip()
        if self._at != len(self._text):
            raise self._fault("something follows after the end of the document")
        return node

    def _fault(self, message: str, at: int | None = None) -> SyntaxFault:
        return SyntaxFault.at(self._text, self._at if at is None else at, message)

    def _skip(self) -> None:
        match = _TRIVIA.match(self._text, self._at)
        self._at = match.end() if match else self._at
        if self._text.startswith("/*", self._at):
            raise self._fault("a comment is not closed")

    def _value(self, depth: int) -> _Node:
        if depth > _MAX_DEPTH:
            raise self._fault("the values are nested too deeply")
        match self._text[self._at : self._at + 1]:
            case "{":
                return self._container("object", "}", depth)
            case "[":
                return self._container("array", "]", depth)
            case '"':
                start, value = self._at, self._string()
                return _Node("scalar", start, self._at, value)
            case _:
                return self._bare()

    def _bare(self) -> _Node:
        start = self._at
        if number := _NUMBER.match(self._text, start):
            self._at = number.end()
            whole = number[1] is None and number[2] is None
            return _Node("scalar", start, self._at, int(number[0]) if whole else float(number[0]))
        word = _WORD.match(self._text, start)
        if word and word[0] in _WORDS:
            self._at = word.end()
            return _Node("scalar", start, self._at, _WORDS[word[0]])
        found = f", not {word[0]}" if word else ""
        raise self._fault(f"expected a value{found}")

    def _string(self) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            raise self._fault("a text in quotation marks is not closed on its line")
        try:
            value = msgspec.json.decode(match[0].encode(), type=str)
        except (msgspec.DecodeError, UnicodeEncodeError):
            raise self._fault("this text has an escape that JSON does not know") from None
        self._at = match.end()
        return value

    def _container(self, kind: Literal["object", "array"], close: str, depth: int) -> _Node:
        node = _Node(kind, self._at, 0, {} if kind == "object" else [])
        self._at += 1
        while True:
            self._skip()
            if self._text.startswith(close, self._at):
                self._at += 1
                node.end = self._at
                return node
            if node.children and node.children[-1].comma is None:
                raise self._missing(close, node)
            node.children.append(self._child(node, depth))
            self._skip()
            if self._text.startswith(",", self._at):
                node.children[-1].comma = self._at
                self._at += 1

    def _missing(self, close: str, node: _Node) -> SyntaxFault:
        if self._at >= len(self._text):
            line = self._text.count("\n", 0, node.start) + 1
            return self._fault(f"the {self._text[node.start]} of line {line} is not closed")
        return self._fault(f"expected a comma or {close}")

    def _child(self, parent: _Node, depth: int) -> _Child:
        start = self._at
        if parent.kind == "array":
            if start >= len(self._text):
                raise self._missing("]", parent)
            node = self._value(depth + 1)
            parent.value.append(node.value)
            return _Child("", start, node)
        if not self._text.startswith('"', start):
            if start >= len(self._text):
                raise self._missing("}", parent)
            raise self._fault("expected a key in double quotation marks")
        key = self._string()
        self._skip()
        if not self._text.startswith(":", self._at):
            raise self._fault(f'expected a colon after "{key}"')
        self._at += 1
        self._skip()
        node = self._value(depth + 1)
        parent.value[key] = node.value
        return _Child(key, start, node)


class JsonDocument:
    """One text and what it holds; an edit returns a new document."""

    def __init__(self, text: str) -> None:
        """Read a text; it may be empty.

        Raises:
            SyntaxFault: it is not JSON, comments and trailing commas allowed.
        """
        self.text = text
        self._root = _Reader(text).document()
        self._newline = newline_of(text)
        self._unit = _indent_unit(text, self._root)

    @property
    def value(self) -> Any:
        """The document as plain values; None where it is empty."""
        return None if self._root is None else self._root.value

    def put(self, path: Path, value: Any) -> JsonDocument:
        """Return the document with a value at a place; of equal keys the last one counts.

        Raises:
            NotEditable: something on the way is no container of the needed kind.
        """
        if self._root is None:
            rendered = self._render(nested(path, value), "")
            if self.text and not self.text.endswith("\n"):
                return JsonDocument(self.text + self._newline + rendered)
            return JsonDocument(self.text + rendered + self._newline)
        node, depth = self._root, 0
        while depth < len(path):
            child = self._find(node, path, depth)
            if child is None:
                return JsonDocument(self._inserted(node, path[depth:], value))
            node, depth = child.node, depth + 1
        rendered = self._render(value, self._indent_at(node.start))
        return JsonDocument(self.text[: node.start] + rendered + self.text[node.end :])

    def drop(self, path: Path) -> JsonDocument:
        """Return the document without what stands at a place, its line and its comma."""
        parent, child = None, None
        node = self._root
        for depth in range(len(path)):
            child = None if node is None else self._find(node, path, depth)
            if child is None:
                return self
            parent, node = node, child.node
        if parent is None or child is None:
            return self
        return JsonDocument(self._without(parent, parent.children.index(child)))

    # Places

    def _find(self, node: _Node, path: Path, depth: int) -> _Child | None:
        step = path[depth]
        wanted = "array" if isinstance(step, Entry) else "object"
        if node.kind != wanted:
            what = "a list" if wanted == "array" else "an object"
            place = render_place(path[:depth]) or "the document"
            raise NotEditable(f"{place} is not {what}.")
        for child in reversed(node.children):
            if not isinstance(step, Entry):
                if child.key == step:
                    return child
            elif _is_entry(child.node.value, step):
                return child
        return None

    def _indent_at(self, index: int) -> str:
        """Return the space that the line of a position begins with."""
        start = self.text.rfind("\n", 0, index) + 1
        line = self.text[start:index]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def _is_inline(self, node: _Node) -> bool:
        """Say whether a container's children stand on the line of its bracket."""
        if node.children:
            return "\n" not in self.text[node.start : node.children[0].start]
        return node is not self._root and "\n" not in self.text

    # Writing

    def _render(self, value: Any, indent: str) -> str:
        if self._root is not None and "\n" not in self.text.strip() and self._root.children:
            return render_inline(value)
        return _render(value, indent, self._unit, self._newline)

    def _inserted(self, node: _Node, path: Path, value: Any) -> str:
        step, rest = path[0], path[1:]
        if isinstance(step, Entry):
            key, value = "", nested(path, value)[0]
        else:
            key, value = f"{render_inline(step)}: ", nested(rest, value)
        if self._is_inline(node):
            return self._appended_inline(node, key + render_inline(value))
        if not node.children:
            return self._filled(node, key, value)
        indent = self._indent_at(node.children[0].start)
        member = f"{self._newline}{indent}{key}{self._render(value, indent)}"
        last = node.children[-1]
        more = self._rest_of_line(last.end)
        if last.comma is None:
            text = self.text
            return text[: last.end] + "," + text[last.end : more] + member + text[more:]
        return self.text[:more] + member + "," + self.text[more:]

    def _rest_of_line(self, index: int) -> int:
        """Return where the comments end that follow a position on its line."""
        match = _REST_OF_LINE.match(self.text, index)
        return match.end() if match else index

    def _appended_inline(self, node: _Node, member: str) -> str:
        if not node.children:
            inside = self.text[node.start + 1 : node.end - 1].rstrip()
            gap = " " if inside else ""
            head = self.text[: node.start + 1] + inside + gap
            return head + member + self.text[node.end - 1 :]
        last = node.children[-1]
        if last.comma is None:
            return self.text[: last.end] + ", " + member + self.text[last.end :]
        return self.text[: last.end] + " " + member + "," + self.text[last.end :]

    def _filled(self, node: _Node, key: str, value: Any) -> str:
        """Return the text with the first child of an empty container on a line of its own."""
        outer = self._indent_at(node.start)
        indent = outer + self._unit
        inside = self.text[node.start + 1 : node.end - 1].rstrip()
        if inside and not _COMMENT.search(inside):
            inside = ""
        member = f"{self._newline}{indent}{key}{self._render(value, indent)}"
        head = self.text[: node.start + 1] + inside + member
        return head + self._newline + outer + self.text[node.end - 1 :]

    def _without(self, parent: _Node, index: int) -> str:
        text, child = self.text, parent.children[index]
        start, end = self._line_span(child.start, child.end)
        alone = start != child.start
        if not alone and self._begins_line(child.start):
            end = len(text) - len(text[end:].lstrip(" \t"))  # a comment after it stays
        elif not alone and child.comma is None and index > 0:
            start = len(text[:start].rstrip(" \t"))
        elif not alone and index + 1 < len(parent.children):
            end = len(text) - len(text[end:].lstrip(" \t"))
        if child.comma is None and index > 0:
            comma = parent.children[index - 1].comma
            if comma is not None:
                text = text[:comma] + text[comma + 1 :]
                start, end = start - 1, end - 1
        text = text[:start] + text[end:]
        if len(parent.children) > 1:
            return text
        close = parent.end - 1 - (len(self.text) - len(text))
        if text[parent.start + 1 : close].strip() == "":
            text = text[: parent.start + 1] + text[close:]
        return text

    def _begins_line(self, index: int) -> bool:
        line = self.text.rfind("\n", 0, index) + 1
        return not self.text[line:index].strip(" \t")

    def _line_span(self, start: int, end: int) -> tuple[int, int]:
        """Widen a span to its lines where nothing else stands on them."""
        line = self.text.rfind("\n", 0, start) + 1
        after = re.compile(r"[ \t]*(\r?\n|\Z)").match(self.text, end)
        if self.text[line:start].strip(" \t") or after is None:
            return start, end
        return line, after.end()


def _is_entry(value: Any, entry: Entry) -> bool:
    return isinstance(value, dict) and bool(value.get(entry.field) == entry.value)


def _indent_unit(text: str, root: _Node | None) -> str:
    """Return the space by which the first child is indented; two blanks where none is."""
    if root is not None and root.children:
        first = root.children[0].start
        line = text.rfind("\n", 0, first) + 1
        space = text[line:first]
        if space and not space.strip(" \t") and line > root.start:
            return space
    return "  "


def _render(value: Any, indent: str, unit: str, newline: str) -> str:
    """Return a value as JSON over several lines; lists of single values stay on one."""
    inner = indent + unit
    if isinstance(value, dict) and value:
        members = [
            f"{inner}{render_inline(key)}: {_render(item, inner, unit, newline)}"
            for key, item in value.items()
        ]
        return f"{{{newline}{f',{newline}'.join(members)}{newline}{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = [inner + _render(item, inner, unit, newline) for item in value]
        return f"[{newline}{f',{newline}'.join(items)}{newline}{indent}]"
    return render_inline(value)


def render_inline(value: Any) -> str:
    """Return a value as JSON on one line."""
    match value:
        case dict():
            members = (
                f"{render_inline(key)}: {render_inline(item)}" for key, item in value.items()
            )
            return f"{{{', '.join(members)}}}"
        case list():
            return f"[{', '.join(map(render_inline, value))}]"
        case _:
            return msgspec.json.encode(value).decode()
