"""OpenAI's error envelope, which Chat Completions and Responses share.

``{"error": {"message", "type", "param", "code"}}`` over HTTP; inside a stream the same object
stands in an ``error`` event, flat or nested, or in ``response.error``. Compatible servers write
``{"error": "text"}``, ``{"message": "text"}`` or ``{"detail": …}`` instead, and gateways in
front of them send HTML.

What a failure means is decided in this order: the words of the service's own codes, its text
where the codes are vague, then the HTTP status.

Source: https://platform.openai.com/docs/guides/error-codes; ``resets_at``, ``resets_in_seconds``,
``usage_limit_reached`` and ``server_is_overloaded`` as Codex CLI reads them (observed 2026-11).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from app.canonical.failure import Failure, FailureKind, Scope, kind_of_status
from app.canonical.parts import DialectName, Json, JsonObject, Native
from app.dialects.base import dump
from app.dialects.values import first_object
from app.errors import Retry, UpstreamError
from app.http import Headers, HttpReply, header

__all__ = [
    "decode_openai_failure",
    "encode_openai_failure",
    "error_of",
    "malformed_stream",
    "read_openai_error",
    "render_openai_error",
]

_MAX_WAIT_S = 7 * 86400 + 3600.0
_MAX_TEXT = 2000
"""Characters kept of a body that is no error object."""


class _Verdict(NamedTuple):
    kind: FailureKind
    scope: Scope
    retry: Retry
    status: int
    """HTTP status that this stands for where none came with it (streams)."""


_REQUEST = _Verdict("invalid_request", "request", Retry.NEVER, 400)
_CONTEXT = _Verdict("context_full", "request", Retry.NEVER, 400)
_POLICY = _Verdict("content_policy", "request", Retry.NEVER, 400)
_SIGN_IN = _Verdict("authentication", "account", Retry.NEXT_ACCOUNT, 401)
_QUOTA = _Verdict("quota", "account", Retry.NEXT_ACCOUNT, 429)
_PAYMENT = _Verdict("payment", "account", Retry.NEXT_ACCOUNT, 402)
_PERMISSION = _Verdict("permission", "account", Retry.NEXT_ACCOUNT, 403)
_RATE = _Verdict("rate_limit", "model", Retry.NEXT_ACCOUNT, 429)
_MODEL = _Verdict("not_found", "model", Retry.NEXT_ACCOUNT, 404)
_MISSING = _Verdict("not_found", "request", Retry.NEVER, 404)
_BUSY = _Verdict("overloaded", "service", Retry.NEXT_ACCOUNT, 503)
_MODEL_BUSY = _Verdict("overloaded", "model", Retry.NEXT_ACCOUNT, 503)
_SERVER = _Verdict("server", "service", Retry.NEXT_ACCOUNT, 500)
_TIMEOUT = _Verdict("timeout", "service", Retry.NEXT_ACCOUNT, 504)

_BY_WORD: dict[str, _Verdict] = {
    "context_length_exceeded": _CONTEXT,
    "context_too_large": _CONTEXT,
    "model_context_window_exceeded": _CONTEXT,
    "cyber_policy": _POLICY,
    "content_policy_violation": _POLICY,
    "content_filter": _POLICY,
    "moderation_blocked": _POLICY,
    "invalid_prompt": _POLICY,
    "bio_policy": _POLICY,
    "image_content_policy_violation": _POLICY,
    "usage_limit_reached": _QUOTA,
    "insufficient_quota": _QUOTA,
    "billing_hard_limit_reached": _QUOTA,
    "billing_not_active": _PAYMENT,
    "usage_not_included": _PAYMENT,
    "invalid_api_key": _SIGN_IN,
    "token_invalidated": _SIGN_IN,
    "token_expired": _SIGN_IN,
    "account_deactivated": _SIGN_IN,
    "authentication_error": _SIGN_IN,
    "invalid_authentication": _SIGN_IN,
    "invalid_grant": _SIGN_IN,
    "rate_limit_exceeded": _RATE,
    "rate_limit_error": _RATE,
    "too_many_requests": _RATE,
    "model_not_found": _MODEL,
    "model_not_supported": _MODEL,
    "unsupported_model": _MODEL,
    "previous_response_not_found": _MISSING,
    "server_is_overloaded": _BUSY,
    "slow_down": _BUSY,
    "overloaded_error": _BUSY,
    "service_unavailable_error": _BUSY,
    "vector_store_timeout": _TIMEOUT,
    "message_too_big": _Verdict("too_large", "request", Retry.NEVER, 413),
    "string_above_max_length": _REQUEST,
    "invalid_value": _REQUEST,
    "unsupported_value": _REQUEST,
    "invalid_encrypted_content": _REQUEST,
    "permission_error": _PERMISSION,
    "server_error": _SERVER,
}
_VAGUE: dict[str, _Verdict] = {
    # Types that stand on errors of many meanings: read after the text and after a status that
    # says more.
    "invalid_request_error": _REQUEST,
    "invalid_request": _REQUEST,
    "bad_request_error": _REQUEST,
}
_TELLING = (401, 402, 403, 404, 408, 409, 413, 429)
_CONTEXT_TEXT = re.compile(
    r"maximum context length|context[ _]length[ _]exceeded|exceeds the context window"
    r"|prompt is too long|exceed(?:s|ed)? (?:the )?(?:model'?s )?(?:maximum )?context"
    r"|input token count .{0,40}exceeds",
    re.IGNORECASE,
)
_MODEL_TEXT = re.compile(
    r"requested model is (?:not supported|unsupported|unavailable)|model is not supported"
    r"|model not supported|unsupported model|model unavailable|not available for your (?:plan|account)"
    r"|model .{0,120}(?:does not exist|not found)|unknown model|no such model",
    re.IGNORECASE | re.DOTALL,
)
_FINAL_TEXT = re.compile(
    r"only authorized for use with|violation of (?:the |our )?terms|account (?:has been |is )?"
    r"(?:disabled|suspended|banned|terminated)|organization has been disabled",
    re.IGNORECASE,
)
_CAPACITY_TEXT = re.compile(r"model is at capacity", re.IGNORECASE)
_KEY_TEXT = re.compile(r"api key not valid|invalid api key|incorrect api key", re.IGNORECASE)
_QUOTA_TEXT = re.compile(
    r"exceeded your current quota|usage limit|out of (?:extra )?(?:usage|credits)"
    r"|insufficient (?:quota|balance|credit)|credit balance is too low",
    re.IGNORECASE,
)
_WAIT_TEXT = re.compile(
    r"(?:after|in|wait)\s+((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|h|hours?|m|minutes?|s|seconds?)"
    r"\s*)+)",
    re.IGNORECASE,
)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|mil|h|m|s)", re.IGNORECASE)
_UNIT_S = {"ms": 0.001, "mil": 0.001, "h": 3600.0, "m": 60.0, "s": 1.0}


def decode_openai_failure(
    status: int, headers: Headers, body: bytes, dialect: DialectName = "openai_responses"
) -> Failure:
    """Read a service's error answer; never raises, whatever the body is.

    Args:
        status: HTTP status of the answer.
        headers: its header fields (``retry-after``, ``retry-after-ms``, ``date``,
            ``x-request-id`` and their kin are read).
        body: its body.
        dialect: stamped on ``Failure.native``, which is the service's error object.
    """
    error = _error_object(body)
    if error is None:
        error = {"message": _plain_text(status, headers, body)}
        return read_openai_error(error, status, headers=headers, dialect=dialect, known=False)
    return read_openai_error(error, status, headers=headers, dialect=dialect)


def read_openai_error(
    error: Mapping[str, Json],
    status: int | None = None,
    *,
    headers: Headers = (),
    now: float | None = None,
    dialect: DialectName = "openai_responses",
    known: bool = True,
) -> Failure:
    """Say what an error object means.

    Args:
        error: keys ``message``, ``type``, ``code``, ``param`` and, from Codex, ``resets_at``
            (epoch seconds) or ``resets_in_seconds``; any may be absent or of a wrong type.
        status: HTTP status; None inside a stream, where the codes decide it.
        headers: of the answer, or of a WebSocket error frame.
        now: epoch seconds, for ``resets_at``; the ``date`` header is used when it is None.
        dialect: stamped on ``Failure.native``.
        known: False when ``error`` was made up here and must not come back as native.
    """
    message = _string(error.get("message")) or "The service gave no reason."
    code = _string(error.get("code"))
    kind_word = _string(error.get("type"))
    status = status if status is not None else _status_in(error)
    verdict = _judge(status, code, kind_word, message, known)
    final = bool(_FINAL_TEXT.search(message)) and status not in (400, 404, 422, 429)
    if final:
        verdict = _PERMISSION._replace(retry=Retry.NEVER)
    if verdict.kind == "context_full":
        code = "context_length_exceeded"
    retry_after_s = None
    if verdict.retry is not Retry.NEVER:
        retry_after_s = _wait_s(error, headers, message, now)
    return Failure(
        status=status if status is not None else verdict.status,
        message=message,
        kind=verdict.kind,
        code=code,
        type=kind_word,
        param=_string(error.get("param")),
        retry_after_s=retry_after_s,
        scope=verdict.scope,
        retry=verdict.retry,
        final=final,
        request_id=request_id_of(headers),
        native=Native(dialect, dict(error)) if known else None,
    )


def request_id_of(headers: Headers) -> str | None:
    """Return the service's id of the request, from whichever header carries it."""
    for name in ("x-request-id", "request-id", "x-oai-request-id", "apim-request-id", "cf-ray"):
        value = header(headers, name)
        if value:
            return value
    return None


