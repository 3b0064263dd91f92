"""Failures of Anthropic's dialect: what a refusal means, and how a client is told.

Errors look like ``{"type": "error", "error": {"type", "message"}, "request_id"}``, over HTTP and
as the ``error`` event of a stream that began with 200. What a failure means is decided by the text
where the service gives one status to different things (its limits, plans and full contexts come as
400 and 429), then by ``error.type``, then by the HTTP status.

Sources: https://platform.claude.com/docs/en/api/errors, the error types of the official Python
SDK 2.12, and the texts that CLIProxyAPI 7.2 tells apart (read 2026-11).
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from app.canonical.failure import Failure, FailureKind, Scope, kind_of_status
from app.canonical.parts import Json, JsonObject, Native
from app.dialects.anthropic_values import NAME, parse_object
from app.dialects.base import dump
from app.errors import Retry
from app.http import Headers, HttpReply, header

__all__ = ["decode_failure", "encode_failure", "error_object", "failure_in_stream"]


class _Verdict(NamedTuple):
    kind: FailureKind
    scope: Scope
    retry: Retry
    status: int
    """HTTP status that this stands for where none came with it (streams)."""
    code: str | None = None
    final: bool = False


_BAD_REQUEST = _Verdict("invalid_request", "request", Retry.NEVER, 400)
_SERVER = _Verdict("server", "service", Retry.NEXT_ACCOUNT, 500)
_BY_TYPE: dict[str, _Verdict] = {
    "invalid_request_error": _BAD_REQUEST,
    "authentication_error": _Verdict("authentication", "account", Retry.NEXT_ACCOUNT, 401),
    "billing_error": _Verdict("payment", "account", Retry.NEXT_ACCOUNT, 402),
    "permission_error": _Verdict("permission", "account", Retry.NEXT_ACCOUNT, 403),
    "not_found_error": _Verdict("not_found", "request", Retry.NEVER, 404),
    "conflict_error": _Verdict("conflict", "request", Retry.NEVER, 409),
    "request_too_large": _Verdict("too_large", "request", Retry.NEVER, 413),
    "rate_limit_error": _Verdict("rate_limit", "model", Retry.NEXT_ACCOUNT, 429),
    "api_error": _SERVER,
    "timeout_error": _Verdict("timeout", "service", Retry.NEXT_ACCOUNT, 504),
    "overloaded_error": _Verdict("overloaded", "service", Retry.NEXT_ACCOUNT, 529),
}
_BY_KIND: dict[FailureKind, _Verdict] = {verdict.kind: verdict for verdict in _BY_TYPE.values()}

_CONTEXT = _Verdict("context_full", "request", Retry.NEVER, 400, "context_length_exceeded")
_NO_MODEL = _Verdict("not_found", "model", Retry.NEXT_ACCOUNT, 404, "model_not_found")
_FORBIDDEN = _Verdict("permission", "account", Retry.NEVER, 403, "not_allowed", final=True)
_BY_TEXT: tuple[tuple[re.Pattern[str], _Verdict], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), verdict)
    for pattern, verdict in (
        (r"prompt is too long|exceeds? (the )?(model'?s )?context (limit|window)", _CONTEXT),
        (
            r"only authorized for use with|violation of .{0,40}terms of service"
            r"|(account|organization) (has been|was|is) (disabled|suspended|banned)",
            _FORBIDDEN,
        ),
        (
            r"blocked by content filtering",
            _Verdict("content_policy", "request", Retry.NEVER, 400, "content_policy"),
        ),
        # Not a limit that passes: this request asks for more than the plan holds.
        (
            r"extra usage is required for long context|fast.{0,80}usage credits",
            _Verdict("quota", "request", Retry.NEVER, 429, "not_in_plan"),
        ),
        (
            r"third-party apps now draw from your extra usage",
            _Verdict("permission", "account", Retry.NEXT_ACCOUNT, 400, "extra_usage_only"),
        ),
        (
            r"out of extra usage",
            _Verdict("quota", "account", Retry.NEXT_ACCOUNT, 400, "extra_usage_spent"),
        ),
        (
            r"credit balance is too low|spend(ing)? limit",
            _Verdict("payment", "account", Retry.NEXT_ACCOUNT, 402, "credit_spent"),
        ),
        (
            r"model_not_supported|requested model is (un|not )|(un|not )supported model"
            r"|^model (is )?(not supported|unavailable)|model:? .{0,80} (is )?not (found|supported)"
            r"|model:? .{0,80} does not exist|not available for your (plan|account)",
            _NO_MODEL,
        ),
    )
)
_TEXT_STATUSES = frozenset((0, 400, 402, 403, 404, 413, 422, 429))
"""Where the text may overrule; 0: inside a stream. A 500 stays the service's fault."""
_MAX_WAIT_S = 7 * 86400 + 3600.0
_MAX_TEXT = 2000


def decode_failure(status: int, headers: Headers, body: bytes) -> Failure:
    """Read a service's error answer; see ``Dialect.decode_failure``."""
    parsed = parse_object(body)
    if parsed is None:
        return _failure_without_json(status, headers, body)
    return _failure(status, headers, parsed)


