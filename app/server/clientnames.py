"""Under which name a calling program is kept: the system's, else what it calls itself.

The system tells the program behind a connection of this machine, though not always in time for its
first request, and of another machine nothing. Then the first word of its ``User-Agent`` has to do,
without the version. Since anybody may write anything there, only so many different words are taken;
all further ones are ``other``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["ClientNames"]

_MOST: Final = 100
_PRODUCT: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,40}(?=/|\s|$)")


class ClientNames:
    """Names programs; remembers the words that it has taken."""

    def __init__(self, most: int = _MOST) -> None:
        """Take how many different words of user agents are kept apart."""
        self._most = most
        self._known: set[str] = set()

    def of(self, program: str | None, headers: Mapping[str, str]) -> str:
        """Return a program's name; empty when nothing tells it.

        Args:
            program: its name by the system, where that is known.
            headers: of the request; looked up without regard to case.
        """
        if program:
            return program
        if "User-Agent" not in headers:  # a failed look-up in Tornado's headers costs an exception
            return ""
        match = _PRODUCT.match(headers["User-Agent"])
        if match is None:
            return ""
        name = match[0].lower()
        if name == "mozilla":
            return "browser"
        if name not in self._known:
            if len(self._known) >= self._most:
                return "other"
            self._known.add(name)
        return name
