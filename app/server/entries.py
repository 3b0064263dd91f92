"""The inference routes of all dialects, by path."""

from __future__ import annotations

from collections.abc import Mapping

from app.canonical.parts import DialectName
from app.dialects import COMPLETIONS
from app.dialects.base import Dialect
from app.server.inference import Entry
from app.server.passing import passing_entries

__all__ = ["exact_entries", "pattern_entries"]

_PATHS = (
    "/v1/chat/completions",
    "/chat/completions",
    "/v1/responses",
    "/responses",
    "/v1/responses/input_tokens",
    "/v1/messages",
    "/v1/messages/count_tokens",
)


def exact_entries(dialects: Mapping[DialectName, Dialect]) -> dict[str, Entry]:
    """Return what serves the paths without a variable part."""
    entries: dict[str, Entry] = {}
    for path in _PATHS:
        for dialect in dialects.values():
            for route in dialect.routes:
                if route.method == "POST" and route.pattern.fullmatch(path):
                    entries.setdefault(path, Entry(dialect, route))
    for route in COMPLETIONS.routes:
        for path in ("/v1/completions", "/completions"):
            entries[path] = Entry(COMPLETIONS, route, COMPLETIONS)
    return {**entries, **passing_entries(dialects)}


def pattern_entries(dialects: Mapping[DialectName, Dialect]) -> tuple[Entry, ...]:
    """Return what serves all other paths, in the order of looking."""
    return tuple(
        Entry(dialect, route)
        for dialect in dialects.values()
        for route in dialect.routes
        if route.method == "POST"
    )
