"""Entries as rows of the store: plain values, cut to a sane length, that any database takes."""

from __future__ import annotations

from typing import Any

import msgspec

from app.ledger.days import day_of, hour_of
from app.ledger.entry import AttemptEntry, Entry
from app.ledger.latency import bucket_of

__all__ = ["MAX_TEXT", "attempt_rows", "row_of"]

MAX_TEXT = 500
"""Characters kept of a name; clients may send any."""
_MAX_JSON = 16_384
_MOST_LOSSES = 100
_LARGEST = 2**63 - 1


def row_of(entry: Entry) -> dict[str, Any]:
    """Return the row of a request; see ``store.ledger``."""
    tokens = entry.tokens
    day = day_of(entry.at)
    counted = entry.duration_ms > 0 and not (entry.failed or entry.cached or entry.status >= 400)
    return {
        "id": _text(entry.id),
        "at": entry.at,
        "day": day,
        "month": day // 100,
        "hour": hour_of(entry.at),
        "client": _text(entry.client),
        "session": _text(entry.session),
        "key_id": _text(entry.key_id),
        "dialect": entry.dialect,
        "asked": _text(entry.asked),
        "model": _text(entry.model),
        "provider": _text(entry.provider),
        "account": _text(entry.account),
        "upstream": entry.upstream,
        "grade": entry.grade,
        "losses": _losses(entry.losses),
        "rule": _text(entry.rule),
        "reason": _text(entry.reason),
        "status": entry.status,
        "stop": _text(entry.stop),
        "error": _text(entry.error),
        "input": None if tokens is None else _count(tokens.input),
        "cache_read": None if tokens is None else _count(tokens.cache_read),
        "cache_write": None if tokens is None else _count(tokens.cache_write),
        "cache_write_1h": None if tokens is None else _count(tokens.cache_write_1h),
        "output": None if tokens is None else _count(tokens.output),
        "reasoning": None if tokens is None else _count(tokens.reasoning),
        "cost": _count(entry.cost),
        "worth": entry.worth,
        "first_ms": _count(entry.first_ms),
        "duration_ms": _count(entry.duration_ms),
        "stream": entry.stream,
        "cached": entry.cached,
        "attempts": len(entry.attempts),
        "trace": _clean(entry.trace) if len(entry.trace) <= _MAX_JSON else "",
        "first_bucket": None
        if not counted or entry.first_ms is None
        else bucket_of(entry.first_ms),
        "whole_bucket": bucket_of(entry.duration_ms) if counted else None,
    }


def attempt_rows(entry: Entry) -> list[dict[str, Any]]:
    """Return the rows of a request's attempts, numbered from 1."""
    name = _text(entry.id)
    return [_attempt(name, number, entry.at, one) for number, one in enumerate(entry.attempts, 1)]


def _attempt(name: str, number: int, at: float, one: AttemptEntry) -> dict[str, Any]:
    return {
        "request": name,
        "number": number,
        # That of the request: the two are removed together.
        "at": at,
        "provider": _text(one.provider),
        "account": _text(one.account),
        "model": _text(one.model),
        "dialect": one.dialect,
        "grade": one.grade,
        "losses": _losses(one.losses),
        "reason": _text(one.reason),
        "status": one.status,
        "error": _text(one.error),
        "first_ms": _count(one.first_ms),
        "duration_ms": _count(one.duration_ms),
    }


def _text(text: str) -> str:
    return _clean(text[:MAX_TEXT])


def _clean(text: str) -> str:
    """Return a text that every database takes: no NUL, no half of a surrogate pair."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _count(number: int | None) -> int | None:
    return None if number is None else max(0, min(number, _LARGEST))


def _losses(losses: tuple[tuple[str, str], ...]) -> str:
    if not losses:
        return "[]"
    cut = [(_text(path), _text(reason)) for path, reason in losses[:_MOST_LOSSES]]
    return msgspec.json.encode(cut).decode("utf-8")
