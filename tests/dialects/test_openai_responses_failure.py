"""Failures inside the streams of a Responses service."""

import pytest

from app.errors import Retry
from tests.dialects.responses import (
    CREATED,
    DIALECT,
    decode_stream,
    frames_of,
    sse,
)


@pytest.mark.parametrize(
    ("event", "kind", "retry"),
    [
        (
            {"type": "error", "error": {"code": "server_is_overloaded", "message": "m"}},
            "overloaded",
            Retry.NEXT_ACCOUNT,
        ),
        (
            {"type": "error", "code": "rate_limit_exceeded", "message": "try again in 1.5s"},
            "rate_limit",
            Retry.NEXT_ACCOUNT,
        ),
        (
            {"type": "error", "status": 429, "error": {"type": "usage_limit_reached"}},
            "quota",
            Retry.NEXT_ACCOUNT,
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "context_length_exceeded"}}},
            "context_full",
            Retry.NEVER,
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "insufficient_quota"}}},
            "quota",
            Retry.NEXT_ACCOUNT,
        ),
        ({"type": "response.failed", "response": {}}, "server", Retry.NEXT_ACCOUNT),
        ({"error": {"message": "bad", "code": 429}}, "rate_limit", Retry.NEXT_ACCOUNT),
        (
            {"type": "response.completed", "response": {"status": "failed", "error": {}}},
            "server",
            Retry.NEXT_ACCOUNT,
        ),
    ],
)
def test_failures_inside_a_stream(event, kind, retry):
    events = decode_stream(sse(CREATED, event))
    failure = events[-1].failure
    assert (failure.kind, failure.retry) == (kind, retry)
    (frame,) = frames_of(sse(event))
    sight = DIALECT.inspect(frame)
    assert sight.failure is not None
    assert sight.failure.kind == kind


def test_quota_in_a_stream_says_when_it_ends():
    error = {"type": "usage_limit_reached", "message": "m", "resets_at": 160}
    events = decode_stream(sse(CREATED, {"type": "response.failed", "response": {"error": error}}))
    assert events[-1].failure.retry_after_s == 60
    error = {"type": "usage_limit_reached", "message": "m", "resets_in_seconds": 30}
    events = decode_stream(sse(CREATED, {"type": "error", "error": error}))
    assert events[-1].failure.retry_after_s == 30
