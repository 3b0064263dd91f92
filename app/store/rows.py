"""Rows of the ledger as tuples, which go into prepared statements as they are.

The fields of ``RequestRow`` up to ``trace`` are the columns of ``requests`` in their order (the
database numbers ``seq`` itself), those of ``AttemptRow`` the columns of ``attempts``; ``tables``
says what they mean. This file knows nothing of the database, so that rows can be made before it is
open.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AttemptRow", "RequestRow"]


class RequestRow(NamedTuple):
    """One request, and the buckets of time and latency under which it is summed."""

    id: str
    at: float
    client: str
    session: str
    key_id: str
    dialect: str
    asked: str
    model: str
    provider: str
    account: str
    upstream: str
    grade: str
    losses: str
    rule: str
    reason: str
    status: int
    stop: str
    error: str
    input: int | None
    cache_read: int | None
    cache_write: int | None
    cache_write_1h: int | None
    output: int | None
    reasoning: int | None
    cost: int | None
    worth: bool
    first_ms: int | None
    duration_ms: int
    stream: bool
    cached: bool
    attempts: int
    trace: str
    hour: int
    """Since the epoch."""
    day: int
    month: int
    first_bucket: int | None
    """Of the latency to the first content; None: not counted."""
    whole_bucket: int | None
    """Of the latency of the whole; None: neither is counted."""


class AttemptRow(NamedTuple):
    """One attempt of a request."""

    request: str
    number: int
    at: float
    provider: str
    account: str
    model: str
    dialect: str
    grade: str
    losses: str
    reason: str
    status: int
    error: str
    first_ms: int | None
    duration_ms: int