def _judge(
    status: int | None, code: str | None, kind_word: str | None, message: str, known: bool
) -> _Verdict:
    if _CAPACITY_TEXT.search(message):
        return _MODEL_BUSY
    for word in (code, kind_word):
        verdict = _BY_WORD.get(word.lower()) if word else None
        if verdict is not None:
            return verdict
    by_text = _judge_text(status, message)
    if by_text is not None:
        return by_text
    vague = _VAGUE.get((kind_word or code or "").lower())
    if vague is not None and status not in _TELLING:
        return vague
    return _judge_status(status, known)


def _judge_text(status: int | None, message: str) -> _Verdict | None:
    if status in (None, 400, 413, 422) and _CONTEXT_TEXT.search(message):
        return _CONTEXT
    if status in (400, 404, 422) and _MODEL_TEXT.search(message):
        return _MODEL
    if status in (400, 401, 403) and _KEY_TEXT.search(message):
        return _SIGN_IN
    if status in (400, 402, 403, 429) and _QUOTA_TEXT.search(message):
        return _QUOTA
    return None


_BY_STATUS: dict[int, _Verdict] = {
    401: _SIGN_IN,
    402: _PAYMENT,
    403: _PERMISSION,
    404: _MISSING,
    408: _TIMEOUT,
    429: _RATE,
    504: _TIMEOUT,
    529: _BUSY,
}


