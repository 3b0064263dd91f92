"""Failures within streams of the Responses dialect, in both directions."""

from __future__ import annotations

import msgspec

from app.canonical.failure import Failure
from app.canonical.parts import Json, JsonObject
from app.dialects.openai_errors import read_openai_error, render_openai_error
from app.dialects.openai_responses_values import NAME

__all__ = ["encode_stream_error", "event_failure", "failure_in"]


def encode_stream_error(failure: Failure) -> JsonObject:
    """Return ``response.error``; the codes are those on which Codex acts."""
    native = failure.native
    own = native is not None and native.dialect in (NAME, "openai_chat")
    error = render_openai_error(failure)
    code = error.get("code") if own else None
    kinds: dict[str, str] = {
        "context_full": "context_length_exceeded",
        "overloaded": "server_is_overloaded",
        "rate_limit": "rate_limit_exceeded",
        "quota": "insufficient_quota",
        "payment": "insufficient_quota",
        "invalid_request": "invalid_prompt",
        "content_policy": "invalid_prompt",
        "too_large": "invalid_prompt",
    }
    if not isinstance(code, str) or not code:
        code = kinds.get(failure.kind, "server_error")
    return {"code": code, "message": failure.text}


def event_failure(data: bytes, now: float | None = None) -> Failure | None:
    """Return the failure that a stream event reports, or None when it reports none.

    Args:
        data: the event's JSON: ``error`` (flat or nested), ``response.failed``, or a bare error
            object as some servers send it.
        now: epoch seconds, for a limit that names the time of its reset.
    """
    try:
        event = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    kind = event.get("type")
    if not isinstance(kind, str) and event.get("error") is None:
        return None
    return failure_in(event, kind if isinstance(kind, str) else "error", now)


def failure_in(event: JsonObject, kind: str, now: float | None) -> Failure:
    """Return the failure that an event of this type reports; ``now`` as in ``event_failure``."""
    response = event.get("response")
    error: Json = response.get("error") if isinstance(response, dict) else None
    error = error or event.get("error")
    if isinstance(error, str):
        error = {"message": error}
    elif not isinstance(error, dict):
        flat = {k: v for k, v in event.items() if k not in ("type", "sequence_number", "response")}
        error = flat if kind == "error" else {"message": "The service failed without a reason."}
    status = event.get("status", event.get("status_code"))
    if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status < 600:
        status = None
    fields = event.get("headers")
    headers = fields.items() if isinstance(fields, dict) else ()
    return read_openai_error(
        error,
        status,
        headers=tuple((k, v) for k, v in headers if isinstance(v, str)),
        now=now,
    )
