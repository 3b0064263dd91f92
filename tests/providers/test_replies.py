import pytest

from app.errors import UpstreamError
from app.http import HttpReply
from app.providers.replies import (
    next_day,
    next_month,
    number_in,
    object_in,
    read_object,
    server_time,
    text_in,
    trouble_with,
    wait_in,
    words_in,
)

DATE = ("date", "Sat, 21 Nov 2026 16:00:00 GMT")
AT = 1_795_276_800.0


def reply(body=b"", status=200, *headers):
    return HttpReply(status, headers, body)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"{", b'"x"', b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_no_answer(body):
    with pytest.raises(UpstreamError) as caught:
        read_object(reply(body), "X")
    assert caught.value.code == "upstream_protocol"


def test_fields_are_read_by_name_and_type():
    body = {"a": "", "b": "x", "c": True, "d": 2, "e": float("inf"), "f": {"g": 1}, "h": 10**400}
    assert text_in(body, "a", "d", "b") == "x"
    assert text_in(body, "missing") == ""
    assert number_in(body, "b", "c", "e", "h", "d") == 2.0
    assert number_in(body, "c") is None
    assert object_in(body, "f") == {"g": 1}
    assert object_in(body, "b") == {}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"message":"Not\\n Found"}', "Not Found"),
        (b'{"error":"slow_down","error_description":"too fast"}', "too fast"),
        (b'{"error":"denied"}', "denied"),
        (b'{"error":{"message":"inner"}}', "inner"),
        (b'{"errors":[{"message":"m","long_message":"signed out","code":"c"}]}', "signed out"),
        (b'{"detail":"why"}', "why"),
        (b"plain words", "plain words"),
        (b"<html>page</html>", ""),
        (b"[1]", ""),
        (b"{}", ""),
        (b"x" * 5000, "x" * 300),
    ],
)
def test_a_services_words_are_found_wherever_they_stand(body, words):
    assert words_in(reply(body)) == words


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ((), None),
        ((("Retry-After", "2.5"),), 2.5),
        ((("retry-after", "-1"),), 0.0),
        ((("retry-after", "nan"),), None),
        ((("retry-after", "soon"),), None),
        ((("retry-after", "Sat, 21 Nov 2026 16:01:00 GMT"), DATE), 60.0),
        ((("retry-after", "Sat, 21 Nov 2026 16:01:00 GMT"),), None),
    ],
)
def test_a_stated_wait_is_read_as_number_or_date(headers, wait):
    assert wait_in(reply(b"", 429, *headers)) == wait


def test_the_services_clock_is_read():
    assert server_time(reply(b"", 200, DATE)) == AT
    assert server_time(reply()) is None


@pytest.mark.parametrize(
    ("status", "shown", "code"), [(429, 429, "rate_limited"), (500, 502, "upstream_error")]
)
def test_a_failure_tells_status_words_and_wait(status, shown, code):
    error = trouble_with("X", "renew", reply(b'{"message":"busy"}', status, ("retry-after", "3")))
    assert (error.status, error.code, error.retry_after_s) == (shown, code, 3.0)
    assert error.message == f"X could not renew: it answered {status} (busy)."


def test_days_and_months_end_at_midnight_utc():
    assert next_day(AT) == AT + 8 * 3600
    assert next_month(AT) == AT + 8 * 3600 + 9 * 86400
    assert next_month(next_month(AT)) == next_month(AT) + 31 * 86400
