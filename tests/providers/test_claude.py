"""The Claude provider as a whole: its facts, and what its refusals mean."""

import json
from email.utils import formatdate

import pytest

from app.dialects.anthropic import ANTHROPIC as DIALECT
from app.errors import Retry
from app.http import HttpReply, HttpRequest
from app.providers import ANTHROPIC, CLAUDE
from app.providers.claude import classify, claude
from app.providers.claude_profile import ClaudeEndpoints
from app.providers.credential import Credential
from app.providers.signin import NOT_ALLOWED, CodeSignIn, SecretSignIn
from app.routing.failover import cooldown_for, may_try_next
from tests.fakes.basic import Clock
from tests.fakes.claude_oauth import ONLY_CLAUDE_CODE, ClaudeOAuth
from tests.fakes.identity import ClaudeIdentity, claude_at
from tests.fakes.upstream import Upstream
from tests.providers.driving import NOW, driving

LEAD = "anthropic-ratelimit-unified"


def failure(status, kind, message, **headers):
    body = {"type": "error", "error": {"type": kind, "message": message}}
    fields = (("date", formatdate(NOW, usegmt=True)), *headers.items())
    return read(HttpReply(status, fields, json.dumps(body).encode()))


def read(reply):
    return classify(DIALECT.decode_failure(reply.status, reply.headers, reply.body), reply)


# Facts


def test_it_is_off_until_the_user_has_read_what_it_means():
    consent = CLAUDE.consent
    assert consent is not None
    for words in ("Anthropic's published terms", "suspended", "only your own account"):
        assert words in consent.text
    assert "API key" in consent.instead
    assert "forward: true" in consent.instead
    assert CLAUDE.subscription


def test_its_ways_to_sign_in_are_browser_and_token():
    assert list(CLAUDE.sign_ins) == ["browser", "token"]
    assert isinstance(CLAUDE.sign_ins["browser"], CodeSignIn)
    assert isinstance(CLAUDE.sign_ins["token"], SecretSignIn)


def test_its_tokens_go_to_anthropic_alone():
    assert CLAUDE.hosts == {"platform.claude.com", "api.anthropic.com"}
    assert CLAUDE.base_url == ANTHROPIC.base_url
    other = claude(ClaudeEndpoints(token="https://t.test/x", api="https://a.test"))
    assert other.hosts == {"t.test", "a.test"}
    assert other.base_url == "https://a.test"


def test_its_models_are_known_without_asking():
    listed = CLAUDE.known_models(None)
    assert len({row.id for row in listed}) == len(listed)
    assert all(row.id.startswith("claude-") and row.context and row.max_output for row in listed)
    assert CLAUDE.models_path == ""
    assert CLAUDE.serves("claude-opus-9-20290101")


def test_a_call_carries_the_token_as_bearer_and_no_key():
    client = (("x-api-key", "theirs"), ("authorization", "Bearer theirs"), ("cookie", "c"))
    made = CLAUDE.prepare(
        HttpRequest("POST", "https://a.test"), Credential("t", "oauth"), "anthropic", client
    )
    assert dict(made.headers)["authorization"] == "Bearer t"
    assert "theirs" not in str(made.headers)
    assert {"x-api-key", "cookie"}.isdisjoint(key.lower() for key, _ in made.headers)


# Refusals by policy


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, ONLY_CLAUDE_CODE),
        (403, "This account has been disabled."),
        (403, "Your organization has been suspended."),
    ],
)
def test_not_allowed_is_final(status, message):
    told = failure(status, "invalid_request_error", message)
    assert told.final
    assert (told.code, told.retry) == (NOT_ALLOWED, Retry.NEVER)
    assert "API key" in told.hint
    assert not may_try_next(told)
    assert cooldown_for(told, 0).whole_account


def test_a_network_or_region_that_is_not_served_is_not_rotated():
    told = failure(403, "permission_error", "Request not allowed")
    assert not may_try_next(told)
    assert not told.final


def test_a_refused_client_version_is_told_and_never_looped():
    told = failure(400, "invalid_request_error", "Claude Code 2.1.220 does not support this model")
    assert (told.code, told.retry, told.scope) == ("client_outdated", Retry.NEVER, "request")
    assert "update Claude Code" in told.hint
    assert cooldown_for(told, 0) is None


# Extra usage


def test_calls_that_count_as_extra_usage_are_a_state_of_their_own():
    message = "Third-party apps now draw from your extra usage, not your plan limits."
    told = failure(400, "invalid_request_error", message)
    assert (told.code, told.retry) == ("extra_usage_only", Retry.NEVER)
    assert told.message == message
    assert "claude.ai/settings/usage" in told.hint


