"""Google's error answers to failures and back.

Shape: ``{"error": {"code": 429, "message": "…", "status": "RESOURCE_EXHAUSTED", "details": […]}}``,
sometimes alone in a list. How long to wait stands, in this order, in the detail ``RetryInfo``, in
``ErrorInfo.metadata.quotaResetDelay``, in the headers, or in the words ("after 17s").

Source: https://cloud.google.com/apis/design/errors and
https://ai.google.dev/gemini-api/docs/troubleshooting (read November 2026).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from app.canonical.failure import Failure, FailureKind, Scope, kind_of_status
from app.canonical.parts import Json, JsonObject, Native
from app.dialects.base import dump
from app.dialects.gemini_parts import DIALECT
from app.dialects.values import first_object
from app.errors import Retry
from app.http import Headers, HttpReply, header

__all__ = ["decode_failure", "encode_failure", "error_object", "failure_of_error"]

_Verdict: TypeAlias = tuple[FailureKind, Scope, Retry]

_BY_KIND: dict[FailureKind, _Verdict] = {
    "invalid_request": ("invalid_request", "request", Retry.NEVER),
    "authentication": ("authentication", "account", Retry.NEXT_ACCOUNT),
    "payment": ("payment", "account", Retry.NEXT_ACCOUNT),
    "permission": ("permission", "account", Retry.NEXT_ACCOUNT),
    "not_found": ("not_found", "model", Retry.NEXT_ACCOUNT),
    "conflict": ("conflict", "request", Retry.NEVER),
    "too_large": ("too_large", "request", Retry.NEVER),
    "rate_limit": ("rate_limit", "model", Retry.NEXT_ACCOUNT),
    "quota": ("quota", "account", Retry.NEXT_ACCOUNT),
    "context_full": ("context_full", "request", Retry.NEVER),
    "content_policy": ("content_policy", "request", Retry.NEVER),
    "overloaded": ("overloaded", "service", Retry.NEXT_ACCOUNT),
    "timeout": ("timeout", "service", Retry.NEXT_ACCOUNT),
    "unavailable": ("unavailable", "service", Retry.NEXT_ACCOUNT),
    "server": ("server", "service", Retry.NEXT_ACCOUNT),
    "cancelled": ("cancelled", "request", Retry.NEVER),
}

_KEY = re.compile(r"api[ _]key (?:not (?:valid|found)|expired|was reported)|API_KEY_INVALID", re.I)
_CONTEXT = re.compile(
    r"input token count.{0,80}exceeds|exceeds the maximum number of (?:input )?tokens"
    r"|input context is too long|prompt is too long",
    re.I | re.S,
)
_MODEL = re.compile(
    r"model_not_supported|unsupported model|model unavailable|model (?:is )?not supported"
    r"|requested model is (?:not supported|unsupported|unavailable)"
    r"|not available for your (?:plan|account)",
    re.I,
)
_REGION = re.compile(r"user location is not supported", re.I)
_BILLING = re.compile(
    r"enable billing|billing (?:account|is not|has not)|credits are depleted", re.I
)
_FINAL = re.compile(
    r"only authorized for use with|violation of (?:the |our )?terms|terms of service violation"
    r"|(?:account|consumer|project|user)\b.{0,60}\b(?:disabled|suspended|banned)",
    re.I | re.S,
)
_STORED = re.compile(r"\bcached ?content|\bfiles?/|\bfile\b", re.I)
_AFTER = re.compile(r"(?:after|in) ((?:\d+(?:\.\d+)?(?:ms|h|m|s))+)\b", re.I)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_MAX_WORDS = 2000


def decode_failure(status: int, headers: Headers, body: bytes) -> Failure:
    """Read a service's error answer; never raises, whatever the body is."""
    error = _error_of(body)
    if error is None:
        words = _plain_words(body) or f"The service answered with status {status}."
        error = {"message": words}
        native = None
    else:
        native = Native(DIALECT, error)
    failure = failure_of_error(error, status)
    return replace(
        failure,
        retry_after_s=failure.retry_after_s
        if failure.retry_after_s is not None
        else _header_delay(headers) or _words_delay(failure.message),
        request_id=next(
            (v for name in _REQUEST_IDS if (v := header(headers, name)) is not None), None
        ),
        native=native,
    )


