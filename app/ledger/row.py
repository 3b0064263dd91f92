"""Entries as rows of the store: plain values, cut to a sane length, that any database takes."""

from __future__ import annotations

import msgspec

from app.ledger.days import day_of, hour_of
from app.ledger.entry import AttemptEntry, Entry
from app.ledger.latency import bucket_of
from app.store.rows import AttemptRow, RequestRow

__all__ = ["MAX_TEXT", "attempt_rows", "row_of"]

MAX_TEXT = 500
"""Characters kept of a name; clients may send any."""
_MAX_JSON = 16_384
_MOST_LOSSES = 100
_LARGEST = 2**63 - 1


def row_of(entry: Entry) -> RequestRow:
    """Return the row of a request."""
    tokens = entry.tokens
    at, first_ms = entry.at, entry.first_ms
    day = day_of(at)
    first_bucket = whole_bucket = None
    if entry.duration_ms > 0 and not (entry.failed or entry.cached or entry.status >= 400):
        whole_bucket = bucket_of(entry.duration_ms)
        if first_ms is not None:
            first_bucket = bucket_of(first_ms)
    return RequestRow(
        _text(entry.id),
        at,
        _text(entry.client),
        _text(entry.session),
        _text(entry.key_id),
        entry.dialect,
        _text(entry.asked),
        _text(entry.model),
        _text(entry.provider),
        _text(entry.account),
        entry.upstream,
        entry.grade,
        _losses(entry.losses),
        _text(entry.rule),
        _text(entry.reason),
        entry.status,
        _text(entry.stop),
        _text(entry.error),
        None if tokens is None else _known(tokens.input),
        None if tokens is None else _known(tokens.cache_read),
        None if tokens is None else _known(tokens.cache_write),
        None if tokens is None else _known(tokens.cache_write_1h),
        None if tokens is None else _known(tokens.output),
        None if tokens is None else _known(tokens.reasoning),
        _known(entry.cost),
        entry.worth,
        _known(first_ms),
        _count(entry.duration_ms),
        entry.stream,
        entry.cached,
        len(entry.attempts),
        _clean(entry.trace) if len(entry.trace) <= _MAX_JSON else "",
        hour_of(at),
        day,
        day // 100,
        first_bucket,
        whole_bucket,
    )


def attempt_rows(entry: Entry) -> list[AttemptRow]:
    """Return the rows of a request's attempts, numbered from 1."""
    name = _text(entry.id)
    return [_attempt(name, number, entry.at, one) for number, one in enumerate(entry.attempts, 1)]


def _attempt(name: str, number: int, at: float, one: AttemptEntry) -> AttemptRow:
    return AttemptRow(
        name,
        number,
        at,  # that of the request: the two are removed together
        _text(one.provider),
        _text(one.account),
        _text(one.model),
        one.dialect,
        one.grade,
        _losses(one.losses),
        _text(one.reason),
        one.status,
        _text(one.error),
        _known(one.first_ms),
        _count(one.duration_ms),
    )


def _text(text: str) -> str:
    return _clean(text[:MAX_TEXT]) if text else text


def _clean(text: str) -> str:
    """Return a text that every database takes: no NUL, no half of a surrogate pair."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _known(number: int | None) -> int | None:
    return None if number is None else _count(number)


def _count(number: int) -> int:
    return number if 0 <= number <= _LARGEST else 0 if number < 0 else _LARGEST


def _losses(losses: tuple[tuple[str, str], ...]) -> str:
    if not losses:
        return "[]"
    cut = [(_text(path), _text(reason)) for path, reason in losses[:_MOST_LOSSES]]
    return msgspec.json.encode(cut).decode("utf-8")
