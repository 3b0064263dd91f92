"""OpenAI's error envelope in every form that services send."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.canonical.failure import Failure, cut_stream, failure_of
from app.canonical.parts import Native
from app.dialects.openai_errors import (
    decode_openai_failure,
    encode_openai_failure,
    read_openai_error,
    render_openai_error,
)
from app.errors import Retry, TranslationError


def read(status, error, headers=()):
    return decode_openai_failure(status, tuple(headers), json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("status", "error", "kind", "scope", "retry"),
    [
        (400, {"message": "bad", "type": "invalid_request_error"}, "invalid_request", "request", 0),
        (400, {"code": "context_length_exceeded", "message": "m"}, "context_full", "request", 0),
        (
            400,
            {"message": "This model's maximum context length is 8 tokens."},
            "context_full",
            "request",
            0,
        ),
        (
            400,
            {"message": "prompt is too long: 9 tokens > 8 maximum"},
            "context_full",
            "request",
            0,
        ),
        (
            400,
            {"message": "flagged", "code": "content_policy_violation"},
            "content_policy",
            "request",
            0,
        ),
        (400, {"message": "The requested model is not supported."}, "not_found", "model", 1),
        (400, {"message": "API key not valid. Please pass one."}, "authentication", "account", 1),
        (400, {"code": "previous_response_not_found", "message": "m"}, "not_found", "request", 0),
        (
            401,
            {
                "message": "Incorrect API key",
                "type": "invalid_request_error",
                "code": "invalid_api_key",
            },
            "authentication",
            "account",
            1,
        ),
        (402, {"message": "Pay."}, "payment", "account", 1),
        (403, {"message": "Country not supported."}, "permission", "account", 1),
        (
            404,
            {
                "message": "The model `x` does not exist or you do not have access to it.",
                "type": "invalid_request_error",
                "code": "model_not_found",
            },
            "not_found",
            "model",
            1,
        ),
        (404, {"message": "Item with id 'rs_1' not found."}, "not_found", "request", 0),
        (409, {"message": "m"}, "conflict", "request", 0),
        (413, {"message": "m"}, "too_large", "request", 0),
        (422, {"message": "m"}, "invalid_request", "request", 0),
        (429, {"message": "m", "code": "rate_limit_exceeded"}, "rate_limit", "model", 1),
        (429, {"message": "m", "type": "invalid_request_error"}, "rate_limit", "model", 1),
        (429, {"message": "You exceeded your current quota."}, "quota", "account", 1),
        (429, {"message": "m", "type": "usage_limit_reached"}, "quota", "account", 1),
        (429, {"message": "m", "type": "insufficient_quota"}, "quota", "account", 1),
        (429, {"message": "Selected model is at capacity."}, "overloaded", "model", 1),
        (500, {"message": "m", "type": "server_error"}, "server", "service", 1),
        (500, {"message": "m", "type": "invalid_request_error"}, "invalid_request", "request", 0),
        (503, {"message": "m", "code": "server_is_overloaded"}, "overloaded", "service", 1),
        (503, {"message": "m"}, "unavailable", "service", 1),
        (504, {"message": "m"}, "timeout", "service", 1),
        (529, {"message": "m"}, "overloaded", "service", 1),
    ],
)
def test_kind_scope_and_retry(status, error, kind, scope, retry):
    failure = read(status, error)
    assert (failure.kind, failure.scope) == (kind, scope)
    assert failure.retry is (Retry.NEXT_ACCOUNT if retry else Retry.NEVER)
    assert failure.message == error["message"]
    assert failure.status == status
    assert not failure.final


@pytest.mark.parametrize(
    "message",
    [
        "This credential is only authorized for use with Claude Code.",
        "Suspended for violation of Terms of Service.",
        "Your account has been disabled.",
    ],
)
def test_policy_refusals_are_final(message):
    failure = read(403, {"message": message})
    assert failure.final
    assert failure.retry is Retry.NEVER
    assert not read(400, {"message": message}).final


@pytest.mark.parametrize(
    ("headers", "error", "wait"),
    [
        ({"Retry-After": "12"}, {}, 12),
        ({"retry-after": "12", "Retry-After-Ms": "1500"}, {}, 1.5),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            {},
            30,
        ),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m2s"}, {}, 62),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "1m2s"}, {}, None),
        ({}, {"resets_in_seconds": 90}, 90),
        ({"date": "Thu, 01 Jan 1970 00:01:00 GMT"}, {"resets_at": 100}, 40),
        ({}, {"resets_at": 100}, None),
        ({}, {"message": "Please try again in 20ms."}, 1),
        ({}, {"message": "Quota resets after 17s"}, 17),
        ({}, {"message": "try again in 1h2m3s"}, 3723),
        ({}, {"details": [{"retryDelay": "7s"}]}, 7),
        ({"retry-after": "99999999"}, {}, 7 * 86400 + 3600),
        ({"retry-after": "soon"}, {}, None),
    ],
)
def test_waiting_time_is_read_wherever_it_stands(headers, error, wait):
    failure = read(429, {"message": "m", **error}, headers.items())
    assert failure.retry_after_s == wait


def test_request_faults_have_no_waiting_time():
    assert read(400, {"message": "in 3s"}, [("retry-after", "3")]).retry_after_s is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"plain"}', "plain"),
        (b'{"message":"top"}', "top"),
        (b'{"detail":"fast"}', "fast"),
        (b'{"detail":[{"loc":["body"]}]}', '[{"loc":["body"]}]'),
        (b'[{"error":{"message":"listed"}}]', "listed"),
        (b"just words", "just words"),
        (b"", "The service answered 500 without a reason."),
        (
            b"<html><b>x</b></html>",
            "The service answered 500 with a web page instead of an answer.",
        ),
        (
            b"<!DOCTYPE html> Cloudflare",
            "The service answered 500 with a bot check instead of an answer.",
        ),
    ],
)
def test_bodies_that_are_no_envelope(body, message):
    assert decode_openai_failure(500, (), body).message == message


def test_missing_page_is_the_services_fault():
    failure = decode_openai_failure(404, (), b"<html>nginx</html>")
    assert (failure.scope, failure.retry) == ("service", Retry.NEXT_ACCOUNT)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=60), st.integers(300, 700))
def test_no_body_raises(body, status):
    assert decode_openai_failure(status, (), body).message
    wrapped = b'{"error":{"message":' + body + b',"code":' + body + b"}}"
    assert decode_openai_failure(status, (), wrapped).message


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["message", "type", "code", "param", "resets_at", "details", "status"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
            lambda inner: st.lists(inner, max_size=2),
            max_leaves=4,
        ),
    )
)
def test_no_error_object_raises(error):
    assert read_openai_error(error).message


def test_own_error_object_comes_back_whole():
    error = {"message": "m", "type": "usage_limit_reached", "plan_type": "plus", "resets_at": 9}
    reply = encode_openai_failure(read(429, error), "req_1")
    assert json.loads(reply.body) == {"error": error}


@pytest.mark.parametrize(
    ("failure", "status", "kind", "code"),
    [
        (Failure(529, "m", "overloaded"), 503, "service_unavailable_error", "server_is_overloaded"),
        (
            Failure(400, "m", "context_full", code="too_long"),
            400,
            "invalid_request_error",
            "context_length_exceeded",
        ),
        (Failure(429, "m", "rate_limit"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (Failure(429, "m", "quota"), 429, "insufficient_quota", "insufficient_quota"),
        (
            Failure(429, "m", "quota", code="accounts_cooling", retry_after_s=60),
            429,
            "usage_limit_reached",
            "accounts_cooling",
        ),
        (Failure(401, "m", "authentication"), 401, "authentication_error", "invalid_api_key"),
        (Failure(0, "m", "timeout"), 504, "server_error", None),
        (cut_stream(), 502, "server_error", "upstream_closed"),
        (
            Failure(400, "m", "invalid_request", native=Native("gemini", {"status": "X"})),
            400,
            "invalid_request_error",
            None,
        ),
        (
            failure_of(TranslationError("m", "messages[0]")),
            400,
            "invalid_request_error",
            "unsupported_content",
        ),
    ],
)
def test_envelope(failure, status, kind, code):
    reply = encode_openai_failure(failure, "req_1")
    error = json.loads(reply.body)["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (reply.status, error["type"], error["code"]) == (status, kind, code)
    assert reply.header("x-request-id") == "req_1"


def test_waiting_time_is_rounded_up():
    reply = encode_openai_failure(Failure(429, "m", "rate_limit", retry_after_s=1.2345), "r")
    assert (reply.header("retry-after"), reply.header("retry-after-ms")) == ("2", "1235")


def test_message_and_hint_are_one_text():
    reply = encode_openai_failure(Failure(400, "Bad.", "invalid_request", hint="Fix it."), "r")
    assert json.loads(reply.body)["error"]["message"] == "Bad. Fix it."


@pytest.mark.parametrize(
    ("wait_s", "theirs", "shown"),
    [
        (600, "rate_limit_error", "usage_limit_reached"),
        (600, "insufficient_quota", "insufficient_quota"),
        (None, "rate_limit_error", "rate_limit_error"),
    ],
)
def test_long_wait_is_a_reached_limit_also_in_the_services_own_object(wait_s, theirs, shown):
    native = Native("openai_chat", {"message": "m", "type": theirs, "extra": 1})
    failure = Failure(429, "m", "quota", retry_after_s=wait_s, native=native)
    assert render_openai_error(failure) == {"message": "m", "type": shown, "extra": 1}