def test_spent_extra_usage_rests_the_account():
    told = failure(400, "invalid_request_error", "You're out of extra usage.")
    assert told.code == "extra_usage_spent"
    assert cooldown_for(told, 0).whole_account
    assert "claude.ai/settings/usage" in told.hint


@pytest.mark.parametrize(
    "message",
    [
        "Extra usage is required for long context requests.",
        "Fast mode is paid from usage credits.",
    ],
)
def test_what_the_plan_lacks_goes_back_to_the_client(message):
    told = failure(429, "rate_limit_error", message)
    assert (told.code, told.scope) == ("not_in_plan", "request")
    assert cooldown_for(told, 0) is None
    assert not may_try_next(told)
    assert told.hint


# Windows


@pytest.mark.parametrize(
    ("headers", "whole", "seconds"),
    [
        ({"": "rejected", "-5h": "rejected"}, True, 600),
        ({"": "rejected", "-7d": "rejected"}, True, 600),
        ({"": "rejected"}, True, 600),
        ({"": "rejected", "-7d_oi": "rejected"}, False, 600),
        ({"": "allowed"}, False, None),
        ({}, False, None),
    ],
)
def test_a_spent_window_rests_the_account_or_the_model(headers, whole, seconds):
    fields = {f"{LEAD}{name}-status": status for name, status in headers.items()}
    fields |= {f"{LEAD}{name}-reset": f"{NOW + 600:.0f}" for name in headers}
    told = failure(429, "rate_limit_error", "Too many requests.", **fields)
    rest = cooldown_for(told, 0)
    assert (rest.whole_account, told.retry_after_s) == (whole, seconds)
    assert may_try_next(told)


def test_an_expired_token_speaks_of_the_account_and_others_may_serve():
    told = failure(401, "authentication_error", "OAuth token has expired.")
    assert (told.kind, told.scope) == ("authentication", "account")
    assert may_try_next(told)


def test_a_missing_scope_and_bad_requests_rest_nothing():
    for told in (
        failure(403, "permission_error", "OAuth token does not meet scope requirement x"),
        failure(400, "invalid_request_error", "max_tokens: Field required"),
    ):
        assert cooldown_for(told, 0) is None
        assert told.hint == ""


def test_a_bot_check_is_waited_for():
    page = b"<!DOCTYPE html><title>Just a moment...</title><script src=/cdn-cgi/challenge-platform>"
    told = read(HttpReply(403, (("content-type", "text/html"),), page))
    assert (told.code, told.retry_after_s, told.kind) == ("bot_check", 10.0, "unavailable")


def test_an_overload_says_nothing_of_the_account():
    told = failure(529, "overloaded_error", "Overloaded")
    assert not cooldown_for(told, 0).whole_account
    assert may_try_next(told)


# Over sockets


async def refusal_of(prepare):
    clock = Clock(NOW)
    identity = ClaudeIdentity(clock)
    service = ClaudeOAuth(identity)
    async with Upstream(identity, service) as fake, driving(claude_at(fake.url), clock) as drive:
        held = identity.grant()
        prepare(service, identity, held)
        body = {"model": "claude-sonnet-5", "max_tokens": 9, "messages": []}
        body["messages"] = [{"role": "user", "content": "hi"}]
        _, reply = await drive.call(
            "claude-sonnet-5",
            body,
            path="/v1/messages",
            credential=Credential(held.access, "oauth"),
        )
        return reply.status, read(reply), drive.provider.read_quota(reply.headers, NOW)


async def test_a_spent_subscription_is_read_from_the_service():
    def spend(service, _identity, _held):
        service.windows["5h"] = (1.0, 900.0)

    status, told, quota = await refusal_of(spend)
    assert (status, told.kind, told.scope, told.retry_after_s) == (429, "quota", "account", 900)
    assert quota.windows[0].exhausted
    assert quota.windows[0].resets_at == NOW + 900


async def test_a_policy_refusal_is_read_from_the_service():
    def refuse(service, _identity, _held):
        service.refuses = ONLY_CLAUDE_CODE

    status, told, _ = await refusal_of(refuse)
    assert status == 400
    assert told.final


async def test_a_revoked_token_is_read_from_the_service():
    status, told, _ = await refusal_of(lambda _service, identity, held: identity.revoke(held))
    assert (status, told.kind) == (401, "authentication")
