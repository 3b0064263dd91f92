"""Failures of Anthropic's dialect: told apart, and told on."""

import msgspec
import pytest
from anthropic.types.shared import ErrorResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from app.canonical.failure import Failure, cut_stream, failure_of
from app.canonical.parts import Native
from app.dialects.anthropic import ANTHROPIC
from app.dialects.base import dump
from app.errors import RequestError, Retry
from tests.dialects.test_anthropic import error


def fail(status, body=b"", headers=()):
    raw = body if isinstance(body, bytes) else dump(body)
    return ANTHROPIC.decode_failure(status, tuple(headers), raw)


def shown(failure, request_id="req_1"):
    reply = ANTHROPIC.encode_failure(failure, request_id)
    return reply, msgspec.json.decode(reply.body)


NEXT, NEVER = Retry.NEXT_ACCOUNT, Retry.NEVER


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "bad", ("invalid_request", "request", NEVER)),
        (401, "authentication_error", "expired", ("authentication", "account", NEXT)),
        (402, "billing_error", "pay", ("payment", "account", NEXT)),
        (403, "permission_error", "no", ("permission", "account", NEXT)),
        (403, "permission_error", "needs scope user:profile", ("permission", "request", NEVER)),
        (404, "not_found_error", "model: claude-x", ("not_found", "model", NEXT)),
        (404, "not_found_error", "file_1 is gone", ("not_found", "request", NEVER)),
        (409, "conflict_error", "busy", ("conflict", "request", NEVER)),
        (413, "request_too_large", "too large", ("too_large", "request", NEVER)),
        (422, "invalid_request_error", "bad", ("invalid_request", "request", NEVER)),
        (429, "rate_limit_error", "slow down", ("rate_limit", "model", NEXT)),
        (500, "api_error", "internal", ("server", "service", NEXT)),
        (500, "overloaded_error", "Overloaded", ("overloaded", "service", NEXT)),
        (502, None, "bad gateway", ("server", "service", NEXT)),
        (503, None, "down", ("unavailable", "service", NEXT)),
        (504, "timeout_error", "slow", ("timeout", "service", NEXT)),
        (408, None, "slow", ("timeout", "service", NEXT)),
        (529, "overloaded_error", "Overloaded", ("overloaded", "service", NEXT)),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            ("context_full", "request", NEVER),
        ),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
            ("context_full", "request", NEVER),
        ),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
            ("payment", "account", NEXT),
        ),
        (400, "invalid_request_error", "You're out of extra usage.", ("quota", "account", NEXT)),
        (
            400,
            "invalid_request_error",
            "Third-party apps now draw from your extra usage, not your plan limits.",
            ("permission", "account", NEXT),
        ),
        (
            429,
            "rate_limit_error",
            "Extra usage is required for long context requests.",
            ("quota", "request", NEVER),
        ),
        (
            400,
            "invalid_request_error",
            "Output blocked by content filtering policy",
            ("content_policy", "request", NEVER),
        ),
        (400, "invalid_request_error", "model m is not supported", ("not_found", "model", NEXT)),
    ],
)
def test_failures_are_told_apart(status, kind, message, expected):
    failure = fail(status, error(kind, message, request_id="req_9"))
    assert (failure.kind, failure.scope, failure.retry) == expected
    assert failure.message == message
    assert failure.status == status
    assert failure.request_id == "req_9"
    assert not failure.final


@pytest.mark.parametrize(
    "message",
    [
        "This credential is only authorized for use with Claude Code and cannot be used here.",
        "Your account was banned for violation of our Terms of Service.",
        "This organization has been disabled.",
    ],
)
def test_a_ban_is_final(message):
    failure = fail(403, error("permission_error", message))
    assert failure.final
    assert failure.retry is NEVER
    assert failure.message == message


def test_context_full_has_its_code():
    failure = fail(400, error("invalid_request_error", "prompt is too long: 2 tokens > 1 maximum"))
    assert failure.code == "context_length_exceeded"


DATE = ("date", "Sat, 21 Nov 2026 12:00:00 GMT")

NOON = 1795262400


@pytest.mark.parametrize(
    ("headers", "message", "wait", "kind", "scope"),
    [
        ([("Retry-After", "17")], "slow", 17, "rate_limit", "model"),
        ([("retry-after", "17"), ("retry-after-ms", "1500")], "slow", 1.5, "rate_limit", "model"),
        (
            [("retry-after", "Sat, 21 Nov 2026 12:01:00 GMT"), DATE],
            "slow",
            60,
            "rate_limit",
            "model",
        ),
        ([("retry-after", "soon")], "slow", None, "rate_limit", "model"),
        ([("retry-after", "9e99")], "slow", 608400, "rate_limit", "model"),
        ([("retry-after", "nan")], "slow", None, "rate_limit", "model"),
        ([], "Try again after 17s", 17, "rate_limit", "model"),
        ([], "quota resets after 1h2m3s.", 3723, "rate_limit", "model"),
        ([], "nothing about time", None, "rate_limit", "model"),
        (
            [
                ("anthropic-ratelimit-unified-status", "rejected"),
                ("anthropic-ratelimit-unified-5h-status", "rejected"),
                ("anthropic-ratelimit-unified-5h-reset", str(NOON + 120)),
                DATE,
            ],
            "limit",
            120,
            "quota",
            "account",
        ),
        (
            [
                ("anthropic-ratelimit-unified-status", "rejected"),
                ("anthropic-ratelimit-unified-7d_oi-status", "rejected"),
                ("anthropic-ratelimit-unified-7d_oi-reset", "2026-11-21T12:05:00Z"),
                DATE,
            ],
            "limit",
            300,
            "quota",
            "model",
        ),
        ([("anthropic-ratelimit-unified-status", "rejected")], "limit", None, "quota", "account"),
    ],
)
def test_limits_say_how_long(headers, message, wait, kind, scope):
    failure = fail(429, error("rate_limit_error", message), headers)
    assert failure.retry_after_s == (None if wait is None else pytest.approx(wait))
    assert (failure.kind, failure.scope) == (kind, scope)