def failure_in_stream(body: JsonObject) -> Failure:
    """Return the failure that an ``error`` event reports."""
    return _failure(0, (), body)


def _failure(status: int, headers: Headers, body: JsonObject) -> Failure:
    """Read an error body; ``status`` is 0 inside a stream."""
    error = body.get("error")
    words: JsonObject = error if isinstance(error, dict) else {}
    message = _first_text(
        words.get("message"), error, body.get("message"), body.get("detail"), words.get("type")
    )
    word = words.get("type")
    kind = word if isinstance(word, str) else None
    if not message:
        message = _sentence(status)
    verdict = _judge(status, kind, message, headers)
    code = words.get("code")
    request_id = _first_text(body.get("request_id"))
    return Failure(
        status=status or verdict.status,
        message=message,
        kind=verdict.kind,
        code=verdict.code or (code if isinstance(code, str) else None),
        type=kind,
        retry_after_s=_wait_s(headers, message, verdict),
        scope=verdict.scope,
        retry=verdict.retry,
        final=verdict.final,
        request_id=request_id or _request_id(headers),
        native=Native(NAME, words) if kind is not None else None,
    )


def _judge(status: int, kind: str | None, message: str, headers: Headers) -> _Verdict:
    if status in _TEXT_STATUSES:
        for pattern, verdict in _BY_TEXT:
            if pattern.search(message):
                return verdict
    by_type = _BY_TYPE.get(kind or "")
    if status == 0:
        return by_type or _SERVER
    if status == 404:
        # Anthropic's text is "model: claude-x"; a path that a compatible server lacks has no type.
        if "model" in message.lower():
            return _NO_MODEL
        return by_type or _Verdict("not_found", "service", Retry.NEXT_ACCOUNT, 404)
    if status == 429:
        return _rejected_window(headers)
    if status == 403 and re.search(r"\bscopes?\b", message, re.IGNORECASE):
        # A set-up token without the scope of this call still serves for inference.
        return _Verdict("permission", "request", Retry.NEVER, 403, "missing_scope")
    if status < 500 and status not in (401, 402, 403, 408):
        by_status = _BY_KIND.get(kind_of_status(status), _BAD_REQUEST)
        return by_type if status == 400 and by_type is not None else by_status
    if status == 500 and by_type is not None and by_type.scope == "service":
        return by_type  # overloaded_error was seen with other statuses than 529
    return _by_status(status)


def _by_status(status: int) -> _Verdict:
    kind = kind_of_status(status)
    if status >= 500 or kind == "timeout":
        return _Verdict(kind, "service", Retry.NEXT_ACCOUNT, status)
    return _BY_KIND.get(kind, _BAD_REQUEST)


def _rejected_window(headers: Headers) -> _Verdict:
    """Return whether a subscription's window is used up, and for which models."""

    def rejected(window: str) -> bool:
        return header(headers, f"anthropic-ratelimit-unified{window}-status") == "rejected"

    if rejected("-5h") or rejected("-7d") or (rejected("") and not rejected("-7d_oi")):
        return _Verdict("quota", "account", Retry.NEXT_ACCOUNT, 429, "usage_limit_reached")
    if rejected("-7d_oi"):  # a separate week for the largest models
        return _Verdict("quota", "model", Retry.NEXT_ACCOUNT, 429, "usage_limit_reached")
    return _BY_TYPE["rate_limit_error"]


def _failure_without_json(status: int, headers: Headers, body: bytes) -> Failure:
    text = body[: 4 * _MAX_TEXT].decode("utf-8", "replace").strip()
    looks_html = text[:1] == "<" or "text/html" in (header(headers, "content-type") or "")
    challenged = "cloudflare" in text.lower() or "challenge-platform" in text
    if looks_html or not text:
        text = _sentence(status)
    verdict = _judge(status, None, text, headers)
    if looks_html and challenged and status in (403, 429, 503):
        # A bot check in front of the service, no word about the account.
        verdict = _Verdict("unavailable", "service", Retry.NEXT_ACCOUNT, status, "bot_check")
        text = f"A bot check stands in front of the service (HTTP {status})."
    return Failure(
        status=status,
        message=text[:_MAX_TEXT],
        kind=verdict.kind,
        code=verdict.code,
        retry_after_s=10.0 if verdict.code == "bot_check" else _wait_s(headers, text, verdict),
        scope=verdict.scope,
        retry=verdict.retry,
        final=verdict.final,
        request_id=_request_id(headers),
    )


def _sentence(status: int) -> str:
    return (
        f"The upstream answered {status} without saying why."
        if status
        else "The upstream reported an error without saying which."
    )


def _first_text(*candidates: Json) -> str:
    return next((text for text in candidates if isinstance(text, str) and text), "")


def _request_id(headers: Headers) -> str | None:
    for name in ("request-id", "x-request-id", "cf-ray"):
        if (value := header(headers, name)) is not None:
            return value
    return None


_AFTER = re.compile(
    r"(?:after|in) (?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)\s?s)?", re.IGNORECASE
)


