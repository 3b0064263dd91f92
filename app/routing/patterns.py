"""Patterns of names as the settings write them: exact, glob, or a regular expression."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

__all__ = ["Pattern", "compile_pattern", "containing", "covers"]

_LONGEST_SUBJECT = 2_048
"""Names and header values come from callers; what a user's expression has to search is bounded."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern; equal texts make equal patterns."""

    text: str
    """As written: ``gpt-5``, ``claude-*``, ``/^gpt-[45]/``."""
    ignore_case: bool = False
    _regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        flags = re.IGNORECASE if self.ignore_case else 0
        if self.is_regex:
            source = self.text[1:-1]
        else:
            source = _glob_source(self.text, one_letter=".")
            flags |= re.DOTALL
        object.__setattr__(self, "_regex", re.compile(source, flags))

    @property
    def is_regex(self) -> bool:
        """Whether it is a regular expression, which is searched for rather than matched whole."""
        return len(self.text) > 2 and self.text.startswith("/") and self.text.endswith("/")

    @property
    def is_exact(self) -> bool:
        """Whether it means one name only."""
        return not self.is_regex and "*" not in self.text and "?" not in self.text

    def matches(self, name: str) -> bool:
        """Say whether a name is meant; of a very long one only the beginning is looked at."""
        name = name[:_LONGEST_SUBJECT]
        if self.is_regex:
            return self._regex.search(name) is not None
        return self._regex.fullmatch(name) is not None


def _glob_source(text: str, one_letter: str) -> str:
    """Return a glob as a regular expression that never looks back further than one star."""
    first, *rest = (
        "".join(one_letter if letter == "?" else re.escape(letter) for letter in piece)
        for piece in re.split(r"\*+", text)
    )
    if not rest:
        return first
    # The first place where a piece fits leaves most room for the next: no other need be tried.
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1])
    return f"{first}{middle}.*{rest[-1]}"


@lru_cache(maxsize=1_024)
def compile_pattern(text: str, *, ignore_case: bool = False) -> Pattern:
    """Return a pattern; the settings have checked that it is one.

    Raises:
        re.error: a regular expression that is none.
    """
    return Pattern(text, ignore_case)


def containing(text: str) -> str:
    """Return the pattern of all names that contain a text."""
    if "*" in text or "?" in text:
        return f"/{re.escape(text)}/"
    return f"*{text}*" if text else "*"


def covers(wide: Pattern, narrow: Pattern) -> bool:
    """Say whether everything that ``narrow`` means is surely meant by ``wide``, too.

    False also where that cannot be decided: regular expressions cover only themselves and single
    names.
    """
    if wide.ignore_case != narrow.ignore_case:
        return False
    if wide.text == narrow.text or wide.text.strip("*") == "" != wide.text:
        return True
    if narrow.is_regex:
        return False
    if narrow.is_exact:
        return wide.matches(narrow.text)
    if wide.is_regex:
        return False
    # The narrow glob is read as a text: only a star of the wide one may stand for its star.
    flags = re.DOTALL | (re.IGNORECASE if wide.ignore_case else 0)
    source = _glob_source(wide.text, one_letter="[^*]")
    return re.fullmatch(source, narrow.text, flags) is not None