_REQUEST_IDS = ("x-request-id", "request-id", "x-goog-request-id", "x-cloud-trace-context")


def failure_of_error(error: JsonObject, status: int | None = None) -> Failure:
    """Read Google's error object.

    Args:
        error: what stands under ``error``.
        status: the HTTP status; None inside a stream, where ``code`` has it.
    """
    code = error.get("code")
    if status is None or status < 400:
        sound = isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600
        status = code if sound and isinstance(code, int) else 500
    word = error.get("status")
    word = word if isinstance(word, str) else None
    message = error.get("message")
    if not isinstance(message, str) or not message.strip():
        message = f"The service answered with status {status}."
    details = _details(error)
    reason = _reason(details)
    kind, scope, retry = _judge(status, word, message, reason, details)
    final = status in (400, 401, 403) and bool(
        _FINAL.search(message) or reason == "CONSUMER_SUSPENDED"
    )
    delay = _detail_delay(details)
    return Failure(
        status=status,
        message=message,
        kind="permission" if final else kind,
        code="context_length_exceeded" if kind == "context_full" else reason,
        type=word,
        param=_field(details),
        retry_after_s=delay if delay is not None else _words_delay(message),
        scope="account" if final else scope,
        retry=Retry.NEVER if final else retry,
        final=final,
        native=Native(DIALECT, error),
    )


def _judge(
    status: int, word: str | None, message: str, reason: str | None, details: list[JsonObject]
) -> _Verdict:
    if status in (400, 401, 403) and (reason == "API_KEY_INVALID" or _KEY.search(message)):
        return _BY_KIND["authentication"]
    if status in (400, 413, 422, 500) and _CONTEXT.search(message):
        return _BY_KIND["context_full"]
    if status in (400, 422):
        return _judge_refusal(message)
    if status == 404 and _STORED.search(message) and "model" not in message.lower():
        return "not_found", "request", Retry.NEVER
    if status == 429 or (status == 403 and reason == "RATE_LIMIT_EXCEEDED"):
        return _judge_quota(reason, details)
    if status == 503 and ("overloaded" in message.lower() or "capacity" in message.lower()):
        return _BY_KIND["overloaded"]
    if status == 500 and word == "UNAVAILABLE":
        return _BY_KIND["unavailable"]
    return _BY_KIND[kind_of_status(status)]


def _judge_refusal(message: str) -> _Verdict:
    if _MODEL.search(message):
        return _BY_KIND["not_found"]
    if _BILLING.search(message):
        return _BY_KIND["payment"]
    if _REGION.search(message):
        return _BY_KIND["permission"]
    return _BY_KIND["invalid_request"]


def _judge_quota(reason: str | None, details: list[JsonObject]) -> _Verdict:
    ids = [
        str(violation.get("quotaId", ""))
        for detail in details
        for violation in _objects(detail.get("violations"))
    ]
    daily = [name for name in ids if "PerDay" in name]
    if reason == "QUOTA_EXHAUSTED" or daily:
        of_model = bool(daily) and all("PerModel" in name for name in daily)
        return "quota", "model" if of_model else "account", Retry.NEXT_ACCOUNT
    return _BY_KIND["rate_limit"]


def _error_of(body: bytes) -> JsonObject | None:
    value = first_object(body)
    if value is None:
        return None
    inner = value.get("error", value)
    if isinstance(inner, str) and inner.strip():
        return {"message": inner}
    if isinstance(inner, dict) and ("message" in inner or "code" in inner or "status" in inner):
        return inner
    return None


def _plain_words(body: bytes) -> str:
    # Text that a person can read; pages and JSON of another make are not.
    text = body[:_MAX_WORDS].decode("utf-8", "replace").strip()
    return "" if not text or text[0] in "<{[" else text


def _objects(value: Json) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _details(error: Mapping[str, Json]) -> list[JsonObject]:
    return _objects(error.get("details"))


def _reason(details: list[JsonObject]) -> str | None:
    for detail in details:
        reason = detail.get("reason")
        if isinstance(reason, str) and reason:
            return reason
    return None


