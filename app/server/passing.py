"""Which routes are passed on as they are, as entries of the inference routes."""

from __future__ import annotations

from collections.abc import Mapping

from app.canonical.parts import DialectName
from app.dialects.base import Dialect
from app.gateway.passthrough import EXTRA_PATHS
from app.server.inference import Entry

__all__ = ["passing_entries"]


def passing_entries(dialects: Mapping[DialectName, Dialect]) -> dict[str, Entry]:
    """Return path to entry for embeddings, images and compaction, with and without ``/v1``."""
    entries: dict[str, Entry] = {}
    for path, extra in EXTRA_PATHS.items():
        dialect = dialects["openai_responses" if extra == "compact" else "openai_chat"]
        entry = Entry(dialect, dialect.routes[0], extra=extra)
        entries[path] = entries[path.removeprefix("/v1")] = entry
    return entries
