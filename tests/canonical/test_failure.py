import pytest

from app.canonical.failure import Failure, cut_stream, failure_of, kind_of_status
from app.errors import AccountError, RequestError, Retry, TranslationError, UpstreamError


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request"),
        (401, "authentication"),
        (402, "payment"),
        (403, "permission"),
        (404, "not_found"),
        (408, "timeout"),
        (409, "conflict"),
        (413, "too_large"),
        (418, "invalid_request"),
        (422, "invalid_request"),
        (429, "rate_limit"),
        (499, "cancelled"),
        (500, "server"),
        (502, "server"),
        (503, "unavailable"),
        (504, "timeout"),
        (529, "overloaded"),
        (599, "server"),
    ],
)
def test_a_status_stands_for_a_kind(status, kind):
    assert kind_of_status(status) == kind


def test_our_own_error_becomes_a_failure_with_all_that_it_says():
    error = AccountError("All wait.", status=429, code="accounts_cooling", retry_after_s=7)
    assert failure_of(error) == Failure(
        429,
        "All wait.",
        "rate_limit",
        code="accounts_cooling",
        retry_after_s=7,
        retry=Retry.NEXT_ACCOUNT,
    )


def test_a_fault_of_the_request_is_never_retried_and_names_the_field():
    failure = failure_of(TranslationError("No video.", "messages[0]", hint="Send images."))
    assert (failure.status, failure.param, failure.retry) == (400, "messages[0]", Retry.NEVER)
    assert failure.text == "No video. Send images."
    assert failure_of(RequestError("x")).text == "x"


def test_an_upstream_error_speaks_about_the_service():
    assert failure_of(UpstreamError("x")).scope == "service"
    assert failure_of(RequestError("x")).scope == "request"


def test_a_cut_stream_may_be_tried_elsewhere_and_says_what_is_known():
    assert cut_stream().retry is Retry.NEXT_ACCOUNT
    assert cut_stream("It was reset.").message.endswith("complete. It was reset.")