def _field(details: list[JsonObject]) -> str | None:
    for detail in details:
        for violation in _objects(detail.get("fieldViolations")):
            field = violation.get("field")
            if isinstance(field, str) and field:
                return field
    return None


def _detail_delay(details: list[JsonObject]) -> float | None:
    for detail in details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and (seconds := _seconds(delay)) is not None:
            return seconds
    for detail in details:
        metadata = detail.get("metadata")
        delay = metadata.get("quotaResetDelay") if isinstance(metadata, dict) else None
        if isinstance(delay, str) and (seconds := _seconds(delay)) is not None:
            return seconds
    return None


def _seconds(text: str) -> float | None:
    """Return a duration as Go writes it (``1.5s``, ``2h3m``) in seconds."""
    text = text.strip().lower()
    spans = _SPAN.findall(text)
    if not spans or "".join(a + b for a, b in spans) != text or len(text) > 40:
        return None
    return sum(float(amount) * _UNIT_S[unit] for amount, unit in spans)


def _words_delay(message: str) -> float | None:
    found = _AFTER.search(message)
    return _seconds(found[1]) if found else None


def _header_delay(headers: Headers) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = header(headers, name)
        if text is not None and re.fullmatch(r"\d{1,12}(?:\.\d{1,6})?", text.strip()):
            return float(text) * unit
    return None


_WORDS: dict[FailureKind, str] = {
    "invalid_request": "INVALID_ARGUMENT",
    "authentication": "UNAUTHENTICATED",
    "payment": "FAILED_PRECONDITION",
    "permission": "PERMISSION_DENIED",
    "not_found": "NOT_FOUND",
    "conflict": "ABORTED",
    "too_large": "INVALID_ARGUMENT",
    "rate_limit": "RESOURCE_EXHAUSTED",
    "quota": "RESOURCE_EXHAUSTED",
    "context_full": "INVALID_ARGUMENT",
    "content_policy": "INVALID_ARGUMENT",
    "overloaded": "UNAVAILABLE",
    "timeout": "DEADLINE_EXCEEDED",
    "unavailable": "UNAVAILABLE",
    "server": "INTERNAL",
    "cancelled": "CANCELLED",
}
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_REQUEST_INFO = "type.googleapis.com/google.rpc.RequestInfo"


def error_object(failure: Failure, request_id: str = "") -> JsonObject:
    """Return ``{"error": {…}}`` for a client, in an answer or inside a stream."""
    error: JsonObject = {
        "code": _status(failure),
        "message": failure.text,
        "status": _WORDS[failure.kind],
    }
    if failure.native is not None and failure.native.dialect == DIALECT:
        error.update(failure.native.fields)
        error["code"] = _status(failure)
        error["message"] = failure.text
    details: list[Json] = []
    known = error.get("details")
    if isinstance(known, list):
        details.extend(known)
    if failure.retry_after_s is not None and failure.retry_after_s >= 0:
        told = any(isinstance(d, dict) and "retryDelay" in d for d in details)
        if not told and failure.status in (429, 503, 529):
            delay = f"{failure.retry_after_s:.3f}".rstrip("0").rstrip(".")
            details.append({"@type": _RETRY_INFO, "retryDelay": f"{delay}s"})
    if request_id and failure.native is None:
        details.append({"@type": _REQUEST_INFO, "requestId": request_id})
    if details:
        error["details"] = details
    return {"error": error}


def _status(failure: Failure) -> int:
    if failure.status == 529:
        return 503  # Google's clients know no 529
    return failure.status if 400 <= failure.status < 600 else 500


def encode_failure(failure: Failure, request_id: str) -> HttpReply:
    """Return the whole error answer for a client."""
    headers: list[tuple[str, str]] = [("content-type", "application/json; charset=UTF-8")]
    if failure.retry_after_s is not None and failure.retry_after_s >= 0:
        headers.append(("retry-after", str(math.ceil(failure.retry_after_s))))
        headers.append(("retry-after-ms", str(math.ceil(failure.retry_after_s * 1000))))
    return HttpReply(_status(failure), tuple(headers), dump(error_object(failure, request_id)))
