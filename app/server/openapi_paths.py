"""The patterns of route tables as the path templates of OpenAPI (pure).

``/(?:v1/)?responses/(?P<name>[^/]+)`` stands for ``/v1/responses/{name}`` and
``/responses/{name}``. Read is the part of regular expressions that route tables use: plain
characters, escaped ones, groups, alternatives, ``?`` behind a group or a character, and classes and
repeats inside a named group. What a named group matches is a parameter, unless it is a choice of
plain words: then each word is a path of its own.
"""

from __future__ import annotations

import re
from itertools import product

__all__ = ["parameters_of", "path_templates"]

_PLAIN = re.compile(r"[A-Za-z0-9_/:%-]")
_WORDS = re.compile(r"[a-z0-9|-]+")
_NAMED = re.compile(r"\(\?P<(?P<name>[a-z_]+)>")
_PARAMETER = re.compile(r"\{([a-z_]+)\}")


def parameters_of(template: str) -> tuple[str, ...]:
    """Return the names of a template's parameters, in order."""
    return tuple(_PARAMETER.findall(template))


def path_templates(pattern: str) -> tuple[str, ...]:
    """Return the templates of all paths that a pattern matches; the longest form comes first.

    Args:
        pattern: a regular expression that is matched against a whole path.

    Raises:
        ValueError: it has what this does not read.
    """
    reader = _Reader(pattern.removeprefix("^").removesuffix("$"))
    found = reader.choice()
    if reader.rest:
        raise ValueError(f"{pattern!r} goes on where nothing is expected: {reader.rest!r}")
    return tuple(dict.fromkeys(found))


class _Reader:
    """Reads one pattern from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def rest(self) -> str:
        """Return what has not been read."""
        return self._text[self._at :]

    def choice(self) -> list[str]:
        """Read alternatives up to a closing bracket or the end."""
        found = self._sequence()
        while self.rest.startswith("|"):
            self._at += 1
            found += self._sequence()
        return found

    def _sequence(self) -> list[str]:
        found = [""]
        while self.rest and self.rest[0] not in "|)":
            item = self._item()
            if self.rest.startswith("?"):
                self._at += 1
                item = [*item, ""]
            found = [before + after for before, after in product(found, item)]
        return found

    def _item(self) -> list[str]:
        rest = self.rest
        if rest[0] == "\\" and len(rest) > 1 and not rest[1].isalnum():
            self._at += 2
            return [rest[1]]
        if named := _NAMED.match(rest):
            return self._parameter(named["name"], len(named[0]))
        for opening in ("(?:", "(?="):  # what is looked ahead for begins the parameter behind it
            if rest.startswith(opening):
                self._at += len(opening)
                found = self.choice()
                self._expect(")")
                return found
        if _PLAIN.match(rest):
            self._at += 1
            return [rest[0]]
        raise ValueError(f"{self._text!r} has what cannot be read: {rest!r}")

    def _parameter(self, name: str, opening: int) -> list[str]:
        begin = self._at + opening
        depth, at = 1, begin
        while depth and at < len(self._text):
            depth += {"(": 1, ")": -1}.get(self._text[at], 0)
            at += 1
        if depth:
            raise ValueError(f"{self._text!r} has a group that does not end")
        inner, self._at = self._text[begin : at - 1], at
        if "|" in inner and _WORDS.fullmatch(inner):
            return inner.split("|")
        return [f"{{{name}}}"]

    def _expect(self, character: str) -> None:
        if not self.rest.startswith(character):
            raise ValueError(f"{self._text!r} has no {character!r} where one is needed")
        self._at += 1
