"""Entries and stores for tests."""

from app.canonical.usage import Usage
from app.errors import AppError
from app.ledger.entry import AttemptEntry, Entry

NOON = 1_795_262_400.0
"""2026-11-21 12:00 UTC."""


def attempt(**changes):
    fields = {
        "at": NOON,
        "provider": "claude",
        "account": "claude/one",
        "model": "claude-sonnet-4-5",
        "dialect": "anthropic",
        "grade": "verbatim",
        "status": 200,
        "first_ms": 300,
        "duration_ms": 2_000,
    }
    return AttemptEntry(**fields | changes)


def entry(name="req_1", **changes):
    fields = {
        "id": name,
        "at": NOON,
        "client": "codex",
        "key_id": "",
        "dialect": "openai_chat",
        "asked": "sonnet",
        "model": "claude-sonnet-4-5",
        "provider": "claude",
        "account": "claude/one",
        "upstream": "anthropic",
        "grade": "translated",
        "status": 200,
        "stop": "end",
        "tokens": Usage(100, 50, 10, 20, 5, 4),
        "cost": 1_000,
        "first_ms": 350,
        "duration_ms": 2_100,
        "stream": True,
        "attempts": (attempt(),),
    }
    return Entry(**fields | changes)


class Shelf:
    """A store in memory that fails as it is told: ``faults`` are raised by the next calls."""

    def __init__(self, *faults):
        self.faults = list(faults)
        self.rows = []
        self.tries = []
        self.batches = []
        self.set_aside_at = []
        self.called = None
        """Called at the begin of each ``add``."""

    def add(self, rows, tries, *, again=False):
        if self.called is not None:
            self.called()
        self.batches.append((len(rows), again))
        if self.faults:
            fault = self.faults.pop(0)
            if fault is not None:
                raise fault
        for row in rows:
            if row.id.startswith("poison"):
                raise OverflowError("too large")
        known = {row.id for row in self.rows}
        new = [row for row in rows if row.id not in known]
        self.rows += new
        self.tries += [one for one in tries if one.request not in known]
        return len(new)

    def set_aside(self, now):
        self.set_aside_at.append(now)


def fault(code="store_locked", message="database is locked."):
    return AppError(message, code=code, status=503)