def _judge_status(status: int | None, known: bool) -> _Verdict:
    if status is None:
        return _SERVER
    if status == 404 and not known:
        # No error object: the address is wrong, not the request; another service may have it.
        return _Verdict("not_found", "service", Retry.NEXT_ACCOUNT, 404)
    verdict = _BY_STATUS.get(status)
    if verdict is not None:
        return verdict
    kind = kind_of_status(status)
    if 400 <= status < 500:
        return _Verdict(kind, "request", Retry.NEVER, status)
    return _Verdict(kind, "service", Retry.NEXT_ACCOUNT, status)


def _error_object(body: bytes) -> Mapping[str, Json] | None:
    value = first_object(body)
    if value is None:
        return None
    error = value.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str):
        return {**value, "message": _string(value.get("message")) or error}
    if isinstance(value.get("message"), str):
        return value
    detail = value.get("detail")
    if isinstance(detail, dict):
        return {"message": dump(detail).decode(), **detail}
    if isinstance(detail, str | list):
        return {"message": detail if isinstance(detail, str) else dump(detail).decode()}
    return None


def _plain_text(status: int, headers: Headers, body: bytes) -> str:
    text = body[: 4 * _MAX_TEXT].decode("utf-8", "replace").strip()[:_MAX_TEXT]
    kind = (header(headers, "content-type") or "").lower()
    if not text:
        return f"The service answered {status} without a reason."
    if "html" in kind or text[:200].lstrip().lower().startswith(("<!doctype", "<html", "<")):
        if "cloudflare" in text.lower() or "cf-ray" in text.lower():
            return f"The service answered {status} with a bot check instead of an answer."
        return f"The service answered {status} with a web page instead of an answer."
    return text


def _wait_s(
    error: Mapping[str, Json], headers: Headers, message: str, now: float | None
) -> float | None:
    """Return the seconds to wait, at least 1 and at most 7 days and 1 hour."""
    wait = _header_wait_s(headers)
    if wait is None:
        wait = _number(error.get("resets_in_seconds"))
    if wait is None:
        resets_at = _number(error.get("resets_at"))
        now = now if now is not None else _date_s(header(headers, "date"))
        if resets_at is not None and now is not None:
            wait = resets_at - now
    if wait is None:
        wait = _detail_wait_s(error)
    if wait is None:
        match = _WAIT_TEXT.search(message)
        wait = _span_s(match.group(1)) if match else None
    if wait is None or not math.isfinite(wait):
        return None
    return min(max(wait, 1.0), _MAX_WAIT_S)


