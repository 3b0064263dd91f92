"""Rate limits in the heads of answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.providers.ratelimits import (
    parse_duration,
    parse_moment,
    read_anthropic_limits,
    read_openai_limits,
)

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("1s", 1.0),
        ("120ms", 0.12),
        ("8.64s", 8.64),
        ("1h2m3s", 3723.0),
        ("2d", 172_800.0),
        ("17", 17.0),
        (" 0.5 ", 0.5),
        ("0s", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e99", None),
        ("999999999999h", None),
        ("s", None),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-15T08:00:00Z", 1_800_000_000.0),
        ("2027-01-15T09:00:00+01:00", 1_800_000_000.0),
        ("2027-01-15T08:00:00", 1_800_000_000.0),
        ("tomorrow", None),
        ("", None),
        ("0001-01-01T00:00:00+23:59", None),
    ],
)
def test_moments(text, moment):
    found = parse_moment(text)
    assert found == moment or (moment is None and found is not None and found < 0)


def test_openais_fields_are_read():
    quota = read_openai_limits(
        (
            ("X-RateLimit-Limit-Requests", "60"),
            ("x-ratelimit-remaining-requests", "45"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-limit-tokens", "150000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ),
        NOW,
    )
    requests, tokens = quota.windows
    assert (requests.name, requests.used_percent, requests.resets_at) == ("requests", 25, NOW + 1)
    assert (tokens.used_percent, tokens.left, tokens.limit) == (100, 0, 150_000)
    assert tokens.resets_at == NOW + 360
    assert not tokens.exhausted
    assert (quota.read_at, quota.source) == (NOW, "headers")


def test_anthropics_fields_are_read():
    quota = read_anthropic_limits(
        (
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2027-01-15T08:00:10Z"),
            ("anthropic-ratelimit-input-tokens-limit", "40000"),
            ("anthropic-ratelimit-input-tokens-remaining", "10000"),
        ),
        NOW,
    )
    assert [(w.name, w.used_percent, w.resets_at) for w in quota.windows] == [
        ("requests", 2, NOW + 10),
        ("input-tokens", 75, None),
    ]


@pytest.mark.parametrize("read", [read_openai_limits, read_anthropic_limits])
@pytest.mark.parametrize(
    ("limit", "left"), [("", "1"), ("x", "1"), ("0", "0"), ("9", "-1"), ("9", "")]
)
def test_fields_that_say_nothing_give_nothing(read, limit, left):
    headers = tuple(
        (name, value)
        for start, end in (("x-ratelimit-{}-requests", ""), ("anthropic-ratelimit-requests-{}", ""))
        for name, value in ((start.format("limit"), limit), (start.format("remaining"), left))
    )
    assert read(headers, NOW) is None
    assert read((), NOW) is None


FIELDS = [
    *(
        f"x-ratelimit-{what}-{name}"
        for what in ("limit", "remaining", "reset")
        for name in ("requests", "tokens")
    ),
    *(
        f"anthropic-ratelimit-{name}-{what}"
        for what in ("limit", "remaining", "reset")
        for name in ("requests", "tokens")
    ),
]


@given(
    st.lists(
        st.tuples(st.sampled_from(FIELDS), st.text() | st.from_regex(r"\d{0,20}")), max_size=12
    )
)
def test_no_head_breaks_it(headers):
    for read in (read_openai_limits, read_anthropic_limits):
        quota = read(tuple(headers), NOW)
        for window in () if quota is None else quota.windows:
            assert 0.0 <= window.used_percent <= 100.0
