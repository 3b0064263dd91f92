import itertools
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canonical.failure import Failure, FailureKind, Scope, cut_stream, failure_of
from app.errors import Retry, TranslationError, UpstreamError
from app.routing.failover import MAX_COOLDOWN_S, Cooldown, cooldown_for, may_try_next

KINDS = get_args(FailureKind)
kinds = st.sampled_from(KINDS)
levels = st.integers(0, 10**6)


def failed(kind="server", scope="model", retry=Retry.NEXT_ACCOUNT, **changes):
    return Failure(500, "x", kind, scope=scope, retry=retry, **changes)


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        ("authentication", 1800, 1800),
        ("payment", 1800, 1800),
        ("permission", 1800, 1800),
        ("not_found", 600, 600),
        ("rate_limit", 1, 1800),
        ("quota", 60, 1800),
        ("overloaded", 5, 60),
        ("server", 5, 60),
        ("unavailable", 5, 60),
        ("timeout", 5, 60),
    ],
)
def test_rests_double_from_the_first_to_the_last(kind, first, last):
    rests = [cooldown_for(failed(kind), level).seconds for level in range(40)]
    assert (rests[0], rests[-1]) == (first, last)
    assert all(b == min(2 * a, last) for a, b in itertools.pairwise(rests))


@pytest.mark.parametrize(
    "kind",
    ["invalid_request", "conflict", "too_large", "context_full", "content_policy", "cancelled"],
)
def test_a_fault_of_the_request_says_nothing_of_the_account(kind):
    assert cooldown_for(failed(kind, retry_after_s=60.0), 0) is None


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        (0.0, 1.0),
        (0, 1.0),
        (-5.0, 1.0),
        (-math.inf, 1.0),
        (0.999, 1.0),
        (1.5, 1.5),
        (3600.0, 3600.0),
        (MAX_COOLDOWN_S, MAX_COOLDOWN_S),
        (MAX_COOLDOWN_S + 1, MAX_COOLDOWN_S),
        (1e300, MAX_COOLDOWN_S),
        (math.inf, MAX_COOLDOWN_S),
        (math.nan, 1.0),
    ],
)
def test_a_stated_reset_is_believed_within_reason(stated, seconds):
    for level in (0, 9):
        rest = cooldown_for(failed("rate_limit", retry_after_s=stated), level)
        assert rest == Cooldown(seconds, whole_account=False)


@pytest.mark.parametrize(
    ("scope", "rest"),
    [
        ("request", None),
        ("model", Cooldown(5.0, whole_account=False, soft=True)),
        ("service", Cooldown(5.0, whole_account=False, soft=True)),
        ("account", Cooldown(5.0, whole_account=True, soft=True)),
    ],
)
def test_the_scope_says_what_rests(scope, rest):
    assert cooldown_for(failed(scope=scope), 0) == rest


SOFT = {"overloaded", "server", "unavailable", "timeout"}


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_failure_that_says_nothing_of_the_account_is_soft(kind):
    rest = cooldown_for(failed(kind), 0)
    assert rest is None or rest.soft == (kind in SOFT)
    stated = cooldown_for(failed(kind, retry_after_s=9.0), 0)
    assert stated is None or not stated.soft


@given(kinds, st.sampled_from(get_args(Scope)), st.sampled_from(Retry), levels)
def test_a_final_refusal_stops_the_whole_account_and_everything_else(kind, scope, retry, level):
    failure = failed(kind, scope, retry, final=True, retry_after_s=1.0)
    assert cooldown_for(failure, level) == Cooldown(MAX_COOLDOWN_S, whole_account=True)
    assert not may_try_next(failure)


@given(kinds, st.none() | st.floats(), levels)
def test_a_rest_is_never_shorter_than_a_second_nor_longer_than_the_most(kind, stated, level):
    rest = cooldown_for(failed(kind, retry_after_s=stated), level)
    assert rest is None or 1.0 <= rest.seconds <= MAX_COOLDOWN_S


def test_no_rest_is_longer_than_a_week_and_an_hour():
    assert MAX_COOLDOWN_S == 169 * 3600


@given(kinds, levels, levels)
def test_a_further_failure_never_shortens_the_rest(kind, one, other):
    low, high = (cooldown_for(failed(kind), level) for level in sorted((one, other)))
    assert low is high is None or low.seconds <= high.seconds


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_to_be_retried_neither_moves_on_nor_rests(kind):
    failure = failed(kind, "account", Retry.NEVER)
    assert cooldown_for(failure, 0) is None
    assert not may_try_next(failure)


@pytest.mark.parametrize("retry", [Retry.NEXT_ACCOUNT, Retry.SAME_ACCOUNT])
def test_the_next_account_may_be_asked_after_what_may_pass(retry):
    assert may_try_next(failed(retry=retry))


def test_our_own_failures():
    assert may_try_next(cut_stream())
    assert cooldown_for(cut_stream(), 0) == Cooldown(5.0, whole_account=False, soft=True)
    assert cooldown_for(failure_of(UpstreamError("x", status=504)), 0).seconds == 5.0
    assert cooldown_for(failure_of(TranslationError("x", "messages[0]")), 0) is None
