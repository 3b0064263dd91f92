import json
from contextlib import asynccontextmanager

import pytest

from app.errors import AccountError, UpstreamError
from app.http import HttpReply
from app.providers.codex_profile import ENDPOINTS
from app.providers.codex_quota import CodexQuota, read_quota
from app.providers.credential import Credential
from app.providers.quota import Quota, QuotaWindow
from app.providers.signin import NOT_ALLOWED, Answered
from tests.fakes.basic import Clock
from tests.fakes.codex_backend import CodexBackend
from tests.fakes.identity import ChatGptIdentity, codex_at
from tests.fakes.upstream import Upstream
from tests.providers.driving import NOW, driving

HOURS_5 = 18_000.0
WEEK = 604_800.0


@asynccontextmanager
async def asking():
    clock = Clock(NOW)
    service = ChatGptIdentity(clock)
    async with Upstream(service) as fake, driving(codex_at(fake.url), clock) as drive:
        yield service, drive


def answered(body, status=200):
    """Return what the usage call makes of an answer."""
    steps = CodexQuota(ENDPOINTS).steps(Credential("secret-token", "oauth"))
    next(steps)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        steps.send(Answered(HttpReply(status, (("retry-after", "7"),), raw), NOW))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it asked for more")


def limit(**windows):
    return {"rate_limit": {f"{place}_window": given for place, given in windows.items()}}


# The usage call


async def test_the_usage_call_tells_windows_and_plan():
    async with asking() as (service, drive):
        held = service.grant()
        credential = Credential(held.access, "oauth", facts={"account_id": held.person.account})
        quota = await drive.run(drive.provider.quota_steps(credential))
    assert quota == Quota(
        (
            QuotaWindow("5h", 25.0, NOW + 3_600, HOURS_5),
            QuotaWindow("7d", 60.0, NOW + 90_000, WEEK),
        ),
        NOW,
        "usage call",
        "plus",
    )


async def test_a_token_of_another_workspace_is_asked_in_vain():
    async with asking() as (service, drive):
        credential = Credential(service.grant().access, "oauth", facts={"account_id": "other"})
        with pytest.raises(UpstreamError):
            await drive.run(drive.provider.quota_steps(credential))


def test_windows_are_told_apart_by_their_length_alone():
    week = {"used_percent": 100, "limit_window_seconds": 604_800, "reset_at": NOW + 5}
    month = {"used_percent": 1.5, "limit_window_seconds": 2_592_000, "reset_after_seconds": 60}
    quota = answered(limit(primary=week, secondary=month))
    assert quota.windows == (
        QuotaWindow("7d", 100.0, NOW + 5, WEEK, exhausted=True),
        QuotaWindow("30d", 1.5, NOW + 60, 2_592_000.0),
    )


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        (18_000, "5h"),
        (17_940, "5h"),
        (3_600, "1h"),
        (1_800, "30m"),
        (86_400, "1d"),
        (30, "1m"),
        (None, "window"),
        (0, "window"),
        ("x", "window"),
    ],
)
def test_a_windows_name_is_its_length(seconds, name):
    (window,) = answered(
        limit(primary={"used_percent": 1, "limit_window_seconds": seconds})
    ).windows
    assert window.name == name


def test_two_windows_of_one_length_are_the_fuller_one():
    one, two = ({"used_percent": used, "limit_window_seconds": 18_000} for used in (5, 70))
    (window,) = answered(limit(primary=one, secondary=two)).windows
    assert window.used_percent == 70


def test_limits_of_single_models_count_those_alone():
    week = {"used_percent": 10, "limit_window_seconds": 604_800}
    spark = {"limit_name": "GPT-5.3-Codex-Spark", **limit(primary=week)}
    other = {"limit_name": "code_review", **limit(primary=week)}
    quota = answered({"additional_rate_limits": [spark, other, 5, {}]})
    (window,) = quota.windows
    assert window.name == "7d_gpt-5.3-codex-spark"
    assert window.models == ("gpt-5.3-codex-spark*",)


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"has_credits": True, "unlimited": False, "balance": "12.5"}, "(12.5 left)"),
        ({"has_credits": True, "unlimited": True}, "unlimited"),
        ({"has_credits": True}, "credits."),
        ({"has_credits": False, "balance": "5"}, ""),
        (None, ""),
    ],
)
def test_credits_are_noted(given, note):
    told = answered({"credits": given, "plan_type": "pro"}).note
    assert note in told
    assert bool(note) == bool(told)


@pytest.mark.parametrize(
    "body",
    [
        {"rate_limit": None, "additional_rate_limits": None, "plan_type": None},
        {"rate_limit": {"primary_window": None, "secondary_window": 5}, "plan_type": 5},
        {"rate_limit": [], "credits": []},
    ],
)
def test_fields_that_are_missing_or_odd_count_as_not_told(body):
    assert answered(body) == Quota((), NOW, "usage call")


@pytest.mark.parametrize(("status", "body"), [(401, {}), (500, b"<html>"), (429, {}), (200, b"x")])
def test_a_call_that_fails_tells_when_to_ask_again(status, body):
    with pytest.raises(UpstreamError) as caught:
        answered(body, status)
    assert caught.value.retry_after_s == 7


def test_a_suspended_account_is_told_as_not_allowed():
    with pytest.raises(AccountError) as caught:
        answered({"detail": "Your account has been deactivated, secret-token"}, 403)
    assert caught.value.code == NOT_ALLOWED
    assert "secret-token" not in caught.value.text


# Heads of answers


def test_heads_tell_windows_and_plan():
    headers = (
        ("X-Codex-Plan-Type", "pro"),
        ("X-Codex-Primary-Used-Percent", "100"),
        ("x-codex-primary-window-minutes", "299"),
        ("x-codex-primary-reset-after-seconds", "60"),
        ("x-codex-secondary-used-percent", "12.5"),
        ("x-codex-secondary-window-minutes", "10080"),
        ("x-codex-secondary-reset-at", f"{NOW + 99:.0f}"),
    )
    assert read_quota(headers, NOW) == Quota(
        (
            QuotaWindow("5h", 100.0, NOW + 60, 17_940.0, exhausted=True),
            QuotaWindow("7d", 12.5, NOW + 99, WEEK),
        ),
        NOW,
        "headers",
        "pro",
    )


@pytest.mark.parametrize(
    "headers",
    [(), (("x-codex-plan-type", "pro"),), (("x-codex-primary-used-percent", "x"),)],
)
def test_a_head_without_windows_tells_nothing(headers):
    assert read_quota(headers, NOW) is None


def test_the_strict_fakes_head_is_read():
    service = CodexBackend(ChatGptIdentity(Clock(NOW)))
    quota = read_quota(tuple(service.success_headers().items()), NOW)
    assert [(w.name, w.used_percent) for w in quota.windows] == [("5h", 25.0), ("7d", 60.0)]