def _header_wait_s(headers: Headers) -> float | None:
    milliseconds = _number(header(headers, "retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = header(headers, "retry-after")
    seconds = _number(value)
    if seconds is not None:
        return seconds
    until, now = _date_s(value), _date_s(header(headers, "date"))
    if until is not None and now is not None:
        return until - now
    waits = [
        _span_s(header(headers, f"x-ratelimit-reset-{what}") or "")
        for what in ("requests", "tokens")
        if header(headers, f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _detail_wait_s(error: Mapping[str, Json]) -> float | None:
    # Google's OpenAI-compatible endpoint keeps its RetryInfo.
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str):
            return _span_s(delay)
    return None


def _span_s(text: str) -> float | None:
    """Read ``1h2m3.5s`` or ``20 ms``."""
    found = _SPAN.findall(text)
    if not found:
        return None
    return sum(float(number) * _UNIT_S[unit.lower()] for number, unit in found)


def _date_s(value: str | None) -> float | None:
    if not value:
        return None
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _number(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _string(value: Json) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _status_in(error: Mapping[str, Json]) -> int | None:
    for key in ("status", "status_code", "code"):
        value = error.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
    return None


_TYPES: dict[FailureKind, str] = {
    "invalid_request": "invalid_request_error",
    "authentication": "authentication_error",
    "payment": "insufficient_quota",
    "permission": "permission_error",
    "not_found": "invalid_request_error",
    "conflict": "invalid_request_error",
    "too_large": "invalid_request_error",
    "rate_limit": "rate_limit_error",
    "quota": "insufficient_quota",
    "context_full": "invalid_request_error",
    "content_policy": "invalid_request_error",
    "overloaded": "service_unavailable_error",
    "timeout": "server_error",
    "unavailable": "service_unavailable_error",
    "server": "server_error",
    "cancelled": "server_error",
}
_CODES: dict[FailureKind, str] = {
    "authentication": "invalid_api_key",
    "rate_limit": "rate_limit_exceeded",
    "quota": "insufficient_quota",
    "payment": "insufficient_quota",
    "content_policy": "content_policy_violation",
    "server": "server_error",
}
_FIXED_CODES: dict[FailureKind, str] = {
    # Clients act upon these two words (Codex shows its own text for each).
    "context_full": "context_length_exceeded",
    "overloaded": "server_is_overloaded",
}
_LIMIT_REACHED = "usage_limit_reached"
"""A window that will reset. Codex stops at this type, and sits out any other wait (0.169)."""
_STATUS: dict[FailureKind, int] = {
    "invalid_request": 400,
    "authentication": 401,
    "payment": 402,
    "permission": 403,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "rate_limit": 429,
    "quota": 429,
    "context_full": 400,
    "content_policy": 400,
    "overloaded": 503,
    "timeout": 504,
    "unavailable": 503,
    "server": 502,
    "cancelled": 499,
}


def render_openai_error(failure: Failure) -> JsonObject:
    """Return the error object for a client: message, type, param, code.

    An error object that an OpenAI service sent itself comes back as it was, with its text
    completed by our hint, and its type made plain when it is a long wait.
    """
    waits = failure.kind == "quota" and failure.retry_after_s is not None
    native = failure.native
    if native is not None and native.dialect in ("openai_chat", "openai_responses"):
        error = dict(native.fields)
        if failure.hint or not isinstance(error.get("message"), str):
            error["message"] = failure.text
        if waits and error.get("type") != "insufficient_quota":
            error["type"] = _LIMIT_REACHED
        return error
    code = _FIXED_CODES.get(failure.kind) or failure.code or _CODES.get(failure.kind)
    kind_word = _LIMIT_REACHED if waits else _TYPES[failure.kind]
    return {
        "message": failure.text,
        "type": kind_word,
        "param": failure.param,
        "code": code,
    }


def encode_openai_failure(failure: Failure, request_id: str) -> HttpReply:
    """Return the error answer for a client: status, headers and envelope.

    529 is Anthropic's own status; OpenAI clients know 503 for the same.
    """
    status = 503 if failure.status == 529 else failure.status
    if not 400 <= status < 600:
        status = _STATUS[failure.kind]
    headers = [("content-type", "application/json"), ("x-request-id", request_id)]
    if failure.retry_after_s is not None:
        wait_ms = max(0, math.ceil(failure.retry_after_s * 1000))
        headers.append(("retry-after", str(math.ceil(wait_ms / 1000))))
        headers.append(("retry-after-ms", str(wait_ms)))
    return HttpReply(status, tuple(headers), dump({"error": render_openai_error(failure)}))


def error_of(failure: Failure) -> UpstreamError:
    """Return what a service reported in place of an answer as an error to raise."""
    error = UpstreamError(
        failure.message,
        status=failure.status,
        code=failure.code,
        retry=failure.retry,
        retry_after_s=failure.retry_after_s,
    )
    error.passed_on = True
    return error


def malformed_stream(message: str) -> Failure:
    """Return the failure for a stream that does not follow its dialect."""
    return Failure(
        status=502,
        message=message,
        kind="server",
        code="upstream_protocol",
        scope="service",
        retry=Retry.NEXT_ACCOUNT,
        ours=True,
    )
