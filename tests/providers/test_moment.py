import pytest

from app.providers.moment import read_moment, read_number

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, 5.0), (0.5, 0.5), ("12", 12.0), (" 1.5 ", 1.5), (-1, -1.0), (0, 0.0)],
)
def test_numbers_and_their_texts_are_numbers(value, number):
    assert read_number(value) == number


@pytest.mark.parametrize(
    "value", [None, True, False, "", "soon", "nan", "inf", float("inf"), [], {}, 10**400, b"5"]
)
def test_anything_else_is_none(value):
    assert read_number(value) is None


@pytest.mark.parametrize(
    "value",
    [
        NOW,
        int(NOW),
        "1795000000",
        "1795000000.0",
        "2026-11-18T11:06:40Z",
        "2026-11-18T11:06:40+00:00",
        "2026-11-18T12:06:40+01:00",
        "2026-11-18T11:06:40",
        "2026-11-18T11:06:40.000000+00:00",
        "Wed, 18 Nov 2026 11:06:40 GMT",
    ],
)
def test_moments_are_read_in_every_form(value):
    assert read_moment(value) == NOW


@pytest.mark.parametrize("value", [None, "", 0, -5, "later", "2026-13-45", True, [], {"a": 1}])
def test_what_is_no_moment_is_none(value):
    assert read_moment(value) is None
