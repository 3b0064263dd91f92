"""What services tell of their limits, kept window by window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounts.quota import Quotas, render_window
from app.providers.quota import Quota, QuotaWindow

NOW = 1_800_000_000.0
HOUR = 3_600.0


def window(name="5h", used=10.0, resets_at=NOW + 4 * HOUR, **more):
    return QuotaWindow(name, used, resets_at, **{"length_s": 5 * HOUR} | more)


def told(*windows, at=NOW, source="headers", **more):
    return Quota(windows, at, source, **more)


def view(quotas, name="5h", now=NOW):
    (found,) = [w for w in quotas.view("a", now).windows if w.window.name == name]
    return found


def test_nothing_is_known_at_first():
    quotas = Quotas()
    assert quotas.view("a", NOW) is None
    assert quotas.left_percent("a", "m", NOW) is None


def test_windows_are_kept_one_by_one():
    quotas = Quotas()
    quotas.note("a", told(window(), window("7d", 50.0), source="usage call", plan="max", note="n"))
    quotas.note("a", told(window(used=20.0), at=NOW + 1))
    seen = quotas.view("a", NOW + 1)
    assert {w.window.name: w.window.used_percent for w in seen.windows} == {"5h": 20.0, "7d": 50.0}
    assert (seen.plan, seen.note) == ("max", "n")
    assert [w.source for w in seen.windows] == ["headers", "usage call"]


def test_older_news_is_dropped():
    quotas = Quotas()
    quotas.note("a", told(window(used=30.0), at=NOW))
    quotas.note("a", told(window(used=20.0), at=NOW - 1))
    assert view(quotas).window.used_percent == 30.0


def test_what_one_source_does_not_tell_stays():
    quotas = Quotas()
    quotas.note("a", told(window(models=("claude-opus-*",), limit=100.0)))
    quotas.note("a", told(QuotaWindow("5h", 11.0, NOW + 4 * HOUR), at=NOW + 1))
    kept = view(quotas).window
    assert (kept.length_s, kept.models, kept.limit) == (5 * HOUR, ("claude-opus-*",), 100.0)


def test_the_tightest_window_that_counts_the_model_decides():
    quotas = Quotas()
    quotas.note("a", told(window(used=20.0), window("7d", 60.0)))
    quotas.note("a", told(window("7d_opus", 95.0, models=("claude-opus-*",)), at=NOW))
    assert quotas.left_percent("a", "claude-sonnet-5", NOW) == 40.0
    assert quotas.left_percent("a", "claude-opus-5", NOW) == 5.0


def test_exhausted_means_nothing_left_and_more_than_all_is_nothing_left():
    quotas = Quotas()
    quotas.note("a", told(window(used=None, exhausted=True)))
    quotas.note("b", told(window(used=130.0)))
    assert quotas.left_percent("a", "m", NOW) == 0.0
    assert quotas.left_percent("b", "m", NOW) == 0.0


def test_a_window_without_percentage_says_nothing():
    quotas = Quotas()
    quotas.note("a", told(window(used=None)))
    assert quotas.left_percent("a", "m", NOW) is None


@pytest.mark.parametrize(("later", "left"), [(4 * HOUR - 1, 0.0), (4 * HOUR, 100.0)])
def test_a_window_whose_reset_has_passed_is_empty_again(later, left):
    quotas = Quotas()
    quotas.note("a", told(window(used=100.0, exhausted=True, left=0.0, limit=50.0)))
    assert quotas.left_percent("a", "m", NOW + later) == left
    seen = view(quotas, now=NOW + later).window
    assert seen.left == (0.0 if left == 0 else 50.0)


def test_a_word_without_reset_is_believed_for_a_week():
    quotas = Quotas()
    quotas.note("a", told(window(used=90.0, resets_at=None)))
    assert quotas.left_percent("a", "m", NOW + 7 * 86_400) == 10.0
    assert quotas.left_percent("a", "m", NOW + 9 * 86_400) is None
    assert quotas.view("a", NOW + 9 * 86_400).windows == ()


def test_an_account_that_is_gone_is_forgotten():
    quotas = Quotas()
    quotas.note("a", told(window()))
    quotas.forget("a")
    quotas.forget("never")
    assert quotas.view("a", NOW) is None


# The forecast


def use(quotas, *readings, resets_at=NOW + 4 * HOUR):
    for minutes, used in readings:
        at = NOW + minutes * 60
        quotas.note("a", told(window(used=used, resets_at=resets_at), at=at))


def test_the_forecast_is_the_slope_of_recent_use():
    quotas = Quotas()
    use(quotas, (0, 50.0), (10, 60.0))
    assert view(quotas, now=NOW + 600).runs_out_at == pytest.approx(NOW + 50 * 60)


@pytest.mark.parametrize(
    "readings",
    [
        ((0, 50.0),),  # one reading has no slope
        ((0, 50.0), (0.5, 60.0)),  # too close together
        ((0, 50.0), (10, 50.0)),  # nothing is used
        ((0, 50.0), (10, 50.5)),  # lasts beyond the reset
        ((0, 50.0), (10, 100.0)),  # already used up
    ],
)
def test_there_is_no_forecast_without_a_slope_that_ends_before_the_reset(readings):
    quotas = Quotas()
    use(quotas, *readings)
    assert view(quotas, now=NOW + 600).runs_out_at is None


def test_what_lies_long_back_does_not_count():
    quotas = Quotas()
    use(quotas, (0, 0.0), (60, 50.0), (70, 50.0))
    assert view(quotas, now=NOW + 4_200).runs_out_at is None


def test_a_new_window_begins_a_new_forecast():
    quotas = Quotas()
    use(quotas, (0, 80.0), (5, 90.0))
    use(quotas, (6, 1.0), (16, 2.0), resets_at=NOW + 5 * HOUR)
    assert view(quotas, now=NOW + 16 * 60).runs_out_at is None
    use(quotas, (17, 40.0), resets_at=NOW + 5 * HOUR + 60)  # the same window, rounded
    assert view(quotas, now=NOW + 17 * 60).runs_out_at is not None


def test_a_falling_percentage_begins_a_new_window_where_no_reset_is_told():
    quotas = Quotas()
    use(quotas, (0, 80.0), (5, 90.0), (6, 10.0), resets_at=None)
    assert view(quotas, now=NOW + 360).runs_out_at is None


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5),
            st.none() | st.floats(0, 200),
            st.none() | st.floats(0, 2e5),
            st.booleans(),
        ),
        max_size=20,
    ),
    st.floats(0, 2e5),
)
def test_no_order_of_news_breaks_it(news, later):
    quotas = Quotas()
    for at, used, resets_at, exhausted in news:
        reset = None if resets_at is None else NOW + resets_at
        quotas.note("a", told(window("w", used, reset, exhausted=exhausted), at=NOW + at))
    left = quotas.left_percent("a", "m", NOW + later)
    assert left is None or 0.0 <= left <= 100.0
    for seen in (quotas.view("a", NOW + later) or told()).windows:
        if seen.runs_out_at is not None:
            assert seen.runs_out_at >= NOW + later
            assert seen.window.resets_at is None or seen.runs_out_at < seen.window.resets_at


# The tightest window


def test_of_windows_that_are_used_up_the_last_to_come_back_is_the_tightest():
    quotas = Quotas()
    windows = (
        QuotaWindow("5h", 100.0, 500.0, exhausted=True),
        QuotaWindow("7d", 100.0, 900.0, exhausted=True),
        QuotaWindow("7d_opus", 100.0, 950.0, models=("*opus*",), exhausted=True),
        QuotaWindow("day", 20.0, 990.0),
    )
    quotas.note("a", Quota(windows, 1.0, "headers"))
    assert quotas.tightest("a", 2.0).window.name == "7d_opus"
    assert quotas.tightest("a", 2.0, "sonnet").window.name == "7d"
    assert quotas.spent_window("a", "claude-opus-4", 2.0) == "weekly window (opus)"
    assert quotas.spent_window("a", "sonnet", 910.0) == ""
    assert quotas.tightest("b", 2.0) is None
    assert quotas.spent_window("b", "m", 2.0) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("5h", "5-hour window"),
        ("7d", "weekly window"),
        ("3d_sonnet", "3-day window (sonnet)"),
        ("month", "quota of the month"),
        ("day", "quota of the day"),
        ("requests", "limit of requests"),
        ("premium_requests", "limit of premium requests"),
    ],
)
def test_window_is_named_for_people(name, words):
    assert render_window(name) == words
