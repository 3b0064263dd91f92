"""The error tree, split by who must act.

::

    AppError
    ├─ RequestError          the client sent something invalid            4xx
    │   └─ TranslationError  content the target dialect cannot express    400
    ├─ AccessError           the caller may not do this                   401 / 403
    ├─ NoRouteError          no rule or account serves this model         404 / 503
    ├─ AccountError          sign in again, or wait                       401 / 429
    ├─ UpstreamError         the service failed or closed the stream      502 / 504
    ├─ ConfigError           the user's settings (file, key, reason)
    └─ BugError              ours                                         500

Every error carries ``status`` (the HTTP status a client sees), ``code`` (stable snake_case),
``message`` (what happened), ``hint`` (what a person can do, may be empty) and ``retry``.
Dialects render the envelope; tray, log and dashboard show the same message and hint.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = [
    "AccessError",
    "AccountError",
    "AppError",
    "BugError",
    "ConfigError",
    "ConfigProblem",
    "NoRouteError",
    "RequestError",
    "Retry",
    "TranslationError",
    "UpstreamError",
]


class Retry(Enum):
    """Whether another attempt can help, and where."""

    SAME_ACCOUNT = "same_account"
    NEXT_ACCOUNT = "next_account"
    NEVER = "never"


class AppError(Exception):
    """Base of every error that Dragoman raises on purpose.

    Attributes:
        status: HTTP status shown to a client.
        code: stable snake_case name of the kind of failure.
        message: what happened, one or two plain sentences, without secrets.
        hint: what a person can do about it; empty when there is nothing.
        retry: whether another attempt can help, and where.
        retry_after_s: seconds to wait before trying again, or None when unknown.
        param: path of the offending field (``messages[2].content``), or None.
        passed_on: whether the message is a service's own, which is told as it is.
    """

    status = 500
    code = "internal_error"
    retry = Retry.NEVER
    passed_on = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        code: str | None = None,
        retry: Retry | None = None,
        retry_after_s: float | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code
        if retry is not None:
            self.retry = retry
        self.retry_after_s = retry_after_s
        self.param = param

    @property
    def text(self) -> str:
        """Message and hint as one string, the form that people read."""
        return f"{self.message} {self.hint}" if self.hint else self.message


class RequestError(AppError):
    """The client sent something invalid; another account would refuse it, too."""

    status = 400
    code = "invalid_request"


class TranslationError(RequestError):
    """The request has content that the target dialect cannot express; ``param`` says where."""

    code = "unsupported_content"

    def __init__(self, message: str, path: str, *, hint: str = "") -> None:
        super().__init__(message, param=path, hint=hint)


class AccessError(AppError):
    """The caller may not make this call: key, origin, host or scope."""

    status = 401
    code = "access_denied"


class NoRouteError(AppError):
    """No rule or account serves the model (404), or none can right now (503)."""

    status = 404
    code = "model_not_found"


class AccountError(AppError):
    """An account cannot serve: its sign-in is bad, or its quota is spent."""

    status = 503
    code = "account_unavailable"
    retry = Retry.NEXT_ACCOUNT


class UpstreamError(AppError):
    """The service failed, could not be reached, or closed the stream (502), or was too slow (504)."""

    status = 502
    code = "upstream_error"
    retry = Retry.NEXT_ACCOUNT


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One fault in the user's settings.

    ``file`` and ``line`` (1-based, 0 when unknown) say where, ``key`` is the dotted path,
    ``message`` says what is wrong and what was expected.
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(AppError):
    """The user's settings are wrong; ``problems`` lists every fault at once."""

    code = "configuration_error"

    def __init__(self, problems: list[ConfigProblem] | tuple[ConfigProblem, ...]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class BugError(AppError):
    """A fault of ours; the log has the details."""