def test_bodies_that_are_no_error_objects():
    html = fail(502, b"<html><body>Bad Gateway</body></html>", [("cf-ray", "abc")])
    assert "<" not in html.message
    assert html.request_id == "abc"
    assert fail(503).message == "The upstream answered 503 without saying why."
    assert fail(500, b"plain words").message == "plain words"
    assert fail(400, {"error": "as text"}).message == "as text"
    assert fail(400, {"detail": "as detail"}).message == "as detail"
    assert "400" in fail(400, {"x": 1}).message
    assert fail(404, {"detail": "Not Found"}).scope == "service"
    check = fail(403, b"<html>Cloudflare challenge</html>")
    assert (check.kind, check.scope, check.retry, check.retry_after_s) == (
        "unavailable",
        "service",
        NEXT,
        10,
    )


@settings(max_examples=100, deadline=None)
@given(
    status=st.integers(100, 999),
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["error", "type", "message", "code", "request_id"]), inner
                )
            ),
            max_leaves=8,
        ).map(lambda value: msgspec.json.encode(value)),
    ),
    wait=st.text(st.characters(codec="ascii"), max_size=12),
)
def test_no_error_body_is_too_odd(status, body, wait):
    failure = fail(status, body, [("retry-after", wait), ("date", wait)])
    assert failure.message
    assert "<html" not in failure.message
    reply, envelope = shown(failure)
    assert 400 <= reply.status < 600
    assert envelope["type"] == "error"


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (failure_of(RequestError("bad")), 400, "invalid_request_error"),
        (Failure(401, "m", "authentication"), 401, "authentication_error"),
        (Failure(402, "m", "payment"), 402, "billing_error"),
        (Failure(403, "m", "permission"), 403, "permission_error"),
        (Failure(404, "m", "not_found"), 404, "not_found_error"),
        (Failure(429, "m", "rate_limit"), 429, "rate_limit_error"),
        (Failure(429, "m", "quota"), 429, "rate_limit_error"),
        (Failure(529, "m", "overloaded"), 529, "overloaded_error"),
        (Failure(503, "m", "unavailable"), 503, "api_error"),
        (Failure(504, "m", "timeout"), 504, "timeout_error"),
        (cut_stream(), 502, "api_error"),
        (Failure(200, "m", "overloaded"), 529, "overloaded_error"),
        (Failure(200, "m", "quota"), 429, "rate_limit_error"),
        (Failure(0, "m", "server"), 502, "api_error"),
    ],
)
def test_envelopes(failure, status, kind):
    reply, body = shown(failure)
    assert reply.status == status
    assert body == {
        "type": "error",
        "error": {"type": kind, "message": failure.text},
        "request_id": "req_1",
    }
    ErrorResponse.model_validate(body)
    assert reply.header("request-id") == "req_1"
    assert reply.header("content-type") == "application/json"
    assert reply.header("retry-after") is None


def test_hints_and_waits_are_shown():
    reply, body = shown(Failure(429, "Wait.", "quota", retry_after_s=1.2, hint="Or sign in."))
    assert reply.header("retry-after") == "2"
    assert reply.header("retry-after-ms") == "1200"
    assert body["error"]["message"] == "Wait. Or sign in."


def test_the_services_own_error_object_comes_back():
    details = {"type": "invalid_request_error", "message": "m", "details": {"error_code": "x"}}
    _, body = shown(fail(400, {"type": "error", "error": details}))
    assert body["error"] == details
    foreign = Failure(400, "m", "invalid_request", native=Native("gemini", {"code": 400}))
    assert shown(foreign)[1]["error"] == {"type": "invalid_request_error", "message": "m"}


@pytest.mark.parametrize(
    ("message", "start"),
    [
        (
            "This model's maximum context length is 128000 tokens. However, you requested 130,000 tokens.",
            "prompt is too long: 130000 tokens > 128000 maximum",
        ),
        (
            "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
            "prompt is too long: 300000 tokens > 272000 maximum",
        ),
        (
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            "prompt is too long: 1200000 tokens > 1048576 maximum",
        ),
        ("Your input exceeds the context window.", "prompt is too long: Your input"),
        ("prompt is too long: 3 tokens > 2 maximum", "prompt is too long: 3 tokens > 2 maximum"),
    ],
)
def test_a_full_context_is_said_as_claude_code_expects(message, start):
    reply, body = shown(Failure(400, message, "context_full"))
    assert reply.status == 400
    assert body["error"]["message"].startswith(start)
    assert message in body["error"]["message"]


def test_refused_account_is_not_told_in_the_words_that_ask_for_a_login():
    failure = Failure(400, "It was refused: invalid X-Api-Key", "payment", code="account_refused")
    assert b"It was refused: invalid API key" in ANTHROPIC.encode_failure(failure, "r").body
    theirs = Failure(401, "invalid x-api-key", "authentication")
    assert b"invalid x-api-key" in ANTHROPIC.encode_failure(theirs, "r").body
