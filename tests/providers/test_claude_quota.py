import json
from contextlib import asynccontextmanager

import pytest

from app.errors import AccountError, UpstreamError
from app.http import HttpReply
from app.providers.claude_profile import ENDPOINTS
from app.providers.claude_quota import ClaudeQuota, read_quota
from app.providers.credential import Credential
from app.providers.quota import Quota, QuotaWindow
from app.providers.signin import NOT_ALLOWED, Answered
from tests.fakes.basic import Clock
from tests.fakes.claude_oauth import ClaudeOAuth
from tests.fakes.identity import ClaudeIdentity, claude_at
from tests.fakes.upstream import Upstream
from tests.providers.driving import NOW, driving

LEAD = "anthropic-ratelimit-unified"


@asynccontextmanager
async def asking():
    clock = Clock(NOW)
    service = ClaudeIdentity(clock)
    async with Upstream(service) as fake, driving(claude_at(fake.url), clock) as drive:
        yield service, drive


def answered(body, status=200):
    """Return what the usage call makes of an answer."""
    steps = ClaudeQuota(ENDPOINTS).steps(Credential("sk-ant-oat01-secret", "oauth"))
    next(steps)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = (("content-type", "text/html"),) if raw.startswith(b"<") else ()
    try:
        steps.send(Answered(HttpReply(status, headers, raw), NOW))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it asked for more")


# The usage call


async def test_the_usage_call_tells_each_window():
    async with asking() as (service, drive):
        service.usage["seven_day_opus"] = (100.0, 500.0)
        service.usage["iguana_necktie"] = (3.5, 600.0)
        held = Credential(service.grant().access, "oauth")
        quota = await drive.run(drive.provider.quota_steps(held))
    assert (quota.source, quota.read_at, quota.note) == ("usage call", NOW, "")
    week = 604_800.0
    assert quota.windows == (
        QuotaWindow("5h", 12.0, NOW + 7_200, 18_000.0),
        QuotaWindow("7d", 40.0, NOW + 300_000, week),
        QuotaWindow("7d_opus", 100.0, NOW + 500, week, ("claude-opus-*",), exhausted=True),
        QuotaWindow("7d_oi", 3.5, NOW + 600, week, ("claude-fable-*",)),
    )


async def test_a_long_lived_token_may_not_ask_and_is_no_trouble():
    async with asking() as (service, drive):
        held = Credential(service.long_lived().access, "oauth")
        quota = await drive.run(drive.provider.quota_steps(held))
    assert quota.windows == ()
    assert "may not read" in quota.note


async def test_asking_too_often_says_when_to_ask_again():
    async with asking() as (service, drive):
        service.usage_retry_s = 90
        held = Credential(service.grant().access, "oauth")
        with pytest.raises(UpstreamError) as caught:
            await drive.run(drive.provider.quota_steps(held))
    assert caught.value.retry_after_s == 90


async def test_a_token_that_ran_out_is_no_refusal_of_the_account():
    async with asking() as (service, drive):
        held = Credential(service.grant().access, "oauth")
        drive.clock.advance(9 * 3600)
        with pytest.raises(UpstreamError):
            await drive.run(drive.provider.quota_steps(held))


def test_a_suspended_account_is_told_as_not_allowed():
    error = {"error": {"message": "Account has been disabled: sk-ant-oat01-secret"}}
    with pytest.raises(AccountError) as caught:
        answered(error, 403)
    assert caught.value.code == NOT_ALLOWED
    assert "secret" not in caught.value.text


@pytest.mark.parametrize("status", [500, 403, 302])
def test_a_web_page_tells_nothing(status):
    with pytest.raises(UpstreamError):
        answered(b"<html>", status)


@pytest.mark.parametrize(
    "body",
    [
        {},
        b"",
        {"five_hour": None, "limits": None, "extra_usage": None},
        {"five_hour": 5, "limits": [5, None, {}, {"scope": {"model": None}}], "extra_usage": 5},
        {"limits": [{"scope": {"model": {"id": "!"}}}, {"scope": {"model": {"id": 5}}}]},
    ],
)
def test_fields_that_are_missing_or_odd_count_as_not_told(body):
    assert answered(body) == Quota((), NOW, "usage call")


def test_a_window_may_know_neither_use_nor_reset():
    quota = answered({"five_hour": {"utilization": None, "resets_at": None}})
    assert quota.windows == (QuotaWindow("5h", None, None, 18_000.0),)


def test_limits_of_single_models_are_windows_of_their_own():
    def limit(model, percent):
        return {"percent": percent, "resets_at": NOW + 5, "scope": {"model": model}}

    quota = answered(
        {
            "seven_day_opus": {"utilization": 1, "resets_at": None},
            "limits": [
                limit({"id": None, "display_name": "Opus"}, 99),
                limit({"display_name": "Fable"}, 50),
                limit({"id": "claude-haiku-5"}, 100),
                limit(None, 5),
            ],
        }
    )
    assert [(w.name, w.used_percent, w.models, w.exhausted) for w in quota.windows] == [
        ("7d_opus", 1.0, ("claude-opus-*",), False),
        ("7d_oi", 50.0, ("claude-fable-*",), False),
        ("7d_haiku-5", 100.0, ("claude-haiku-5*",), True),
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"is_enabled": True, "utilization": 41.6}, "42 %"),
        ({"is_enabled": True}, "switched on."),
        ({"is_enabled": False, "utilization": 5}, ""),
    ],
)
def test_extra_usage_is_noted(given, words):
    note = answered({"extra_usage": given}).note
    assert words in note
    assert bool(note) == bool(words)


# Heads of answers


def test_heads_tell_fractions_resets_and_refusals():
    headers = (
        (f"{LEAD}-status", "rejected"),
        (f"{LEAD}-reset", f"{NOW}"),
        ("Anthropic-Ratelimit-Unified-5h-Utilization", "0.125"),
        (f"{LEAD}-5h-reset", f"{NOW + 60:.0f}"),
        (f"{LEAD}-5h-status", "allowed_warning"),
        (f"{LEAD}-7d-status", "rejected"),
        (f"{LEAD}-7d-reset", "2026-11-18T11:06:40Z"),
        (f"{LEAD}-7d_oi-utilization", "1.5"),
        (f"{LEAD}-overage-status", "rejected"),
        ("x-other", "1"),
    )
    quota = read_quota(headers, NOW)
    assert (quota.source, quota.read_at) == ("headers", NOW)
    week = 604_800.0
    assert quota.windows == (
        QuotaWindow("5h", 12.5, NOW + 60, 18_000.0),
        QuotaWindow("7d", None, NOW, week, exhausted=True),
        QuotaWindow("7d_oi", 150.0, None, week, ("claude-fable-*",)),
    )


@pytest.mark.parametrize(
    "headers", [(), (("content-type", "x"),), ((f"{LEAD}-status", "allowed"),)]
)
def test_a_head_without_windows_tells_nothing(headers):
    assert read_quota(headers, NOW) is None


def test_the_strict_fakes_head_is_read():
    identity = ClaudeIdentity(Clock(NOW))
    service = ClaudeOAuth(identity)
    service.windows = {"5h": (1.0, 60.0), "7d": (0.5, 90.0)}
    windows = read_quota(tuple(service.success_headers().items()), NOW).windows
    assert [(w.name, w.used_percent, w.exhausted) for w in windows] == [
        ("5h", 100.0, True),
        ("7d", 50.0, False),
    ]
