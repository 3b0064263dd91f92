import pytest

from app.canonical.failure import Failure
from app.routing.retry import RetryPolicy

POLICY = RetryPolicy(attempts=5, first_wait_s=1, longest_wait_s=8, budget_s=20)


def failure(kind="overloaded", **fields):
    fields.setdefault("scope", "service")
    return Failure(503, "x", kind, **fields)


@pytest.mark.parametrize(("tried", "low", "high"), [(1, 0.5, 1), (2, 1, 2), (3, 2, 4), (4, 4, 8)])
def test_the_wait_doubles_and_is_drawn_from_its_upper_half(tried, low, high):
    assert POLICY.wait_s(failure(), tried, 0, 0.0) == low
    assert POLICY.wait_s(failure(), tried, 0, 0.999999) == pytest.approx(high, rel=1e-5)


def test_the_wait_is_capped_however_often_it_failed():
    patient = RetryPolicy(attempts=10_000, first_wait_s=1, longest_wait_s=8, budget_s=1_000)
    assert patient.wait_s(failure(), 5_000, 0, 1.0) == 8


def test_attempts_and_budget_are_bounds():
    assert POLICY.wait_s(failure(), 5, 0, 0.5) is None
    assert POLICY.wait_s(failure(), 1, 19.5, 1.0) is None
    assert POLICY.wait_s(failure(), 1, 19.0, 1.0) == 1.0
    assert RetryPolicy(attempts=1).wait_s(failure(), 1, 0, 0) is None


def test_no_path_through_the_policy_waits_longer_than_its_budget():
    for random in (0.0, 0.3, 0.9999):
        waited, tried = 0.0, 1
        while (wait := POLICY.wait_s(failure(), tried, waited, random)) is not None:
            waited += wait
            tried += 1
        assert waited <= POLICY.budget_s
        assert tried <= POLICY.attempts


def test_what_the_service_states_is_kept_or_not_waited_for():
    assert POLICY.wait_s(failure("rate_limit", retry_after_s=3), 1, 0, 0.0) == 3
    assert POLICY.wait_s(failure("rate_limit", retry_after_s=0.1), 1, 0, 0.0) == 0.5
    assert POLICY.wait_s(failure("rate_limit", retry_after_s=9), 1, 0, 0.0) is None
    assert POLICY.wait_s(failure("rate_limit", retry_after_s=5), 1, 16, 0.0) is None


@pytest.mark.parametrize(
    "kind",
    [
        *("invalid_request", "authentication", "payment", "permission", "not_found", "conflict"),
        *("too_large", "quota", "context_full", "content_policy", "cancelled"),
    ],
)
def test_what_does_not_pass_is_not_asked_again(kind):
    assert POLICY.wait_s(failure(kind), 1, 0, 0.5) is None


def test_final_words_and_faults_of_the_request_are_not_asked_again():
    assert POLICY.wait_s(failure(final=True), 1, 0, 0.5) is None
    assert POLICY.wait_s(failure("server", scope="request"), 1, 0, 0.5) is None
