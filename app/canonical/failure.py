"""How an attempt failed, as a value: failures inside a stream have no caller to raise to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from app.canonical.parts import Native
from app.errors import AppError, Retry, UpstreamError

__all__ = ["Failure", "FailureKind", "Scope", "cut_stream", "failure_of"]

FailureKind: TypeAlias = Literal[
    "invalid_request",
    "authentication",
    "payment",
    "permission",
    "not_found",
    "conflict",
    "too_large",
    "rate_limit",
    "quota",
    "context_full",
    "content_policy",
    "overloaded",
    "timeout",
    "unavailable",
    "server",
    "cancelled",
]
Scope: TypeAlias = Literal["request", "model", "account", "service"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call failed.

    Dialects decode a service's error body into this and encode it for their client.
    """

    status: int
    """HTTP status, as the service sent it or as it stands for what happened (529: overloaded)."""
    message: str
    """The service's own words where it had any."""
    kind: FailureKind
    code: str | None = None
    """The service's or our machine-readable code (``context_length_exceeded``)."""
    type: str | None = None
    """The service's error type (``rate_limit_error``, ``RESOURCE_EXHAUSTED``)."""
    param: str | None = None
    """Path of the offending field."""
    retry_after_s: float | None = None
    scope: Scope = "request"
    """What the failure speaks about: this request, this model on this account, the whole
    account, or the service as such."""
    retry: Retry = Retry.NEVER
    """Whether another account may succeed. ``NEVER`` for request faults and policy refusals."""
    final: bool = False
    """The provider said "not allowed": no retry, no other account, ever."""
    request_id: str | None = None
    hint: str = ""
    native: Native | None = None
    """The service's error object, for a client of the same dialect."""
    ours: bool = field(default=False, compare=False)
    """Whether the message is our own, so that our help has more to say about it."""

    @property
    def text(self) -> str:
        """Message and hint as people read them."""
        return f"{self.message} {self.hint}" if self.hint else self.message


_KIND_BY_STATUS: dict[int, FailureKind] = {
    400: "invalid_request",
    401: "authentication",
    402: "payment",
    403: "permission",
    404: "not_found",
    405: "invalid_request",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "invalid_request",
    422: "invalid_request",
    429: "rate_limit",
    499: "cancelled",
    503: "unavailable",
    504: "timeout",
    529: "overloaded",
}


def kind_of_status(status: int) -> FailureKind:
    """Return the kind that an HTTP status stands for when a body says no more."""
    kind = _KIND_BY_STATUS.get(status)
    if kind is None:
        kind = "invalid_request" if 400 <= status < 500 else "server"
    return kind


def failure_of(error: AppError) -> Failure:
    """Return our own error as a failure, ready for a dialect's envelope."""
    return Failure(
        status=error.status,
        message=error.message,
        kind=kind_of_status(error.status),
        code=error.code,
        param=error.param,
        retry_after_s=error.retry_after_s,
        scope="service" if isinstance(error, UpstreamError) else "request",
        retry=error.retry,
        hint=error.hint,
        ours=not error.passed_on,
    )


def cut_stream(detail: str = "") -> Failure:
    """Return the failure for a stream that ended before its terminal event."""
    return Failure(
        status=502,
        message="The upstream closed the stream before the answer was complete."
        + (f" {detail}" if detail else ""),
        kind="server",
        code="upstream_closed",
        scope="service",
        retry=Retry.NEXT_ACCOUNT,
        ours=True,
    )