def _wait_s(headers: Headers, message: str, verdict: _Verdict) -> float | None:
    """Return the seconds to wait, from the headers first, then from the text."""
    waits = [
        _seconds(header(headers, "retry-after-ms"), 0.001),
        _seconds(header(headers, "retry-after"), 1.0, headers),
    ]
    if verdict.kind == "quota":
        # Resets are moments; the answer's own date tells how far off they are.
        waits.append(_latest_reset(headers))
    if verdict.kind in ("rate_limit", "quota", "overloaded"):
        for match in _AFTER.finditer(message):
            hours, minutes, seconds = match.groups()
            if hours or minutes or seconds:
                waits.append(int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0))
                break
    wait = next((wait for wait in waits if wait is not None), None)
    return None if wait is None else min(wait, _MAX_WAIT_S)


def _seconds(value: str | None, unit_s: float, headers: Headers = ()) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value) * unit_s
    except ValueError:
        until, now = _moment(value), _moment(header(headers, "date"))
        return None if until is None or now is None else max(until - now, 1.0)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _moment(value: str | None) -> float | None:
    """Return epoch seconds from a number, an ISO time or an HTTP date."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        pass
    else:
        return number if math.isfinite(number) else None
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(value).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def _latest_reset(headers: Headers) -> float | None:
    now = _moment(header(headers, "date"))
    if now is None:
        return None
    resets = [
        moment
        for window in ("", "-5h", "-7d", "-7d_oi")
        if header(headers, f"anthropic-ratelimit-unified{window}-status") == "rejected"
        and (moment := _moment(header(headers, f"anthropic-ratelimit-unified{window}-reset")))
    ]
    return max(max(resets) - now, 1.0) if resets else None


_TYPES: dict[FailureKind, str] = {
    "invalid_request": "invalid_request_error",
    "authentication": "authentication_error",
    "payment": "billing_error",
    "permission": "permission_error",
    "not_found": "not_found_error",
    "conflict": "invalid_request_error",
    "too_large": "request_too_large",
    "rate_limit": "rate_limit_error",
    "quota": "rate_limit_error",
    "context_full": "invalid_request_error",
    "content_policy": "invalid_request_error",
    "overloaded": "overloaded_error",
    "timeout": "timeout_error",
    "unavailable": "api_error",
    "server": "api_error",
    "cancelled": "api_error",
}
_STATUSES: dict[FailureKind, int] = {
    "context_full": 400,
    "content_policy": 400,
    "quota": 429,
    "unavailable": 503,
    "server": 502,
    "cancelled": 499,
}


def encode_failure(failure: Failure, request_id: str) -> HttpReply:
    """Return the whole error answer; see ``Dialect.encode_failure``."""
    envelope: JsonObject = {
        "type": "error",
        "error": error_object(failure),
        "request_id": request_id,
    }
    headers = [("content-type", "application/json"), ("request-id", request_id)]
    if failure.retry_after_s is not None:
        wait_s = max(failure.retry_after_s, 0.0)
        headers.append(("retry-after", str(math.ceil(wait_s))))
        headers.append(("retry-after-ms", str(math.ceil(wait_s * 1000))))
    return HttpReply(_status(failure), tuple(headers), dump(envelope))


def _status(failure: Failure) -> int:
    if 400 <= failure.status < 600:
        return failure.status
    if failure.kind in _STATUSES:
        return _STATUSES[failure.kind]
    verdict = _BY_KIND.get(failure.kind)
    return 502 if verdict is None else verdict.status


def error_object(failure: Failure) -> JsonObject:
    """Return the ``error`` of an error answer or event."""
    if failure.native is not None and failure.native.dialect == NAME:
        return dict(failure.native.fields)
    message = failure.text
    if failure.kind == "context_full":
        message = _context_message(message)
    elif failure.kind == "payment":
        # Claude Code answers this word with "Please run /login", whatever the status (2.1.330).
        message = _KEY_HEADER.sub("API key", message)
    return {"type": _TYPES[failure.kind], "message": message}


_KEY_HEADER = re.compile("x-api-key", re.IGNORECASE)

_LIMIT = re.compile(
    r"(?:maximum(?: context length| number of tokens allowed)?|limit)\D{0,24}(\d[\d,]*)",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"(?:resulted in|requested|token count|input length)\D{0,24}(\d[\d,]*)", re.IGNORECASE
)


def _context_message(message: str) -> str:
    """Return the words by which Claude Code knows a full context (observed 2026-11).

    It looks for ``prompt is too long: N tokens > M maximum`` and then compacts. N and M are read
    from the texts of OpenAI ("maximum context length is M tokens. However, you requested N") and
    Gemini ("The input token count (N) exceeds the maximum number of tokens allowed (M)").
    """
    if message.startswith("prompt is too long"):
        return message
    limit, asked = _LIMIT.search(message), _ASKED.search(message)
    if limit is not None and asked is not None:
        most, count = (int(found[1].replace(",", "")) for found in (limit, asked))
        if count > most:
            return f"prompt is too long: {count} tokens > {most} maximum. {message}"
    return f"prompt is too long: {message}"
