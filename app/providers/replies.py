"""Reading what services answer to calls of sign-in, renewal and quota.

These answers are small JSON objects with more fields than anyone documents, so each field is read
by name and type, and what is absent or of another type counts as not told.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app.errors import UpstreamError
from app.http import HttpReply
from app.providers.moment import read_moment, read_number

__all__ = [
    "next_day",
    "next_month",
    "number_in",
    "object_in",
    "read_object",
    "server_time",
    "text_in",
    "trouble_with",
    "wait_in",
    "words_in",
]

_MAX_WORDS = 300
"""Characters of a service's own words that are shown to people."""


def read_object(reply: HttpReply, who: str) -> dict[str, Any]:
    """Return the JSON object that a service answered.

    Raises:
        UpstreamError: the body is no JSON object (code ``upstream_protocol``).
    """
    try:
        value = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _no_object(who, reply.status) from error
    if not isinstance(value, dict):
        raise _no_object(who, reply.status)
    return value


def _no_object(who: str, status: int) -> UpstreamError:
    return UpstreamError(
        f"{who} answered {status} with something that cannot be read.",
        hint="Try again later; a proxy or a sign-in page of the network may stand in between.",
        code="upstream_protocol",
    )


def text_in(body: dict[str, Any], *names: str) -> str:
    """Return the first of some fields that is a text with something in it, else an empty text."""
    for name in names:
        value = body.get(name)
        if isinstance(value, str) and value.strip():
            return value
    return ""


def number_in(body: dict[str, Any], *names: str) -> float | None:
    """Return the first of some fields that is a finite number, else None; no text, no boolean."""
    for name in names:
        value = body.get(name)
        if not isinstance(value, str) and (number := read_number(value)) is not None:
            return number
    return None


def object_in(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a field that is an object, else an empty one."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def words_in(reply: HttpReply) -> str:
    """Return what a service says about a refusal, in one line; empty when it says nothing.

    Reads ``error_description``, ``message``, ``detail``, ``error`` (text or object) and Clerk's
    ``errors`` list. A web page instead of an answer is not repeated.
    """
    try:
        body = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = reply.body[: 4 * _MAX_WORDS].decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else _one_line(text)
    if not isinstance(body, dict):
        return ""
    listed = body.get("errors")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        body = {**body, **listed[0]}
    if isinstance(body.get("error"), dict):
        body = {**body, **body["error"]}
    names = ("error_description", "long_message", "message", "detail", "error", "code")
    return _one_line(text_in(body, *names))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MAX_WORDS]


def wait_in(reply: HttpReply) -> float | None:
    """Return the seconds that ``retry-after`` asks for, as number or date; None when it does not."""
    value = reply.header("retry-after")
    seconds = read_number(value)
    if seconds is None:
        until, now = read_moment(value), server_time(reply)
        if until is None or now is None:
            return None
        seconds = until - now
    return max(0.0, seconds)


def server_time(reply: HttpReply) -> float | None:
    """Return the service's own clock in epoch seconds, from the ``date`` field."""
    return read_moment(reply.header("date"))


def trouble_with(who: str, doing: str, reply: HttpReply) -> UpstreamError:
    """Return the error for an answer that is no refusal of the account but a failure.

    Args:
        who: the service.
        doing: what was asked of it, as in "could not *renew the sign-in*".
        reply: its answer; a stated wait travels on.
    """
    words = words_in(reply)
    busy = reply.status == 429
    return UpstreamError(
        f"{who} could not {doing}: it answered {reply.status}" + (f" ({words})." if words else "."),
        hint="It asks to be left alone for a while." if busy else "Try again later.",
        status=429 if busy else 502,
        code="rate_limited" if busy else "upstream_error",
        retry_after_s=wait_in(reply),
    )


def next_day(now: float) -> float:
    """Return the next midnight UTC in epoch seconds."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (day + timedelta(days=1)).timestamp()


def next_month(now: float) -> float:
    """Return the first midnight UTC of the next month in epoch seconds."""
    day = datetime.fromtimestamp(now, UTC)
    month = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return month.timestamp()
